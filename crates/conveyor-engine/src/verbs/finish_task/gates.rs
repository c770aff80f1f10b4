//! What must be so before a task is finished. All gates are looked at, and what is missing is told together.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::finish;
use conveyor_model::finish::Asked;
use conveyor_model::finish::Closed;
use conveyor_model::finish::Decided;
use conveyor_model::finish::DecisionFault;
use conveyor_model::finish::Facts;
use conveyor_model::finish::Named;
use conveyor_model::finish::Unverified;
use conveyor_model::limits;
use conveyor_store::Db;
use conveyor_store::configs;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::decisions;
use conveyor_store::decisions::DecisionKind;
use conveyor_store::sessions::Role;
use conveyor_store::transcripts;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

use super::FinishTaskRequest;
use super::Outcome;
use super::Pair;
use super::checks::Standing;
use crate::Plane;
use crate::manager_context;
use crate::manager_context::AckView;
use crate::transcript::Gathered;
use crate::verbs::epilogue;
use crate::verbs::epilogue::StepView;
use crate::verbs::loop_evidence;

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

/// The audit of the configured steps.
#[derive(Serialize, JsonSchema, Debug)]
pub struct EpilogueAudit {
    /// Steps whose latest run did not succeed, or that never ran.
    pub missing_or_incomplete: Vec<String>,
    /// None is missing.
    pub ok: bool,
    /// As it was asked.
    pub require_epilogue: bool,
    /// The steps that the task's configuration names.
    pub required_steps: Vec<String>,
    /// Each of them.
    pub steps: Vec<StepView>,
}

/// What was found out about the decision that the end rests on.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DecisionAudit {
    /// The decision that was named.
    pub decision_id: Option<i64>,
    /// What it says.
    pub decision: Option<DecisionKind>,
    /// What it has to say.
    pub allowed_decisions: Vec<DecisionKind>,
    /// It is sound.
    pub ok: bool,
    /// What is wrong with it.
    pub warnings: Vec<&'static str>,
}

/// All audits.
pub(super) struct Audits {
    pub(super) criteria: CriteriaAudit,
    pub(super) acks: AckAudit,
    pub(super) epilogue: EpilogueAudit,
    pub(super) decision: DecisionAudit,
    /// The gates that are closed, each with the command that opens it.
    pub(super) closed: Vec<ClosedGate>,
}

/// A gate that is closed.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct ClosedGate {
    /// Which one, as its flag is named.
    pub gate: &'static str,
    /// What is missing.
    pub message: String,
    /// Commands that would satisfy it.
    pub commands: Vec<String>,
}

impl Audits {
    /// Why the task may not be finished.
    pub(super) fn refusal(&self) -> Option<Error> {
        let messages: Vec<&str> = self.closed.iter().map(|gate| gate.message.as_str()).collect();
        let commands: Vec<&str> =
            self.closed.iter().flat_map(|gate| &gate.commands).map(String::as_str).collect();
        (!messages.is_empty()).then(|| Error::refused(messages.join("; ")).hint(commands.join("\n")))
    }
}

/// Looks at every gate. The number of queries does not depend on the number of criteria.
pub(super) async fn look(
    db: &mut Db,
    plane: &Plane,
    request: &FinishTaskRequest,
    pair: &Pair,
    checks: &[Standing],
    gathered: &[Gathered],
) -> Result<Audits> {
    let all = criteria::list(db, &pair.task.id, &[]).await?;
    let criteria = criteria_audit(&all, request);
    let acks = ack_audit(db, request, pair).await?;
    let epilogue = epilogue_audit(db, request, pair).await?;
    let (decision, faults) = decision_audit(db, plane, request, pair).await?;
    let asked = Asked {
        criteria: request.require_criteria_audit,
        acks: acks.require_acks && request.outcome != Outcome::Stopped,
        epilogue: request.require_epilogue,
        adversarial: request.require_adversarial_proof,
        transcript: request.require_transcript_segment,
        decision: request.strict_decisions,
        checks: true,
    };
    let unverified = checks.iter().filter_map(|one| Some((one.criterion.clone(), one.unverified?))).collect();
    let facts = Facts {
        open: open(&all),
        missing_acks: acks.missing.iter().map(|role| role.as_str()).collect(),
        missing_steps: epilogue.missing_or_incomplete.clone(),
        has_adversarial: all.iter().any(|one| {
            one.status == CriterionStatus::Satisfied && loop_evidence::is_adversarial(&one.evidence_json)
        }),
        missing_transcripts: silent(db, request, pair, gathered).await?,
        decision: faults,
        unverified,
    };
    let closed = finish::closed(asked, &facts).iter().map(|gate| told(plane, pair, gate)).collect();
    Ok(Audits { criteria, acks, epilogue, decision, closed })
}

