//! Codex's own commands. Their proof is their effect: a `compacted` record, a new thread. They bear no label, so they are
//! typed once and never a second time by themselves.

use conveyor_agents::discover::title_thread;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::compaction::SlashCommand;
use conveyor_model::delivery::Buffer;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::limits;
use conveyor_model::pane::Classification;
use conveyor_model::pane::Composer;
use conveyor_model::wire;
use conveyor_mux::Acted;
use conveyor_mux::Key;
use conveyor_store::AuditRow;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Change;
use serde_json::json;

use super::attempt::Attempt;
use super::attempt::words;
use super::look;
use super::look::Buffers;
use super::look::Pane;
use crate::growth;
use crate::ingest;
use crate::mutant;
use crate::mutant::Mutant;

/// What the composer holds, seen from a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Draft {
    /// The command and nothing else.
    Ours,
    /// Nothing.
    Empty,
    /// Something else, or no composer is there.
    Other,
}

impl Attempt<'_> {
    /// Types the command, or goes on where somebody was killed, and waits for its effect.
    pub(super) async fn slash(&mut self) -> Result<Option<Wait>> {
        let Some(command) = SlashCommand::of(&self.delivery.body) else {
            let error = Error::refused("the text is none of the commands that conveyor types");
            return self.refuse(Stage::Failed, error).await;
        };
        ingest::session(self.plane, &self.session).await?;
        if !self.reload().await? {
            return Ok(None);
        }
        let buffer = look::withdraw(&*self.plane.mux, &self.pin, &self.delivery).await?;
        let typed = std::mem::take(&mut self.inherited) && buffer != Buffer::Withdrawn;
        if typed && mutant::is_on(Mutant::SubmitTwice) {
            self.paste_command(command).await?;
            self.plane.mux.press(&self.pin, Key::Tab).await?;
        }
        match (self.delivery.state, buffer) {
            (Stage::Submitted, _) => self.effect(command).await,
            (Stage::EffectStarted, Buffer::Withdrawn) => {
                let error = Error::environment("it was never typed: whoever began it was stopped before");
                self.refuse(Stage::Failed, error.retry(Retry::Safe)).await
            }
            (Stage::EffectStarted, Buffer::Pasted | Buffer::NotKnown) => self.submit(command).await,
            _ => self.type_command(command).await,
        }
    }

    /// Pastes the command into an empty composer, if nothing stands in its way.
    async fn type_command(&mut self, command: SlashCommand) -> Result<Option<Wait>> {
        let force = self.delivery.payload_json["force"].as_bool().unwrap_or(false);
        // A thread that a person began before must not pass for this command's effect.
        self.has_new_thread(command).await?;
        let running = self.turn_is_running().await?;
        let obstacle = match look::pane(&*self.plane.mux, &self.pin).await? {
            Pane::Gone => Some("the pane is gone".to_owned()),
            Pane::Shows(seen) => obstacle(&seen, running, force),
        };
        if let Some(obstacle) = obstacle {
            let error = Error::refused(format!("{} was not typed: {obstacle}", command.as_str()));
            return self.refuse(Stage::Failed, error.retry(Retry::Safe)).await;
        }
        let name = Buffers::of(&self.delivery.token, self.delivery.epoch)?.label;
        self.plane.mux.load_buffer(&self.pin, &name, command.typed().as_bytes()).await?;
        if !self.begin_command(command).await? {
            self.plane.mux.delete_buffer(&self.pin, &name).await?;
            return Ok(None);
        }
        match self.plane.mux.paste(&self.pin, std::slice::from_ref(&name)).await? {
            Acted::Done => self.submit(command).await,
            Acted::Refused => {
                self.plane.mux.delete_buffer(&self.pin, &name).await?;
                let error = Error::environment("the pane took no text").retry(Retry::Safe);
                self.refuse(Stage::Failed, error).await
            }
        }
    }

    /// What a test wants the fault loop to find: it is typed without a look at what was typed before.
    async fn paste_command(&mut self, command: SlashCommand) -> Result<Acted> {
        let name = Buffers::of(&self.delivery.token, self.delivery.epoch)?.label;
        self.plane.mux.load_buffer(&self.pin, &name, command.typed().as_bytes()).await?;
        self.plane.mux.paste(&self.pin, std::slice::from_ref(&name)).await
    }

    /// From here on the agent may have seen it. False when the epoch is not ours any more.
    async fn begin_command(&mut self, command: SlashCommand) -> Result<bool> {
        let (thread, rollout, offset) = self.where_it_ends().await?;
        let change = Change {
            effect_pin: Some(json!(self.pin)),
            effect_thread: thread,
            effect_rollout: rollout.map(|path| path.to_string_lossy().into_owned()),
            effect_offset: Some(offset as i64),
            wire_digest: Some(wire::digest(command.as_str())),
            keep_lease: true,
            ..Change::default()
        };
        let sentence = format!("{} is being typed into {}.", command.as_str(), self.session.name);
        self.advance(Stage::EffectStarted, change, AuditRow::new("delivery_effect_started", sentence), |_| {
            None
        })
        .await
    }

    /// Presses the submit key once the composer shows the command and nothing else.
    async fn submit(&mut self, command: SlashCommand) -> Result<Option<Wait>> {
        let began = self.plane.clock.now();
        while self.plane.clock.now().since(began) < limits::PASTE_SHOWN {
            if self.draft(command).await? == Draft::Ours {
                if self.plane.mux.press(&self.pin, Key::Tab).await? == Acted::Refused {
                    break;
                }
                let sentence = format!("The submit key of {} went out.", self.delivery.id);
                let change = Change { keep_lease: true, ..Change::default() };
                let audit = AuditRow::new("delivery_submitted", sentence);
                if !self.advance(Stage::Submitted, change, audit, |_| None).await? {
                    return Ok(None);
                }
                return self.effect(command).await;
            }
            self.plane.clock.sleep(limits::LOOK_AGAIN).await;
        }
        // A key may have gone out before whoever pressed it was killed: then the effect shows.
        ingest::session(self.plane, &self.session).await?;
        if !self.reload().await? || self.has_new_thread(command).await? {
            return Ok(None);
        }
        self.unproved("it was pasted, but the composer does not show it").await
    }

    /// Waits for the effect, as long as the caller does.
    async fn effect(&mut self, command: SlashCommand) -> Result<Option<Wait>> {
        let mut pressed = self.plane.clock.now();
        loop {
            ingest::session(self.plane, &self.session).await?;
            if !self.reload().await? || self.has_new_thread(command).await? {
                return Ok(None);
            }
            if self.plane.clock.now().since(pressed) > limits::KEY_SHOWN
                && self.draft(command).await? == Draft::Ours
            {
                if self.is_unknown(command).await? {
                    return self.take_back(command).await;
                }
                // A program that still starts swallows the key, and the draft stays (measured).
                self.plane.mux.press(&self.pin, Key::Tab).await?;
                pressed = self.plane.clock.now();
            }
            if !self.is_patient().await? {
                return self.later(command).await;
            }
            growth::of_session(self.plane, &self.session, limits::LOOK_AGAIN * 4).await?;
        }
    }

    /// Nobody waits any longer: somebody looks again, unless by now it should have begun.
    async fn later(&mut self, command: SlashCommand) -> Result<Option<Wait>> {
        let waited = match self.delivery.submitted_at {
            Some(at) => self.now().await?.since(at),
            None => limits::SLASH_BEGINS,
        };
        let wait = match (self.turn_is_running().await?, waited < limits::SLASH_BEGINS) {
            (true, _) => Wait::TurnRunning,
            (false, true) => Wait::NotYet,
            (false, false) => {
                let seen = match command {
                    SlashCommand::Compact => "the record shows no compaction",
                    SlashCommand::Clear => "nothing shows the new thread yet; its first message will",
                };
                return self.unproved(seen).await;
            }
        };
        let mut tx = self.plane.ledger().await?.write(&self.actor()).await?;
        let again = tx.now().plus(limits::RECORD_EXPECTED);
        let sentence = format!("{} waits: {}.", self.delivery.id, words(wait));
        let audit = AuditRow::new("delivery_waits", sentence).session(&self.session.id);
        deliveries::release(&mut tx, &self.delivery.id, self.delivery.epoch, again, audit).await?;
        tx.commit().await?;
        Ok(Some(wait))
    }

    /// Whether the session was proved to have a new thread now, which settles a `/clear`.
    async fn has_new_thread(&mut self, command: SlashCommand) -> Result<bool> {
        match command {
            SlashCommand::Compact => return Ok(false),
            SlashCommand::Clear => {}
        }
        self.prove_thread().await;
        if !self.reload().await? {
            return Ok(true);
        }
        self.title_shows_another().await
    }

    /// Settles a `/clear` by the terminal's title, where that shows a thread and another one than before. 0.144 has no
    /// locks, and its new thread no file before its first message: only then does the session get it.
    async fn title_shows_another(&mut self) -> Result<bool> {
        let (Some(before), Stage::Submitted) = (self.delivery.effect_thread_id.clone(), self.delivery.state)
        else {
            return Ok(false);
        };
        let title = self.plane.mux.capture(&self.pin).await?.title;
        let Some(shown) = title_thread(&title).filter(|shown| !before.starts_with(shown)) else {
            return Ok(false);
        };
        let sentence = format!("The title of {} shows the new thread {shown}.", self.session.name);
        let audit = AuditRow::new("delivery_recorded", sentence);
        self.advance(Stage::Recorded, Change::default(), audit, |_| None).await
    }

    /// What the composer holds.
    async fn draft(&self, command: SlashCommand) -> Result<Draft> {
        Ok(match look::pane(&*self.plane.mux, &self.pin).await? {
            Pane::Gone => Draft::Other,
            Pane::Shows(seen) => match &seen.composer {
                Composer::Draft(text) if text.trim() == command.as_str() => Draft::Ours,
                Composer::Empty => Draft::Empty,
                Composer::Draft(_) | Composer::None => Draft::Other,
            },
        })
    }

    /// Whether the agent says that it does not know the command. 0.99 has no `/clear` (measured).
    async fn is_unknown(&self, command: SlashCommand) -> Result<bool> {
        let screen = self.plane.mux.capture(&self.pin).await?.text();
        Ok(screen.contains(&format!("Unrecognized command '{}'", command.as_str())))
    }

    /// Takes our own text out of the composer again. The cursor stands at its start, so first to its end (measured).
    async fn take_back(&mut self, command: SlashCommand) -> Result<Option<Wait>> {
        for key in [Key::CtrlE, Key::CtrlU] {
            self.plane.mux.press(&self.pin, key).await?;
        }
        self.plane.clock.sleep(limits::LOOK_AGAIN * 4).await;
        let left = match self.draft(command).await? {
            Draft::Empty => "",
            Draft::Ours | Draft::Other => "; its text stands in the composer",
        };
        let error =
            Error::refused(format!("this version of the agent does not know {}{left}", command.as_str()));
        self.refuse(Stage::Failed, error.retry(Retry::Unsafe)).await
    }

    async fn unproved(&mut self, what: &str) -> Result<Option<Wait>> {
        let error = Error::timeout(format!("nothing proves its effect: {what}"))
            .retry(Retry::Unknown)
            .hint("look at the session before you repeat it");
        self.refuse(Stage::Unproved, error).await
    }
}

/// What keeps a command from being typed now.
fn obstacle(seen: &Classification, turn_running: bool, force: bool) -> Option<String> {
    if !seen.is_ready_for_paste() {
        let draft =
            if matches!(seen.composer, Composer::Draft(_)) { " with a draft in the composer" } else { "" };
        return Some(format!("the screen shows {}{draft}", seen.kind.as_str()));
    }
    ((turn_running || seen.kind.is_running()) && !force).then(|| "a turn is running".to_owned())
}
