//! `status`: everything at a glance, and what to do next.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_store::Db;
use conveyor_store::Ledger;
use conveyor_store::dispatchers;
use conveyor_store::dispatchers::Dispatcher;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::glance;
use crate::glance::Look;
use crate::glance::SessionGlance;
use crate::glance::TaskGlance;
use crate::listing;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// See everything at a glance, and what to do next
///
/// Shows whether a dispatcher runs and, for a task, what worker and manager do, what is on its way to them and what that
/// waits for, which criteria are open, what wants attention, and one recommended command. Without a task: all bound ones;
/// for an agent its own. Nothing is changed and no rollout is read: `unread_bytes` tells what the ledger does not know yet.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// The task, by name or id
    pub task: Option<String>,
    /// Tasks at most; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
}

impl Request for StatusRequest {
    fn check(&self) -> Result<()> {
        listing::check(self.limit)
    }
}

/// A dispatcher at a glance.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DispatcherGlance {
    /// Its id.
    pub dispatcher_id: String,
    /// `running`, `stopping`, `stopped`, or `dead`: it neither runs nor said goodbye. `unknown` on another host.
    pub state: &'static str,
    /// Where it runs.
    pub host: String,
    /// Its process.
    pub pid: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub last_heartbeat_at: Timestamp,
    /// Where it writes what it does.
    pub log_path: Option<String>,
}

/// Dispatchers at a glance.
#[derive(Serialize, JsonSchema, Debug, Default)]
pub struct DispatchGlance {
    /// One runs, as far as can be known from here.
    pub running: bool,
    /// Those that run or died; a stopped one is not shown.
    pub dispatchers: Vec<DispatcherGlance>,
}

/// What to do next, over all that is shown.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Advice {
    /// The task that it is about.
    pub task: Option<Name>,
    /// The command.
    pub command: String,
    /// Why.
    pub reason: String,
}

/// Everything at a glance.
#[derive(Serialize, JsonSchema, Debug)]
pub struct StatusReport {
    /// Who carries messages.
    pub dispatch: DispatchGlance,
    /// The tasks.
    pub tasks: Vec<TaskGlance>,
    /// There are more than these.
    pub truncated: bool,
    /// The command that shows more.
    pub more: Option<String>,
    /// The most urgent step.
    pub next: Advice,
}

/// The verb.
pub struct Status;

impl Verb for Status {
    const NAME: &'static str = "status";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    type Request = StatusRequest;
    type Report = StatusReport;

    async fn run(plane: &Plane, request: StatusRequest) -> Result<StatusReport> {
        let Some(ledger) = ledger(plane, &request).await? else { return Ok(nothing(plane)) };
        let mut reader = ledger.read().await?;
        let (now, caller) = (reader.now(), caller(plane, &mut reader).await?);
        let known = dispatchers::list(&mut reader, None).await?;
        let (wanted, total) = wanted(plane, &mut reader, &request, caller.as_ref()).await?;
        drop(reader);

        let dispatch = dispatch(plane, ledger, known).await?;
        let mut reader = ledger.read().await?;
        let look = Look { plane, now, dispatcher: dispatch.running, caller: caller.as_ref() };
        let mut tasks = Vec::with_capacity(wanted.len());
        for task in &wanted {
            tasks.push(look.at(&mut reader, task).await?);
        }
        let truncated = total > tasks.len();
        let more = truncated.then(|| plane.command(&["status", "--limit", &total.to_string()]));
        Ok(StatusReport { dispatch, next: advice(plane, &tasks), tasks, truncated, more })
    }
}

/// The ledger; it must exist where a task is named.
async fn ledger<'a>(plane: &'a Plane, request: &StatusRequest) -> Result<Option<&'a Ledger>> {
    match &request.task {
        Some(_) => plane.ledger_that_exists().await.map(Some),
        None => plane.ledger_to_read().await,
    }
}

/// The calling agent's session, as far as it is known.
async fn caller(plane: &Plane, db: &mut Db) -> Result<Option<Session>> {
    match plane.caller.thread() {
        Some(thread) => threads::session_of(db, thread).await,
        None => Ok(None),
    }
}

/// The tasks to look at, and how many there are.
async fn wanted(
    plane: &Plane,
    db: &mut Db,
    request: &StatusRequest,
    caller: Option<&Session>,
) -> Result<(Vec<Task>, usize)> {
    if let Some(task) = &request.task {
        return Ok((vec![resolve::task(db, task).await?], 1));
    }
    let bindings = glance::bindings_of(db, caller).await?;
    let total = bindings.len();
    let mut wanted = Vec::new();
    for binding in bindings.iter().take(listing::rows(plane, request.limit) as usize) {
        wanted.extend(tasks::get(db, &binding.task_id).await?);
    }
    Ok((wanted, total))
}

