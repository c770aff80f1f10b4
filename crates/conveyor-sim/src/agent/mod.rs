//! A simulated agent: Codex's terminal program as it was measured, with every trap, and a model built in.
//!
//! [`Agent`] is a pure state machine. [`shell`] puts it into a real terminal; [`crate::pane`] runs it in memory.

mod calls;
mod composer;
mod dialog;
mod ids;
mod input;
mod keys;
mod records;
mod screen;
pub mod shell;
mod turn;

use std::collections::VecDeque;

use composer::Composer;
pub use dialog::Dialog;
use dialog::Open;
pub use ids::Ids;
use input::Input;
use input::Parser;
pub use records::Shape;
use records::Thread;
pub use screen::Dim;
pub use screen::Frame;
use serde_json::json;
use turn::Turn;

use crate::provider::Rule;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = u64;

/// How an agent is.
#[derive(Clone)]
pub struct Config {
    /// Which version it behaves like and writes like.
    pub shape: Shape,
    /// Its working folder.
    pub cwd: String,
    /// The model's name in the footer.
    pub model: String,
    /// `on-request` asks before an escalated command; `never` runs it.
    pub approval_policy: String,
    /// What its records say of the sandbox; nothing is sandboxed.
    pub sandbox_mode: String,
    /// Dialogs that stand before the composer.
    pub start_dialogs: Vec<Dialog>,
    /// For this long after the start the composer is there but the submit key does nothing and the draft stays.
    /// Measured on 0.169: the footer then has one line only.
    pub ready_after_ms: Millis,
    /// A command dialog opens right after this many pastes.
    pub dialog_after_paste: Option<u32>,
    /// Whether the working folder is a git repository: `/new` then asks where.
    pub git: bool,
    /// Files that a popup may complete `@x` to.
    pub files: Vec<String>,
    /// Whether the terminal's title names the thread.
    pub title_is_thread: bool,
    /// What the model does with texts; without a rule that matches, directives decide.
    pub rules: Vec<Rule>,
    /// Local time's distance from UTC, for the rollout's name.
    pub utc_offset_s: i32,
    /// All ids follow from it.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shape: Shape::V169,
            cwd: "/home/dev/work".to_owned(),
            model: "fake-1".to_owned(),
            approval_policy: "on-request".to_owned(),
            sandbox_mode: "read-only".to_owned(),
            start_dialogs: Vec::new(),
            ready_after_ms: 0,
            dialog_after_paste: None,
            git: false,
            files: Vec::new(),
            title_is_thread: false,
            rules: Vec::new(),
            utc_offset_s: 0,
            seed: 1,
        }
    }
}

/// What an agent wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append this text to a file below the home, which may not exist yet.
    Append {
        /// Relative path.
        path: String,
        /// The line with its end.
        line: String,
    },
    /// Hold the lock of this thread for as long as the agent lives.
    Lock(String),
    /// Run a command and tell [`Agent::on_command_ended`].
    Run(Run),
    /// The program ends with these last words on the normal screen.
    Quit(Vec<String>),
}

/// A command of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub call_id: String,
    /// The command line.
    pub command: String,
    /// The thread, for `CODEX_THREAD_ID`.
    pub thread: String,
}

/// The state machine.
pub struct Agent {
    config: Config,
    ids: Ids,
    parser: Parser,
    composer: Composer,
    dialog: Option<Open>,
    start_dialogs: VecDeque<Dialog>,
    thread: Thread,
    turn: Option<Turn>,
    last_turn: String,
    steers: Vec<String>,
    queued: VecDeque<String>,
    transcript: Vec<String>,
    /// Escape was pressed once on an idle, empty composer.
    escaped: bool,
    rewinding: bool,
    last_char: Option<Millis>,
    burst_until: Millis,
    pastes: u32,
    pastes_in_read: u32,
    /// What the composer still shows although more is in it: measured, a long paste in the same read as another paste
    /// is not drawn before the next key.
    stale: Option<String>,
    background: u32,
    tokens: u64,
    context_full: bool,
    answered: Vec<String>,
    started: Millis,
    now: Millis,
    ended: Option<Vec<String>>,
    effects: Vec<Effect>,
}

impl Agent {
    /// Starts at this time. The first effects come with the first call.
    pub fn new(config: Config, now: Millis) -> Self {
        let mut ids = Ids::new(config.seed);
        let thread = Thread::new(ids.uuid(now), now, config.utc_offset_s);
        let start_dialogs = config.start_dialogs.iter().cloned().collect();
        let mut agent = Self {
            config,
            ids,
            parser: Parser::default(),
            composer: Composer::default(),
            dialog: None,
            start_dialogs,
            thread,
            turn: None,
            last_turn: String::new(),
            steers: Vec::new(),
            queued: VecDeque::new(),
            transcript: Vec::new(),
            escaped: false,
            rewinding: false,
            last_char: None,
            burst_until: 0,
            pastes: 0,
            pastes_in_read: 0,
            stale: None,
            background: 0,
            tokens: 0,
            context_full: false,
            answered: Vec::new(),
            started: now,
            now,
            ended: None,
            effects: Vec::new(),
        };
        agent.lock_thread();
        agent.next_start_dialog();
        agent
    }

