//! The simulated agent as a program in a real terminal: raw mode, alternate screen, real files, real commands.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustix::fs::FlockOperation;
use rustix::fs::flock;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetwinsize;
use rustix::termios::tcsetattr;

use super::Agent;
use super::Config;
use super::Effect;
use super::Frame;
use super::Millis;
use super::Run;

/// How long nothing may happen before the line of a running turn counts a second more.
const TICK: Duration = Duration::from_millis(500);

/// What the main loop waits for.
enum Message {
    /// The terminal sent bytes.
    Bytes(Vec<u8>),
    /// The terminal is gone.
    HangUp,
    /// A command has ended.
    Ended { call_id: String, code: i32, output: String },
}

/// Runs an agent on the process's own terminal until it quits or the terminal goes away.
///
/// With a prompt the first turn starts at once.
pub fn run(config: Config, home: &Path, prompt: Option<&str>) -> anyhow::Result<()> {
    let (sender, messages) = mpsc::channel();
    let raw = RawTerminal::enter()?;
    read_terminal(sender.clone());
    let mut program = Program {
        agent: Agent::new(config, now()),
        home: home.to_owned(),
        files: HashMap::new(),
        locks: Vec::new(),
        sender,
        shown: None,
        last_words: None,
    };
    let first = program.agent.on_time(now());
    program.carry_out(first)?;
    if let Some(prompt) = prompt {
        let effects = program.agent.start_with(prompt, now());
        program.carry_out(effects)?;
    }
    let ended = program.serve(&messages);
    drop(raw);
    for line in program.last_words.unwrap_or_default() {
        println!("{line}");
    }
    ended
}

/// The agent and what it holds open.
struct Program {
    agent: Agent,
    home: PathBuf,
    files: HashMap<String, File>,
    locks: Vec<File>,
    sender: mpsc::Sender<Message>,
    shown: Option<(Frame, String)>,
    last_words: Option<Vec<String>>,
}

impl Program {
    /// The main loop.
    fn serve(&mut self, messages: &mpsc::Receiver<Message>) -> anyhow::Result<()> {
        while self.last_words.is_none() {
            self.draw()?;
            let wait =
                self.agent.deadline().map_or(TICK, |due| Duration::from_millis(due.saturating_sub(now())));
            let effects = match messages.recv_timeout(wait.min(TICK)) {
                Ok(Message::Bytes(bytes)) => self.agent.on_input(&bytes, now()),
                Ok(Message::Ended { call_id, code, output }) => {
                    self.agent.on_command_ended(&call_id, code, &output, now())
                }
                Ok(Message::HangUp) => return Ok(()),
                Err(_) => self.agent.on_time(now()),
            };
            self.carry_out(effects)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> anyhow::Result<()> {
        for effect in effects {
            match effect {
                Effect::Append { path, line } => self.append(&path, &line)?,
                Effect::Lock(thread) => self.lock(&thread)?,
                Effect::Run(run) => self.start(run),
                Effect::Quit(words) => self.last_words = Some(words),
            }
        }
        Ok(())
    }

    /// Appends a line. The file stays open, as an embedded TUI holds its rollout.
    fn append(&mut self, path: &str, line: &str) -> anyhow::Result<()> {
        if !self.files.contains_key(path) {
            let whole = self.home.join(path);
            if let Some(parent) = whole.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let file = File::options().create(true).append(true).open(whole)?;
            self.files.insert(path.to_owned(), file);
        }
        if let Some(file) = self.files.get_mut(path) {
            file.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn lock(&mut self, thread: &str) -> anyhow::Result<()> {
        let folder = self.home.join("thread-writer-locks");
        std::fs::create_dir_all(&folder)?;
        let file = File::create(folder.join(format!("{thread}.lock")))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        self.locks.push(file);
        Ok(())
    }

    /// Runs a command on a thread of its own, with the environment that Codex gives its tools.
    fn start(&self, run: Run) {
        let (sender, home) = (self.sender.clone(), self.home.clone());
        std::thread::spawn(move || {
            let (code, output) = output_of(&run, &home);
            // The main loop may have ended.
            let _ = sender.send(Message::Ended { call_id: run.call_id, code, output });
        });
    }

    /// Draws the end of the screen that fits the terminal, when something changed.
    fn draw(&mut self) -> anyhow::Result<()> {
        let rows = tcgetwinsize(std::io::stdout()).map_or(40, |size| usize::from(size.ws_row).max(1));
        let drawn = (self.agent.frame().bottom(rows), self.agent.title());
        if self.shown.as_ref() == Some(&drawn) {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        out.write_all(ansi(&drawn.0, &drawn.1).as_bytes())?;
        out.flush()?;
        self.shown = Some(drawn);
        Ok(())
    }
}

/// A frame as a terminal takes it.
fn ansi(frame: &Frame, title: &str) -> String {
    let mut text = format!("\x1b]0;{title}\x07\x1b[?25l\x1b[H");
    for (row, line) in frame.lines.iter().enumerate() {
        let dims = || frame.dim.iter().filter(|dim| dim.row == row).map(|dim| &dim.columns);
        for (column, character) in line.chars().enumerate() {
            if dims().any(|columns| columns.start == column) {
                text.push_str("\x1b[2m");
            }
            if dims().any(|columns| columns.end == column) {
                text.push_str("\x1b[0m");
            }
            text.push(character);
        }
        text.push_str("\x1b[0m");
        text.push_str(if row + 1 == frame.lines.len() { "\x1b[K\x1b[J" } else { "\x1b[K\r\n" });
    }
    if let Some((row, column)) = frame.cursor {
        let (row, column) = (row + 1, column + 1);
        text.extend(["\x1b[", &row.to_string(), ";", &column.to_string(), "H\x1b[?25h"]);
    }
    text
}

/// What a command printed, and its exit code.
fn output_of(run: &Run, home: &Path) -> (i32, String) {
    let mut command = Command::new("/bin/bash");
    command.args(["-lc", &run.command]).stdin(Stdio::null());
    command.env("CODEX_THREAD_ID", &run.thread).env("CODEX_SESSION_ID", &run.thread);
    command.env("CODEX_TOOL_CALL_ID", &run.call_id).env("CODEX_HOME", home).env("CODEX_CI", "1");
    match command.output() {
        Ok(done) => {
            let text = [done.stdout, done.stderr].concat();
            (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
        }
        Err(error) => (-1, error.to_string()),
    }
}

/// Reads the terminal on a thread of its own.
fn read_terminal(sender: mpsc::Sender<Message>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        loop {
            let message = match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => Message::HangUp,
                Ok(length) => Message::Bytes(buffer[..length].to_vec()),
            };
            let last = matches!(message, Message::HangUp);
            if sender.send(message).is_err() || last {
                return;
            }
        }
    });
}

/// The terminal in raw mode with alternate screen and bracketed paste; put back when dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        print!("\x1b[?1049h\x1b[?2004h");
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        print!("\x1b[?25h\x1b[?2004l\x1b[?1049l");
        // Nothing can be done when either fails: the terminal is gone.
        let _ = std::io::stdout().flush();
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// The time.
fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
