//! 0.144 takes a text back when it is interrupted before it has answered anything: its record says so, and the text stands
//! in the composer again.

use conveyor_sim::codex::Flavour;
use conveyor_sim::provider::Received;
use serde_json::json;

use crate::desk::LIMIT;
use crate::pair::Pair;

#[test]
fn a_text_that_codex_0_144_took_back_is_not_claimed_and_is_proved_when_it_is_submitted_again() {
    let pair = Pair::bound(Flavour::V144);
    let sent = pair.nudge("work [[delay=20]]");
    assert_eq!(sent["delivered"], true, "{sent:#}");
    let asked = |one: &Received| one.user_text.contains("work [[delay");
    assert!(pair.worker.codex.provider.wait_for(LIMIT, asked).is_some());
    let interrupted = pair.report(&["session-interrupt", "wren"]);
    assert_eq!(interrupted["interrupted"], true, "{interrupted:#}\n{}", pair.worker.screen());
    let id = sent["command_id"].as_str().unwrap();
    let state = || {
        pair.report(&["ingest", "wren"]);
        pair.report(&["commands", "--id", id])[0]["delivery_state"].clone()
    };
    pair.worker.until("taken back", || state() == "unproved");
    let open = pair.report(&["attention"]);
    assert!(open.to_string().contains("the agent took it back"), "{open:#}");

    pair.worker.until_shown("the text", |screen| screen.contains("› [conveyor "));
    let again = pair.report(&["session-nudge", "wren", ""]);
    assert_eq!(again["delivered"], true, "{again:#}\n{}", pair.worker.screen());
    pair.worker.until("recorded again", || state() == "recorded");
    assert_eq!(pair.report(&["attention"])["attention"], json!([]));
    assert_eq!(pair.worker.count("work [[delay"), 2, "the record of both stands: {:#?}", pair.worker.texts());
}
