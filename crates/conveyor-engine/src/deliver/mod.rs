//! Carrying out deliveries through a terminal. What is done next is decided by `conveyor_model::delivery::decide`; this
//! module looks, acts and notes. The first attempt and a successor after a crash go the same way.

mod attempt;
mod keys;
mod look;

use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::ids::DeliveryId;
use conveyor_model::limits;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;

use self::attempt::Attempt;
use crate::Plane;

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

/// Carries out one delivery as far as it goes now. Order is the ledger's: whoever has to go first goes first.
///
/// Errors leave the delivery as the ledger has it: a successor goes on from there.
pub async fn carry_out(plane: &Plane, id: &DeliveryId, holder: &Holder, until: Until) -> Result<Carried> {
    let ledger = plane.ledger().await?;
    let mut tx = ledger.write(&Actor::Dispatch(holder.name.clone())).await?;
    let lease = deliveries::lease(&mut tx, id, &holder.name, holder.lease).await?;
    tx.commit().await?;
    match lease {
        Some(lease) => leased(plane, lease.delivery, holder, until).await,
        None => Ok(Carried { delivery: get(plane, id).await?, wait: None, elsewhere: true }),
    }
}

/// Goes on with a delivery that this holder has leased.
pub async fn leased(plane: &Plane, delivery: Delivery, holder: &Holder, until: Until) -> Result<Carried> {
    let Some(mut attempt) = Attempt::begin(plane, delivery.clone(), holder, until).await? else {
        return Ok(Carried { delivery: get(plane, &delivery.id).await?, wait: None, elsewhere: false });
    };
    let kind: Kind = delivery.kind.parse()?;
    let wait = if kind.is_message() { attempt.message().await? } else { attempt.keys(kind).await? };
    Ok(Carried { delivery: get(plane, &delivery.id).await?, wait, elsewhere: false })
}

async fn get(plane: &Plane, id: &DeliveryId) -> Result<Delivery> {
    let ledger = plane.ledger().await?;
    deliveries::get(&mut *ledger.read().await?, id)
        .await?
        .ok_or_else(|| conveyor_model::Error::not_found(format!("there is no delivery {id}")))
}
