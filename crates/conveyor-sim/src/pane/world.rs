//! Panes, agents, buffers and time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Waker;

use super::Fate;
use super::Hands;
use super::Moment;
use super::SimLog;
use super::SimMux;
use super::VirtualClock;
use super::What;
use crate::agent::Agent;
use crate::agent::Config;
use crate::agent::Effect;
use crate::agent::Ids;
use crate::agent::Millis;
use crate::agent::Run;

/// 2026-11-22T14:00:00Z, when each world begins.
const BEGIN: Millis = 1_795_356_000_000;

/// How long a command of an agent's runs, unless it is `sleep SECONDS`.
const COMMAND_MS: Millis = 50;

/// What a command of an agent's prints, and its exit code.
type Runner = Box<dyn FnMut(&Run) -> (i32, String) + Send>;

/// What happens before a step, and to whom.
type Plan = Box<dyn FnMut(&mut Hands<'_>, &Moment) -> Fate + Send>;

/// Everything outside of conveyor, in memory. Clones are the same world.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    sleepers: Arc<Mutex<Sleepers>>,
    plan: Arc<Mutex<Option<Plan>>>,
    log: SimLog,
}

/// The state behind the lock.
pub(super) struct Inner {
    pub(super) now: Millis,
    pub(super) ids: Ids,
    pub(super) server: SimServer,
    pub(super) home: PathBuf,
    /// What a spawned program is like.
    pub(super) template: Config,
    log: SimLog,
    runner: Runner,
    pub(super) running: Vec<Running>,
    steps: u64,
}

/// The one tmux server.
pub(super) struct SimServer {
    /// None while it does not run.
    pub(super) pid: Option<u32>,
    pub(super) panes: BTreeMap<u32, SimPane>,
    pub(super) buffers: BTreeMap<String, Vec<u8>>,
    next_pane: u32,
    next_pid: u32,
}

/// A pane.
pub(super) struct SimPane {
    pub(super) session: String,
    pub(super) pid: u32,
    pub(super) agent: Agent,
    pub(super) in_mode: bool,
    pub(super) dead: bool,
    pub(super) keep_dead: bool,
}

/// A command of an agent's that ends later.
pub(super) struct Running {
    until: Millis,
    pane: u32,
    call_id: String,
    code: i32,
    output: String,
}

/// Who sleeps until when.
#[derive(Default)]
pub(super) struct Sleepers {
    pub(super) participants: usize,
    next: u64,
    waiting: BTreeMap<u64, Sleeper>,
}