    /// Bytes from the terminal.
    pub fn on_input(&mut self, bytes: &[u8], now: Millis) -> Vec<Effect> {
        self.advance(now);
        self.pastes_in_read = 0;
        for input in self.parser.feed(bytes) {
            if self.ended.is_none() {
                if !matches!(input, Input::Paste(_)) {
                    self.stale = None;
                }
                self.input(&input);
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Millis) -> Vec<Effect> {
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// A command that was to be run has ended.
    pub fn on_command_ended(&mut self, call_id: &str, code: i32, output: &str, now: Millis) -> Vec<Effect> {
        self.advance(now);
        if self.ended.is_none() {
            self.command_ended(call_id, code, output);
        }
        std::mem::take(&mut self.effects)
    }

    /// A text as if it had been submitted: a prompt on the command line, or another's `codex queue`.
    pub fn start_with(&mut self, text: &str, now: Millis) -> Vec<Effect> {
        self.advance(now);
        if self.is_busy() {
            self.queued.push_back(text.to_owned());
        } else {
            self.submit(text);
        }
        std::mem::take(&mut self.effects)
    }

    /// When something happens by itself next.
    pub fn deadline(&self) -> Option<Millis> {
        let ready = (!self.is_ready()).then_some(self.started + self.config.ready_after_ms);
        [self.turn_deadline(), ready].into_iter().flatten().min().filter(|_| self.ended.is_none())
    }

    /// The id of its thread.
    pub fn thread(&self) -> &str {
        &self.thread.id
    }

    /// Where its thread's rollout is or will be, below the home.
    pub fn rollout_path(&self) -> &str {
        &self.thread.path
    }

    /// Its working folder.
    pub fn cwd(&self) -> &str {
        &self.config.cwd
    }

    /// Whether a turn runs.
    pub fn is_busy(&self) -> bool {
        self.turn.is_some()
    }

    /// The dialog that is open.
    pub fn dialog(&self) -> Option<&Dialog> {
        self.dialog.as_ref().map(|open| &open.dialog)
    }

    /// Whether the program has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// What keys brought about that nobody may bring about unasked: approvals, rewinds, shell commands, quitting.
    pub fn answered(&self) -> &[String] {
        &self.answered
    }

    /// The draft, as it would be sent.
    pub fn draft(&self) -> String {
        self.composer.text()
    }

    /// Whether the submit key does anything yet.
    fn is_ready(&self) -> bool {
        self.now >= self.started + self.config.ready_after_ms
    }

    /// Does what was due until `now`, each thing at its own time.
    fn advance(&mut self, now: Millis) {
        while let Some(due) = self.turn_deadline().filter(|&due| due <= now && self.ended.is_none()) {
            self.now = self.now.max(due);
            self.turn_due();
        }
        self.now = self.now.max(now);
    }

    /// The next dialog of the start; none is left in the end.
    fn next_start_dialog(&mut self) {
        if let Some(dialog) = self.start_dialogs.pop_front() {
            self.open(dialog);
        }
    }

    /// Locks the thread; versions before the daemon have no locks.
    fn lock_thread(&mut self) {
        if self.config.shape == Shape::V169 {
            self.effects.push(Effect::Lock(self.thread.id.clone()));
        }
    }

    /// `/clear` and `/new`: another thread at once, whose file comes with its first message.
    fn new_thread(&mut self) {
        self.thread = Thread::new(self.ids.uuid(self.now), self.now, self.config.utc_offset_s);
        self.transcript.clear();
        self.tokens = 0;
        self.lock_thread();
    }

    /// Ends the program.
    fn quit(&mut self, last_word: &str) {
        self.answered.push("quit".to_owned());
        let total = self.tokens;
        let mut words = Vec::new();
        if !last_word.is_empty() {
            words.push(last_word.to_owned());
        }
        if self.thread.exists {
            words.push(format!("Token usage: total={total} input={total} output=0"));
            words.push("To continue this session, run:".to_owned());
            words.push(format!("  codex resume {}", self.thread.id));
        }
        self.ended = Some(words.clone());
        self.effects.push(Effect::Quit(words));
    }

    /// Writes the line that each submitted text gets.
    fn write_history(&mut self, text: &str) {
        let line = json!({ "session_id": self.thread.id, "ts": self.now / 1_000, "text": text });
        self.effects.push(Effect::Append { path: "history.jsonl".to_owned(), line: format!("{line}\n") });
    }
}
