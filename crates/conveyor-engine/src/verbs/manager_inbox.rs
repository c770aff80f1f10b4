//! `manager-inbox`: what was sent to a task's manager and is read by it itself.

use clap::Args;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::inbox;
use crate::inbox::Asked;
use crate::inbox::InboxReport;
use crate::inbox::Whose;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Read the inbox of a task's manager
///
/// Lists what waits there, oldest first. `--consume-next` takes the oldest message: it counts as read when the reader's
/// own record shows it, when it is acknowledged with `--ack`, or when a reader without a known record asks for the next
/// one; else it is offered again, marked `redelivered`. `--wait` waits until there is something; a time-out is not an
/// error. Each call counts as a sign of life.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ManagerInboxRequest {
    /// The task, by name or id
    pub task: String,
    /// Take the oldest message
    #[arg(long)]
    #[serde(default)]
    pub consume_next: bool,
    /// Wait until there is something
    #[arg(long)]
    #[serde(default)]
    pub wait: bool,
    /// Seconds to wait at most
    #[arg(long, default_value_t = inbox::timeout(), allow_negative_numbers = true)]
    #[serde(default = "inbox::timeout")]
    pub timeout: f64,
    /// Accepted for older scripts; a wait is woken at once and polls nothing
    #[arg(long, default_value_t = inbox::interval(), allow_negative_numbers = true)]
    #[serde(default = "inbox::interval")]
    pub interval: f64,
    /// Messages that are listed at most
    #[arg(long, default_value_t = inbox::limit())]
    #[serde(default = "inbox::limit")]
    pub limit: u32,
    /// Confirm a message as read, by its id or command id
    #[arg(long, value_name = "ID")]
    #[serde(default)]
    pub ack: Vec<String>,
}

impl ManagerInboxRequest {
    fn asked(&self) -> Asked {
        Asked {
            consume_next: self.consume_next,
            wait: self.wait,
            timeout: self.timeout,
            interval: self.interval,
            limit: self.limit,
            ack: self.ack.clone(),
        }
    }
}

impl Request for ManagerInboxRequest {
    fn check(&self) -> Result<()> {
        self.asked().check()
    }
}

/// The verb.
pub struct ManagerInbox;

impl Verb for ManagerInbox {
    const NAME: &'static str = "manager-inbox";
    const GROUP: Group = Group::Carry;
    const EFFECT: Effect = Effect::Writes;
    const FORM: Form = Form::Narrative;
    const LEAST: &'static [&'static str] = &["task-1"];
    type Request = ManagerInboxRequest;
    type Report = InboxReport;

    async fn run(plane: &Plane, request: ManagerInboxRequest) -> Result<InboxReport> {
        let asked = request.asked();
        inbox::read(plane, Whose::Manager(request.task), &asked).await
    }
}
