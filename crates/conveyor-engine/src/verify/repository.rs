//! A git repository that an agent works in. Git is only ever run in confinement and without hooks: the repository's own
//! settings can name programs, and the agent may have written them.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;

use crate::Plane;
use crate::confine;
use crate::confine::Ran;
use crate::confine::Reach;
use crate::confine::Spec;

/// Where a repository lies.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// The top of its working tree.
    pub(crate) top: PathBuf,
    /// Where its objects and refs are, also for a linked working tree.
    pub(crate) git_dir: PathBuf,
}

/// A commit and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The commit's id.
    pub(crate) id: String,
    /// Its tree's id.
    pub(crate) tree: String,
}

impl Repository {
    /// The repository that a folder belongs to.
    ///
    /// Errors: not found; refused for one without a working tree.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let none = || {
            Error::not_found(format!("{} is in no git repository", folder.display()))
                .hint("a check runs on a commit: git init, and commit the work")
        };
        let folder = folder.canonicalize().map_err(|_| none())?;
        for top in folder.ancestors() {
            let entry = top.join(".git");
            // A folder that is only named so is passed over, as git does.
            if let Ok(kind) = entry.symlink_metadata().map(|meta| meta.file_type())
                && (!kind.is_dir() || looks_like_git_dir(&entry))
            {
                let git_dir = if kind.is_dir() { entry } else { linked(&entry)? };
                return Ok(Self { top: top.to_owned(), git_dir: sound(&git_dir)? });
            }
            if looks_like_git_dir(top) {
                return Err(Error::refused(format!("{} is a bare repository", top.display()))
                    .hint("register the worker with a folder that has a working tree"));
            }
        }
        Err(none())
    }

    /// The commit that a revision names.
    pub(crate) async fn commit(&self, plane: &Plane, revision: &str) -> Result<Commit> {
        let unknown = |why: &str| {
            let shown = revision.escape_debug();
            Error::not_found(format!("`{shown}` is no commit of {}: {why}", self.top.display()))
                .hint("git log --oneline lists the commits; one that was not fetched is not there")
        };
        if revision.is_empty() || revision.starts_with('-') || revision.len() > limits::REVISION_BYTES {
            return Err(unknown("that is no revision"));
        }
        let (id, tree) = (format!("{revision}^{{commit}}"), format!("{revision}^{{tree}}"));
        let mut ids = Vec::new();
        for wanted in [&id, &tree] {
            let ran = self.ran(plane, &["rev-parse", "--verify", "--end-of-options", wanted], &[]).await?;
            if !ran.ended.is_success() {
                return Err(unknown(last_words(&ran)));
            }
            ids.push(ran.stdout.text.trim().to_owned());
        }
        match ids.as_slice() {
            [id, tree] => Ok(Commit { id: id.clone(), tree: tree.clone() }),
            _ => Err(unknown("git did not tell its ids")),
        }
    }

    /// Whether the working tree differs from what is committed.
    pub(crate) async fn is_dirty(&self, plane: &Plane) -> Result<bool> {
        let said = self.git(plane, &["status", "--porcelain", "--untracked-files=normal"], &[]).await?;
        Ok(!said.trim().is_empty())
    }

    /// What git prints. It may change only `writing`.
    pub(crate) async fn git(&self, plane: &Plane, words: &[&str], writing: &[&Path]) -> Result<String> {
        let ran = self.ran(plane, words, writing).await?;
        if ran.ended.is_success() {
            return Ok(ran.stdout.text);
        }
        let word = words.first().copied().unwrap_or_default();
        Err(Error::environment(format!("git {word}: {}", last_words(&ran))))
    }

    /// How git ended.
    ///
    /// Errors: when it could not be run.
    async fn ran(&self, plane: &Plane, words: &[&str], writing: &[&Path]) -> Result<Ran> {
        let quiet = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];
        let argv = quiet.iter().chain(words).map(|word| (*word).to_owned()).collect();
        let path = super::path(plane);
        let env = [
            ("PATH", path),
            ("LC_ALL", "C"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_NO_LAZY_FETCH", "1"),
        ];
        let programs = std::env::split_paths(path).filter(|dir| dir.is_absolute());
        let spec = Spec {
            argv,
            cwd: self.top.clone(),
            env: BTreeMap::from(env.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            stdin: None,
            limit_ms: limits::GIT_MS,
            output_bytes: limits::CHECK_OUTPUT_BYTES,
            reach: Some(
                Reach::system()
                    .reading(programs)
                    .reading([self.top.clone(), self.git_dir.clone()])
                    .writing(writing.iter().map(|path| (*path).to_owned())),
            ),
        };
        confine::run(&plane.environment.executable, spec).await
    }
}

/// What a git that failed said last.
fn last_words(ran: &Ran) -> &str {
    ran.stderr.text.lines().last().unwrap_or("it ended without a word")
}

/// Where the file `.git` of a linked working tree leads: to the repository that it belongs to.
///
/// An agent could write such a file and point it anywhere. It is followed only when the other side points back.
fn linked(file: &Path) -> Result<PathBuf> {
    let wrong =
        || Error::refused(format!("{} does not belong to the repository that it names", file.display()));
    let read =
        |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|_| wrong());
    let text = read(file)?;
    let target = text.strip_prefix("gitdir:").ok_or_else(wrong)?.trim();
    let own = file.parent().ok_or_else(wrong)?.join(target).canonicalize().map_err(|_| wrong())?;
    let back = own.join(read(&own.join("gitdir"))?).canonicalize().map_err(|_| wrong())?;
    if back != file.canonicalize().map_err(|_| wrong())? {
        return Err(wrong());
    }
    own.join(read(&own.join("commondir"))?).canonicalize().map_err(|_| wrong())
}

fn sound(git_dir: &Path) -> Result<PathBuf> {
    let wrong = || Error::refused(format!("{} is no git repository", git_dir.display()));
    let git_dir = git_dir.canonicalize().map_err(|_| wrong())?;
    if looks_like_git_dir(&git_dir) { Ok(git_dir) } else { Err(wrong()) }
}

fn looks_like_git_dir(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_points_to_somebody_elses_folder_is_not_followed() {
        let (work, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in ["objects", "refs"] {
            std::fs::create_dir(elsewhere.path().join(folder)).unwrap();
        }
        std::fs::write(elsewhere.path().join("HEAD"), "ref: refs/heads/main").unwrap();
        let git = work.path().join(".git");
        std::fs::write(&git, format!("gitdir: {}", elsewhere.path().display())).unwrap();
        assert!(Repository::of(work.path()).unwrap_err().message.contains("does not belong"));
        std::fs::write(&git, "nonsense").unwrap();
        assert!(Repository::of(work.path()).is_err());
        let bare = Repository::of(elsewhere.path()).unwrap_err();
        assert!(bare.message.contains("bare"), "{bare}");
        let none = Repository::of(Path::new("/")).unwrap_err();
        assert!(none.message.contains("in no git repository"), "{none}");
    }
}
