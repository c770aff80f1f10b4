//! Carrying out deliveries through a terminal. What is done next is decided by `conveyor_model::delivery::decide`; this
//! module looks, acts and notes. The first attempt and a successor after a crash go the same way.

mod attempt;
mod keys;
mod look;
mod slash;

use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::ids::DeliveryId;
use conveyor_model::limits;
use conveyor_model::pane::OwnText;
use conveyor_store::AuditRow;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::Wanted;
use conveyor_store::sessions::Session;

use self::attempt::Attempt;
pub use self::attempt::words;
use crate::Plane;
use crate::gate;
use crate::gate::Verdict;
use crate::growth;

/// Who carries out: the name under which leases are held, and for how long.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The name: a dispatcher's id, or the calling process.
    pub name: String,
    /// How long a lease lasts.
    pub lease: Duration,
}

impl Holder {
    /// The calling process itself.
    pub fn caller(plane: &Plane) -> Self {
        let name = format!("caller-{}-{}", plane.environment.host, plane.environment.pid);
        Self { name, lease: limits::LEASE }
    }
}

/// How far a call follows a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// The stage that is enough.
    pub stage: Stage,
    /// How long to wait for it after the submit key.
    pub patience: Duration,
}

impl Until {
    /// Until the submit key went out: what a dispatcher wants, which comes back for the proof.
    pub const SUBMITTED: Self = Self { stage: Stage::Submitted, patience: Duration::ZERO };
}

/// How far it came.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The delivery as the ledger has it now.
    pub delivery: Delivery,
    /// Why it goes no further now.
    pub wait: Option<Wait>,
    /// Somebody else holds it, or it is not its turn.
    pub elsewhere: bool,
}

/// Carries out one delivery as far as it goes now. Order is kept: what has to go to the same target before it goes first.
///
/// Errors leave the delivery as the ledger has it: a successor goes on from there.
pub async fn carry_out(plane: &Plane, id: &DeliveryId, holder: &Holder, until: Until) -> Result<Carried> {
    loop {
        let wanted = get(plane, id).await?;
        if wanted.state.is_settled() {
            return Ok(Carried { delivery: wanted, wait: None, elsewhere: false });
        }
        if let Some(hold) = gate::held(&mut *plane.ledger().await?.read().await?, &wanted).await? {
            return Ok(Carried { delivery: wanted, wait: Some(Wait::Held(hold)), elsewhere: false });
        }
        match lease(plane, &wanted, holder).await? {
            None => return Ok(Carried { delivery: wanted, wait: None, elsewhere: true }),
            Some(first) if first.id == *id => return Box::pin(leased(plane, first, holder, until)).await,
            Some(first) => {
                // What goes first and cannot go now holds up what comes after it; asking again at once would never end.
                let before = Box::pin(leased(plane, first, holder, Until::SUBMITTED)).await?;
                if before.wait.is_some() && before.delivery.state != Stage::Submitted {
                    return Ok(Carried { delivery: wanted, wait: before.wait, elsewhere: true });
                }
            }
        }
    }
}

/// The same, and then follows it until it is as far as the caller wants, whoever carries it out.
pub async fn see_through(plane: &Plane, id: &DeliveryId, holder: &Holder, until: Until) -> Result<Carried> {
    let bell = plane.ledger().await?.bell().await?;
    let deadline = plane.clock.now().plus(until.patience);
    let mut waits = None;
    loop {
        let mut carried = carry_out(plane, id, holder, until).await?;
        // Between two tries nobody looks; what the last look found still stands.
        waits = carried.wait.or(waits);
        carried.wait = waits.filter(|_| !carried.delivery.state.is_settled());
        let remaining = deadline.since(plane.clock.now());
        let stage = carried.delivery.state;
        let ended = stage.is_settled() && stage != Stage::Recorded;
        if ended || matches!(carried.wait, Some(Wait::Held(_))) || stage >= until.stage || remaining.is_zero()
        {
            return Ok(carried);
        }
        let patience = remaining.min(limits::SEE_AGAIN);
        if stage == Stage::Recorded {
            read_on(plane, &carried.delivery, patience).await?;
        } else {
            bell.rung_within(&*plane.clock, patience).await;
        }
    }
}

/// Waits for the agent to record more and reads it: the end of a turn answers what it holds.
async fn read_on(plane: &Plane, delivery: &Delivery, patience: Duration) -> Result<()> {
    let Some(target) = &delivery.target_session_id else { return Ok(()) };
    let session = crate::resolve::by_id(&mut *plane.ledger().await?.read().await?, target).await?;
    growth::of_session(plane, &session, patience).await?;
    crate::ingest::session(plane, &session).await.map(drop)
}

