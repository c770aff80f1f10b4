//! `session-interrupt`: ends the running turn of an agent with one Escape, proved by the rollout.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_model::turn::Coarse;
use conveyor_store::AuditRow;
use conveyor_store::bindings;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::interrupts;
use conveyor_store::sessions::Session;
use conveyor_store::turns;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::Plane;
use crate::caller;
use crate::deliver;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::gate;
use crate::ingest;
use crate::message;
use crate::resolve;
use crate::verb::Agents;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;
use crate::verbs::session_nudge::SessionNudge;
use crate::verbs::session_nudge::SessionNudgeReport;
use crate::verbs::session_nudge::SessionNudgeRequest;

/// Interrupt the running turn of a session
///
/// Sends one Escape while a turn runs, at most once a turn, and reports the end that the session's own record shows. Any
/// key that is asked for means this interrupt: Ctrl-C would quit an idle Codex. An idle session is left alone.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct SessionInterruptRequest {
    /// The session
    pub name: Name,
    /// The key that is meant: `C-c` or `Escape`; both interrupt
    #[arg(long, default_value_t = key())]
    #[serde(default = "key")]
    pub key: String,
    /// A text to send afterwards
    #[arg(long, allow_hyphen_values = true)]
    pub followup: Option<String>,
    /// Interrupt although a message of ours waits for its record: it may come back into the composer
    #[arg(long)]
    #[serde(default)]
    pub force: bool,
    /// Say what would be done and do nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
}

fn key() -> String {
    "C-c".to_owned()
}

impl Request for SessionInterruptRequest {
    fn check(&self) -> Result<()> {
        match self.key.as_str() {
            "C-c" | "Escape" | "Esc" => Ok(()),
            other => Err(Error::usage(format!("`{}` does not interrupt", other.escape_debug()))
                .hint("use C-c or Escape; both send one Escape")),
        }
    }
}

/// What became of it.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SessionInterruptReport {
    /// The session.
    pub session: Name,
    /// As it was asked; the contract's name for it.
    pub key: String,
    /// As it was asked.
    pub key_requested: String,
    /// What was sent: `Escape`, or nothing.
    pub key_sent: Option<&'static str>,
    /// The session's own record shows the end of the turn.
    pub interrupted: bool,
    /// Why nothing was sent, or why nothing shows that it worked.
    pub reason: Option<String>,
    /// Nothing was done.
    pub dry_run: bool,
    /// The delivery, to be asked for later.
    pub command_id: Option<String>,
    /// Where it stands.
    pub state: Option<Stage>,
    /// Where it is sent.
    pub target: String,
    /// The text to follow.
    pub followup: Option<String>,
    /// The text went out or lies in the inbox.
    pub followup_sent: bool,
    /// What became of the text.
    pub followup_report: Option<SessionNudgeReport>,
    /// When.
    pub time: Timestamp,
}

impl Report for SessionInterruptReport {
    fn text(&self) -> Option<String> {
        let outcome = match (self.interrupted, &self.reason) {
            (true, _) => "interrupted".to_owned(),
            (false, Some(reason)) => format!("not interrupted: {reason}"),
            (false, None) => "not interrupted".to_owned(),
        };
        let followup = self.followup_report.as_ref().and_then(Report::text);
        Some(format!("{}: {outcome}\n{}", self.session, followup.unwrap_or_default()))
    }

    fn exit_code(&self) -> u8 {
        let unproved = self.state.is_some_and(conveyor_model::delivery::Stage::is_settled)
            && !self.interrupted
            && self.key_sent.is_some();
        u8::from(unproved).max(self.followup_report.as_ref().map_or(0, Report::exit_code))
    }
}

/// The verb.
pub struct SessionInterrupt;

impl Verb for SessionInterrupt {
    const NAME: &'static str = "session-interrupt";
    const GROUP: Group = Group::Act;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = Agents::Managers;
    const LEAST: &'static [&'static str] = &["foo"];
    type Request = SessionInterruptRequest;
    type Report = SessionInterruptReport;

    async fn run(plane: &Plane, request: SessionInterruptRequest) -> Result<SessionInterruptReport> {
        let ledger = if request.dry_run { plane.ledger_that_exists().await? } else { plane.ledger().await? };
        let mut reader = ledger.read().await?;
        let session = resolve::active_session(&mut reader, &request.name).await?;
        caller::may_reach(plane, &mut reader, &session).await?;
        drop(reader);
        let Some(pin) = message::pin(&session) else {
            return Err(Error::refused(format!(
                "`{}` has no proved pane, so no key can reach it",
                session.name
            ))
            .hint(plane.command(&["sessions", "--name", session.name.as_str()])));
        };
        let mut report = blank(plane, &request, &session, format!("{}:{}", pin.session, pin.pane));
        if request.dry_run {
            return Ok(report);
        }
        match wanted(plane, &session, Why::Asked { force: request.force }).await? {
            Wanted::No(reason) => report.reason = Some(reason),
            Wanted::Yes(delivery) => note(&mut report, carry(plane, &delivery).await?),
        }
        if let Some(text) = &request.followup {
            let sent = followup(plane, &session, text).await?;
            report.followup_sent = sent.side_effect_completed;
            report.followup_report = Some(sent);
        }
        Ok(report)
    }
}