/// A closed gate in words, with the commands that would satisfy it.
fn told(plane: &Plane, pair: &Pair, closed: &Closed) -> ClosedGate {
    let task = pair.task.name.as_str();
    match closed {
        Closed::Criteria(open) => ClosedGate {
            gate: "require_criteria_audit",
            message: format!("accepted criteria are not satisfied: {}", listed(open)),
            commands: each(open, |id| {
                plane.command(&["criteria", task, "--satisfy", id, "--evidence-json", "<what proves it>"])
            }),
        },
        Closed::Checks(unverified) => {
            let why: Vec<String> =
                unverified.iter().map(|(one, why)| format!("#{} {}", one.id, reason(*why))).collect();
            let criteria: Vec<Named> = unverified.iter().map(|(one, _)| one.clone()).collect();
            ClosedGate {
                gate: "checks",
                message: format!("checks do not speak for the work as it is: {}", why.join(", ")),
                commands: each(&criteria, |id| plane.command(&["criteria", task, "--verify", id])),
            }
        }
        Closed::Acks(roles) => ClosedGate {
            gate: "require_acks",
            message: format!("no current acknowledgement of the {}", roles.join(" and of the ")),
            commands: [Role::Worker, Role::Manager]
                .into_iter()
                .filter(|role| roles.contains(&role.as_str()))
                .map(|role| manager_context::ack_command(plane, &pair.task, role))
                .collect(),
        },
        Closed::Epilogue(steps) => ClosedGate {
            gate: "require_epilogue",
            message: format!("epilogue steps have not succeeded: {}", steps.join(", ")),
            commands: steps.iter().map(|step| plane.command(&["epilogue", task, "--step", step])).collect(),
        },
        Closed::Adversarial => {
            let words = ["loop-evidence", "adversarial-check", task, "--failure-mode", "<how it could fail>"];
            let more = ["--check", "<how that was looked for>", "--result", "<what came of it>"];
            ClosedGate {
                gate: "require_adversarial_proof",
                message: "nobody recorded an attempt to disprove the work that it withstood".to_owned(),
                commands: vec![plane.command(&[words.as_slice(), more.as_slice()].concat())],
            }
        }
        Closed::Transcript(roles) => ClosedGate {
            gate: "require_transcript_segment",
            message: format!("nothing is kept of what the {} said", roles.join(" and the ")),
            commands: vec![plane.command(&["transcript-capture", task, "--require-segment"])],
        },
        Closed::Decision(faults) => {
            let words: Vec<&str> = faults.iter().map(|fault| fault.as_str()).collect();
            ClosedGate {
                gate: "strict_decisions",
                message: format!("the decision that the end rests on is not sound: {}", words.join(", ")),
                commands: vec![plane.command(&["record-decision", task, "stop", "--reason", "<why>"])],
            }
        }
    }
}

fn listed(criteria: &[Named]) -> String {
    let shown = criteria.iter().take(limits::LIST_ROWS as usize);
    let mut listed: Vec<String> = shown.map(|one| format!("#{}: {}", one.id, one.text)).collect();
    let more = criteria.len() - listed.len();
    listed.extend((more > 0).then(|| format!("and {more} more")));
    listed.join(", ")
}

/// A command for each of the first criteria: a thousand commands are no advice.
fn each(criteria: &[Named], command: impl Fn(&str) -> String) -> Vec<String> {
    criteria.iter().take(limits::LIST_ROWS as usize).map(|one| command(&one.id.to_string())).collect()
}

const fn reason(why: Unverified) -> &'static str {
    match why {
        Unverified::Never => "was never run",
        Unverified::Failed => "failed",
        Unverified::Moved => "passed on another tree",
        Unverified::Dirty => "passed, but the working tree has changes that are not committed",
    }
}

fn open(all: &[Criterion]) -> Vec<Named> {
    all.iter()
        .filter(|one| one.status == CriterionStatus::Accepted)
        .map(|one| Named { id: one.id, text: one.criterion.clone() })
        .collect()
}

fn criteria_audit(all: &[Criterion], request: &FinishTaskRequest) -> CriteriaAudit {
    let mut summary: BTreeMap<&'static str, u64> =
        CriterionStatus::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    for one in all {
        *summary.entry(one.status.as_str()).or_default() += 1;
    }
    CriteriaAudit {
        open_criteria: open(all)
            .into_iter()
            .map(|one| OpenCriterion { id: one.id, criterion: one.text })
            .collect(),
        require_criteria_audit: request.require_criteria_audit,
        total: all.len() as u64,
        summary,
    }
}

async fn epilogue_audit(db: &mut Db, request: &FinishTaskRequest, pair: &Pair) -> Result<EpilogueAudit> {
    let status = epilogue::status(db, &pair.task.id).await?;
    Ok(EpilogueAudit {
        missing_or_incomplete: status.missing_or_incomplete,
        ok: status.ok,
        require_epilogue: request.require_epilogue,
        required_steps: status.required_steps,
        steps: status.steps,
    })
}

async fn decision_audit(
    db: &mut Db,
    plane: &Plane,
    request: &FinishTaskRequest,
    pair: &Pair,
) -> Result<(DecisionAudit, Vec<DecisionFault>)> {
    let found = match request.decision_id {
        Some(id) => decisions::get(db, id).await?,
        None => None,
    };
    let decided = found.as_ref().map(|found| Decided {
        same_task: found.task_id == pair.task.id,
        is_stop: found.decision == DecisionKind::Stop,
        at: found.created_at,
    });
    let faults = finish::decision_faults(request.decision_id.is_some(), decided, plane.clock.now());
    let audit = DecisionAudit {
        decision_id: request.decision_id,
        // What another task decided is none of this one's business.
        decision: found.filter(|found| found.task_id == pair.task.id).map(|found| found.decision),
        allowed_decisions: vec![DecisionKind::Stop],
        ok: faults.is_empty(),
        warnings: faults.iter().map(|fault| fault.as_str()).collect(),
    };
    Ok((audit, faults))
}

/// The sides of which nothing is kept, and of which this capture would keep nothing.
async fn silent(
    db: &mut Db,
    request: &FinishTaskRequest,
    pair: &Pair,
    gathered: &[Gathered],
) -> Result<Vec<&'static str>> {
    let mut silent = Vec::new();
    if request.require_transcript_segment {
        for role in [Role::Worker, Role::Manager] {
            let keeps_now = gathered.iter().any(|one| one.role == role && one.has_text());
            if !keeps_now && !transcripts::has_text(db, &pair.task.id, role).await? {
                silent.push(role.as_str());
            }
        }
    }
    Ok(silent)
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
