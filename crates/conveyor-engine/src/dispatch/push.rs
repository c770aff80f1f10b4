//! What is typed: one target by itself, so that one that is stuck holds up no other.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::Lease;
use conveyor_store::sessions;

use super::Dispatch;
use super::Item;
use super::ItemState;
use super::PermissionCheck;
use super::route;
use crate::deliver;
use crate::deliver::Carried;
use crate::deliver::Until;
use crate::growth;
use crate::ingest;

/// What wants to be done now, and when the next thing does.
pub(super) struct Scan {
    /// Targets, each with those of its submitted messages whose proof is to be looked for.
    pub(super) targets: Vec<(SessionId, Vec<DeliveryId>)>,
    /// When something becomes due that is not due now.
    pub(super) next: Option<Timestamp>,
}

/// Looks for what is due.
pub(super) async fn scan(d: &Dispatch<'_>) -> Result<Scan> {
    let mut reader = d.plane.ledger().await?.read().await?;
    let now = reader.now();
    let mut targets: Vec<(SessionId, Vec<DeliveryId>)> =
        deliveries::ready_targets(&mut reader, d.host(), now)
            .await?
            .into_iter()
            .map(|target| (target, Vec::new()))
            .collect();
    for submitted in deliveries::unwatched(&mut reader, d.host(), now, limits::LIST_ROWS).await? {
        let Some(target) = submitted.target_session_id else { continue };
        match targets.iter_mut().find(|(known, _)| *known == target) {
            Some((_, looks)) => looks.push(submitted.id),
            None => targets.push((target, vec![submitted.id])),
        }
    }
    Ok(Scan { targets, next: deliveries::next_due(&mut reader, d.host(), now).await? })
}

/// How many commands a pass may still begin.
pub(super) struct Budget(AtomicU32);

