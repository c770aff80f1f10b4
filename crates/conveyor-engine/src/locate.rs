//! Which ledger is meant, and why.
//!
//! In this order: the caller's word; the ledger in which the caller's thread is registered; the environment; the
//! default. The environment comes late because under Codex's shared daemon a shell sees the environment of the first
//! session (measured). A file that a repository brought never decides: whoever can write the ledger could make the
//! dispatcher, which is not sandboxed, act.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::Location;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Environment;

/// Why a ledger was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// `--db` or `--path` names it.
    Named,
    /// The caller's thread is registered in it.
    Thread,
    /// `CONVEYOR_DATABASE_URL` names it.
    Environment,
    /// It is where ledgers lie unless somebody says otherwise.
    Default,
}

/// A ledger's place.
#[derive(Clone, Debug)]
pub struct Located {
    /// Where it lies.
    pub location: Location,
    /// Why this one.
    pub why: Why,
}

/// The ledger that a call means.
pub fn ledger(environment: &Environment, thread: Option<&str>, db: Option<&str>) -> Result<Located> {
    if let Some(db) = db {
        let location = with_password(environment, thread, parse(environment, db)?);
        return Ok(Located { location, why: Why::Named });
    }
    if let Some(noted) = thread.and_then(|thread| noted(environment, thread)) {
        return Ok(Located { location: parse(environment, &noted)?, why: Why::Thread });
    }
    if let Some(url) = environment.variable("CONVEYOR_DATABASE_URL") {
        return Ok(Located { location: parse(environment, url)?, why: Why::Environment });
    }
    let path = environment.state_dir()?.join("conveyor.db");
    Ok(Located { location: Location::Sqlite(path), why: Why::Default })
}

/// A database as it was named, with the password that a private place knows for it: the commands that conveyor prints
/// name it without one, and are to work where that place is there.
fn with_password(environment: &Environment, thread: Option<&str>, named: Location) -> Location {
    let noted = thread.and_then(|thread| noted(environment, thread));
    let variable = environment.variable("CONVEYOR_DATABASE_URL").map(ToOwned::to_owned);
    [noted, variable]
        .into_iter()
        .flatten()
        .filter_map(|known| parse(environment, &known).ok())
        .find(|known| named.lacks_only_the_password_of(known))
        .unwrap_or(named)
}

fn parse(environment: &Environment, text: &str) -> Result<Location> {
    Location::parse(text, environment.home().ok().as_deref(), &environment.cwd)
}

/// Notes in which ledger a thread is registered, so that its own calls find it.
pub fn note(environment: &Environment, thread: &str, location: &Location) -> Result<()> {
    let Some(path) = note_path(environment, thread) else { return Ok(()) };
    let failed =
        |error: std::io::Error| Error::environment(format!("{} cannot be written: {error}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(failed)?;
    file.write_all(noted_as(location).as_bytes()).map_err(failed)?;
    std::fs::rename(&fresh, &path).map_err(failed)
}

/// A ledger as a note names it: with the password, where the URL has one, for the note is private.
fn noted_as(location: &Location) -> String {
    match location {
        Location::Sqlite(path) => path.display().to_string(),
        Location::Postgres(url) => url.clone(),
    }
}

/// The ledger that was noted for a thread.
fn noted(environment: &Environment, thread: &str) -> Option<String> {
    let text = std::fs::read_to_string(note_path(environment, thread)?).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Where the note of a thread lies. A thread id that is no plain word names no file.
fn note_path(environment: &Environment, thread: &str) -> Option<PathBuf> {
    let plain = !thread.is_empty()
        && thread.len() <= 100
        && thread.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let dir = environment.state_dir().ok()?;
    plain.then(|| Path::new(&dir).join("threads").join(thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_places() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().to_str().unwrap().to_owned();
        let environment = Environment::of(
            Path::new("/work"),
            &[("XDG_STATE_HOME", &state), ("CONVEYOR_DATABASE_URL", "/env.db"), ("HOME", "/home")],
        );
        note(&environment, "thread-1", &Location::Sqlite("/noted.db".into())).unwrap();
        let place = |thread, db| {
            let located = ledger(&environment, thread, db).unwrap();
            (located.location.to_string(), located.why)
        };
        assert_eq!(place(Some("thread-1"), Some("x.db")), ("/work/x.db".to_owned(), Why::Named));
        assert_eq!(place(Some("thread-1"), None), ("/noted.db".to_owned(), Why::Thread));
        assert_eq!(place(Some("thread-2"), None), ("/env.db".to_owned(), Why::Environment));
        assert_eq!(place(Some("../../etc/passwd"), None), ("/env.db".to_owned(), Why::Environment));
    }

    #[test]
    fn a_printed_database_finds_its_password_where_that_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().to_str().unwrap().to_owned();
        let full = "postgres://ann:s3cret@db/x";
        let environment = |url| {
            let variables = [("XDG_STATE_HOME", state.as_str()), ("CONVEYOR_DATABASE_URL", url)];
            Environment::of(Path::new("/work"), &variables)
        };
        let place = |environment: &Environment, thread, db| {
            let Location::Postgres(url) = ledger(environment, thread, Some(db)).unwrap().location else {
                panic!("it is a database")
            };
            url
        };
        let kept = environment(full);
        assert_eq!(place(&kept, None, "postgres://ann@db/x"), full);
        assert_eq!(place(&kept, None, "postgres://ann@db/y"), "postgres://ann@db/y");
        assert_eq!(place(&kept, None, "postgres://ann:other@db/x"), "postgres://ann:other@db/x");
        let bare = environment("");
        note(&bare, "thread-1", &Location::Postgres(full.to_owned())).unwrap();
        assert_eq!(place(&bare, Some("thread-1"), "postgres://ann@db/x"), full);
        assert_eq!(place(&bare, None, "postgres://ann@db/x"), "postgres://ann@db/x");
    }

    #[test]
    fn without_any_word_it_lies_in_the_state_folder() {
        let environment = Environment::of(Path::new("/work"), &[("HOME", "/home/me")]);
        let located = ledger(&environment, None, None).unwrap();
        assert_eq!(located.location.to_string(), "/home/me/.local/state/conveyor/conveyor.db");
    }
}
