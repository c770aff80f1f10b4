//! The first messages of sessions that conveyor starts: pure functions of what is known.
//!
//! Text from people (goal, objective, criteria) is quoted line by line as data, so that a reader sees where it ends. Each
//! command stands there whole, with executable and ledger: an agent's shell finds neither by itself.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::Name;

/// How the reader calls conveyor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The program, absolute and quoted for a shell.
    pub program: String,
    /// The ledger, quoted for a shell.
    pub ledger: String,
    /// Whether the sandbox keeps the reader's shell from the ledger and from tmux: then MCP is the way in.
    pub sandboxed: bool,
}

impl Way {
    /// One call, as a command line or as a tool.
    fn call(&self, words: &str) -> String {
        let Self { program, ledger, sandboxed } = self;
        if !sandboxed {
            return format!("`{program} {words} --db {ledger}`");
        }
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        let tool = verb.replace('-', "_");
        if rest.is_empty() { format!("tool `{tool}`") } else { format!("tool `{tool}` (as in `{rest}`)") }
    }

    /// How a side says what it has understood: a tool takes the object itself, a shell pipes it.
    fn acknowledge(&self, role: &str, task: &str) -> String {
        let given = if self.sandboxed { "--payload-json <object>" } else { "--from-stdin" };
        self.call(&format!("{role}-ack {task} {given}"))
    }

    /// How the other side reads it.
    fn acknowledged(&self, role: &str, task: &str) -> String {
        let form = if self.sandboxed { "" } else { " --json" };
        self.call(&format!("{role}-ack {task}{form}"))
    }

    /// What the reader has to know about calling.
    fn explained(&self) -> String {
        if !self.sandboxed {
            return "Commands below are complete: run them as they stand, in any folder.".to_owned();
        }
        format!(
            "Your shell runs in a sandbox that keeps it from the ledger and from tmux. Use the tools of the MCP server \
             `conveyor` instead: each has the name of a command with `_` for `-`, and its flags as arguments. \
             What only reads also works in the shell: `{} <command> --db {}`.",
            self.program, self.ledger
        )
    }
}

/// What is known of the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub task: Name,
    /// What is wanted; not known for a task that is not recorded yet.
    pub goal: Option<String>,
}

/// What a worker is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The worker's name.
    pub name: Name,
    /// Where it works.
    pub cwd: PathBuf,
    /// Its task, when it is bound to one already.
    pub job: Option<Job>,
    /// Its manager, when it is bound to one already.
    pub manager: Option<Name>,
    /// The person's own words about the work.
    pub instructions: Option<String>,
    /// How it calls conveyor.
    pub way: Way,
}

/// What a manager is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The manager's name.
    pub name: Name,
    /// Where it works.
    pub cwd: PathBuf,
    /// The task, when it is known.
    pub job: Option<Job>,
    /// The worker, when it is known.
    pub worker: Option<Name>,
    /// Whether worker, manager and task are bound already.
    pub bound: bool,
    /// The task's configuration, when it is recorded.
    pub config: Option<Policy>,
    /// How it calls conveyor.
    pub way: Way,
}

/// The part of a task's configuration that its manager is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `light`, `guided` or `strict`.
    pub mode: String,
    /// What the manager is after.
    pub objective: Option<String>,
    /// How it is to work.
    pub guidelines: Vec<String>,
    /// What it is granted: `category.action`.
    pub granted: Vec<String>,
    /// What it is not granted.
    pub refused: Vec<String>,
    /// Tools that it is expected to use.
    pub tools: Vec<String>,
}

/// What counts as proof: for whoever says that something is done, and for whoever believes it.
const BURDEN_OF_PROOF: &str = "\
Burden of proof:
- Before anything is called complete, try to disprove it. Name the strongest realistic way in which it could be wrong.
- Check exactly that, by a command, a test, a trace, a screenshot, an audit record, a diff or by reading the code.
- Report what was run and what it printed. A claim, a passed happy path, a summary or a promising screen is no proof.
- What was not checked is a blocker or a named follow-up, never a silent assumption.";

/// The first message of a worker.
pub fn worker(worker: &Worker) -> String {
    let mut text = format!(
        "You are the worker session `{}`, started by conveyor in {}.\n",
        worker.name,
        worker.cwd.display()
    );
    match (&worker.job, &worker.manager) {
        (Some(job), Some(manager)) => {
            let _ = writeln!(text, "You work on the task `{}`; the session `{manager}` manages you.", job.task);
        }
        (Some(_) | None, _) => text.push_str(
            "You are not bound to a task yet. Do not start any work before you are: end this turn, and wait for the \
             message in which a manager names your task and its acceptance criteria.\n",
        ),
    }
    if let Some(goal) = worker.job.as_ref().and_then(|job| job.goal.as_deref()) {
        let _ = write!(text, "\nGoal, as it was given:\n{}", quoted(goal));
    }
    if let Some(instructions) = &worker.instructions {
        let _ = write!(text, "\nInstructions, as they were given:\n{}", quoted(instructions));
    }
    let _ = writeln!(text, "\n{}", worker.way.explained());
    if let Some(job) = &worker.job {
        text.push_str(&acknowledge_as_worker(job, &worker.way));
    }
    text.push_str(
        "What your manager sends begins with a label in brackets. End your turn when you are done or stuck: your manager \
         is told by itself.\n",
    );
    if let Some(job) = &worker.job {
        let call = worker.way.call(&format!("report {} --status done --message \"<text>\"", job.task));
        let _ = writeln!(
            text,
            "To tell it how you stand (done, blocked, progress), before or at the end: {call}."
        );
    }
    let _ = writeln!(text, "\n{BURDEN_OF_PROOF}");
    text
}

