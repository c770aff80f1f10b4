//! Who is alive: a lock that the operating system or the server releases when its holder dies, however it dies.

use std::fs;
use std::fs::TryLockError;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::audit::Hash;
use sqlx::PgConnection;

use crate::cell::args;
use crate::db::Db;
use crate::engine::postgres;
use crate::engine::postgres::LOCK_CLASS;
use crate::engine::sqlite::beside;
use crate::engine::trouble;

/// A lock is tried this often: somebody who only asks whether it is held takes it for a moment.
const TRIES: u32 = 5;

/// Between two tries.
const BETWEEN: Duration = Duration::from_millis(5);

/// A lock that is held until this is dropped or its process ends.
#[derive(Debug)]
pub struct Held {
    _holder: Holder,
}

#[derive(Debug)]
enum Holder {
    File(#[expect(dead_code, reason = "holds the lock as long as it is open")] fs::File),
    Server(#[expect(dead_code, reason = "holds the lock as long as it is open")] Box<PgConnection>),
}

/// The file that carries the lock `name` of a ledger.
fn file(path: &Path, name: &str) -> PathBuf {
    beside(path, &format!(".{name}.lock"))
}

/// A name as PostgreSQL's locks know it.
fn key(name: &str) -> i32 {
    let Hash(bytes) = Hash::of(name.as_bytes());
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Takes the lock beside a file. `None` when somebody holds it.
pub(crate) async fn take_file(path: &Path, name: &str) -> Result<Option<Held>> {
    let path = file(path, name);
    let told = |error: &dyn std::fmt::Display| {
        Error::environment(format!("the lock {} cannot be taken: {error}", path.display()))
    };
    let open = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(|error| told(&error))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Held { _holder: Holder::File(file) })),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(BETWEEN).await,
            Err(TryLockError::Error(error)) => return Err(told(&error)),
        }
    }
    Ok(None)
}

/// Whether somebody holds the lock beside a file.
pub(crate) fn file_is_held(path: &Path, name: &str) -> Result<bool> {
    let Ok(file) = fs::File::open(file(path, name)) else { return Ok(false) };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => {
            Err(Error::environment(format!("the lock {name} cannot be looked at: {error}")))
        }
    }
}

/// Takes the lock on a server, on a connection of its own. `None` when somebody holds it.
pub(crate) async fn take_server(url: &str, place: &str, name: &str) -> Result<Option<Held>> {
    let mut conn = postgres::open(url, place).await?;
    let taken = sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1, $2)")
        .bind(LOCK_CLASS)
        .bind(key(name))
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| trouble::told(&error.into(), place))?;
    Ok(taken.then(|| Held { _holder: Holder::Server(conn) }))
}

/// Whether somebody holds the lock on a server.
pub(crate) async fn server_is_held(db: &mut Db, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
               AND CAST(classid AS BIGINT) = $1 AND CAST(objid AS BIGINT) = $2";
    let (class, key) = (i64::from(LOCK_CLASS.cast_unsigned()), i64::from(key(name).cast_unsigned()));
    Ok(db.value::<i64>(sql, args![&class, &key]).await?.is_some_and(|held| held > 0))
}
