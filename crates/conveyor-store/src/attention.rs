//! What a person should look at: dialogs, quotas, blocked deliveries, dead processes.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::DeliveryId;
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
    /// Something that wants attention.
    Attention in "attention" {
        /// Small number.
        id: i64,
        /// What sort: `approval_prompt`, `usage_limited`, `blocked`, `unproved`, `process_dead` …
        kind: String,
        /// The session.
        session_id: Option<SessionId>,
        /// The task.
        task_id: Option<TaskId>,
        /// The delivery.
        delivery_id: Option<DeliveryId>,
        /// What it is about, one open row for each kind: the delivery's id, else the session's, else the task's.
        subject: String,
        /// What is the matter, in a sentence.
        message: String,
        /// What was seen.
        evidence_json: Value,
        /// Since when.
        since_at: Timestamp,
        /// When it was over.
        cleared_at: Option<Timestamp>,
        /// When somebody put it aside: it is not shown any more, and the same cause does not raise it again.
        dismissed_at: Option<Timestamp>,
    }
}

/// What is to be raised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewAttention {
    /// What sort.
    pub kind: String,
    /// The session.
    pub session: Option<SessionId>,
    /// The task.
    pub task: Option<TaskId>,
    /// The delivery.
    pub delivery: Option<DeliveryId>,
    /// What is the matter.
    pub message: String,
    /// What was seen.
    pub evidence: Value,
}

impl NewAttention {
    fn subject(&self) -> String {
        let delivery = self.delivery.as_ref().map(DeliveryId::as_str);
        let session = self.session.as_ref().map(SessionId::as_str);
        let task = self.task.as_ref().map(TaskId::as_str);
        delivery.or(session).or(task).unwrap_or("ledger").to_owned()
    }
}

/// Raises attention, or returns the open row of that kind and subject. The flag says whether it is new.
///
/// A row that was dismissed stands for its cause as long as that goes on; another message is another cause.
pub async fn raise(tx: &mut Tx, new: NewAttention, audit: AuditRow) -> Result<(Attention, bool)> {
    let subject = new.subject();
    let rest = "WHERE subject = $1 AND kind = $2 AND cleared_at IS NULL";
    if let Some(open) = tx.one::<Attention>(Attention::select(rest), args![&subject, &new.kind]).await? {
        if open.dismissed_at.is_none() || open.message == new.message {
            return Ok((open, false));
        }
        tx.replace(&Attention { cleared_at: Some(tx.now()), ..open }).await?;
    }
    let raised = Attention {
        id: tx.next_number(Counter::Attention).await?,
        kind: new.kind,
        session_id: new.session,
        task_id: new.task,
        delivery_id: new.delivery,
        subject,
        message: new.message,
        evidence_json: new.evidence,
        since_at: tx.now(),
        cleared_at: None,
        dismissed_at: None,
    };
    tx.insert(&raised).await?;
    tx.audit(audit.or_session(raised.session_id.as_ref()).or_task(raised.task_id.as_ref())).await?;
    Ok((raised, true))
}

/// Clears the open row of a kind and subject (see [`Attention::subject`]). Whether there was one.
pub async fn clear(tx: &mut Tx, subject: &str, kind: &str, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE attention SET cleared_at = $3 WHERE subject = $1 AND kind = $2 AND cleared_at IS NULL";
    let cleared = tx.change(sql, args![&subject.to_owned(), &kind.to_owned(), &now]).await? > 0;
    if cleared {
        tx.audit(audit).await?;
    }
    Ok(cleared)
}

/// Puts an open row aside. `None` where none with this number is open.
pub async fn dismiss(tx: &mut Tx, id: i64, audit: AuditRow) -> Result<Option<Attention>> {
    let Some(open) = get(tx, id).await?.filter(|row| row.cleared_at.is_none()) else { return Ok(None) };
    if open.dismissed_at.is_some() {
        return Ok(Some(open));
    }
    let dismissed = Attention { dismissed_at: Some(tx.now()), ..open };
    tx.replace(&dismissed).await?;
    let audit = audit.or_session(dismissed.session_id.as_ref()).or_task(dismissed.task_id.as_ref());
    tx.audit(match &dismissed.delivery_id {
        Some(delivery) => audit.or_delivery(delivery),
        None => audit,
    })
    .await?;
    Ok(Some(dismissed))
}

/// A row by its number, also one that is over.
pub async fn get(db: &mut Db, id: i64) -> Result<Option<Attention>> {
    db.one(Attention::select("WHERE id = $1"), args![&id]).await
}

/// What is to be looked at, oldest first; of one session or task when given.
pub async fn shown(
    db: &mut Db,
    session: Option<&SessionId>,
    task: Option<&TaskId>,
    limit: u32,
) -> Result<Vec<Attention>> {
    listed(db, session, task, true, limit).await
}

/// What goes on, whether it was dismissed or not: for whoever raises it and ends it.
pub async fn open(
    db: &mut Db,
    session: Option<&SessionId>,
    task: Option<&TaskId>,
    limit: u32,
) -> Result<Vec<Attention>> {
    listed(db, session, task, false, limit).await
}

async fn listed(
    db: &mut Db,
    session: Option<&SessionId>,
    task: Option<&TaskId>,
    only_shown: bool,
    limit: u32,
) -> Result<Vec<Attention>> {
    let (rest, args) = Filter::new()
        .must("cleared_at IS NULL")
        .must_if(only_shown, "dismissed_at IS NULL")
        .given("session_id = ?", session)
        .given("task_id = ?", task)
        .limited("ORDER BY id", limit);
    db.all(Attention::select(&rest), args).await
}
