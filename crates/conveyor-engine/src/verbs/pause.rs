//! `pause`: keeps back everything that would be delivered for a task.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_store::Db;
use conveyor_store::deliveries;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::hold;
use crate::resolve;
use crate::statement;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Pause a task: nothing is delivered for it until it is resumed
///
/// Messages are still accepted and keep their order; none is typed, put into an inbox or handed over, to the worker of the
/// task or about it. What an agent may have seen already is finished. A running turn goes on: `session-interrupt` ends it.
/// Only a person pauses and resumes.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// The task, by name or id
    pub task: String,
    /// Why
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
}

impl Request for PauseRequest {
    fn check(&self) -> Result<()> {
        self.reason.as_deref().map_or(Ok(()), |reason| statement::check_text("--reason", reason))
    }
}

/// What holds a task now.
#[derive(Serialize, JsonSchema, Debug)]
pub struct PauseReport {
    /// The task.
    pub task: Name,
    /// Its id.
    pub task_id: TaskId,
    /// Since when it is paused; null when it is not.
    pub paused_at: Option<Timestamp>,
    /// False when it stood so before.
    pub changed: bool,
    /// Deliveries that wait, or may go now.
    pub waiting: usize,
    /// What to run next.
    pub next: String,
}

impl Report for PauseReport {
    fn text(&self) -> Option<String> {
        let stands = if self.paused_at.is_some() { "is paused" } else { "goes on" };
        let before = if self.changed { "" } else { " (as before)" };
        Some(format!("{} {stands}{before}; {} wait\nnext: {}\n", self.task, self.waiting, self.next))
    }
}

impl PauseReport {
    /// What a task's row says now.
    pub(crate) async fn of(plane: &Plane, db: &mut Db, task: &Task, changed: bool) -> Result<Self> {
        let now = tasks::get(db, &task.id).await?.unwrap_or_else(|| task.clone());
        let name = now.name.as_str();
        let next = match now.paused_at {
            Some(_) => plane.command(&["resume", name]),
            None => plane.command(&["status", name]),
        };
        let wanted = deliveries::Wanted {
            task: Some(now.id.clone()),
            states: vec![conveyor_model::delivery::Stage::Pending],
            ..deliveries::Wanted::default()
        };
        let waiting = deliveries::list(db, &wanted, u32::MAX).await?;
        let waiting = waiting.iter().filter(|one| one.inbox_at.is_none()).count();
        Ok(Self { task: now.name, task_id: now.id, paused_at: now.paused_at, changed, waiting, next })
    }
}

/// The verb.
pub struct Pause;

impl Verb for Pause {
    const NAME: &'static str = "pause";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::No;
    const LEAST: &'static [&'static str] = &["task-1"];
    type Request = PauseRequest;
    type Report = PauseReport;

    async fn run(plane: &Plane, request: PauseRequest) -> Result<PauseReport> {
        plane.ledger_that_exists().await?;
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        hold::only_a_person(plane, &mut tx, "pauses a task").await?;
        let task = resolve::task(&mut tx, &request.task).await?;
        if !task.state.is_unfinished() {
            return Err(Error::conflict(format!("the task `{}` is {} already", task.name, task.state)));
        }
        let changed = hold::pause(&mut tx, &task, request.reason.as_deref()).await?;
        let report = PauseReport::of(plane, &mut tx, &task, changed).await?;
        tx.commit().await?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
