//! `tasks`: makes a task, or lists what there is to do.

use std::collections::HashMap;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::cycles;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::tasks::TaskState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::listing;
use crate::listing::More;
use crate::listing::one_line;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// List tasks, or make one
///
/// Without `--create`, lists tasks in the order in which they were made, each with who works on it and when it was last
/// looked at. The name of an unfinished task is its own.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct TasksRequest {
    /// Name of the task to make
    #[arg(long)]
    pub create: Option<Name>,
    /// What is wanted; needed to make one
    #[arg(long, allow_hyphen_values = true)]
    pub goal: Option<String>,
    /// A shorter word for the goal
    #[arg(long, allow_hyphen_values = true)]
    pub summary: Option<String>,
    /// Take an unfinished task of that name as it is instead of failing
    #[arg(long)]
    #[serde(default)]
    pub reuse: bool,
    /// Only unfinished tasks
    #[arg(long)]
    #[serde(default)]
    pub active: bool,
    /// Rows at most, the newest; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
}

impl Request for TasksRequest {
    fn only_reads(&self) -> bool {
        self.create.is_none()
    }

    fn check(&self) -> Result<()> {
        listing::check(self.limit)?;
        let goal = self.goal.as_deref().is_some_and(|goal| !goal.trim().is_empty());
        let making = self.goal.is_some() || self.summary.is_some() || self.reuse;
        match &self.create {
            Some(name) if !goal => Err(Error::usage("a task needs a goal")
                .hint(format!("conveyor tasks --create {name} --goal \"what is wanted\""))),
            None if making => {
                Err(Error::usage("--goal, --summary and --reuse make a task, which needs --create")
                    .hint("conveyor tasks --create <name> --goal \"what is wanted\""))
            }
            Some(_) if self.active || self.limit.is_some() => {
                Err(Error::usage("--active and --limit list tasks; --create makes one"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Who works on a task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskBinding {
    /// The binding.
    pub binding_id: BindingId,
    /// The worker's name.
    pub worker: String,
    /// The manager's name.
    pub manager: String,
}

/// A task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
    /// What is wanted.
    pub goal: String,
    /// A shorter word for it.
    pub summary: Option<String>,
    /// Where it stands.
    pub state: TaskState,
    /// How it ended.
    pub outcome: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The contract's key for a budget of nudges. None is kept: always null.
    pub budget: Option<()>,
    /// Who works on it now.
    pub binding: Option<TaskBinding>,
    /// When its manager last looked.
    pub last_cycle_at: Option<Timestamp>,
}

/// A row of the listing.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum TasksLine {
    /// A task.
    Task(Box<TaskRow>),
    /// There are more.
    More(More),
}

/// A task that was made.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskCreated {
    /// False when an unfinished task of that name was there and is used.
    pub created: bool,
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
    /// What to run next.
    pub next: String,
}

/// The tasks, or the one that was made.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum TasksReport {
    /// The tasks, oldest first.
    Listed(Vec<TasksLine>),
    /// The one that was made.
    Created(TaskCreated),
}

impl Report for TasksReport {
    fn text(&self) -> Option<String> {
        match self {
            Self::Listed(lines) => Some(lines.iter().map(line).collect()),
            // The contract: always JSON.
            Self::Created(created) => serde_json::to_string_pretty(created).ok(),
        }
    }
}

fn line(line: &TasksLine) -> String {
    match line {
        TasksLine::Task(task) => format!("{}\t{}\t{}\n", task.name, task.state, one_line(&task.goal)),
        TasksLine::More(more) => format!("there are more: {}\n", more.next),
    }
}

/// The verb.
pub struct Tasks;

impl Verb for Tasks {
    const NAME: &'static str = "tasks";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const FORM: Form = Form::Narrative;
    type Request = TasksRequest;
    type Report = TasksReport;

    async fn run(plane: &Plane, request: TasksRequest) -> Result<TasksReport> {
        match request.create {
            Some(name) => {
                let goal = request.goal.unwrap_or_default();
                create(plane, name, goal, request.summary, request.reuse).await.map(TasksReport::Created)
            }
            None => list(plane, request.active, request.limit).await.map(TasksReport::Listed),
        }
    }
}

async fn create(
    plane: &Plane,
    name: Name,
    goal: String,
    summary: Option<String>,
    reuse: bool,
) -> Result<TaskCreated> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let (task, created) = match tasks::by_name(&mut tx, &name).await? {
        Some(task) if task.state.is_unfinished() && reuse => (task, false),
        Some(task) if task.state.is_unfinished() => {
            return Err(Error::conflict(format!("there is an unfinished task `{name}`"))
                .hint("choose another name, finish that one, or add --reuse to take it as it is"));
        }
        Some(_) | None => {
            let id = TaskId::new(tx.clock().uuid_v7());
            let task = Task::new(id, name, goal, summary, tx.now());
            let audit = AuditRow::new("task_created", format!("The task {} was made.", task.name));
            (tasks::insert(&mut tx, task, audit).await?, true)
        }
    };
    tx.commit().await?;
    let name = task.name.as_str();
    let next = plane.command(&["bind", "--task", name, "--worker", "<worker>", "--manager", "<manager>"]);
    Ok(TaskCreated { created, id: task.id, name: task.name, next })
}

async fn list(plane: &Plane, active: bool, asked: Option<u32>) -> Result<Vec<TasksLine>> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(Vec::new()) };
    let mut reader = ledger.read().await?;
    let all = tasks::list(&mut reader, active, u32::MAX).await?;
    let cut = all.len().saturating_sub(listing::rows(plane, asked) as usize);
    let mut lines: Vec<TasksLine> =
        rows(&mut reader, &all[cut..]).await?.into_iter().map(|row| TasksLine::Task(Box::new(row))).collect();
    if cut > 0 {
        let count = all.len().to_string();
        let next = ["tasks", "--limit", &count, "--active"];
        lines.push(TasksLine::More(More::by(plane.command(&next[..if active { 4 } else { 3 }]))));
    }
    Ok(lines)
}

/// Tasks with who works on them and when they were last looked at.
pub(super) async fn rows(db: &mut Db, tasks: &[Task]) -> Result<Vec<TaskRow>> {
    let mut bound: HashMap<TaskId, TaskBinding> = bindings::active_names(db)
        .await?
        .into_iter()
        .map(|(task, binding_id, worker, manager)| {
            (task, TaskBinding { binding_id, worker: worker.to_string(), manager: manager.to_string() })
        })
        .collect();
    let looks: HashMap<TaskId, Timestamp> = cycles::last_looks(db).await?.into_iter().collect();
    let rows = tasks.iter().map(|task| row(task, bound.remove(&task.id), looks.get(&task.id).copied()));
    Ok(rows.collect())
}

fn row(task: &Task, binding: Option<TaskBinding>, last_cycle_at: Option<Timestamp>) -> TaskRow {
    let task = task.clone();
    TaskRow {
        id: task.id,
        name: task.name,
        goal: task.goal,
        summary: task.summary,
        state: task.state,
        outcome: task.outcome,
        reason: task.reason,
        created_at: task.created_at,
        updated_at: task.updated_at,
        finished_at: task.finished_at,
        budget: None,
        binding,
        last_cycle_at,
    }
}

#[cfg(test)]
mod tests;
