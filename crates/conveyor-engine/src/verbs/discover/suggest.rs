//! What could be tied together: ranked by what speaks for it.

use conveyor_store::bindings::Binding;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;

use super::Whole;
use crate::Plane;

/// Suggestions at most.
const SUGGESTIONS: usize = 5;

/// Tasks, workers and managers that are compared, the newest of each: all with all grows with the cube.
const COMPARED: usize = 30;

/// Something that could be done.
#[derive(Serialize, JsonSchema, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// `bind`, `create-task`, `register-worker` or `register-manager`.
    pub kind: &'static str,
    /// The command.
    pub command: String,
    /// What speaks for it.
    pub reason: String,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// What to say in the session that is to be registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// What speaks for a worker and a manager on a task, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// All three carry the same setup code.
    SameCode,
    /// Both sessions work in one folder.
    SameFolder,
    /// All three are free.
    Free,
}

impl Fit {
    fn of(task: &Task, worker: &Session, manager: &Session) -> Self {
        let stem = task.name.as_str();
        let code = stem.starts_with("dashboard-")
            && worker.name.as_str() == format!("{stem}-worker")
            && manager.name.as_str() == format!("{stem}-manager");
        match (code, !worker.cwd.is_empty() && worker.cwd == manager.cwd) {
            (true, _) => Self::SameCode,
            (false, true) => Self::SameFolder,
            (false, false) => Self::Free,
        }
    }

    fn reason(self, worker: &Session) -> String {
        match self {
            Self::SameCode => "task, worker and manager carry the same setup code".to_owned(),
            Self::SameFolder => format!("both sessions are free and work in {}", worker.cwd),
            Self::Free => "nobody works on the task, and both sessions are free".to_owned(),
        }
    }
}

/// What could be done next, the most fitting first.
pub(super) fn suggestions(plane: &Plane, whole: &Whole) -> Vec<Suggestion> {
    let (workers, managers) = (free(whole, Role::Worker), free(whole, Role::Manager));
    let tasks: Vec<&Task> = whole.tasks.iter().filter(|task| is_open(whole, task)).collect();
    let mut suggestions = binds(plane, &tasks, &workers, &managers);
    if let ([], Some(worker), Some(manager)) = (tasks.as_slice(), workers.first(), managers.first()) {
        suggestions.push(create_task(plane, worker, manager));
    }
    for (role, none) in [(Role::Worker, workers.is_empty()), (Role::Manager, managers.is_empty())] {
        if none {
            suggestions.push(register(plane, role));
        }
    }
    suggestions
}

/// Whether nobody works on a task that may go on.
fn is_open(whole: &Whole, task: &Task) -> bool {
    task.state.is_unfinished() && !whole.bindings.iter().any(|binding| binding.task_id == task.id)
}

/// Live sessions of a role that are in no binding. A manager may have several; but one that has none comes to mind first.
fn free(whole: &Whole, role: Role) -> Vec<&Session> {
    let is_in = |session: &Session, binding: &Binding| {
        binding.worker_session_id == session.id || binding.manager_session_id == session.id
    };
    let is_free = |session: &&Session| {
        session.role == role
            && session.state == SessionState::Active
            && !whole.bindings.iter().any(|binding| is_in(session, binding))
    };
    whole.sessions.iter().filter(is_free).collect()
}

/// Bindings of open tasks to free sessions, each task and worker once, the most fitting first.
fn binds(plane: &Plane, tasks: &[&Task], workers: &[&Session], managers: &[&Session]) -> Vec<Suggestion> {
    let mut all = Vec::new();
    for &task in newest(tasks) {
        for &worker in newest(workers) {
            all.extend(
                newest(managers)
                    .iter()
                    .map(|&manager| (Fit::of(task, worker, manager), task, worker, manager)),
            );
        }
    }
    // Stable: among equals the oldest task, worker and manager come first.
    all.sort_by_key(|(fit, ..)| *fit);
    let mut chosen: Vec<(Fit, &Task, &Session, &Session)> = Vec::new();
    for one in all {
        let taken = chosen.iter().any(|(_, task, worker, _)| task.id == one.1.id || worker.id == one.2.id);
        if !taken && chosen.len() < SUGGESTIONS {
            chosen.push(one);
        }
    }
    chosen.into_iter().map(|(fit, task, worker, manager)| bind(plane, fit, task, worker, manager)).collect()
}

fn newest<T>(rows: &[T]) -> &[T] {
    &rows[rows.len().saturating_sub(COMPARED)..]
}

fn bind(plane: &Plane, fit: Fit, task: &Task, worker: &Session, manager: &Session) -> Suggestion {
    let (task, reason) = (task.name.as_str(), fit.reason(worker));
    let (worker, manager) = (worker.name.as_str(), manager.name.as_str());
    Suggestion {
        kind: "bind",
        command: plane.command(&["bind", "--task", task, "--worker", worker, "--manager", manager]),
        reason,
        task: Some(task.to_owned()),
        worker: Some(worker.to_owned()),
        manager: Some(manager.to_owned()),
        prompt: None,
    }
}

fn create_task(plane: &Plane, worker: &Session, manager: &Session) -> Suggestion {
    Suggestion {
        kind: "create-task",
        command: plane.command(&["tasks", "--create", "<task>", "--goal", "<what is wanted>"]),
        reason: "sessions are free and no task waits for them".to_owned(),
        task: None,
        worker: Some(worker.name.to_string()),
        manager: Some(manager.name.to_string()),
        prompt: None,
    }
}

fn register(plane: &Plane, role: Role) -> Suggestion {
    let (kind, verb) = match role {
        Role::Manager => ("register-manager", "register-manager"),
        Role::Worker => ("register-worker", "register-worker"),
    };
    let command = plane.command(&[verb, "--name", "<name>"]);
    Suggestion {
        kind,
        reason: format!("no {role} is free"),
        task: None,
        worker: None,
        manager: None,
        prompt: Some(format!("Register this session as a conveyor {role}: {command}")),
        command,
    }
}
