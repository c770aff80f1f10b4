//! `transcript-show`: what was kept of what the sides of a task said.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_store::sessions::Role;
use conveyor_store::transcripts;
use conveyor_store::transcripts::Segment;
use conveyor_store::transcripts::SegmentKind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::transcript_capture::Side;
use super::transcript_capture::side;
use crate::Plane;
use crate::listing;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Show the transcript of a task
///
/// Lists the segments that were captured, oldest first. The words themselves are shown with `--include-content` only: in
/// an agent's terminal they would be read as if they were said to it.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct TranscriptShowRequest {
    /// The task, by name or id
    pub task: String,
    /// Whose words
    #[arg(long, value_enum, default_value_t = side())]
    #[serde(default = "side")]
    pub role: Side,
    /// Segments at most, the newest; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
    /// Show the words themselves
    #[arg(long)]
    #[serde(default)]
    pub include_content: bool,
}

impl Request for TranscriptShowRequest {
    fn check(&self) -> Result<()> {
        listing::check(self.limit)
    }
}

/// A segment.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SegmentView {
    /// Its number.
    pub id: i64,
    /// Whose words.
    pub role: Role,
    /// What it is.
    pub segment_kind: SegmentKind,
    /// The capture that it is from.
    pub source_capture_id: i64,
    /// The capture before that.
    pub previous_capture_id: Option<i64>,
    /// Its lines.
    pub line_count: i64,
    /// Its bytes.
    pub byte_count: i64,
    /// Digest of its text.
    pub content_sha256: String,
    /// The text is not shown.
    pub redacted: bool,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_text: Option<String>,
    /// When.
    pub captured_at: Timestamp,
}

/// The transcript.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TranscriptShowReport {
    /// The task.
    pub task: Name,
    /// The segments, oldest first.
    pub segments: Vec<SegmentView>,
}

impl Report for TranscriptShowReport {
    fn text(&self) -> Option<String> {
        let mut text = String::new();
        for one in &self.segments {
            text.push_str(&format!(
                "== #{} {} {} {} ({} lines, {} bytes)\n",
                one.id,
                one.captured_at,
                one.role.as_str(),
                one.segment_kind,
                one.line_count,
                one.byte_count
            ));
            match &one.segment_text {
                Some(words) => text.push_str(words),
                None if one.segment_kind == SegmentKind::Metadata => {
                    text.push_str("(only figures are kept)\n");
                }
                None => text.push_str("(not shown; --include-content shows it)\n"),
            }
        }
        Some(if text.is_empty() { "Nothing was captured.\n".to_owned() } else { text })
    }
}

/// The verb.
pub struct TranscriptShow;

impl Verb for TranscriptShow {
    const NAME: &'static str = "transcript-show";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    const FORM: Form = Form::Narrative;
    const LEAST: &'static [&'static str] = &["foo"];
    type Request = TranscriptShowRequest;
    type Report = TranscriptShowReport;

    async fn run(plane: &Plane, request: TranscriptShowRequest) -> Result<TranscriptShowReport> {
        let mut reader = plane.ledger_that_exists().await?.read().await?;
        let task = resolve::task(&mut reader, &request.task).await?;
        let limit = listing::rows(plane, request.limit);
        let found = transcripts::segments(&mut reader, &task.id, request.role.role(), limit).await?;
        let segments = found.into_iter().map(|one| view(one, request.include_content)).collect();
        Ok(TranscriptShowReport { task: task.name, segments })
    }
}

fn view(one: Segment, with_text: bool) -> SegmentView {
    SegmentView {
        id: one.id,
        role: one.role,
        segment_kind: one.segment_kind,
        source_capture_id: one.source_capture_id,
        previous_capture_id: one.previous_capture_id,
        line_count: one.line_count,
        byte_count: one.byte_count,
        content_sha256: one.content_sha256,
        redacted: one.segment_text.is_some() && !with_text,
        segment_text: one.segment_text.filter(|_| with_text),
        captured_at: one.captured_at,
    }
}
