//! One attempt at a message under one epoch.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::Timestamp;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Buffer;
use conveyor_model::delivery::Decision;
use conveyor_model::delivery::Passage;
use conveyor_model::delivery::Row;
use conveyor_model::delivery::Sight;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::delivery::decide;
use conveyor_model::limits;
use conveyor_model::pane;
use conveyor_model::wire;
use conveyor_mux::Acted;
use conveyor_mux::Key;
use conveyor_mux::PaneLock;
use conveyor_mux::Pin;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::deliveries;
use conveyor_store::deliveries::AttemptState;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use conveyor_store::turns;
use serde_json::json;

use super::Holder;
use super::Until;
use super::look;
use super::look::Buffers;
use crate::Plane;
use crate::attention;
use crate::gate;
use crate::growth;
use crate::identify;
use crate::identify::Standing;
use crate::ingest;
use crate::message;
use crate::mutant;
use crate::mutant::Mutant;
use crate::steer;

/// One holder's try at one delivery.
pub(super) struct Attempt<'a> {
    pub(super) plane: &'a Plane,
    pub(super) holder: &'a Holder,
    pub(super) until: Until,
    pub(super) session: Session,
    pub(super) pin: Pin,
    pub(super) delivery: Delivery,
    /// Looks in a row that found the screen unchanged.
    unchanged: u32,
    presses: u32,
    /// A predecessor began the effect.
    pub(super) inherited: bool,
    _lock: PaneLock,
}

/// Whether to go round once more.
pub(super) enum Round {
    /// Look and decide again.
    Again,
    /// That is all for now.
    End(Option<Wait>),
}

impl<'a> Attempt<'a> {
    /// Takes the pane's lock. Nothing when the target has no proved pane: then it was put into the inbox.
    pub(super) async fn begin(
        plane: &'a Plane,
        delivery: Delivery,
        holder: &'a Holder,
        until: Until,
    ) -> Result<Option<Self>> {
        let target = delivery.target_session_id.clone();
        let ledger = plane.ledger().await?;
        let session = match &target {
            Some(id) => sessions::get(&mut *ledger.read().await?, id).await?,
            None => None,
        };
        let Some(session) = session else {
            return Err(Error::ledger(format!("{} has no target", delivery.id)).hint("conveyor db-doctor"));
        };
        let began = delivery.effect_pin_json.clone().and_then(|pin| serde_json::from_value(pin).ok());
        let Some(pin) = began.filter(|_| delivery.state.is_open_effect()).or_else(|| message::pin(&session))
        else {
            into_inbox(plane, holder, &delivery).await?;
            return Ok(None);
        };
        let locks = plane.state_dir()?.join("locks");
        let lock = PaneLock::acquire(&locks, &pin, limits::PANE_LOCK).await?;
        let inherited = delivery.state.is_open_effect();
        Ok(Some(Self {
            plane,
            holder,
            until,
            session,
            pin,
            delivery,
            unchanged: 0,
            presses: 0,
            inherited,
            _lock: lock,
        }))
    }

    /// Carries a message as far as it goes.
    pub(super) async fn message(&mut self) -> Result<Option<Wait>> {
        loop {
            if self.is_overdue().await? {
                self.prove_thread().await;
            }
            ingest::session(self.plane, &self.session).await?;
            if !self.reload().await? {
                return Ok(None);
            }
            let buffer = look::withdraw(&*self.plane.mux, &self.pin, &self.delivery).await?;
            let pane = look::pane(&*self.plane.mux, &self.pin).await?;
            let running = self.turn_is_running().await?;
            let now = self.now().await?;
            let sight = look::sight(&self.delivery, &self.session, &pane, buffer, running, now);
            let sight = Sight { thread_left: self.has_left_its_thread(buffer).await?, ..sight };
            let (row, decision) = decide(&sight);
            let decision = self.mutated(decision).await?;
            tracing::debug!(delivery = %self.delivery.id, ?row, ?decision, "decided");
            match self.act(row, decision, sight.screen).await? {
                Round::Again => {}
                Round::End(wait) => return Ok(wait),
            }
        }
    }

