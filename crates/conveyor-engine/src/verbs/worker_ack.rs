//! `worker-ack`: what a task's worker says it has understood.

use clap::Args;
use conveyor_model::Result;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::acknowledge;
use crate::acknowledge::AckReport;
use crate::acknowledge::Asked;
use crate::object::JsonObject;
use crate::outbox::Letter;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Record or show what a task's worker has understood
///
/// Without `--from-stdin` and `--payload-json`, shows the latest acknowledgement, or null. With one of them, records a
/// JSON object whose keys are `goal_restatement`, `proposed_criteria`, `expected_tools`, `open_questions` and
/// `ready_to_start`. It counts (`current`) until the task is bound anew or its configuration changes. Only the worker
/// itself, or a person, can record it.
#[derive(Args, Clone, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct WorkerAckRequest {
    /// The task, by name or id
    pub task: String,
    /// Record the JSON object on standard input (on a command line only)
    #[arg(long)]
    #[serde(default)]
    pub from_stdin: bool,
    /// Record this JSON object
    #[arg(long, value_name = "OBJECT")]
    pub payload_json: Option<JsonObject>,
    /// What ties it to other rows
    #[arg(long, value_name = "ID")]
    pub correlation_id: Option<String>,
}

impl WorkerAckRequest {
    fn asked(&self) -> Asked {
        Asked {
            task: self.task.clone(),
            from_stdin: self.from_stdin,
            payload: self.payload_json.clone(),
            correlation_id: self.correlation_id.clone(),
        }
    }
}

impl Request for WorkerAckRequest {
    fn only_reads(&self) -> bool {
        !self.from_stdin && self.payload_json.is_none()
    }

    fn letter(&self) -> Result<Option<Letter>> {
        let payload = JsonObject::typed(self.from_stdin, self.payload_json.clone())?;
        Ok(Some(Letter::WorkerAck(Self { from_stdin: false, payload_json: payload, ..self.clone() })))
    }

    fn check(&self) -> Result<()> {
        self.asked().check()
    }
}

/// The verb.
pub struct WorkerAck;

impl Verb for WorkerAck {
    const NAME: &'static str = "worker-ack";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["task-1"];
    type Request = WorkerAckRequest;
    type Report = AckReport;

    async fn run(plane: &Plane, request: WorkerAckRequest) -> Result<AckReport> {
        acknowledge::run(plane, Role::Worker, request.asked()).await
    }
}
