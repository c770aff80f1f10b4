//! Reading the rollouts of all followed sessions. One that cannot be read wants attention and stops nothing.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_agents::Watch;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::audit::Actor;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;
use serde_json::json;

use super::Dispatch;
use crate::Plane;
use crate::ingest;

/// What a rollout that cannot be read raises.
const TROUBLE: &str = "rollout_unreadable";

/// Reads all followed sessions of this host once.
pub(super) async fn all(d: &Dispatch<'_>) -> Result<()> {
    let mut troubled = troubled(d.plane).await?;
    for session in followed(d.plane).await?.into_values() {
        one(d.plane, &session, &mut troubled).await?;
    }
    Ok(())
}

async fn followed(plane: &Plane) -> Result<HashMap<SessionId, Session>> {
    let wanted = sessions::Wanted {
        state: Some(SessionState::Active),
        host: Some(plane.environment.host.clone()),
        ..sessions::Wanted::default()
    };
    let mut reader = plane.ledger().await?.read().await?;
    let listed = sessions::list(&mut reader, &wanted, limits::FOLLOWED_SESSIONS).await?;
    Ok(listed.into_iter().map(|session| (session.id.clone(), session)).collect())
}

/// Sessions whose rollouts could not be read when they were last tried.
async fn troubled(plane: &Plane) -> Result<HashSet<SessionId>> {
    let mut reader = plane.ledger().await?.read().await?;
    let open = attention::open(&mut reader, None, None, limits::FOLLOWED_SESSIONS).await?;
    Ok(open.into_iter().filter(|row| row.kind == TROUBLE).filter_map(|row| row.session_id).collect())
}

/// Reads one session. Trouble with its rollout is noted; trouble with the ledger is the caller's.
async fn one(plane: &Plane, session: &Session, troubled: &mut HashSet<SessionId>) -> Result<()> {
    match ingest::session(plane, session).await {
        Ok(_) if troubled.remove(&session.id) => clear(plane, session).await,
        Ok(_) => Ok(()),
        Err(error) if error.kind == conveyor_model::ErrorKind::Ledger => Err(error),
        Err(error) => {
            troubled.insert(session.id.clone());
            raise(plane, session, &error).await
        }
    }
}

async fn raise(plane: &Plane, session: &Session, error: &Error) -> Result<()> {
    let message = format!("The rollout of {} cannot be read: {error}.", session.name);
    let new = NewAttention {
        kind: TROUBLE.to_owned(),
        session: Some(session.id.clone()),
        message: message.clone(),
        evidence: json!({ "error": error }),
        ..NewAttention::default()
    };
    let mut tx = plane.ledger().await?.write(&Actor::Conveyor).await?;
    attention::raise(&mut tx, new, AuditRow::new("attention_raised", message)).await?;
    tx.commit().await
}

async fn clear(plane: &Plane, session: &Session) -> Result<()> {
    let audit = AuditRow::new("attention_cleared", format!("The rollout of {} is read again.", session.name));
    let mut tx = plane.ledger().await?.write(&Actor::Conveyor).await?;
    attention::clear(&mut tx, session.id.as_str(), TROUBLE, audit.session(&session.id)).await?;
    tx.commit().await
}

/// How a file looked when it was last read.
type Look = Option<(u64, u64)>;

/// The rollouts that are watched, kept open, and how each looked when it was last read.
pub(super) struct Rollouts {
    watch: Watch,
    sessions: HashMap<SessionId, Session>,
    paths: HashMap<PathBuf, (SessionId, Look)>,
    /// Threads whose rollout does not exist yet: when to search next, and the gap after that.
    absent: HashMap<String, (Timestamp, Duration)>,
    troubled: HashSet<SessionId>,
}

impl Rollouts {
    /// Watches nothing yet.
    pub(super) async fn new(plane: &Plane) -> Result<Self> {
        Ok(Self {
            watch: Watch::new()?,
            sessions: HashMap::new(),
            paths: HashMap::new(),
            absent: HashMap::new(),
            troubled: troubled(plane).await?,
        })
    }

