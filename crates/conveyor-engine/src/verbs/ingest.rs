//! `ingest`: one pass over what sessions newly recorded.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::ids::TaskId;
use conveyor_store::bindings;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::telemetry;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::Plane;
use crate::ingest;
use crate::ingest::Ingested;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Read what a session newly recorded
///
/// Only lines that were not read before are read. A rollout that was replaced, cut or rewritten is found again by the
/// numbers and times of its records; nothing is stored twice. A line that is no record is counted and passed over.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// The session
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub name: Option<Name>,
    /// All active sessions of this host
    #[arg(long)]
    #[serde(default)]
    pub all: bool,
}

impl Request for IngestRequest {
    fn check(&self) -> Result<()> {
        match (&self.name, self.all) {
            (Some(_), false) | (None, true) => Ok(()),
            (Some(_), true) | (None, false) => Err(Error::usage("give either a session or --all")),
        }
    }
}

/// What was read, of one session or of all.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum IngestReport {
    /// Of the one that was named.
    One(IngestedSession),
    /// Of all.
    All(IngestedAll),
}

/// What was read of a session.
#[derive(Serialize, JsonSchema, Debug)]
pub struct IngestedSession {
    /// Its name.
    pub session: Name,
    /// Records.
    pub new_events: u64,
    /// Where reading goes on, in bytes.
    pub new_offset: u64,
    /// Lines that are no records.
    pub skipped_lines: u64,
    /// Turns that ended.
    pub turn_ends: u64,
    /// Why it could not be read; only with `--all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What was read of all sessions.
#[derive(Serialize, JsonSchema, Debug)]
pub struct IngestedAll {
    /// Each of them.
    pub sessions: Vec<IngestedSession>,
    /// Records of all.
    pub new_events: u64,
    /// Lines of all that are no records.
    pub skipped_lines: u64,
    /// How many sessions could not be read.
    pub failed: usize,
}

impl Report for IngestReport {
    fn exit_code(&self) -> u8 {
        match self {
            Self::One(_) => 0,
            Self::All(all) => u8::from(all.failed > 0),
        }
    }
}

/// The verb.
pub struct Ingest;

impl Verb for Ingest {
    const NAME: &'static str = "ingest";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["--all"];
    type Request = IngestRequest;
    type Report = IngestReport;

    async fn run(plane: &Plane, request: IngestRequest) -> Result<IngestReport> {
        let Some(name) = request.name else { return all(plane).await.map(IngestReport::All) };
        let session = resolve::active_session(&mut *plane.ledger().await?.read().await?, &name).await?;
        check_here(plane, &session)?;
        let report = one(plane, &session).await?;
        if report.new_offset == 0 {
            check_known(plane, &session).await?;
        }
        Ok(IngestReport::One(report))
    }
}

/// Errors: rollout, for a session whose rollout lies on another host.
fn check_here(plane: &Plane, session: &Session) -> Result<()> {
    if session.host == plane.environment.host {
        return Ok(());
    }
    Err(Error::rollout(format!("the session `{}` runs on the host {}", session.name, session.host))
        .hint("its dispatcher reads it there: conveyor dispatch --watch"))
}

/// Errors: rollout, when nothing was read because no rollout of the session is known yet.
async fn check_known(plane: &Plane, session: &Session) -> Result<()> {
    let current = threads::current(&mut *plane.ledger().await?.read().await?, &session.id).await?;
    for thread in &current {
        if ingest::rollout_path(plane, session, thread)?.is_some() {
            return Ok(());
        }
    }
    Err(Error::rollout(format!("no rollout of the session `{}` is known", session.name))
        .hint("Codex makes it with the session's first message; send one, then try again"))
}

async fn one(plane: &Plane, session: &Session) -> Result<IngestedSession> {
    let ingested = ingest::session(plane, session).await?;
    if ingested.new_events > 0 {
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        let binding = bindings::active_of_worker(&mut tx, &session.id).await?;
        let task = binding.as_ref().map(|binding| &binding.task_id);
        telemetry::insert(&mut tx, told(session, task, &ingested)).await?;
        sessions::heartbeat(&mut tx, &session.id).await?;
        tx.commit().await?;
    }
    Ok(IngestedSession {
        session: session.name.clone(),
        new_events: ingested.new_events,
        new_offset: ingested.new_offset,
        skipped_lines: ingested.skipped_lines,
        turn_ends: ingested.turn_ends,
        error: None,
    })
}

/// One session that cannot be read holds up no other.
async fn all(plane: &Plane) -> Result<IngestedAll> {
    let wanted = sessions::Wanted {
        state: Some(SessionState::Active),
        host: Some(plane.environment.host.clone()),
        ..sessions::Wanted::default()
    };
    let active = sessions::list(&mut *plane.ledger().await?.read().await?, &wanted, u32::MAX).await?;
    let mut read = Vec::with_capacity(active.len());
    for session in active {
        read.push(one(plane, &session).await.unwrap_or_else(|error| IngestedSession {
            session: session.name.clone(),
            new_events: 0,
            new_offset: 0,
            skipped_lines: 0,
            turn_ends: 0,
            error: Some(error),
        }));
    }
    Ok(IngestedAll {
        new_events: read.iter().map(|one| one.new_events).sum(),
        skipped_lines: read.iter().map(|one| one.skipped_lines).sum(),
        failed: read.iter().filter(|one| one.error.is_some()).count(),
        sessions: read,
    })
}

/// The telemetry of a pass that found something.
pub(super) fn told(session: &Session, task: Option<&TaskId>, ingested: &Ingested) -> NewTelemetry {
    NewTelemetry {
        task: task.cloned(),
        run: None,
        actor: "conveyor".to_owned(),
        event_type: "codex_events_ingested".to_owned(),
        severity: Severity::Info,
        summary: format!("{} new records of {} were read.", ingested.new_events, session.name),
        correlation: json!({ "session": session.name, "session_id": session.id }),
        attributes: json!({
            "new_events": ingested.new_events,
            "new_offset": ingested.new_offset,
            "skipped_lines": ingested.skipped_lines,
        }),
    }
}

#[cfg(test)]
mod tests;
