//! Follows, events and turns.

use std::time::Duration;

use conveyor_model::Timestamp;
use conveyor_store::Ledger;
use conveyor_store::events;
use conveyor_store::events::Event;
use conveyor_store::events::NewEvent;
use conveyor_store::events::Wanted;
use conveyor_store::follows;
use conveyor_store::follows::Follow;
use conveyor_store::sessions::Session;
use conveyor_store::testing::ManualClock;
use conveyor_store::testing::Place;
use conveyor_store::turns;
use serde_json::json;

use crate::world;
use crate::world::HOST;
use crate::world::begin;
use crate::world::told;

fn event(offset: i64, text: &str) -> NewEvent {
    NewEvent {
        byte_offset: offset,
        byte_len: 10,
        ordinal: Some(offset / 10),
        at: Timestamp::from_millis(1_000 + offset),
        at_original: None,
        record_type: "event_msg".to_owned(),
        subtype: Some("agent_message".to_owned()),
        subtype_alias: None,
        turn_id: Some("turn".to_owned()),
        call_id: None,
        text: Some(text.to_owned()),
        text_cut: false,
    }
}

/// Reads `count` lines of ten bytes behind what was read, as an ingester does. `false` when another one was faster.
async fn ingest(ledger: &Ledger, session: &Session, thread: &str, seen: &Follow, count: i64) -> bool {
    let mut tx = begin(ledger).await;
    let next = Follow { position: seen.position + 10 * count, ..seen.clone() };
    if !follows::advance(&mut tx, seen, &next).await.unwrap() {
        tx.roll_back().await;
        return false;
    }
    let seq = tx.audit(told().session(&session.id)).await.unwrap();
    let lines: Vec<NewEvent> = (0..count).map(|line| event(seen.position + 10 * line, thread)).collect();
    let place = events::Place {
        session_number: session.number,
        follow_number: seen.number,
        generation: seen.generation,
        seq,
    };
    events::insert(&mut tx, place, &lines).await.unwrap();
    tx.commit().await.unwrap();
    true
}

async fn follow(ledger: &Ledger, thread: &str) -> Follow {
    let mut tx = begin(ledger).await;
    let follow = follows::begin(&mut tx, thread, "/r", 1, 2).await.unwrap();
    tx.commit().await.unwrap();
    follow
}

pub(crate) async fn a_line_is_stored_once_by_two_ingesters(place: &Place) {
    let ledger = place.open().await.unwrap();
    let worker = world::world(&ledger).await.worker;
    follow(&ledger, "t").await;
    let mut ingesters = Vec::new();
    for _ in 0..4 {
        let (ledger, worker) = (place.open().await.unwrap(), worker.clone());
        ingesters.push(tokio::spawn(async move {
            let mut won = 0;
            loop {
                let seen = follows::get(&mut ledger.read().await.unwrap(), "t").await.unwrap().unwrap();
                if seen.position >= 2_000 {
                    return won;
                }
                // Everybody has read the position before anybody moves it.
                tokio::task::yield_now().await;
                won += i64::from(ingest(&ledger, &worker, "t", &seen, 20).await);
            }
        }));
    }
    let mut won = 0;
    for ingester in ingesters {
        won += ingester.await.unwrap();
    }
    assert_eq!(won, 10, "each batch was stored by exactly one");
    let mut db = ledger.read().await.unwrap();
    assert_eq!(events::count(&mut db, worker.number, 0).await.unwrap(), 200);
    let stored =
        events::list(&mut db, &Wanted { oldest_first: true, ..Wanted::default() }, 300).await.unwrap();
    let offsets: Vec<i64> = stored.iter().map(|event| event.byte_offset).collect();
    assert_eq!(offsets, (0..200).map(|line| 10 * line).collect::<Vec<_>>());
}

pub(crate) async fn a_rewritten_rollout_begins_a_generation(place: &Place) {
    let ledger = place.open().await.unwrap();
    let worker = world::world(&ledger).await.worker;
    let seen = follow(&ledger, "t").await;
    assert_eq!(follow(&ledger, "t").await, seen, "a rollout is begun once");
    assert!(ingest(&ledger, &worker, "t", &seen, 3).await);
    assert!(!ingest(&ledger, &worker, "t", &seen, 3).await, "the position has moved");

    let mut tx = begin(&ledger).await;
    let read = follows::get(&mut tx, "t").await.unwrap().unwrap();
    assert_eq!(read.position, 30);
    let rewritten = Follow {
        path: "/r2".to_owned(),
        inode: 9,
        position: 0,
        generation: 1,
        last_ordinal: Some(3),
        last_at: Some(tx.now()),
        counters_json: json!({"bad_lines": 1}),
        ..read.clone()
    };
    assert!(follows::advance(&mut tx, &read, &rewritten).await.unwrap());
    tx.audit(told()).await.unwrap();
    tx.commit().await.unwrap();

    let again = follows::get(&mut ledger.read().await.unwrap(), "t").await.unwrap().unwrap();
    assert_eq!(Follow { updated_at: rewritten.updated_at, ..again.clone() }, rewritten);
    assert!(ingest(&ledger, &worker, "t", &again, 3).await);
    let mut db = ledger.read().await.unwrap();
    assert_eq!(
        events::count(&mut db, worker.number, 0).await.unwrap(),
        6,
        "the same offsets in another generation"
    );
    assert_eq!(follows::list(&mut db, 10).await.unwrap().len(), 1);
}

