//! Dispatchers that run or ran. Whether one lives is told by its lock ([`crate::Ledger::is_locked`]), not by its row.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::tx::AuditRow;
use crate::tx::Tx;

table! {
    /// A dispatcher.
    Dispatcher in "dispatchers" {
        /// The name that its user gave it.
        id: String,
        /// Where it runs.
        host: String,
        /// Its process.
        pid: i64,
        /// When it began.
        started_at: Timestamp,
        /// When it was last heard of.
        heartbeat_at: Timestamp,
        /// Where it writes what it does.
        log_path: Option<String>,
        /// It runs for this binding only and stops with it.
        binding_id: Option<BindingId>,
        /// Since when it is asked to stop.
        stop_requested_at: Option<Timestamp>,
        /// When it stopped by itself.
        stopped_at: Option<Timestamp>,
    }
}

/// Stores that a dispatcher runs, in place of an earlier one of the same id.
pub async fn start(tx: &mut Tx, dispatcher: &Dispatcher, audit: AuditRow) -> Result<()> {
    tx.change("DELETE FROM dispatchers WHERE id = $1", args![&dispatcher.id]).await?;
    tx.insert(dispatcher).await?;
    tx.audit(audit.or_binding(dispatcher.binding_id.as_ref())).await.map(drop)
}

/// Notes that it lives. Rings nobody and leaves no audit row.
pub async fn heartbeat(tx: &mut Tx, id: &str) -> Result<()> {
    let now = tx.now();
    tx.whisper("UPDATE dispatchers SET heartbeat_at = $2 WHERE id = $1", args![&id.to_owned(), &now])
        .await
        .map(drop)
}

/// Asks a dispatcher to stop. Whether it ran and was not asked before.
pub async fn request_stop(tx: &mut Tx, id: &str, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE dispatchers SET stop_requested_at = $2 \
               WHERE id = $1 AND stop_requested_at IS NULL AND stopped_at IS NULL";
    let asked = tx.change(sql, args![&id.to_owned(), &now]).await? > 0;
    if asked {
        tx.audit(audit).await?;
    }
    Ok(asked)
}

/// Stores that a dispatcher has stopped.
pub async fn stopped(tx: &mut Tx, id: &str, audit: AuditRow) -> Result<()> {
    let now = tx.now();
    let sql = "UPDATE dispatchers SET stopped_at = $2 WHERE id = $1 AND stopped_at IS NULL";
    if tx.change(sql, args![&id.to_owned(), &now]).await? > 0 {
        tx.audit(audit).await?;
    }
    Ok(())
}

/// A dispatcher by its id.
pub async fn get(db: &mut Db, id: &str) -> Result<Option<Dispatcher>> {
    db.one(Dispatcher::select("WHERE id = $1"), args![&id.to_owned()]).await
}

/// The dispatchers of a binding, or with `None` all of them.
pub async fn list(db: &mut Db, binding: Option<&BindingId>) -> Result<Vec<Dispatcher>> {
    let (rest, args) = crate::filter::Filter::new().given("binding_id = ?", binding).build();
    db.all(Dispatcher::select(&format!("{rest} ORDER BY id")), args).await
}
