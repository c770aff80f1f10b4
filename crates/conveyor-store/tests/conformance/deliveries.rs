//! Deliveries: acceptance, leases, moves, the inbox.

use std::sync::Arc;
use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Retry;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_store::Ledger;
use conveyor_store::OpenGate;
use conveyor_store::audit;
use conveyor_store::deliveries;
use conveyor_store::deliveries::AttemptState;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::deliveries::Wanted;
use conveyor_store::interrupts;
use conveyor_store::sessions::Role;
use conveyor_store::testing::ManualClock;
use conveyor_store::testing::Place;
use conveyor_store::threads;
use serde_json::json;

use crate::world;
use crate::world::HOST;
use crate::world::begin;
use crate::world::enqueue;
use crate::world::message;
use crate::world::told;

const MINUTE: Duration = Duration::from_mins(1);

async fn with_clock(place: &Place) -> (Ledger, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (place.open_with(clock.clone(), Arc::new(OpenGate)).await.unwrap(), clock)
}

async fn step(ledger: &Ledger, delivery: &Delivery, to: Stage, change: Change) -> Option<Delivery> {
    let mut tx = begin(ledger).await;
    let epoch = Some(delivery.epoch);
    let moved = deliveries::move_state(&mut tx, &delivery.id, epoch, delivery.state, to, &change, told())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    moved
}

pub(crate) async fn the_same_key_is_the_same_delivery(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let keyed = |tx: &conveyor_store::Tx| NewDelivery {
        idempotency_key: Some("key".to_owned()),
        task: Some(w.task.id.clone()),
        binding: Some(w.binding.id.clone()),
        source: Some(w.manager.id.clone()),
        payload: json!({"iteration": 2}),
        required_permission: Some("repo.open_pr".to_owned()),
        ..message(tx, &w.worker, "go on")
    };
    let new = keyed(&tx);
    let first = deliveries::insert(&mut tx, new, told()).await.unwrap();
    assert!(!first.deduplicated);
    tx.commit().await.unwrap();

    let mut tx = begin(&ledger).await;
    let new = keyed(&tx);
    let again = deliveries::insert(&mut tx, new, told()).await.unwrap();
    assert!(again.deduplicated);
    assert_eq!(again.delivery, first.delivery);
    tx.commit().await.unwrap();

    let mut db = ledger.read().await.unwrap();
    assert_eq!(deliveries::get(&mut db, &first.delivery.id).await.unwrap(), Some(first.delivery.clone()));
    let number = first.delivery.number;
    assert_eq!(deliveries::by_number(&mut db, number).await.unwrap(), Some(first.delivery.clone()));
    assert_eq!(deliveries::list(&mut db, &Wanted::default(), 10).await.unwrap(), [first.delivery.clone()]);
    let wanted = audit::Wanted { delivery: Some(first.delivery.id.clone()), ..Default::default() };
    let rows = audit::list(&mut db, &wanted, 9).await.unwrap();
    assert_eq!(rows.len(), 1, "what is written once is told once");
    assert_eq!(rows[0].seq, first.delivery.seq, "the order of deliveries is the order of the chain");
}

pub(crate) async fn a_key_with_other_content_is_a_conflict(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let keyed = |tx: &conveyor_store::Tx, text: &str| NewDelivery {
        idempotency_key: Some("key".to_owned()),
        ..message(tx, &w.worker, text)
    };
    let new = keyed(&tx, "a");
    deliveries::insert(&mut tx, new, told()).await.unwrap();
    let new = keyed(&tx, "b");
    assert_eq!(deliveries::insert(&mut tx, new, told()).await.unwrap_err().kind, ErrorKind::Conflict);
    for key in ["", &"x".repeat(513)] {
        let new = NewDelivery { idempotency_key: Some(key.to_owned()), ..keyed(&tx, "c") };
        assert_eq!(deliveries::insert(&mut tx, new, told()).await.unwrap_err().kind, ErrorKind::Usage);
    }
    // An observation is routed once, whatever text a second observer makes of it.
    let routed = |tx: &conveyor_store::Tx, text: &str| NewDelivery {
        dedupe_key: Some("binding:event".to_owned()),
        ..message(tx, &w.manager, text)
    };
    let new = routed(&tx, "a");
    let first = deliveries::insert(&mut tx, new, told()).await.unwrap();
    let new = routed(&tx, "b");
    let again = deliveries::insert(&mut tx, new, told()).await.unwrap();
    assert!(again.deduplicated && again.delivery.id == first.delivery.id);
}

