use proptest::prelude::*;

use super::*;
use crate::rollout::Item;
use crate::rollout::Synthetic;

const FIRST: &str = "01a203b3-bb85-70e0-b271-67688f575b07";
const SECOND: &str = "01a203b3-d56d-7342-9232-f7b8a5294256";

fn event(kind: Kind) -> Event {
    Event::of("event_msg".into(), kind)
}

fn in_turn(turn_id: &str, kind: Kind) -> Event {
    Event { turn_id: Some(turn_id.to_owned()), ..event(kind) }
}

fn started() -> Kind {
    Kind::TaskStarted { context_window: None }
}

fn complete() -> Kind {
    Kind::TaskComplete(Box::default())
}

fn failed() -> Kind {
    let error = Some(TurnError { message: "no".into(), ..TurnError::default() });
    Kind::TaskComplete(Box::new(Completion { error, ..Completion::default() }))
}

fn call(id: &str) -> Event {
    Event { call_id: Some(id.to_owned()), ..event(Kind::ToolCall { name: Some("exec_command".into()) }) }
}

fn output(id: &str) -> Event {
    Event { call_id: Some(id.to_owned()), ..event(Kind::ToolOutput) }
}

fn user() -> Kind {
    Kind::UserMessage { synthetic: None }
}

fn answered() -> Kind {
    Kind::TokenCount(Box::new(Tokens { last: Some(TokenUsage::default()), ..Tokens::default() }))
}

fn after(events: impl IntoIterator<Item = Event>) -> Turn {
    let mut turn = Turn::default();
    for event in events {
        turn.observe(&event);
    }
    turn
}

#[test]
fn aborted_leaves_busy() {
    let turn = after([in_turn(FIRST, started()), in_turn(FIRST, Kind::TurnAborted(Aborted::default()))]);
    assert_eq!((turn.state, turn.coarse(), turn.task_completed()), (TurnState::Aborted, Coarse::Idle, false));
}

#[test]
fn a_token_count_after_the_completion_keeps_it_completed() {
    let mut turn = after([in_turn(FIRST, started()), in_turn(FIRST, complete()), event(answered())]);
    assert_eq!((turn.state, turn.task_completed()), (TurnState::Idle, true));
    turn.observe(&in_turn(SECOND, started()));
    assert_eq!((turn.state, turn.task_completed()), (TurnState::Busy, false));
    assert!(turn.receipt.is_some(), "the last receipt stays until the next");
}

#[test]
fn the_end_of_an_older_turn_is_told_but_the_newer_one_runs_on() {
    let mut turn = after([in_turn(FIRST, started()), in_turn(SECOND, started())]);
    let end = turn.observe(&in_turn(FIRST, complete())).unwrap();
    assert_eq!(end.turn_id.as_deref(), Some(FIRST));
    assert_eq!((turn.state, turn.task_completed()), (TurnState::Busy, false));
}

#[test]
fn an_end_whose_beginning_was_lost_ends_all_the_same() {
    let turn = after([in_turn(FIRST, started()), in_turn(SECOND, failed())]);
    assert_eq!((turn.state, turn.outcome), (TurnState::Errored, Some(Outcome::Errored)));
    assert_eq!(after([in_turn(SECOND, complete())]).state, TurnState::Idle);
}

#[test]
fn calls_are_open_until_their_output_and_bounded() {
    let mut turn = after([in_turn(FIRST, started()), call("a"), call("b"), output("a")]);
    assert_eq!(turn.open_calls.iter().map(|call| call.call_id.as_str()).collect::<Vec<_>>(), ["b"]);
    for number in 0..200 {
        turn.observe(&call(&number.to_string()));
    }
    assert_eq!(
        (turn.open_calls.len(), turn.open_calls_more),
        (limits::OPEN_CALLS, 201 - limits::OPEN_CALLS as u64)
    );
    turn.observe(&in_turn(FIRST, complete()));
    assert_eq!((turn.open_calls.len(), turn.open_calls_more), (0, 0));
}

#[test]
fn an_unmarked_thread_is_busy_until_an_answer_without_a_call() {
    let mut turn = after([event(user())]);
    assert_eq!((turn.state, turn.inferred), (TurnState::Busy, true));
    // Words before a tool call are not the end, nor is the count that belongs to the answer with the call.
    for event in [event(Kind::AgentMessage), call("a"), event(answered()), output("a"), event(answered())] {
        assert_eq!(turn.observe(&event), None);
    }
    turn.observe(&Event { text: Some("done".into()), ..event(Kind::AgentMessage) });
    let end = turn.observe(&event(answered())).unwrap();
    assert_eq!((end.inferred, end.last_agent_message.as_deref()), (true, Some("done")));
    assert_eq!((turn.state, turn.inferred), (TurnState::Idle, true));
}

