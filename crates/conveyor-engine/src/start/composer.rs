//! Looking at a starting session until it takes a message, asks something, or dies.

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind as DeliveryKind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_model::pane;
use conveyor_model::pane::Classification;
use conveyor_model::pane::Kind;
use conveyor_model::pane::Screen;
use conveyor_mux::Pin;
use conveyor_store::AuditRow;
use conveyor_store::deliveries;
use conveyor_store::sessions::Session;

use super::OnDialog;
use super::Spec;
use super::attach_command;
use crate::Plane;
use crate::deliver;
use crate::deliver::Holder;
use crate::deliver::Until;
use crate::message;

/// Last lines of a program that ended, as a message shows them.
const LAST_LINES: usize = 8;

/// Waits for the composer. A dialog that is left to a person is the answer, unless the plan says that it is a failure.
pub(super) async fn wait(
    plane: &Plane,
    spec: &Spec,
    session: &Session,
    pin: &Pin,
    deadline: Timestamp,
) -> Result<Option<Classification>> {
    let stop = plane.end_gracefully();
    let mut may_trust = spec.accept_trust;
    loop {
        if *stop.borrow() {
            return Err(Error::interrupted("stopped by a signal while the session was starting"));
        }
        let screen = look(plane, session, pin).await?;
        let seen = pane::classify(&screen);
        if seen.kind == Kind::TrustPrompt && may_trust {
            may_trust = false;
            answer(plane, session).await?;
            continue;
        }
        if seen.kind.is_dialog() {
            return match spec.on_dialog {
                OnDialog::Keep => Ok(Some(seen)),
                OnDialog::Fail => Err(asked(session, &seen, pin)),
            };
        }
        // While a start-up runs, a message would wait behind it in a queue that nothing proves.
        if seen.is_ready_for_paste() && !seen.kind.is_running() {
            return Ok(None);
        }
        if plane.clock.now() >= deadline {
            return Err(late(spec, &screen, &seen));
        }
        plane.clock.sleep(limits::START_LOOK).await;
    }
}

/// The screen of a program that runs.
///
/// Errors: environment, with its last lines, when it has ended.
pub(super) async fn look(plane: &Plane, session: &Session, pin: &Pin) -> Result<Screen> {
    match plane.mux.capture(pin).await {
        Ok(screen) if screen.dead => Err(died(session, &screen)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            Err(Error::environment(format!("the terminal of `{}` is gone", session.name)))
        }
        other => other,
    }
}

/// Presses Enter for a question of trust, as a delivery, which looks again before it does. What it may not answer stays.
async fn answer(plane: &Plane, session: &Session) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let new = message::new(plane, DeliveryKind::Answer, session, "");
    let sentence = format!("The question whether {} is trusted is to be answered with yes.", session.cwd);
    let accepted = deliveries::insert(&mut tx, new, AuditRow::new("delivery_accepted", sentence)).await?;
    tx.commit().await?;
    let until = Until { stage: Stage::Recorded, patience: limits::RECORD_EXPECTED };
    deliver::carry_out(plane, &accepted.delivery.id, &Holder::caller(plane), until).await.map(drop)
}

fn died(session: &Session, screen: &Screen) -> Error {
    Error::environment(format!("the program of `{}` ended: {}", session.name, last_lines(screen)))
        .hint("run the same Codex by hand in that folder to see why")
}

/// The last lines of a screen, in one line.
fn last_lines(screen: &Screen) -> String {
    let text = screen.text();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() { "it printed nothing".to_owned() } else { last.join(" / ") }
}

fn asked(session: &Session, seen: &Classification, pin: &Pin) -> Error {
    let shown = seen.kind.as_str();
    Error::refused(format!("`{}` shows {shown} before its composer", session.name))
        .hint(format!("start it with --on-dialog keep, and answer in its terminal: {}", attach_command(pin)))
}

fn late(spec: &Spec, screen: &Screen, seen: &Classification) -> Error {
    let shown = seen.kind.as_str();
    let message = format!(
        "`{}` did not take a message within {} s; its screen is of the kind {shown}: {}",
        spec.name,
        spec.timeout_seconds,
        last_lines(screen)
    );
    Error::timeout(message)
        .retry(Retry::Safe)
        .hint("look at it with --keep-on-failure, or give it more --timeout-seconds")
}
