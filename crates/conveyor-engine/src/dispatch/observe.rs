//! Reading the rollouts of all followed sessions. One that cannot be read wants attention and stops nothing.

use std::collections::HashMap;
use std::collections::HashSet;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use serde_json::json;

use super::Dispatch;
use crate::Plane;
use crate::identify;
use crate::ingest;

/// What a rollout that cannot be read raises.
const TROUBLE: &str = "rollout_unreadable";

/// Reads all followed sessions of this host once.
pub(super) async fn all(d: &Dispatch<'_>) -> Result<()> {
    let mut troubled = troubled(d.plane).await?;
    for session in followed(d.plane).await?.into_values() {
        if d.plane.is_asked_to_stop() {
            break;
        }
        // What a person began while nobody watched is not told by anything.
        identify::standing(d.plane, &session).await?;
        one(d.plane, &session, &mut troubled).await?;
    }
    Ok(())
}

/// The active sessions of this host.
pub(super) async fn followed(plane: &Plane) -> Result<HashMap<SessionId, Session>> {
    let wanted = sessions::Wanted {
        state: Some(SessionState::Active),
        host: Some(plane.environment.host.clone()),
        ..sessions::Wanted::default()
    };
    let mut reader = plane.ledger().await?.read().await?;
    let listed = sessions::list(&mut reader, &wanted, limits::FOLLOWED_SESSIONS).await?;
    Ok(listed.into_iter().map(|session| (session.id.clone(), session)).collect())
}

/// Sessions whose rollouts could not be read when they were last tried.
pub(super) async fn troubled(plane: &Plane) -> Result<HashSet<SessionId>> {
    let mut reader = plane.ledger().await?.read().await?;
    let open = attention::open(&mut reader, None, None, limits::FOLLOWED_SESSIONS).await?;
    Ok(open.into_iter().filter(|row| row.kind == TROUBLE).filter_map(|row| row.session_id).collect())
}

/// Reads one session. Trouble with its rollout is noted; trouble with the ledger is the caller's.
pub(super) async fn one(plane: &Plane, session: &Session, troubled: &mut HashSet<SessionId>) -> Result<()> {
    match ingest::session(plane, session).await {
        Ok(_) if troubled.remove(&session.id) => clear(plane, session).await,
        Ok(_) => Ok(()),
        Err(error) if error.kind == conveyor_model::ErrorKind::Ledger => Err(error),
        Err(error) => {
            troubled.insert(session.id.clone());
            raise(plane, session, &error).await
        }
    }
}

async fn raise(plane: &Plane, session: &Session, error: &Error) -> Result<()> {
    let message = format!("The rollout of {} cannot be read: {error}.", session.name);
    let new = NewAttention {
        kind: TROUBLE.to_owned(),
        session: Some(session.id.clone()),
        message: message.clone(),
        evidence: json!({ "error": error }),
        ..NewAttention::default()
    };
    let mut tx = plane.ledger().await?.write(&Actor::Conveyor).await?;
    attention::raise(&mut tx, new, AuditRow::new("attention_raised", message)).await?;
    tx.commit().await
}

async fn clear(plane: &Plane, session: &Session) -> Result<()> {
    let audit = AuditRow::new("attention_cleared", format!("The rollout of {} is read again.", session.name));
    let mut tx = plane.ledger().await?.write(&Actor::Conveyor).await?;
    attention::clear(&mut tx, session.id.as_str(), TROUBLE, audit.session(&session.id)).await?;
    tx.commit().await
}
