use conveyor_model::rollout::Synthetic;
use proptest::prelude::*;

use super::*;

fn event(line: &str) -> Event {
    parse(line.as_bytes(), 0).unwrap_or_else(|why| panic!("{why:?}: {line}"))
}

#[test]
fn each_kind_of_bad_line_is_told_apart() {
    let bad: [(&[u8], BadLine); 14] = [
        (b"\n", BadLine::Blank),
        (b"  \t\r\n", BadLine::Blank),
        (b"{\"type\":\"x\xff\"}\n", BadLine::NotUtf8),
        (b"hello\n", BadLine::NotJson),
        (b"{\"type\":\"event_msg\"\n", BadLine::NotJson),
        (b"{\"type\":\"event_msg\",\"payload\":{\"info\":NaN}}\n", BadLine::NotJson),
        (b"{\"type\":\"event_msg\",\"ordinal\":Infinity}\n", BadLine::NotJson),
        (b"{\"type\":\"a\"} {\"type\":\"b\"}\n", BadLine::NotJson),
        (b"[\"2026\",1,\"event_msg\",{}]\n", BadLine::NotObject),
        (b"null\n", BadLine::NotObject),
        (b"\"session_meta\"\n", BadLine::NotObject),
        (b"{}\n", BadLine::NoType),
        (b"{\"type\":7}\n", BadLine::NoType),
        (b"{\"type\":{\"a\":[1]},\"payload\":{}}\n", BadLine::NoType),
    ];
    for (line, why) in bad {
        assert_eq!(parse(line, 0).unwrap_err(), why, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn a_line_end_of_windows_changes_nothing_but_the_length() {
    let line =
        r#"{"timestamp":"2026-11-22T14:49:27.174Z","type":"event_msg","payload":{"type":"task_started"}}"#;
    let unix = parse(format!("{line}\n").as_bytes(), 7).unwrap();
    let windows = parse(format!("{line}\r\n").as_bytes(), 7).unwrap();
    assert_eq!(windows, Event { len: unix.len + 1, ..unix });
}

#[test]
fn a_time_that_cannot_be_understood_is_kept_and_is_no_error() {
    let at = |timestamp: &str| {
        let event = event(&format!(r#"{{"timestamp":{timestamp},"type":"compacted","payload":{{}}}}"#));
        (event.at.map(|at| at.to_string()), event.at_original)
    };
    assert_eq!(at(r#""2026-11-22T15:49:27+01:00""#), (Some("2026-11-22T14:49:27.000Z".into()), None));
    assert_eq!(at("1795358967"), (None, Some("1795358967".into())));
    assert_eq!(at(r#"{"secs":1}"#), (None, Some(r#"{"secs":1}"#.into())));
    assert_eq!(at(r#"["a"]"#), (None, Some(r#"["a"]"#.into())));
    assert_eq!(at(r#""2026-11-22T14:49:27""#), (None, Some(r#""2026-11-22T14:49:27""#.into())));
    assert_eq!(at("null").0, None);
    assert_eq!(at(&format!("\"{}\"", "é".repeat(500))).1.unwrap().len(), 199);
    assert_eq!(event(r#"{"type":"compacted"}"#).at_original, None);
}

#[test]
fn a_field_of_another_type_costs_only_itself() {
    let line = r#"{"type":"event_msg","ordinal":-3,"payload":{"type":"task_complete","turn_id":5,
        "last_agent_message":["x"],"error":"it broke","duration_ms":"long","completed_at":1.5}}"#;
    let event = event(&line.replace('\n', " "));
    assert_eq!((event.ordinal, event.turn_id.as_deref()), (None, None));
    let Kind::TaskComplete(completion) = event.kind else { panic!("{:?}", event.kind) };
    assert_eq!(completion.error.unwrap().message, "\"it broke\"");
    assert_eq!((completion.last_agent_message, completion.duration_ms), (None, None));
}

#[test]
fn errors_of_turns_have_a_word_and_a_status() {
    let error = |info: &str| {
        let payload =
            format!(r#"{{"type":"task_complete","error":{{"message":"m","codex_error_info":{info}}}}}"#);
        let Kind::TaskComplete(completion) =
            event(&format!(r#"{{"type":"event_msg","payload":{payload}}}"#)).kind
        else {
            panic!()
        };
        let error = completion.error.unwrap();
        (error.info, error.http_status)
    };
    assert_eq!(error(r#""usage_limit_exceeded""#), (Some("usage_limit_exceeded".into()), None));
    let failed = r#"{"http_connection_failed":{"http_status_code":401}}"#;
    assert_eq!(error(failed), (Some("http_connection_failed".into()), Some(401)));
    assert_eq!(error("null"), (None, None));
    assert_eq!(error("{}"), (None, None));
}

#[test]
fn turns_that_are_taken_back_are_counted() {
    let rolled_back = |more: &str| {
        event(&format!(r#"{{"type":"event_msg","payload":{{"type":"thread_rolled_back"{more}}}}}"#)).kind
    };
    assert_eq!(rolled_back(r#","num_turns":2"#), Kind::RolledBack { turns: 2 });
    assert_eq!(rolled_back(""), Kind::RolledBack { turns: 1 });
}

fn user(content: &str) -> Event {
    let payload = format!(r#"{{"type":"message","role":"user","content":{content}}}"#);
    event(&format!(r#"{{"type":"response_item","payload":{payload}}}"#))
}

#[test]
fn only_a_message_of_the_users_own_proves_a_delivery() {
    assert_eq!(user(r#"[{"type":"input_text","text":"a\nb"}]"#).delivered_text(), Some("a\nb"));
    let synthetic = user(r#"[{"type":"input_text","text":"<turn_aborted>\n[conveyor 7Q4K2MZ0AB] x"}]"#);
    assert_eq!(synthetic.delivered_text(), None);
    assert_eq!(synthetic.kind, Kind::UserMessage { synthetic: Some(Synthetic::TurnAborted) });
    let mixed = user(r##"[{"text":"# AGENTS.md instructions"},{"type":"input_image"},{"text":"mine"}]"##);
    assert_eq!(mixed.delivered_text(), Some("mine"));
    for echo in [
        r#"{"type":"event_msg","payload":{"type":"user_message","message":"mine"}}"#,
        r#"{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"UserMessage","content":[{"text":"mine"}]}}}"#,
    ] {
        let event = event(echo);
        assert_eq!((event.text.as_deref(), event.delivered_text()), (Some("mine"), None));
        assert!(event.is_subtype("user_message"), "found by the word of older versions");
        assert_eq!(event.reported_subtype().unwrap(), "user_message");
    }
}

#[test]
fn messages_are_kept_whole_and_all_else_by_its_beginning() {
    let long = "é".repeat(limits::WIRE_BYTES / 2);
    let message = user(&format!(r#"[{{"text":"{long}"}}]"#));
    assert_eq!((message.text.as_deref(), message.text_cut), (Some(long.as_str()), false));
    let payload = format!(r#"{{"type":"function_call_output","call_id":"c","output":"{long}"}}"#);
    let output = event(&format!(r#"{{"type":"response_item","payload":{payload}}}"#));
    assert_eq!((output.text.unwrap().len(), output.text_cut), (limits::EVENT_TEXT_BYTES, true));
}

#[test]
fn unknown_shapes_are_records_with_a_bounded_text() {
    for line in [
        r#"{"type":"hologram","payload":{"a":1}}"#,
        r#"{"type":"event_msg","payload":{"type":"hologram","a":1}}"#,
        r#"{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"Hologram"}}}"#,
        r#"{"type":"event_msg","payload":[1]}"#,
        r#"{"type":"event_msg"}"#,
        r#"{"type":"response_item","payload":{"type":"message","role":"oracle","content":[]}}"#,
        r#"{"type":"response_item","payload":{"type":"message","type":"message"}}"#,
    ] {
        let event = event(line);
        assert_eq!(event.kind, Kind::Unknown, "{line}");
        assert!(event.text.unwrap_or_default().len() <= limits::EVENT_TEXT_BYTES);
    }
}

#[test]
fn a_report_of_limits_that_says_nothing_is_none() {
    let tokens = |limits: &str| {
        let line =
            format!(r#"{{"type":"event_msg","payload":{{"type":"token_count","rate_limits":{limits}}}}}"#);
        let Kind::TokenCount(tokens) = event(&line).kind else { panic!() };
        tokens.rate_limits
    };
    assert_eq!(tokens(r#"{"limit_id":"codex","primary":null,"secondary":null,"plan_type":null}"#), None);
    let primary = r#"{"primary":{"used_percent":12.5,"window_minutes":300,"resets_at":1795358967}}"#;
    let window = tokens(primary).unwrap().primary.unwrap();
    assert_eq!((window.used_percent, window.window_minutes), (12.5, Some(300)));
    assert_eq!(window.resets_at.unwrap().to_string(), "2026-11-22T14:49:27.000Z");
}

proptest! {
    #[test]
    fn no_line_breaks_the_parser(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line, 0);
    }

    /// Real lines with one byte changed reach deeper than noise.
    #[test]
    fn no_damaged_record_breaks_the_parser(number in 0_usize..62, index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let recorded = include_str!("../../testdata/all-record-types.jsonl").lines().nth(number).unwrap();
        let mut line = recorded.as_bytes().to_vec();
        let index = index.index(line.len());
        line[index] = byte;
        if let Ok(event) = parse(&line, 3) {
            prop_assert_eq!(event.len, line.len() as u64);
        }
    }
}