    /// The rollouts that have grown, at least one. Safe to drop and call again.
    pub(super) async fn grown(&mut self) -> Result<BTreeSet<PathBuf>> {
        self.watch.changed().await
    }

    /// Brings the set up to date with the ledger, and reads the sessions that are new in it.
    ///
    /// Subscribe first, then read: what is recorded in between is told by the next growth.
    pub(super) async fn refresh(&mut self, plane: &Plane) -> Result<()> {
        let current = self.current(plane).await?;
        let gone: Vec<PathBuf> =
            self.paths.keys().filter(|path| !current.contains_key(*path)).cloned().collect();
        for path in gone {
            self.watch.remove(&path);
            self.paths.remove(&path);
        }
        let mut fresh = BTreeSet::new();
        for (path, session) in current {
            if !self.paths.contains_key(&path) {
                self.watch.add(&path)?;
                self.paths.insert(path.clone(), (session, None));
                fresh.insert(path);
            }
        }
        self.read(plane, &fresh).await
    }

    /// Where the rollouts of all followed threads lie.
    async fn current(&mut self, plane: &Plane) -> Result<HashMap<PathBuf, SessionId>> {
        let followed = {
            let mut reader = plane.ledger().await?.read().await?;
            threads::followed_on(&mut reader, &plane.environment.host).await?
        };
        if followed.iter().any(|thread| !self.sessions.contains_key(&thread.session_id)) {
            self.sessions = self::followed(plane).await?;
        }
        let mut current = HashMap::new();
        for thread in followed {
            if let Some(path) = self.path(plane, &thread)? {
                current.insert(path, thread.session_id);
            }
        }
        Ok(current)
    }

    /// A thread's rollout. What does not exist yet is searched for with growing gaps.
    fn path(&mut self, plane: &Plane, thread: &SessionThread) -> Result<Option<PathBuf>> {
        if let Some(path) = &thread.rollout_path {
            self.absent.remove(&thread.thread_id);
            return Ok(Some(PathBuf::from(path)));
        }
        let now = plane.clock.now();
        let (next, gap) = self.absent.get(&thread.thread_id).copied().unwrap_or((now, limits::SWEEP));
        let Some(session) = self.sessions.get(&thread.session_id).filter(|_| next <= now) else {
            return Ok(None);
        };
        let found = ingest::rollout_path(plane, session, thread)?;
        let later = (now.plus(gap), (gap * 2).min(limits::ROLLOUT_SEARCH_MAX));
        self.absent.insert(thread.thread_id.clone(), later);
        Ok(found)
    }

    /// Whether a search for a rollout is due.
    pub(super) fn wants_search(&self, now: Timestamp) -> bool {
        self.absent.values().any(|(next, _)| *next <= now)
    }

    /// The rollouts that look otherwise than when they were last read, though nobody told.
    pub(super) fn changed_unseen(&self, plane: &Plane) -> BTreeSet<PathBuf> {
        let changed = self.paths.iter().filter(|(path, (_, seen))| look(plane, path) != *seen);
        changed.map(|(path, _)| path.clone()).collect()
    }

    /// Reads the sessions of these rollouts.
    pub(super) async fn read(&mut self, plane: &Plane, grown: &BTreeSet<PathBuf>) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for path in grown {
            if let Some((session, seen)) = self.paths.get_mut(path) {
                *seen = look(plane, path);
                wanted.insert(session.clone());
            }
        }
        for id in wanted {
            if let Some(session) = self.sessions.get(&id) {
                one(plane, session, &mut self.troubled).await?;
            }
        }
        Ok(())
    }
}

fn look(plane: &Plane, path: &Path) -> Look {
    let stat = plane.log.open(path).and_then(|file| file.stat()).ok()?;
    Some((stat.inode, stat.len))
}