pub(crate) async fn deliveries_are_leased_first_in_first_out(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut sent = Vec::new();
    for text in ["1", "2", "3"] {
        let mut tx = begin(&ledger).await;
        sent.push(enqueue(&mut tx, &w.worker, text).await.id);
        tx.commit().await.unwrap();
    }
    let mut leased = Vec::new();
    for _ in 0..3 {
        let mut tx = begin(&ledger).await;
        let lease = deliveries::lease_next(&mut tx, &w.worker.id, "d", MINUTE).await.unwrap().unwrap();
        assert_eq!(
            (lease.was, lease.delivery.state, lease.delivery.epoch),
            (Stage::Pending, Stage::Leased, 1)
        );
        let next = deliveries::lease_next(&mut tx, &w.worker.id, "d", MINUTE).await.unwrap();
        assert_eq!(next, None, "nothing overtakes what is held");
        tx.commit().await.unwrap();
        let begun = step(&ledger, &lease.delivery, Stage::EffectStarted, Change::default()).await.unwrap();
        step(&ledger, &begun, Stage::Submitted, Change::default()).await.unwrap();
        leased.push(lease.delivery.id);
    }
    assert_eq!(leased, sent);
    let mut db = ledger.read().await.unwrap();
    assert_eq!(
        deliveries::open_for(&mut db, &w.worker.id, 10).await.unwrap().len(),
        3,
        "submitted is not settled"
    );
    assert_eq!(deliveries::open_on(&mut db, HOST, 10).await.unwrap().len(), 3);
    assert_eq!(deliveries::open_on(&mut db, "elsewhere", 10).await.unwrap(), []);
    assert_eq!(deliveries::counts(&mut db, None).await.unwrap(), [(Stage::Submitted, 3)]);
}

pub(crate) async fn a_blocked_head_holds_up_only_its_own_target(place: &Place) {
    let (ledger, clock) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let other = world::session(&mut tx, "other", Role::Worker).await;
    let stuck = enqueue(&mut tx, &w.worker, "stuck").await;
    enqueue(&mut tx, &w.worker, "behind it").await;
    let free = enqueue(&mut tx, &other, "free").await;
    let now = tx.now();
    assert_eq!(
        deliveries::ready_targets(&mut tx, HOST, now).await.unwrap(),
        [w.worker.id.clone(), other.id.clone()]
    );
    assert_eq!(deliveries::ready_targets(&mut tx, "elsewhere", now).await.unwrap(), []);
    deliveries::lease_next(&mut tx, &w.worker.id, "d1", MINUTE).await.unwrap().unwrap();
    let lease = deliveries::lease_next(&mut tx, &other.id, "d2", MINUTE).await.unwrap().unwrap();
    assert_eq!(lease.delivery.id, free.id);
    tx.commit().await.unwrap();

    clock.advance(2 * MINUTE);
    let mut tx = begin(&ledger).await;
    let taken = deliveries::lease_next(&mut tx, &w.worker.id, "d2", MINUTE).await.unwrap().unwrap();
    assert_eq!(
        (taken.delivery.id, taken.was, taken.delivery.epoch),
        (stuck.id, Stage::Leased, 2),
        "the head first"
    );
}

