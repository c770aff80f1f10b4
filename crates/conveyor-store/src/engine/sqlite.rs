//! SQLite: files, private modes, the four ways in which a ledger is opened to be read, and how statements run.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::Statement;
use rusqlite::config::DbConfig;

use crate::cell::Args;
use crate::cell::Bound;
use crate::db::Db;
use crate::engine::conn::RawRow;
use crate::engine::patience::Patience;
use crate::engine::trouble;
use crate::engine::trouble::Trouble;

/// How often opening to read is tried when the file changes its state in between: `-wal` came or went.
const READ_TRIES: usize = 5;

/// How long a statement waits: a process that makes the ledger, recovers its log after a crash or closes it last keeps all
/// others out for a moment, readers too. [`begin_write`] waits for nobody.
const PATIENCE: Duration = Duration::from_secs(5);

/// Statements that are kept prepared: more than any process uses.
const PREPARED: usize = 256;

/// What identifies the bytes that were read without any lock: changed when a writer came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Fingerprint {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let modified = (meta.mtime(), meta.mtime_nsec());
        Some(Self { device: meta.dev(), inode: meta.ino(), size: meta.size(), modified })
    }

    /// Whether nobody has written since: the same bytes, and no write-ahead log beside them.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        Self::of(path).as_ref() == Some(self) && !has_log(path)
    }
}

/// Whether a write-ahead log lies beside the ledger and holds anything. An empty one is what a writer leaves that found no
/// room on the disk, where a reader finds none for the log's index either.
fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > 0)
}

/// The file beside the ledger whose name has `suffix` appended.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The path with symbolic links resolved, so that `-wal`, bell and locks are the same files under each name.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// Opens a ledger that is only read. `None` when there is none.
///
/// With a write-ahead log beside it, the file is opened with `mode=ro`. Without one that would fail in a folder that
/// cannot be written (measured), because SQLite wants to make the log; then the file is opened as immutable, without
/// any lock, and the returned fingerprint tells afterwards whether a writer came by.
pub(crate) fn open_read(path: &Path, place: &str) -> Result<Option<(Connection, Option<Fingerprint>)>> {
    let mut failed = None;
    for _ in 0..READ_TRIES {
        let Some(print) = Fingerprint::of(path) else { return absent(path, place) };
        if print.size == 0 {
            return Ok(None);
        }
        let live = has_log(path);
        let parameters = if live { "mode=ro" } else { "mode=ro&immutable=1" };
        match connect(path, parameters) {
            Ok(conn) if live => return Ok(Some((conn, None))),
            Ok(conn) if print.holds(path) => return Ok(Some((conn, Some(print)))),
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    Err(match failed {
        Some(error) => trouble::told(&error.into(), place),
        None => trouble::tell(Trouble::Busy, &"it changes all the time", place),
    })
}

/// A file that cannot be looked at: not there, or not for us.
fn absent<T>(path: &Path, place: &str) -> Result<Option<T>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(trouble::tell(Trouble::Permission, &error, place))
        }
        Err(_) | Ok(_) => Ok(None),
    }
}

/// Opens a ledger that is written, making folder and file private when they are missing.
pub(crate) fn open_write(path: &Path, place: &str) -> Result<Connection> {
    prepare_folder(path)?;
    prepare_file(path)?;
    connect(path, "mode=rw").map_err(|error| trouble::told(&error.into(), place))
}

/// Turns a new file into one with a write-ahead log, which it then stays.
///
/// Several processes that make the same ledger at once are in each other's way here, and SQLite does not wait by itself.
pub(crate) async fn prepare_new(db: &mut Db) -> Result<()> {
    let mut patience = Patience::new();
    loop {
        match db.try_script("PRAGMA journal_mode = WAL").await {
            Ok(()) => return Ok(()),
            Err(failure) if failure.trouble == Trouble::Busy && patience.lasts().await => {}
            Err(failure) => return Err(failure.error),
        }
    }
}

/// The default of `synchronous`, FULL, is kept: an accepted delivery survives a power cut.
fn connect(path: &Path, parameters: &str) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri(path, parameters), flags)?;
    conn.busy_timeout(PATIENCE)?;
    conn.set_prepared_statement_cache_capacity(PREPARED);
    conn.execute_batch("PRAGMA foreign_keys = ON")?;
    // Else SQLite plans a query anew for each value that it is bound with, where that decides on a partial index: half of
    // the time of an ingest.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

/// The URI of a file. Everything but plain letters and digits is escaped.
fn uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{uri}?{parameters}")
}

/// Begins a transaction that writes, or fails at once where another writer holds the lock: nobody may wait on the thread
/// on which everything else of this process runs.
pub(crate) fn begin_write(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::ZERO)?;
    let begun = conn.execute_batch("BEGIN IMMEDIATE");
    conn.busy_timeout(PATIENCE)?;
    begun
}

/// Runs a statement and returns the number of rows that it changed.
pub(crate) fn execute(conn: &Connection, sql: &str, args: &Args) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, args)?;
    Ok(statement.raw_execute()? as u64)
}

/// Runs a query and shows each row to `take`, until that has enough.
pub(crate) fn rows(
    conn: &Connection,
    sql: &str,
    args: &Args,
    mut take: impl FnMut(&RawRow<'_>) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, args)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if take(&RawRow::Sqlite(row)).is_break() {
            break;
        }
    }
    Ok(())
}

