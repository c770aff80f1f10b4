//! `transcript-capture`: keeps what the sides of a task said.

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_store::bindings;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::transcripts;
use conveyor_store::transcripts::Capture;
use conveyor_store::transcripts::Segment;
use conveyor_store::transcripts::SegmentKind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::caller::judge;
use crate::resolve;
use crate::transcript;
use crate::transcript::CaptureMode;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Keep what the sessions of a task said
///
/// Takes from each session's own record what came since the capture before, and keeps it as a segment of the task's
/// transcript. A session needs no terminal for that, and may be gone. The text itself is not printed:
/// `transcript-show --include-content` does that.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct TranscriptCaptureRequest {
    /// The task, by name or id
    pub task: String,
    /// Whose words
    #[arg(long, value_enum, default_value_t = side())]
    #[serde(default = "side")]
    pub role: Side,
    /// How much is kept
    #[arg(long, value_enum, default_value_t = mode())]
    #[serde(default = "mode")]
    pub mode: CaptureMode,
    /// Lines that are kept at most, the newest
    #[arg(long, default_value_t = lines())]
    #[serde(default = "lines")]
    pub lines: u32,
    /// Fail unless each of these sides has a transcript afterwards
    #[arg(long)]
    #[serde(default)]
    pub require_segment: bool,
}

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both.
    All,
    /// The worker's.
    Worker,
    /// The manager's.
    Manager,
}

impl Side {
    /// The role; nothing for both.
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::All => None,
            Self::Worker => Some(Role::Worker),
            Self::Manager => Some(Role::Manager),
        }
    }
}

pub(crate) const fn side() -> Side {
    Side::All
}

pub(crate) const fn mode() -> CaptureMode {
    CaptureMode::Segment
}

pub(crate) const fn lines() -> u32 {
    200
}

impl Request for TranscriptCaptureRequest {
    fn check(&self) -> Result<()> {
        transcript::check_lines(self.lines)
    }
}

/// A segment without its text.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SegmentRef {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub segment_kind: SegmentKind,
    /// The capture that it is from.
    pub source_capture_id: i64,
    /// The capture before that.
    pub previous_capture_id: Option<i64>,
    /// Its lines.
    pub line_count: i64,
}

/// One capture.
#[derive(Serialize, JsonSchema, Debug)]
pub struct CaptureView {
    /// Its number.
    pub capture_id: i64,
    /// The side.
    pub role: Role,
    /// The session.
    pub session: Name,
    /// Where it is from: `rollout`.
    pub source: String,
    /// Digest of what it adds.
    pub content_sha256: String,
    /// Lines that it adds.
    pub line_count: i64,
    /// What was added; null when nothing was new.
    pub transcript_segment: Option<SegmentRef>,
    /// When.
    pub captured_at: Timestamp,
}

impl CaptureView {
    /// A capture as it is reported.
    pub(crate) fn of(session: Name, capture: Capture, segment: Option<Segment>) -> Self {
        Self {
            capture_id: capture.id,
            role: capture.role,
            session,
            source: capture.source,
            content_sha256: capture.content_sha256,
            line_count: capture.line_count,
            transcript_segment: segment.map(|segment| SegmentRef {
                id: segment.id,
                segment_kind: segment.segment_kind,
                source_capture_id: segment.source_capture_id,
                previous_capture_id: segment.previous_capture_id,
                line_count: segment.line_count,
            }),
            captured_at: capture.captured_at,
        }
    }
}

/// What was kept.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TranscriptCaptureReport {
    /// The task.
    pub task: Name,
    /// As it was asked.
    pub mode: CaptureMode,
    /// One for each side.
    pub captures: Vec<CaptureView>,
    /// Sides without any transcript.
    pub missing: Vec<Role>,
    #[serde(skip)]
    required: bool,
}

impl Report for TranscriptCaptureReport {
    fn text(&self) -> Option<String> {
        let mut text = String::new();
        for one in &self.captures {
            text.push_str(&format!("{} {}: {} new lines\n", one.role.as_str(), one.session, one.line_count));
        }
        for role in &self.missing {
            text.push_str(&format!("{}: nothing is recorded\n", role.as_str()));
        }
        Some(text)
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.required && !self.missing.is_empty())
    }
}

/// The verb.
pub struct TranscriptCapture;

impl Verb for TranscriptCapture {
    const NAME: &'static str = "transcript-capture";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["foo"];
    type Request = TranscriptCaptureRequest;
    type Report = TranscriptCaptureReport;

    async fn run(plane: &Plane, request: TranscriptCaptureRequest) -> Result<TranscriptCaptureReport> {
        let (task, binding, sessions) = {
            let mut reader = plane.ledger_that_exists().await?.read().await?;
            let task = resolve::task(&mut reader, &request.task).await?;
            judge::judge(plane, &mut reader, &task).await?;
            let binding = bindings::of_task(&mut reader, &task.id).await?.pop().ok_or_else(|| {
                Error::conflict(format!("the task `{}` was never bound to sessions", task.name))
                    .hint(format!("conveyor bind --task {} --worker <worker> --manager <manager>", task.name))
            })?;
            let ids = [&binding.worker_session_id, &binding.manager_session_id];
            let mut sessions: Vec<Session> = Vec::new();
            for id in ids {
                sessions.push(resolve::by_id(&mut reader, id).await?);
            }
            sessions.retain(|session| request.role.role().is_none_or(|role| role == session.role));
            (task, binding, sessions)
        };
        for session in &sessions {
            transcript::refresh(plane, session).await;
        }
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        let (mut captures, mut missing) = (Vec::new(), Vec::new());
        for session in sessions {
            let (mode, lines) = (request.mode, request.lines);
            let new =
                transcript::gather(plane, &mut tx, &task, Some(&binding), &session, mode, lines).await?;
            let (capture, segment) = transcript::store(&mut tx, new).await?;
            if !transcripts::has_text(&mut tx, &task.id, session.role).await? {
                missing.push(session.role);
            }
            captures.push(CaptureView::of(session.name, capture, segment));
        }
        tx.commit().await?;
        let required = request.require_segment;
        Ok(TranscriptCaptureReport { task: task.name, mode: request.mode, captures, missing, required })
    }
}
