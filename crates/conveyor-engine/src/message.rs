//! Making a delivery: by which way it goes, its token, its wire text.

use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::DeliveryId;
use conveyor_model::wire;
use conveyor_mux::Pin;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::sessions::Session;

use crate::Plane;

/// A delivery to a session, not stored yet. Its text is the wire text already.
pub fn new(plane: &Plane, kind: Kind, target: &Session, text: &str) -> NewDelivery {
    let mut new = unaddressed(plane, kind, text);
    // A key is never read from an inbox.
    new.transport = if kind.is_message() { transport(target) } else { Transport::Push };
    new.host.clone_from(&target.host);
    new.target = Some(target.id.clone());
    new
}

/// The same to whom its task will be bound to when it is carried out.
pub fn unaddressed(plane: &Plane, kind: Kind, text: &str) -> NewDelivery {
    let id = DeliveryId::new(plane.clock.uuid_v7());
    let token = wire::token(plane.clock.random());
    let body = wire::wire_text(text);
    let host = plane.environment.host.clone();
    let mut new = NewDelivery::new(id, token, kind.as_str(), Transport::Pull, host);
    new.wire_digest = kind.is_message().then(|| wire::digest(&body));
    new.body = body;
    new
}

/// Typed where a pane is proved, else read from the inbox.
pub fn transport(target: &Session) -> Transport {
    match pin(target) {
        Some(_) => Transport::Push,
        None => Transport::Pull,
    }
}

/// What a sender said: the text itself, except where that is conveyor's own words about it.
pub fn said(delivery: &Delivery) -> &str {
    delivery.payload_json["message"].as_str().unwrap_or(&delivery.body)
}

/// The proved pane of a session.
pub fn pin(session: &Session) -> Option<Pin> {
    serde_json::from_value(session.tmux_pin_json.clone()?).ok()
}