    /// The decision, unless a test wants the fault loop to find a wrong one.
    async fn mutated(&mut self, decision: Decision) -> Result<Decision> {
        let inherited = std::mem::take(&mut self.inherited) && decision == Decision::Press;
        if inherited && mutant::is_on(Mutant::SubmitTwice) {
            self.plane.mux.press(&self.pin, Key::Tab).await?;
            return Ok(Decision::Type);
        }
        Ok(decision)
    }

    /// Asked before a text is typed: where its record is looked for is noted with it.
    async fn has_left_its_thread(&self, buffer: Buffer) -> Result<bool> {
        if self.delivery.state.is_open_effect() && buffer != Buffer::Withdrawn {
            return Ok(false);
        }
        Ok(identify::standing(self.plane, &self.session).await? == Standing::Left)
    }

    async fn act(&mut self, row: Row, decision: Decision, seen: pane::Kind) -> Result<Round> {
        match decision {
            Decision::Type => self.type_text(row).await,
            Decision::Press => self.press(row, seen).await,
            Decision::Wait(wait) => self.wait(row, wait).await,
            // The ingest that found the record has settled it; this only notes the same.
            Decision::Record => self.settle(row, Stage::Recorded, None).await,
            Decision::Unproved => self.settle(row, Stage::Unproved, Some(unproved(&self.delivery))).await,
            Decision::Failed => self.settle(row, Stage::Failed, Some(died(&self.delivery))).await,
            Decision::BlockedByDraft => self.settle(row, Stage::Blocked, Some(draft(&self.delivery))).await,
        }
    }

    /// Load, begin, paste: steps 3 to 5.
    async fn type_text(&mut self, row: Row) -> Result<Round> {
        let buffers = Buffers::of(&self.delivery.token, self.delivery.epoch)?;
        let mux = &*self.plane.mux;
        let (label, body) = (wire::label(&self.delivery.token), wire::body(&self.delivery.body));
        mux.load_buffer(&self.pin, &buffers.label, label.as_bytes()).await?;
        mux.load_buffer(&self.pin, &buffers.body, body.as_bytes()).await?;
        if !self.begin_effect(row).await? {
            mux.delete_buffer(&self.pin, &buffers.label).await?;
            mux.delete_buffer(&self.pin, &buffers.body).await?;
            return Ok(Round::End(None));
        }
        // Refused means that nothing was pasted: the next look withdraws the buffers and decides anew.
        match mux.paste(&self.pin, &[buffers.label, buffers.body]).await? {
            Acted::Done | Acted::Refused => Ok(Round::Again),
        }
    }

    /// Step 4: from here on the agent may have seen it. False when the epoch is not ours any more.
    async fn begin_effect(&mut self, row: Row) -> Result<bool> {
        let (thread, rollout, offset) = self.where_it_ends().await?;
        let change = Change {
            effect_pin: Some(json!(self.pin)),
            effect_thread: thread,
            effect_rollout: rollout.map(|path| path.to_string_lossy().into_owned()),
            effect_offset: Some(offset as i64),
            wire_digest: Some(wire::digest(&self.delivery.body)),
            keep_lease: true,
            ..Change::default()
        };
        let sentence = format!("{} is being typed into {}.", self.delivery.id, self.session.name);
        let audit =
            AuditRow::new("delivery_effect_started", sentence).payload(json!({ "row": format!("{row:?}") }));
        self.advance(Stage::EffectStarted, change, audit, |_| None).await
    }

    /// Tab, which does nothing in a dialog; Enter for a text that is to go into a running turn, while that turn opens none.
    async fn submit_key(&self, seen: pane::Kind) -> Result<Key> {
        let steers = self.delivery.payload_json["steer"] == true
            && seen.is_running()
            && steer::is_steerable(self.plane, &self.session).await?;
        Ok(if steers { Key::Enter } else { Key::Tab })
    }

