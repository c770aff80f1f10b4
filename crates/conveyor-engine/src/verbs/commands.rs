//! `commands`: what was asked of agents, where it stands, and taking it back or sending it again.

mod change;
mod row;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::delivery::Coarse;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wish;
use conveyor_model::ids::DeliveryId;
use conveyor_store::Db;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

pub use self::change::Changed;
pub use self::row::AttemptRow;
pub use self::row::CommandRow;
use crate::Plane;
use crate::listing;
use crate::listing::More;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// List what was asked of agents, or take it back, or send it again
///
/// Oldest first; of more rows than the limit the newest are shown. `state` is coarse, `delivery_state` says exactly where a
/// command stands and `waits_for` what holds it up. What is put back into the queue is carried out by a dispatcher.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct CommandsRequest {
    /// Only of this task, by name or id
    #[arg(long)]
    pub task: Option<String>,
    /// Only for this session
    #[arg(long)]
    pub session: Option<Name>,
    /// Only of this worker: for it, from it, or between it and its manager
    #[arg(long, value_name = "NAME")]
    pub worker: Option<Name>,
    /// Only of this manager: for it, from it, or between it and its workers
    #[arg(long, value_name = "NAME")]
    pub manager: Option<Name>,
    /// Only in this state: pending, attempted, succeeded, failed or blocked; can be repeated
    #[arg(long)]
    #[serde(default)]
    pub state: Vec<Coarse>,
    /// Only of this type
    #[arg(long = "type")]
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// Only this one
    #[arg(long)]
    pub id: Option<DeliveryId>,
    /// With each attempt to carry it out
    #[arg(long)]
    #[serde(default)]
    pub attempts: bool,
    /// Rows at most, the newest; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
    /// Newest first instead of oldest first
    #[arg(long)]
    #[serde(default)]
    pub newest_first: bool,
    /// Take this one back; only while nobody has begun it
    #[arg(long, value_name = "ID")]
    pub cancel: Option<DeliveryId>,
    /// Try this one again; only if it is blocked, or failed and certainly did not arrive
    #[arg(long, value_name = "ID")]
    pub retry: Option<DeliveryId>,
    /// Send this one again although it may arrive twice
    #[arg(long, value_name = "ID")]
    pub resend: Option<DeliveryId>,
}

impl CommandsRequest {
    /// What is to be done, and with which delivery.
    fn wishes(&self) -> Vec<(Wish, &DeliveryId)> {
        let all = [(Wish::Cancel, &self.cancel), (Wish::Retry, &self.retry), (Wish::Resend, &self.resend)];
        all.into_iter().filter_map(|(wish, id)| Some((wish, id.as_ref()?))).collect()
    }

    fn lists(&self) -> bool {
        let names = [&self.session, &self.worker, &self.manager];
        names.iter().any(|name| name.is_some())
            || self.task.is_some()
            || self.kind.is_some()
            || self.id.is_some()
            || !self.state.is_empty()
            || self.attempts
            || self.newest_first
            || self.limit.is_some()
    }
}

impl Request for CommandsRequest {
    fn only_reads(&self) -> bool {
        self.wishes().is_empty()
    }

    fn check(&self) -> Result<()> {
        listing::check(self.limit)?;
        match self.wishes().len() {
            0 => Ok(()),
            1 if !self.lists() => Ok(()),
            1 => Err(Error::usage(
                "--cancel, --retry and --resend name one command; the other flags list commands",
            )),
            _ => Err(Error::usage("--cancel, --retry and --resend exclude one another")),
        }
    }
}

/// A line of the listing.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum CommandsLine {
    /// A command.
    Command(Box<CommandRow>),
    /// There are more.
    More(More),
}

/// The commands, or what was done with one.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum CommandsReport {
    /// The commands.
    Listed(Vec<CommandsLine>),
    /// What was done with one.
    Changed(Changed),
}

impl Report for CommandsReport {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Listed(lines) => lines.iter().map(line).collect(),
            Self::Changed(changed) => changed.text(),
        })
    }
}

fn line(line: &CommandsLine) -> String {
    match line {
        CommandsLine::Command(row) => row.line(),
        CommandsLine::More(more) => format!("there are more: {}\n", more.next),
    }
}

