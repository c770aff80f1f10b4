//! What is started in a new session.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;

/// A program for a new detached session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnSpec {
    /// Name of the session.
    pub session: Name,
    /// The program's working directory.
    pub cwd: PathBuf,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Variables to set, beside those that the server gives.
    pub set: Vec<(OsString, OsString)>,
    /// Variables to remove.
    pub remove: Vec<OsString>,
    /// The program and its arguments. No shell reads them.
    pub argv: Vec<OsString>,
    /// Keep the pane when the program ends, so that its last lines can be read.
    pub keep_dead: bool,
}

impl SpawnSpec {
    /// A program in a pane of 200 columns and 50 rows that stays when the program ends.
    pub fn new(session: Name, cwd: impl Into<PathBuf>, argv: Vec<OsString>) -> Self {
        Self {
            session,
            cwd: cwd.into(),
            size: (200, 50),
            set: Vec::new(),
            remove: Vec::new(),
            argv,
            keep_dead: true,
        }
    }
}

impl SpawnSpec {
    /// The working directory as tmux has to get it. tmux expands formats in it, and takes the home folder when it does
    /// not exist, which would start the program in a place that nobody named.
    pub(crate) fn start_directory(&self) -> Result<OsString> {
        if !self.cwd.is_dir() {
            return Err(Error::usage(format!("`{}` is not a folder", self.cwd.display())));
        }
        let bytes = self.cwd.as_os_str().as_bytes().iter();
        let escaped = bytes.flat_map(|&byte| if byte == b'#' { vec![b'#', b'#'] } else { vec![byte] });
        Ok(OsString::from_vec(escaped.collect()))
    }

    /// The arguments with which tmux starts the program: always through `env`.
    ///
    /// tmux can set variables but not remove them, and it gives a single argument to a shell, which two or more
    /// arguments are not.
    pub(crate) fn command(&self) -> Result<Vec<OsString>> {
        let program = self.argv.first().ok_or_else(|| Error::usage("no program to start"))?;
        if program.is_empty() || program.as_bytes().starts_with(b"-") || has_equals(program) {
            return Err(Error::usage("the program's name is empty, begins with `-` or holds `=`"));
        }
        let mut command: Vec<OsString> = vec!["env".into()];
        for name in &self.remove {
            check_name(name)?;
            command.extend(["-u".into(), name.clone()]);
        }
        for (name, value) in &self.set {
            check_name(name)?;
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            command.push(pair);
        }
        command.extend(self.argv.iter().cloned());
        Ok(command)
    }
}

fn has_equals(text: &OsStr) -> bool {
    text.as_bytes().contains(&b'=')
}

/// A variable's name: `env` would take one with a leading `-` for an option.
fn check_name(name: &OsStr) -> Result<()> {
    let first = name.as_bytes().first();
    if first.is_none_or(|&byte| byte == b'-') || has_equals(name) {
        return Err(Error::usage(format!("`{}` is not a name for a variable", name.display())));
    }
    Ok(())
}
