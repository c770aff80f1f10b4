//! Carrying letters out. What a letter changes and the note that it was taken go in together, and only then its file is
//! removed: whoever is killed in between leaves a file of which the ledger knows that it was taken.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::audit::Hash;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::criteria;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::letters;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use serde_json::json;

use super::Letter;
use super::Proposal;
use super::folder::Folder;
use super::folder::Found;
use super::folder::Identity;
use super::shared;
use crate::Plane;
use crate::acknowledge;
use crate::receipt;
use crate::resolve;
use crate::verbs::handoff;
use crate::verbs::inbox_ack;
use crate::verbs::report;

/// Takes the letters of all workers of this host. Returns how many were dealt with, and whether some are still being
/// written.
///
/// Errors: those of the ledger. Trouble with one outbox is noted and stops nothing.
pub(crate) async fn all(plane: &Plane) -> Result<(usize, bool)> {
    let mut taken = (0, false);
    let workers = shared::workers(plane.ledger().await?, &plane.environment.host).await?;
    let mut folders: BTreeMap<&Path, &Session> = BTreeMap::new();
    for worker in &workers {
        folders.entry(&worker.folder).or_insert(&worker.session);
    }
    for (folder, owner) in folders {
        let writers = shared::writers(folder, &workers);
        match one(plane, folder, owner, &writers).await {
            Ok((count, unfinished)) => taken = (taken.0 + count, taken.1 || unfinished),
            Err(error) if error.kind == ErrorKind::Environment => {
                tracing::warn!(folder = %folder.display(), %error, "an outbox cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// The folders in which a new name may be a letter, or the beginning of an outbox.
pub(crate) async fn folders(plane: &Plane) -> Result<BTreeSet<PathBuf>> {
    let nearest = |cwd: PathBuf| {
        let inner = [cwd.join(".conveyor/outbox"), cwd.join(".conveyor")];
        inner.into_iter().find(|folder| is_folder(folder)).unwrap_or(cwd)
    };
    let workers = shared::workers(plane.ledger().await?, &plane.environment.host).await?;
    Ok(workers.into_iter().map(|worker| nearest(worker.folder)).collect())
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// The letters in the folder of `owner`, in the order of their names.
async fn one(plane: &Plane, folder: &Path, owner: &Session, writers: &[&Session]) -> Result<(usize, bool)> {
    let failed = |error: std::io::Error| Error::environment(error.to_string());
    let Some(folder) = Folder::open(folder).map_err(failed)? else { return Ok((0, false)) };
    if writers.len() == 1 {
        shared::calm(plane, owner).await?;
    }
    let (mut taken, mut unfinished) = (0, false);
    for name in folder.names().map_err(failed)? {
        let (identity, letter) = match folder.look(&name).map_err(failed)? {
            Found::Gone => continue,
            Found::Other(identity, why) => (identity, Err(why.to_owned())),
            Found::File(identity, bytes) => match read(&bytes) {
                Ok((from, letter)) => match shared::writer(writers, from.as_ref()) {
                    Ok(worker) => (identity, Ok((worker, letter, bytes))),
                    Err(why) => (identity, Err(why)),
                },
                Err(Unread::Unfinished(_)) if is_young(plane, identity) => {
                    unfinished = true;
                    continue;
                }
                Err(Unread::Unfinished(why) | Unread::Wrong(why)) => (identity, Err(why)),
            },
        };
        let refused = match letter {
            Ok((worker, letter, bytes)) => take(plane, worker, &name, identity, (letter, &bytes)).await?,
            Err(why) => Some(refuse(plane, owner, writers, (&name, identity), why).await?),
        };
        let gone = match refused {
            None => folder.remove(&name, identity),
            Some(reason) => folder.refuse(&name, identity, &reason),
        };
        gone.map_err(failed)?;
        taken += 1;
    }
    Ok((taken, unfinished))
}

/// Why a file's text is no letter.
enum Unread {
    /// It may still be written.
    Unfinished(String),
    /// It is whole, and something else.
    Wrong(String),
}

/// A letter, and whom it says to be from.
fn read(bytes: &[u8]) -> Result<(Option<Name>, Letter), Unread> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Unread::Unfinished(format!("it is no JSON: {error}")))?;
    let from = value.as_object_mut().and_then(|letter| letter.remove("from"));
    let from: Option<Name> = from
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| Unread::Wrong(format!("`from` is no session: {error}")))?;
    let letter: Letter = serde_json::from_value(value).map_err(|error| Unread::Wrong(error.to_string()))?;
    letter.check().map_err(|error| Unread::Wrong(error.message))?;
    Ok((from, letter))
}

/// Whether a file was written a moment ago. One from the future was not.
fn is_young(plane: &Plane, identity: Identity) -> bool {
    let age = plane.clock.now().as_millis() - identity.millis();
    (0..i64::try_from(limits::OUTBOX_SETTLES.as_millis()).unwrap_or(i64::MAX)).contains(&age)
}

/// The same file is the same letter, also for a successor; the same words in another file are another one.
fn id(worker: &Session, name: &OsStr, identity: Identity, bytes: &[u8]) -> String {
    let head = format!("{}\n{}\n{}\n", worker.id, name.to_string_lossy(), identity.words());
    Hash::of(&[head.as_bytes(), bytes].concat()).to_string()
}

/// Carries a letter out in one transaction. Returns why it was refused, if it was.
async fn take(
    plane: &Plane,
    worker: &Session,
    name: &OsStr,
    identity: Identity,
    (letter, bytes): (Letter, &[u8]),
) -> Result<Option<String>> {
    let id = id(worker, name, identity, bytes);
    let mut tx = plane.ledger().await?.write(&Actor::Worker(worker.id.clone())).await?;
    if let Some(known) = letters::get(&mut tx, &id).await? {
        return Ok(known.refused);
    }
    let verb = letter.verb();
    match carry(plane, &mut tx, worker, letter).await {
        Ok(()) => {
            let sentence = format!("A letter of {} was taken: {verb}.", worker.name);
            note(&mut tx, worker, name, id, Some(verb), None, AuditRow::new("outbox_taken", sentence))
                .await?;
            tx.commit().await?;
            Ok(None)
        }
        Err(error) if is_the_letters_fault(error.kind) => {
            // Nothing of it may stay.
            tx.roll_back().await;
            refuse_as(plane, worker, &[], name, id, error.message).await.map(Some)
        }
        Err(error) => Err(error),
    }
}

/// Whether a letter would fail again however often it is taken.
const fn is_the_letters_fault(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Ambiguous
        | ErrorKind::Conflict
        | ErrorKind::NotFound
        | ErrorKind::Refused
        | ErrorKind::Usage => true,
        ErrorKind::Environment
        | ErrorKind::Interrupted
        | ErrorKind::Ledger
        | ErrorKind::Rollout
        | ErrorKind::Timeout => false,
    }
}

/// Refuses what nobody is known to have written.
async fn refuse(
    plane: &Plane,
    owner: &Session,
    writers: &[&Session],
    (name, identity): (&OsStr, Identity),
    why: String,
) -> Result<String> {
    refuse_as(plane, owner, writers, name, id(owner, name, identity, b""), why).await
}

/// Notes that a letter was refused, once, and wants attention where several can write. Returns the reason.
async fn refuse_as(
    plane: &Plane,
    worker: &Session,
    writers: &[&Session],
    name: &OsStr,
    id: String,
    why: String,
) -> Result<String> {
    let mut tx = plane.ledger().await?.write(&Actor::Worker(worker.id.clone())).await?;
    if let Some(known) = letters::get(&mut tx, &id).await? {
        return Ok(known.refused.unwrap_or(why));
    }
    let why: String = why.chars().take(limits::TOLD_CHARS).collect();
    let sentence = format!("A letter of {} was refused: {why}.", worker.name);
    let audit = AuditRow::new("outbox_refused", sentence);
    note(&mut tx, worker, name, id, None, Some(why.clone()), audit).await?;
    if writers.len() > 1 {
        shared::alarm(&mut tx, worker, writers).await?;
    }
    tx.commit().await?;
    Ok(why)
}

async fn note(
    tx: &mut Tx,
    worker: &Session,
    name: &OsStr,
    id: String,
    verb: Option<&str>,
    refused: Option<String>,
    audit: AuditRow,
) -> Result<()> {
    let name: String = name.to_string_lossy().chars().take(limits::TOLD_CHARS).collect();
    let letter = letters::Letter {
        id,
        session_id: worker.id.clone(),
        name: name.clone(),
        verb: verb.map(ToOwned::to_owned),
        refused,
        taken_at: tx.now(),
    };
    letters::insert(tx, &letter, audit.payload(json!({ "file": name }))).await
}

/// What a letter asks for, as its worker's words: on the task on which that worker works, and on no other.
async fn carry(plane: &Plane, tx: &mut Tx, worker: &Session, letter: Letter) -> Result<()> {
    let Some(binding) = bindings::active_of_worker(tx, &worker.id).await? else {
        return Err(Error::refused(format!("`{}` works on no task", worker.name)));
    };
    let task = tasks::get(tx, &binding.task_id).await?;
    let task =
        task.ok_or_else(|| Error::ledger("the task of a binding is missing").hint("conveyor db-doctor"))?;
    if let Some(named) = letter.task()
        && resolve::task(tx, named).await?.id != task.id
    {
        return Err(Error::refused(format!("`{}` does not work on the task that it names", worker.name)));
    }
    match letter {
        Letter::Report(request) => report::tell(plane, tx, &task, &binding, request).await.map(drop),
        Letter::WorkerAck(request) => {
            let payload = request.payload_json.unwrap_or_default();
            let (binding, correlation) = (Some(&binding), request.correlation_id);
            acknowledge::insert(tx, Role::Worker, &task, binding, payload, correlation).await.map(drop)
        }
        Letter::Handoff(request) => {
            let said = handoff::Said {
                summary: request.summary.unwrap_or_default(),
                next_steps: request.next_step,
                payload: request.payload_json.unwrap_or_default(),
            };
            handoff::insert(tx, &task, Some(&binding), said).await.map(drop)
        }
        Letter::InboxAck(request) => {
            let (Some(role), Some(status)) = (request.role, request.status) else {
                return Err(Error::usage("--role and --status are needed"));
            };
            if role != Role::Worker {
                return Err(Error::refused("a worker's letter speaks for the worker"));
            }
            let (delivery, target) = inbox_ack::message(tx, &task, request.notification_id).await?;
            let payload = request.payload_json.unwrap_or_default();
            let said = receipt::Said { role, status, payload, correlation: request.correlation_id };
            receipt::record(tx, plane, &task, &delivery, &target, said).await.map(drop)
        }
        Letter::ProposeCriterion(proposal) => propose(tx, worker, &task, proposal).await,
    }
}

async fn propose(tx: &mut Tx, worker: &Session, task: &Task, proposal: Proposal) -> Result<()> {
    let criterion = criteria::Criterion {
        id: 0,
        task_id: task.id.clone(),
        criterion: proposal.criterion,
        status: CriterionStatus::Proposed,
        source: CriterionSource::WorkerProposed,
        proof: None,
        rationale: proposal.rationale,
        evidence_json: json!({}),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let sentence = format!("{} proposes a criterion for {}.", worker.name, task.name);
    criteria::insert(tx, criterion, AuditRow::new("criterion_proposed", sentence)).await.map(drop)
}
