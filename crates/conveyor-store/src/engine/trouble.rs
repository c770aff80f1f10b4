//! What an engine's error means to a person, and whether the call may be repeated.

use conveyor_model::Error;
use conveyor_model::Retry;

use crate::engine::Engine;

/// What went wrong, in words that both engines share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Another writer holds the ledger.
    Busy,
    /// The file's pages do not fit together.
    Corrupt,
    /// A row with that key exists, or a rule of the schema forbids it.
    Constraint,
    /// No room.
    Full,
    /// The system or the server does not let us.
    Permission,
    /// No file, no server, no such database.
    Absent,
    /// It can be read, not written.
    ReadOnly,
    /// Not a file of SQLite's.
    NotALedger,
    /// The connection broke.
    Disconnected,
    /// Anything else.
    Other,
}

/// Reads the code of an engine's error: SQLite's extended result code, PostgreSQL's SQLSTATE.
pub(crate) fn read_code(engine: Engine, code: &str) -> Trouble {
    match engine {
        // SQLITE_IOERR_SHMSIZE: the index of the log cannot grow, which a full disk is told as before anything is written.
        Engine::Sqlite if code == "4874" => Trouble::Full,
        Engine::Sqlite => match code.parse::<i32>().map(|code| code & 0xff) {
            Ok(3 | 23) => Trouble::Permission,
            Ok(5 | 6) => Trouble::Busy,
            Ok(8) => Trouble::ReadOnly,
            Ok(11) => Trouble::Corrupt,
            Ok(13) => Trouble::Full,
            Ok(14) => Trouble::Absent,
            Ok(19) => Trouble::Constraint,
            Ok(26) => Trouble::NotALedger,
            _ => Trouble::Other,
        },
        Engine::Postgres => match code {
            "55P03" | "40001" | "40P01" | "57014" => Trouble::Busy,
            "53100" | "53200" => Trouble::Full,
            "42501" => Trouble::Permission,
            "25006" => Trouble::ReadOnly,
            "3D000" => Trouble::Absent,
            "XX001" | "XX002" => Trouble::Corrupt,
            _ if code.starts_with("28") => Trouble::Permission,
            _ if code.starts_with("23") => Trouble::Constraint,
            _ if code.starts_with("57P") || code.starts_with("08") || code == "53300" => {
                Trouble::Disconnected
            }
            _ => Trouble::Other,
        },
    }
}

/// An error of a driver's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// SQLite's.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL's.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

impl Fault {
    /// What it means.
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Self::Sqlite(error) => of_sqlite(error),
            Self::Postgres(error) => of_postgres(error),
        }
    }
}

fn of_sqlite(error: &rusqlite::Error) -> Trouble {
    let code = match error {
        rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } => {
            error.extended_code
        }
        _ => return Trouble::Other,
    };
    read_code(Engine::Sqlite, &code.to_string())
}

fn of_postgres(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Database(error) => {
            error.code().map_or(Trouble::Other, |code| read_code(Engine::Postgres, &code))
        }
        sqlx::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::PermissionDenied => Trouble::Permission,
            std::io::ErrorKind::StorageFull => Trouble::Full,
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Trouble::Absent,
            _ => Trouble::Disconnected,
        },
        sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => Trouble::Disconnected,
        _ => Trouble::Other,
    }
}

/// The error that a verb ends with.
pub(crate) fn told(fault: &Fault, place: &str) -> Error {
    tell(fault.trouble(), fault, place)
}

/// The same for a trouble that is already read.
pub(crate) fn tell(trouble: Trouble, cause: &dyn std::fmt::Display, place: &str) -> Error {
    let ledger = |what: &str| Error::ledger(format!("the ledger {place} {what}"));
    match trouble {
        Trouble::Busy => ledger("is locked by another writer")
            .hint("try again; if it lasts, `conveyor db-doctor` says who"),
        Trouble::Corrupt => ledger(&format!("is damaged: {cause}")).hint("conveyor db-doctor"),
        Trouble::Constraint => Error::conflict(format!("the ledger refuses the change: {cause}")),
        Trouble::Full => {
            ledger("cannot grow: no room is left on the disk").hint("free some room and try again")
        }
        Trouble::Permission => ledger(&format!("may not be used by this user: {cause}"))
            .hint("use the account that made it, or give another one with --db"),
        Trouble::Absent => {
            ledger(&format!("cannot be opened: {cause}")).hint("give its path or URL with --db")
        }
        Trouble::ReadOnly => ledger("can be read but not written from here")
            .hint("inside an agent's sandbox call conveyor's MCP tool instead of the command"),
        Trouble::NotALedger => {
            ledger("is not one of conveyor's: it is no SQLite file").hint("give another path with --db")
        }
        Trouble::Disconnected => ledger(&format!("lost its connection: {cause}"))
            .retry(Retry::Unknown)
            .hint("look before you try again"),
        Trouble::Other => ledger(&format!("could not be used: {cause}")).hint("conveyor db-doctor"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_engines_mean_the_same_trouble() {
        let pairs = [
            ("5", "55P03", Trouble::Busy),
            ("517", "40001", Trouble::Busy),
            ("8", "25006", Trouble::ReadOnly),
            ("13", "53100", Trouble::Full),
            ("4874", "53100", Trouble::Full),
            ("267", "XX001", Trouble::Corrupt),
            ("2067", "23505", Trouble::Constraint),
            ("23", "28P01", Trouble::Permission),
            ("14", "3D000", Trouble::Absent),
            ("1", "42601", Trouble::Other),
        ];
        for (sqlite, postgres, trouble) in pairs {
            assert_eq!(read_code(Engine::Sqlite, sqlite), trouble, "{sqlite}");
            assert_eq!(read_code(Engine::Postgres, postgres), trouble, "{postgres}");
        }
    }

    #[test]
    fn a_locked_ledger_may_be_tried_again_and_a_broken_connection_not_blindly() {
        assert_eq!(tell(Trouble::Busy, &"", "x").retry, Retry::Safe);
        assert_eq!(tell(Trouble::Disconnected, &"", "x").retry, Retry::Unknown);
    }
}
