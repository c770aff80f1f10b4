//! The context that every verb gets: the four effects, the caller, and the ledger that is opened when first needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use conveyor_agents::AgentLog;
use conveyor_agents::FsLog;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_mux::Mux;
use conveyor_mux::Tmux;
use conveyor_store::Clock;
use conveyor_store::Gate;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::Mode;
use conveyor_store::SystemClock;
use conveyor_store::sessions::Role;
use conveyor_store::threads;
use tokio::sync::OnceCell;
use tokio::sync::watch;

use crate::Caller;
use crate::Environment;
use crate::locate;
use crate::locate::Located;
use crate::tool_call;

/// What a verb works with.
pub struct Plane {
    /// The surroundings of the calling process.
    pub environment: Environment,
    /// Who calls.
    pub caller: Caller,
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// Terminals.
    pub mux: Arc<dyn Mux>,
    /// What agents record.
    pub log: Arc<dyn AgentLog>,
    gate: Arc<dyn Gate>,
    located: Located,
    writing: OnceCell<Ledger>,
    reading: OnceCell<Option<Ledger>>,
    stop: watch::Sender<bool>,
    graceful: AtomicBool,
    listener: OnceLock<Listener>,
    by_line: AtomicBool,
}

/// What a verb that runs for long tells while it runs: the same thing for a program and for a person.
#[derive(Clone, Debug)]
pub struct Told {
    /// For a program.
    pub json: serde_json::Value,
    /// For a person, in one line.
    pub text: String,
}

/// Takes what a verb tells while it runs; the face prints it.
pub type Listener = Box<dyn Fn(&Told) + Send + Sync>;

/// The four effects, real unless a test says otherwise.
pub struct Effects {
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// Terminals.
    pub mux: Arc<dyn Mux>,
    /// What agents record.
    pub log: Arc<dyn AgentLog>,
    /// Where a fault loop kills.
    pub gate: Arc<dyn Gate>,
}

impl Effects {
    /// The operating system's clock, tmux, the file system, and no faults.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            mux: Arc::new(Tmux::default()),
            log: Arc::new(FsLog),
            gate: Arc::new(conveyor_store::OpenGate),
        }
    }
}

impl Plane {
    /// The plane of a command line: real effects, the ledger of `db` or of the design's order of places.
    ///
    /// Nothing is opened yet.
    pub fn open(environment: Environment, db: Option<&str>) -> Result<Self> {
        let caller = Caller::of_environment(&environment);
        Self::with(environment, caller, db, Effects::real())
    }

    /// A plane with given effects and a given caller.
    pub fn with(
        environment: Environment,
        caller: Caller,
        db: Option<&str>,
        effects: Effects,
    ) -> Result<Self> {
        let located = locate::ledger(&environment, caller.thread(), db)?;
        Ok(Self {
            environment,
            caller,
            clock: effects.clock,
            mux: effects.mux,
            log: effects.log,
            gate: effects.gate,
            located,
            writing: OnceCell::new(),
            reading: OnceCell::new(),
            stop: watch::Sender::new(false),
            graceful: AtomicBool::new(false),
            listener: OnceLock::new(),
            by_line: AtomicBool::new(false),
        })
    }

    /// Where the ledger lies and why there.
    pub fn located(&self) -> &Located {
        &self.located
    }

    /// The ledger to write to; created and migrated when it has to be.
    pub async fn ledger(&self) -> Result<&Ledger> {
        self.writing
            .get_or_try_init(|| async { self.open_ledger(Mode::Write).await?.ok_or_else(missing) })
            .await
    }

    /// The ledger, if this call has opened it to write.
    pub fn ledger_that_is_written(&self) -> Option<&Ledger> {
        self.writing.get()
    }

    /// The ledger to read from, or nothing where none exists: a verb that only reads creates none.
    pub async fn ledger_to_read(&self) -> Result<Option<&Ledger>> {
        if let Some(ledger) = self.writing.get() {
            return Ok(Some(ledger));
        }
        Ok(self.reading.get_or_try_init(|| self.open_ledger(Mode::Read)).await?.as_ref())
    }

    /// The ledger to read from, for a verb that names something in it.
    ///
    /// Errors: not found where no ledger exists.
    pub async fn ledger_that_exists(&self) -> Result<&Ledger> {
        self.ledger_to_read().await?.ok_or_else(|| {
            Error::not_found(format!("there is no ledger at {}", self.located.location))
                .hint("register a session to make one: conveyor register-worker --help")
        })
    }