/// Which dispatchers run. A lock tells, not the row: a killed process leaves its row behind.
async fn dispatch(plane: &Plane, ledger: &Ledger, known: Vec<Dispatcher>) -> Result<DispatchGlance> {
    let mut glance = DispatchGlance::default();
    for dispatcher in known {
        let here = dispatcher.host == plane.environment.host;
        let lives = ledger.is_locked(&format!("dispatch-{}", dispatcher.id)).await?;
        let state = match (lives, here, &dispatcher.stop_requested_at, &dispatcher.stopped_at) {
            (true, _, None, _) => "running",
            (true, _, Some(_), _) => "stopping",
            (false, _, _, Some(_)) => continue,
            (false, true, _, None) => "dead",
            (false, false, _, None) => "unknown",
        };
        glance.running |= state == "running";
        glance.dispatchers.push(DispatcherGlance {
            dispatcher_id: dispatcher.id,
            state,
            host: dispatcher.host,
            pid: dispatcher.pid,
            started_at: dispatcher.started_at,
            last_heartbeat_at: dispatcher.heartbeat_at,
            log_path: dispatcher.log_path,
        });
    }
    Ok(glance)
}

/// The most urgent step of all tasks; the first task of those that are equally urgent.
fn advice(plane: &Plane, tasks: &[TaskGlance]) -> Advice {
    match tasks.iter().min_by_key(|task| task.next.step) {
        Some(task) => Advice {
            task: Some(task.task.clone()),
            command: task.next.command.clone(),
            reason: task.next.reason.to_owned(),
        },
        None => Advice {
            task: None,
            command: plane.command(&["discover"]),
            reason: "nobody works on anything; it shows what could be tied together".to_owned(),
        },
    }
}

/// What is seen where no ledger is.
fn nothing(plane: &Plane) -> StatusReport {
    StatusReport {
        dispatch: DispatchGlance::default(),
        tasks: Vec::new(),
        truncated: false,
        more: None,
        next: Advice {
            task: None,
            command: plane.command(&["setup-code"]),
            reason: format!("there is no ledger at {} yet", plane.location()),
        },
    }
}

impl Report for StatusReport {
    fn text(&self) -> Option<String> {
        let running: Vec<String> = self.dispatch.dispatchers.iter().map(dispatcher_line).collect();
        let mut text = match running.is_empty() {
            true => "dispatch: none runs\n".to_owned(),
            false => format!("dispatch: {}\n", running.join(", ")),
        };
        text.extend(self.tasks.iter().map(task_text));
        if let Some(more) = &self.more {
            text.push_str(&format!("\nthere are more: {more}\n"));
        }
        text.push_str(&format!("\nnext: {}\n      {}\n", self.next.command, self.next.reason));
        Some(text)
    }
}

fn dispatcher_line(one: &DispatcherGlance) -> String {
    format!("{} {} (pid {} on {})", one.dispatcher_id, one.state, one.pid, one.host)
}

fn task_text(task: &TaskGlance) -> String {
    let criteria = &task.criteria;
    let mut text = format!("\n{} ({}): {}\n", task.task, task.task_state, task.goal);
    for (role, session) in [("worker", &task.worker), ("manager", &task.manager)] {
        let line = session.as_ref().map_or_else(|| "none".to_owned(), session_line);
        text.push_str(&format!("  {role}: {line}\n"));
    }
    text.push_str(&format!("  criteria: {} open, {} satisfied\n", criteria.open, criteria.satisfied));
    if let Some(cycle) = &task.last_cycle {
        text.push_str(&format!(
            "  last cycle: {} ({}, {:.0} s ago)\n",
            cycle.cycle_id, cycle.state, cycle.age_seconds
        ));
    }
    for one in &task.deliveries {
        let target = one.target_session.as_deref().unwrap_or("nobody yet");
        let waits = one.waits_for.as_deref().unwrap_or("nothing");
        text.push_str(&format!("  {} for {target}: {}, waits for {waits}\n", one.kind, one.delivery_state));
    }
    for row in &task.attention {
        text.push_str(&format!("  attention: {}\n", row.message));
    }
    text.push_str(&format!("  next: {}\n", task.next.command));
    text
}

fn session_line(session: &SessionGlance) -> String {
    let mut line = format!("{} {}", session.name, turn_word(session));
    if let Some(seconds) = session.staleness_seconds {
        line.push_str(&format!(" for {seconds:.0} s"));
    }
    line.push_str(&format!(", {}", session.delivery));
    if session.inbox_backlog > 0 {
        line.push_str(&format!(", {} unread", session.inbox_backlog));
    }
    if session.unread_bytes.is_some_and(|bytes| bytes > 0) {
        line.push_str(", has recorded more since");
    }
    line
}

/// One word for what it does, the strongest first.
fn turn_word(session: &SessionGlance) -> &'static str {
    use conveyor_store::sessions::SessionState;
    match (session.registered, session.alive) {
        (SessionState::Gone, _) => "gone",
        (SessionState::Active, Some(false)) => "dead",
        (SessionState::Active, Some(true) | None) => session.turn_state.as_str(),
    }
}

#[cfg(test)]
mod tests;
