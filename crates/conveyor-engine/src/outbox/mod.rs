//! The outbox: how a worker whose sandbox keeps it from the ledger, and that has no MCP, still says what it has to say.
//!
//! It leaves a *letter*, a small JSON file, in `.conveyor/outbox/` of its working directory; a dispatcher takes it as that
//! worker's words and nothing more. See `docs/outbox.md`.
//!
//! | file | what |
//! |---|---|
//! | `folder.rs` | the folder on disk, which its owner may have filled with anything |
//! | `leave.rs` | writing a letter, from inside a sandbox |
//! | `shared.rs` | whose letters lie in a folder |
//! | `take.rs` | carrying letters out, exactly once |

mod folder;
mod leave;
mod shared;
mod take;

use conveyor_model::Error;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

pub(crate) use self::leave::leave;
pub(crate) use self::take::all;
pub(crate) use self::take::folders;
use crate::statement;
use crate::verb::Request as _;
use crate::verbs::handoff::HandoffRequest;
use crate::verbs::inbox_ack::InboxAckRequest;
use crate::verbs::report::ReportRequest;
use crate::verbs::worker_ack::WorkerAckRequest;

/// What a letter may ask for: the request of a verb, as that verb takes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", content = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Letter {
    /// `handoff`, to record one.
    Handoff(HandoffRequest),
    /// `inbox-ack`, as the worker.
    InboxAck(InboxAckRequest),
    /// A criterion that the worker proposes.
    ProposeCriterion(Proposal),
    /// `report`.
    Report(ReportRequest),
    /// `worker-ack`, to record one.
    WorkerAck(WorkerAckRequest),
}

/// A criterion that a worker proposes. What becomes of it, its manager decides.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The task, by name or id; the worker's own when absent.
    pub task: Option<String>,
    /// Its text.
    pub criterion: String,
    /// Why.
    pub rationale: Option<String>,
}

impl Letter {
    /// The verb, as a file's name and reports show it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Handoff(_) => "handoff",
            Self::InboxAck(_) => "inbox-ack",
            Self::ProposeCriterion(_) => "propose-criterion",
            Self::Report(_) => "report",
            Self::WorkerAck(_) => "worker-ack",
        }
    }

    /// The task that it names.
    fn task(&self) -> Option<&str> {
        match self {
            Self::Handoff(request) => Some(&request.task),
            Self::InboxAck(request) => Some(&request.task),
            Self::ProposeCriterion(request) => request.task.as_deref(),
            Self::Report(request) => request.task.as_deref(),
            Self::WorkerAck(request) => Some(&request.task),
        }
    }

    /// What the verb itself would check, and that it says something: a letter cannot be answered.
    fn check(&self) -> Result<()> {
        let silent = || Error::usage("a letter says something; what only reads is a command");
        match self {
            Self::Handoff(request) => {
                request.check()?;
                request.summary.as_ref().map(drop).ok_or_else(silent)
            }
            Self::InboxAck(request) => {
                request.check()?;
                if request.from_stdin { Err(silent()) } else { request.status.map(drop).ok_or_else(silent) }
            }
            Self::ProposeCriterion(request) => {
                statement::check_text("criterion", &request.criterion)?;
                request.rationale.as_deref().map_or(Ok(()), |text| statement::check_text("rationale", text))
            }
            Self::Report(request) => request.check(),
            Self::WorkerAck(request) => {
                request.check()?;
                request.payload_json.as_ref().map(drop).ok_or_else(silent)
            }
        }
    }
}

#[cfg(test)]
mod tests;
