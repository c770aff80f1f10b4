//! For tests of this crate and of the crates above it: places for ledgers on both engines, and a gate that kills.
//!
//! The PostgreSQL server is real. Whichever test comes first starts it; all test processes of a user share it; a watchdog
//! stops it and deletes its files a few seconds after the last of them has ended. A missing PostgreSQL is an error, so
//! that no test is ever skipped.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use crate::Clock;
use crate::Engine;
use crate::Gate;
use crate::Ledger;
use crate::Location;
use crate::Mode;
use crate::OpenGate;
use crate::SystemClock;
use crate::cell::Args;
use crate::cell::Bound;
use crate::cell::Cell;
use crate::cell::Row;
use crate::db::Db;
use crate::engine::conn::Conn;
use crate::engine::conn::RawRow;
use crate::engine::postgres;
use crate::engine::sqlite;
use crate::ledger;
use crate::schema;
use crate::schema::Migration;

/// A place for one test's ledger. Nothing is there yet.
#[derive(Debug)]
pub struct Place {
    location: Location,
    folder: Option<tempfile::TempDir>,
}

impl Place {
    /// A fresh place on an engine: a file in a folder of its own, or a database of its own.
    pub async fn new(engine: Engine) -> Result<Self> {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().map_err(|error| failed("a folder", &error))?;
                Ok(Self { location: Location::Sqlite(folder.path().join("ledger.db")), folder: Some(folder) })
            }
            Engine::Postgres => Ok(Self { location: Location::Postgres(database().await?), folder: None }),
        }
    }

    /// Where the ledger is to lie.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The folder, on SQLite.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(tempfile::TempDir::path)
    }

    /// Opens the ledger to write, with the system's clock and an open gate.
    pub async fn open(&self) -> Result<Ledger> {
        self.open_with(Arc::new(SystemClock), Arc::new(OpenGate)).await
    }

    /// Opens the ledger to write.
    pub async fn open_with(&self, clock: Arc<dyn Clock>, gate: Arc<dyn Gate>) -> Result<Ledger> {
        let ledger = Ledger::open(&self.location, Mode::Write, clock, gate).await?;
        ledger.ok_or_else(|| Error::ledger("a ledger that is opened to write is made when it is missing"))
    }
}

/// Runs a script on a place's engine, past everything that this crate does: what another program, or damage, would do.
pub async fn run(place: &Place, script: &str) -> Result<()> {
    let mut db = raw(place).await?;
    db.script(script.to_owned()).await
}

/// Brings a place's ledger to a version that does not exist yet, by one more step in the schema's own words.
pub async fn upgrade(place: &Place, version: i64, step: &'static str) -> Result<()> {
    let mut db = raw(place).await?;
    let mut steps = schema::MIGRATIONS.to_vec();
    steps.push(Migration { version, common: step, sqlite: "", postgres: "" });
    schema::migrate(&mut db, place.location.path(), &steps, SystemClock.now()).await
}

/// How SQLite answers each query that ran on this connection since the last call: the lines of its plans. The first call
/// only begins to listen.
pub async fn plans(db: &mut Db) -> Result<Vec<(String, Vec<String>)>> {
    let mut plans = Vec::new();
    for sql in db.asked.take().unwrap_or_default() {
        let steps: Vec<Step> = db.all(format!("EXPLAIN QUERY PLAN {sql}"), absent()).await?;
        plans.push((sql, steps.into_iter().map(|Step(detail)| detail).collect()));
    }
    db.asked = Some(Vec::new());
    Ok(plans)
}

/// Enough arguments for any query: a plan does not depend on them.
fn absent() -> Args {
    Args(vec![Bound::Int(None); 64])
}

/// A line of a plan: its fourth column.
struct Step(String);

impl Row for Step {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self> {
        Ok(Self(Cell::read(row, first + 3)?))
    }
}

async fn raw(place: &Place) -> Result<Db> {
    let name = place.location.to_string();
    let conn = match &place.location {
        Location::Sqlite(path) => Conn::Sqlite(sqlite::open_write(path, &name)?),
        Location::Postgres(url) => Conn::Postgres(postgres::open(url, &name).await?),
    };
    Ok(ledger::connection(&place.location, conn))
}

/// A clock that stands still until it is moved. Its ids are in order and differ between clocks.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicI64,
    moved: tokio::sync::Notify,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { millis: AtomicI64::new(1_795_358_967_172), moved: tokio::sync::Notify::new() }
    }
}

impl ManualClock {
    /// Moves the clock and wakes who sleeps long enough.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.millis.fetch_add(by, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now().plus(duration);
        loop {
            let moved = self.moved.notified();
            if self.now() >= until {
                return;
            }
            moved.await;
        }
    }

    fn uuid_v7(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn random(&self) -> u128 {
        Uuid::new_v4().as_u128()
    }

    fn rules_the_ledger(&self) -> bool {
        true
    }
}

/// Where a [`Killer`] kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The commit does not happen.
    BeforeCommit,
    /// The commit happened, the bell was not rung.
    AfterCommit,
}

/// A gate that ends the world at one commit: from then on every write fails, as after SIGKILL.
#[derive(Debug)]
pub struct Killer {
    at: u64,
    moment: Moment,
    seen: AtomicU64,
}

impl Killer {
    /// Kills at commit number `at`, counted from 1 over all ledgers that share this gate.
    pub fn new(at: u64, moment: Moment) -> Self {
        Self { at, moment, seen: AtomicU64::new(0) }
    }

    /// Whether it has killed. A loop that counts `at` up ends when a run was not killed.
    pub fn has_killed(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.at
    }

