//! How far each rollout was read.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// How far a thread's rollout was read.
    Follow in "follows" {
        /// The agent's own id of the thread.
        thread_id: String,
        /// Small number, given by [`begin`]; events refer to it.
        number: i64,
        /// The file.
        path: String,
        /// Device of the file.
        device: i64,
        /// Inode of the file.
        inode: i64,
        /// End of the last whole line that was read, in bytes.
        position: i64,
        /// How often the file was replaced, truncated or rewritten: offsets mean something only within one generation.
        generation: i64,
        /// Ordinal of the last record, where records carry one.
        last_ordinal: Option<i64>,
        /// Time of the last record.
        last_at: Option<Timestamp>,
        /// Bad lines, unknown records, gaps: counted by name.
        counters_json: Value,
        /// When the position last moved.
        updated_at: Timestamp,
    }
}

/// Begins to follow a rollout at its start. Returns what is there already when it is followed.
///
/// Leaves no audit row of its own: the ingest that moves the position tells what was read.
pub async fn begin(tx: &mut Tx, thread: &str, path: &str, device: i64, inode: i64) -> Result<Follow> {
    if let Some(follow) = get(tx, thread).await? {
        return Ok(follow);
    }
    let follow = Follow {
        thread_id: thread.to_owned(),
        number: tx.next_number(Counter::Follow).await?,
        path: path.to_owned(),
        device,
        inode,
        position: 0,
        generation: 0,
        last_ordinal: None,
        last_at: None,
        counters_json: serde_json::json!({}),
        updated_at: tx.now(),
    };
    tx.whisper(Follow::insert(), follow.args()).await?;
    Ok(follow)
}

/// Moves a follow from the state that the caller read to `next`, in the transaction that stores the events in between.
///
/// `false` when another ingester has moved it since: then nothing of this batch may be stored. `next` keeps `number` and
/// `thread_id`; `updated_at` is set. The caller writes the audit row with the byte range and its digest.
pub async fn advance(tx: &mut Tx, seen: &Follow, next: &Follow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE follows SET path = $4, device = $5, inode = $6, position = $7, generation = $8, \
               last_ordinal = $9, last_at = $10, counters_json = $11, updated_at = $12 \
               WHERE thread_id = $1 AND generation = $2 AND position = $3";
    let args = args![
        &seen.thread_id,
        &seen.generation,
        &seen.position,
        &next.path,
        &next.device,
        &next.inode,
        &next.position,
        &next.generation,
        &next.last_ordinal,
        &next.last_at,
        &next.counters_json,
        &now,
    ];
    Ok(tx.change(sql, args).await? > 0)
}

/// How far a thread's rollout was read.
pub async fn get(db: &mut Db, thread: &str) -> Result<Option<Follow>> {
    db.one(Follow::select("WHERE thread_id = $1"), args![&thread.to_owned()]).await
}

/// All follows, in the order in which they began.
pub async fn list(db: &mut Db, limit: u32) -> Result<Vec<Follow>> {
    db.all(Follow::select("ORDER BY number LIMIT $1"), args![&i64::from(limit)]).await
}
