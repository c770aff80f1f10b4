//! A dialog that opens while a text is being delivered: between paste and key nothing may be approved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use conveyor_sim::codex::Flavour;
use conveyor_sim::directive::Call;
use conveyor_sim::directive::Shell;
use conveyor_sim::directive::Step;
use conveyor_sim::provider::Received;
use conveyor_sim::provider::Rule;

use crate::pair::Pair;
use crate::pair::is_approval;

/// From then on no new try begins.
const ENOUGH: Duration = Duration::from_secs(50);

/// How often the moment has to be hit to stop early.
const HITS: u32 = 3;

/// The dialog is aimed at the moment between paste and key: each miss moves it by so many milliseconds.
const STEP_MS: u64 = 120;

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// The dialog opened before the text was pasted.
    Early,
    /// It was pasted, and the dialog opened before its key.
    Hit,
    /// Its key went out before the dialog opened.
    Late,
}

/// A model that asks for a command when it is told to.
fn rule(asks: Arc<AtomicBool>, touched: PathBuf) -> Rule {
    Rule::ask("race", move |request: &Received| {
        if request.is_side_request() || !request.outputs.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !asks.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let command = format!("touch {}", touched.display());
        vec![Step::Call(Call::Shell(Shell { command, escalated: true, ..Shell::default() }))]
    })
}

#[test]
fn a_dialog_that_opens_between_paste_and_key_is_never_answered() {
    let pair = Pair::bound(Flavour::Embedded);
    let touched = pair.desk.file("approved");
    let asks = Arc::new(AtomicBool::new(false));
    pair.worker.codex.provider.rule(rule(Arc::clone(&asks), touched.clone()));
    let mut lead = 300;
    let began = Instant::now();
    let mut tries = Vec::new();
    while tries.iter().filter(|one| **one == Try::Hit).count() < HITS as usize && began.elapsed() < ENOUGH {
        let what = one_try(&pair, tries.len(), &asks, Duration::from_millis(lead));
        lead = match what {
            Try::Early => lead.saturating_sub(STEP_MS / 2),
            Try::Late => lead + STEP_MS,
            Try::Hit => lead,
        };
        tries.push(what);
        assert!(!touched.exists(), "it was approved: {tries:?}");
    }
    println!("a dialog in the middle of a delivery: {tries:?}");
}

/// The model asks for its command, and so long after it conveyor is started.
fn one_try(pair: &Pair, number: usize, asks: &AtomicBool, lead: Duration) -> Try {
    asks.store(false, Ordering::SeqCst);
    pair.worker.say(&format!("race {number}."));
    let text = format!("between {number}.");
    asks.store(true, Ordering::SeqCst);
    std::thread::sleep(lead);
    let sent = pair.report(&["session-nudge", "wren", &text, "--wait-for", "submitted", "--timeout", "1"]);
    pair.worker.until_shown("the dialog", is_approval);
    pair.worker.press(&["Escape"]);
    // A paste in the moment in which the dialog opens may be lost; then it is said to be unproved.
    let id = sent["command_id"].as_str().unwrap();
    let state = || {
        let rows = pair.report(&["commands", "--id", id]);
        rows[0]["delivery_state"].as_str().unwrap().to_owned()
    };
    pair.worker.until("settled", || {
        pair.report(&["dispatch", "--once"]);
        matches!(state().as_str(), "recorded" | "answered" | "unproved")
    });
    pair.worker.until_idle();
    let expected = usize::from(state() != "unproved");
    assert_eq!(pair.worker.count(&text), expected, "{}: {:#?}", state(), pair.worker.texts());
    match (sent["side_effect_started"] == true, sent["side_effect_completed"] == true) {
        (false, _) => Try::Early,
        (true, false) => Try::Hit,
        (true, true) => Try::Late,
    }
}