    /// What a writer gets when it was killed.
    pub fn death() -> Error {
        Error::interrupted("killed by the test's gate")
    }
}

#[async_trait]
impl Gate for Killer {
    async fn before_commit(&self, _: u64) -> Result<()> {
        let write = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let dead = write > self.at || (write == self.at && self.moment == Moment::BeforeCommit);
        if dead { Err(Self::death()) } else { Ok(()) }
    }

    async fn after_commit(&self, _: u64) -> Result<()> {
        let dead = self.moment == Moment::AfterCommit && self.has_killed();
        if dead { Err(Self::death()) } else { Ok(()) }
    }
}

fn failed(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::environment(format!("the tests cannot have {what}: {why}"))
}

/// The user that runs the server when the tests run as root, whom PostgreSQL refuses.
const SERVER_USER: &str = "postgres";

/// Holds this process's share of the server until the process ends.
static SHARE: Mutex<Option<fs::File>> = Mutex::new(None);

/// Makes an empty database and returns its URL.
async fn database() -> Result<String> {
    let server = Server::new()?;
    server.join()?;
    let name = format!("ledger_{}", Uuid::now_v7().simple());
    let options =
        PgConnectOptions::from_str(&server.url("postgres")).map_err(|error| failed("a database", &error))?;
    let mut conn = options.connect().await.map_err(|error| failed("a database", &error))?;
    let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(sql).execute(&mut conn).await.map_err(|error| failed("a database", &error))?;
    conn.close().await.map_err(|error| failed("a database", &error))?;
    Ok(server.url(&name))
}

/// The one server that all test processes of a user share.
struct Server {
    base: PathBuf,
    programs: PathBuf,
    as_root: bool,
}

impl Server {
    fn new() -> Result<Self> {
        let uid = rustix::process::geteuid();
        let base = std::env::temp_dir().join(format!("conveyor-test-postgres-{}", uid.as_raw()));
        Ok(Self { base, programs: programs()?, as_root: uid.is_root() })
    }

    fn url(&self, database: &str) -> String {
        let user = if self.as_root { SERVER_USER.to_owned() } else { whoami() };
        format!("postgres://{user}@localhost/{database}?host={}", self.base.display())
    }

    fn data(&self) -> PathBuf {
        self.base.join("data")
    }

    /// Starts the server unless it runs, and takes a share of it, all under the master lock.
    fn join(&self) -> Result<()> {
        let mut share = SHARE.lock().unwrap_or_else(PoisonError::into_inner);
        if share.is_some() {
            return Ok(());
        }
        if !self.base.exists() {
            complete(self.as_server_user("mkdir").args(["-p", "-m", "0755"]).arg(&self.base))?;
        }
        let master = self.open("master")?;
        master.lock().map_err(|error| failed("a PostgreSQL server", &error))?;
        if !self.runs() {
            self.start()?;
        }
        let users = self.open("users")?;
        users.lock_shared().map_err(|error| failed("a PostgreSQL server", &error))?;
        *share = Some(users);
        Ok(())
    }

    fn open(&self, name: &str) -> Result<fs::File> {
        let path = self.base.join(name);
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(|error| failed("a PostgreSQL server", &error))
    }

    fn runs(&self) -> bool {
        let status = self.command("pg_ctl").arg("status").arg("-D").arg(self.data()).output();
        status.is_ok_and(|output| output.status.success())
    }

    fn start(&self) -> Result<()> {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data).map_err(|error| failed("a PostgreSQL server", &error))?;
        }
        let initdb = ["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        complete(self.command("initdb").args(initdb).arg(&data))?;
        // Durability is not what these tests are about: they kill clients, not the server.
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=off -c max_connections=200 \
             -c full_page_writes=off -c synchronous_commit=off",
            self.base.display()
        );
        let log = self.data().join("log.txt");
        complete(
            self.command("pg_ctl")
                .args(["start", "-w", "-s", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(log)
                .arg("-o")
                .arg(options),
        )?;
        self.watch()
    }

    /// Starts the watchdog: when nobody has held a share for three seconds, the server is stopped and deleted, under the
    /// master lock, so that nobody can join in between.
    fn watch(&self) -> Result<()> {
        let script = format!(
            "while :; do flock -x users true; sleep 3; \
             flock -x master sh -c 'flock -n -x users true && \"{}\" stop -D data -m immediate -s && rm -rf data' \
             && exit; done",
            self.programs.join("pg_ctl").display()
        );
        let mut command = self.as_server_user("sh");
        command.arg("-c").arg(script).current_dir(&self.base).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(drop).map_err(|error| failed("a PostgreSQL server", &error))
    }

    fn command(&self, program: &str) -> Command {
        self.as_server_user(&self.programs.join(program).display().to_string())
    }

    fn as_server_user(&self, program: &str) -> Command {
        let mut command = if self.as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", SERVER_USER, "--", program]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/").env("LC_ALL", "C");
        command
    }
}

/// Runs a command to its end. The output goes nowhere: a server that inherited a pipe would keep it open.
fn complete(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed("a PostgreSQL server", &format!("{command:?} ended with {status}"))),
        Err(error) => Err(failed("a PostgreSQL server", &format!("{command:?}: {error}"))),
    }
}

fn whoami() -> String {
    let output = Command::new("id").arg("-un").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The folder of PostgreSQL's programs: Debian keeps `initdb` out of `PATH`.
fn programs() -> Result<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let found = folders.into_iter().find(|folder| folder.join("initdb").exists());
    found.ok_or_else(|| failed("a PostgreSQL server", &"no initdb was found; install postgresql"))
}
