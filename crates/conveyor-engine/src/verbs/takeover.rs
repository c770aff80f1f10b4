//! `takeover`: a person drives a session, and gives it back.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::deliveries;
use conveyor_store::sessions;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::hold;
use crate::message;
use crate::resolve;
use crate::statement;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Take a session over, or give it back
///
/// While a person drives it, nothing is typed into it, put into its inbox or pressed for it; messages are accepted and
/// wait. What the agent may have seen already is finished. `--release` gives it back, and what waited is delivered in its
/// order. Only a person takes over and gives back.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct TakeoverRequest {
    /// The session
    pub name: Name,
    /// Give it back
    #[arg(long)]
    #[serde(default)]
    pub release: bool,
    /// Why
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
}

impl Request for TakeoverRequest {
    fn check(&self) -> Result<()> {
        if self.release && self.reason.is_some() {
            return Err(Error::usage("--reason says why a session is taken over"));
        }
        self.reason.as_deref().map_or(Ok(()), |reason| statement::check_text("--reason", reason))
    }
}

/// Who drives a session now.
#[derive(Serialize, JsonSchema, Debug)]
pub struct TakeoverReport {
    /// The session.
    pub session: Name,
    /// Its id.
    pub session_id: SessionId,
    /// Since when a person drives it; null when none does.
    pub taken_over_at: Option<Timestamp>,
    /// False when it stood so before.
    pub changed: bool,
    /// Where it sits: `session:pane`, when that is proved.
    pub pane: Option<String>,
    /// Deliveries that wait, or may go now.
    pub waiting: usize,
    /// What to run next.
    pub next: String,
}

impl Report for TakeoverReport {
    fn text(&self) -> Option<String> {
        let stands = if self.taken_over_at.is_some() { "is yours" } else { "is its agent's" };
        let before = if self.changed { "" } else { " (as before)" };
        Some(format!("{} {stands}{before}; {} wait\nnext: {}\n", self.session, self.waiting, self.next))
    }
}

/// The verb.
pub struct Takeover;

impl Verb for Takeover {
    const NAME: &'static str = "takeover";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = Agents::No;
    const LEAST: &'static [&'static str] = &["foo"];
    type Request = TakeoverRequest;
    type Report = TakeoverReport;

    async fn run(plane: &Plane, request: TakeoverRequest) -> Result<TakeoverReport> {
        plane.ledger_that_exists().await?;
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        hold::only_a_person(plane, &mut tx, "takes a session over").await?;
        let changed = if request.release {
            let session = resolve::session(&mut tx, &request.name).await?;
            hold::give_back(&mut tx, &session).await?
        } else {
            let session = resolve::active_session(&mut tx, &request.name).await?;
            hold::take_over(&mut tx, &session, request.reason.as_deref()).await?
        };
        let session = resolve::session(&mut tx, &request.name).await?;
        let session = sessions::get(&mut tx, &session.id).await?.unwrap_or(session);
        let open = deliveries::open_for(&mut tx, &session.id, limits::LIST_ROWS).await?;
        let name = session.name.as_str();
        let next = match session.taken_over_at {
            Some(_) => plane.command(&["takeover", name, "--release"]),
            None => plane.command(&["tail", name]),
        };
        let report = TakeoverReport {
            pane: message::pin(&session).map(|pin| format!("{}:{}", pin.session, pin.pane)),
            waiting: open.iter().filter(|one| one.inbox_at.is_none()).count(),
            taken_over_at: session.taken_over_at,
            session: session.name.clone(),
            session_id: session.id.clone(),
            changed,
            next,
        };
        tx.commit().await?;
        Ok(report)
    }
}
