//! `resume`: lets a paused task go on.

use clap::Args;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::pause::PauseReport;
use crate::Plane;
use crate::hold;
use crate::resolve;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Let a paused task go on
///
/// What was accepted meanwhile is delivered now, in its order. Only a person pauses and resumes.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// The task, by name or id
    pub task: String,
}

impl Request for ResumeRequest {}

/// The verb.
pub struct Resume;

impl Verb for Resume {
    const NAME: &'static str = "resume";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::No;
    const LEAST: &'static [&'static str] = &["task-1"];
    type Request = ResumeRequest;
    type Report = PauseReport;

    async fn run(plane: &Plane, request: ResumeRequest) -> Result<PauseReport> {
        plane.ledger_that_exists().await?;
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        hold::only_a_person(plane, &mut tx, "resumes a task").await?;
        let task = resolve::task(&mut tx, &request.task).await?;
        let changed = hold::resume(&mut tx, &task).await?;
        let report = PauseReport::of(plane, &mut tx, &task, changed).await?;
        tx.commit().await?;
        Ok(report)
    }
}