pub(crate) async fn events_are_found_again(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let seen = follow(&ledger, "t").await;
    let mut tx = begin(&ledger).await;
    let seq = tx.audit(told()).await.unwrap();
    let of_worker =
        events::Place { session_number: w.worker.number, follow_number: seen.number, generation: 0, seq };
    let mut lines: Vec<NewEvent> = (0..1_203).map(|line| event(10 * line, "x")).collect();
    lines[1_202] = NewEvent {
        ordinal: None,
        at_original: Some("yesterday".to_owned()),
        record_type: "response_item".to_owned(),
        subtype: Some("task_complete".to_owned()),
        subtype_alias: Some("turn_complete".to_owned()),
        turn_id: Some("other".to_owned()),
        call_id: Some("call".to_owned()),
        text: None,
        text_cut: true,
        ..lines[1_202].clone()
    };
    let first = events::insert(&mut tx, of_worker, &lines).await.unwrap();
    events::insert(&mut tx, of_worker, &lines[..2]).await.unwrap();
    tx.commit().await.unwrap();

    let mut db = ledger.read().await.unwrap();
    let number = Some(w.worker.number);
    assert_eq!(
        events::count(&mut db, w.worker.number, 0).await.unwrap(),
        1_203,
        "what is stored is passed over"
    );
    let last = events::last(&mut db, w.worker.number).await.unwrap().unwrap();
    let expected = Event {
        id: first + 1_202,
        session_id: w.worker.id.clone(),
        thread_id: "t".to_owned(),
        generation: 0,
        byte_offset: 12_020,
        byte_len: 10,
        ordinal: None,
        at: Timestamp::from_millis(13_020),
        at_original: Some("yesterday".to_owned()),
        record_type: "response_item".to_owned(),
        subtype: Some("task_complete".to_owned()),
        subtype_alias: Some("turn_complete".to_owned()),
        turn_id: Some("other".to_owned()),
        call_id: Some("call".to_owned()),
        text: None,
        text_cut: true,
        seq,
    };
    assert_eq!(last, expected);
    assert_eq!(events::get(&mut db, last.id).await.unwrap(), Some(last.clone()));
    let wanted = [
        Wanted { subtype: Some("turn_complete".to_owned()), ..Wanted::default() },
        Wanted { subtype: Some("task_complete".to_owned()), session_number: number, ..Wanted::default() },
        Wanted { record_type: Some("response_item".to_owned()), ..Wanted::default() },
        Wanted { turn_id: Some("other".to_owned()), ..Wanted::default() },
        Wanted { after_id: Some(last.id - 1), ..Wanted::default() },
        Wanted { since: Some(last.at), ..Wanted::default() },
    ];
    for wanted in wanted {
        assert_eq!(events::list(&mut db, &wanted, 5).await.unwrap(), [last.clone()], "{wanted:?}");
    }
    let none = Wanted { session_number: Some(w.manager.number), ..Wanted::default() };
    assert_eq!(events::list(&mut db, &none, 5).await.unwrap(), []);
    assert_eq!(events::last(&mut db, w.manager.number).await.unwrap(), None);
}

pub(crate) async fn events_with_odd_texts_survive(place: &Place) {
    let ledger = place.open().await.unwrap();
    let worker = world::world(&ledger).await.worker;
    let seen = follow(&ledger, "t").await;
    let texts =
        ["", "\\u0000 literally", "quote ' \" \\ {} [] \n\r\t", "\u{1F600}é\u{202e}", "a\0b", "NaN", "null"];
    let mut tx = begin(&ledger).await;
    let seq = tx.audit(told()).await.unwrap();
    let place =
        events::Place { session_number: worker.number, follow_number: seen.number, generation: 0, seq };
    let lines: Vec<NewEvent> = texts.iter().zip(0..).map(|(text, line)| event(line, text)).collect();
    events::insert(&mut tx, place, &lines).await.unwrap();
    tx.commit().await.unwrap();
    let wanted = Wanted { oldest_first: true, ..Wanted::default() };
    let stored = events::list(&mut ledger.read().await.unwrap(), &wanted, 100).await.unwrap();
    let stored: Vec<&str> = stored.iter().filter_map(|event| event.text.as_deref()).collect();
    let expected: Vec<String> = texts.iter().map(|text| text.replace('\0', "\u{fffd}")).collect();
    assert_eq!(stored, expected);
}

pub(crate) async fn a_turn_keeps_the_moment_of_its_change(place: &Place) {
    let clock = std::sync::Arc::new(ManualClock::default());
    let ledger = place.open_with(clock.clone(), std::sync::Arc::new(conveyor_store::OpenGate)).await.unwrap();
    let worker = world::world(&ledger).await.worker;
    let mut moments = Vec::new();
    for (state, calls) in [("busy", 0), ("busy", 1), ("idle", 0)] {
        clock.advance(Duration::from_secs(1));
        let mut tx = begin(&ledger).await;
        turns::put(&mut tx, &worker.id, state, &json!({"open_calls": calls}), Some(calls)).await.unwrap();
        tx.audit(told()).await.unwrap();
        tx.commit().await.unwrap();
        let row = turns::get(&mut ledger.read().await.unwrap(), &worker.id).await.unwrap().unwrap();
        assert_eq!((row.state.as_str(), &row.turn_json), (state, &json!({"open_calls": calls})));
        assert_eq!(row.observed_event_id, Some(calls));
        moments.push((row.changed_at, row.updated_at));
    }
    assert_eq!(moments[0].0, moments[1].0, "still busy since the same moment");
    assert!(moments[1].1 > moments[0].1);
    assert_eq!(moments[2].0, moments[2].1);
    let mut db = ledger.read().await.unwrap();
    assert_eq!(turns::in_state(&mut db, HOST, "idle").await.unwrap().len(), 1);
    assert_eq!(turns::in_state(&mut db, HOST, "busy").await.unwrap(), []);
    assert_eq!(turns::in_state(&mut db, "elsewhere", "idle").await.unwrap(), []);
}
