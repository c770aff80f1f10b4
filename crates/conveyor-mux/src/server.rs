//! Which tmux server is meant.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::PathBuf;

/// A tmux server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// By its socket.
    Socket(PathBuf),
    /// By name, `tmux -L NAME`.
    Named {
        /// The name; tmux's own default is `default`.
        name: String,
        /// The value of `TMUX_TMPDIR`, under which tmux keeps its sockets; none means tmux's own default, `/tmp`.
        tmpdir: Option<PathBuf>,
    },
}

impl Server {
    /// The server of an environment: that of `TMUX`, else the one named `default` under `TMUX_TMPDIR`.
    pub fn of_environment(tmux: Option<&OsStr>, tmux_tmpdir: Option<&OsStr>) -> Self {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::ffi::OsStringExt;
        // TMUX is `socket,server pid,session number`; the path itself may hold commas.
        let socket = tmux.and_then(|value| value.as_bytes().rsplitn(3, |&b| b == b',').nth(2));
        match socket.filter(|path| !path.is_empty()) {
            Some(path) => Self::Socket(PathBuf::from(OsString::from_vec(path.to_vec()))),
            None => Self::named("default", tmux_tmpdir),
        }
    }

    /// The server that `tmux -L name` means under this `TMUX_TMPDIR`.
    pub fn named(name: impl Into<String>, tmux_tmpdir: Option<&OsStr>) -> Self {
        let tmpdir = tmux_tmpdir.filter(|path| !path.is_empty()).map(PathBuf::from);
        Self::Named { name: name.into(), tmpdir }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_server() {
        let of = |tmux: Option<&str>, dir: Option<&str>| {
            Server::of_environment(tmux.map(OsStr::new), dir.map(OsStr::new))
        };
        assert_eq!(of(Some("/tmp/a,b/default,123,0"), Some("/x")), Server::Socket("/tmp/a,b/default".into()));
        let under_x = Server::Named { name: "default".to_owned(), tmpdir: Some("/x".into()) };
        assert_eq!(of(None, Some("/x")), under_x);
        assert_eq!(of(Some(""), Some("/x")), under_x);
        assert_eq!(of(Some("nonsense"), None), Server::named("default", None));
        assert_eq!(of(None, Some("")), Server::named("default", None));
    }
}
