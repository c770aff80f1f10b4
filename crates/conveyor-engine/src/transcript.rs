//! A task's transcript, taken from what the agents themselves record: it is there for sessions without a terminal and
//! for those that are gone, and no line of it depends on how wide a pane was.

use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings::Binding;
use conveyor_store::events;
use conveyor_store::events::Event;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks::Task;
use conveyor_store::transcripts;
use conveyor_store::transcripts::Capture;
use conveyor_store::transcripts::Segment;
use conveyor_store::transcripts::SegmentKind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;

use crate::Plane;
use crate::ingest;

/// How much of what is new is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMode {
    /// Only how much it is.
    Metadata,
    /// Its last forty lines.
    Excerpt,
    /// The last lines since the binding began, whether they are new or not.
    Snapshot,
    /// Its last lines.
    Segment,
    /// All of it.
    Full,
}

impl CaptureMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Excerpt => "excerpt",
            Self::Snapshot => "snapshot",
            Self::Segment => "segment",
            Self::Full => "full",
        }
    }
}

/// Lines of an excerpt.
const EXCERPT_LINES: usize = 40;

/// Events that one capture reads at most.
const EVENTS: u32 = 100_000;

/// What a capture would add.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The side.
    pub(crate) role: Role,
    capture: Capture,
    segment: Option<Segment>,
}

impl Gathered {
    /// Whether it would keep any words.
    pub(crate) fn has_text(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.segment_text.is_some())
    }
}

/// Reads what the session recorded last. Of one that is gone, or whose record cannot be read, what is there must do.
pub(crate) async fn refresh(plane: &Plane, session: &Session) {
    if session.state == SessionState::Gone {
        return;
    }
    if let Err(error) = ingest::session(plane, session).await {
        tracing::warn!(%error, session = %session.name, "the newest part of a transcript is missing");
    }
}

/// What one side said and was told since its last capture, or since the binding began.
pub(crate) async fn gather(
    plane: &Plane,
    db: &mut Db,
    task: &Task,
    binding: Option<&Binding>,
    session: &Session,
    mode: CaptureMode,
    lines: u32,
) -> Result<Gathered> {
    let previous = transcripts::latest(db, &task.id, &session.id).await?;
    let whole = mode == CaptureMode::Snapshot;
    let after = previous.as_ref().filter(|_| !whole).map(|previous| previous.last_event_id);
    let wanted = events::Wanted {
        session_number: Some(session.number),
        after_id: after,
        since: binding.map(|binding| binding.created_at).filter(|_| after.is_none()),
        oldest_first: true,
        ..events::Wanted::default()
    };
    let found = events::list(db, &wanted, EVENTS).await?;
    let last = found.last().map(|event| event.id).or(after).unwrap_or_default();
    let text = newest(&spoken(&found), mode, lines as usize);
    let (count, digest) = (i64::try_from(text.lines().count()).unwrap_or(i64::MAX), digest(&text));
    let now = plane.clock.now();
    let capture = Capture {
        id: 0,
        task_id: task.id.clone(),
        binding_id: binding.map(|binding| binding.id.clone()),
        session_id: session.id.clone(),
        role: session.role,
        source: "rollout".to_owned(),
        mode: mode.as_str().to_owned(),
        last_event_id: last,
        line_count: count,
        content_sha256: digest.clone(),
        captured_at: now,
    };
    let is_metadata = mode == CaptureMode::Metadata;
    let segment = Segment {
        id: 0,
        task_id: task.id.clone(),
        role: session.role,
        source_capture_id: 0,
        previous_capture_id: previous.as_ref().map(|previous| previous.id),
        segment_kind: match (is_metadata, &previous) {
            (true, _) => SegmentKind::Metadata,
            (false, None) => SegmentKind::Reset,
            (false, Some(_)) => SegmentKind::Segment,
        },
        line_count: count,
        byte_count: i64::try_from(text.len()).unwrap_or(i64::MAX),
        content_sha256: digest,
        segment_text: Some(text).filter(|_| !is_metadata),
        captured_at: now,
    };
    Ok(Gathered { role: session.role, capture, segment: (count > 0).then_some(segment) })
}

/// Stores what was gathered.
pub(crate) async fn store(tx: &mut Tx, gathered: Gathered) -> Result<(Capture, Option<Segment>)> {
    let sentence = format!(
        "The transcript of the {} grew by {} lines.",
        gathered.role.as_str(),
        gathered.capture.line_count
    );
    let audit = AuditRow::new("transcript_captured", sentence).session(&gathered.capture.session_id);
    transcripts::insert(tx, gathered.capture, gathered.segment, audit).await
}

/// Messages as lines, each led by who speaks. A message that both sorts of records hold stands once.
fn spoken(events: &[Event]) -> String {
    let mut text = String::new();
    let mut last = None;
    for event in events {
        let word = event.subtype_alias.as_deref().or(event.subtype.as_deref());
        let who = match word {
            Some("agent_message") => "agent",
            Some("user_message") => "user",
            Some(_) | None => continue,
        };
        let Some(said) = event.text.as_deref().map(str::trim).filter(|said| !said.is_empty()) else {
            continue;
        };
        if last == Some((who, said)) {
            continue;
        }
        last = Some((who, said));
        text.push_str(&format!("[{} {who}]\n{said}\n", event.at));
    }
    text
}

fn newest(text: &str, mode: CaptureMode, lines: usize) -> String {
    let keep = match mode {
        CaptureMode::Metadata | CaptureMode::Full => return text.to_owned(),
        CaptureMode::Excerpt => EXCERPT_LINES,
        CaptureMode::Snapshot | CaptureMode::Segment => lines,
    };
    let all: Vec<&str> = text.lines().collect();
    let cut = all.len().saturating_sub(keep);
    if cut == 0 {
        return text.to_owned();
    }
    format!("[{cut} lines are left out here]\n{}\n", all[cut..].join("\n"))
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a number of lines that keeps nothing.
pub(crate) fn check_lines(lines: u32) -> Result<()> {
    if lines > 0 { Ok(()) } else { Err(Error::usage("at least one line has to be kept")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_transcript_says_so() {
        assert_eq!(newest("a\nb\nc\n", CaptureMode::Segment, 2), "[1 lines are left out here]\nb\nc\n");
        assert_eq!(newest("a\nb\n", CaptureMode::Segment, 2), "a\nb\n");
        assert_eq!(newest("a\nb\nc\n", CaptureMode::Full, 1), "a\nb\nc\n");
    }
}
