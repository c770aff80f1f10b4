//! Taking a delivery back, or putting it into the queue again.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::delivery::Asked;
use conveyor_model::delivery::Coarse;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wish;
use conveyor_model::delivery::may;
use conveyor_model::ids::DeliveryId;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Plane;
use crate::attention;
use crate::binding;
use crate::caller::decide::may_decide;
use crate::glance::session_name;

/// What was done with a command.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Changed {
    /// The command.
    pub id: DeliveryId,
    /// `cancel`, `retry` or `resend`.
    pub action: &'static str,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// For whom it is: the session's name.
    pub target_session: Option<String>,
    /// Where it stood.
    pub was: Stage,
    /// Where it stands now, coarsely.
    pub state: Coarse,
    /// Where it stands now, exactly.
    pub delivery_state: Stage,
    /// The agent may have seen it before, so that it may arrive twice.
    pub may_arrive_twice: bool,
    /// What to run next: a dispatcher carries it out.
    pub next: Option<String>,
}

impl Changed {
    /// What was done, for a person.
    pub(super) fn text(&self) -> String {
        let target = self.target_session.as_deref().unwrap_or("nobody yet");
        let twice = if self.may_arrive_twice { "; it may arrive twice" } else { "" };
        let done = format!("{} for {target} is {}{twice}\n", self.id, self.delivery_state);
        match &self.next {
            Some(next) => format!("{done}a running dispatcher carries it out; else: {next}\n"),
            None => done,
        }
    }
}

/// Grants a wish, if it may be granted.
pub(super) async fn run(plane: &Plane, wish: Wish, id: &DeliveryId) -> Result<Changed> {
    plane.ledger_that_exists().await?;
    let actor = plane.actor().await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let before = delivery(&mut tx, id).await?;
    may_decide(plane, &mut tx, &before).await?;
    may(wish, asked(&before)).map_err(|error| told(plane, wish, &before, error))?;
    let after = grant(&mut tx, wish, &before).await?;
    let target_session = session_name(&mut tx, after.target_session_id.as_ref()).await?;
    tx.commit().await?;
    Ok(Changed {
        id: after.id,
        action: word(wish),
        kind: after.kind,
        target_session,
        was: before.state,
        state: after.state.coarse(),
        delivery_state: after.state,
        may_arrive_twice: wish != Wish::Cancel && before.effect_at.is_some(),
        next: (wish != Wish::Cancel).then(|| plane.command(&["dispatch", "--once"])),
    })
}

/// A delivery by its id.
pub(super) async fn delivery(db: &mut Db, id: &DeliveryId) -> Result<Delivery> {
    deliveries::get(db, id).await?.ok_or_else(|| {
        Error::not_found(format!("there is no command {id}")).hint("list them: conveyor commands")
    })
}

const fn word(wish: Wish) -> &'static str {
    match wish {
        Wish::Cancel => "cancel",
        Wish::Retry => "retry",
        Wish::Resend => "resend",
    }
}

fn asked(delivery: &Delivery) -> Asked {
    Asked {
        stage: delivery.state,
        begun: delivery.effect_at.is_some(),
        offered: delivery.offers > 0,
        retry_is_safe: delivery.retry.as_deref() == Some("safe"),
    }
}

/// A refusal, with what was asked and complete commands.
fn told(plane: &Plane, wish: Wish, delivery: &Delivery, mut error: Error) -> Error {
    let id = delivery.id.as_str();
    let instead = match &error.hint {
        Some(hint) if hint.contains("--resend") => plane.command(&["commands", "--resend", id]),
        Some(hint) if hint.contains("dispatch") => plane.command(&["dispatch", "--once"]),
        Some(hint) => hint.clone(),
        None => plane.command(&["commands", "--id", id, "--attempts"]),
    };
    error.hint = Some(instead);
    error.during(format!("{} of {id}, which is {}", word(wish), delivery.state))
}

async fn grant(tx: &mut Tx, wish: Wish, before: &Delivery) -> Result<Delivery> {
    let after = match wish {
        Wish::Cancel => binding::cancel(tx, before, "somebody asked for it").await?,
        Wish::Retry => {
            let sentence = format!("{} was {}; it is to be tried again.", before.id, before.state);
            Some(deliveries::resend(tx, &before.id, AuditRow::new("delivery_retried", sentence)).await?)
        }
        Wish::Resend => {
            let sentence =
                format!("{} was {}; it is to be sent again and may arrive twice.", before.id, before.state);
            Some(deliveries::resend(tx, &before.id, AuditRow::new("delivery_resent", sentence)).await?)
        }
    };
    // Nobody can have moved it: it was read in this transaction.
    let after = after.ok_or_else(|| Error::ledger(format!("{} moved while it was held", before.id)))?;
    attention::delivery_settled(tx, &after).await?;
    Ok(after)
}
