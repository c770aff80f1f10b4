//! Stopping a session: its turn, what it still runs, its program, its terminal; and the proof of each.
//!
//! A stop is a delivery of its own kind, accepted together with what it belongs to: whoever reaches the terminal carries
//! it out, and after a crash somebody else does. Each step looks first at what is there, so that it may be taken again.
//! A caller's own session is stopped by the dispatcher, when the turn in which it asked has ended.

mod program;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::TaskId;
use conveyor_model::limits;
use conveyor_model::turn::Coarse;
use conveyor_mux::Gone;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::deliveries;
use conveyor_store::deliveries::AttemptState;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::turns;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

use crate::Plane;
use crate::attention;
use crate::deliver;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::growth;
use crate::ingest;
use crate::message;
use crate::resolve;
use crate::verbs::session_interrupt;

/// Where a stop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopState {
    /// Everything has ended.
    Stopped,
    /// It had ended before.
    AlreadyStopped,
    /// Something of it still runs.
    StillRunning,
    /// The dispatcher does it, when the turn has ended that asked for it.
    Pending,
}

/// What came of stopping one session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// Where it stands.
    pub state: StopState,
    /// How the program ended: `quit` by its own command, `killed` with its pane.
    pub how: Option<String>,
    /// A turn was running and was interrupted.
    pub interrupted: bool,
    /// What still runs, or why it is not stopped.
    pub reason: Option<String>,
}

/// What came of stopping the session of one role.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StopReport {
    /// The session.
    pub session: Name,
    /// Its role.
    pub role: Role,
    /// The delivery, to be asked for later.
    pub command_id: Option<DeliveryId>,
    /// What came of it.
    #[serde(flatten)]
    pub stopped: Stopped,
}

impl Stopped {
    fn in_state(state: StopState, reason: Option<String>) -> Self {
        Self { state, how: None, interrupted: false, reason }
    }

    /// Whether nothing of it runs.
    pub const fn is_over(&self) -> bool {
        match self.state {
            StopState::Stopped | StopState::AlreadyStopped => true,
            StopState::StillRunning | StopState::Pending => false,
        }
    }
}

/// Accepts the stop of a session, in the caller's transaction. Nothing for a session that is gone.
pub(crate) async fn accept(
    plane: &Plane,
    tx: &mut Tx,
    session: &Session,
    task: Option<&TaskId>,
) -> Result<Option<Delivery>> {
    if session.state == SessionState::Gone {
        return Ok(None);
    }
    let mut new = message::new(plane, Kind::Stop, session, "");
    new.task = task.cloned();
    // A pull target's reader could not stop itself: this is never an item of an inbox.
    new.transport = conveyor_model::delivery::Transport::Push;
    new.payload = json!({ "own": is_own(plane, tx, session).await? });
    let sentence = format!("{} is to be stopped ({}).", session.name, new.id);
    let accepted = deliveries::insert(tx, new, AuditRow::new("delivery_accepted", sentence)).await?;
    Ok(Some(accepted.delivery))
}

/// Whether the caller is this session.
async fn is_own(plane: &Plane, tx: &mut Tx, session: &Session) -> Result<bool> {
    let Some(thread) = plane.caller.thread() else { return Ok(false) };
    let caller = conveyor_store::threads::session_of(tx, thread).await?;
    Ok(caller.is_some_and(|caller| caller.id == session.id))
}

/// Carries an accepted stop out, unless it is the caller's own or another host's.
pub(crate) async fn carry_out(
    plane: &Plane,
    session: &Session,
    delivery: Option<&Delivery>,
) -> Result<StopReport> {
    let report = |stopped: Stopped| StopReport {
        session: session.name.clone(),
        role: session.role,
        command_id: delivery.map(|delivery| delivery.id.clone()),
        stopped,
    };
    let Some(delivery) = delivery else {
        return Ok(report(Stopped::in_state(StopState::AlreadyStopped, None)));
    };
    if delivery.payload_json["own"] == true {
        let reason = "it is the caller's own session: the dispatcher stops it when this turn has ended";
        return Ok(report(Stopped::in_state(StopState::Pending, Some(reason.to_owned()))));
    }
    if session.host != plane.environment.host {
        let reason = format!("the dispatcher on {} stops it", session.host);
        return Ok(report(Stopped::in_state(StopState::Pending, Some(reason))));
    }
    // A dispatcher that was woken by the commit may be faster: then its result is waited for.
    let until = Until { stage: Stage::Recorded, patience: limits::STOP_ENDS };
    let carried = deliver::see_through(plane, &delivery.id, &Holder::caller(plane), until).await?;
    let result = carried.delivery.result_json.and_then(|json| serde_json::from_value(json).ok());
    let pending = || Stopped::in_state(StopState::Pending, Some("a dispatcher carries it out".to_owned()));
    Ok(report(result.unwrap_or_else(pending)))
}

