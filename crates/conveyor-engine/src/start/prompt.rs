//! The first message of a session: a delivery like any other.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::limits;
use conveyor_model::pane;
use conveyor_model::pane::Classification;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::bindings::Binding;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use serde_json::json;

use super::Up;
use super::composer;
use crate::Plane;
use crate::deliver;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::message;

/// What became of a first message.
#[derive(Clone, Debug)]
pub struct Prompted {
    /// The delivery.
    pub delivery: Delivery,
    /// The dialog behind which it waits.
    pub dialog: Option<Classification>,
}

/// Refuses a text that could not be typed whole.
pub fn check_length(text: &str) -> Result<()> {
    if text.len() <= limits::WIRE_BYTES && wire::wire_text(text).len() < limits::WIRE_BYTES {
        return Ok(());
    }
    Err(Error::usage(format!("the first message would be longer than {} bytes", limits::WIRE_BYTES))
        .hint("put the long part into a file in the working folder and name the file"))
}

/// Brings a session its first message, and waits until its own record holds it.
///
/// Behind a dialog that is left to a person the message waits in the ledger: a dispatcher brings it when the person has
/// answered.
pub async fn first_message(
    plane: &Plane,
    up: &Up,
    text: &str,
    binding: Option<&Binding>,
) -> Result<Prompted> {
    let delivery = accept(plane, up, text, binding).await?;
    bring(plane, up, delivery).await
}

/// Brings what [`accept`] has accepted.
pub async fn bring(plane: &Plane, up: &Up, delivery: Delivery) -> Result<Prompted> {
    if up.dialog.is_some() {
        return Ok(Prompted { delivery, dialog: up.dialog.clone() });
    }
    let holder = Holder::caller(plane);
    let stop = plane.end_gracefully();
    loop {
        let until = Until { stage: Stage::Recorded, patience: limits::RECORD_EXPECTED };
        let carried = deliver::carry_out(plane, &delivery.id, &holder, until).await?;
        match (carried.delivery.state, carried.wait) {
            (Stage::Recorded | Stage::Answered, _) => {
                return Ok(Prompted { delivery: carried.delivery, dialog: None });
            }
            (state, _) if state.is_settled() => return Err(refused(plane, up, &carried.delivery).await),
            (_, Some(Wait::Screen(kind))) if kind.is_dialog() => {
                let screen = composer::look(plane, &up.session, &up.pin).await?;
                return Ok(Prompted { delivery: carried.delivery, dialog: Some(pane::classify(&screen)) });
            }
            _ => {}
        }
        if *stop.borrow() {
            return Err(Error::interrupted("stopped by a signal while the first message was brought"));
        }
        if plane.clock.now() >= up.deadline {
            let state = carried.delivery.state;
            let message =
                format!("the first message of `{}` is {state}, and the time is over", up.session.name);
            return Err(Error::timeout(message).hint("give it more --timeout-seconds"));
        }
        plane.clock.sleep(limits::START_LOOK).await;
    }
}

/// Accepts a session's first message: from now on whatever else is for it comes behind.
pub async fn accept(plane: &Plane, up: &Up, text: &str, binding: Option<&Binding>) -> Result<Delivery> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let mut new = message::new(plane, Kind::SessionNudge, &up.session, text);
    new.payload = json!({ "first_message": true });
    if let Some(binding) = binding {
        new.task = Some(binding.task_id.clone());
        new.binding = Some(binding.id.clone());
    }
    let sentence = format!("The first message of {} was accepted ({}).", up.session.name, new.id);
    let accepted = deliveries::insert(&mut tx, new, AuditRow::new("delivery_accepted", sentence)).await?;
    tx.commit().await?;
    Ok(accepted.delivery)
}

/// Why a message that will not arrive does not: the program's own last words, when it has ended.
async fn refused(plane: &Plane, up: &Up, delivery: &Delivery) -> Error {
    if let Err(died) = composer::look(plane, &up.session, &up.pin).await {
        return died;
    }
    let why = delivery.error.as_deref().unwrap_or("no reason is noted");
    Error::environment(format!("the first message of `{}` is {}: {why}", up.session.name, delivery.state))
        .hint("look at the session with --keep-on-failure")
}