    async fn open_ledger(&self, mode: Mode) -> Result<Option<Ledger>> {
        Ledger::open(&self.located.location, mode, Arc::clone(&self.clock), Arc::clone(&self.gate)).await
    }

    /// Whether a ledger is open, so that keeping this plane would save something.
    pub fn is_open(&self) -> bool {
        self.writing.initialized() || matches!(self.reading.get(), Some(Some(_)))
    }

    /// Whether what was read since opening is sound: see [`Ledger::read_is_sound`].
    ///
    /// A plane that opened the ledger to write changes the file itself, and what it decided on was read under a lock: it
    /// is never told to begin again, for what it did would be done twice.
    pub fn read_is_sound(&self) -> bool {
        self.writing.initialized()
            || self.reading.get().and_then(Option::as_ref).is_none_or(Ledger::read_is_sound)
    }

    /// Closes what is open. A writer that goes without this leaves a journal that each later opening reads again.
    pub async fn close(self) {
        let reading = self.reading.into_inner().flatten();
        for ledger in [self.writing.into_inner(), reading].into_iter().flatten() {
            ledger.close().await;
        }
    }

    /// The location, for children and commands that must name it.
    pub fn location(&self) -> &Location {
        &self.located.location
    }

    /// What the caller does next: a complete command line, or over MCP the tool and its arguments.
    pub fn command(&self, words: &[&str]) -> String {
        let call = match &self.caller {
            Caller::Tool { .. } => tool_call::of(words),
            Caller::Person | Caller::Shell { .. } => None,
        };
        call.unwrap_or_else(|| self.command_line(words))
    }

    /// A complete command line of this program on this ledger, quoted for a shell: for whoever reads it, which need not be
    /// the caller.
    pub fn command_line(&self, words: &[&str]) -> String {
        let executable = self.environment.executable.to_string_lossy();
        let location = self.located.location.to_string();
        let mut line: Vec<&str> = vec![&executable];
        line.extend_from_slice(words);
        line.extend_from_slice(&["--db", &location]);
        quote(&line)
    }

    /// The folder for locks, logs and look-ups beside the ledgers.
    pub fn state_dir(&self) -> Result<PathBuf> {
        self.environment.state_dir()
    }

    /// Asks the running verb to end: the first Ctrl-C or SIGTERM.
    pub fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Promises that the running verb ends by itself after [`Plane::ask_to_stop`], and gives what it must watch.
    pub fn end_gracefully(&self) -> watch::Receiver<bool> {
        self.graceful.store(true, Ordering::Relaxed);
        self.stop.subscribe()
    }

    /// Whether the running verb ends by itself when it is asked to.
    pub fn ends_gracefully(&self) -> bool {
        self.graceful.load(Ordering::Relaxed)
    }

    /// Whether the running verb was asked to end.
    pub fn is_asked_to_stop(&self) -> bool {
        *self.stop.borrow()
    }

    /// Has what the verb tells while it runs handed to `listener`. Only the first listener is kept.
    pub fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// Promises that what is done is told line by line, so that the report is one more line.
    pub fn tell_by_line(&self) {
        self.by_line.store(true, Ordering::Relaxed);
    }

    /// Tells something before the report.
    pub fn tell(&self, told: &Told) {
        if let Some(listener) = self.listener.get() {
            listener(told);
        }
    }

    /// Whether what is done is told line by line.
    pub fn tells_by_line(&self) -> bool {
        self.by_line.load(Ordering::Relaxed)
    }

    /// Who stands in the audit rows of what this call changes: the caller's session, as far as it is known.
    pub async fn actor(&self) -> Result<Actor> {
        let Some(thread) = self.caller.thread() else { return Ok(Actor::Operator) };
        let Some(ledger) = self.ledger_to_read().await? else { return Ok(Actor::Operator) };
        let session = threads::session_of(&mut *ledger.read().await?, thread).await?;
        Ok(match session {
            Some(session) if session.role == Role::Manager => Actor::Manager(session.id),
            Some(session) => Actor::Worker(session.id),
            None => Actor::Operator,
        })
    }
}

/// Words as one line that a shell reads back as the same words.
pub fn quote(words: &[&str]) -> String {
    // Only U+0000 cannot be quoted, and no word of an argument list can hold it.
    shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))
}

fn missing() -> Error {
    Error::ledger("the ledger could not be created").hint("conveyor db-doctor")
}
