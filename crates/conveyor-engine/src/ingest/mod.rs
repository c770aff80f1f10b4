//! Observing: reads what an agent newly recorded, keeps it, moves the session's turn, settles deliveries that a record
//! proves, and tells the bound manager of a turn's end. All of a batch in one transaction.
//!
//! Whoever needs the present state ingests first: `cycle`, the dispatcher, a delivery that looks for its proof. Two
//! that do so at once never store a line twice: the position moves by compare-and-set in the same transaction.

mod route;
pub(crate) mod settle;

use std::path::Path;
use std::path::PathBuf;

use conveyor_agents::Batch;
use conveyor_agents::Follower;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::limits;
use conveyor_model::rollout::BadLines;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Position;
use conveyor_model::turn::Turn;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::events;
use conveyor_store::events::NewEvent;
use conveyor_store::events::Place;
use conveyor_store::follows;
use conveyor_store::follows::Follow;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use conveyor_store::threads::SessionThread;
use conveyor_store::turns;
use serde_json::json;

use crate::Plane;
use crate::adopt;

/// What one pass over a session's rollouts found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Records that were stored.
    pub new_events: u64,
    /// Where the newest thread's rollout goes on, in bytes.
    pub new_offset: u64,
    /// Lines that are no record.
    pub skipped_lines: u64,
    /// Turns that ended.
    pub turn_ends: u64,
}

/// Reads all that a session's threads newly recorded.
///
/// A thread whose rollout does not exist yet has nothing to read: Codex makes the file with the first message.
/// Errors: rollout, for a file that was there and is missing, unreadable or compressed.
pub async fn session(plane: &Plane, session: &Session) -> Result<Ingested> {
    let ledger = plane.ledger().await?;
    let mut current = threads::current(&mut *ledger.read().await?, &session.id).await?;
    if current.is_empty() {
        current.extend(adopt::first_thread(plane, session).await?);
    }
    let mut ingested = Ingested::default();
    // Oldest first, so that the newest thread's offset is the one that is reported.
    for thread in current.iter().rev() {
        if let Some(path) = rollout_path(plane, session, thread)? {
            one_thread(plane, session, thread, &path, &mut ingested).await?;
        }
    }
    Ok(ingested)
}

/// Where a thread's rollout lies: as it was proved, else found by the id in its name.
pub(crate) fn rollout_path(
    plane: &Plane,
    session: &Session,
    thread: &SessionThread,
) -> Result<Option<PathBuf>> {
    if let Some(path) = &thread.rollout_path {
        return Ok(Some(PathBuf::from(path)));
    }
    let home = match &session.codex_home {
        Some(home) => PathBuf::from(home),
        None => plane.environment.codex_home()?,
    };
    let found = plane.log.rollouts_of(&home, &thread.thread_id).unwrap_or_default();
    // A name that holds the id proves the path; two such files are one thread moved while it was looked for.
    Ok(found.into_iter().next())
}

async fn one_thread(
    plane: &Plane,
    session: &Session,
    thread: &SessionThread,
    path: &Path,
    ingested: &mut Ingested,
) -> Result<()> {
    let ledger = plane.ledger().await?;
    'anew: loop {
        let seen = follows::get(&mut *ledger.read().await?, &thread.thread_id).await?;
        let position = seen.as_ref().map(resume_position);
        let mut follower = Follower::open(&*plane.log, path, position)?;
        ingested.new_offset = follower.position().offset;
        let mut seen = seen;
        while let Some(mut batch) = follower.next_batch(limits::INGEST_BATCH_LINES)? {
            let mut tx = ledger.write(&Actor::Conveyor).await?;
            // A record without a time that can be understood has the time at which it was read.
            batch.events.iter_mut().for_each(|event| event.at = event.at.or(Some(tx.now())));
            let follow = match seen.take() {
                Some(follow) => follow,
                None => begin(&mut tx, thread, path, &batch).await?,
            };
            let Some((follow, ends)) = store(plane, &mut tx, session, thread, &follow, &batch).await? else {
                continue 'anew;
            };
            tx.commit().await?;
            seen = Some(follow);
            ingested.new_events += batch.events.len() as u64;
            ingested.skipped_lines += batch.bad.total();
            ingested.new_offset = batch.position.offset;
            ingested.turn_ends += ends;
        }
        return Ok(());
    }
}

/// Begins to follow, and notes where the rollout lies now that it exists.
async fn begin(tx: &mut Tx, thread: &SessionThread, path: &Path, batch: &Batch) -> Result<Follow> {
    let path = path.to_string_lossy();
    let (device, inode) = (batch.position.device as i64, batch.position.inode as i64);
    if thread.rollout_path.is_none() {
        let found =
            AuditRow::new("rollout_found", format!("The rollout of thread {} is {path}.", thread.thread_id))
                .session(&thread.session_id);
        threads::set_rollout(tx, thread.number, &path, found).await?;
    }
    follows::begin(tx, &thread.thread_id, &path, device, inode).await
}