pub(crate) async fn a_lease_that_was_lost_can_change_nothing(place: &Place) {
    let (ledger, clock) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    enqueue(&mut tx, &w.worker, "x").await;
    let sleeper =
        deliveries::lease_next(&mut tx, &w.worker.id, "sleeper", MINUTE).await.unwrap().unwrap().delivery;
    tx.commit().await.unwrap();

    let mut tx = begin(&ledger).await;
    assert_eq!(deliveries::lease(&mut tx, &sleeper.id, "thief", MINUTE).await.unwrap(), None, "it is held");
    assert!(deliveries::renew(&mut tx, &sleeper.id, sleeper.epoch, 2 * MINUTE).await.unwrap());
    tx.commit().await.unwrap();
    clock.advance(MINUTE + Duration::from_secs(1));
    let mut tx = begin(&ledger).await;
    assert_eq!(
        deliveries::lease(&mut tx, &sleeper.id, "thief", MINUTE).await.unwrap(),
        None,
        "it was renewed"
    );
    tx.roll_back().await;

    clock.advance(MINUTE);
    let mut tx = begin(&ledger).await;
    let heir = deliveries::lease(&mut tx, &sleeper.id, "heir", MINUTE).await.unwrap().unwrap().delivery;
    tx.commit().await.unwrap();
    assert_eq!(heir.epoch, sleeper.epoch + 1);
    assert_eq!(step(&ledger, &sleeper, Stage::EffectStarted, Change::default()).await, None);
    let mut tx = begin(&ledger).await;
    assert!(!deliveries::renew(&mut tx, &sleeper.id, sleeper.epoch, MINUTE).await.unwrap());
    let now = tx.now();
    assert!(!deliveries::release(&mut tx, &sleeper.id, sleeper.epoch, now, told()).await.unwrap());
    assert!(!deliveries::note_look(&mut tx, &sleeper.id, sleeper.epoch, false).await.unwrap());
    tx.roll_back().await;
    let begun = step(&ledger, &heir, Stage::EffectStarted, Change::default()).await.unwrap();
    assert_eq!(
        step(&ledger, &heir, Stage::EffectStarted, Change::default()).await,
        None,
        "it stands elsewhere now"
    );
    assert_eq!(begun.leased_by.as_deref(), Some("heir"), "whoever begins an effect keeps the lease");
    let attempts = deliveries::attempts(&mut ledger.read().await.unwrap(), &heir.id).await.unwrap();
    let states: Vec<AttemptState> = attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [AttemptState::Abandoned, AttemptState::Running]);
}

pub(crate) async fn four_dispatchers_lease_each_delivery_once(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    for n in 0..20 {
        let target = if n % 2 == 0 { &w.worker } else { &w.manager };
        enqueue(&mut tx, target, "x").await;
    }
    tx.commit().await.unwrap();
    let mut dispatchers = Vec::new();
    for n in 0..4 {
        let ledger = place.open().await.unwrap();
        let targets = [w.worker.id.clone(), w.manager.id.clone()];
        dispatchers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let mut tx = begin(&ledger).await;
                let mut leased = None;
                for target in &targets {
                    if leased.is_none() {
                        leased =
                            deliveries::lease_next(&mut tx, target, &format!("d{n}"), MINUTE).await.unwrap();
                    }
                }
                let open = deliveries::open_on(&mut tx, HOST, 100).await.unwrap();
                tx.commit().await.unwrap();
                let Some(lease) = leased else {
                    if open.iter().all(|delivery| delivery.state == Stage::Submitted) {
                        return done;
                    }
                    tokio::task::yield_now().await;
                    continue;
                };
                let begun =
                    step(&ledger, &lease.delivery, Stage::EffectStarted, Change::default()).await.unwrap();
                step(&ledger, &begun, Stage::Submitted, Change::default()).await.unwrap();
                done.push(lease.delivery.number);
            }
        }));
    }
    let mut done = Vec::new();
    for dispatcher in dispatchers {
        done.extend(dispatcher.await.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (1..=20).collect::<Vec<_>>());
    let mut db = ledger.read().await.unwrap();
    for delivery in deliveries::list(&mut db, &Wanted::default(), 100).await.unwrap() {
        assert_eq!((delivery.epoch, delivery.attempts), (1, 1));
    }
}

