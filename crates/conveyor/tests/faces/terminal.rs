//! Running a line where somebody sees it: in a pipe, or in a terminal of 100 columns.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::pty;
use rustix::termios::Winsize;
use rustix::termios::tcsetwinsize;

/// Far above what any line takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is left to read when the program has ended comes within this time.
const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What a line answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: String,
    /// Standard output, and in a terminal also standard error, as they were printed.
    pub(crate) out: String,
    /// Standard error, in a pipe.
    pub(crate) err: String,
}

/// Runs it in a pipe.
pub(crate) fn in_a_pipe(mut command: Command, then: impl FnOnce(&mut Child)) -> Answer {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let err = std::thread::spawn(move || all(&mut err));
    let out = std::thread::spawn(move || all(&mut out));
    then(&mut child);
    let status = ended(&mut child);
    Answer { status: word(status), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Runs it in a terminal.
pub(crate) fn in_a_terminal(mut command: Command, then: impl FnOnce(&mut Child)) -> Answer {
    let (ours, theirs) = open();
    let end = || Stdio::from(theirs.try_clone().unwrap());
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    // The command holds the other ends, which would keep the terminal open.
    drop((command, theirs));
    let reader = std::thread::spawn(move || shown(ours));
    then(&mut child);
    let status = ended(&mut child);
    Answer { status: word(status), out: reader.join().unwrap(), err: String::new() }
}

fn open() -> (OwnedFd, File) {
    let ours = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&ours).unwrap();
    pty::unlockpt(&ours).unwrap();
    let name = pty::ptsname(&ours, Vec::new()).unwrap();
    let path = name.to_str().unwrap();
    let theirs = File::options().read(true).write(true).open(path).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (ours, theirs)
}

/// What was shown until nobody has the terminal open any more.
fn shown(ours: OwnedFd) -> String {
    let mut ours = File::from(ours);
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // A terminal that nobody has open any more answers with an error instead of an end.
        match ours.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
        let mut fds = [PollFd::from_borrowed_fd(ours.as_fd(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&REST));
    }
    String::from_utf8(bytes).unwrap()
}

/// Waits for its end.
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            drop(child.kill());
            drop(child.wait());
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn word(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => code.to_string(),
        None => status.to_string(),
    }
}
