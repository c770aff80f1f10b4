//! The helper on Linux: a process of its own that starts one command, watches it, and ends all that came of it.

use std::io::BufRead;
use std::io::Read;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use conveyor_model::limits;

use super::Answer;
use super::Ended;
use super::Held;
use super::Output;
use super::Ran;
use super::Spec;
use super::collect::Collected;
use super::collect::drain;
use super::restrict;
use super::tree;

pub(super) use super::tree::sweep;

/// Why the helper stops waiting.
enum Event {
    /// The command ended.
    Ended(ExitStatus),
    /// Whoever called the helper is gone.
    Alone,
}

/// Runs the command that standard input describes, and answers on standard output.
pub(super) fn helper() -> u8 {
    let answer = match work() {
        Ok(Some(ran)) => Answer::Ran(Box::new(ran)),
        // Nobody is there to read an answer.
        Ok(None) => return 1,
        Err(why) => Answer::Failed(why),
    };
    let line = serde_json::to_vec(&answer).unwrap_or_default();
    u8::from(std::io::stdout().write_all(&line).is_err())
}

fn work() -> Result<Option<Ran>, String> {
    let spec = read_spec()?;
    // A session of its own has no terminal, and Ctrl-C in the caller's reaches only the caller.
    rustix::process::setsid().map_err(|error| format!("a session of its own is refused: {error}"))?;
    let myself = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(myself))
        .map_err(|error| format!("orphans cannot be adopted: {error}"))?;
    let (tell, told) = mpsc::channel();
    watch_caller(tell.clone());
    let started = Instant::now();
    let (mut child, held) = start(&spec)?;
    let main =
        i32::try_from(child.id()).map_err(|_| "the command's process id is out of range".to_owned())?;
    feed(&mut child, spec.stdin.clone());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = (Reading::of(stdout, spec.output_bytes), Reading::of(stderr, spec.output_bytes));
    watch_command(child, tell);
    let event = told.recv_timeout(Duration::from_millis(spec.limit_ms));
    let duration = started.elapsed();
    let (left_behind, still_there) = tree::end(main);
    let ended = match event {
        Ok(Event::Ended(status)) => ended(status),
        Err(RecvTimeoutError::Timeout) => Ended::TimedOut,
        Ok(Event::Alone) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
    };
    if still_there > 0 {
        return Err(format!("{still_there} processes of the command could not be killed"));
    }
    Ok(Some(Ran {
        ended,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        stdout: stdout.output(),
        stderr: stderr.output(),
        held,
        left_behind,
    }))
}

fn read_spec() -> Result<Spec, String> {
    let mut line = Vec::new();
    std::io::stdin()
        .lock()
        .take(limits::CONFINED_SPEC_BYTES)
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("what is to be run cannot be read: {error}"))?;
    serde_json::from_slice(&line).map_err(|error| format!("what is to be run is not understood: {error}"))
}

/// Starts the command on a thread that gave up its rights first: a child has the rights of the thread that starts it.
fn start(spec: &Spec) -> Result<(Child, Held), String> {
    let spec = spec.clone();
    let confined = thread::spawn(move || {
        let held = match &spec.reach {
            Some(reach) => restrict::restrict(reach)?,
            None => Held { engine: "none".to_owned(), complete: false, network: true },
        };
        let (program, arguments) = spec.argv.split_first().ok_or("there is no command")?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&spec.cwd)
            .env_clear()
            .envs(&spec.env)
            .stdin(if spec.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`{program}` cannot be started: {error}"))?;
        Ok((child, held))
    });
    confined.join().map_err(|_| "the thread that starts the command failed".to_owned())?
}

/// Ends everything when the caller does, however it does: then the other end of standard input closes.
fn watch_caller(tell: Sender<Event>) {
    thread::spawn(move || {
        drain(std::io::stdin(), |_| {});
        let _ = tell.send(Event::Alone);
    });
}

fn watch_command(mut child: Child, tell: Sender<Event>) {
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            let _ = tell.send(Event::Ended(status));
        }
    });
}

/// A command that does not read its input to the end is none of our business.
fn feed(child: &mut Child, text: Option<String>) {
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), text) {
        thread::spawn(move || {
            let _ = pipe.write_all(text.as_bytes());
        });
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited { code },
        (None, Some(signal)) => Ended::Signalled { signal },
        // An end has one of the two.
        (None, None) => Ended::Signalled { signal: 0 },
    }
}

/// A pipe that is read in the background.
struct Reading {
    collected: Arc<Mutex<Collected>>,
    ended: mpsc::Receiver<()>,
}

impl Reading {
    fn of(pipe: Option<impl Read + Send + 'static>, keep: usize) -> Self {
        let collected = Arc::new(Mutex::new(Collected::keeping(keep)));
        let (tell, ended) = mpsc::channel();
        let into = Arc::clone(&collected);
        thread::spawn(move || {
            if let Some(pipe) = pipe {
                drain(pipe, |part| into.lock().unwrap_or_else(PoisonError::into_inner).take(part));
            }
            let _ = tell.send(());
        });
        Self { collected, ended }
    }

    /// What was printed. All writers are dead by now; only one that was given away to a process outside could still be
    /// open, and that is not waited for long.
    fn output(self) -> Output {
        let _ = self.ended.recv_timeout(limits::CONFINED_PIPE);
        self.collected.lock().unwrap_or_else(PoisonError::into_inner).output()
    }
}
