//! Putting a row aside: it was seen and decided on.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::attention;
use conveyor_store::attention::Attention;
use conveyor_store::deliveries;
use conveyor_store::sessions::Role;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Caller;
use crate::Plane;
use crate::caller::decide::may_decide;
use crate::glance;
use crate::glance::AttentionRow;

/// What was put aside.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Dismissed {
    /// The row.
    pub dismissed: AttentionRow,
    /// It was put aside before; nothing changed.
    pub already_dismissed: bool,
    /// What to run next: what else wants attention.
    pub next: String,
}

impl Dismissed {
    pub(super) fn text(&self) -> String {
        let how = if self.already_dismissed { "dismissed before" } else { "dismissed" };
        let AttentionRow { id, message, .. } = &self.dismissed;
        format!("{how}: {id}, {message}\nnext: {}\n", self.next)
    }
}

pub(super) async fn run(plane: &Plane, id: i64) -> Result<Dismissed> {
    plane.ledger_that_exists().await?;
    let actor = plane.actor().await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let row = attention::get(&mut tx, id).await?.filter(|row| row.cleared_at.is_none());
    let row = row.ok_or_else(|| not_open(plane, id))?;
    may_dismiss(plane, &mut tx, &row).await?;
    let already_dismissed = row.dismissed_at.is_some();
    let audit =
        AuditRow::new("attention_dismissed", format!("Attention {id} was dismissed: {}", row.message));
    let row = attention::dismiss(&mut tx, id, audit).await?.ok_or_else(|| not_open(plane, id))?;
    let mut shown = glance::rows(&mut tx, std::slice::from_ref(&row)).await?;
    let dismissed = shown.pop().ok_or_else(|| not_open(plane, id))?;
    if already_dismissed {
        tx.roll_back().await;
    } else {
        tx.commit().await?;
    }
    Ok(Dismissed { dismissed, already_dismissed, next: plane.command(&["attention"]) })
}

fn not_open(plane: &Plane, id: i64) -> Error {
    Error::not_found(format!("nothing with the number {id} wants attention"))
        .hint(plane.command(&["attention"]))
}

/// A person may put anything aside. A manager may do so with what became of its own deliveries: a dialog, a quota or a
/// hold is a person's to see for as long as it lasts, and a worker decides on nothing.
///
/// Errors: refused.
async fn may_dismiss(plane: &Plane, db: &mut Db, row: &Attention) -> Result<()> {
    if plane.caller == Caller::Person {
        return Ok(());
    }
    let delivery = match &row.delivery_id {
        Some(id) if glance::is_about_an_end(row) => deliveries::get(db, id).await?,
        Some(_) | None => None,
    };
    let Some(delivery) = delivery else {
        return Err(Error::refused(format!("a row of the kind `{}` goes when its cause is over", row.kind))
            .hint("end the cause, or ask a person to dismiss it"));
    };
    if let Some(thread) = plane.caller.thread()
        && let Some(session) = threads::session_of(db, thread).await?
        && session.role == Role::Worker
    {
        return Err(Error::refused(format!("the worker `{}` does not decide on deliveries", session.name))
            .hint("ask a person, or the manager of the task"));
    }
    may_decide(plane, db, &delivery).await
}