impl Budget {
    pub(super) fn new(limit: Option<u32>) -> Self {
        Self(AtomicU32::new(limit.unwrap_or(u32::MAX)))
    }

    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Begins nothing more.
    pub(super) fn close(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What became of the work on a target.
enum Worked {
    /// The next one may follow.
    On,
    /// Nothing more for this target now.
    Stop,
}

/// Works on one target until nothing more is due for it or it waits for something. Whether anything was done.
pub(super) async fn target(
    d: &Dispatch<'_>,
    id: &SessionId,
    looks: &[DeliveryId],
    budget: &Budget,
) -> Result<bool> {
    let mut any = false;
    for look in looks {
        any |= Box::pin(prove(d, look)).await?;
    }
    while budget.take() {
        let Some(lease) = next(d, id).await? else { return Ok(any) };
        any = true;
        match Box::pin(carry(d, lease)).await? {
            Worked::On => {}
            Worked::Stop => return Ok(any),
        }
    }
    Ok(any)
}

/// Leases what is due for a target, if it is of a kind that is taken.
async fn next(d: &Dispatch<'_>, id: &SessionId) -> Result<Option<Lease>> {
    let holder = d.holder();
    let mut tx = d.plane.ledger().await?.write(&d.actor()).await?;
    let lease = deliveries::lease_next(&mut tx, id, &holder.name, holder.lease).await?;
    match lease {
        Some(lease) if d.takes(&lease.delivery.kind) => {
            tx.commit().await?;
            Ok(Some(lease))
        }
        // A head of another kind is not ours to take, and order forbids to go past it.
        Some(_) | None => {
            tx.roll_back().await;
            Ok(None)
        }
    }
}

/// Carries out what was leased, and notes what became of it.
async fn carry(d: &Dispatch<'_>, lease: Lease) -> Result<Worked> {
    let recovered = lease.was != Stage::Pending;
    let leased = lease.delivery;
    let carried = match within_time(d, leased.clone()).await {
        Ok(carried) => carried,
        Err(error) => {
            give_back(d, &leased, &error).await?;
            let delivery = now(d, &leased).await?;
            note(d, &delivery, Item { recovered, error: Some(error.message), ..item(d, &delivery).await? })
                .await?;
            return Ok(Worked::Stop);
        }
    };
    let waiting_for = carried.wait.map(deliver::words);
    let delivery = match carried.delivery.state {
        Stage::Submitted => submitted(d, carried.delivery).await?,
        _ => carried.delivery,
    };
    let item = Item { recovered, waiting_for, ..item(d, &delivery).await? };
    let goes_on =
        delivery.state.is_settled() || delivery.state == Stage::Submitted || delivery.inbox_at.is_some();
    note(d, &delivery, item).await?;
    Ok(if goes_on { Worked::On } else { Worked::Stop })
}

/// Gives a target its time and not more; never longer than the lease lasts.
async fn within_time(d: &Dispatch<'_>, leased: Delivery) -> Result<Carried> {
    let holder = d.holder();
    let time = limits::TARGET_TIME.min(holder.lease);
    tokio::select! {
        carried = deliver::leased(d.plane, leased, &holder, Until::SUBMITTED) => carried,
        () = d.plane.clock.sleep(time) => {
            Err(Error::timeout(format!("nothing moved within {} s", time.as_secs())).hint("look at the session"))
        }
    }
}

/// Gives back what could not be carried out now; the recovery table tells the next holder how it stands.
async fn give_back(d: &Dispatch<'_>, leased: &Delivery, error: &Error) -> Result<()> {
    let mut tx = d.plane.ledger().await?.write(&d.actor()).await?;
    let again = tx.now().plus(pause(leased.attempts));
    let audit = AuditRow::new("delivery_waits", format!("{} is tried again later: {error}.", leased.id));
    deliveries::release(&mut tx, &leased.id, leased.epoch, again, audit).await?;
    tx.commit().await
}

/// Doubling with each attempt, up to half a minute.
fn pause(attempts: i64) -> Duration {
    Duration::from_secs(1 << attempts.clamp(0, 5)).min(limits::LOOK_GAP_MAX)
}

/// What was submitted waits for its record: with patience here, else somebody looks when the record is overdue.
async fn submitted(d: &Dispatch<'_>, mut delivery: Delivery) -> Result<Delivery> {
    let begun = d.plane.clock.now();
    let target = match &delivery.target_session_id {
        Some(id) => sessions::get(&mut *d.plane.ledger().await?.read().await?, id).await?,
        None => None,
    };
    while let Some(session) = &target {
        let waited = d.plane.clock.now().since(begun);
        let is_over = waited >= d.settings.patience || d.plane.is_asked_to_stop();
        if delivery.state != Stage::Submitted || is_over {
            break;
        }
        growth::of_session(d.plane, session, limits::LOOK_AFTER / 8).await?;
        ingest::session(d.plane, session).await?;
        delivery = now(d, &delivery).await?;
    }
    if delivery.state == Stage::Submitted {
        let mut tx = d.plane.ledger().await?.write(&d.actor()).await?;
        let look = tx.now().plus(limits::RECORD_EXPECTED);
        let audit = AuditRow::new("delivery_waits", format!("{} waits for its record.", delivery.id));
        deliveries::release(&mut tx, &delivery.id, delivery.epoch, look, audit).await?;
        tx.commit().await?;
    }
    Ok(delivery)
}

/// Looks for the proof of what was submitted. Whether it is settled now.
async fn prove(d: &Dispatch<'_>, id: &DeliveryId) -> Result<bool> {
    let holder = d.holder();
    let mut tx = d.plane.ledger().await?.write(&d.actor()).await?;
    let lease = deliveries::lease(&mut tx, id, &holder.name, holder.lease).await?;
    tx.commit().await?;
    let Some(lease) = lease else { return Ok(false) };
    let leased = lease.delivery;
    if let Err(error) = within_time(d, leased.clone()).await {
        give_back(d, &leased, &error).await?;
    }
    let delivery = now(d, &leased).await?;
    if !delivery.state.is_settled() {
        return Ok(false);
    }
    note(d, &delivery, Item { recovered: true, ..item(d, &delivery).await? }).await?;
    Ok(true)
}

async fn now(d: &Dispatch<'_>, delivery: &Delivery) -> Result<Delivery> {
    let mut reader = d.plane.ledger().await?.read().await?;
    Ok(deliveries::get(&mut reader, &delivery.id).await?.unwrap_or_else(|| delivery.clone()))
}

async fn item(d: &Dispatch<'_>, delivery: &Delivery) -> Result<Item> {
    let mut reader = d.plane.ledger().await?.read().await?;
    let target = route::Names::default().of(&mut reader, delivery.target_session_id.as_ref()).await?;
    let attempt = deliveries::attempts(&mut reader, &delivery.id).await?.last().map(|attempt| attempt.id);
    let permission_check = match &delivery.required_permission {
        Some(wanted) => Some(PermissionCheck {
            allowed: crate::gate::granted(&mut reader, delivery, wanted).await?,
            required_permission: wanted.clone(),
        }),
        None => None,
    };
    Ok(Item { attempt_id: attempt, permission_check, ..Item::of(delivery, d.settings.id.as_str(), target) })
}

/// Notes what became of a delivery, in telemetry too. What only waits is in its audit rows already.
async fn note(d: &Dispatch<'_>, delivery: &Delivery, item: Item) -> Result<()> {
    if item.state != ItemState::Requeued {
        let mut tx = d.plane.ledger().await?.write(&d.actor()).await?;
        route::tell(&mut tx, delivery, &item).await?;
        tx.commit().await?;
    }
    d.note(item);
    Ok(())
}
