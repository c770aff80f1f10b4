//! Waiting until an agent records something, without polling.

use std::time::Duration;

use conveyor_agents::Watch;
use conveyor_model::Result;
use conveyor_store::sessions::Session;
use conveyor_store::threads;

use crate::Plane;
use crate::ingest;

/// Returns when a rollout of the session has grown, at the latest after `patience`.
///
/// Subscribe first, then read: whoever calls this reads again afterwards, and a record written in between is found then,
/// because `patience` is short.
pub(crate) async fn of_session(plane: &Plane, session: &Session, patience: Duration) -> Result<()> {
    let current = threads::current(&mut *plane.ledger().await?.read().await?, &session.id).await?;
    let mut watch = Watch::new()?;
    for thread in &current {
        if let Some(path) = ingest::rollout_path(plane, session, thread)? {
            watch.add(&path)?;
        }
    }
    tokio::select! {
        changed = watch.changed() => changed.map(drop),
        () = plane.clock.sleep(patience) => Ok(()),
    }
}
