//! The rollouts that a dispatcher watches, and the folders in which new ones appear.
//!
//! A thread's first message makes its rollout, and a person's `/clear` makes a thread: both are new names in folders of
//! CODEX_HOME, which are watched, so that neither has to be searched for. A search with growing gaps stands behind that.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_agents::Watch;
use conveyor_agents::births;
use conveyor_agents::births::Birth;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;

use super::observe;
use crate::Plane;
use crate::identify;
use crate::identify::Standing;
use crate::ingest;

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
    /// Sessions that may have another thread, since a thread began in their CODEX_HOME: how often they were looked at,
    /// and when to look next. A screen shows a new thread a moment after it began.
    suspects: HashMap<SessionId, (u32, Timestamp)>,
    /// How many sessions there were, and the newest, when they were last listed.
    marks: (i64, i64),
}

/// Looks at a session that may have another thread: at once, and after 0.5, 1, 2 and 4 seconds.
const SUSPECT_LOOKS: u32 = 5;

impl Rollouts {
    /// Watches nothing yet.
    pub(super) async fn new(plane: &Plane) -> Result<Self> {
        Ok(Self {
            watch: Watch::new()?,
            sessions: HashMap::new(),
            paths: HashMap::new(),
            absent: HashMap::new(),
            troubled: observe::troubled(plane).await?,
            suspects: HashMap::new(),
            marks: (0, 0),
        })
    }

    /// The rollouts that have grown and the names that are new, at least one. Safe to drop and call again.
    pub(super) async fn grown(&mut self) -> Result<BTreeSet<PathBuf>> {
        self.watch.changed().await
    }

    /// Watches for threads that begin from now on, before anything is looked at: one that begins while the sessions are
    /// looked at for the first time would else be missed for ever.
    pub(super) async fn subscribe(&mut self, plane: &Plane) -> Result<()> {
        self.list(plane).await?;
        self.watch_births(plane)
    }

    /// Brings the set up to date with the ledger, and reads the sessions that are new in it.
    ///
    /// Subscribe first, then read: what is recorded in between is told by the next growth.
    pub(super) async fn refresh(&mut self, plane: &Plane) -> Result<()> {
        self.list(plane).await?;
        self.watch_births(plane)?;
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
        self.read_known(plane, &fresh).await
    }

    /// Lists the sessions again where one has come or gone.
    async fn list(&mut self, plane: &Plane) -> Result<()> {
        let host = &plane.environment.host;
        let marks = sessions::marks(&mut *plane.ledger().await?.read().await?, host).await?;
        if marks != self.marks || marks.0 != self.sessions.len() as i64 {
            self.sessions = observe::followed(plane).await?;
            self.marks = marks;
        }
        Ok(())
    }

    /// Watches the folders in which threads of the sessions begin. In a folder that is new in this, something may have
    /// begun before it was watched: then everything that is missing is searched for once more.
    fn watch_births(&mut self, plane: &Plane) -> Result<()> {
        loop {
            let homes: BTreeSet<PathBuf> =
                self.sessions.values().filter_map(|session| home(plane, session)).collect();
            let folders = homes.iter().flat_map(|home| births::folders(home)).collect();
            if !self.watch.watch_folders(&folders)? {
                return Ok(());
            }
            self.absent.clear();
        }
    }

    /// Where the rollouts of all followed threads lie.
    async fn current(&mut self, plane: &Plane) -> Result<HashMap<PathBuf, SessionId>> {
        let followed = {
            let mut reader = plane.ledger().await?.read().await?;
            threads::followed_on(&mut reader, &plane.environment.host).await?
        };
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

    /// How many rollouts are watched.
    pub(super) fn known(&self) -> usize {
        self.paths.len()
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

    /// Reads the sessions of these rollouts, and looks for whom the new names among them are.
    pub(super) async fn read(&mut self, plane: &Plane, grown: &BTreeSet<PathBuf>) -> Result<()> {
        let now = plane.clock.now();
        let mut searches = false;
        for path in grown {
            if self.paths.contains_key(path) {
                continue;
            }
            match births::of(path) {
                Some(Birth::Thread(thread)) if self.absent.remove(&thread).is_some() => searches = true,
                Some(Birth::Thread(_)) => self.suspect(plane, path, now),
                Some(Birth::Folder) => searches = true,
                None => {}
            }
        }
        self.read_known(plane, grown).await?;
        if searches {
            self.refresh(plane).await?;
        }
        self.look_at_suspects(plane).await
    }

    /// A thread began that is nobody's yet.
    fn suspect(&mut self, plane: &Plane, path: &Path, now: Timestamp) {
        let is_below = |session: &Session| home(plane, session).is_some_and(|home| path.starts_with(home));
        let all = self.sessions.values().filter(|session| is_below(session));
        self.suspects.extend(all.map(|session| (session.id.clone(), (0, now))));
    }

    /// When a session is to be looked at that may have another thread.
    pub(super) fn next_suspect(&self) -> Option<Timestamp> {
        self.suspects.values().map(|(_, next)| *next).min()
    }

    /// Proves again which thread they have whose time has come; what moved is followed at once.
    pub(super) async fn look_at_suspects(&mut self, plane: &Plane) -> Result<()> {
        let now = plane.clock.now();
        let due: Vec<_> =
            self.suspects.iter().filter(|(_, (_, next))| *next <= now).map(|(id, _)| id.clone()).collect();
        let mut moved = false;
        for id in due {
            // Read before anything else is done: the reader would keep the ledger to itself.
            let session = sessions::get(&mut *plane.ledger().await?.read().await?, &id).await?;
            let ended = match session {
                Some(session) => {
                    // A session without any thread adopts its first one when it is read.
                    observe::one(plane, &session, &mut self.troubled).await?;
                    identify::standing(plane, &session).await? == Standing::Moved
                }
                None => true,
            };
            moved |= ended;
            self.suspects.entry(id.clone()).and_modify(|(looks, next)| {
                *next = now.plus(limits::KEY_SHOWN * (1 << *looks));
                *looks += 1;
            });
            self.suspects.retain(|known, (looks, _)| *known != id || !(ended || *looks >= SUSPECT_LOOKS));
        }
        if moved { self.refresh(plane).await } else { Ok(()) }
    }

    async fn read_known(&mut self, plane: &Plane, grown: &BTreeSet<PathBuf>) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for path in grown {
            if let Some((session, seen)) = self.paths.get_mut(path) {
                *seen = look(plane, path);
                wanted.insert(session.clone());
            }
        }
        for id in wanted {
            if let Some(session) = self.sessions.get(&id) {
                observe::one(plane, session, &mut self.troubled).await?;
            }
        }
        Ok(())
    }
}

fn look(plane: &Plane, path: &Path) -> Look {
    let stat = plane.log.open(path).and_then(|file| file.stat()).ok()?;
    Some((stat.inode, stat.len))
}

/// The session's CODEX_HOME.
fn home(plane: &Plane, session: &Session) -> Option<PathBuf> {
    session.codex_home.clone().map(PathBuf::from).or_else(|| plane.environment.codex_home().ok())
}
