//! What `report` answers: what was stored and what became of the notification.

use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::DeliveryId;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::tasks::Task;
use schemars::JsonSchema;
use serde::Serialize;

use super::Status;
use super::Told;
use crate::Plane;
use crate::deliver;
use crate::deliver::Carried;
use crate::glance;
use crate::verb::Report;

/// What became of a report.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ReportAnswer {
    /// The task.
    pub task: Name,
    /// As it was said.
    pub status: Status,
    /// The handoff that holds the message.
    pub handoff_id: Option<i64>,
    /// It was reported before in the same turn; nothing was done again.
    pub deduplicated: bool,
    /// The notification.
    pub command_id: DeliveryId,
    /// Whom it is for.
    pub manager: Option<String>,
    /// By which way it goes.
    pub delivery_mode: Transport,
    /// Where it stands.
    pub state: Stage,
    /// The manager's own record holds it, or the manager has read it.
    pub delivered: bool,
    /// What became of it, in words.
    pub fate: String,
    /// What to run to see how it goes on.
    pub next: String,
}

impl ReportAnswer {
    /// What became of the notification by now.
    pub(super) async fn of(
        plane: &Plane,
        task: &Task,
        told: Told,
        carried: Result<Option<Carried>>,
    ) -> Result<Self> {
        let mut reader = plane.ledger().await?.read().await?;
        let now = deliveries::get(&mut reader, &told.delivery.id).await?.unwrap_or(told.delivery);
        let manager = glance::session_name(&mut reader, now.target_session_id.as_ref()).await?;
        let fate = fate(&now, carried);
        Ok(Self {
            task: task.name.clone(),
            status: told.status,
            handoff_id: told.handoff_id,
            deduplicated: told.deduplicated,
            manager,
            delivery_mode: now.transport,
            state: now.state,
            delivered: matches!(now.state, Stage::Recorded | Stage::Answered),
            fate,
            next: plane.command(&["commands", "--id", now.id.as_str()]),
            command_id: now.id,
        })
    }
}

/// In words what became of a notification. That it could not be carried out from here loses nothing: it is in the queue.
fn fate(now: &Delivery, carried: Result<Option<Carried>>) -> String {
    match now.state {
        Stage::Recorded | Stage::Answered => "the manager has it".to_owned(),
        Stage::Submitted => "submitted; the manager's own record is still to show it".to_owned(),
        Stage::Pending if now.inbox_at.is_some() => "it lies in the manager's inbox".to_owned(),
        Stage::Pending | Stage::Leased | Stage::EffectStarted => match carried {
            Ok(Some(Carried { wait: Some(wait), .. })) => {
                format!("queued; it waits: {}", deliver::words(wait))
            }
            Ok(_) => "queued; a dispatcher brings it".to_owned(),
            Err(error) => format!("queued; it cannot be brought from here ({error}), a dispatcher brings it"),
        },
        Stage::Blocked | Stage::Failed | Stage::Expired | Stage::Unproved | Stage::Cancelled => {
            format!("{}: {}", now.state, now.error.as_deref().unwrap_or("the manager was not reached"))
        }
    }
}

impl Report for ReportAnswer {
    fn text(&self) -> Option<String> {
        let again = if self.deduplicated { " (reported before)" } else { "" };
        Some(format!(
            "{} on {}{again}: {}\nnext: {}\n",
            self.status.as_str(),
            self.task,
            self.fate,
            self.next
        ))
    }
}
