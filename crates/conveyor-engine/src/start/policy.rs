//! A task's configuration as its manager is told it.

use conveyor_model::permission;
use conveyor_model::prompt::Policy;
use conveyor_store::configs::ManagerConfig;
use serde_json::Value;

/// What a manager is told of its task's configuration.
pub fn policy(config: &ManagerConfig) -> Policy {
    let all = permission::ALL.iter().map(ToString::to_string);
    let (granted, refused) = all.partition(|word| permission::grants(&config.permissions_json, word));
    Policy {
        mode: config.supervision_mode.as_str().to_owned(),
        objective: config.objective.clone(),
        guidelines: texts(&config.guidelines_json),
        granted,
        refused,
        tools: texts(&config.tools_json),
    }
}

/// A stored list of texts.
fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
