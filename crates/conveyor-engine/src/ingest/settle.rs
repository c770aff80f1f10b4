//! Settling deliveries: a record that holds the token proves the delivery, the end of that turn answers it.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::compaction::SlashCommand;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::rollout;
use conveyor_model::rollout::Event;
use conveyor_model::turn::Outcome;
use conveyor_model::turn::Turn;
use conveyor_model::turn::TurnEnd;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::deliveries;
use conveyor_store::deliveries::AttemptState;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Session;
use conveyor_store::threads::SessionThread;

use crate::attention;
use crate::inbox;

/// Settles what one record proves: messages by their token, slash commands by their effect.
pub(super) async fn by_record(
    tx: &mut Tx,
    session: &Session,
    thread: &SessionThread,
    event: &Event,
    id: i64,
    turn: &Turn,
) -> Result<()> {
    if let Some(text) = event.delivered_text() {
        for found in wire::find_messages(text) {
            message(tx, session, thread, event, id, turn, &found).await?;
        }
    }
    if let (rollout::Kind::ToolOutput, Some(output)) = (&event.kind, &event.text) {
        inbox::confirm_by_record(tx, session, output).await?;
    }
    if matches!(event.kind, rollout::Kind::Compacted) {
        slash(tx, session, SlashCommand::Compact, "The thread was compacted").await?;
    }
    if let rollout::Kind::RolledBack { turns } = event.kind {
        taken_back(tx, session, turns, turn).await?;
    }
    Ok(())
}

/// The agent took turns out of its thread again: what a record in them proved, nothing proves any more. The text may stand
/// in the composer; submitted again, it is recorded again.
async fn taken_back(tx: &mut Tx, session: &Session, turns: u64, turn: &Turn) -> Result<()> {
    let answered = turn.receipt_event_id.unwrap_or(0);
    for delivery in deliveries::recorded_behind(tx, &session.id, answered).await? {
        let Some(event) = delivery.recorded_event_id else { continue };
        if !turn.takes_back(turns, event, delivery.recorded_turn_id.as_deref()) {
            continue;
        }
        let error = Error::refused("the agent took it back: its turn was rolled back before it was answered")
            .retry(Retry::Unknown)
            .hint(format!(
                "submit it if it stands in the composer: conveyor session-nudge {} \"\"",
                session.name
            ));
        let audit = AuditRow::new("delivery_unproved", format!("{} was taken back: {error}.", delivery.id));
        let change = Change { error: Some(error.clone()), ..Change::default() };
        deliveries::move_state(tx, &delivery.id, None, delivery.state, Stage::Unproved, &change, audit)
            .await?;
        attention::delivery_ended(tx, session, &delivery, Stage::Unproved, &error).await?;
    }
    Ok(())
}

/// Settles one message that a record holds.
async fn message(
    tx: &mut Tx,
    session: &Session,
    thread: &SessionThread,
    event: &Event,
    id: i64,
    turn: &Turn,
    found: &wire::Found,
) -> Result<()> {
    let Some(delivery) = deliveries::by_token(tx, &found.token).await? else { return Ok(()) };
    if !proves(&delivery, session, thread, event) {
        return Ok(());
    }
    let altered = delivery.wire_digest.as_deref() != Some(&wire::digest(&found.body));
    let change = Change {
        recorded_event: Some(id),
        recorded_turn: event.turn_id.clone().or_else(|| turn.turn_id.clone()),
        altered,
        ..Change::default()
    };
    // Whoever held it to send it again finds it settled.
    deliveries::finish_attempt(tx, &delivery.id, delivery.epoch, AttemptState::Succeeded, None, None).await?;
    let how = if altered { ", with another text than was sent" } else { "" };
    let sentence = format!("Thread {} recorded {}{how}.", thread.thread_id, delivery.id);
    let audit = AuditRow::new("delivery_recorded", sentence);
    deliveries::move_state(tx, &delivery.id, None, delivery.state, Stage::Recorded, &change, audit).await?;
    attention::delivery_settled(tx, &delivery).await
}

