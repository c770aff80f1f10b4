//! `enqueue-notify-manager`: puts a message for a task's manager into the queue.

use clap::Args;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::enqueue;
use crate::enqueue::Asked;
use crate::enqueue::EnqueueReport;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Form;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Put a message for a task's manager into the queue
///
/// The manager gets it typed into its pane where one is proved, else it reads it from its inbox. What a worker says is not
/// typed: the manager is told that there is something, and which command reads it. Nothing is sent before a dispatcher
/// takes it; the receipt says what stands against that as things are now.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct EnqueueNotifyManagerRequest {
    /// The task, by name or id
    pub task: String,
    /// What to say
    #[arg(long, allow_hyphen_values = true)]
    pub message: String,
    /// What ties it to other commands; made from its id when absent
    #[arg(long)]
    pub correlation_id: Option<String>,
    /// A permission that the task's configuration must grant when it is carried out
    #[arg(long, value_name = "NAME")]
    pub required_permission: Option<String>,
    /// A key of yours: the same key and content again is the same command
    #[arg(long)]
    pub idempotency_key: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub available_at: Option<Timestamp>,
    /// How often it may be tried
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<i64>,
}

impl EnqueueNotifyManagerRequest {
    fn asked(&self) -> Asked {
        Asked {
            task: self.task.clone(),
            message: self.message.clone(),
            correlation_id: self.correlation_id.clone(),
            required_permission: self.required_permission.clone(),
            idempotency_key: self.idempotency_key.clone(),
            available_at: self.available_at,
            max_attempts: self.max_attempts,
        }
    }
}

impl Request for EnqueueNotifyManagerRequest {
    fn check(&self) -> Result<()> {
        self.asked().check()
    }
}

/// The verb.
pub struct EnqueueNotifyManager;

impl Verb for EnqueueNotifyManager {
    const NAME: &'static str = "enqueue-notify-manager";
    const GROUP: Group = Group::Carry;
    const EFFECT: Effect = Effect::Writes;
    const FORM: Form = Form::Narrative;
    const AGENTS: Agents = Agents::Any;
    const LEAST: &'static [&'static str] = &["task-1", "--message", "done"];
    type Request = EnqueueNotifyManagerRequest;
    type Report = EnqueueReport;

    async fn run(plane: &Plane, request: EnqueueNotifyManagerRequest) -> Result<EnqueueReport> {
        enqueue::accept(plane, Kind::NotifyManager, &request.asked()).await
    }
}
