//! What is started in a new session.

use std::ffi::OsString;
use std::path::PathBuf;

use conveyor_model::Name;

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
