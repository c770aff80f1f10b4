//! The example program, run as a process of its own.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

/// The user without rights that every system has.
pub(crate) const NOBODY: &str = "nobody";

/// Where cargo put the example: beside the folder of this test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/ledger_probe");
    assert!(path.exists(), "{} is missing; cargo builds it with the tests", path.display());
    path
}

pub(crate) fn probe(args: &[&str], ledger: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg(args[0]).arg(ledger).args(&args[1..]);
    command
}

pub(crate) fn said(output: &Output) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    text.trim().to_owned()
}

/// A process that holds the write lock until it is dropped.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn of(ledger: &Path) -> Self {
        let mut child =
            probe(&["hold"], ledger).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }

    /// Ends it as SIGKILL does, in the middle of its transaction.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A folder that another user can enter, with a copy of the program in it.
pub(crate) struct Open {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) program: PathBuf,
}

impl Open {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("probe");
        std::fs::copy(program(), &copy).unwrap();
        mode(folder.path(), 0o755);
        mode(&copy, 0o755);
        Self { program: copy, folder }
    }

    pub(crate) fn probe_as_nobody(&self, verb: &str, ledger: &Path) -> Output {
        as_nobody(&self.program, &[verb, ledger.to_str().unwrap()])
    }
}

/// Runs a program as the user without rights.
pub(crate) fn as_nobody(program: &Path, args: &[&str]) -> Output {
    assert!(rustix::process::geteuid().is_root(), "these tests change the user and need root");
    let mut command = Command::new("runuser");
    command.args(["-u", NOBODY, "--"]).arg(program).args(args).current_dir("/").env("HOME", "/");
    command.output().unwrap()
}

pub(crate) fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