/// Whether there is something to interrupt.
pub(crate) enum Wanted {
    /// No, and why.
    No(String),
    /// Yes, and it was accepted.
    Yes(Box<Delivery>),
}

/// Why a turn is to be interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it.
    Asked {
        /// Although a message of ours waits for its record.
        force: bool,
    },
    /// Its session is being stopped.
    Stop,
}

/// Accepts an interrupt of the turn that runs now.
pub(crate) async fn wanted(plane: &Plane, session: &Session, why: Why) -> Result<Wanted> {
    ingest::session(plane, session).await?;
    let actor = plane.actor().await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let turn = turns::get(&mut tx, &session.id).await?.map(|row| ingest::turn_of(&row)).unwrap_or_default();
    if turn.coarse() == Coarse::Idle {
        return Ok(Wanted::No("no turn is running".to_owned()));
    }
    let open = deliveries::open_for(&mut tx, &session.id, limits::LIST_ROWS).await?;
    if let Some(sent) =
        open.iter().find(|open| open.state == Stage::Submitted && why == Why::Asked { force: false })
    {
        return Err(Error::refused(format!(
            "{} waits for its record; an Escape would return it to the composer",
            sent.id
        ))
        .hint(format!("conveyor session-interrupt {} --force", session.name)));
    }
    let mut new = message::new(plane, Kind::Interrupt, session, "");
    new.payload = json!({ "turn_id": turn.turn_id, gate::PART_OF_STOP: why == Why::Stop });
    if let Some(binding) = bindings::active_of_worker(&mut tx, &session.id).await? {
        (new.task, new.binding) = (Some(binding.task_id), Some(binding.id));
    }
    let key = turn.turn_id.clone().unwrap_or_else(|| format!("unknown-{}", turn.starts));
    let audit = AuditRow::new(
        "interrupt_claimed",
        format!("The turn {key} of {} is to be interrupted.", session.name),
    );
    if !interrupts::claim(&mut tx, &session.id, &key, Some(&new.id), audit).await? {
        return Ok(Wanted::No(
            "this turn was interrupted before; a second Escape opens another screen".to_owned(),
        ));
    }
    let audit = AuditRow::new("delivery_accepted", format!("An interrupt of {} was accepted.", session.name));
    let accepted = deliveries::insert(&mut tx, new, audit).await?.delivery;
    tx.commit().await?;
    Ok(Wanted::Yes(Box::new(accepted)))
}

pub(crate) async fn carry(plane: &Plane, delivery: &Delivery) -> Result<Delivery> {
    let until = Until { stage: Stage::Recorded, patience: limits::RECORD_EXPECTED };
    Ok(deliver::carry_out(plane, &delivery.id, &Holder::caller(plane), until).await?.delivery)
}

fn note(report: &mut SessionInterruptReport, delivery: Delivery) {
    report.key_sent = delivery.effect_at.map(|_| "Escape");
    report.interrupted = matches!(delivery.state, Stage::Recorded | Stage::Answered);
    report.command_id = Some(delivery.id.to_string());
    report.state = Some(delivery.state);
    report.reason = delivery.error;
    report.time = delivery.updated_at;
}

async fn followup(plane: &Plane, session: &Session, text: &str) -> Result<SessionNudgeReport> {
    let request: SessionNudgeRequest = serde_json::from_value(json!({ "name": session.name, "text": text }))
        .map_err(|error| Error::usage(error.to_string()))?;
    crate::verb::Request::check(&request)?;
    SessionNudge::run(plane, request).await
}

fn blank(
    plane: &Plane,
    request: &SessionInterruptRequest,
    session: &Session,
    target: String,
) -> SessionInterruptReport {
    SessionInterruptReport {
        session: session.name.clone(),
        key: request.key.clone(),
        key_requested: request.key.clone(),
        key_sent: None,
        interrupted: false,
        reason: None,
        dry_run: request.dry_run,
        command_id: None,
        state: None,
        target,
        followup: request.followup.clone(),
        followup_sent: false,
        followup_report: None,
        time: plane.clock.now(),
    }
}