pub(crate) async fn a_released_lease_waits_until_it_is_due(place: &Place) {
    let (ledger, clock) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    let later = tx.now().plus(MINUTE);
    assert!(deliveries::release(&mut tx, &sent.id, lease.epoch, later, told()).await.unwrap());
    assert_eq!(deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap(), None, "it is not due");
    let now = tx.now();
    assert_eq!(deliveries::ready_targets(&mut tx, HOST, now).await.unwrap(), []);
    tx.commit().await.unwrap();
    clock.advance(MINUTE);
    let mut tx = begin(&ledger).await;
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap();
    assert_eq!((lease.was, lease.delivery.attempts), (Stage::Pending, 2));
    let limited = NewDelivery { max_attempts: 0, ..message(&tx, &w.manager, "never") };
    let limited = deliveries::insert(&mut tx, limited, told()).await.unwrap().delivery;
    assert_eq!(
        deliveries::lease(&mut tx, &limited.id, "d", MINUTE).await.unwrap(),
        None,
        "no attempt is left"
    );
}

pub(crate) async fn what_a_holder_holds_is_known_until_it_is_given_back(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mine = enqueue(&mut tx, &w.worker, "mine").await;
    enqueue(&mut tx, &w.worker, "nobody's").await;
    let lease = deliveries::lease_next(&mut tx, &w.worker.id, "me", MINUTE).await.unwrap().unwrap();
    let held = deliveries::held_by(&mut tx, HOST, "me").await.unwrap();
    assert_eq!(held.iter().map(|one| &one.id).collect::<Vec<_>>(), [&mine.id]);
    assert_eq!(deliveries::held_by(&mut tx, HOST, "another").await.unwrap(), []);
    assert_eq!(deliveries::held_by(&mut tx, "elsewhere", "me").await.unwrap(), []);
    let now = tx.now();
    assert!(deliveries::release(&mut tx, &mine.id, lease.delivery.epoch, now, told()).await.unwrap());
    assert_eq!(deliveries::held_by(&mut tx, HOST, "me").await.unwrap(), []);
    tx.commit().await.unwrap();
}

