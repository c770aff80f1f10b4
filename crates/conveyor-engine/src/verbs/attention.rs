//! `attention`: what a person or a manager should look at, and putting aside what was decided on.

mod dismiss;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_store::attention;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

pub use self::dismiss::Dismissed;
use crate::Plane;
use crate::glance;
use crate::glance::AttentionRow;
use crate::hold;
use crate::listing;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// List what wants attention; exit 1 when there is anything
///
/// Dialogs, drafts in the way, quotas, messages without proof, dead processes: oldest first. A row goes by itself when its
/// cause is gone; what was decided on can be put aside with `--dismiss`, until there is a new cause.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct AttentionRequest {
    /// Only of this task, by name or id
    #[arg(long)]
    pub task: Option<String>,
    /// Only of this session
    #[arg(long)]
    pub session: Option<Name>,
    /// Rows at most; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
    /// Put the row of this number aside; it comes back only for a new cause
    #[arg(long, value_name = "ID")]
    pub dismiss: Option<i64>,
}

impl Request for AttentionRequest {
    fn only_reads(&self) -> bool {
        self.dismiss.is_none()
    }

    fn check(&self) -> Result<()> {
        listing::check(self.limit)?;
        let lists = self.task.is_some() || self.session.is_some() || self.limit.is_some();
        if self.dismiss.is_some() && lists {
            return Err(Error::usage("--dismiss names one row; the other flags list rows"));
        }
        Ok(())
    }
}

/// What wants attention, or what was put aside.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum AttentionReport {
    /// What wants attention.
    Listed(AttentionList),
    /// What was put aside.
    Dismissed(Dismissed),
}

impl Report for AttentionReport {
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Listed(list) => list.text(),
            Self::Dismissed(dismissed) => dismissed.text(),
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Listed(list) => u8::from(!list.attention.is_empty()),
            Self::Dismissed(_) => 0,
        }
    }
}

/// What wants attention.
#[derive(Serialize, JsonSchema, Debug)]
pub struct AttentionList {
    /// The rows, oldest first.
    pub attention: Vec<AttentionRow>,
    /// There are more than these.
    pub truncated: bool,
    /// The command that shows more.
    pub more: Option<String>,
    /// What to run next, about the first of them.
    pub next: Option<String>,
}

impl AttentionList {
    fn text(&self) -> String {
        if self.attention.is_empty() {
            return "nothing wants attention\n".to_owned();
        }
        let mut lines: Vec<String> = self.attention.iter().map(line).collect();
        lines.extend(self.more.iter().map(|command| format!("there are more: {command}\n")));
        lines.extend(self.next.iter().map(|command| format!("next: {command}\n")));
        lines.concat()
    }
}

fn line(row: &AttentionRow) -> String {
    let place = row.session.as_deref().or(row.task.as_deref()).unwrap_or("-");
    format!("{}\t{}\t{place}\t{}\t{}\n", row.id, row.since, row.kind, listing::one_line(&row.message))
}

/// The verb.
pub struct Attention;

impl Verb for Attention {
    const NAME: &'static str = "attention";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Writes;
    type Request = AttentionRequest;
    type Report = AttentionReport;

    async fn run(plane: &Plane, request: AttentionRequest) -> Result<AttentionReport> {
        match request.dismiss {
            Some(id) => dismiss::run(plane, id).await.map(AttentionReport::Dismissed),
            None => list(plane, &request).await.map(AttentionReport::Listed),
        }
    }
}

async fn list(plane: &Plane, request: &AttentionRequest) -> Result<AttentionList> {
    let named = request.task.is_some() || request.session.is_some();
    let ledger = if named { Some(plane.ledger_that_exists().await?) } else { plane.ledger_to_read().await? };
    let mut open = Vec::new();
    let mut rows = Vec::new();
    let limit = listing::rows(plane, request.limit);
    if let Some(ledger) = ledger {
        let mut reader = ledger.read().await?;
        let task = match &request.task {
            Some(task) => Some(resolve::task(&mut reader, task).await?.id),
            None => None,
        };
        let session = match &request.session {
            Some(session) => Some(resolve::session(&mut reader, session).await?.id),
            None => None,
        };
        open =
            attention::shown(&mut reader, session.as_ref(), task.as_ref(), limit.saturating_add(1)).await?;
        rows = glance::rows(&mut reader, &open[..open.len().min(limit as usize)]).await?;
    }
    let truncated = open.len() > rows.len();
    Ok(AttentionList {
        next: rows.first().and_then(|row| next(plane, row)),
        truncated,
        more: truncated.then(|| more(plane, request, limit)),
        attention: rows,
    })
}

/// The same listing with more rows.
fn more(plane: &Plane, request: &AttentionRequest, limit: u32) -> String {
    let limit = limit.saturating_mul(10).to_string();
    let mut words = vec!["attention", "--limit", &limit];
    if let Some(task) = &request.task {
        words.extend(["--task", task]);
    }
    if let Some(session) = &request.session {
        words.extend(["--session", session.as_str()]);
    }
    plane.command(&words)
}

/// What shows more of a row's cause.
fn next(plane: &Plane, row: &AttentionRow) -> Option<String> {
    match (row.kind.as_str(), &row.session, &row.task) {
        (hold::PAUSED, _, Some(task)) => return Some(plane.command(&["resume", task])),
        (hold::TAKEN_OVER, Some(session), _) => {
            return Some(plane.command(&["takeover", session, "--release"]));
        }
        (_, _, _) => {}
    }
    match (&row.command_id, &row.session, &row.task) {
        (Some(id), _, _) => Some(plane.command(&["commands", "--id", id.as_str(), "--attempts"])),
        (None, Some(session), _) => Some(plane.command(&["tail", session, "--limit", "20"])),
        (None, None, Some(task)) => Some(plane.command(&["status", task])),
        (None, None, None) => None,
    }
}

#[cfg(test)]
mod tests;
