//! What must be so before a task is finished. All gates are looked at, and what is missing is told together.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::Db;
use conveyor_store::configs;
use conveyor_store::criteria;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

use super::FinishTaskRequest;
use super::Pair;
use crate::Plane;
use crate::manager_context;
use crate::manager_context::AckView;

/// The audit of criteria.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CriteriaAudit {
    /// Accepted criteria without proof.
    pub open_criteria: Vec<OpenCriterion>,
    /// As it was asked.
    pub require_criteria_audit: bool,
    /// How many stand where.
    pub summary: BTreeMap<&'static str, u64>,
    /// How many there are.
    pub total: u64,
}

/// An accepted criterion without proof.
#[derive(Serialize, JsonSchema, Debug)]
pub struct OpenCriterion {
    /// Its number.
    pub id: i64,
    /// Its text.
    pub criterion: String,
}

/// The audit of acknowledgements.
#[derive(Serialize, JsonSchema, Debug)]
pub struct AckAudit {
    /// The manager's latest, where it counts.
    pub manager_ack_id: Option<i64>,
    /// The worker's latest, where it counts.
    pub worker_ack_id: Option<i64>,
    /// Who has not acknowledged this binding and configuration.
    pub missing: Vec<Role>,
    /// Nobody is missing.
    pub ok: bool,
    /// As it was asked, or as the task's configuration has it.
    pub require_acks: bool,
}

/// All audits.
pub(super) struct Audits {
    pub(super) criteria: CriteriaAudit,
    pub(super) acks: AckAudit,
    missing: Vec<String>,
    commands: Vec<String>,
}

impl Audits {
    /// Why the task may not be finished.
    pub(super) fn refusal(&self) -> Option<Error> {
        (!self.missing.is_empty())
            .then(|| Error::refused(self.missing.join("; ")).hint(self.commands.join("\n")))
    }
}

/// Looks at every gate.
pub(super) async fn look(
    db: &mut Db,
    plane: &Plane,
    request: &FinishTaskRequest,
    pair: &Pair,
) -> Result<Audits> {
    let criteria = criteria_audit(db, request, pair).await?;
    let acks = ack_audit(db, request, pair).await?;
    let mut audits = Audits { criteria, acks, missing: Vec::new(), commands: Vec::new() };
    let task = pair.task.name.as_str();
    if request.require_criteria_audit && !audits.criteria.open_criteria.is_empty() {
        let open = &audits.criteria.open_criteria;
        let listed: Vec<String> = open.iter().map(|one| format!("#{}: {}", one.id, one.criterion)).collect();
        audits.missing.push(format!("accepted criteria are not satisfied: {}", listed.join(", ")));
        audits.commands.extend(open.iter().map(|one| {
            let id = one.id.to_string();
            plane.command(&["criteria", task, "--satisfy", &id, "--evidence-json", "<what proves it>"])
        }));
    }
    if audits.acks.require_acks && !audits.acks.ok {
        let roles: Vec<&str> = audits.acks.missing.iter().map(|role| role.as_str()).collect();
        audits.missing.push(format!("no current acknowledgement of the {}", roles.join(" and of the ")));
        let commands = audits.acks.missing.iter();
        let commands: Vec<String> =
            commands.map(|role| manager_context::ack_command(plane, &pair.task, *role)).collect();
        audits.commands.extend(commands);
    }
    Ok(audits)
}

async fn criteria_audit(db: &mut Db, request: &FinishTaskRequest, pair: &Pair) -> Result<CriteriaAudit> {
    let open = criteria::list(db, &pair.task.id, &[CriterionStatus::Accepted]).await?;
    let counted = criteria::counts(db, Some(&pair.task.id)).await?;
    let mut summary: BTreeMap<&'static str, u64> =
        CriterionStatus::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    for (status, count) in counted {
        summary.insert(status.as_str(), u64::try_from(count).unwrap_or_default());
    }
    Ok(CriteriaAudit {
        open_criteria: open
            .into_iter()
            .map(|one| OpenCriterion { id: one.id, criterion: one.criterion })
            .collect(),
        require_criteria_audit: request.require_criteria_audit,
        total: summary.values().sum(),
        summary,
    })
}

/// Only what was acknowledged under this binding and this configuration counts: another pair's word is not this one's.
async fn ack_audit(db: &mut Db, request: &FinishTaskRequest, pair: &Pair) -> Result<AckAudit> {
    let Some(binding) = &pair.binding else {
        let config = configs::get(db, &pair.task.id).await?;
        return Ok(AckAudit {
            manager_ack_id: None,
            worker_ack_id: None,
            missing: vec![Role::Worker, Role::Manager],
            ok: false,
            require_acks: request.require_acks || config.is_some_and(|config| config.require_acks),
        });
    };
    let policy = manager_context::policy(db, binding).await?;
    let id = |ack: &Option<AckView>| ack.as_ref().filter(|ack| ack.current).map(|ack| ack.id);
    let missing = policy.lacking();
    Ok(AckAudit {
        manager_ack_id: id(&policy.manager_ack),
        worker_ack_id: id(&policy.worker_ack),
        ok: missing.is_empty(),
        missing,
        require_acks: request.require_acks || policy.requires_acks(),
    })
}