/// Binds by number: SQLite takes `$2` for a name, and counts names in the order in which they come.
fn bind(statement: &mut Statement<'_>, args: &Args) -> rusqlite::Result<()> {
    let count = statement.parameter_count();
    for place in 1..=count {
        let number = statement.parameter_name(place).and_then(|name| name.get(1..)?.parse().ok());
        let missing = rusqlite::Error::InvalidParameterCount(args.0.len(), count);
        match args.0.get(number.unwrap_or(place) - 1).ok_or(missing)? {
            Bound::Text(text) => statement.raw_bind_parameter(place, text)?,
            Bound::Int(number) => statement.raw_bind_parameter(place, number)?,
            Bound::Real(number) => statement.raw_bind_parameter(place, number)?,
        }
    }
    Ok(())
}

/// Makes the folder (0700) or checks that nobody else can put files into it.
fn prepare_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let told = |error: &io::Error| {
        Error::ledger(format!("the ledger's folder {} cannot be used: {error}", folder.display()))
            .hint("give another path with --db")
    };
    if !folder.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| told(&error))?;
    }
    let meta = fs::metadata(folder).map_err(|error| told(&error))?;
    refuse_foreign(folder, &meta, 0o022, "go-w")
}

/// Makes the file (0600) or checks that it is ours alone.
fn prepare_file(path: &Path) -> Result<()> {
    let told = |error: &io::Error| {
        let trouble = match error.kind() {
            io::ErrorKind::PermissionDenied => Trouble::Permission,
            io::ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnly,
            io::ErrorKind::StorageFull => Trouble::Full,
            _ => Trouble::Absent,
        };
        trouble::tell(trouble, error, &path.display().to_string())
    };
    make_private(path).map_err(|error| told(&error))?;
    // Asked without opening: closing any descriptor of the file would drop the locks that another connection of this
    // process holds on it.
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(|error| told(&error.into()))?;
    let meta = fs::metadata(path).map_err(|error| told(&error))?;
    if !meta.is_file() {
        return Err(
            Error::ledger(format!("{} is not a file", path.display())).hint("give another path with --db")
        );
    }
    refuse_foreign(path, &meta, 0o077, "go=")
}

/// Makes an empty file that only its owner can use, unless there is a file already.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses what another user owns, or what grants others any right of `forbidden`: whoever can write a ledger could make
/// the dispatcher act.
fn refuse_foreign(path: &Path, meta: &fs::Metadata, forbidden: u32, cure: &str) -> Result<()> {
    let (owner, user) = (meta.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(Error::refused(format!(
            "{} belongs to user {owner}, not to user {user}",
            path.display()
        ))
        .hint("use the account that made it, or give another path with --db"));
    }
    if meta.mode() & forbidden != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(Error::refused(format!("{} is open to other users (mode {mode:04o})", path.display()))
            .hint(format!("chmod {cure} {}", path.display())));
    }
    Ok(())
}

/// Names of the tables, indexes or triggers that exist.
pub(crate) const OBJECTS: &str = "SELECT name FROM sqlite_schema WHERE type = $1 ORDER BY name";

/// Which version of the schema the file holds: `None` for an empty one.
pub(crate) async fn schema_version(db: &mut Db) -> Result<Option<i64>> {
    let tables = "SELECT count(*), count(CASE name WHEN 'conveyor_schema' THEN 1 END) \
                  FROM sqlite_schema WHERE type = 'table'";
    let (all, ours) = db.one::<(i64, i64)>(tables, crate::cell::args![]).await?.unwrap_or_default();
    if all == 0 {
        return Ok(None);
    }
    if ours == 0 {
        return Err(Error::ledger(format!("{} is a database of another program", db.place))
            .hint("give another path with --db"));
    }
    db.value("SELECT max(version) FROM conveyor_schema", crate::cell::args![]).await
}

/// Copies the ledger as it is now to a file beside it, and returns its path.
pub(crate) async fn copy(db: &mut Db, path: &Path, version: i64, stamp: &str) -> Result<PathBuf> {
    let copy = beside(path, &format!(".v{version}-{}.bak", stamp.replace(':', "")));
    make_private(&copy)
        .map_err(|error| Error::ledger(format!("the copy {} cannot be made: {error}", copy.display())))?;
    let text = copy.display().to_string();
    db.execute("VACUUM INTO $1", crate::cell::args![&text]).await?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_of_a_path_reach_sqlite_as_they_are() {
        let uri = uri(Path::new("/a b/c?d#e/%41/../é.db"), "mode=ro");
        assert_eq!(uri, "file:/a%20b/c%3Fd%23e/%2541/../%C3%A9.db?mode=ro");
    }

    #[test]
    fn arguments_are_bound_by_their_numbers() {
        let conn = Connection::open_in_memory().unwrap();
        let mut told = Vec::new();
        let args = crate::cell::args![&"one".to_owned(), &2_i64];
        rows(&conn, "SELECT $2, $1, $2", &args, |row| {
            let RawRow::Sqlite(row) = row else { return ControlFlow::Break(()) };
            told.push((
                row.get_unwrap::<_, i64>(0),
                row.get_unwrap::<_, String>(1),
                row.get_unwrap::<_, i64>(2),
            ));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(told, [(2, "one".to_owned(), 2)]);
        let missing = execute(&conn, "SELECT $3", &args).unwrap_err();
        assert_eq!(missing, rusqlite::Error::InvalidParameterCount(2, 1));
    }
}
