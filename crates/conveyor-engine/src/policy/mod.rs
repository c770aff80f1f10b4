//! How a task's manager is to work: what a caller may set, how it changes what was recorded, and how it is asked for.

mod answers;
mod ask;
mod questions;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::permission;
use conveyor_model::permission::Change;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::configs::NudgeOnCompletion;
use conveyor_store::configs::SupervisionMode;
use serde_json::Value;
use serde_json::json;

pub(crate) use self::answers::of_answers;
pub(crate) use self::ask::ask;
pub(crate) use self::questions::Schema;
pub(crate) use self::questions::questions;
use crate::verbs::epilogue::Step;

/// Steps at the end of a task.
pub(crate) const EPILOGUES: [&str; 4] = [
    Step::RunTools.as_str(),
    Step::DraftPr.as_str(),
    Step::SubagentReview.as_str(),
    Step::RecordHandoff.as_str(),
];

/// Refuses a step that there is not.
pub(crate) fn check_epilogues(steps: &[String]) -> Result<()> {
    match steps.iter().find(|step| !EPILOGUES.contains(&step.as_str())) {
        Some(unknown) => {
            Err(Error::usage(format!("`{}` is not a step of an epilogue", unknown.escape_debug()))
                .hint(format!("one of {}", EPILOGUES.join(", "))))
        }
        None => Ok(()),
    }
}

/// A change of a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListChange {
    /// The whole list is this, when given.
    pub(crate) replace: Option<Vec<String>>,
    /// These stand behind the rest.
    pub(crate) add: Vec<String>,
}

impl ListChange {
    /// The whole list is replaced when anything is given.
    pub(crate) fn given(texts: &[String]) -> Self {
        Self { replace: (!texts.is_empty()).then(|| texts.to_vec()), add: Vec::new() }
    }

    fn is_given(&self) -> bool {
        self.replace.is_some() || !self.add.is_empty()
    }

    /// The list after the change: trimmed, without blanks and repetitions.
    fn over(&self, before: &Value) -> Value {
        let stored = before.as_array().into_iter().flatten().filter_map(Value::as_str);
        let base: Vec<String> = match &self.replace {
            Some(texts) => texts.clone(),
            None => stored.map(ToOwned::to_owned).collect(),
        };
        let mut list: Vec<&str> = Vec::new();
        for text in base.iter().chain(&self.add).map(|text| text.trim()).filter(|text| !text.is_empty()) {
            if !list.contains(&text) {
                list.push(text);
            }
        }
        json!(list)
    }
}

/// A change of the objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Objective {
    /// It is this.
    Is(String),
    /// There is none any more.
    Unset,
}

/// What a caller sets. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) mode: Option<SupervisionMode>,
    pub(crate) objective: Option<Objective>,
    pub(crate) guidelines: ListChange,
    pub(crate) acceptance: ListChange,
    pub(crate) references: ListChange,
    pub(crate) tools: ListChange,
    pub(crate) epilogues: ListChange,
    pub(crate) nudge: Option<NudgeOnCompletion>,
    pub(crate) require_acks: Option<bool>,
    pub(crate) permissions: Vec<Change>,
}

impl Settings {
    /// Whether anything is set.
    pub(crate) fn is_given(&self) -> bool {
        let lists = [&self.guidelines, &self.acceptance, &self.references, &self.tools, &self.epilogues];
        lists.into_iter().any(ListChange::is_given)
            || self.mode.is_some()
            || self.objective.is_some()
            || self.nudge.is_some()
            || self.require_acks.is_some()
            || !self.permissions.is_empty()
    }

    /// What was recorded before, with what is set.
    pub(crate) fn over(&self, before: ManagerConfig) -> ManagerConfig {
        ManagerConfig {
            supervision_mode: self.mode.unwrap_or(before.supervision_mode),
            objective: match &self.objective {
                Some(Objective::Is(text)) => Some(text.clone()),
                Some(Objective::Unset) => None,
                None => before.objective,
            },
            guidelines_json: self.guidelines.over(&before.guidelines_json),
            acceptance_criteria_json: self.acceptance.over(&before.acceptance_criteria_json),
            reference_paths_json: self.references.over(&before.reference_paths_json),
            tools_json: self.tools.over(&before.tools_json),
            epilogues_json: self.epilogues.over(&before.epilogues_json),
            nudge_on_completion: self.nudge.unwrap_or(before.nudge_on_completion),
            require_acks: self.require_acks.unwrap_or(before.require_acks),
            permissions_json: permission::apply(&before.permissions_json, &self.permissions),
            ..before
        }
    }
}

#[cfg(test)]
mod tests;
