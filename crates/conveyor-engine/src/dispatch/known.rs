//! Which dispatchers there are, and how each stands: one definition for everybody who asks.

use conveyor_model::Result;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::dispatchers;
use conveyor_store::dispatchers::Dispatcher;
use schemars::JsonSchema;
use serde::Serialize;

use super::lock_name;
use crate::Plane;

/// How a dispatcher stands. Its lock tells, not its row: a killed process leaves its row behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It runs.
    Running,
    /// It runs, and was asked to stop.
    Stopping,
    /// It stopped by itself.
    Stopped,
    /// It neither runs nor said goodbye.
    Dead,
    /// It is on another host, and the ledger is a file, whose locks are not seen from here.
    Unknown,
}

impl Standing {
    /// From its row, whether its lock is held, and whether that can be seen.
    fn of(row: &Dispatcher, locked: bool, seen: bool) -> Self {
        match (row.stopped_at.is_some(), locked, row.stop_requested_at.is_some(), seen) {
            // Its lock may be held a moment longer. Whoever begins under its name replaces its row.
            (true, _, _, _) => Self::Stopped,
            (false, true, false, _) => Self::Running,
            (false, true, true, _) => Self::Stopping,
            (false, false, _, true) => Self::Dead,
            (false, false, _, false) => Self::Unknown,
        }
    }

    /// Whether it lives: it holds its lock.
    pub const fn lives(self) -> bool {
        match self {
            Self::Running | Self::Stopping => true,
            Self::Stopped | Self::Dead | Self::Unknown => false,
        }
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// A dispatcher that the ledger knows.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its row.
    pub row: Dispatcher,
    /// How it stands.
    pub standing: Standing,
}

/// All dispatchers that the ledger knows.
pub async fn known(plane: &Plane, ledger: &Ledger) -> Result<Vec<Known>> {
    let rows = dispatchers::list(&mut *ledger.read().await?, None).await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in rows {
        let standing = standing(plane, ledger, &row).await?;
        known.push(Known { row, standing });
    }
    Ok(known)
}

/// How one stands.
pub(super) async fn standing(plane: &Plane, ledger: &Ledger, row: &Dispatcher) -> Result<Standing> {
    let locked = ledger.is_locked(&lock_name(&row.id)).await?;
    let seen = match plane.location() {
        Location::Sqlite(_) => row.host == plane.environment.host,
        Location::Postgres(_) => true,
    };
    Ok(Standing::of(row, locked, seen))
}

/// Whether one of these carries out what is to be done on a host.
pub fn serves(known: &[Known], host: &str) -> bool {
    known.iter().any(|one| one.standing.lives() && one.row.host == host)
}

/// The id of a dispatcher that watches this ledger from this host now, if there is one.
pub async fn alive(plane: &Plane) -> Result<Option<String>> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(None) };
    let known = known(plane, ledger).await?;
    let ours = known.into_iter().find(|one| one.standing.lives() && one.row.host == plane.environment.host);
    Ok(ours.map(|one| one.row.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_shows_life_and_what_is_not_seen_is_not_dead() {
        let at = conveyor_model::Timestamp::from_millis(0);
        let of = |asked: bool, stopped: bool, locked, seen| {
            let row = Dispatcher {
                id: "d".to_owned(),
                host: "host".to_owned(),
                pid: 1,
                started_at: at,
                heartbeat_at: at,
                log_path: None,
                binding_id: None,
                stop_requested_at: asked.then_some(at),
                stopped_at: stopped.then_some(at),
            };
            Standing::of(&row, locked, seen)
        };
        for seen in [true, false] {
            assert_eq!(of(false, false, true, seen), Standing::Running);
        }
        assert_eq!(of(true, true, true, true), Standing::Stopped, "it said goodbye");
        assert_eq!(of(true, false, true, true), Standing::Stopping);
        assert_eq!(of(true, true, false, false), Standing::Stopped);
        assert_eq!(of(true, false, false, true), Standing::Dead);
        assert_eq!(of(false, false, false, false), Standing::Unknown);
    }
}