/// The verb.
pub struct Commands;

impl Verb for Commands {
    const NAME: &'static str = "commands";
    const GROUP: Group = Group::Carry;
    const EFFECT: Effect = Effect::Writes;
    const FORM: Form = Form::Narrative;
    type Request = CommandsRequest;
    type Report = CommandsReport;

    async fn run(plane: &Plane, request: CommandsRequest) -> Result<CommandsReport> {
        match request.wishes().first() {
            Some((wish, id)) => change::run(plane, *wish, id).await.map(CommandsReport::Changed),
            None => list(plane, &request).await.map(CommandsReport::Listed),
        }
    }
}

async fn list(plane: &Plane, request: &CommandsRequest) -> Result<Vec<CommandsLine>> {
    let names = [&request.session, &request.worker, &request.manager];
    let named = names.iter().any(|name| name.is_some()) || request.task.is_some() || request.id.is_some();
    let ledger = if named { Some(plane.ledger_that_exists().await?) } else { plane.ledger_to_read().await? };
    let Some(ledger) = ledger else { return Ok(Vec::new()) };
    let mut reader = ledger.read().await?;
    let now = reader.now();
    let limit = listing::rows(plane, request.limit);
    let (mut found, cut) = found(&mut reader, request, limit).await?;
    if !request.newest_first {
        found.reverse();
    }
    let mut shelf = row::Shelf::new(now, request.attempts);
    let mut lines = Vec::with_capacity(found.len());
    for delivery in found {
        lines.push(CommandsLine::Command(Box::new(shelf.row(&mut reader, delivery).await?)));
    }
    if cut {
        lines.push(CommandsLine::More(More::by(more(plane, request, limit))));
    }
    Ok(lines)
}

/// The newest deliveries that are wanted, newest first, and whether there are more.
async fn found(db: &mut Db, request: &CommandsRequest, limit: u32) -> Result<(Vec<Delivery>, bool)> {
    let mut wanted = deliveries::Wanted {
        kinds: request.kind.iter().map(ToString::to_string).collect(),
        states: stages(&request.state),
        newest_first: true,
        ..deliveries::Wanted::default()
    };
    if let Some(task) = &request.task {
        wanted.task = Some(resolve::task(db, task).await?.id);
    }
    if let Some(session) = &request.session {
        wanted.target = Some(resolve::session(db, session).await?.id);
    }
    if let Some(worker) = &request.worker {
        wanted.worker = Some(resolve::session_in_role(db, worker, Role::Worker).await?.id);
    }
    if let Some(manager) = &request.manager {
        wanted.manager = Some(resolve::session_in_role(db, manager, Role::Manager).await?.id);
    }
    if let Some(id) = &request.id {
        return Ok((vec![change::delivery(db, id).await?], false));
    }
    let mut found = deliveries::list(db, &wanted, limit.saturating_add(1)).await?;
    let cut = found.len() > limit as usize;
    found.truncate(limit as usize);
    Ok((found, cut))
}

fn stages(coarse: &[Coarse]) -> Vec<Stage> {
    coarse.iter().flat_map(|coarse| coarse.stages()).collect()
}

/// The same listing with more rows.
fn more(plane: &Plane, request: &CommandsRequest, limit: u32) -> String {
    let limit = limit.saturating_mul(10).to_string();
    let mut words = vec!["commands", "--limit", &limit];
    let task = request.task.as_deref();
    let kind = request.kind.map(Kind::as_str);
    let filters = [
        ("--task", task),
        ("--session", request.session.as_ref().map(Name::as_str)),
        ("--worker", request.worker.as_ref().map(Name::as_str)),
        ("--manager", request.manager.as_ref().map(Name::as_str)),
        ("--type", kind),
    ];
    for (flag, value) in filters {
        words.extend(value.map(|value| [flag, value]).into_iter().flatten());
    }
    words.extend(request.state.iter().flat_map(|state| ["--state", state.as_str()]));
    for (flag, given) in [("--attempts", request.attempts), ("--newest-first", request.newest_first)] {
        words.extend(given.then_some(flag));
    }
    plane.command(&words)
}

#[cfg(test)]
mod tests;
