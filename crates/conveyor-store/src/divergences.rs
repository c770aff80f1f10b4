//! Contradictions between what a rollout says and what a pane shows.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// A run of equal contradictions.
    Divergence in "divergences" {
        /// Small number.
        id: i64,
        /// The session.
        session_id: SessionId,
        /// The task that it worked on.
        task_id: Option<TaskId>,
        /// The rollout's word.
        rollout_says: String,
        /// The pane's word.
        pane_says: String,
        /// What was seen the last time.
        evidence_json: Value,
        /// When it began.
        first_at: Timestamp,
        /// When it was last seen.
        last_at: Timestamp,
        /// How often it was seen.
        count: i64,
    }
}

/// Notes a contradiction. One that is the session's latest already is counted there, without another audit row.
pub async fn note(
    tx: &mut Tx,
    session: &SessionId,
    task: Option<&TaskId>,
    (rollout, pane): (&str, &str),
    evidence: &Value,
    audit: AuditRow,
) -> Result<Divergence> {
    let now = tx.now();
    let latest = latest(tx, session).await?;
    if let Some(latest) = latest.filter(|latest| latest.rollout_says == rollout && latest.pane_says == pane) {
        let seen =
            Divergence { evidence_json: evidence.clone(), last_at: now, count: latest.count + 1, ..latest };
        tx.whisper(Divergence::update(), seen.args()).await?;
        return Ok(seen);
    }
    let seen = Divergence {
        id: tx.next_number(Counter::Divergence).await?,
        session_id: session.clone(),
        task_id: task.cloned(),
        rollout_says: rollout.to_owned(),
        pane_says: pane.to_owned(),
        evidence_json: evidence.clone(),
        first_at: now,
        last_at: now,
        count: 1,
    };
    tx.insert(&seen).await?;
    tx.audit(audit.or_session(Some(session)).or_task(task)).await?;
    Ok(seen)
}

/// The latest contradiction of a session.
pub async fn latest(db: &mut Db, session: &SessionId) -> Result<Option<Divergence>> {
    db.one(Divergence::select("WHERE session_id = $1 ORDER BY id DESC LIMIT 1"), args![session]).await
}

/// Contradictions, newest first.
pub async fn list(
    db: &mut Db,
    session: Option<&SessionId>,
    task: Option<&TaskId>,
    limit: u32,
) -> Result<Vec<Divergence>> {
    let (rest, args) = Filter::new()
        .given("session_id = ?", session)
        .given("task_id = ?", task)
        .limited("ORDER BY id DESC", limit);
    db.all(Divergence::select(&rest), args).await
}