/// Goes on with a stop that this holder has leased.
pub(crate) async fn leased(plane: &Plane, delivery: &Delivery, holder: &Holder) -> Result<Option<Wait>> {
    let actor = Actor::Dispatch(holder.name.clone());
    let session = match &delivery.target_session_id {
        Some(id) => resolve::by_id(&mut *plane.ledger().await?.read().await?, id).await?,
        None => {
            return Err(Error::ledger(format!("{} has no target", delivery.id)).hint("conveyor db-doctor"));
        }
    };
    if delivery.payload_json["own"] == true && is_busy(plane, &session).await? {
        return give_back(plane, delivery, &actor).await.map(Some);
    }
    let change = Change { effect_pin: session.tmux_pin_json.clone(), keep_lease: true, ..Change::default() };
    let sentence = format!("{} is being stopped.", session.name);
    let audit = AuditRow::new("session_stop_started", sentence);
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let begun = move_on(&mut tx, delivery, delivery.state, Stage::EffectStarted, &change, audit).await?;
    tx.commit().await?;
    if begun {
        let stopped = stop(plane, &session).await?;
        settle(plane, delivery, &actor, &session, &stopped).await?;
    }
    Ok(None)
}

async fn move_on(
    tx: &mut Tx,
    delivery: &Delivery,
    from: Stage,
    to: Stage,
    change: &Change,
    audit: AuditRow,
) -> Result<bool> {
    let moved =
        deliveries::move_state(tx, &delivery.id, Some(delivery.epoch), from, to, change, audit).await?;
    Ok(moved.is_some())
}

/// The turn that asked for it still runs: its receipt has to reach it first.
async fn give_back(plane: &Plane, delivery: &Delivery, actor: &Actor) -> Result<Wait> {
    let mut tx = plane.ledger().await?.write(actor).await?;
    let again = tx.now().plus(limits::LOOK_AFTER / 2);
    let audit = AuditRow::new("delivery_waits", format!("{} waits: a turn is running.", delivery.id));
    deliveries::release(&mut tx, &delivery.id, delivery.epoch, again, audit).await?;
    tx.commit().await?;
    Ok(Wait::TurnRunning)
}

/// Notes what came of it; a session that is stopped is gone.
async fn settle(
    plane: &Plane,
    delivery: &Delivery,
    actor: &Actor,
    session: &Session,
    stopped: &Stopped,
) -> Result<()> {
    let mut tx = plane.ledger().await?.write(actor).await?;
    let reason = stopped.reason.clone().unwrap_or_default();
    let error = (!stopped.is_over()).then(|| Error::environment(format!("still running: {reason}")));
    let to = if stopped.is_over() { Stage::Recorded } else { Stage::Failed };
    let sentence = match &error {
        None => format!("{} is stopped.", session.name),
        Some(error) => format!("{} is not stopped: {error}.", session.name),
    };
    let change = Change { result: Some(json!(stopped)), error: error.clone(), ..Change::default() };
    let audit = AuditRow::new(format!("delivery_{to}"), sentence.clone());
    if !move_on(&mut tx, delivery, Stage::EffectStarted, to, &change, audit).await? {
        return Ok(());
    }
    let state = if error.is_none() { AttemptState::Succeeded } else { AttemptState::Failed };
    let why = error.as_ref().map(|error| error.message.as_str());
    deliveries::finish_attempt(&mut tx, &delivery.id, delivery.epoch, state, why, None).await?;
    if let Some(error) = &error {
        attention::delivery_ended(&mut tx, session, delivery, to, error).await?;
    } else {
        let audit = AuditRow::new("session_stopped", sentence);
        sessions::mark_gone(&mut tx, &session.id, audit).await?;
    }
    tx.commit().await
}