    /// Step 6 and 7: the submit key, and the note that it went out.
    ///
    /// A key that was swallowed is pressed again after a moment, for as long as the caller waits: an agent that takes no
    /// key must not keep this attempt for ever.
    async fn press(&mut self, row: Row, seen: pane::Kind) -> Result<Round> {
        if self.presses > 0 && !self.is_patient().await? {
            return self.give_back(row, Wait::NotYet).await;
        }
        // A holder that was suspended since it looked may have lost its lease: then the key is another's to press.
        if !self.reload().await? {
            return Ok(Round::End(None));
        }
        self.presses += 1;
        match self.plane.mux.press(&self.pin, self.submit_key(seen).await?).await? {
            Acted::Refused => {
                self.plane.clock.sleep(limits::LOOK_AGAIN).await;
                Ok(Round::Again)
            }
            Acted::Done => {
                let sentence = format!("The submit key of {} went out.", self.delivery.id);
                let audit = AuditRow::new("delivery_submitted", sentence)
                    .payload(json!({ "row": format!("{row:?}") }));
                let change = Change { keep_lease: true, ..Change::default() };
                if !self.advance(Stage::Submitted, change, audit, |_| None).await? {
                    return Ok(Round::End(None));
                }
                // Whoever wants no more gives the lease back at once, so that the next look is not kept waiting by it.
                if self.until.stage == Stage::Submitted {
                    self.give_back(row, Wait::NotYet).await?;
                    return Ok(Round::End(None));
                }
                if self.presses > 1 {
                    self.plane.clock.sleep(limits::KEY_SHOWN).await;
                }
                Ok(Round::Again)
            }
        }
    }

    /// Waits a moment for what is about to be seen, else gives the lease back.
    async fn wait(&mut self, row: Row, wait: Wait) -> Result<Round> {
        self.note_look(row, wait).await?;
        let is_submitted = self.delivery.state == Stage::Submitted;
        match (wait, is_submitted) {
            (Wait::NotYet, false) => {
                // A paste is usually drawn within two looks; when it is not, looking more often shows nothing more.
                self.unchanged = (self.unchanged + 1).min(4);
                self.plane.clock.sleep(limits::LOOK_AGAIN * (1 << self.unchanged) / 2).await;
                Ok(Round::Again)
            }
            (_, true) if self.is_patient().await? => {
                growth::of_session(self.plane, &self.session, limits::LOOK_AFTER / 4).await?;
                Ok(Round::Again)
            }
            _ => self.give_back(row, wait).await,
        }
    }

    /// Looks that find it nowhere are counted in the ledger, so that two of them may be two processes'.
    async fn note_look(&mut self, row: Row, wait: Wait) -> Result<()> {
        let nowhere = row == Row::Nowhere && wait == Wait::SecondLook;
        if !nowhere && self.delivery.looks == 0 {
            return Ok(());
        }
        let mut tx = self.plane.ledger().await?.write(&self.actor()).await?;
        deliveries::note_look(&mut tx, &self.delivery.id, self.delivery.epoch, !nowhere).await?;
        tx.commit().await
    }

    /// Gives the lease back, to be tried again when something changes or a while has passed.
    async fn give_back(&mut self, row: Row, wait: Wait) -> Result<Round> {
        let mut tx = self.plane.ledger().await?.write(&self.actor()).await?;
        let again = tx.now().plus(pause(wait, &self.delivery));
        let sentence = format!("{} waits: {}.", self.delivery.id, words(wait));
        let audit = AuditRow::new("delivery_waits", sentence)
            .session(&self.session.id)
            .payload(json!({ "row": format!("{row:?}"), "waits_for": words(wait) }));
        deliveries::release(&mut tx, &self.delivery.id, self.delivery.epoch, again, audit).await?;
        attention::delivery_waits(&mut tx, &self.session, &self.delivery, wait).await?;
        tx.commit().await?;
        Ok(Round::End(Some(wait)))
    }

    async fn settle(&mut self, row: Row, to: Stage, error: Option<Error>) -> Result<Round> {
        let sentence = match &error {
            Some(error) => format!("{} is {to}: {error}.", self.delivery.id),
            None => format!("{} is {to}.", self.delivery.id),
        };
        let audit =
            AuditRow::new(format!("delivery_{to}"), sentence).payload(json!({ "row": format!("{row:?}") }));
        let change = Change { error: error.clone(), ..Change::default() };
        self.advance(to, change, audit, |_| error).await?;
        Ok(Round::End(None))
    }

