//! `session-nudge`: types a text into an agent, proved by its own record; or presses Enter as an answer.

use std::time::Duration;

use clap::Args;
use clap::ValueEnum;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::sessions::Session;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::Plane;
use crate::caller;
use crate::deliver;
use crate::deliver::Carried;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::message;
use crate::resolve;
use crate::steer;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Send a text to a session, proved by its own record
///
/// The text is typed into the session's proved pane and submitted: at once when the agent is idle, as its next turn when
/// it is busy. A session without a proved pane finds it in its inbox. What was accepted is carried out exactly once or is
/// visibly not: `conveyor commands` tells. With `--steer` it goes into the running turn instead of the next one, if that
/// turn asks for no approvals. An empty text presses Enter as the answer to what is on the screen.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct SessionNudgeRequest {
    /// The session
    pub name: Name,
    /// What to say; empty to press Enter as an answer to a dialog
    #[arg(allow_hyphen_values = true, value_parser = no_flag, required_unless_present = "text_after_dashes")]
    pub text: Option<String>,
    /// The same, when it looks like a flag
    #[arg(last = true, value_name = "TEXT", conflicts_with = "text")]
    #[serde(skip)]
    pub text_after_dashes: Option<String>,
    /// Allow Enter to approve a command, an edit or a tool call (only with an empty text)
    #[arg(long)]
    #[serde(default)]
    pub approve: bool,
    /// Put the text into the running turn, refused unless that turn never asks for approvals; with an empty text, allow
    /// Enter to put our own unsent text there
    #[arg(long)]
    #[serde(default)]
    pub steer: bool,
    /// Say what would be done and do nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
    /// Wait for this and fail if it does not come in time
    #[arg(long, value_enum)]
    pub wait_for: Option<WaitFor>,
    /// Seconds to wait for it
    #[arg(long, default_value_t = timeout())]
    #[serde(default = "timeout")]
    pub timeout: u64,
    /// A key of yours: the same key and text again is the same delivery
    #[arg(long)]
    pub idempotency_key: Option<String>,
}

const fn timeout() -> u64 {
    60
}

/// How far a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The submit key went out.
    Submitted,
    /// The agent's own record holds it.
    Recorded,
    /// The turn that holds it has ended.
    Answered,
}

impl WaitFor {
    const fn stage(self) -> Stage {
        match self {
            Self::Submitted => Stage::Submitted,
            Self::Recorded => Stage::Recorded,
            Self::Answered => Stage::Answered,
        }
    }
}

