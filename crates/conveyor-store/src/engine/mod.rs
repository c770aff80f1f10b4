//! Everything in which the two engines differ. No other module of the workspace asks which engine it talks to.

pub(crate) mod bell;
pub(crate) mod bulk;
pub(crate) mod conn;
pub(crate) mod lock;
pub(crate) mod patience;
pub(crate) mod postgres;
pub(crate) mod sqlite;
pub(crate) mod trouble;

use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::audit::Hash;
use conveyor_model::audit::Head;

use crate::cell::Args;
use crate::clock::Clock;
use crate::db::Db;
use crate::engine::trouble::Trouble;
use crate::location::Location;

/// How long PostgreSQL waits in one attempt to begin a write. Between two attempts the connection is free for this
/// process's own readers, so that a foreign writer never holds them up for longer than this.
pub(crate) const LOCK_SLICE: Duration = Duration::from_millis(100);

/// Which engine keeps a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Embedded; the default.
    Sqlite,
    /// A server, where one machine is not enough.
    Postgres,
}

impl Engine {
    /// The engine of a location.
    pub(crate) fn of(location: &Location) -> Self {
        match location {
            Location::Sqlite(_) => Self::Sqlite,
            Location::Postgres(_) => Self::Postgres,
        }
    }

    /// What begins a transaction that only reads, on one snapshot.
    const fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }

    /// What reads the chain's head, and locks it where beginning did not; its third column is the server's time in
    /// milliseconds, 0 where the engine has no clock of its own.
    const fn lock_head(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT seq, hash, 0 FROM chain_head",
            // The time is read outside of the sub-query, hence after the lock was granted: it never runs backwards
            // along the chain.
            Self::Postgres => {
                "SELECT head.seq, head.hash, CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) \
                 FROM (SELECT seq, hash FROM chain_head FOR UPDATE) head"
            }
        }
    }
}

/// Begins a transaction that only reads, and returns its time.
pub(crate) async fn begin_read(db: &mut Db, clock: &dyn Clock) -> Result<Timestamp> {
    roll_back_leftovers(db).await?;
    // Before it begins: whoever is dropped while it does must not leave a transaction that nobody knows of.
    db.unfinished = true;
    db.script(db.engine.begin_read()).await?;
    match db.engine {
        Engine::Postgres if !clock.rules_the_ledger() => {
            let sql = "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)";
            Ok(Timestamp::from_millis(db.value(sql, Args::default()).await?.unwrap_or_default()))
        }
        Engine::Postgres | Engine::Sqlite => Ok(clock.now()),
    }
}

/// Begins a transaction that writes: the write lock is held, and the chain's head and the ledger's time are known.
///
/// `None` when another writer held the lock, on PostgreSQL for the whole of [`LOCK_SLICE`].
pub(crate) async fn begin_write(db: &mut Db, clock: &dyn Clock) -> Result<Option<(Head, Timestamp)>> {
    roll_back_leftovers(db).await?;
    db.unfinished = true;
    let begun = match db.try_begin_write().await {
        Ok(()) => db.try_one::<(i64, Hash, i64)>(db.engine.lock_head()).await,
        Err(failure) => Err(failure),
    };
    match begun {
        Ok(Some((seq, hash, millis))) => {
            let own = clock.rules_the_ledger() || db.engine == Engine::Sqlite;
            let now = if own { clock.now() } else { Timestamp::from_millis(millis) };
            Ok(Some((Head { seq, hash }, now)))
        }
        Ok(None) => {
            roll_back(db).await;
            Err(Error::ledger(format!("the ledger {} has lost its chain's head", db.place))
                .hint("conveyor db-doctor"))
        }
        Err(failure) => {
            roll_back(db).await;
            if failure.trouble == Trouble::Busy { Ok(None) } else { Err(failure.error) }
        }
    }
}

/// Rolls back at once, where that is only this thread's work. Whether it was done.
pub(crate) fn roll_back_at_once(db: &mut Db) -> bool {
    let done = db.conn.roll_back_at_once();
    db.unfinished &= !done;
    done
}

/// Rolls back; an error only shows that the transaction is over already or that the connection is.
pub(crate) async fn roll_back(db: &mut Db) {
    if let Err(error) = db.script("ROLLBACK").await {
        tracing::debug!(%error, "nothing to roll back");
    }
    db.unfinished = false;
}

async fn roll_back_leftovers(db: &mut Db) -> Result<()> {
    if db.unfinished {
        roll_back(db).await;
    }
    Ok(())
}
