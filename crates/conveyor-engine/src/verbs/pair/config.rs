//! The flags of `pair` that configure a manager, and what the manager is told of them.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_model::permission;
use conveyor_model::permission::Change;
use conveyor_model::prompt::Policy;
use conveyor_store::configs::ManagerConfig;

use super::PairRequest;
use crate::object::JsonObject;
use crate::policy;
use crate::policy::ListChange;
use crate::policy::Objective;
use crate::policy::Settings;
use crate::start;

/// What the flags say.
///
/// Errors: usage, for a permission, a category or a step that there is not.
pub(super) fn settings(request: &PairRequest) -> Result<Settings> {
    let mut permissions = Vec::new();
    let allowed = [
        (request.manager_allow_pr, "allow_pr"),
        (request.manager_allow_merge_green, "allow_merge_green"),
        (request.manager_allow_worker_compact_clear, "allow_worker_compact_clear"),
    ];
    let words = request.manager_permit.iter().map(String::as_str);
    for word in words.chain(allowed.iter().filter(|(on, _)| *on).map(|(_, word)| *word)) {
        permissions.extend(permission::parse(word)?.into_iter().map(Change::Grant));
    }
    if let Some(text) = &request.manager_permissions_json {
        let wrong = |error: conveyor_model::Error| error.during("--manager-permissions-json");
        let object: JsonObject = text.parse().map_err(wrong)?;
        permissions.extend(permission::changes(object.map()).map_err(wrong)?);
    }
    policy::check_epilogues(&request.manager_epilogue)?;
    Ok(Settings {
        mode: request.manager_mode,
        objective: request.manager_objective.clone().map(Objective::Is),
        guidelines: ListChange::given(&request.manager_guideline),
        acceptance: ListChange::given(&request.manager_acceptance),
        references: ListChange::given(&request.manager_reference),
        tools: ListChange::given(&request.manager_tool),
        epilogues: ListChange::given(&request.manager_epilogue),
        nudge: request.manager_nudge_on_completion,
        require_acks: request.manager_require_acks.then_some(true),
        permissions,
    })
}

/// What the manager is told.
pub(super) fn told(settings: &Settings, before: Option<&ManagerConfig>) -> Policy {
    // Neither id nor time are told, so those of nobody do.
    let blank = || ManagerConfig::new(TaskId::new(uuid::Uuid::nil()), Timestamp::from_millis(0));
    start::policy(&settings.over(before.cloned().unwrap_or_else(blank)))
}
