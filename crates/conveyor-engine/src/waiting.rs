//! What a delivery waits for, in words.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::DeliveryId;
use conveyor_store::Db;
use conveyor_store::audit;
use conveyor_store::deliveries::Delivery;

use crate::gate;

/// What an open or unsettled delivery waits for; nothing when it is through or was taken back.
pub(crate) async fn waits_for(db: &mut Db, delivery: &Delivery, now: Timestamp) -> Result<Option<String>> {
    let held = || delivery.leased_by.as_deref().unwrap_or("somebody");
    Ok(match delivery.state {
        Stage::Pending if delivery.inbox_at.is_some() => Some("its reader, in the inbox".to_owned()),
        Stage::Pending => Some(pending(db, delivery, now).await?),
        Stage::Leased => Some(format!("{} carries it out", held())),
        Stage::EffectStarted => {
            Some(looked(db, &delivery.id).await?.unwrap_or_else(|| "the submit key".to_owned()))
        }
        Stage::Submitted => {
            Some(looked(db, &delivery.id).await?.unwrap_or_else(|| "the agent's own record".to_owned()))
        }
        Stage::Recorded => (delivery.transport == Transport::Push).then(|| "the end of the turn".to_owned()),
        Stage::Blocked | Stage::Failed | Stage::Unproved => {
            Some(format!("a decision: {}", delivery.error.as_deref().unwrap_or("it did not succeed")))
        }
        Stage::Answered | Stage::Expired | Stage::Cancelled => None,
    })
}

async fn pending(db: &mut Db, delivery: &Delivery, now: Timestamp) -> Result<String> {
    if delivery.target_session_id.is_none() {
        return Ok("a binding of its task".to_owned());
    }
    if delivery.attempts == 0 && delivery.available_at > now {
        return Ok(format!("its time, {}", delivery.available_at));
    }
    if let Some(hold) = gate::held(db, delivery).await? {
        return Ok(format!("the end of a hold: {}", hold.words()));
    }
    Ok(looked(db, &delivery.id).await?.unwrap_or_else(|| "somebody who carries it out".to_owned()))
}

/// What the last attempt found in its way.
async fn looked(db: &mut Db, id: &DeliveryId) -> Result<Option<String>> {
    let wanted = audit::Wanted {
        delivery: Some(id.clone()),
        kinds: vec!["delivery_waits".to_owned()],
        newest_first: true,
        ..audit::Wanted::default()
    };
    let last = audit::list(db, &wanted, 1).await?.pop();
    let payload = last.and_then(|row| row.payload_json);
    Ok(payload.and_then(|payload| Some(payload.get("waits_for")?.as_str()?.to_owned())))
}
