//! `status`: everything at a glance, and what to do next.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_store::Db;
use conveyor_store::Ledger;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::dispatch;
use crate::dispatch::Known;
use crate::dispatch::Standing;
use crate::glance;
use crate::glance::CycleGlance;
use crate::glance::DeliveryGlance;
use crate::glance::Look;
use crate::glance::SessionGlance;
use crate::glance::TaskGlance;
use crate::listing;
use crate::resolve;
use crate::start;
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
    /// How it stands.
    pub state: Standing,
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

/// A start that was cut off before its pane was noted.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CutOff {
    /// The session that was to be.
    pub session: Name,
    /// What adopts what it left running, or gives its name back.
    pub next: String,
}

/// Everything at a glance.
#[derive(Serialize, JsonSchema, Debug)]
pub struct StatusReport {
    /// Who carries messages.
    pub dispatch: DispatchGlance,
    /// Starts whose starter was killed in the middle.
    pub starts_cut_off: Vec<CutOff>,
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
        let (wanted, total) = wanted(plane, &mut reader, &request, caller.as_ref()).await?;
        drop(reader);

        let known = dispatch::known(plane, ledger).await?;
        let mut reader = ledger.read().await?;
        let look = Look { plane, now, dispatchers: &known, caller: caller.as_ref() };
        let mut tasks = Vec::with_capacity(wanted.len());
        for task in &wanted {
            tasks.push(look.at(&mut reader, task).await?);
        }
        let starts_cut_off = cut_off(plane, &mut reader).await?;
        let truncated = total > tasks.len();
        let more = truncated.then(|| plane.command(&["status", "--limit", &total.to_string()]));
        let dispatch = glance_at(known);
        Ok(StatusReport { dispatch, starts_cut_off, next: advice(plane, &tasks), tasks, truncated, more })
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

/// The dispatchers that run or died.
fn glance_at(known: Vec<Known>) -> DispatchGlance {
    let running = known.iter().any(|one| one.standing.lives());
    let shown = known.into_iter().filter(|one| one.standing != Standing::Stopped);
    let dispatchers = shown.map(|Known { row, standing }| DispatcherGlance {
        dispatcher_id: row.id,
        state: standing,
        host: row.host,
        pid: row.pid,
        started_at: row.started_at,
        last_heartbeat_at: row.heartbeat_at,
        log_path: row.log_path,
    });
    DispatchGlance { running, dispatchers: dispatchers.collect() }
}

async fn cut_off(plane: &Plane, db: &mut Db) -> Result<Vec<CutOff>> {
    let next = || plane.command(&["dispatch", "--once"]);
    let sessions = start::cut_off(plane, db).await?;
    Ok(sessions.into_iter().map(|session| CutOff { session: session.name, next: next() }).collect())
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
        starts_cut_off: Vec::new(),
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
        let running: Vec<String> = self.dispatch.dispatchers.iter().map(dispatcher_words).collect();
        let running = if running.is_empty() { "none runs".to_owned() } else { running.join(", ") };
        let mut lines = vec![format!("dispatch: {running}\n")];
        lines.extend(self.starts_cut_off.iter().map(|one| {
            format!(
                "the start of {} was cut off; what it left is taken care of by: {}\n",
                one.session, one.next
            )
        }));
        lines.extend(self.tasks.iter().map(task_text));
        lines.extend(self.more.iter().map(|more| format!("\nthere are more: {more}\n")));
        lines.push(format!("\nnext: {}\n      {}\n", self.next.command, self.next.reason));
        Some(lines.concat())
    }
}

fn dispatcher_words(one: &DispatcherGlance) -> String {
    format!("{} {} (pid {} on {})", one.dispatcher_id, one.state.as_str(), one.pid, one.host)
}

fn task_text(task: &TaskGlance) -> String {
    let session = |one: &Option<SessionGlance>| one.as_ref().map_or_else(|| "none".to_owned(), session_words);
    let cycle = |one: &CycleGlance| {
        format!("  last cycle: {} ({}, {:.0} s ago)\n", one.cycle_id, one.state, one.age_seconds)
    };
    let mut lines = vec![
        format!("\n{} ({}{}): {}\n", task.task, task.task_state, paused(task), task.goal),
        format!("  worker: {}\n", session(&task.worker)),
        format!("  manager: {}\n", session(&task.manager)),
        format!("  criteria: {} open, {} satisfied\n", task.criteria.open, task.criteria.satisfied),
    ];
    lines.extend(task.last_cycle.iter().map(cycle));
    lines.extend(task.deliveries.iter().map(delivery_line));
    lines.extend(task.attention.iter().map(|row| format!("  attention: {}\n", row.message)));
    lines.push(format!("  next: {}\n", task.next.command));
    lines.concat()
}

const fn paused(task: &TaskGlance) -> &'static str {
    if task.paused_at.is_some() { ", paused" } else { "" }
}

fn delivery_line(one: &DeliveryGlance) -> String {
    let target = one.target_session.as_deref().unwrap_or("nobody yet");
    let waits = one.waits_for.as_deref().unwrap_or("nothing");
    format!("  {} for {target}: {}, waits for {waits}\n", one.kind, one.delivery_state)
}

fn session_words(session: &SessionGlance) -> String {
    let since = session.staleness_seconds.map_or_else(String::new, |seconds| format!(" for {seconds:.0} s"));
    let mut words =
        vec![format!("{} {}{since}", session.name, turn_word(session)), session.delivery.to_owned()];
    if session.taken_over_at.is_some() {
        words.push("driven by a person".to_owned());
    }
    if session.inbox_backlog > 0 {
        words.push(format!("{} unread", session.inbox_backlog));
    }
    if session.unread_bytes.is_some_and(|bytes| bytes > 0) {
        words.push("has recorded more since".to_owned());
    }
    words.join(", ")
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