/// A text that begins with `-` is taken when it holds a blank; a lone word like a flag is a mistyped flag.
fn no_flag(text: &str) -> std::result::Result<String, String> {
    let is_lone = text.len() > 1 && text.starts_with('-') && !text.contains(char::is_whitespace);
    if is_lone {
        Err("it looks like a flag; put -- before it if it is the text".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

impl SessionNudgeRequest {
    fn said(&self) -> &str {
        self.text.as_deref().or(self.text_after_dashes.as_deref()).unwrap_or_default()
    }
}

impl Request for SessionNudgeRequest {
    fn check(&self) -> Result<()> {
        if self.text.is_none() && self.text_after_dashes.is_none() {
            return Err(Error::usage("the text is missing").hint("an empty one presses Enter: \"\""));
        }
        let is_answer = self.said().is_empty();
        if !is_answer && self.approve {
            return Err(Error::usage("--approve belongs to an empty text")
                .hint(format!("conveyor session-nudge {} \"\" --approve", self.name)));
        }
        if !is_answer && wire::wire_text(self.said()).is_empty() {
            return Err(Error::usage(
                "nothing of the text can be typed: it holds only blanks and control characters",
            ));
        }
        if is_answer && self.wait_for == Some(WaitFor::Answered) {
            return Err(Error::usage("an answer has no turn of its own; wait for `recorded`"));
        }
        Ok(())
    }
}

/// What became of it.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SessionNudgeReport {
    /// The session.
    pub session: Name,
    /// What is typed behind the label.
    pub text: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// Where it is typed: pane or `inbox`.
    pub target: String,
    /// The delivery, to be asked for later.
    pub command_id: Option<String>,
    /// Where it stands: `pending`, `submitted`, `recorded`, …
    pub state: Option<Stage>,
    /// Its token, as it stands in the label.
    pub token: Option<String>,
    /// The agent's own record holds it.
    pub delivered: bool,
    /// The recorded text differs from the one that was sent.
    pub altered: bool,
    /// From here on the agent may have seen it.
    pub side_effect_started: bool,
    /// The submit key went out, or it lies in the inbox.
    pub side_effect_completed: bool,
    /// It was accepted before under the same key.
    pub deduplicated: bool,
    /// What it waits for.
    pub waiting_for: Option<String>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Whether it may be sent again.
    pub retry: Option<String>,
    /// When.
    pub time: Timestamp,
    /// What to run next.
    pub next: Option<String>,
    /// Whether what the caller waited for has come.
    #[serde(skip)]
    reached: bool,
}

impl Report for SessionNudgeReport {
    fn text(&self) -> Option<String> {
        let state = self.state.map_or("not sent (dry run)", Stage::as_str);
        let mut text = format!("{}: {state}", self.session);
        for (label, detail) in [("waits", &self.waiting_for), ("error", &self.error), ("next", &self.next)] {
            if let Some(detail) = detail {
                text.push_str(&format!("\n{label}: {detail}"));
            }
        }
        Some(text)
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.reached)
    }
}

/// The verb.
pub struct SessionNudge;

impl Verb for SessionNudge {
    const NAME: &'static str = "session-nudge";
    const GROUP: Group = Group::Act;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["foo", "hello there"];
    type Request = SessionNudgeRequest;
    type Report = SessionNudgeReport;

    async fn run(plane: &Plane, request: SessionNudgeRequest) -> Result<SessionNudgeReport> {
        let ledger = if request.dry_run { plane.ledger_that_exists().await? } else { plane.ledger().await? };
        let mut reader = ledger.read().await?;
        let session = resolve::active_session(&mut reader, &request.name).await?;
        caller::may_reach(plane, &mut reader, &session).await?;
        drop(reader);
        let new = wanted(plane, &request, &session);
        if request.steer && new.kind == Kind::SessionNudge.as_str() {
            steer::may(plane, &session, request.dry_run).await?;
        }
        if request.dry_run {
            return Ok(planned(plane, &session, &new));
        }
        let (accepted, deduplicated) = accept(plane, &session, new).await?;
        let until = until(&request, &accepted);
        let carried = follow(plane, &request, &accepted, until).await?;
        Ok(told(plane, &session, &request, carried, deduplicated))
    }
}

/// The delivery that is asked for.
fn wanted(plane: &Plane, request: &SessionNudgeRequest, session: &Session) -> NewDelivery {
    let kind = if request.said().is_empty() { Kind::Answer } else { Kind::SessionNudge };
    let mut new = message::new(plane, kind, session, request.said());
    new.idempotency_key.clone_from(&request.idempotency_key);
    new.payload = match kind {
        Kind::Answer => json!({ "approve": request.approve, "steer": request.steer }),
        _ => json!({ "message": new.body, "signal": kind.as_str(), "steer": request.steer }),
    };
    new
}

/// Accepts it: from here on it is carried out exactly once or is visibly not.
async fn accept(plane: &Plane, session: &Session, mut new: NewDelivery) -> Result<(Delivery, bool)> {
    let actor = plane.actor().await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    if let Some(binding) = bindings::active_of_worker(&mut tx, &session.id).await? {
        new.task = Some(binding.task_id);
        new.binding = Some(binding.id);
        new.source = Some(binding.manager_session_id);
    }
    let sentence = format!("{} for {} was accepted ({}).", new.kind, session.name, new.id);
    let audit = AuditRow::new("delivery_accepted", sentence);
    let enqueued = deliveries::insert(&mut tx, new, audit).await?;
    tx.commit().await?;
    Ok((enqueued.delivery, enqueued.deduplicated))
}

/// Carries it out. Who named a stage waits for it; else the call returns when nothing goes further now.
async fn follow(
    plane: &Plane,
    request: &SessionNudgeRequest,
    delivery: &Delivery,
    until: Until,
) -> Result<Carried> {
    let holder = Holder::caller(plane);
    let carried = deliver::carry_out(plane, &delivery.id, &holder, until).await?;
    if carried.elsewhere || request.wait_for.is_some() {
        return deliver::see_through(plane, &delivery.id, &holder, until).await;
    }
    Ok(carried)
}

/// How far the call follows it. Without a word, to the record of an idle agent, which comes within a quarter second.
fn until(request: &SessionNudgeRequest, delivery: &Delivery) -> Until {
    let is_pull = delivery.transport == conveyor_model::delivery::Transport::Pull;
    match request.wait_for {
        Some(wanted) if !is_pull => {
            Until { stage: wanted.stage(), patience: Duration::from_secs(request.timeout) }
        }
        Some(_) | None => Until { stage: Stage::Recorded, patience: limits::RECORD_EXPECTED },
    }
}

fn told(
    plane: &Plane,
    session: &Session,
    request: &SessionNudgeRequest,
    carried: Carried,
    deduplicated: bool,
) -> SessionNudgeReport {
    let Carried { delivery, wait, .. } = carried;
    let delivered = matches!(delivery.state, Stage::Recorded | Stage::Answered);
    let inbox = delivery.inbox_at.is_some();
    let reached = match request.wait_for {
        Some(wanted) => delivered_as_far(delivery.state, wanted),
        None => !matches!(delivery.state, Stage::Failed | Stage::Blocked | Stage::Unproved | Stage::Expired),
    };
    let next = (!delivered).then(|| next(plane, &delivery, inbox));
    SessionNudgeReport {
        session: session.name.clone(),
        text: delivery.body.clone(),
        dry_run: false,
        target: target(session),
        command_id: Some(delivery.id.to_string()),
        state: Some(delivery.state),
        token: Some(delivery.token.clone()),
        delivered,
        altered: delivery.altered,
        side_effect_started: delivery.effect_at.is_some() || inbox,
        side_effect_completed: delivery.submitted_at.is_some() || inbox,
        deduplicated,
        waiting_for: wait.map(deliver::words),
        error: delivery.error,
        retry: delivery.retry,
        time: delivery.updated_at,
        next,
        reached,
    }
}

/// Whether a stage is as far as was waited for.
fn delivered_as_far(state: Stage, wanted: WaitFor) -> bool {
    match wanted {
        WaitFor::Submitted => matches!(state, Stage::Submitted | Stage::Recorded | Stage::Answered),
        WaitFor::Recorded => matches!(state, Stage::Recorded | Stage::Answered),
        WaitFor::Answered => state == Stage::Answered,
    }
}

/// What to run to see or to further it.
fn next(plane: &Plane, delivery: &Delivery, inbox: bool) -> String {
    match delivery.state {
        Stage::Unproved => plane.command(&["commands", "--resend", delivery.id.as_str()]),
        Stage::Blocked | Stage::Failed => plane.command(&["commands", "--retry", delivery.id.as_str()]),
        Stage::Pending if !inbox => plane.command(&["dispatch", "--once"]),
        _ => plane.command(&["commands", "--type", &delivery.kind]),
    }
}

fn planned(plane: &Plane, session: &Session, new: &NewDelivery) -> SessionNudgeReport {
    SessionNudgeReport {
        session: session.name.clone(),
        text: new.body.clone(),
        dry_run: true,
        target: target(session),
        command_id: None,
        state: None,
        token: None,
        delivered: false,
        altered: false,
        side_effect_started: false,
        side_effect_completed: false,
        deduplicated: false,
        waiting_for: None,
        error: None,
        retry: None,
        time: plane.clock.now(),
        next: None,
        reached: true,
    }
}

/// Where a session is reached.
fn target(session: &Session) -> String {
    message::pin(session).map_or_else(|| "inbox".to_owned(), |pin| format!("{}:{}", pin.session, pin.pane))
}
