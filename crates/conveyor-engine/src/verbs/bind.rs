//! `bind`: ties a worker and a manager to a task.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::BindingId;
use conveyor_store::sessions::Role;
use conveyor_store::tasks::TaskState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::binding;
use crate::resolve;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Tie a worker and a manager to a task
///
/// A worker and a task have one binding at a time, a manager may have several. What the worker did before does not count:
/// its end is told to nobody. Binding the same three again changes nothing.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct BindRequest {
    /// The task, by name or id
    #[arg(long)]
    pub task: String,
    /// The session that is to do the work
    #[arg(long)]
    pub worker: Name,
    /// The session that is to supervise it
    #[arg(long)]
    pub manager: Name,
}

impl Request for BindRequest {}

/// Who works for whom on what.
#[derive(Serialize, JsonSchema, Debug)]
pub struct BindReport {
    /// The binding.
    pub binding_id: BindingId,
    /// The task's name.
    pub task: Name,
    /// Where the task stands now.
    pub task_state: TaskState,
    /// The worker.
    pub worker: Name,
    /// The manager.
    pub manager: Name,
    /// The same three were bound before; nothing changed.
    pub already_bound: bool,
    /// What to run next.
    pub next: String,
}

impl Report for BindReport {
    fn text(&self) -> Option<String> {
        let how = if self.already_bound { "already bound" } else { "bound" };
        let Self { task, worker, manager, next, .. } = self;
        Some(format!("{how}: {worker} works on {task} under {manager}\nnext: {next}\n"))
    }
}

/// The verb.
pub struct Bind;

impl Verb for Bind {
    const NAME: &'static str = "bind";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["--task", "t", "--worker", "w", "--manager", "m"];
    type Request = BindRequest;
    type Report = BindReport;

    async fn run(plane: &Plane, request: BindRequest) -> Result<BindReport> {
        let ledger = plane.ledger_that_exists().await?;
        let mut reader = ledger.read().await?;
        resolve::task(&mut reader, &request.task).await?;
        let worker = resolve::active_in_role(&mut reader, &request.worker, Role::Worker).await?;
        let manager = resolve::active_in_role(&mut reader, &request.manager, Role::Manager).await?;
        binding::may_arrange(plane, &mut reader, &manager).await?;
        drop(reader);
        binding::catch_up(plane, &worker).await?;

        let actor = plane.actor().await?;
        let mut tx = plane.ledger().await?.write(&actor).await?;
        let task = resolve::task(&mut tx, &request.task).await?;
        let worker = resolve::by_id(&mut tx, &worker.id).await?;
        let manager = resolve::by_id(&mut tx, &manager.id).await?;
        let bound = binding::bind(&mut tx, &task, &worker, &manager).await?;
        tx.commit().await?;
        Ok(BindReport {
            binding_id: bound.binding.id,
            next: plane.command(&["cycle", bound.task.name.as_str()]),
            task: bound.task.name,
            task_state: bound.task.state,
            worker: worker.name,
            manager: manager.name,
            already_bound: bound.already_bound,
        })
    }
}

#[cfg(test)]
mod tests;
