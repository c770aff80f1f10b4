//! The skill: its text is part of this program. The installed file ends in a stamp with its version and digest, so that an
//! edit is seen without any record.

use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::wire::hex;
use sha2::Digest;
use sha2::Sha256;

use super::record::put;
use super::report::State;
use crate::mcp::install::diff;

/// The skill's name, which users' prompts say.
pub(super) const NAME: &str = "manage-codex-workers";

/// Its text.
pub(super) const TEXT: &str = include_str!("../../skills/manage-codex-workers/SKILL.md");

/// What a stamp begins with.
const STAMP: &str = "<!-- conveyor ";

/// What lies where the skill belongs.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing.
    Absent,
    /// The text of this version.
    Current,
    /// The text of another version, as conveyor wrote it.
    Other(String),
    /// A text of conveyor's that somebody edited.
    Edited,
    /// Something that conveyor did not write.
    Foreign,
}

/// The skill in a Codex's folder.
pub(super) struct Skill {
    target: PathBuf,
    found: Found,
}

impl Skill {
    /// What there is of it in this folder. Measured: 0.169, 0.144 and 0.99 all read `skills` there, and name each skill to
    /// their model at a session's first message.
    pub(super) fn look(codex_home: &Path) -> Result<Self> {
        let target = codex_home.join("skills").join(NAME).join("SKILL.md");
        let found = found(&target)?;
        Ok(Self { target, found })
    }

    /// The file.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// What installing does.
    pub(super) fn state(&self) -> State {
        match self.found {
            Found::Absent => State::Installed,
            Found::Other(_) => State::Updated,
            Found::Current => State::Unchanged,
            Found::Edited | Found::Foreign => State::Left,
        }
    }

    /// What uninstalling does.
    pub(super) fn state_gone(&self) -> State {
        match self.found {
            Found::Absent => State::Absent,
            Found::Current | Found::Other(_) => State::Removed,
            Found::Edited | Found::Foreign => State::Left,
        }
    }

    /// Why it is left alone, and what a person can do.
    pub(super) fn left(&self) -> Option<String> {
        let why = match self.found {
            Found::Edited => "was edited",
            Found::Foreign => "was not written by conveyor",
            Found::Absent | Found::Current | Found::Other(_) => return None,
        };
        let path = self.target.display();
        Some(format!("{path} {why} and stays; to replace it, move it away and run this again"))
    }

    /// Whether the file is conveyor's, unedited.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.found, Found::Current | Found::Other(_))
    }

    /// Whether installing writes it.
    pub(super) fn is_to_be_written(&self) -> bool {
        matches!(self.found, Found::Absent | Found::Other(_))
    }

    /// Whether writing it makes the folder of all skills.
    pub(super) fn makes_folder(&self) -> bool {
        self.is_to_be_written() && self.folder_of_all().is_some_and(|folder| !folder.exists())
    }

    fn folder_of_all(&self) -> Option<&Path> {
        self.target.parent()?.parent()
    }

    /// What installing changes, for a person.
    pub(super) fn shown(&self) -> String {
        match &self.found {
            Found::Absent => {
                format!("new file: {} ({} lines)\n", self.target.display(), stamped(TEXT).lines().count())
            }
            Found::Other(old) => diff::unified(old, &stamped(TEXT), &self.target),
            Found::Current | Found::Edited | Found::Foreign => String::new(),
        }
    }

    /// What uninstalling changes, for a person.
    pub(super) fn shown_gone(&self) -> String {
        if self.is_ours() { format!("file goes: {}\n", self.target.display()) } else { String::new() }
    }

    /// Writes it, unless somebody else's file is there.
    pub(super) fn install(&self) -> Result<()> {
        if !self.is_to_be_written() {
            return Ok(());
        }
        let write = || {
            if let Some(folder) = self.target.parent() {
                std::fs::create_dir_all(folder)?;
            }
            put(&self.target, &stamped(TEXT))
        };
        write().map_err(|error| self.failed("written", &error))
    }

    /// Removes it if it is conveyor's, and the folders that held nothing else.
    pub(super) fn remove(&self, with_folder_of_all: bool) -> Result<()> {
        if self.is_ours() {
            std::fs::remove_file(&self.target).map_err(|error| self.failed("removed", &error))?;
        }
        if matches!(self.found, Found::Edited | Found::Foreign) {
            return Ok(());
        }
        // A folder in which somebody put something else stays.
        if let Some(folder) = self.target.parent() {
            let _ = std::fs::remove_dir(folder);
        }
        if let (true, Some(folder)) = (with_folder_of_all, self.folder_of_all()) {
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }

    fn failed(&self, done: &str, error: &std::io::Error) -> Error {
        Error::environment(format!("{} cannot be {done}: {error}", self.target.display()))
    }
}

/// What lies at a path.
fn found(target: &Path) -> Result<Found> {
    // A link leads to a file that somebody keeps elsewhere: it is not conveyor's to change.
    if target.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
        return Ok(Found::Foreign);
    }
    match std::fs::read(target) {
        Ok(bytes) => Ok(String::from_utf8(bytes).map_or(Found::Foreign, judge)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Found::Absent),
        Err(error) => Err(Error::environment(format!("{} cannot be read: {error}", target.display()))),
    }
}

/// Whose text it is.
fn judge(text: String) -> Found {
    if text == stamped(TEXT) {
        return Found::Current;
    }
    let Some(start) = text.rfind(STAMP) else { return Found::Foreign };
    let (body, stamp) = text.split_at(start);
    let is_whole = stamp.trim_end().ends_with(&format!(" sha256:{} -->", digest(body)));
    if is_whole && stamp.trim_end().lines().count() == 1 { Found::Other(text) } else { Found::Edited }
}

/// The text as it is installed.
fn stamped(text: &str) -> String {
    format!("{text}\n{STAMP}{} sha256:{} -->\n", env!("CARGO_PKG_VERSION"), digest(&format!("{text}\n")))
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_of_one_letter_is_seen() {
        assert_eq!(judge(stamped(TEXT)), Found::Current);
        let older = stamped("# An older text\n");
        assert_eq!(judge(older.clone()), Found::Other(older.clone()));
        assert_eq!(judge(older.replace("older", "elder")), Found::Edited);
        assert_eq!(judge(format!("{older}\nMine.\n")), Found::Edited);
        assert_eq!(judge("# Mine\n".to_owned()), Found::Foreign);
        assert_eq!(judge(String::new()), Found::Foreign);
    }
}
