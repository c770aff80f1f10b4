//! How a task's manager is to work.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use serde_json::Value;
use serde_json::json;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::tx::AuditRow;
use crate::tx::Tx;

words! {
    /// How closely a worker is supervised.
    SupervisionMode, "a supervision mode" {
        /// Guided.
        Guided = "guided",
        /// Light.
        Light = "light",
        /// Strict.
        Strict = "strict",
    }
}

words! {
    /// What follows when a worker has completed.
    NudgeOnCompletion, "a way to go on" {
        /// Ask the operator.
        AskOperator = "ask-operator",
        /// Proceed.
        AutoProceed = "auto-proceed",
        /// Review, then proceed.
        AutoReview = "auto-review",
        /// Nothing.
        Off = "off",
    }
}

table! {
    /// The configuration of a task's manager.
    ManagerConfig in "manager_configs" {
        /// The task.
        task_id: TaskId,
        /// How closely the worker is supervised.
        supervision_mode: SupervisionMode,
        /// What the manager is after.
        objective: Option<String>,
        /// List of texts.
        guidelines_json: Value,
        /// List of texts.
        acceptance_criteria_json: Value,
        /// List of texts.
        reference_paths_json: Value,
        /// Object: category to list of actions.
        permissions_json: Value,
        /// List of texts.
        tools_json: Value,
        /// List of steps.
        epilogues_json: Value,
        /// What follows when the worker has completed.
        nudge_on_completion: NudgeOnCompletion,
        /// Both sides must have acknowledged this revision.
        require_acks: bool,
        /// Counts the changes, from 1.
        revision: i64,
        /// When it was first stored.
        created_at: Timestamp,
        /// When it last changed.
        updated_at: Timestamp,
    }
}

impl ManagerConfig {
    /// What holds where nothing was configured.
    pub fn new(task: TaskId, now: Timestamp) -> Self {
        Self {
            task_id: task,
            supervision_mode: SupervisionMode::Guided,
            objective: None,
            guidelines_json: json!([]),
            acceptance_criteria_json: json!([]),
            reference_paths_json: json!([]),
            permissions_json: json!({}),
            tools_json: json!([]),
            epilogues_json: json!([]),
            nudge_on_completion: NudgeOnCompletion::AskOperator,
            require_acks: false,
            revision: 0,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Stores a configuration. The revision rises only when something changed; without a change nothing is written.
pub async fn put(tx: &mut Tx, config: ManagerConfig, audit: AuditRow) -> Result<ManagerConfig> {
    let now = tx.now();
    let Some(before) = get(tx, &config.task_id).await? else {
        let first = ManagerConfig { revision: 1, created_at: now, updated_at: now, ..config };
        tx.insert(&first).await?;
        tx.audit(audit.or_task(Some(&first.task_id))).await?;
        return Ok(first);
    };
    let same = ManagerConfig {
        revision: before.revision,
        created_at: before.created_at,
        updated_at: before.updated_at,
        ..config.clone()
    };
    if same == before {
        return Ok(before);
    }
    let next = ManagerConfig { revision: before.revision + 1, updated_at: now, ..same };
    tx.replace(&next).await?;
    tx.audit(audit.or_task(Some(&next.task_id))).await?;
    Ok(next)
}

/// The configuration of a task; absent when nothing was configured.
pub async fn get(db: &mut Db, task: &TaskId) -> Result<Option<ManagerConfig>> {
    db.one(ManagerConfig::select("WHERE task_id = $1"), args![task]).await
}
