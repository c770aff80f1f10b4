//! What `manager-config` answers.

use std::fmt::Write as _;

use conveyor_model::Name;
use conveyor_model::ids::TaskId;
use conveyor_store::configs::ManagerConfig as Config;
use conveyor_store::criteria::Criterion;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Plane;
use crate::manager_context::ConfigView;
use crate::policy;
use crate::policy::Schema;
use crate::verb::Report;

/// The configuration; null when none is recorded.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum ManagerConfigReport {
    /// What is recorded.
    Config(Option<Box<ConfigAnswer>>),
    /// What to ask.
    Questions(Box<QuestionsAnswer>),
}

/// A configuration.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ConfigAnswer {
    /// What is recorded.
    #[serde(flatten)]
    pub config: ConfigView,
    /// Whether this call changed it; null when it was only shown.
    pub changed: Option<bool>,
    /// Criteria that this call added, by number.
    pub criteria_added: Vec<i64>,
    /// What should be noticed.
    pub warnings: Vec<String>,
    /// What to run next.
    pub next: Option<String>,
}

/// The questions.
#[derive(Serialize, JsonSchema, Debug)]
pub struct QuestionsAnswer {
    /// The task.
    pub task: TaskOfConfig,
    /// The questions and how they are meant to be asked.
    #[serde(flatten)]
    pub schema: Schema,
}

/// A task.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TaskOfConfig {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
}

/// What recording has done.
pub(super) struct Recorded {
    pub(super) changed: bool,
    pub(super) criteria: Vec<Criterion>,
    pub(super) dropped: Vec<String>,
}

impl ManagerConfigReport {
    /// What is recorded.
    pub(super) fn shown(config: Option<Config>) -> Self {
        Self::Config(config.map(|config| {
            Box::new(ConfigAnswer {
                config: config.into(),
                changed: None,
                criteria_added: Vec::new(),
                warnings: Vec::new(),
                next: None,
            })
        }))
    }

    /// What was recorded now.
    pub(super) fn recorded(plane: &Plane, task: &Task, config: Config, done: Recorded) -> Self {
        let mut warnings: Vec<String> = Vec::new();
        for text in done.dropped {
            warnings.push(format!("the criterion that came of `{}` stays as it is", text.escape_debug()));
        }
        if done.changed && config.require_acks {
            warnings.push("acknowledgements of an earlier revision do not count any more".to_owned());
        }
        let next = ["cycle", task.name.as_str()];
        Self::Config(Some(Box::new(ConfigAnswer {
            config: config.into(),
            changed: Some(done.changed),
            criteria_added: done.criteria.iter().map(|one| one.id).collect(),
            warnings,
            next: Some(plane.command(&next)),
        })))
    }

    /// What to ask.
    pub(super) fn asked(plane: &Plane, task: &Task, base: &Config) -> Self {
        let name = task.name.as_str();
        Self::Questions(Box::new(QuestionsAnswer {
            task: TaskOfConfig { id: task.id.clone(), name: task.name.clone() },
            schema: Schema {
                recommended_collection: "manager_codex_chat",
                fallback_collection: plane.command_line(&["manager-config", name, "--interactive"]),
                store_answers: plane.command(&["manager-config", name, "--answers-json", "<object of ids>"]),
                questions: policy::questions(base),
            },
        }))
    }
}

impl Report for ManagerConfigReport {
    fn text(&self) -> Option<String> {
        match self {
            Self::Config(None) => Some("nothing is configured yet\n".to_owned()),
            Self::Config(Some(_)) => None,
            Self::Questions(answer) => {
                let mut text = String::new();
                for question in &answer.schema.questions {
                    let _ = writeln!(text, "{} ({})\n  {}", question.id, question.flag, question.question);
                }
                Some(text)
            }
        }
    }
}
