//! Whether a delivery may be carried out: its binding must hold, its permission must be granted, its target must be there.
//!
//! Everybody who carries out asks here first, so that no other way leads past it. Nothing that is absent grants anything.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery;
use conveyor_model::delivery::Hold;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Passage;
use conveyor_model::delivery::Stage;
use conveyor_model::permission;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::BindingState;
use conveyor_store::configs;
use conveyor_store::deliveries;
use conveyor_store::deliveries::AttemptState;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;

use crate::attention;
use crate::hold;

/// What a gate says of a delivery that nobody has begun.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It may be carried out.
    Open,
    /// Not now: it is paused, or a person has taken its target over.
    Held(Hold),
    /// Not at all.
    Closed(Error),
}

/// Looks at everything that can stand against a delivery.
pub(crate) async fn verdict(db: &mut Db, delivery: &Delivery) -> Result<Verdict> {
    let target = match &delivery.target_session_id {
        Some(id) => sessions::get(db, id).await?,
        None => None,
    };
    let outlives = delivery.kind == Kind::Stop.as_str();
    if let Some(refusal) = missing(target.as_ref()).filter(|_| !outlives) {
        return Ok(Verdict::Closed(refusal));
    }
    if let Some(refusal) = unbound(db, delivery).await? {
        return Ok(Verdict::Closed(refusal));
    }
    if let Some(refusal) = forbidden(db, delivery).await? {
        return Ok(Verdict::Closed(refusal));
    }
    Ok(match passage(db, delivery, delivery.state).await? {
        Passage::Goes => Verdict::Open,
        Passage::Waits(hold) => Verdict::Held(hold),
        Passage::Ends(hold) => Verdict::Closed(kept_from(hold)),
    })
}

/// Whether pauses and take-overs let a delivery that stands here pass now.
pub(crate) async fn passage(db: &mut Db, delivery: &Delivery, stage: Stage) -> Result<Passage> {
    let holds = hold::of_delivery(db, delivery).await?;
    let belongs_to_stop = delivery.payload_json[PART_OF_STOP] == true;
    Ok(delivery::passage(delivery.kind.parse()?, stage, belongs_to_stop, holds))
}

/// What keeps a delivery waiting that nobody has begun.
pub(crate) async fn held(db: &mut Db, delivery: &Delivery) -> Result<Option<Hold>> {
    match passage(db, delivery, delivery.state).await? {
        Passage::Waits(hold) => Ok(Some(hold)),
        Passage::Goes | Passage::Ends(_) => Ok(None),
    }
}

/// What keeps an item of an inbox from its reader: nothing is read by whoever is held.
pub(crate) async fn inbox_hold(db: &mut Db, delivery: &Delivery) -> Result<Option<Hold>> {
    Ok(hold::of_delivery(db, delivery).await?.strongest())
}

/// In the payload of an interrupt that is a step of stopping a session.
pub(crate) const PART_OF_STOP: &str = "part_of_stop";

fn kept_from(hold: Hold) -> Error {
    Error::refused(format!("no key is pressed: {}", hold.words())).hint(match hold {
        Hold::TaskPaused => "conveyor resume <task>",
        Hold::SessionPaused | Hold::TakenOver => "conveyor takeover <session> --release",
    })
}

fn missing(target: Option<&Session>) -> Option<Error> {
    match target {
        None => Some(no_binding()),
        Some(target) => match target.state {
            SessionState::Active => None,
            SessionState::Gone => Some(
                Error::not_found(format!("the session `{}` is gone", target.name))
                    .hint("list those that are there: conveyor sessions"),
            ),
        },
    }
}

fn no_binding() -> Error {
    Error::not_found("the task has no active session-based binding")
        .hint("conveyor bind --task <task> --worker <worker> --manager <manager>")
}

/// Messages between the two sides of a binding go only while it holds.
async fn unbound(db: &mut Db, delivery: &Delivery) -> Result<Option<Error>> {
    if !needs_binding(delivery.kind.parse()?) {
        return Ok(None);
    }
    let binding = match &delivery.binding_id {
        Some(id) => bindings::get(db, id).await?,
        None => None,
    };
    Ok(match binding.map(|binding| binding.state) {
        Some(BindingState::Active) => None,
        Some(BindingState::Ended | BindingState::Invalid) | None => Some(no_binding()),
    })
}

const fn needs_binding(kind: Kind) -> bool {
    match kind {
        Kind::NotifyManager | Kind::NudgeWorker | Kind::WorkerTaskComplete => true,
        Kind::Answer | Kind::Interrupt | Kind::SessionNudge | Kind::Slash | Kind::Stop => false,
    }
}

/// The permission that a delivery needs must be granted by its task's configuration; without one nothing is.
async fn forbidden(db: &mut Db, delivery: &Delivery) -> Result<Option<Error>> {
    let Some(wanted) = &delivery.required_permission else { return Ok(None) };
    Ok((!granted(db, delivery, wanted).await?).then(|| {
        Error::refused(format!("permission_not_enabled: the task's configuration does not grant `{wanted}`"))
            .hint("conveyor manager-config <task> --permissions-json '{...}'")
    }))
}

/// Whether a delivery's task is configured to grant a permission.
pub(crate) async fn granted(db: &mut Db, delivery: &Delivery, wanted: &str) -> Result<bool> {
    let Some(task) = &delivery.task_id else { return Ok(false) };
    let config = configs::get(db, task).await?;
    Ok(config.is_some_and(|config| permission::grants(&config.permissions_json, wanted)))
}

/// Ends a delivery that nobody has begun, because the gate is closed. Nothing when it stands elsewhere by now.
pub(crate) async fn refuse(
    tx: &mut Tx,
    delivery: &Delivery,
    epoch: Option<i64>,
    error: &Error,
) -> Result<Option<Delivery>> {
    let audit = AuditRow::new("delivery_failed", format!("{} is failed: {error}.", delivery.id));
    let change = Change { error: Some(error.clone()), ..Change::default() };
    let (from, to) = (delivery.state, Stage::Failed);
    let failed = deliveries::move_state(tx, &delivery.id, epoch, from, to, &change, audit).await?;
    let Some(failed) = failed else { return Ok(None) };
    if let Some(epoch) = epoch {
        let message = Some(error.message.as_str());
        deliveries::finish_attempt(tx, &failed.id, epoch, AttemptState::Failed, message, None).await?;
    }
    if let Some(target) = &failed.target_session_id
        && let Some(session) = sessions::get(tx, target).await?
    {
        attention::delivery_ended(tx, &session, &failed, to, error).await?;
    }
    Ok(Some(failed))
}
