//! Where a ledger lies: a file of SQLite's or a database of PostgreSQL's.

use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use conveyor_model::Error;
use conveyor_model::Result;

/// Where a ledger lies.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// An absolute path.
    Sqlite(PathBuf),
    /// A `postgres://` URL, which may hold a password: [`fmt::Display`] leaves it out.
    Postgres(String),
}

impl Location {
    /// Reads a path or a URL as a person types it: `~` is `home`, a relative path begins at `here`.
    pub fn parse(text: &str, home: Option<&Path>, here: &Path) -> Result<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        if path.contains("://") {
            return Err(Error::usage(format!("`{}` is no ledger's address", text.escape_debug()))
                .hint("give a path, or a URL that begins with postgres://"));
        }
        if path.is_empty() || path.contains('\0') {
            return Err(Error::usage("the path of the ledger is empty or holds U+0000"));
        }
        let path = match (path.strip_prefix('~'), home) {
            (Some(""), Some(home)) => home.to_owned(),
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(&rest[1..]),
            (Some(rest), None) if rest.is_empty() || rest.starts_with('/') => {
                return Err(Error::usage("`~` needs HOME to be set"));
            }
            _ => PathBuf::from(path),
        };
        Ok(Self::Sqlite(here.join(path)))
    }

    /// Whether both are the same but for a password that this one leaves out.
    pub fn lacks_only_the_password_of(&self, other: &Self) -> bool {
        let (Self::Postgres(url), Self::Postgres(full)) = (self, other) else { return false };
        url != full && *url == without_password(full)
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    /// [`Location::parse`] with the environment's `HOME` and the working folder.
    fn from_str(text: &str) -> Result<Self> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let here = std::env::current_dir()
            .map_err(|error| Error::environment(format!("there is no working folder: {error}")))?;
        Self::parse(text, home.as_deref(), &here)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

/// The URL without the password in `user:password@host` or in a `password=` parameter.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let kept: Vec<&str> =
        query.split('&').filter(|part| !part.is_empty() && !part.starts_with("password=")).collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    format!("{scheme}://{shown}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location> {
        Location::parse(text, Some(Path::new("/home/ann")), Path::new("/srv/here"))
    }

    #[test]
    fn paths_become_absolute_and_a_tilde_is_home() {
        let path = |text: &str| parse(text).unwrap().path().unwrap().to_owned();
        assert_eq!(path("a.db"), Path::new("/srv/here/a.db"));
        assert_eq!(path("/x/a.db"), Path::new("/x/a.db"));
        assert_eq!(path("~/a.db"), Path::new("/home/ann/a.db"));
        assert_eq!(path("~bob/a.db"), Path::new("/srv/here/~bob/a.db"));
        assert_eq!(path("sqlite:///x/a.db"), Path::new("/x/a.db"));
        assert!(Location::parse("~/a.db", None, Path::new("/")).is_err());
    }

    #[test]
    fn other_engines_and_empty_paths_are_wrong_usage() {
        assert!(parse("").is_err());
        assert!(parse("mysql://localhost/x").is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = |url: &str| parse(url).unwrap().to_string();
        assert_eq!(shown("postgres://ann:s3:cr@t@db:5432/x"), "postgres://ann@db:5432/x");
        assert_eq!(shown("postgresql://db/x?user=ann&password=s3cret"), "postgresql://db/x?user=ann");
        assert_eq!(shown("postgres://db/x"), "postgres://db/x");
        assert!(!format!("{:?}", parse("postgres://ann:s3cret@db/x").unwrap()).contains("s3cret"));
    }

    #[test]
    fn a_url_that_was_shown_is_known_again() {
        let full = parse("postgres://ann:s3cret@db/x?sslmode=require").unwrap();
        assert!(parse(&full.to_string()).unwrap().lacks_only_the_password_of(&full));
        for other in ["postgres://ann@db/y", "postgres://bob@db/x?sslmode=require", "/x"] {
            assert!(!parse(other).unwrap().lacks_only_the_password_of(&full), "{other}");
        }
        assert!(!full.lacks_only_the_password_of(&full));
    }
}