struct Sleeper {
    until: Millis,
    over: bool,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world whose ids all follow from `seed`, with a tmux server and no pane.
    pub fn new(seed: u64) -> Self {
        let log = SimLog::default();
        let server = SimServer {
            pid: Some(100),
            panes: BTreeMap::new(),
            buffers: BTreeMap::new(),
            next_pane: 0,
            next_pid: 101,
        };
        let inner = Inner {
            now: BEGIN,
            ids: Ids::new(seed),
            server,
            home: PathBuf::from("/sim/codex"),
            template: Config::default(),
            log: log.clone(),
            runner: Box::new(|_| (0, String::new())),
            running: Vec::new(),
            steps: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)), sleepers: Arc::default(), plan: Arc::default(), log }
    }

    /// The socket that pins of this world name.
    pub const SOCKET: &str = "/sim/tmux/default";

    /// The `CODEX_HOME` of all its agents.
    pub fn home(&self) -> PathBuf {
        self.lock().home.clone()
    }

    /// The terminals as one process sees them. Each call is another process: killing one leaves the others.
    pub fn mux(&self) -> SimMux {
        SimMux::new(self.clone())
    }

    /// The clock.
    pub fn clock(&self) -> VirtualClock {
        VirtualClock::new(self.clone())
    }

    /// The rollouts of all its agents.
    pub fn log(&self) -> SimLog {
        self.log.clone()
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.lock().now
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Lets time pass.
    pub fn advance(&self, ms: Millis) {
        let mut inner = self.lock();
        let until = inner.now.saturating_add(ms);
        inner.advance_to(until);
    }

    /// What programs that are spawned later are like.
    pub fn template(&self, config: Config) {
        self.lock().template = config;
    }

    /// What commands of agents print: their exit code and output.
    pub fn runner(&self, runner: impl FnMut(&Run) -> (i32, String) + Send + 'static) {
        self.lock().runner = Box::new(runner);
    }

    /// Called before each step of a terminal: the test's chance to open a dialog between paste and key, to type a draft,
    /// to kill the agent, the server, or whoever takes the step. It may use its [`Hands`] only: the world is locked.
    pub fn plan(&self, plan: impl FnMut(&mut Hands<'_>, &Moment) -> Fate + Send + 'static) {
        *lock(&self.plan) = Some(Box::new(plan));
    }

    /// Takes the plan away.
    pub fn no_plan(&self) {
        *lock(&self.plan) = None;
    }

    /// Acts on the world.
    pub fn hands<T>(&self, act: impl FnOnce(&mut Hands<'_>) -> T) -> T {
        act(&mut Hands { inner: &mut self.lock() })
    }

    /// A step: counts it, lets its time pass, asks the plan.
    pub(super) fn step(&self, what: What) -> Fate {
        let mut inner = self.lock();
        inner.steps += 1;
        let until = inner.now + super::STEP_MS;
        inner.advance_to(until);
        let moment = Moment { step: inner.steps, what };
        lock(&self.plan).as_mut().map_or(Fate::Go, |plan| plan(&mut Hands { inner: &mut inner }, &moment))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    pub(super) fn with_ids<T>(&self, use_ids: impl FnOnce(&mut Ids) -> T) -> T {
        use_ids(&mut self.lock().ids)
    }

    pub(super) fn with_sleepers<T>(&self, use_them: impl FnOnce(&mut Sleepers) -> T) -> T {
        use_them(&mut lock(&self.sleepers))
    }

    /// Moves time to the earliest end of a sleep, if everybody sleeps.
    pub(super) fn move_time(&self) {
        let Some(until) = lock(&self.sleepers).everybody_until() else { return };
        let now = {
            let mut inner = self.lock();
            inner.advance_to(until);
            inner.now
        };
        lock(&self.sleepers).wake(now);
    }
}

impl Sleepers {
    /// One more; returns its number.
    pub(super) fn add(&mut self, until: Millis) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, Sleeper { until, over: false, waker: None });
        self.next
    }

    /// Whether a sleep is over; if not, `waker` is called when it is.
    pub(super) fn is_over(&mut self, id: u64, waker: &Waker) -> bool {
        let Some(sleeper) = self.waiting.get_mut(&id) else { return true };
        if !sleeper.over {
            sleeper.waker = Some(waker.clone());
        }
        sleeper.over
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// The earliest end, if as many sleep as take part.
    fn everybody_until(&self) -> Option<Millis> {
        let asleep = self.waiting.values().filter(|sleeper| !sleeper.over);
        if asleep.clone().count() < self.participants.max(1) {
            return None;
        }
        asleep.map(|sleeper| sleeper.until).min()
    }

    fn wake(&mut self, now: Millis) {
        for sleeper in self.waiting.values_mut().filter(|sleeper| sleeper.until <= now) {
            sleeper.over = true;
            if let Some(waker) = sleeper.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Inner {
    /// Lets time pass; everything happens at its own time and in its order.
    pub(super) fn advance_to(&mut self, until: Millis) {
        while let Some(due) = self.next_due().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.due();
        }
        self.now = self.now.max(until);
        self.due();
    }

    /// When something happens by itself next.
    fn next_due(&self) -> Option<Millis> {
        let agents = self.server.panes.values().filter(|pane| !pane.dead);
        let agents = agents.filter_map(|pane| pane.agent.deadline());
        let commands = self.running.iter().map(|running| running.until);
        agents.chain(commands).min()
    }

    /// Does what is due now.
    fn due(&mut self) {
        let now = self.now;
        let panes: Vec<u32> = self.server.panes.keys().copied().collect();
        for pane in panes {
            self.act(pane, |agent| agent.on_time(now));
        }
        let (ended, running) =
            std::mem::take(&mut self.running).into_iter().partition(|one| one.until <= now);
        self.running = running;
        let ended: Vec<Running> = ended;
        for one in ended {
            self.act(one.pane, |agent| agent.on_command_ended(&one.call_id, one.code, &one.output, now));
        }
    }

    /// Lets a living agent do something and carries out what it wants.
    pub(super) fn act(&mut self, id: u32, act: impl FnOnce(&mut Agent) -> Vec<Effect>) {
        let Some(pane) = self.server.panes.get_mut(&id).filter(|pane| !pane.dead) else { return };
        for effect in act(&mut pane.agent) {
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: u32, effect: Effect) {
        match effect {
            Effect::Append { path, line } => self.log.append(self.home.join(path), line.as_bytes()),
            Effect::Lock(thread) => {
                self.log.append(self.home.join(format!("thread-writer-locks/{thread}.lock")), b"");
            }
            Effect::Run(run) => {
                let (code, output) = (self.runner)(&run);
                let until = self.now.saturating_add(duration_of(&run.command));
                self.running.push(Running { until, pane: id, call_id: run.call_id, code, output });
            }
            Effect::Quit(_) => self.program_ended(id),
        }
    }

    /// The program in a pane has ended: the pane stays, dead, or goes.
    pub(super) fn program_ended(&mut self, id: u32) {
        self.running.retain(|running| running.pane != id);
        if let Some(pane) = self.server.panes.get_mut(&id) {
            pane.dead = true;
            if !pane.keep_dead {
                self.server.panes.remove(&id);
            }
        }
    }

    /// Opens a pane with an agent.
    pub(super) fn open(&mut self, session: &str, config: Config, keep_dead: bool) -> u32 {
        if self.server.pid.is_none() {
            self.start_server();
        }
        let (id, pid) = (self.server.next_pane, self.server.next_pid);
        self.server.next_pane += 1;
        self.server.next_pid += 1;
        let config = Config { seed: self.ids.number(), ..config };
        let agent = Agent::new(config, self.now);
        let pane =
            SimPane { session: session.to_owned(), pid, agent, in_mode: false, dead: false, keep_dead };
        self.server.panes.insert(id, pane);
        let now = self.now;
        self.act(id, |agent| agent.on_time(now));
        id
    }

    /// A new server: its pane ids begin at 0 again, its buffers are gone.
    pub(super) fn start_server(&mut self) {
        self.server.pid = Some(self.server.next_pid);
        self.server.next_pid += 1;
        self.server.next_pane = 0;
    }
}

/// How long a command runs: `sleep 3` runs three seconds.
fn duration_of(command: &str) -> Millis {
    let seconds = command
        .strip_prefix("sleep ")
        .and_then(|rest| rest.split([';', ' ', '&']).next()?.parse::<u64>().ok());
    seconds.map_or(COMMAND_MS, |seconds| seconds.saturating_mul(1_000))
}
