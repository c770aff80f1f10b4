//! Raising and clearing what a person or a manager has to look at.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Session;
use serde_json::json;

/// A delivery waits for something that does not pass by itself: a dialog, a draft, somebody who scrolls.
pub(crate) async fn delivery_waits(
    tx: &mut Tx,
    session: &Session,
    delivery: &Delivery,
    wait: Wait,
) -> Result<()> {
    let message = match wait {
        // That a thread is unknown is raised for the session, once for all its messages.
        Wait::Queued | Wait::NotYet | Wait::SecondLook | Wait::TurnRunning | Wait::Thread | Wait::Held(_) => {
            return Ok(());
        }
        Wait::Screen(kind) => format!("{} shows {}; a message waits for it.", session.name, kind.as_str()),
        Wait::Draft => format!("{} has a draft in its composer; a message waits for it.", session.name),
        Wait::CopyMode => format!("Somebody scrolls in the pane of {}; a message waits.", session.name),
        Wait::Popup => format!("A list is open in {}; a message waits.", session.name),
    };
    raise(tx, "delivery_waits", session, delivery, message).await
}

/// A delivery ended without proof.
pub(crate) async fn delivery_ended(
    tx: &mut Tx,
    session: &Session,
    delivery: &Delivery,
    to: Stage,
    error: &Error,
) -> Result<()> {
    let message = format!("A message for {} is {to}: {error}.", session.name);
    raise(tx, &format!("delivery_{to}"), session, delivery, message).await
}

/// A delivery got its proof or was taken back: nothing about it wants attention any more.
pub(crate) async fn delivery_settled(tx: &mut Tx, delivery: &Delivery) -> Result<()> {
    for kind in ["delivery_waits", "delivery_unproved", "delivery_blocked", "delivery_failed"] {
        let audit = AuditRow::new("attention_cleared", format!("{} no longer wants attention.", delivery.id));
        attention::clear(tx, delivery.id.as_str(), kind, audit.delivery(&delivery.id)).await?;
    }
    Ok(())
}

async fn raise(
    tx: &mut Tx,
    kind: &str,
    session: &Session,
    delivery: &Delivery,
    message: String,
) -> Result<()> {
    let audit = AuditRow::new("attention_raised", message.clone()).delivery(&delivery.id);
    let new = NewAttention {
        kind: kind.to_owned(),
        session: Some(session.id.clone()),
        task: delivery.task_id.clone(),
        delivery: Some(delivery.id.clone()),
        message,
        evidence: json!({ "state": delivery.state, "kind": delivery.kind }),
    };
    attention::raise(tx, new, audit).await.map(drop)
}