/// Gives back what the calling process still holds, when it was ended in the middle: nobody has to wait for its leases to
/// run out. The recovery table tells the next holder how each delivery stands.
///
/// Only for a process that carries out one call; nothing of that call may run any more.
pub async fn give_back_all(plane: &Plane) -> Result<()> {
    let Some(ledger) = plane.ledger_that_is_written() else { return Ok(()) };
    let holder = Holder::caller(plane).name;
    let held = deliveries::held_by(&mut *ledger.read().await?, &plane.environment.host, &holder).await?;
    if held.is_empty() {
        return Ok(());
    }
    let mut tx = ledger.write(&Actor::Dispatch(holder)).await?;
    for delivery in held {
        let audit =
            AuditRow::new("delivery_waits", format!("{} was given back: its holder ended.", delivery.id));
        let now = tx.now();
        deliveries::release(&mut tx, &delivery.id, delivery.epoch, now, audit).await?;
    }
    tx.commit().await
}

/// Leases what has to be done for a message's target now: the oldest that is open, or, when only its proof is missing,
/// the message itself. A key is pressed now or never: it waits behind nothing.
async fn lease(plane: &Plane, wanted: &Delivery, holder: &Holder) -> Result<Option<Delivery>> {
    let is_message = wanted.kind.parse::<Kind>()?.is_message();
    let mut tx = plane.ledger().await?.write(&Actor::Dispatch(holder.name.clone())).await?;
    let lease = match &wanted.target_session_id {
        Some(target) if is_message && wanted.state != Stage::Submitted => {
            deliveries::lease_next(&mut tx, target, &holder.name, holder.lease).await?
        }
        Some(_) | None => deliveries::lease(&mut tx, &wanted.id, &holder.name, holder.lease).await?,
    };
    tx.commit().await?;
    Ok(lease.map(|lease| lease.delivery))
}

/// Goes on with a delivery that this holder has leased. What nobody has begun must pass the gate first.
pub async fn leased(plane: &Plane, delivery: Delivery, holder: &Holder, until: Until) -> Result<Carried> {
    if delivery.state == Stage::Leased && !pass_gate(plane, &delivery, holder).await? {
        return Ok(Carried { delivery: get(plane, &delivery.id).await?, wait: None, elsewhere: false });
    }
    if delivery.kind == Kind::Stop.as_str() {
        // It interrupts on its way, which is a delivery of its own and takes the pane's lock by itself.
        let wait = Box::pin(crate::stop::leased(plane, &delivery, holder)).await?;
        return Ok(Carried { delivery: get(plane, &delivery.id).await?, wait, elsewhere: false });
    }
    let Some(mut attempt) = Attempt::begin(plane, delivery.clone(), holder, until).await? else {
        return Ok(Carried { delivery: get(plane, &delivery.id).await?, wait: None, elsewhere: false });
    };
    let kind: Kind = delivery.kind.parse()?;
    let wait = match kind {
        Kind::Slash => attempt.slash().await?,
        _ if kind.is_message() => attempt.message().await?,
        _ => attempt.keys(kind).await?,
    };
    Ok(Carried { delivery: get(plane, &delivery.id).await?, wait, elsewhere: false })
}

/// Whether the gate is open. Else the delivery was ended, or given back to wait for its target.
async fn pass_gate(plane: &Plane, delivery: &Delivery, holder: &Holder) -> Result<bool> {
    let ledger = plane.ledger().await?;
    let verdict = gate::verdict(&mut *ledger.read().await?, delivery).await?;
    let mut tx = match verdict {
        Verdict::Open => return Ok(true),
        Verdict::Held(_) | Verdict::Closed(_) => ledger.write(&Actor::Dispatch(holder.name.clone())).await?,
    };
    match &verdict {
        Verdict::Open => {}
        Verdict::Held(hold) => {
            let audit = AuditRow::new("delivery_waits", format!("{} waits: {}.", delivery.id, hold.words()))
                .payload(serde_json::json!({ "waits_for": hold.words() }));
            deliveries::release(&mut tx, &delivery.id, delivery.epoch, delivery.available_at, audit).await?;
        }
        Verdict::Closed(error) => {
            gate::refuse(&mut tx, delivery, Some(delivery.epoch), error).await?;
        }
    }
    tx.commit().await?;
    Ok(false)
}

/// The texts of ours that may lie unsent in a session's composer: those that were typed into it lately, also the recorded
/// ones, as an interrupt may give them back.
pub(crate) async fn own_texts(plane: &Plane, session: &Session) -> Result<Vec<OwnText>> {
    let wanted = Wanted { target: Some(session.id.clone()), newest_first: true, ..Wanted::default() };
    let ledger = plane.ledger().await?;
    let lately = deliveries::list(&mut *ledger.read().await?, &wanted, limits::LIST_ROWS).await?;
    Ok(lately.iter().filter(|typed| typed.wire_digest.is_some()).map(look::own_text).collect())
}

async fn get(plane: &Plane, id: &DeliveryId) -> Result<Delivery> {
    let ledger = plane.ledger().await?;
    deliveries::get(&mut *ledger.read().await?, id)
        .await?
        .ok_or_else(|| conveyor_model::Error::not_found(format!("there is no delivery {id}")))
}
