//! `unbind`: ends the binding of a task.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::tasks::Task;
use conveyor_store::tasks::TaskState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::binding;
use crate::binding::Dropped;
use crate::resolve;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// End the binding of a task
///
/// The sessions go on; an unfinished task is paused and can be bound again. Messages of the binding that nobody has begun
/// to deliver are taken back, and those that were read and not confirmed are not offered again.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct UnbindRequest {
    /// The task, by name or id
    #[arg(long)]
    pub task: String,
}

impl Request for UnbindRequest {}

/// What was ended.
#[derive(Serialize, JsonSchema, Debug)]
pub struct UnbindReport {
    /// The task's name.
    pub task: Name,
    /// Where the binding stands: `ended`.
    pub state: &'static str,
    /// Where the task stands now.
    pub task_state: TaskState,
    /// The binding.
    pub binding_id: BindingId,
    /// Who worked.
    pub worker: String,
    /// Who supervised.
    pub manager: String,
    /// The binding had ended before; nothing changed.
    pub already_ended: bool,
    /// Messages that were taken back.
    pub cancelled: Vec<DeliveryId>,
    /// Messages that a reader was given and did not confirm: they may have been read, and are not offered again.
    pub expired: Vec<DeliveryId>,
    /// What to run next.
    pub next: String,
}

impl Report for UnbindReport {
    fn text(&self) -> Option<String> {
        let how = if self.already_ended { "ended before" } else { "ended" };
        let Self { task, worker, manager, next, .. } = self;
        let count = |count: usize, what: &str| match count {
            0 => String::new(),
            count => format!("; {count} {what}"),
        };
        let taken_back = count(self.cancelled.len(), "waiting messages were taken back");
        let expired = count(self.expired.len(), "messages may have been read and are not offered again");
        Some(format!("{how}: {worker} on {task} under {manager}{taken_back}{expired}\nnext: {next}\n"))
    }
}

/// The verb.
pub struct Unbind;

impl Verb for Unbind {
    const NAME: &'static str = "unbind";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["--task", "t"];
    type Request = UnbindRequest;
    type Report = UnbindReport;

    async fn run(plane: &Plane, request: UnbindRequest) -> Result<UnbindReport> {
        let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
        let (last, already_ended) = last_binding(&mut tx, &task).await?;
        let manager = resolve::by_id(&mut tx, &last.manager_session_id).await?;
        binding::may_arrange(plane, &mut tx, &manager).await?;
        let (worker, manager) = binding::names(&mut tx, &last).await?;
        let (task, dropped) = if already_ended {
            (task, Dropped::default())
        } else {
            let sentence = format!("{worker} no longer works on {} under {manager}.", task.name);
            binding::unbind(&mut tx, &task, &last, sentence).await?
        };
        tx.commit().await?;
        Ok(UnbindReport {
            next: next(plane, &task, &worker, &manager),
            task: task.name,
            state: "ended",
            task_state: task.state,
            binding_id: last.id,
            worker,
            manager,
            already_ended,
            cancelled: dropped.cancelled.into_iter().map(|delivery| delivery.id).collect(),
            expired: dropped.expired.into_iter().map(|delivery| delivery.id).collect(),
        })
    }
}

/// The active binding of a task, else the one that ended last; and whether it has ended.
async fn last_binding(db: &mut Db, task: &Task) -> Result<(Binding, bool)> {
    if let Some(active) = bindings::active_of_task(db, &task.id).await? {
        return Ok((active, false));
    }
    match bindings::of_task(db, &task.id).await?.pop() {
        Some(ended) => Ok((ended, true)),
        // It never had one: the error that each verb gives which needs one.
        None => resolve::binding(db, task).await.map(|binding| (binding, false)),
    }
}

fn next(plane: &Plane, task: &Task, worker: &str, manager: &str) -> String {
    if task.state.is_unfinished() {
        plane.command(&["bind", "--task", task.name.as_str(), "--worker", worker, "--manager", manager])
    } else {
        plane.command(&["tasks", "--active"])
    }
}

#[cfg(test)]
mod tests;
