//! A ledger that is open: how it is opened, and how reading and writing begin.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::db::Db;
use crate::engine;
use crate::engine::Engine;
use crate::engine::bell::Bell;
use crate::engine::bell::Rope;
use crate::engine::conn::Conn;
use crate::engine::lock;
use crate::engine::lock::Held;
use crate::engine::patience::Patience;
use crate::engine::postgres;
use crate::engine::sqlite;
use crate::engine::sqlite::Fingerprint;
use crate::engine::trouble;
use crate::engine::trouble::Trouble;
use crate::gate::Gate;
use crate::location::Location;
use crate::schema;
use crate::tx::Reader;
use crate::tx::Tx;

/// For what a ledger is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Reads only: never creates, never takes a lock that a writer would notice.
    Read,
    /// Reads and writes: creates the ledger when it is missing, and brings its schema up to date.
    Write,
}

/// An open ledger: one connection, used by one reader or writer at a time. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    mode: Mode,
    db: Arc<Mutex<Db>>,
    clock: Arc<dyn Clock>,
    gate: Arc<dyn Gate>,
    writes: AtomicU64,
    rope: Option<Rope>,
    fingerprint: Option<Fingerprint>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("location", &self.inner.location.to_string())
            .field("mode", &self.inner.mode)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens a ledger.
    ///
    /// `None` only in [`Mode::Read`], when there is none yet. Errors: kind `ledger` for a file that is corrupt, foreign,
    /// newer, read-only or out of room; kind `refused` when owner or mode of the file or its folder are not ours alone.
    pub async fn open(
        location: &Location,
        mode: Mode,
        clock: Arc<dyn Clock>,
        gate: Arc<dyn Gate>,
    ) -> Result<Option<Self>> {
        match mode {
            Mode::Read => Self::open_to_read(location, clock, gate).await,
            Mode::Write => Self::open_to_write(location, clock, gate).await.map(Some),
        }
    }

    async fn open_to_read(
        location: &Location,
        clock: Arc<dyn Clock>,
        gate: Arc<dyn Gate>,
    ) -> Result<Option<Self>> {
        let place = location.to_string();
        let (location, conn, fingerprint) = match location {
            Location::Sqlite(path) => {
                let path = sqlite::resolved(path);
                let Some((conn, print)) = sqlite::open_read(&path, &place)? else { return Ok(None) };
                (Location::Sqlite(path), Conn::Sqlite(conn), print)
            }
            Location::Postgres(url) => {
                (location.clone(), Conn::Postgres(postgres::open(url, &place).await?), None)
            }
        };
        let mut db = connection(&location, conn);
        match schema::version(&mut db, schema::VERSION).await? {
            None => Ok(None),
            Some(schema::VERSION) => {
                Ok(Some(Self::of(location, Mode::Read, db, clock, gate, None, fingerprint)))
            }
            Some(older) => Err(Error::ledger(format!(
                "the ledger {place} has the older schema {older}; this program reads {}",
                schema::VERSION
            ))
            .hint("run any command that writes, outside of a sandbox; it brings the ledger up to date")),
        }
    }

    async fn open_to_write(location: &Location, clock: Arc<dyn Clock>, gate: Arc<dyn Gate>) -> Result<Self> {
        let place = location.to_string();
        let (location, conn) = match location {
            Location::Sqlite(path) => {
                let path = sqlite::resolved(path);
                let conn = sqlite::open_write(&path, &place)?;
                (Location::Sqlite(path), Conn::Sqlite(conn))
            }
            Location::Postgres(url) => (location.clone(), Conn::Postgres(postgres::open(url, &place).await?)),
        };
        let mut db = connection(&location, conn);
        schema::migrate(&mut db, location.path(), schema::MIGRATIONS, clock.now()).await?;
        if db.engine == Engine::Postgres {
            postgres::prepare_writer(&mut db).await?;
        }
        let rope = location.path().map(Rope::new);
        Ok(Self::of(location, Mode::Write, db, clock, gate, rope, None))
    }

    fn of(
        location: Location,
        mode: Mode,
        db: Db,
        clock: Arc<dyn Clock>,
        gate: Arc<dyn Gate>,
        rope: Option<Rope>,
        fingerprint: Option<Fingerprint>,
    ) -> Self {
        let db = Arc::new(Mutex::new(db));
        let writes = AtomicU64::new(0);
        Self { inner: Arc::new(Inner { location, mode, db, clock, gate, writes, rope, fingerprint }) }
    }

    /// Where it lies, symbolic links resolved.
    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    /// For what it was opened.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// The clock that it was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Begins reading, on one consistent snapshot that lasts until the reader is dropped.
    ///
    /// Waits only for this process's own use of the ledger, never for another writer.
    pub async fn read(&self) -> Result<Reader> {
        let mut db = Arc::clone(&self.inner.db).lock_owned().await;
        let now = engine::begin_read(&mut db, &*self.inner.clock).await?;
        db.unfinished = true;
        Ok(Reader::new(db, now))
    }

    /// Begins a change: the write lock and the chain's head are held until the commit.
    ///
    /// Waits up to [`limits::LEDGER_BUSY`] for another writer; then fails with kind `ledger`, retry safe.
    pub async fn write(&self, actor: &Actor) -> Result<Tx> {
        if self.inner.mode == Mode::Read {
            return Err(trouble::tell(Trouble::ReadOnly, &"", &self.inner.location.to_string()));
        }
        let mut patience = Patience::new();
        loop {
            let mut db = Arc::clone(&self.inner.db).lock_owned().await;
            if let Some((head, now)) = engine::begin_write(&mut db, &*self.inner.clock).await? {
                (db.unfinished, db.broken) = (true, false);
                return Ok(Tx::new(self.clone(), db, actor, head, now));
            }
            drop(db);
            if !patience.lasts().await {
                return Err(trouble::tell(Trouble::Busy, &"", &self.inner.location.to_string()));
            }
        }
    }

    /// Whether what was read since opening is sound.
    ///
    /// `false` only for a file that was read without any lock, when a writer came by meanwhile: open the ledger again and
    /// read again. Ask after reading, before anything is shown.
    pub fn read_is_sound(&self) -> bool {
        match (&self.inner.fingerprint, self.inner.location.path()) {
            (Some(print), Some(path)) => print.holds(path),
            (None, _) | (_, None) => true,
        }
    }

    /// Listens to the doorbell from now on. Subscribe first, then read.
    pub async fn bell(&self) -> Result<Bell> {
        match &self.inner.location {
            Location::Sqlite(path) => Bell::of_file(path),
            Location::Postgres(url) => Bell::of_server(url, &self.inner.location.to_string()).await,
        }
    }

    /// Takes the lock `name` (letters, digits, `-`), which its holder's death releases. `None` when somebody holds it.
    pub async fn try_lock(&self, name: &str) -> Result<Option<Held>> {
        match &self.inner.location {
            Location::Sqlite(path) => lock::take_file(path, name).await,
            Location::Postgres(url) => lock::take_server(url, &self.inner.location.to_string(), name).await,
        }
    }

    /// Whether anybody holds the lock `name`.
    pub async fn is_locked(&self, name: &str) -> Result<bool> {
        match &self.inner.location {
            Location::Sqlite(path) => lock::file_is_held(path, name),
            Location::Postgres(_) => lock::server_is_held(&mut *self.inner.db.lock().await, name).await,
        }
    }

    /// Closes the connection and waits until that is done, unless a clone is still in use.
    ///
    /// The last process that closes a ledger in a file takes its write-ahead log with it, which costs two writes to the
    /// disk. A process that just ends leaves the log behind: nothing is lost, but each later opening reads the whole log
    /// (up to 4 MiB) until somebody closes in order, so a short-lived process that wrote should close.
    pub async fn close(self) {
        let Some(inner) = Arc::into_inner(self.inner) else { return };
        let Some(db) = Arc::into_inner(inner.db) else { return };
        if let Err(error) = db.into_inner().conn.close().await {
            tracing::debug!(%error, "the ledger's connection was not closed in order");
        }
    }

    pub(crate) fn gate(&self) -> &dyn Gate {
        &*self.inner.gate
    }

    /// The number of the commit that is about to be made.
    pub(crate) fn next_write(&self) -> u64 {
        self.inner.writes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Rings, where the engine did not do so with the commit itself.
    pub(crate) fn ring(&self) {
        if let Some(rope) = &self.inner.rope {
            rope.ring();
        }
    }
}

pub(crate) fn connection(location: &Location, conn: Conn) -> Db {
    Db {
        conn,
        engine: Engine::of(location),
        place: location.to_string().into(),
        unfinished: false,
        broken: false,
        #[cfg(feature = "testing")]
        asked: None,
    }
}

/// A connection that only looks, whatever is wrong with the ledger. `None` when there is none.
pub(crate) async fn connect_to_look(location: &Location) -> Result<Option<Db>> {
    let place = location.to_string();
    match location {
        Location::Sqlite(path) => {
            let path = sqlite::resolved(path);
            let opened = sqlite::open_read(&path, &place)?;
            Ok(opened.map(|(conn, _)| connection(location, Conn::Sqlite(conn))))
        }
        Location::Postgres(url) => {
            let mut db = connection(location, Conn::Postgres(postgres::open(url, &place).await?));
            let empty = matches!(postgres::schema_version(&mut db).await, Ok(None));
            Ok((!empty).then_some(db))
        }
    }
}