pub(crate) async fn the_next_moment_is_known(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let now = tx.now();
    assert_eq!(deliveries::next_due(&mut tx, HOST, now).await.unwrap(), None);
    let later = NewDelivery { available_at: Some(now.plus(2 * MINUTE)), ..message(&tx, &w.worker, "later") };
    deliveries::insert(&mut tx, later, told()).await.unwrap();
    assert_eq!(deliveries::next_due(&mut tx, HOST, now).await.unwrap(), Some(now.plus(2 * MINUTE)));
    let short = NewDelivery { expires_at: Some(now), ..message(&tx, &w.manager, "short") };
    let short = deliveries::insert(&mut tx, short, told()).await.unwrap().delivery;
    assert_eq!(deliveries::overdue(&mut tx, HOST, now, 10).await.unwrap()[0].id, short.id);
    let lease = deliveries::lease(&mut tx, &short.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    assert_eq!(
        deliveries::next_due(&mut tx, HOST, now).await.unwrap(),
        Some(now.plus(MINUTE)),
        "the lease's end"
    );
    assert_eq!(
        deliveries::overdue(&mut tx, HOST, now, 10).await.unwrap(),
        [],
        "only what nobody has begun expires"
    );
    tx.commit().await.unwrap();
    let begun = step(&ledger, &lease, Stage::EffectStarted, Change::default()).await.unwrap();
    step(&ledger, &begun, Stage::Submitted, Change::default()).await.unwrap();
    let mut db = ledger.read().await.unwrap();
    assert_eq!(deliveries::unwatched(&mut db, HOST, now, 10).await.unwrap(), []);
    let unwatched = deliveries::unwatched(&mut db, HOST, now.plus(MINUTE), 10).await.unwrap();
    assert_eq!(unwatched[0].id, short.id);
}

pub(crate) async fn an_illegal_move_is_refused(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    let change = Change::default();
    for to in [Stage::Submitted, Stage::Answered, Stage::Pending] {
        let moved =
            deliveries::move_state(&mut tx, &sent.id, None, Stage::Pending, to, &change, told()).await;
        assert_eq!(moved.unwrap_err().kind, ErrorKind::Conflict, "{to}");
    }
}

pub(crate) async fn a_token_finds_its_delivery(place: &Place) {
    let (ledger, clock) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    threads::adopt(&mut tx, &w.worker.id, "t1", None, "lock", told()).await.unwrap();
    threads::adopt(&mut tx, &w.worker.id, "t2", None, "lock", told()).await.unwrap();
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    assert_eq!(
        deliveries::unsettled_of_thread(&mut tx, "t2").await.unwrap(),
        [],
        "nothing can be proved yet"
    );
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    tx.commit().await.unwrap();
    let effect = Change {
        effect_pin: Some(json!({"pane": "%1"})),
        effect_thread: Some("t1".to_owned()),
        effect_rollout: Some("/r".to_owned()),
        effect_offset: Some(77),
        wire_digest: Some("digest".to_owned()),
        ..Change::default()
    };
    let begun = step(&ledger, &lease, Stage::EffectStarted, effect).await.unwrap();
    assert_eq!((begun.effect_offset, begun.effect_at), (Some(77), Some(begun.updated_at)));
    clock.advance(Duration::from_secs(1));
    let submitted = step(&ledger, &begun, Stage::Submitted, Change::default()).await.unwrap();

    let mut tx = begin(&ledger).await;
    let open = deliveries::unsettled_of_thread(&mut tx, "t2").await.unwrap();
    assert_eq!(open, [submitted.clone()], "a fork of the thread may hold the record");
    assert_eq!(deliveries::by_token(&mut tx, &sent.token).await.unwrap(), Some(submitted.clone()));
    assert_eq!(deliveries::by_token(&mut tx, "0000000000").await.unwrap(), None);
    let found = Change {
        recorded_event: Some(5),
        recorded_turn: Some("turn".to_owned()),
        altered: true,
        ..Change::default()
    };
    let recorded =
        deliveries::move_state(&mut tx, &sent.id, None, Stage::Submitted, Stage::Recorded, &found, told())
            .await;
    let recorded = recorded.unwrap().unwrap();
    assert_eq!(
        (recorded.altered, recorded.leased_by.clone(), recorded.recorded_at),
        (true, None, Some(tx.now()))
    );
    assert_eq!(deliveries::recorded_in_turn(&mut tx, &w.worker.id, Some("other")).await.unwrap(), []);
    assert_eq!(
        deliveries::recorded_in_turn(&mut tx, &w.worker.id, Some("turn")).await.unwrap(),
        [recorded.clone()]
    );
    assert_eq!(deliveries::recorded_in_turn(&mut tx, &w.worker.id, None).await.unwrap(), [recorded.clone()]);
    assert_eq!(deliveries::recorded_behind(&mut tx, &w.worker.id, 5).await.unwrap(), []);
    assert_eq!(deliveries::recorded_behind(&mut tx, &w.worker.id, 4).await.unwrap(), [recorded.clone()]);
    tx.commit().await.unwrap();
    let answered = step(&ledger, &recorded, Stage::Answered, Change::default()).await.unwrap();
    assert_eq!(answered.answered_at, Some(answered.updated_at));
    assert_eq!(answered.submitted_at, submitted.submitted_at);
    let wanted = [
        Wanted { states: vec![Stage::Answered, Stage::Failed], ..Wanted::default() },
        Wanted { kinds: vec!["nudge_worker".to_owned()], newest_first: true, ..Wanted::default() },
        Wanted { target: Some(w.worker.id.clone()), after: Some(answered.seq - 1), ..Wanted::default() },
        Wanted { correlation: Some(answered.correlation_id.clone()), ..Wanted::default() },
    ];
    let mut db = ledger.read().await.unwrap();
    for wanted in wanted {
        assert_eq!(deliveries::list(&mut db, &wanted, 10).await.unwrap(), [answered.clone()], "{wanted:?}");
    }
    let of_task = Wanted { task: Some(w.task.id.clone()), ..Wanted::default() };
    assert_eq!(deliveries::list(&mut db, &of_task, 10).await.unwrap(), []);
}

pub(crate) async fn a_late_record_lifts_an_unproved_delivery(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    threads::adopt(&mut tx, &w.worker.id, "t", None, "lock", told()).await.unwrap();
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    tx.commit().await.unwrap();
    let begun = step(&ledger, &lease, Stage::EffectStarted, Change::default()).await.unwrap();
    let why = Error::timeout("no record was found").retry(Retry::Unknown);
    let unproved = Change { error: Some(why), result: Some(json!({"looks": 2})), ..Change::default() };
    let unproved = step(&ledger, &begun, Stage::Unproved, unproved).await.unwrap();
    assert_eq!(unproved.error_kind.as_deref(), Some("timeout"));
    assert_eq!(unproved.retry.as_deref(), Some("unknown"));
    assert_eq!(unproved.result_json, Some(json!({"looks": 2})));
    let mut db = ledger.read().await.unwrap();
    assert_eq!(deliveries::unsettled_of_thread(&mut db, "t").await.unwrap(), [unproved.clone()]);
    drop(db);
    assert_eq!(
        step(&ledger, &unproved, Stage::Recorded, Change::default()).await.unwrap().state,
        Stage::Recorded
    );
}

pub(crate) async fn looks_are_counted_in_a_row(place: &Place) {
    let (ledger, clock) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    let first = tx.now();
    for (found, looks) in [(false, 1), (false, 2), (true, 0), (false, 1)] {
        assert!(deliveries::note_look(&mut tx, &sent.id, lease.epoch, found).await.unwrap());
        let now = deliveries::get(&mut tx, &sent.id).await.unwrap().unwrap();
        assert_eq!((now.looks, now.first_look_at.is_some()), (looks, looks > 0));
    }
    tx.commit().await.unwrap();
    clock.advance(MINUTE);
    let mut tx = begin(&ledger).await;
    deliveries::note_look(&mut tx, &sent.id, lease.epoch, false).await.unwrap();
    let now = deliveries::get(&mut tx, &sent.id).await.unwrap().unwrap();
    assert_eq!((now.first_look_at, now.last_look_at), (Some(first), Some(tx.now())));
}

pub(crate) async fn a_resend_starts_anew(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    assert_eq!(deliveries::resend(&mut tx, &sent.id, told()).await.unwrap_err().kind, ErrorKind::Conflict);
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    assert_eq!(deliveries::resend(&mut tx, &sent.id, told()).await.unwrap_err().kind, ErrorKind::Conflict);
    tx.commit().await.unwrap();
    let failed = Change { error: Some(Error::refused("a dialog")), ..Change::default() };
    step(&ledger, &lease, Stage::Failed, failed).await.unwrap();
    let mut tx = begin(&ledger).await;
    let again = deliveries::resend(&mut tx, &sent.id, told()).await.unwrap();
    assert_eq!((again.state, again.attempts, again.error.clone()), (Stage::Pending, 0, None));
    assert_eq!(again.seq, sent.seq, "its place in the order stays");
    let lease = deliveries::lease_next(&mut tx, &w.worker.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    assert_eq!(lease.epoch, 2, "epochs never begin anew");
}

pub(crate) async fn a_batch_moves_what_still_stands_there(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mut batch = Vec::new();
    for _ in 0..3 {
        let new = NewDelivery { transport: Transport::Pull, ..message(&tx, &w.manager, "x") };
        batch.push((deliveries::insert(&mut tx, new, told()).await.unwrap().delivery.id, Stage::Pending));
    }
    let cancelled = Change::default();
    deliveries::move_state(&mut tx, &batch[1].0, None, Stage::Pending, Stage::Cancelled, &cancelled, told())
        .await
        .unwrap();
    let into_inbox = Change { into_inbox: true, ..Change::default() };
    let moved =
        deliveries::move_batch(&mut tx, &batch, Stage::Recorded, &into_inbox, |_| told()).await.unwrap();
    assert_eq!(moved.len(), 2);
    assert!(moved.iter().all(|delivery| delivery.inbox_at == Some(tx.now())));
    let inbox = deliveries::inbox(&mut tx, &w.manager.id, 10).await.unwrap();
    assert_eq!(inbox, moved);
    let too_many = vec![batch[0].clone(); 51];
    let error =
        deliveries::move_batch(&mut tx, &too_many, Stage::Answered, &Change::default(), |_| told()).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::Usage);
}

pub(crate) async fn an_attempt_remembers_how_far_it_went(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let sent = enqueue(&mut tx, &w.worker, "x").await;
    let lease = deliveries::lease(&mut tx, &sent.id, "d", MINUTE).await.unwrap().unwrap().delivery;
    deliveries::mark_side_effect(&mut tx, &sent.id, lease.epoch, false).await.unwrap();
    let attempt = deliveries::attempts(&mut tx, &sent.id).await.unwrap().remove(0);
    assert!(attempt.side_effect_started && !attempt.side_effect_completed);
    deliveries::mark_side_effect(&mut tx, &sent.id, lease.epoch, true).await.unwrap();
    deliveries::mark_side_effect(&mut tx, &sent.id, lease.epoch, false).await.unwrap();
    let result = json!({"target": "%1"});
    let state = AttemptState::Failed;
    deliveries::finish_attempt(&mut tx, &sent.id, lease.epoch, state, Some("why"), Some(&result))
        .await
        .unwrap();
    deliveries::finish_attempt(&mut tx, &sent.id, lease.epoch, AttemptState::Succeeded, None, None)
        .await
        .unwrap();
    let attempt = deliveries::attempts(&mut tx, &sent.id).await.unwrap().remove(0);
    assert!(attempt.side_effect_completed, "what was done is not undone");
    assert_eq!(
        (attempt.state, attempt.error.as_deref()),
        (AttemptState::Failed, Some("why")),
        "it ends once"
    );
    assert_eq!(attempt.result_json, Some(result));
    tx.commit().await.unwrap();
}

async fn three_in_the_inbox(ledger: &Ledger, w: &world::World) -> Vec<Delivery> {
    let mut tx = begin(ledger).await;
    let into_inbox = Change { into_inbox: true, ..Change::default() };
    let mut items = Vec::new();
    for text in ["1", "2", "3"] {
        let new = NewDelivery { transport: Transport::Pull, ..message(&tx, &w.manager, text) };
        let sent = deliveries::insert(&mut tx, new, told()).await.unwrap().delivery;
        let batch = [(sent.id, Stage::Pending)];
        items.extend(
            deliveries::move_batch(&mut tx, &batch, Stage::Recorded, &into_inbox, |_| told()).await.unwrap(),
        );
    }
    tx.commit().await.unwrap();
    items
}

pub(crate) async fn an_inbox_item_is_offered_again_until_it_is_confirmed(place: &Place) {
    let (ledger, clock) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let items = three_in_the_inbox(&ledger, &w).await;
    let mut tx = begin(&ledger).await;
    let (inbox, ann) = (&w.manager.id, "ann");
    let first = deliveries::offer_next(&mut tx, inbox, ann, MINUTE, told()).await.unwrap().unwrap();
    assert_eq!((&first.id, first.offers), (&items[0].id, 1));
    let same = deliveries::offer_next(&mut tx, inbox, ann, MINUTE, told()).await.unwrap().unwrap();
    assert_eq!((&same.id, same.offers), (&items[0].id, 2), "the same reader gets it again");
    let other = deliveries::offer_next(&mut tx, inbox, "bob", MINUTE, told()).await.unwrap().unwrap();
    assert_eq!(other.id, items[1].id, "another reader gets the next");
    assert!(
        !deliveries::consume(&mut tx, &items[0].id, "bob", "record", told()).await.unwrap(),
        "it is not his"
    );
    assert!(deliveries::consume(&mut tx, &items[0].id, ann, "record", told()).await.unwrap());
    assert!(!deliveries::consume(&mut tx, &items[0].id, ann, "record", told()).await.unwrap(), "only once");
    tx.commit().await.unwrap();

    clock.advance(MINUTE);
    let mut tx = begin(&ledger).await;
    let again = deliveries::offer_next(&mut tx, inbox, ann, MINUTE, told()).await.unwrap().unwrap();
    assert_eq!((&again.id, again.offers), (&items[1].id, 2), "what a dead reader held is offered again");
    assert!(deliveries::acknowledge(&mut tx, &items[2].id, "carl", told()).await.unwrap());
    assert!(!deliveries::acknowledge(&mut tx, &items[2].id, "carl", told()).await.unwrap());
    let left = deliveries::inbox(&mut tx, inbox, 10).await.unwrap();
    assert_eq!(left.iter().map(|item| &item.id).collect::<Vec<_>>(), [&items[1].id]);
    let done = deliveries::get(&mut tx, &items[2].id).await.unwrap().unwrap();
    assert_eq!((done.consumed_how.as_deref(), done.consumed_by.as_deref()), (Some("ack"), Some("carl")));
}

pub(crate) async fn what_a_cycle_shows_is_consumed_once(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let items = three_in_the_inbox(&ledger, &w).await;
    let ids: Vec<_> = items.iter().take(2).map(|item| item.id.clone()).collect();
    let mut tx = begin(&ledger).await;
    let consumed = deliveries::consume_for_cycle(&mut tx, &ids, "m", 7, told()).await.unwrap();
    assert_eq!(consumed, ids);
    assert_eq!(deliveries::consume_for_cycle(&mut tx, &ids, "m", 8, told()).await.unwrap(), []);
    assert_eq!(deliveries::get(&mut tx, &ids[0]).await.unwrap().unwrap().consumed_cycle, Some(7));
    assert_eq!(deliveries::inbox(&mut tx, &w.manager.id, 10).await.unwrap().len(), 1);
}

pub(crate) async fn an_interrupt_is_claimed_once_a_turn(place: &Place) {
    let (ledger, _) = with_clock(place).await;
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let sent = enqueue(&mut tx, &w.worker, "").await;
    assert!(interrupts::claim(&mut tx, &w.worker.id, "u1", Some(&sent.id), told()).await.unwrap());
    assert!(!interrupts::claim(&mut tx, &w.worker.id, "u1", None, told()).await.unwrap());
    assert!(interrupts::claim(&mut tx, &w.worker.id, "u2", None, told()).await.unwrap());
    let claimed = interrupts::get(&mut tx, &w.worker.id, "u1").await.unwrap().unwrap();
    assert_eq!((claimed.delivery_id, claimed.at), (Some(sent.id), tx.now()));
    assert_eq!(interrupts::get(&mut tx, &w.manager.id, "u1").await.unwrap(), None);
}
