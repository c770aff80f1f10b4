//! The flags that configure a manager, and what they make of what was recorded before.

use std::collections::BTreeSet;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_model::permission;
use conveyor_model::permission::Permission;
use conveyor_model::prompt::Policy;
use conveyor_store::configs::ManagerConfig;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::PairRequest;
use crate::start;

/// Steps at the end of a task.
const EPILOGUES: [&str; 4] = ["run-tools", "draft-pr", "subagent-review", "record-handoff"];

/// What the flags say; nothing in it is unknown.
#[derive(Clone, Debug, Default)]
pub(super) struct Seed {
    mode: Option<conveyor_store::configs::SupervisionMode>,
    objective: Option<String>,
    guidelines: Vec<String>,
    acceptance: Vec<String>,
    references: Vec<String>,
    tools: Vec<String>,
    epilogues: Vec<String>,
    nudge: Option<conveyor_store::configs::NudgeOnCompletion>,
    require_acks: bool,
    changes: Vec<Change>,
    given: bool,
}

/// One change of the permissions.
#[derive(Clone, Debug)]
enum Change {
    Grant(Permission),
    Revoke(Permission),
    Replace(&'static str, Vec<Permission>),
}

impl Seed {
    /// Reads the flags.
    ///
    /// Errors: usage, for a permission, a category or a step that there is not.
    pub(super) fn of(request: &PairRequest) -> Result<Self> {
        let mut changes = Vec::new();
        let allowed = [
            (request.manager_allow_pr, "allow_pr"),
            (request.manager_allow_merge_green, "allow_merge_green"),
            (request.manager_allow_worker_compact_clear, "allow_worker_compact_clear"),
        ];
        let words = request.manager_permit.iter().map(String::as_str);
        for word in words.chain(allowed.iter().filter(|(on, _)| *on).map(|(_, word)| *word)) {
            changes.extend(permission::parse(word)?.into_iter().map(Change::Grant));
        }
        if let Some(text) = &request.manager_permissions_json {
            changes.extend(of_json(text)?);
        }
        if let Some(unknown) =
            request.manager_epilogue.iter().find(|step| !EPILOGUES.contains(&step.as_str()))
        {
            return Err(Error::usage(format!("`{}` is not a step of an epilogue", unknown.escape_debug()))
                .hint(format!("one of {}", EPILOGUES.join(", "))));
        }
        let mut seed = Self {
            mode: request.manager_mode,
            objective: request.manager_objective.clone(),
            guidelines: request.manager_guideline.clone(),
            acceptance: request.manager_acceptance.clone(),
            references: request.manager_reference.clone(),
            tools: request.manager_tool.clone(),
            epilogues: request.manager_epilogue.clone(),
            nudge: request.manager_nudge_on_completion,
            require_acks: request.manager_require_acks,
            changes,
            given: false,
        };
        let lists = [&seed.guidelines, &seed.acceptance, &seed.references, &seed.tools, &seed.epilogues];
        seed.given = lists.iter().any(|list| !list.is_empty())
            || seed.mode.is_some()
            || seed.objective.is_some()
            || seed.nudge.is_some()
            || seed.require_acks
            || !seed.changes.is_empty();
        Ok(seed)
    }

    /// Whether any of the flags was given.
    pub(super) const fn is_given(&self) -> bool {
        self.given
    }

    /// What was recorded before, with what the flags say.
    pub(super) fn over(&self, before: ManagerConfig) -> ManagerConfig {
        let list = |given: &[String], before: Value| if given.is_empty() { before } else { json!(given) };
        ManagerConfig {
            supervision_mode: self.mode.unwrap_or(before.supervision_mode),
            objective: self.objective.clone().or(before.objective),
            guidelines_json: list(&self.guidelines, before.guidelines_json),
            acceptance_criteria_json: list(&self.acceptance, before.acceptance_criteria_json),
            reference_paths_json: list(&self.references, before.reference_paths_json),
            tools_json: list(&self.tools, before.tools_json),
            epilogues_json: list(&self.epilogues, before.epilogues_json),
            nudge_on_completion: self.nudge.unwrap_or(before.nudge_on_completion),
            require_acks: self.require_acks || before.require_acks,
            permissions_json: self.permissions(&before.permissions_json),
            ..before
        }
    }

    /// The permissions after all changes, each category sorted.
    fn permissions(&self, before: &Value) -> Value {
        let all = permission::ALL.iter().copied();
        let mut granted: BTreeSet<Permission> =
            all.filter(|one| permission::grants(before, &one.to_string())).collect();
        for change in &self.changes {
            match change {
                Change::Grant(one) => drop(granted.insert(*one)),
                Change::Revoke(one) => drop(granted.remove(one)),
                Change::Replace(category, with) => {
                    granted.retain(|one| one.category != *category);
                    granted.extend(with);
                }
            }
        }
        let mut object: Map<String, Value> = Map::new();
        for one in granted {
            let list = object.entry(one.category).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(json!(one.action));
            }
        }
        Value::Object(object)
    }

    /// What the manager is told.
    pub(super) fn policy(&self, before: Option<&ManagerConfig>) -> Policy {
        // Neither id nor time are told, so those of nobody do.
        let blank = || ManagerConfig::new(TaskId::new(uuid::Uuid::nil()), Timestamp::from_millis(0));
        start::policy(&self.over(before.cloned().unwrap_or_else(blank)))
    }
}

/// The changes that an object stands for.
fn of_json(text: &str) -> Result<Vec<Change>> {
    let wrong = |why: String| Error::usage(format!("--manager-permissions-json: {why}"));
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| wrong(format!("not a JSON object: {error}")))?;
    let mut changes = Vec::new();
    for (key, value) in &object {
        match value {
            Value::Bool(true) => changes.extend(permission::parse(key)?.into_iter().map(Change::Grant)),
            Value::Bool(false) => changes.extend(permission::parse(key)?.into_iter().map(Change::Revoke)),
            Value::Array(actions) => changes.push(replacement(key, actions)?),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(wrong(format!("`{}` is neither a list nor a truth value", key.escape_debug())));
            }
        }
    }
    Ok(changes)
}

fn replacement(category: &str, actions: &[Value]) -> Result<Change> {
    let known = permission::ALL.iter().find(|one| one.category == category).ok_or_else(|| {
        Error::usage(format!("`{}` is not a category of permissions", category.escape_debug()))
    })?;
    let mut with = Vec::new();
    for action in actions {
        with.extend(permission::parse(&format!("{category}.{}", action.as_str().unwrap_or_default()))?);
    }
    Ok(Change::Replace(known.category, with))
}
