//! Whose letters lie in a folder: those of the only worker that can write there. A sandbox lets a worker write everywhere
//! below its own folder, so a letter in a folder of several could be anybody's, whatever name stands in it.

use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Ledger;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use serde_json::json;

use crate::Plane;

/// The attention that is raised where letters are refused.
const SHARED: &str = "outbox_shared";

/// A worker, and the folder in which it works, whatever links lead there.
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) folder: PathBuf,
}

/// The active workers of a host.
pub(super) async fn workers(ledger: &Ledger, host: &str) -> Result<Vec<Worker>> {
    let wanted = sessions::Wanted {
        role: Some(Role::Worker),
        state: Some(SessionState::Active),
        host: Some(host.to_owned()),
        ..sessions::Wanted::default()
    };
    let all = sessions::list(&mut *ledger.read().await?, &wanted, limits::FOLLOWED_SESSIONS).await?;
    let worker = |session: Session| Worker { folder: real(Path::new(&session.cwd)), session };
    Ok(all.into_iter().map(worker).collect())
}

/// The folder itself. One that is not there any more is known by its name only.
pub(super) fn real(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// Who can write in a folder: whoever works in it or above it.
pub(super) fn writers<'a>(folder: &Path, workers: &'a [Worker]) -> Vec<&'a Session> {
    workers.iter().filter(|worker| folder.starts_with(&worker.folder)).map(|worker| &worker.session).collect()
}

/// Whose letter it is, where these can write.
pub(super) fn writer<'a>(writers: &[&'a Session], from: Option<&Name>) -> Result<&'a Session, String> {
    match (writers, from) {
        ([only], Some(from)) if only.name != *from => Err(format!("no worker `{from}` works in this folder")),
        ([only], _) => Ok(only),
        (several, _) => Err(format!("{} can all write here, so it may be anybody's", names(several))),
    }
}

/// The names of sessions in a sentence.
pub(super) fn names(sessions: &[&Session]) -> String {
    let names: Vec<String> = sessions.iter().map(|session| format!("`{}`", session.name)).collect();
    names.join(" and ")
}

/// Lets a person know that nothing is taken from the outbox of `owner`.
pub(super) async fn alarm(tx: &mut Tx, owner: &Session, writers: &[&Session]) -> Result<()> {
    let message = format!(
        "Letters in the outbox of {} are refused: {} can all write there. Each needs a folder of its own, or MCP.",
        owner.name,
        names(writers)
    );
    let audit = AuditRow::new("attention_raised", message.clone());
    let writers: Vec<&str> = writers.iter().map(|writer| writer.name.as_str()).collect();
    let new = NewAttention {
        kind: SHARED.to_owned(),
        session: Some(owner.id.clone()),
        message,
        evidence: json!({ "folder": owner.cwd, "writers": writers }),
        ..NewAttention::default()
    };
    attention::raise(tx, new, audit).await.map(drop)
}

/// Takes that back, once nobody else can write there.
pub(super) async fn calm(plane: &Plane, owner: &Session) -> Result<()> {
    let ledger = plane.ledger().await?;
    let open = attention::open(&mut *ledger.read().await?, Some(&owner.id), None, limits::LIST_ROWS).await?;
    if open.iter().any(|row| row.kind == SHARED) {
        let mut tx = ledger.write(&plane.actor().await?).await?;
        let sentence = format!("Nobody but {} writes into its outbox any more.", owner.name);
        let audit = AuditRow::new("attention_cleared", sentence).session(&owner.id);
        attention::clear(&mut tx, owner.id.as_str(), SHARED, audit).await?;
        tx.commit().await?;
    }
    Ok(())
}