/// Whether a record in this thread can be the proof of a delivery: it is for this session, something was begun, and the
/// record lies behind where the rollout ended at that moment.
fn proves(delivery: &Delivery, session: &Session, thread: &SessionThread, event: &Event) -> bool {
    let behind = match (&delivery.effect_thread_id, delivery.effect_offset) {
        (Some(began), Some(offset)) if *began == thread.thread_id => event.offset as i64 >= offset,
        // Another thread of the same session: it went on after `/clear`, a fork or a resume.
        (Some(_) | None, Some(_) | None) => true,
    };
    delivery.target_session_id.as_ref() == Some(&session.id)
        && delivery.effect_at.is_some()
        && delivery.state.takes_record()
        && behind
}

/// Settles what the end of a turn answers.
pub(super) async fn by_end(tx: &mut Tx, session: &Session, end: &TurnEnd) -> Result<()> {
    let turn = end.turn_id.as_deref();
    for delivery in deliveries::recorded_in_turn(tx, &session.id, turn).await? {
        let audit = AuditRow::new("delivery_answered", format!("The turn that holds {} ended.", delivery.id));
        let change = Change::default();
        deliveries::move_state(tx, &delivery.id, None, Stage::Recorded, Stage::Answered, &change, audit)
            .await?;
    }
    match end.outcome {
        Outcome::Aborted => keys(tx, session, Kind::Interrupt, "The turn was aborted").await,
        Outcome::Completed | Outcome::Errored => Ok(()),
    }
}

/// Settles a `/clear` whose effect was proved: the session has another thread than the one in which it was typed.
pub(crate) async fn by_new_thread(tx: &mut Tx, session: &Session) -> Result<()> {
    slash(tx, session, SlashCommand::Clear, "A new thread was proved").await
}

/// Settles what one of the agent's own commands was seen to have done, also when nothing had proved it in time.
async fn slash(tx: &mut Tx, session: &Session, command: SlashCommand, why: &str) -> Result<()> {
    let wanted = deliveries::Wanted {
        target: Some(session.id.clone()),
        kinds: vec![Kind::Slash.as_str().to_owned()],
        states: vec![Stage::Pending, Stage::Leased, Stage::EffectStarted, Stage::Submitted, Stage::Unproved],
        ..deliveries::Wanted::default()
    };
    let open = deliveries::list(tx, &wanted, conveyor_model::limits::LIST_ROWS).await?;
    // What waits to be sent again was submitted once before.
    let begun = open
        .iter()
        .filter(|open| open.submitted_at.is_some() || !matches!(open.state, Stage::Pending | Stage::Leased));
    for delivery in begun.filter(|open| SlashCommand::of(&open.body) == Some(command)) {
        had_its_effect(tx, delivery, why).await?;
        attention::delivery_settled(tx, delivery).await?;
    }
    Ok(())
}

/// Settles deliveries of keys whose effect was seen. An effect proves only what was begun.
async fn keys(tx: &mut Tx, session: &Session, kind: Kind, why: &str) -> Result<()> {
    let open = deliveries::open_for(tx, &session.id, conveyor_model::limits::LIST_ROWS).await?;
    for delivery in open.iter().filter(|open| open.kind == kind.as_str() && open.state.is_open_effect()) {
        had_its_effect(tx, delivery, why).await?;
    }
    Ok(())
}

async fn had_its_effect(tx: &mut Tx, delivery: &Delivery, why: &str) -> Result<()> {
    let audit = AuditRow::new("delivery_recorded", format!("{why}: {} had its effect.", delivery.id));
    let change = Change::default();
    deliveries::move_state(tx, &delivery.id, None, delivery.state, Stage::Recorded, &change, audit)
        .await
        .map(drop)
}
