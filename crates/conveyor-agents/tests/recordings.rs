//! Each recording of a real Codex: every record is of a known kind, and the turn's state follows from them line by line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use conveyor_agents::parse;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Kind;
use conveyor_model::turn::Turn;

const ROLLOUTS: [&str; 6] = [
    "0.144.0-tui",
    "0.169.0-exec-basic",
    "0.169.0-tui-approvals-errors",
    "0.169.0-tui-steer-bg-compact",
    "0.99.0-tui",
    "99-exec-tool",
];

fn recorded(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.jsonl"));
    std::fs::read_to_string(path).expect("a recording lies in testdata")
}

fn events(name: &str) -> Vec<Event> {
    let mut offset = 0;
    let text = recorded(name);
    let parse_line = |line: &str| {
        let event = parse(line.as_bytes(), offset).unwrap_or_else(|why| panic!("{name}: {why:?}: {line}"));
        offset += line.len() as u64;
        event
    };
    text.split_inclusive('\n').map(parse_line).collect()
}

/// One row a record: its kind, and what the turn is after it.
fn story(name: &str) -> String {
    let mut turn = Turn::default();
    let mut story = String::new();
    for (number, event) in events(name).iter().enumerate() {
        let end = turn.observe(event).map_or(String::new(), |end| {
            let error = end.error.and_then(|error| error.info).unwrap_or_default();
            format!(" => {:?} {error}{}", end.outcome, if end.inferred { "inferred" } else { "" })
        });
        let calls = turn.open_calls.len();
        let inferred = if turn.inferred { "?" } else { "" };
        let done = if turn.task_completed() { " completed" } else { "" };
        let state = turn.state.as_str();
        let row = format!("{number:>3} {:<18} {state}{inferred}{done} calls={calls}{end}", event.kind.name());
        writeln!(story, "{}", row.trim_end()).expect("a String takes everything");
    }
    story
}

#[test]
fn a_shape_nobody_listed_fails_here() {
    for name in ROLLOUTS {
        for event in events(name) {
            assert_ne!(event.kind, Kind::Unknown, "{name}: {event:?}");
            assert!(event.at.is_some() && event.at_original.is_none(), "{name}: {event:?}");
        }
    }
    for line in recorded("all-record-types").lines() {
        let sample: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = parse(sample["line"].to_string().as_bytes(), 0).unwrap();
        assert_ne!(event.kind, Kind::Unknown, "{line}");
    }
}

#[test]
fn the_turn_follows_each_record() {
    for name in ROLLOUTS {
        insta::assert_snapshot!(name.replace('.', "_"), story(name));
    }
}

#[test]
fn users_messages_prove_deliveries_and_codexs_own_do_not() {
    let mut proofs = BTreeMap::new();
    for name in ROLLOUTS {
        let texts =
            events(name).iter().filter_map(|e| e.delivered_text().map(ToOwned::to_owned)).collect::<Vec<_>>();
        proofs.insert(name, texts);
    }
    insta::assert_debug_snapshot!(proofs);
}

#[test]
fn a_turn_knows_its_settings_tokens_and_version() {
    let turn = |name: &str| {
        let mut turn = Turn::default();
        for event in events(name) {
            turn.observe(&event);
        }
        turn
    };
    let newest = turn("0.169.0-tui-steer-bg-compact");
    assert_eq!(newest.cli_version.as_deref(), Some("0.169.0"));
    assert_eq!(
        (newest.approval_policy.as_deref(), newest.sandbox_mode.as_deref()),
        (Some("never"), Some("danger-full-access"))
    );
    assert_eq!((newest.context_window, newest.last_tokens.unwrap().total_tokens), (Some(258_400), 6_424));
    assert_eq!((newest.compactions, newest.starts), (1, 4));
    let receipt = turn("0.144.0-tui").receipt.unwrap();
    assert_eq!(receipt.last_agent_message.as_deref(), Some("FAKE-REPLY to 13 chars: 'after compact'"));
    assert_eq!((receipt.duration_ms, receipt.time_to_first_token_ms), (Some(76), Some(71)));
    assert_eq!(receipt.completed_at.unwrap().to_string(), "2026-11-22T14:49:52.000Z");
}