    /// Moves the delivery under our epoch. False when the epoch is not ours any more: then nothing else may be done.
    pub(super) async fn advance(
        &mut self,
        to: Stage,
        change: Change,
        audit: AuditRow,
        error: impl FnOnce(&Delivery) -> Option<Error> + Send,
    ) -> Result<bool> {
        let mut tx = self.plane.ledger().await?.write(&self.actor()).await?;
        if to == Stage::EffectStarted && !self.passes(&mut tx).await? {
            tx.commit().await?;
            return Ok(false);
        }
        let id = self.delivery.id.clone();
        let epoch = Some(self.delivery.epoch).filter(|_| !mutant::is_on(Mutant::NoEpochCheck));
        let moved =
            deliveries::move_state(&mut tx, &id, epoch, self.delivery.state, to, &change, audit).await?;
        let Some(moved) = moved else {
            tx.roll_back().await;
            return Ok(false);
        };
        self.note_attempt(&mut tx, to, error(&moved)).await?;
        tx.commit().await?;
        self.delivery = moved;
        Ok(true)
    }

    /// Whether nothing was paused or taken over since the gate: asked in the transaction after which there is no way
    /// back. Else the lease is given back, and nothing was typed.
    async fn passes(&self, tx: &mut Tx) -> Result<bool> {
        let hold = match gate::passage(tx, &self.delivery, Stage::Leased).await? {
            Passage::Goes => return Ok(true),
            Passage::Waits(hold) | Passage::Ends(hold) => hold,
        };
        let (id, epoch) = (&self.delivery.id, self.delivery.epoch);
        let audit = AuditRow::new("delivery_waits", format!("{id} waits: {}.", hold.words()))
            .session(&self.session.id)
            .payload(json!({ "waits_for": hold.words() }));
        // What was begun once and never pasted is looked at again by itself; what was not begun waits for the end of the
        // hold.
        let again = tx.now().plus(limits::LOOK_AFTER);
        let again = if self.delivery.state.is_open_effect() { again } else { self.delivery.available_at };
        deliveries::release(tx, id, epoch, again, audit).await?;
        Ok(false)
    }

    async fn note_attempt(&self, tx: &mut Tx, to: Stage, error: Option<Error>) -> Result<()> {
        let (id, epoch) = (&self.delivery.id, self.delivery.epoch);
        if to.is_open_effect() {
            return deliveries::mark_side_effect(tx, id, epoch, to == Stage::Submitted).await;
        }
        let state = match to {
            Stage::Recorded | Stage::Answered => AttemptState::Succeeded,
            Stage::Blocked => AttemptState::Blocked,
            _ => AttemptState::Failed,
        };
        if let Some(error) = &error {
            attention::delivery_ended(tx, &self.session, &self.delivery, to, error).await?;
        }
        deliveries::finish_attempt(tx, id, epoch, state, error.map(|error| error.message).as_deref(), None)
            .await
    }

    /// Reads the delivery anew. False when it is settled or the lease is lost.
    pub(super) async fn reload(&mut self) -> Result<bool> {
        let now = super::get(self.plane, &self.delivery.id).await?;
        let ours = now.epoch == self.delivery.epoch || mutant::is_on(Mutant::NoEpochCheck);
        self.delivery = now;
        Ok(ours && !self.delivery.state.is_settled())
    }

    /// Whether the caller still waits for the proof of what was submitted.
    pub(super) async fn is_patient(&self) -> Result<bool> {
        let waited = match self.delivery.submitted_at {
            Some(at) => self.now().await?.since(at),
            None => Duration::MAX,
        };
        Ok(self.until.stage > Stage::Submitted && waited < self.until.patience)
    }

    /// Whether it was submitted and an idle agent should have recorded it by now: its record may stand in a thread that
    /// the session was not known to have.
    async fn is_overdue(&self) -> Result<bool> {
        Ok(match (self.delivery.state, self.delivery.submitted_at) {
            (Stage::Submitted, Some(at)) => self.now().await?.since(at) > limits::KEY_SHOWN,
            _ => false,
        })
    }

    /// Looks which thread the session has now. Processes and screens change while they are looked at: what is not proved
    /// now may be at the next look.
    pub(super) async fn prove_thread(&self) {
        if let Err(error) = identify::refresh(self.plane, &self.session).await {
            tracing::debug!(session = %self.session.name, %error, "no thread is proved");
        }
    }

    pub(super) async fn turn_is_running(&self) -> Result<bool> {
        let ledger = self.plane.ledger().await?;
        let turn = turns::get(&mut *ledger.read().await?, &self.session.id).await?;
        Ok(turn.is_some_and(|row| ingest::turn_of(&row).coarse() == conveyor_model::turn::Coarse::Busy))
    }