/// Stores a batch and all that follows from it; nothing when another ingester was faster.
async fn store(
    plane: &Plane,
    tx: &mut Tx,
    session: &Session,
    thread: &SessionThread,
    seen: &Follow,
    batch: &Batch,
) -> Result<Option<(Follow, u64)>> {
    // A follow that somebody else began meanwhile stands elsewhere than where this batch begins.
    if batch.resync.is_none() && seen.position != batch.range.start as i64 {
        return Ok(None);
    }
    let next = advanced(seen, batch);
    if !follows::advance(tx, seen, &next).await? {
        return Ok(None);
    }
    let seq = tx.audit(told(session, thread, batch)).await?;
    let place = Place {
        session_number: session.number,
        follow_number: next.number,
        generation: next.generation,
        seq,
    };
    let now = tx.now();
    let stored: Vec<NewEvent> = batch.events.iter().map(|event| as_stored(event, now)).collect();
    let first = events::insert(tx, place, &stored).await?;
    let ends = observe(plane, tx, session, thread, batch, first).await?;
    Ok(Some((next, ends)))
}

/// Moves the turn over each record, settles what a record proves, routes each end. Returns how many turns ended.
async fn observe(
    plane: &Plane,
    tx: &mut Tx,
    session: &Session,
    thread: &SessionThread,
    batch: &Batch,
    first: i64,
) -> Result<u64> {
    let before = turns::get(tx, &session.id).await?;
    let mut turn = before.map(|row| turn_of(&row)).unwrap_or_default();
    let mut ends = 0;
    for (event, id) in batch.events.iter().zip(first..) {
        let end = turn.observe_stored(event, id);
        settle::by_record(tx, session, thread, event, id, &turn).await?;
        if let Some(end) = end {
            ends += 1;
            settle::by_end(tx, session, &end).await?;
            route::turn_end(plane, tx, session, id, &end).await?;
        }
    }
    let last = first + batch.events.len() as i64 - 1;
    turns::put(tx, &session.id, turn.state.as_str(), &json!(turn), Some(last)).await?;
    Ok(ends)
}

/// The turn that a row holds. A row of an older shape is read as far as it goes; the rollout tells the rest.
pub fn turn_of(row: &turns::TurnRow) -> Turn {
    serde_json::from_value(row.turn_json.clone()).unwrap_or_default()
}

fn as_stored(event: &Event, now: conveyor_model::Timestamp) -> NewEvent {
    NewEvent {
        byte_offset: event.offset as i64,
        byte_len: event.len as i64,
        ordinal: event.ordinal.map(|ordinal| ordinal as i64),
        at: event.at.unwrap_or(now),
        at_original: event.at_original.clone(),
        record_type: event.record_type.to_string(),
        subtype: event.subtype.as_ref().map(ToString::to_string),
        subtype_alias: event.alias.as_ref().map(ToString::to_string),
        turn_id: event.turn_id.clone(),
        call_id: event.call_id.clone(),
        text: event.text.clone(),
        text_cut: event.text_cut,
    }
}

/// The audit row of a batch: which bytes, and their digest.
fn told(session: &Session, thread: &SessionThread, batch: &Batch) -> AuditRow {
    let sentence = format!(
        "Bytes {} to {} of thread {} were read: {} records.",
        batch.range.start,
        batch.range.end,
        thread.thread_id,
        batch.events.len()
    );
    AuditRow::new("rollout_ingested", sentence).session(&session.id).payload(json!({
        "path": batch.position.path,
        "sha256": batch.sha256,
        "resync": batch.resync.map(|why| format!("{why:?}").to_lowercase()),
        "seen_before": batch.seen_before,
        "bad_lines": batch.bad,
        "gaps": batch.gaps,
    }))
}

/// What is counted of a rollout, and the whole position, kept as JSON beside the columns that queries need.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Where to go on, with all marks that find the place again.
    pub position: Position,
    /// Lines that were no records, by reason.
    pub bad: BadLines,
    /// Records of unknown shape, by Codex's version.
    pub unknown: std::collections::BTreeMap<String, u64>,
    /// Leaps in the ordinals.
    pub gaps: u64,
}

impl Counted {
    /// What is counted of a followed rollout.
    pub fn of(follow: &Follow) -> Self {
        serde_json::from_value(follow.counters_json.clone()).unwrap_or_default()
    }
}

fn resume_position(follow: &Follow) -> Position {
    Counted::of(follow).position
}

fn advanced(seen: &Follow, batch: &Batch) -> Follow {
    let mut counted = Counted::of(seen);
    counted.position = batch.position.clone();
    counted.bad.merge(&batch.bad);
    counted.gaps += batch.gap_count;
    for (version, count) in &batch.unknown {
        *counted.unknown.entry(version.clone()).or_default() += count;
    }
    Follow {
        path: batch.position.path.clone(),
        device: batch.position.device as i64,
        inode: batch.position.inode as i64,
        position: batch.position.offset as i64,
        generation: seen.generation + i64::from(batch.resync.is_some()),
        last_ordinal: batch.position.last_ordinal.map(|ordinal| ordinal as i64),
        last_at: batch.position.last_at,
        counters_json: json!(counted),
        ..seen.clone()
    }
}
