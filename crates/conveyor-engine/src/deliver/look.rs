//! What whoever holds a delivery sees: pane, buffers, screen, queue, record.

use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Buffer;
use conveyor_model::delivery::Composer;
use conveyor_model::delivery::Sight;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Target;
use conveyor_model::limits;
use conveyor_model::pane;
use conveyor_model::pane::Classification;
use conveyor_model::pane::OwnText;
use conveyor_model::wire;
use conveyor_mux::BufferName;
use conveyor_mux::Mux;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Session;

/// The named buffers of one epoch of a delivery. The label goes first, so that it is never missing before a body.
pub(super) struct Buffers {
    pub(super) label: BufferName,
    pub(super) body: BufferName,
}

impl Buffers {
    /// The names under one epoch: token and epoch make them nobody else's.
    pub(super) fn of(token: &str, epoch: i64) -> Result<Self> {
        let name = |part: &str| format!("{}{epoch}-{part}", prefix(token)).parse();
        Ok(Self { label: name("label")?, body: name("body")? })
    }
}

fn prefix(token: &str) -> String {
    format!("conveyor-{token}-")
}

/// Withdraws what earlier epochs loaded. A label that could be deleted was never pasted and now never can be.
pub(super) async fn withdraw(mux: &dyn Mux, pin: &Pin, delivery: &Delivery) -> Result<Buffer> {
    let mut label_withdrawn = false;
    let mut body_withdrawn = false;
    for name in mux.list_buffers(pin, &prefix(&delivery.token)).await? {
        let deleted = mux.delete_buffer(pin, &name).await?;
        label_withdrawn |= deleted && name.as_str().ends_with("-label");
        body_withdrawn |= deleted && name.as_str().ends_with("-body");
    }
    Ok(match (delivery.state, label_withdrawn, body_withdrawn) {
        (Stage::EffectStarted, true, _) => Buffer::Withdrawn,
        (Stage::EffectStarted, false, _) => Buffer::Pasted,
        _ => Buffer::NotKnown,
    })
}

/// What the pinned pane shows, or that it is gone.
pub(super) enum Pane {
    /// It is there.
    Shows(Box<Classification>),
    /// It is gone, or another process has its place.
    Gone,
}

/// Looks at the pane.
pub(super) async fn pane(mux: &dyn Mux, pin: &Pin) -> Result<Pane> {
    match mux.check(pin).await? {
        PinCheck::Gone { .. } | PinCheck::Changed { .. } => Ok(Pane::Gone),
        PinCheck::Ours { .. } => match mux.capture(pin).await {
            Ok(screen) => Ok(Pane::Shows(Box::new(pane::classify(&screen)))),
            Err(error) if error.kind == conveyor_model::ErrorKind::NotFound => Ok(Pane::Gone),
            Err(error) => Err(error),
        },
    }
}

/// The whole sight of one message.
pub(super) fn sight(
    delivery: &Delivery,
    session: &Session,
    pane: &Pane,
    buffer: Buffer,
    turn_running: bool,
    now: Timestamp,
) -> Sight {
    let blank = Sight {
        stage: delivery.state,
        target: gone(session),
        buffer,
        screen: pane::Kind::Unknown,
        copy_mode: false,
        popup: false,
        composer: Composer::Hidden,
        queued: false,
        recorded: false,
        thread_left: false,
        turn_running,
        since_step: since_step(delivery, now),
        nowhere_for: delivery.first_look_at.map_or(Duration::ZERO, |first| now.since(first)),
    };
    match pane {
        Pane::Gone => blank,
        Pane::Shows(seen) => Sight {
            target: Target::Reachable,
            screen: seen.kind,
            copy_mode: seen.in_mode,
            popup: seen.popup,
            composer: composer(seen, delivery),
            queued: seen.is_pending(&delivery.token),
            ..blank
        },
    }
}

/// Only a session that is known to own its turn is known to have ended with its pane.
fn gone(session: &Session) -> Target {
    match session.owner_kind {
        OwnerKind::Embedded => Target::Died,
        OwnerKind::Daemon | OwnerKind::Unknown => Target::Lost,
    }
}

fn since_step(delivery: &Delivery, now: Timestamp) -> Duration {
    let step = match delivery.state {
        Stage::Submitted => delivery.submitted_at.or(delivery.effect_at),
        _ => delivery.effect_at,
    };
    step.map_or(Duration::ZERO, |at| now.since(at))
}

/// The composer, seen from one delivery.
fn composer(seen: &Classification, delivery: &Delivery) -> Composer {
    match &seen.composer {
        pane::Composer::Empty => Composer::Empty,
        pane::Composer::None => Composer::Hidden,
        pane::Composer::Draft(_) if seen.holds_exactly(&own_text(delivery)) => Composer::Ours,
        pane::Composer::Draft(_) if is_hidden(delivery) && seen.holds_exactly(&label_alone(delivery)) => {
            Composer::Ours
        }
        pane::Composer::Draft(text) if text.contains(&delivery.token) => Composer::OursAndForeign,
        pane::Composer::Draft(_) => Composer::Foreign,
    }
}

/// Whether the composer may hold a body without showing it: until the next key, Codex shows only the label when label
/// and a body of over 1,000 characters arrive in one read of the terminal (measured; it is submitted whole).
fn is_hidden(delivery: &Delivery) -> bool {
    wire::body(&delivery.body).chars().count() > limits::PASTE_SHOWN_CHARS
}

/// The label without its body.
fn label_alone(delivery: &Delivery) -> OwnText {
    OwnText { token: delivery.token.clone(), body: String::new() }
}

/// A delivery's text as it may lie unsent in a composer.
pub(super) fn own_text(delivery: &Delivery) -> OwnText {
    OwnText { token: delivery.token.clone(), body: wire::body(&delivery.body) }
}