/// Stops a session, as far as it goes.
async fn stop(plane: &Plane, session: &Session) -> Result<Stopped> {
    let Some(pin) = message::pin(session) else { return Ok(without_pane(session)) };
    let before = program::of(plane, session, &pin).await?;
    let (found, how, interrupted) = match plane.mux.check(&pin).await? {
        PinCheck::Ours { .. } => {
            let interrupted = end_turn(plane, session).await?;
            let quit = program::quit(plane, session, &pin, &before).await?;
            close(plane, session, &pin).await?;
            (true, Some(if quit { "quit" } else { "killed" }.to_owned()), interrupted)
        }
        PinCheck::Gone { what: Gone::Program } => {
            close(plane, session, &pin).await?;
            (false, None, false)
        }
        PinCheck::Gone { what: Gone::Server | Gone::Pane } | PinCheck::Changed { .. } => (false, None, false),
    };
    let left = program::wait_for_end(plane, &before).await;
    let still = if left.is_empty() {
        thread_goes_on(plane, session).await?
    } else {
        Some(format!("processes {}", program::listed(&left)))
    };
    let state = match (&still, found) {
        (Some(_), _) => StopState::StillRunning,
        (None, true) => StopState::Stopped,
        (None, false) => StopState::AlreadyStopped,
    };
    Ok(Stopped { state, how, interrupted, reason: still })
}

/// Without a proved pane only a process that has ended is known to be stopped.
fn without_pane(session: &Session) -> Stopped {
    match program::agent(session) {
        Some(process) if process.is_alive() => {
            let reason = format!("no pane of it is proved; its process is {}, end it by hand", process.pid);
            Stopped::in_state(StopState::StillRunning, Some(reason))
        }
        Some(_) => Stopped::in_state(StopState::AlreadyStopped, None),
        None => {
            let reason = "neither its pane nor its process is known; end it by hand".to_owned();
            Stopped::in_state(StopState::StillRunning, Some(reason))
        }
    }
}

/// Closes the pinned pane; the whole tmux session only if conveyor made it.
async fn close(plane: &Plane, session: &Session, pin: &Pin) -> Result<()> {
    if session.started_by_conveyor {
        plane.mux.kill_session(pin).await?;
    } else {
        plane.mux.kill_pane(pin).await?;
    }
    Ok(())
}

/// Interrupts a running turn and waits for its end in the session's own record. Whether one was interrupted.
async fn end_turn(plane: &Plane, session: &Session) -> Result<bool> {
    if !is_busy(plane, session).await? {
        return Ok(false);
    }
    let why = session_interrupt::Why::Stop;
    if let session_interrupt::Wanted::Yes(delivery) = session_interrupt::wanted(plane, session, why).await? {
        session_interrupt::carry(plane, &delivery).await?;
    }
    let deadline = plane.clock.now().plus(limits::TURN_ENDS);
    while plane.clock.now() < deadline {
        if !is_busy(plane, session).await? {
            break;
        }
        growth::of_session(plane, session, limits::START_LOOK).await?;
    }
    Ok(true)
}

async fn is_busy(plane: &Plane, session: &Session) -> Result<bool> {
    ingest::session(plane, session).await?;
    let turn = turns::get(&mut *plane.ledger().await?.read().await?, &session.id).await?;
    Ok(turn.is_some_and(|row| ingest::turn_of(&row).coarse() == Coarse::Busy))
}

/// Whether a thread of the shared daemon goes on without its terminal: a turn that has not ended, a command, or records
/// that still come. An embedded one ends with its process.
async fn thread_goes_on(plane: &Plane, session: &Session) -> Result<Option<String>> {
    match session.owner_kind {
        OwnerKind::Embedded => return Ok(None),
        OwnerKind::Daemon | OwnerKind::Unknown => {}
    }
    let mut quiet_since = plane.clock.now();
    let deadline = quiet_since.plus(limits::STOPPED_QUIET * 2);
    loop {
        let new = ingest::session(plane, session).await?.new_events;
        let busy = is_busy(plane, session).await?;
        let now = plane.clock.now();
        if new > 0 || busy {
            quiet_since = now;
        }
        if now.since(quiet_since) >= limits::STOPPED_QUIET {
            break;
        }
        if now >= deadline {
            let what = if busy { "its turn runs on" } else { "its thread is not quiet" };
            return Ok(Some(format!("{what} in Codex's shared daemon")));
        }
        growth::of_session(plane, session, limits::STOPPED_QUIET / 8).await?;
    }
    let commands = program::commands(plane, session).await?;
    Ok((!commands.is_empty()).then(|| format!("processes {}", program::listed(&commands))))
}
