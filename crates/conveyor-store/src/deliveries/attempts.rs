//! The history of a delivery's leases.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::DeliveryId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::deliveries::Delivery;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// What came of a lease.
    AttemptState, "an attempt's state" {
        /// Its holder died or slept too long.
        Abandoned = "abandoned",
        /// It ended before a gate or a person.
        Blocked = "blocked",
        /// It failed.
        Failed = "failed",
        /// It is held.
        Running = "running",
        /// It succeeded.
        Succeeded = "succeeded",
    }
}

table! {
    /// One lease of a delivery.
    Attempt in "delivery_attempts" {
        /// Small number.
        id: i64,
        /// The delivery.
        delivery_id: DeliveryId,
        /// The lease's epoch.
        epoch: i64,
        /// Who held it.
        dispatcher: String,
        /// What came of it.
        state: AttemptState,
        /// When it began.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Option<Timestamp>,
        /// From some moment on the agent may have seen something.
        side_effect_started: bool,
        /// The submit key went out, or the inbox has it.
        side_effect_completed: bool,
        /// Why it failed.
        error: Option<String>,
        /// Details.
        result_json: Option<Value>,
    }
}

/// Notes that a lease begins. Belongs into the transaction of the lease.
pub(super) async fn begin(tx: &mut Tx, delivery: &Delivery, dispatcher: &str) -> Result<()> {
    let attempt = Attempt {
        id: tx.next_number(Counter::Attempt).await?,
        delivery_id: delivery.id.clone(),
        epoch: delivery.epoch,
        dispatcher: dispatcher.to_owned(),
        state: AttemptState::Running,
        started_at: tx.now(),
        finished_at: None,
        side_effect_started: false,
        side_effect_completed: false,
        error: None,
        result_json: None,
    };
    tx.insert(&attempt).await
}

/// Notes that the lease before this one was lost.
pub(super) async fn abandon(tx: &mut Tx, delivery: &Delivery) -> Result<()> {
    let now = tx.now();
    let sql = "UPDATE delivery_attempts SET state = 'abandoned', finished_at = $3 \
               WHERE delivery_id = $1 AND epoch = $2 AND state = 'running'";
    tx.change(sql, args![&delivery.id, &delivery.epoch, &now]).await.map(drop)
}

/// Notes how far an attempt's effect went. Belongs into the transaction of the move that says so.
pub async fn mark_side_effect(tx: &mut Tx, id: &DeliveryId, epoch: i64, completed: bool) -> Result<()> {
    let sql = "UPDATE delivery_attempts SET side_effect_started = 1, \
               side_effect_completed = CASE WHEN side_effect_completed = 1 THEN 1 ELSE $3 END \
               WHERE delivery_id = $1 AND epoch = $2";
    tx.change(sql, args![id, &epoch, &completed]).await.map(drop)
}

/// Notes how an attempt ended. Belongs into the transaction of the move that says so.
pub async fn finish_attempt(
    tx: &mut Tx,
    id: &DeliveryId,
    epoch: i64,
    state: AttemptState,
    error: Option<&str>,
    result: Option<&Value>,
) -> Result<()> {
    let (now, error, result) = (tx.now(), error.map(str::to_owned), result.cloned());
    let sql = "UPDATE delivery_attempts SET state = $3, finished_at = $4, error = $5, result_json = $6 \
               WHERE delivery_id = $1 AND epoch = $2 AND state = 'running'";
    tx.change(sql, args![id, &epoch, &state, &now, &error, &result]).await.map(drop)
}

/// All attempts of a delivery, oldest first.
pub async fn attempts(db: &mut Db, id: &DeliveryId) -> Result<Vec<Attempt>> {
    db.all(Attempt::select("WHERE delivery_id = $1 ORDER BY epoch"), args![id]).await
}

/// What came of a dispatcher's attempts since a moment, counted.
pub async fn attempts_by(
    db: &mut Db,
    dispatcher: &str,
    since: Timestamp,
) -> Result<Vec<(AttemptState, i64)>> {
    let sql = "SELECT state, count(*) FROM delivery_attempts WHERE dispatcher = $1 AND started_at >= $2 \
               GROUP BY state ORDER BY state";
    db.all(sql, args![&dispatcher.to_owned(), &since]).await
}
