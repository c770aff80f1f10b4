//! What a reviewer reads: the system's programs and toolchains, and the files that its own command line names; never the
//! ledger, nor what agents record.

use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::sessions::Session;

use crate::Caller;
use crate::Plane;
use crate::confine::Reach;
use crate::verbs::continuation_reviewer::ContinuationReviewerRequest;
use crate::verify;

/// What no reviewer may read.
pub(super) struct Secrets {
    /// Files and folders.
    paths: Vec<PathBuf>,
    /// The ledger's file. What lies beside it under a name that begins alike belongs to it: journal, bell, copies.
    ledger: Option<PathBuf>,
}

impl Secrets {
    /// The state folder, the ledger, the calling user's agent's folder, and these records.
    pub(super) fn of(plane: &Plane, records: Vec<PathBuf>) -> Result<Self> {
        let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
        let mut paths = records;
        paths.push(plane.state_dir()?);
        paths.extend(plane.environment.codex_home().ok());
        let ledger = plane.location().path().map(|path| real(path.to_owned()));
        Ok(Self { paths: paths.into_iter().map(real).collect(), ledger })
    }

    #[cfg(test)]
    pub(super) fn for_test(paths: &[&str], ledger: &str) -> Self {
        Self { paths: paths.iter().map(PathBuf::from).collect(), ledger: Some(PathBuf::from(ledger)) }
    }

    /// Whether something secret lies in a path, or the path in something secret.
    pub(super) fn touch(&self, path: &Path) -> bool {
        let is_ledger = self.ledger.as_deref().is_some_and(|ledger| {
            let begins = |name: &std::ffi::OsStr, with: &std::ffi::OsStr| {
                name.as_encoded_bytes().starts_with(with.as_encoded_bytes())
            };
            let beside = path.parent() == ledger.parent()
                && path.file_name().zip(ledger.file_name()).is_some_and(|(name, with)| begins(name, with));
            beside || ledger.starts_with(path)
        });
        is_ledger || self.paths.iter().any(|one| path.starts_with(one) || one.starts_with(path))
    }
}

/// The command with each file that it names made absolute, and what it may read.
///
/// Errors: refused, for what is secret, and for a file that an agent names outside of the folders of its task.
pub(super) fn of(
    plane: &Plane,
    request: &ContinuationReviewerRequest,
    secrets: &Secrets,
    sides: [&Session; 2],
) -> Result<(Vec<String>, Reach)> {
    let mut reach = Reach::system().reading(verify::tools(plane));
    if let Some(open) =
        reach.read.iter().filter_map(|path| path.canonicalize().ok()).find(|path| secrets.touch(path))
    {
        let message =
            format!("the ledger or an agent's records lie in {}, which programs read", open.display());
        return Err(Error::refused(message).hint("move them into a folder of their own in your home"));
    }
    let folders: Vec<PathBuf> =
        sides.iter().filter_map(|side| Path::new(&side.cwd).canonicalize().ok()).collect();
    let mut argv = request.reviewer_command.clone();
    for (place, word) in argv.iter_mut().enumerate() {
        let (on_path, named) = match place {
            0 if !word.contains('/') => (true, plane.environment.find_program(word)),
            _ => (false, Some(plane.environment.cwd.join(&*word))),
        };
        let Some(named) = named.filter(|path| path.is_file()) else { continue };
        // What is given is the file itself, also where a link is changed meanwhile.
        let Ok(file) = named.canonicalize() else { continue };
        if secrets.touch(&file) {
            return Err(Error::refused(format!("{} is not for a reviewer", file.display()))
                .hint("what a reviewer may know stands on its standard input: --dry-run shows it"));
        }
        let is_own =
            on_path || plane.caller == Caller::Person || folders.iter().any(|one| file.starts_with(one));
        if !is_own {
            let message = format!("{} lies outside of the folders of this task's sessions", file.display());
            return Err(
                Error::refused(message).hint("bring the reviewer in one of them, or let a person run this")
            );
        }
        // A program may be told by its name what it is to be.
        *word = named.to_string_lossy().into_owned();
        reach.read.push(file);
    }
    if request.network && secrets.ledger.is_none() {
        return Err(Error::refused(
            "this ledger is a database, which a reviewer with the network could reach",
        )
        .hint("leave out --network"));
    }
    Ok((argv, if request.network { reach.with_network() } else { reach }))
}
