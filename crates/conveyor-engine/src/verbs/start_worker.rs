//! `start-worker`: a new Codex in a tmux session of its own, registered as a worker.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::prompt;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::start;
use crate::start::LaunchFlags;
use crate::start::Spec;
use crate::start::StartReport;
use crate::start::Wanted;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Start a Codex session as a worker
///
/// Starts Codex in a new tmux session `codex-<name>`, registers it when its own process proves its thread, and brings it
/// its first message, proved by its own record: who it is, that it does not begin before it is bound, what counts as
/// proof. A dialog before the composer is reported at once, and the message follows when a person has answered it.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct StartWorkerRequest {
    /// Name of the session
    #[arg(long)]
    pub name: Name,
    /// More for its first message: what the work is about
    #[arg(long, alias = "task", allow_hyphen_values = true)]
    #[serde(alias = "task")]
    pub prompt: Option<String>,
    /// Name of the tmux session; `codex-<name>` if left out
    #[arg(long)]
    pub tmux_session: Option<Name>,
    #[expect(missing_docs, reason = "its doc comment would be taken for a heading of the help")]
    #[command(flatten)]
    #[serde(flatten)]
    pub launch: LaunchFlags,
}

impl Request for StartWorkerRequest {
    fn check(&self) -> Result<()> {
        self.launch.check()
    }
}

/// The verb.
pub struct StartWorker;

impl Verb for StartWorker {
    const NAME: &'static str = "start-worker";
    const GROUP: Group = Group::Start;
    const EFFECT: Effect = Effect::Acts;
    const LEAST: &'static [&'static str] = &["--name", "foo"];
    type Request = StartWorkerRequest;
    type Report = StartReport;

    async fn run(plane: &Plane, request: StartWorkerRequest) -> Result<StartReport> {
        let wanted = Wanted {
            name: &request.name,
            role: Role::Worker,
            tmux_session: request.tmux_session.as_ref(),
            flags: &request.launch,
        };
        let spec = start::plan_one(plane, wanted).await?;
        let text = prompt::worker(&facts(plane, &spec, request.prompt));
        let session = start::one(plane, &spec, &text).await?;
        let words = ["bind", "--task", "<task>", "--worker", request.name.as_str(), "--manager", "<manager>"];
        Ok(StartReport { session, next: plane.command(&words) })
    }
}

fn facts(plane: &Plane, spec: &Spec, instructions: Option<String>) -> prompt::Worker {
    prompt::Worker {
        name: spec.name.clone(),
        cwd: spec.cwd.clone(),
        job: None,
        manager: None,
        instructions,
        way: start::way(plane, spec.sandbox),
    }
}
