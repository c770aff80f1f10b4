//! What each side of a task proposes to do next, and what somebody independent says of the two proposals.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::continuation::Agreement;
use conveyor_model::continuation::Verdict;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::sessions::Role;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// A proposal.
    Continuation in "continuations" {
        /// Small number.
        id: i64,
        /// The task.
        task_id: TaskId,
        /// The binding under which it was made.
        binding_id: Option<BindingId>,
        /// Which side proposes it.
        proposer: Role,
        /// Counts the proposals of this side under this correlation id, from 1.
        revision: i64,
        /// What is proposed.
        payload_json: Value,
        /// What ties the proposals of both sides and their reviews together.
        correlation_id: String,
        /// When.
        created_at: Timestamp,
    }
}

table! {
    /// A review of two proposals.
    Review in "continuation_reviews" {
        /// Small number.
        id: i64,
        /// The task.
        task_id: TaskId,
        /// What ties it to the proposals.
        correlation_id: String,
        /// The worker's proposal.
        worker_continuation_id: i64,
        /// The manager's proposal.
        manager_continuation_id: i64,
        /// How far they agree.
        agreement: Agreement,
        /// What is to follow.
        verdict: Verdict,
        /// Why.
        rationale: String,
        /// What is to be added.
        addendum: Option<String>,
        /// Who reviewed, and how that went.
        subagent_run_json: Value,
        /// A person has to decide.
        operator_routing_required: bool,
        /// When.
        created_at: Timestamp,
    }
}

/// Appends a proposal; `id`, `revision` and `created_at` are set. The latest one counts.
pub async fn insert(tx: &mut Tx, mut one: Continuation, audit: AuditRow) -> Result<Continuation> {
    let before = latest(tx, &one.task_id, &one.correlation_id, one.proposer).await?;
    one.id = tx.next_number(Counter::Continuation).await?;
    one.revision = before.map_or(1, |before| before.revision + 1);
    one.created_at = tx.now();
    tx.insert(&one).await?;
    tx.audit(audit.or_task(Some(&one.task_id)).or_binding(one.binding_id.as_ref())).await?;
    Ok(one)
}

/// The latest proposal of one side under a correlation id.
pub async fn latest(
    db: &mut Db,
    task: &TaskId,
    correlation: &str,
    proposer: Role,
) -> Result<Option<Continuation>> {
    let rest = "WHERE task_id = $1 AND correlation_id = $2 AND proposer = $3 ORDER BY id DESC LIMIT 1";
    db.one(Continuation::select(rest), args![task, &correlation.to_owned(), &proposer]).await
}

/// The proposals of a task, newest first.
pub async fn list(db: &mut Db, task: &TaskId, limit: u32) -> Result<Vec<Continuation>> {
    let rest = "WHERE task_id = $1 ORDER BY id DESC LIMIT $2";
    db.all(Continuation::select(rest), args![task, &i64::from(limit)]).await
}

/// Appends a review; `id` and `created_at` are set.
pub async fn insert_review(tx: &mut Tx, mut review: Review, audit: AuditRow) -> Result<Review> {
    review.id = tx.next_number(Counter::ContinuationReview).await?;
    review.created_at = tx.now();
    tx.insert(&review).await?;
    tx.audit(audit.or_task(Some(&review.task_id))).await?;
    Ok(review)
}

/// The reviews of a task, newest first.
pub async fn reviews(db: &mut Db, task: &TaskId, limit: u32) -> Result<Vec<Review>> {
    let rest = "WHERE task_id = $1 ORDER BY id DESC LIMIT $2";
    db.all(Review::select(rest), args![task, &i64::from(limit)]).await
}
