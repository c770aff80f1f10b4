//! What setup writes down before it changes anything: how the configuration was, and how it leaves it.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::mcp::install::codex::Home;

/// Its folder in Codex's folder.
const FOLDER: &str = "conveyor";

/// What is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// The configuration without what setup wrote; `None` where there was no file.
    pub(super) before: Option<String>,
    /// The configuration as setup left it.
    pub(super) after: String,
    /// Setup made the folder for skills.
    pub(super) created_skills: bool,
}

/// The folder in which it is kept.
pub(super) struct Record {
    folder: PathBuf,
}

impl Record {
    /// The record of a Codex.
    pub(super) fn of(home: &Home) -> Self {
        Self { folder: home.path().join(FOLDER) }
    }

    /// What a person looks into: the configuration as it was.
    pub(super) fn backup(&self) -> PathBuf {
        self.folder.join("config.toml.before")
    }

    fn file(&self) -> PathBuf {
        self.folder.join("setup.json")
    }

    /// What was kept; nothing where setup never ran or was undone.
    pub(super) fn load(&self) -> Result<Option<Kept>> {
        let text = match std::fs::read_to_string(self.file()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read", &self.file(), &error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Error::environment(format!("{} is damaged: {error}", self.file().display()))
                .hint(format!("compare config.toml with {} by hand", self.backup().display()))
        })
    }

    /// Keeps it, whole or not at all, readable by its owner only: a configuration may hold passwords.
    pub(super) fn save(&self, kept: &Kept) -> Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| self.failed("made", &self.folder, &error))?;
        let text = serde_json::to_string(kept)
            .map_err(|error| Error::environment(format!("the record cannot be written: {error}")))?;
        if let Some(before) = &kept.before {
            put(&self.backup(), before).map_err(|error| self.failed("written", &self.backup(), &error))?;
        }
        put(&self.file(), &text).map_err(|error| self.failed("written", &self.file(), &error))
    }

    /// Forgets it. The record goes last, so that a call that was killed is made up for.
    pub(super) fn remove(&self) -> Result<()> {
        for file in [self.backup(), self.file()] {
            match std::fs::remove_file(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("removed", &file, &error)),
            }
        }
        // Somebody else's file in it keeps it.
        let _ = std::fs::remove_dir(&self.folder);
        Ok(())
    }

    fn failed(&self, done: &str, path: &Path, error: &std::io::Error) -> Error {
        Error::environment(format!("{} cannot be {done}: {error}", path.display()))
    }
}

/// Writes a file that is there whole or not at all, readable by its owner only.
pub(super) fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let mut fresh = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    fresh.write_all(text.as_bytes())?;
    fresh.as_file().sync_all()?;
    fresh.persist(path).map_err(std::io::Error::from).map(drop)
}