    /// The session's thread, its rollout, and how long that is now.
    pub(super) async fn where_it_ends(&self) -> Result<(Option<String>, Option<PathBuf>, u64)> {
        let ledger = self.plane.ledger().await?;
        let current = threads::current(&mut *ledger.read().await?, &self.session.id).await?;
        let Some(thread) = current.into_iter().next() else { return Ok((None, None, 0)) };
        let path = ingest::rollout_path(self.plane, &self.session, &thread)?;
        let length = path.as_deref().map_or(0, |path| length(self.plane, path));
        Ok((Some(thread.thread_id), path, length))
    }

    pub(super) async fn now(&self) -> Result<Timestamp> {
        Ok(self.plane.ledger().await?.read().await?.now())
    }

    pub(super) fn actor(&self) -> Actor {
        Actor::Dispatch(self.holder.name.clone())
    }
}

/// A rollout that does not exist yet is empty: Codex makes it with the first message.
fn length(plane: &Plane, path: &Path) -> u64 {
    plane.log.open(path).and_then(|file| file.stat()).map_or(0, |stat| stat.len)
}

/// A target without a proved pane reads its messages itself.
async fn into_inbox(plane: &Plane, holder: &Holder, delivery: &Delivery) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&Actor::Dispatch(holder.name.clone())).await?;
    let change = Change {
        transport: Some(conveyor_model::delivery::Transport::Pull),
        into_inbox: true,
        ..Change::default()
    };
    let sentence = format!("{} lies in its target's inbox: no pane is proved.", delivery.id);
    let audit = AuditRow::new("delivery_in_inbox", sentence);
    deliveries::move_state(
        &mut tx,
        &delivery.id,
        Some(delivery.epoch),
        Stage::Leased,
        Stage::Pending,
        &change,
        audit,
    )
    .await?;
    tx.commit().await
}

/// How long nobody looks again, unless something changes: doubling with each attempt, up to half a minute.
fn pause(wait: Wait, delivery: &Delivery) -> Duration {
    match wait {
        Wait::NotYet if delivery.state == Stage::Submitted => limits::RECORD_EXPECTED,
        Wait::NotYet => limits::LOOK_AGAIN,
        Wait::Held(_) => limits::LOOK_AFTER,
        Wait::SecondLook => limits::UNPROVED_LOOKS_APART,
        Wait::Queued
        | Wait::Draft
        | Wait::Screen(_)
        | Wait::CopyMode
        | Wait::Popup
        | Wait::TurnRunning
        | Wait::Thread => {
            let doubled = Duration::from_secs(1 << delivery.attempts.clamp(0, 5));
            doubled.min(limits::LOOK_GAP_MAX)
        }
    }
}

/// What a delivery waits for, as reports and attention say it.
pub fn words(wait: Wait) -> String {
    match wait {
        Wait::Held(hold) => hold.words().to_owned(),
        Wait::Queued => "the agent has it in its queue".to_owned(),
        Wait::Draft => "a draft that conveyor did not write stands in the composer".to_owned(),
        Wait::Screen(kind) => format!("the screen shows {}", kind.as_str()),
        Wait::CopyMode => "somebody scrolls in the pane".to_owned(),
        Wait::Popup => "a list is open over the composer".to_owned(),
        Wait::NotYet => "the screen has not shown it yet".to_owned(),
        Wait::SecondLook => "it was found nowhere; a second look must confirm that".to_owned(),
        Wait::TurnRunning => "a turn is running".to_owned(),
        Wait::Thread => "the session has left its thread, and which one it has now is not proved".to_owned(),
    }
}

fn unproved(delivery: &Delivery) -> Error {
    Error::timeout("it was typed, but neither composer nor queue nor rollout hold it")
        .retry(Retry::Unknown)
        .hint(format!("look at the session, then: conveyor commands --resend {}", delivery.id))
}

fn died(delivery: &Delivery) -> Error {
    let retry = if delivery.effect_at.is_some() { Retry::Unknown } else { Retry::Safe };
    Error::environment("the target died").retry(retry).hint("conveyor sessions --role worker")
}

fn draft(delivery: &Delivery) -> Error {
    Error::refused("draft: a person's text stands beside it in the composer")
        .retry(Retry::Unknown)
        .hint(format!("submit or clear the draft, then: conveyor commands --retry {}", delivery.id))
}