#[test]
fn a_message_alone_does_not_start_a_turn_where_turns_are_marked() {
    let turn = after([in_turn(FIRST, started()), in_turn(FIRST, complete()), event(user())]);
    assert_eq!(turn.state, TurnState::Idle);
}

#[test]
fn a_compaction_shows_between_its_record_and_the_next_step() {
    let mut turn = after([in_turn(FIRST, started()), event(Kind::Compacted)]);
    assert_eq!((turn.state, turn.coarse(), turn.compactions), (TurnState::Compacting, Coarse::Busy, 1));
    turn.observe(&event(Kind::CompactedEcho));
    assert_eq!((turn.state, turn.compactions), (TurnState::Busy, 1));
    assert_eq!(after([in_turn(FIRST, complete()), event(Kind::Compacted)]).state, TurnState::Idle);
}

#[test]
fn the_row_survives_the_ledger() {
    let turn = after([in_turn(FIRST, started()), call("a"), event(answered()), in_turn(FIRST, failed())]);
    let text = serde_json::to_string(&turn).unwrap();
    assert_eq!(serde_json::from_str::<Turn>(&text).unwrap(), turn);
    assert_eq!(serde_json::from_str::<Turn>("{}").unwrap(), Turn::default());
}

fn any_event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(Kind::SessionMeta(Box::default())),
        Just(Kind::TurnContext(Box::default())),
        Just(started()),
        Just(complete()),
        Just(failed()),
        Just(Kind::TurnAborted(Aborted::default())),
        Just(user()),
        Just(Kind::UserMessage { synthetic: Some(Synthetic::TurnAborted) }),
        Just(Kind::UserEcho { client_id: None }),
        Just(Kind::AgentMessage),
        Just(Kind::AgentEcho),
        Just(Kind::ToolCall { name: None }),
        Just(Kind::ToolOutput),
        Just(Kind::ItemDone(Item::default())),
        Just(Kind::Compacted),
        Just(Kind::CompactedEcho),
        Just(answered()),
        Just(Kind::Bookkeeping),
        Just(Kind::Unknown),
    ];
    let turn_id = prop::option::of(prop_oneof![Just(FIRST), Just(SECOND), Just("1")]);
    let call_id = prop::option::of(prop_oneof![Just("a"), Just("b")]);
    let at = prop::option::of(any::<i64>().prop_map(Timestamp::from_millis));
    (kind, turn_id, call_id, at).prop_map(|(kind, turn_id, call_id, at)| Event {
        turn_id: turn_id.map(ToOwned::to_owned),
        call_id: call_id.map(ToOwned::to_owned),
        at,
        ..event(kind)
    })
}

proptest! {
    #[test]
    fn any_order_of_records_keeps_the_rules(events in prop::collection::vec(any_event(), 0..60)) {
        let mut turn = Turn::default();
        for event in events {
            let before = turn.clone();
            let end = turn.observe(&event);
            prop_assert!(turn.open_calls.len() <= limits::OPEN_CALLS);
            let running = turn.coarse() == Coarse::Busy;
            prop_assert!(!(running && turn.completed), "no turn is busy and completed");
            if let Some(end) = end {
                prop_assert!(!running || before.is_older(end.turn_id.as_deref()), "an end of the newest turn ends it");
            }
            if matches!(event.kind, Kind::TokenCount(_) | Kind::Bookkeeping | Kind::Unknown) {
                prop_assert!(turn.completed >= before.completed, "noise never takes a completion back");
            }
        }
    }
}

#[test]
fn what_is_rolled_back_is_taken_back_unless_a_turn_that_ended_by_itself_answered_it() {
    let turn = Turn { receipt_event_id: Some(10), ended_turn_id: Some("b".to_owned()), ..Turn::default() };
    assert!(turn.takes_back(1, 12, Some("b")));
    assert!(!turn.takes_back(0, 12, Some("b")));
    assert!(!turn.takes_back(1, 11, Some("a")), "the turn before was not rolled back");
    assert!(turn.takes_back(2, 11, Some("a")));
    assert!(!turn.takes_back(2, 9, Some("0")), "it was answered");
    assert!(Turn::default().takes_back(1, 1, None), "0.99 names no turns");
}
