//! Deliveries that are a key: Enter as an answer, Escape as an interrupt. Their proof is their effect, and they are never
//! pressed a second time by themselves.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Wait;
use conveyor_model::limits;
use conveyor_model::pane;
use conveyor_model::pane::Allowed;
use conveyor_model::pane::Answer;
use conveyor_mux::Acted;
use conveyor_mux::Key;
use conveyor_store::AuditRow;
use conveyor_store::deliveries::Change;
use serde_json::json;

use super::attempt::Attempt;
use super::look;
use super::look::Pane;
use crate::growth;
use crate::ingest;

impl Attempt<'_> {
    /// Presses the key of a delivery once, and waits for its effect.
    pub(super) async fn keys(&mut self, kind: Kind) -> Result<Option<Wait>> {
        ingest::session(self.plane, &self.session).await?;
        if !self.reload().await? {
            return Ok(None);
        }
        if self.delivery.state.is_open_effect() {
            return self.was_it_pressed().await;
        }
        let Some(before) = self.settled_screen(kind).await? else {
            return self.refuse(Stage::Failed, Error::environment("the pane is gone")).await;
        };
        let (key, refusal) = self.key(kind, &before).await?;
        if let Some(refusal) = refusal {
            return self.refuse(Stage::Failed, refusal).await;
        }
        let change = Change { effect_pin: Some(json!(self.pin)), keep_lease: true, ..Change::default() };
        let audit = AuditRow::new(
            "delivery_effect_started",
            format!("{key:?} is being sent for {}.", self.delivery.id),
        );
        if !self.advance(Stage::EffectStarted, change, audit, |_| None).await? {
            return Ok(None);
        }
        match self.plane.mux.press(&self.pin, key).await? {
            Acted::Refused => self.refuse(Stage::Failed, Error::environment("the pane took no key")).await,
            Acted::Done => self.pressed(kind, &before).await,
        }
    }

    /// The screen before the key. A turn is recorded a moment before it is drawn, so an interrupt waits for that moment.
    async fn settled_screen(&self, kind: Kind) -> Result<Option<pane::Classification>> {
        let began = self.plane.clock.now();
        loop {
            let seen = match look::pane(&*self.plane.mux, &self.pin).await? {
                Pane::Gone => return Ok(None),
                Pane::Shows(seen) => *seen,
            };
            let is_late = self.plane.clock.now().since(began) >= limits::KEY_SHOWN;
            if kind != Kind::Interrupt || seen.kind != pane::Kind::Idle || is_late {
                return Ok(Some(seen));
            }
            self.plane.clock.sleep(limits::LOOK_AGAIN).await;
        }
    }

    /// The key, or why it may not be sent.
    async fn key(&self, kind: Kind, seen: &pane::Classification) -> Result<(Key, Option<Error>)> {
        match kind {
            Kind::Interrupt => Ok((Key::Escape, (!seen.kind.is_running()).then(|| not_running(seen.kind)))),
            Kind::Answer => {
                let own = super::own_texts(self.plane, &self.session).await?;
                let granted = |flag: &str| self.delivery.payload_json[flag].as_bool().unwrap_or(false);
                let allowed = Allowed { approve: granted("approve"), steer: granted("steer"), own: &own };
                let answer = pane::answerable(seen, &allowed);
                Ok((Key::Enter, not_answerable(answer, seen.kind)))
            }
            Kind::Slash
            | Kind::Stop
            | Kind::NotifyManager
            | Kind::NudgeWorker
            | Kind::SessionNudge
            | Kind::WorkerTaskComplete => Err(Error::refused(format!("{} is no key", kind.as_str()))),
        }
    }

    /// The key went out: note it, then wait for the effect that proves it.
    async fn pressed(&mut self, kind: Kind, before: &pane::Classification) -> Result<Option<Wait>> {
        let audit = AuditRow::new("delivery_submitted", format!("The key of {} went out.", self.delivery.id));
        let change = Change { keep_lease: true, ..Change::default() };
        if !self.advance(Stage::Submitted, change, audit, |_| None).await? {
            return Ok(None);
        }
        let sent = self.now().await?;
        while self.now().await?.since(sent) < limits::RECORD_EXPECTED {
            ingest::session(self.plane, &self.session).await?;
            if !self.reload().await? {
                return Ok(None);
            }
            if kind == Kind::Answer && self.is_answered(before).await? {
                let audit = AuditRow::new(
                    "delivery_recorded",
                    format!("What {} answered is gone.", self.delivery.id),
                );
                self.advance(Stage::Recorded, Change::default(), audit, |_| None).await?;
                return Ok(None);
            }
            growth::of_session(self.plane, &self.session, limits::LOOK_AGAIN * 4).await?;
        }
        self.was_it_pressed().await
    }

    /// Whether the dialog or the text that Enter was sent to is gone.
    async fn is_answered(&self, before: &pane::Classification) -> Result<bool> {
        Ok(match look::pane(&*self.plane.mux, &self.pin).await? {
            Pane::Gone => false,
            Pane::Shows(now) => {
                now.kind != before.kind || now.dialog != before.dialog || now.composer != before.composer
            }
        })
    }

    /// Nothing proves the effect: it may have been pressed, and it is not pressed again.
    async fn was_it_pressed(&mut self) -> Result<Option<Wait>> {
        let error = Error::timeout("the key was sent, but nothing shows its effect")
            .retry(Retry::Unknown)
            .hint("look at the session before you repeat it");
        self.refuse(Stage::Unproved, error).await
    }

    pub(super) async fn refuse(&mut self, to: Stage, error: Error) -> Result<Option<Wait>> {
        let audit =
            AuditRow::new(format!("delivery_{to}"), format!("{} is {to}: {error}.", self.delivery.id));
        let change = Change { error: Some(error.clone()), ..Change::default() };
        self.advance(to, change, audit, |_| Some(error)).await?;
        Ok(None)
    }
}

fn not_running(kind: pane::Kind) -> Error {
    Error::refused(format!("no turn is running: the screen shows {}", kind.as_str()))
}

/// Why Enter may not be sent to what is on the screen.
fn not_answerable(answer: Answer, kind: pane::Kind) -> Option<Error> {
    let shown = kind.as_str();
    match answer {
        Answer::Enter | Answer::SubmitOwn => None,
        Answer::NeedsApprove => Some(
            Error::refused(format!("Enter would approve: the screen shows {shown}"))
                .hint("add --approve if you mean it"),
        ),
        Answer::NeedsSteer => Some(
            Error::refused("a turn is running, and Enter would go into it")
                .hint("add --steer if you mean it"),
        ),
        Answer::CursorElsewhere => Some(
            Error::refused(format!("the cursor of {shown} is not on its first option"))
                .hint("answer it by hand"),
        ),
        Answer::NeverByUs => {
            Some(Error::refused(format!("{shown} is answered by a person only")).hint("answer it by hand"))
        }
        Answer::ForeignDraft => Some(Error::refused("the composer holds a text that conveyor did not write")),
        Answer::NotReachable => {
            Some(Error::refused(format!("Enter would not reach the agent: the screen shows {shown}")))
        }
        Answer::Nothing => {
            Some(Error::refused(format!("there is nothing to answer: the screen shows {shown}")))
        }
    }
}
