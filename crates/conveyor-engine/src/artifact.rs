//! A file that stands as evidence: what it held when it was named is fixed by its size and its SHA-256.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use rustix::fs::OFlags;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;

use crate::Plane;

/// A file as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Artifact {
    /// Its absolute path, without links.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// Looks at a file. A relative path begins at the first of `folders`, else at the caller's.
///
/// Errors: not found; refused for a tool's caller where the file lies in none of `folders`, also behind a link; usage for
/// what is no file or is too large.
pub(crate) fn fix(plane: &Plane, folders: &[PathBuf], given: &str) -> Result<Artifact> {
    let kept = plane.caller.is_beyond_its_sandbox();
    let named = match folders.first() {
        Some(first) if kept => first.join(given),
        Some(_) | None => plane.environment.absolute(given)?,
    };
    let path = named.canonicalize().map_err(|error| unreadable(&named, &error))?;
    let is_inside = |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder));
    if kept && !folders.iter().any(is_inside) {
        return Err(Error::refused(format!("{} lies outside of the folders of the task", named.display()))
            .hint("name a file in the worker's folder, or let a person record it"));
    }
    // Whoever puts a link or a pipe there in the meantime gains nothing and holds up nobody.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
    let file = open.map_err(|error| unreadable(&named, &error))?;
    let meta = file.metadata().map_err(|error| unreadable(&named, &error))?;
    if !meta.is_file() {
        return Err(Error::usage(format!("{} is no file", named.display())));
    }
    let too_large = || {
        let most = limits::ARTIFACT_BYTES / (1024 * 1024);
        Error::usage(format!("{} is larger than {most} MiB", named.display()))
            .hint("name a smaller file that shows the same")
    };
    if meta.len() > limits::ARTIFACT_BYTES {
        return Err(too_large());
    }
    let (bytes, sha256) = digest(file).map_err(|error| unreadable(&named, &error))?;
    if bytes > limits::ARTIFACT_BYTES {
        return Err(too_large());
    }
    Ok(Artifact { path, bytes, sha256 })
}

/// Length and digest of what can be read, up to a byte more than is allowed: the file may grow meanwhile.
fn digest(file: File) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut rest = file.take(limits::ARTIFACT_BYTES + 1);
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = rest.read(&mut buffer)?;
        if read == 0 {
            let digest = hasher.finalize();
            return Ok((bytes, digest.iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no file {path}"))
            .hint("name the file that shows it with --artifact-path, or leave that out"),
        _ => Error::environment(format!("{path} cannot be read: {error}")),
    }
}
