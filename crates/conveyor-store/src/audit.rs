//! The audit chain as it is stored: reading, checking, pruning payloads. [`crate::Tx::audit`] appends.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::audit::Broken;
use conveyor_model::audit::Hash;
use conveyor_model::audit::Head;
use conveyor_model::audit::Header;
use conveyor_model::audit::Link;
use conveyor_model::audit::follow;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::cell::Args;
use crate::cell::Cell;
use crate::cell::Row;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::engine::conn::RawRow;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Tx;

/// Rows that are checked between two reads: the memory of a check does not grow with the chain.
const CHECK_ROWS: i64 = 1_000;

pub(crate) const INSERT: &str = "INSERT INTO audit_events (seq, at, actor, kind, sentence, task_id, session_id, \
     binding_id, delivery_id, correlation_id, payload_digest, hash) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

pub(crate) fn args(header: &Header, digest: Hash, hash: Hash) -> Args {
    args![
        &header.seq,
        &header.at,
        &header.actor,
        &header.kind,
        &header.sentence,
        &header.task,
        &header.session,
        &header.binding,
        &header.delivery,
        &header.correlation,
        &digest,
        &hash,
    ]
}

table! {
    /// A row of the chain with its payload.
    AuditEvent in "audit_view" {
        /// Its place.
        seq: i64,
        /// When.
        at: Timestamp,
        /// Who.
        actor: String,
        /// What sort of change.
        kind: String,
        /// The change in a sentence.
        sentence: String,
        /// The task.
        task_id: Option<TaskId>,
        /// The session.
        session_id: Option<SessionId>,
        /// The binding.
        binding_id: Option<BindingId>,
        /// The delivery.
        delivery_id: Option<DeliveryId>,
        /// What ties rows together.
        correlation_id: Option<String>,
        /// Digest of the payload.
        payload_digest: Hash,
        /// The link's hash.
        hash: Hash,
        /// The details; absent once pruned.
        payload_json: Option<Value>,
    }
}

const SELECT: &str = "SELECT a.seq, a.at, a.actor, a.kind, a.sentence, a.task_id, a.session_id, a.binding_id, \
     a.delivery_id, a.correlation_id, a.payload_digest, a.hash, p.payload_json \
     FROM audit_events a LEFT JOIN audit_payloads p ON p.seq = a.seq";

/// Which rows are listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only of this delivery.
    pub delivery: Option<DeliveryId>,
    /// Only with this correlation id.
    pub correlation: Option<String>,
    /// Only of these kinds; all when empty.
    pub kinds: Vec<String>,
    /// Only behind this place.
    pub after: Option<i64>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
}

/// Rows of the chain in its order.
pub async fn list(db: &mut Db, wanted: &Wanted, limit: u32) -> Result<Vec<AuditEvent>> {
    let order = if wanted.newest_first { "ORDER BY a.seq DESC" } else { "ORDER BY a.seq" };
    let (rest, args) = Filter::new()
        .given("a.task_id = ?", wanted.task.as_ref())
        .given("a.session_id = ?", wanted.session.as_ref())
        .given("a.delivery_id = ?", wanted.delivery.as_ref())
        .given("a.correlation_id = ?", wanted.correlation.as_ref())
        .one_of("a.kind", &wanted.kinds)
        .given("a.seq > ?", wanted.after.as_ref())
        .limited(order, limit);
    db.all(format!("{SELECT} {rest}"), args).await
}

/// How many rows tell of a task.
pub async fn count(db: &mut Db, task: &TaskId) -> Result<i64> {
    let sql = "SELECT count(*) FROM audit_events WHERE task_id = $1";
    Ok(db.value(sql, args![task]).await?.unwrap_or_default())
}

/// Where the chain stands.
pub async fn head(db: &mut Db) -> Result<Head> {
    let head = db.one::<(i64, Hash)>("SELECT seq, hash FROM chain_head", args![]).await?;
    Ok(head.map_or(Head::EMPTY, |(seq, hash)| Head { seq, hash }))
}

/// Checks the last `limit` rows of the chain, all of them with `None`, and returns how many were checked.
///
/// A part of the chain is checked from the hash of the row before it.
pub async fn check(db: &mut Db, limit: Option<i64>) -> Result<std::result::Result<i64, Broken>> {
    let head = head(db).await?;
    let first = limit.map_or(0, |limit| (head.seq - limit).max(0));
    let mut at = match hash_of(db, first).await? {
        Some(hash) => Head { seq: first, hash },
        None if first == 0 => Head::EMPTY,
        None => return Ok(Err(Broken::Gap { expected: first, found: head.seq })),
    };
    loop {
        let links = links(db, at.seq).await?;
        if links.is_empty() {
            let whole = at == head;
            return Ok(if whole {
                Ok(at.seq - first)
            } else {
                Err(Broken::Head { head: head.seq, last: at.seq })
            });
        }
        match links.iter().try_fold(at, follow) {
            Ok(end) => at = end,
            Err(broken) => return Ok(Err(broken)),
        }
    }
}

async fn hash_of(db: &mut Db, seq: i64) -> Result<Option<Hash>> {
    db.value("SELECT hash FROM audit_events WHERE seq = $1", args![&seq]).await
}

/// A link whose payload is the very text that was hashed, not the document that it reads as.
struct Stored(Link);

impl Row for Stored {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self> {
        let header = Header {
            seq: Cell::read(row, first)?,
            at: Cell::read(row, first + 1)?,
            actor: Cell::read(row, first + 2)?,
            kind: Cell::read(row, first + 3)?,
            sentence: Cell::read(row, first + 4)?,
            task: Cell::read(row, first + 5)?,
            session: Cell::read(row, first + 6)?,
            binding: Cell::read(row, first + 7)?,
            delivery: Cell::read(row, first + 8)?,
            correlation: Cell::read(row, first + 9)?,
        };
        Ok(Self(Link {
            header,
            payload_digest: Cell::read(row, first + 10)?,
            hash: Cell::read(row, first + 11)?,
            payload: Cell::read(row, first + 12)?,
        }))
    }
}

async fn links(db: &mut Db, after: i64) -> Result<Vec<Link>> {
    let sql = format!("{SELECT} WHERE a.seq > $1 ORDER BY a.seq LIMIT $2");
    let rows: Vec<Stored> = db.all(sql, args![&after, &CHECK_ROWS]).await?;
    Ok(rows.into_iter().map(|Stored(link)| link).collect())
}

/// Deletes the payloads of rows up to `seq`. The chain stays whole. Returns how many were deleted.
pub async fn prune_payloads(tx: &mut Tx, seq: i64, audit: AuditRow) -> Result<u64> {
    let pruned = tx.change("DELETE FROM audit_payloads WHERE seq <= $1", args![&seq]).await?;
    if pruned > 0 {
        tx.audit(audit).await?;
    }
    Ok(pruned)
}
