//! Transcripts of a task: how far each side's record was taken in, and what each capture added.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::filter::Filter;
use crate::sessions::Role;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// What a segment is.
    SegmentKind, "a kind of segment" {
        /// Only figures.
        Metadata = "metadata",
        /// The first of its side.
        Reset = "reset",
        /// What came since the one before.
        Segment = "segment",
    }
}

table! {
    /// One capture of one side.
    Capture in "captures" {
        /// Small number, given by [`insert`].
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The binding.
        binding_id: Option<BindingId>,
        /// The session.
        session_id: SessionId,
        /// Its side.
        role: Role,
        /// What asked for it.
        source: String,
        /// How much was to be kept.
        mode: String,
        /// The last event that it holds; 0 when there was none.
        last_event_id: i64,
        /// Lines that it adds.
        line_count: i64,
        /// Digest of what it adds.
        content_sha256: String,
        /// When.
        captured_at: Timestamp,
    }
}

table! {
    /// What a capture added.
    Segment in "transcript_segments" {
        /// Small number, given by [`insert`].
        id: i64,
        /// The task.
        task_id: TaskId,
        /// Whose words they are.
        role: Role,
        /// The capture.
        source_capture_id: i64,
        /// The capture before it.
        previous_capture_id: Option<i64>,
        /// What it is.
        segment_kind: SegmentKind,
        /// Its lines.
        line_count: i64,
        /// Its bytes.
        byte_count: i64,
        /// Digest of its text.
        content_sha256: String,
        /// Its text; absent where only figures are kept.
        segment_text: Option<String>,
        /// When.
        captured_at: Timestamp,
    }
}

/// Adds a capture, and the segment that it gives, if it gives one. Numbers and times are set.
pub async fn insert(
    tx: &mut Tx,
    mut capture: Capture,
    segment: Option<Segment>,
    audit: AuditRow,
) -> Result<(Capture, Option<Segment>)> {
    capture.id = tx.next_number(Counter::Capture).await?;
    capture.captured_at = tx.now();
    tx.insert(&capture).await?;
    let segment = match segment {
        Some(segment) => {
            let id = tx.next_number(Counter::Segment).await?;
            let now = capture.captured_at;
            let segment = Segment { id, source_capture_id: capture.id, captured_at: now, ..segment };
            tx.insert(&segment).await?;
            Some(segment)
        }
        None => None,
    };
    tx.audit(audit.or_task(Some(&capture.task_id))).await?;
    Ok((capture, segment))
}

/// The latest capture of one side.
pub async fn latest(db: &mut Db, task: &TaskId, session: &SessionId) -> Result<Option<Capture>> {
    let rest = "WHERE task_id = $1 AND session_id = $2 ORDER BY id DESC LIMIT 1";
    db.one(Capture::select(rest), args![task, session]).await
}

/// The newest segments of a task, oldest first.
pub async fn segments(db: &mut Db, task: &TaskId, role: Option<Role>, limit: u32) -> Result<Vec<Segment>> {
    let (rest, args) = Filter::new()
        .given("task_id = ?", Some(task))
        .given("role = ?", role.as_ref())
        .limited("ORDER BY id DESC", limit);
    let mut newest: Vec<Segment> = db.all(Segment::select(&rest), args).await?;
    newest.reverse();
    Ok(newest)
}

/// Whether a side has a segment with text.
pub async fn has_text(db: &mut Db, task: &TaskId, role: Role) -> Result<bool> {
    let sql = "SELECT count(*) FROM transcript_segments \
               WHERE task_id = $1 AND role = $2 AND segment_text IS NOT NULL AND line_count > 0";
    Ok(db.value::<i64>(sql, args![task, &role]).await?.unwrap_or_default() > 0)
}