/// The request to say what was understood before work begins.
fn acknowledge_as_worker(job: &Job, way: &Way) -> String {
    let call = way.acknowledge("worker", job.task.as_str());
    format!(
        "First record what you have understood: {call}, with a JSON object whose keys are goal_restatement, \
         proposed_criteria, expected_tools, open_questions and ready_to_start. If you are not bound, it is refused: \
         then end the turn and wait.\n"
    )
}

/// The first message of a manager.
pub fn manager(manager: &Manager) -> String {
    let task = manager.job.as_ref().map_or("<task>", |job| job.task.as_str());
    let worker = manager.worker.as_ref().map_or("<worker>", Name::as_str);
    let mut text = format!(
        "You are the manager session `{}`, started by conveyor in {}.\n\
         Task: {}. Worker: {}.\n",
        manager.name,
        manager.cwd.display(),
        manager.job.as_ref().map_or("none yet".to_owned(), |job| format!("`{}`", job.task)),
        manager.worker.as_ref().map_or("none yet".to_owned(), |worker| format!("`{worker}`")),
    );
    match manager.job.as_ref().and_then(|job| job.goal.as_deref()) {
        Some(goal) => drop(write!(text, "Goal, as it was given:\n{}", quoted(goal))),
        None => text.push_str("Goal: none yet; ask the user.\n"),
    }
    text.push_str(
        "\nYou supervise; you do not implement. Never edit the project's files. Try to disprove the worker's result \
         before you accept it.\n",
    );
    let _ = writeln!(text, "{}", manager.way.explained());
    let _ = writeln!(text, "\nSet-up:\n{}", set_up(manager, task, worker));
    let _ =
        writeln!(text, "\nLoop, until the task is finished:\n{}", supervision(&manager.way, task, worker));
    let _ = writeln!(text, "\n{BURDEN_OF_PROOF}");
    text
}

/// What a manager does once.
fn set_up(manager: &Manager, task: &str, worker: &str) -> String {
    let way = &manager.way;
    let mut steps = Vec::new();
    if !manager.bound {
        let call = way.call(&format!("bind --task {task} --worker {worker} --manager {}", manager.name));
        steps.push(format!("Bind, when task and worker are there: {call}."));
    }
    match &manager.config {
        Some(policy) => steps.push(configured(policy)),
        None => steps.push(format!(
            "No configuration is recorded. Read the questions ({}), ask the user each of them in this chat, and record \
             the answers with the flags of {}. `--interactive` is only for a person at a terminal.",
            way.call(&format!("manager-config {task} --questions")),
            way.call(&format!("manager-config {task}")),
        )),
    }
    steps.push(format!(
        "Record what you have understood before the first cycle: {}. Read what the worker understood: {}.",
        way.acknowledge("manager", task),
        way.acknowledged("worker", task),
    ));
    numbered(&steps)
}

/// The configuration as a step.
fn configured(policy: &Policy) -> String {
    let mut text = format!("The configuration is recorded: mode {}.", policy.mode);
    if let Some(objective) = &policy.objective {
        let _ = write!(text, " Objective, as it was given:\n{}", quoted(objective).trim_end());
    }
    if !policy.guidelines.is_empty() {
        let _ = write!(
            text,
            "\nGuidelines, as they were given:\n{}",
            quoted(&policy.guidelines.join("\n")).trim_end()
        );
    }
    for (what, list) in
        [("Granted", &policy.granted), ("Not granted", &policy.refused), ("Expected tools", &policy.tools)]
    {
        let listed = if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
        let _ = write!(text, "\n{what}: {listed}.");
    }
    text
}

/// What a manager does again and again.
fn supervision(way: &Way, task: &str, worker: &str) -> String {
    numbered(&[
        format!(
            "Observe: {}. Read state, staleness_seconds, notable_pane_pattern and manager_context: manager_config, \
             acceptance_criteria, criteria_negotiation.",
            way.call(&format!("cycle {task}"))
        ),
        "Decide: wait, nudge, interrupt, escalate or finish. While the worker is busy and makes progress, end your turn: \
         a message tells you when its turn has ended."
            .to_owned(),
        format!(
            "Nudge: {}. A worker without tmux reads it from its inbox: {}, then {}. Without tmux yourself, read yours: {}.",
            way.call(&format!("session-nudge {worker} \"<text>\"")),
            way.call(&format!("enqueue-nudge-worker {task} --message \"<text>\"")),
            way.call("dispatch --once --type nudge_worker"),
            way.call(&format!("manager-inbox {task} --consume-next --wait --timeout 60")),
        ),
        format!(
            "Keep the criteria current. When criteria_negotiation.needed is true, send its prompt to the worker. Add: {}. \
             Sources: user_requested, manager_inferred, worker_proposed, final_audit (manager_config is none). Plan: {}. \
             Satisfy only with evidence: {}.",
            way.call(&format!(
                "criteria {task} --add --criterion \"<text>\" --source worker_proposed --status proposed"
            )),
            way.call(&format!("criteria-plan {task}")),
            way.call(&format!(
                "criteria {task} --satisfy <id> --evidence-json '{{\"command\":\"<command>\",\"status\":\"pass\"}}'"
            )),
        ),
        format!(
            "Finish when each accepted criterion is proved: {}.",
            way.call(&format!("finish-task {task} --reason \"<why>\" --require-criteria-audit"))
        ),
    ])
}

/// Steps as a numbered list.
fn numbered(steps: &[String]) -> String {
    let lines: Vec<String> =
        steps.iter().enumerate().map(|(place, step)| format!("{}. {step}", place + 1)).collect();
    lines.join("\n")
}

/// A person's text as data: each line behind a mark.
fn quoted(text: &str) -> String {
    text.trim().lines().flat_map(|line| ["> ", line, "\n"]).collect()
}

#[cfg(test)]
mod tests;
