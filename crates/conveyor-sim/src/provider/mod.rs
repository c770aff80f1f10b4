//! A model provider on loopback that answers `POST /v1/responses` as the real Codex expects it.
//!
//! What it answers is asked for by directives in the user's text ([`crate::directive`]) or by [`Rule`]s, which come
//! first. Everything it received is kept.

mod request;
pub mod script;
mod server;
mod sse;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

pub use request::Received;
use tokio::sync::oneshot;

use crate::directive;
use crate::directive::Action;
use crate::directive::Call;
use crate::directive::Round;
use crate::directive::Shell;
use crate::directive::Step;

/// What a model does when a text holds certain words. The first rule that matches decides.
#[derive(Clone)]
pub struct Rule {
    /// A part of the last user text.
    pub when: String,
    /// Only in this thread.
    pub thread: Option<String>,
    /// What is done then.
    pub then: Then,
}

/// Gives the steps of a turn from one of its requests.
pub type Ask = Arc<dyn Fn(&Received) -> Vec<Step> + Send + Sync>;

/// What a rule does.
#[derive(Clone)]
pub enum Then {
    /// These steps, the n-th round of them at the n-th request of a turn.
    Steps(Vec<Step>),
    /// The steps that a function gives; it is asked again at each request of the turn and sees the outputs so far, so
    /// that it can call what an earlier answer named.
    Ask(Ask),
}

impl Rule {
    /// A rule with fixed steps.
    pub fn new(when: impl Into<String>, steps: Vec<Step>) -> Self {
        Self { when: when.into(), thread: None, then: Then::Steps(steps) }
    }

    /// A rule that calls these shell commands in order and then says that it is done.
    pub fn shell<S: Into<String>>(when: impl Into<String>, commands: impl IntoIterator<Item = S>) -> Self {
        let call =
            |command: S| Step::Call(Call::Shell(Shell { command: command.into(), ..Shell::default() }));
        Self::new(when, commands.into_iter().map(call).collect())
    }

    /// A rule whose steps depend on what the calls so far returned.
    pub fn ask(
        when: impl Into<String>,
        ask: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self { when: when.into(), thread: None, then: Then::Ask(Arc::new(ask)) }
    }

    /// The same rule with more steps behind; a rule with a function stays as it is.
    pub fn and(mut self, more: Vec<Step>) -> Self {
        if let Then::Steps(steps) = &mut self.then {
            steps.extend(more);
        }
        self
    }

    /// The same rule, for one thread only.
    pub fn in_thread(mut self, thread: impl Into<String>) -> Self {
        self.thread = Some(thread.into());
        self
    }

    /// Whether the rule is for this request.
    fn matches(&self, received: &Received) -> bool {
        received.user_text.contains(&self.when)
            && self.thread.as_ref().is_none_or(|thread| received.thread.as_ref() == Some(thread))
    }
}

/// Rules and what was received, shared with the server's thread.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    received: Vec<Received>,
}

impl Shared {
    /// The state. A panic of a rule's function must not hide the requests that led to it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request and decides its answer.
    fn answer(&self, received: &Received) -> Round {
        let rules = {
            let mut state = self.lock();
            state.received.push(received.clone());
            self.changed.notify_all();
            state.rules.clone()
        };
        decide(&rules, received)
    }
}

/// What a model with these rules answers to a request.
pub(crate) fn decide(rules: &[Rule], received: &Received) -> Round {
    let steps = match rules.iter().find(|rule| rule.matches(received)).map(|rule| &rule.then) {
        Some(Then::Steps(steps)) => steps.clone(),
        Some(Then::Ask(ask)) => ask(received),
        None => directive::parse(&received.user_text),
    };
    round(received, &steps)
}

/// The answer to the n-th request of a turn.
fn round(received: &Received, steps: &[Step]) -> Round {
    let reply = directive::default_reply(&received.user_text);
    let said = || Round { delay: Duration::ZERO, action: Action::Say(reply.clone()) };
    if received.is_side_request() {
        return said();
    }
    directive::rounds(steps, &reply).into_iter().nth(received.outputs.len()).unwrap_or_else(said)
}

/// A running provider; it ends when dropped.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    /// Starts on a free port of 127.0.0.1, on a thread of its own, so that it serves tests with and without a runtime.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_on(0, Vec::new())
    }

    /// Starts on this port (0: a free one) with these rules.
    pub fn start_on(port: u16, rules: Vec<Rule>) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        shared.lock().rules = rules;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("provider".to_owned())
            .spawn(move || runtime.block_on(server::serve(listener, served, stopped)))?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` for Codex's configuration.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Adds a rule behind the others.
    pub fn rule(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// Every request so far, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// The requests of one thread.
    pub fn received_from(&self, thread: &str) -> Vec<Received> {
        self.received().into_iter().filter(|one| one.thread.as_deref() == Some(thread)).collect()
    }

    /// Waits until a request fits, without polling. `None` after `limit`.
    pub fn wait_for(&self, limit: Duration, fits: impl Fn(&Received) -> bool) -> Option<Received> {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = state.received.iter().find(|one| fits(one)) {
                return Some(found.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
