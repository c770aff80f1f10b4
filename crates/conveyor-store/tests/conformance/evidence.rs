//! What is noted beside sessions and deliveries.

use std::sync::Arc;
use std::time::Duration;

use conveyor_model::ErrorKind;
use conveyor_model::continuation::Agreement;
use conveyor_model::continuation::Verdict;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::RunId;
use conveyor_store::OpenGate;
use conveyor_store::acknowledgements;
use conveyor_store::acknowledgements::Acknowledgement;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::configs::SupervisionMode;
use conveyor_store::continuations;
use conveyor_store::continuations::Continuation;
use conveyor_store::continuations::Review;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::cycles;
use conveyor_store::cycles::Cycle;
use conveyor_store::cycles::CycleState;
use conveyor_store::cycles::Span;
use conveyor_store::cycles::SpanState;
use conveyor_store::decisions;
use conveyor_store::decisions::Decision;
use conveyor_store::decisions::DecisionKind;
use conveyor_store::deliveries;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::dispatchers;
use conveyor_store::dispatchers::Dispatcher;
use conveyor_store::divergences;
use conveyor_store::epilogues;
use conveyor_store::epilogues::EpilogueRun;
use conveyor_store::epilogues::EpilogueState;
use conveyor_store::evidence;
use conveyor_store::evidence::Check;
use conveyor_store::evidence::Evidence;
use conveyor_store::evidence::EvidenceKind;
use conveyor_store::handoffs;
use conveyor_store::handoffs::Handoff;
use conveyor_store::letters;
use conveyor_store::receipts;
use conveyor_store::receipts::Receipt;
use conveyor_store::receipts::ReceiptStatus;
use conveyor_store::runs;
use conveyor_store::runs::Run;
use conveyor_store::runs::RunStatus;
use conveyor_store::sessions::Role;
use conveyor_store::tasks;
use conveyor_store::telemetry;
use conveyor_store::telemetry::GroupBy;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use conveyor_store::testing::ManualClock;
use conveyor_store::testing::Place;
use serde_json::json;

use crate::world::begin;
use crate::world::told;
use crate::world::world;

pub(crate) async fn attention_is_raised_once_and_cleared(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let new = NewAttention {
        kind: "approval_prompt".to_owned(),
        session: Some(w.worker.id.clone()),
        task: Some(w.task.id.clone()),
        delivery: None,
        message: "a dialog is open".to_owned(),
        evidence: json!({"line": "Approve?"}),
    };
    let (first, fresh) = attention::raise(&mut tx, new.clone(), told()).await.unwrap();
    assert!(fresh && first.subject == w.worker.id.as_str());
    let (again, fresh) = attention::raise(&mut tx, new.clone(), told()).await.unwrap();
    assert!(!fresh && again == first);
    let other = NewAttention { kind: "quota".to_owned(), session: None, task: None, ..new.clone() };
    let (other, _) = attention::raise(&mut tx, other, told()).await.unwrap();
    assert_eq!(other.subject, "ledger");
    assert_eq!(attention::open(&mut tx, None, None, 10).await.unwrap(), [first.clone(), other.clone()]);
    assert_eq!(attention::open(&mut tx, Some(&w.worker.id), None, 10).await.unwrap(), [first.clone()]);
    assert_eq!(attention::open(&mut tx, None, Some(&w.task.id), 10).await.unwrap(), [first.clone()]);
    assert!(attention::clear(&mut tx, &first.subject, "approval_prompt", told()).await.unwrap());
    assert!(!attention::clear(&mut tx, &first.subject, "approval_prompt", told()).await.unwrap());
    let (next, fresh) = attention::raise(&mut tx, new, told()).await.unwrap();
    assert!(fresh && next.id > other.id);
}

pub(crate) async fn a_dismissed_row_comes_back_for_a_new_cause_only(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let new = NewAttention {
        kind: "delivery_failed".to_owned(),
        session: Some(w.worker.id.clone()),
        message: "no such pane".to_owned(),
        ..NewAttention::default()
    };
    let (first, _) = attention::raise(&mut tx, new.clone(), told()).await.unwrap();
    let dismissed = attention::dismiss(&mut tx, first.id, told()).await.unwrap().unwrap();
    assert_eq!(dismissed.dismissed_at, Some(tx.now()));
    assert_eq!(attention::shown(&mut tx, None, None, 10).await.unwrap(), []);
    assert_eq!(attention::open(&mut tx, None, None, 10).await.unwrap(), [dismissed.clone()]);
    let (same, fresh) = attention::raise(&mut tx, new.clone(), told()).await.unwrap();
    assert!(!fresh && same == dismissed, "the same cause");

    let other = NewAttention { message: "another cause".to_owned(), ..new.clone() };
    let (second, fresh) = attention::raise(&mut tx, other, told()).await.unwrap();
    assert!(fresh && second.id > first.id);
    assert_eq!(attention::open(&mut tx, None, None, 10).await.unwrap(), [second.clone()]);
    assert_eq!(attention::dismiss(&mut tx, first.id, told()).await.unwrap(), None, "it is over");

    attention::dismiss(&mut tx, second.id, told()).await.unwrap();
    assert!(attention::clear(&mut tx, &second.subject, "delivery_failed", told()).await.unwrap());
    let (third, fresh) = attention::raise(&mut tx, new, told()).await.unwrap();
    assert!(fresh, "it was over, and is there again");
    assert_eq!(attention::shown(&mut tx, None, None, 10).await.unwrap(), [third]);
}

pub(crate) async fn divergences_are_counted_in_runs(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mut seen = Vec::new();
    for says in [("busy", "idle"), ("busy", "idle"), ("idle", "busy")] {
        let (session, task, evidence) = (&w.worker.id, Some(&w.task.id), json!({"n": seen.len()}));
        seen.push(divergences::note(&mut tx, session, task, says, &evidence, told()).await.unwrap());
    }
    tx.commit().await.unwrap();
    let mut db = ledger.read().await.unwrap();
    let listed = divergences::list(&mut db, Some(&w.worker.id), None, 10).await.unwrap();
    assert_eq!(listed, [seen[2].clone(), seen[1].clone()]);
    assert_eq!((listed[1].count, &listed[1].evidence_json), (2, &json!({"n": 1})));
    assert_eq!(divergences::list(&mut db, None, Some(&w.task.id), 1).await.unwrap().len(), 1);
    assert_eq!(divergences::latest(&mut db, &w.manager.id).await.unwrap(), None);
}

pub(crate) async fn cycles_keep_their_spans(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let new = Cycle {
        id: 0,
        task_id: w.task.id.clone(),
        binding_id: Some(w.binding.id.clone()),
        state: CycleState::Started,
        started_at: tx.now(),
        completed_at: None,
        pane_pattern: None,
        status_json: None,
        error: None,
    };
    let first = cycles::insert(&mut tx, new.clone(), told()).await.unwrap();
    let second = cycles::insert(&mut tx, new, told()).await.unwrap();
    assert_eq!(second.id, first.id + 1);
    let done = Cycle {
        state: CycleState::Succeeded,
        completed_at: Some(tx.now()),
        pane_pattern: Some("trust_prompt".to_owned()),
        status_json: Some(json!({"state": "idle"})),
        ..first.clone()
    };
    cycles::update(&mut tx, &done, told()).await.unwrap();
    let span = Span {
        id: 0,
        cycle_id: first.id,
        task_id: w.task.id.clone(),
        phase: "ingest_rollout".to_owned(),
        state: SpanState::Degraded,
        started_at: tx.now(),
        completed_at: tx.now(),
        duration_ms: 1.25,
        attributes_json: json!({"new_events": 3}),
        error: Some("slow".to_owned()),
        decision_id: Some(1),
        delivery_id: None,
    };
    let spans = cycles::insert_spans(&mut tx, vec![span.clone(), span]).await.unwrap();
    assert_eq!(spans[1].id, spans[0].id + 1);
    tx.commit().await.unwrap();
    let mut db = ledger.read().await.unwrap();
    assert_eq!(cycles::get(&mut db, first.id).await.unwrap(), Some(done.clone()));
    assert_eq!(cycles::latest(&mut db, &w.task.id).await.unwrap(), Some(second.clone()));
    assert_eq!(cycles::list(&mut db, &w.task.id, false, 10).await.unwrap(), [second.clone(), done.clone()]);
    assert_eq!(cycles::list(&mut db, &w.task.id, true, 10).await.unwrap(), [done]);
    assert_eq!(cycles::spans(&mut db, first.id).await.unwrap(), spans);
    let looks = [(w.task.id.clone(), second.started_at)];
    assert_eq!(cycles::last_looks(&mut db).await.unwrap(), looks, "the latest, which has not ended");
    let counts = cycles::counts(&mut db, Some(&w.task.id)).await.unwrap();
    assert_eq!(counts, [(CycleState::Started, 1), (CycleState::Succeeded, 1)]);
}

pub(crate) async fn a_config_counts_its_changes(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    assert_eq!(configs::get(&mut tx, &w.task.id).await.unwrap(), None);
    let config = ManagerConfig::new(w.task.id.clone(), tx.now());
    let first = configs::put(&mut tx, config.clone(), told()).await.unwrap();
    assert_eq!(first.revision, 1);
    let same = configs::put(&mut tx, config.clone(), told()).await.unwrap();
    assert_eq!(same, first, "nothing changed");
    let changed = ManagerConfig {
        supervision_mode: SupervisionMode::Strict,
        objective: Some("o".to_owned()),
        permissions_json: json!({"repo": ["open_pr"]}),
        require_acks: true,
        ..config
    };
    let second = configs::put(&mut tx, changed, told()).await.unwrap();
    assert_eq!(second.revision, 2);
    assert_eq!(configs::get(&mut tx, &w.task.id).await.unwrap(), Some(second));
}

pub(crate) async fn criteria_are_one_for_each_text_and_source(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let new = Criterion {
        id: 0,
        task_id: w.task.id.clone(),
        criterion: "tests pass ".repeat(500),
        status: CriterionStatus::Proposed,
        source: CriterionSource::WorkerProposed,
        proof: None,
        rationale: Some("must".to_owned()),
        evidence_json: json!({}),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let (first, fresh) = criteria::insert(&mut tx, new.clone(), told()).await.unwrap();
    assert!(fresh);
    let (same, fresh) = criteria::insert(&mut tx, new.clone(), told()).await.unwrap();
    assert!(!fresh && same == first);
    let other = Criterion { source: CriterionSource::UserRequested, ..new };
    let (other, fresh) = criteria::insert(&mut tx, other, told()).await.unwrap();
    assert!(fresh);
    let satisfied = Criterion {
        status: CriterionStatus::Satisfied,
        proof: Some("seen".to_owned()),
        evidence_json: json!({"status": "pass"}),
        ..first
    };
    let satisfied = criteria::update(&mut tx, &satisfied, told()).await.unwrap();
    assert_eq!(criteria::get(&mut tx, &w.task.id, satisfied.id).await.unwrap(), Some(satisfied.clone()));
    assert_eq!(criteria::list(&mut tx, &w.task.id, &[]).await.unwrap(), [satisfied.clone(), other.clone()]);
    assert_eq!(criteria::list(&mut tx, &w.task.id, &[CriterionStatus::Proposed]).await.unwrap(), [other]);
    let counts = criteria::counts(&mut tx, Some(&w.task.id)).await.unwrap();
    assert_eq!(counts, [(CriterionStatus::Proposed, 1), (CriterionStatus::Satisfied, 1)]);
}

pub(crate) async fn acknowledgements_count_per_side(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let ack = |role| Acknowledgement {
        id: 0,
        task_id: w.task.id.clone(),
        binding_id: Some(w.binding.id.clone()),
        role,
        payload_json: json!({"ready_to_start": true}),
        revision: 0,
        manager_config_revision: Some(3),
        correlation_id: Some("c".to_owned()),
        created_at: w.task.created_at,
    };
    let mut revisions = Vec::new();
    for role in [Role::Worker, Role::Worker, Role::Manager] {
        revisions.push(acknowledgements::insert(&mut tx, ack(role), told()).await.unwrap().revision);
    }
    assert_eq!(revisions, [1, 2, 1]);
    let latest = acknowledgements::latest(&mut tx, &w.task.id, Role::Worker).await.unwrap().unwrap();
    assert_eq!((latest.revision, latest.manager_config_revision), (2, Some(3)));
    assert_eq!(acknowledgements::list(&mut tx, &w.task.id).await.unwrap().len(), 3);
}

pub(crate) async fn handoffs_and_decisions_are_appended(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    for summary in ["first", "second"] {
        let new = Handoff {
            id: 0,
            task_id: w.task.id.clone(),
            worker_session_id: Some(w.worker.id.clone()),
            summary: summary.to_owned(),
            next_steps_json: json!(["a"]),
            payload_json: json!({}),
            created_at: w.task.created_at,
        };
        handoffs::insert(&mut tx, new, told()).await.unwrap();
    }
    assert_eq!(handoffs::latest(&mut tx, &w.task.id).await.unwrap().unwrap().summary, "second");
    assert_eq!(handoffs::list(&mut tx, &w.task.id, 10).await.unwrap()[1].summary, "first");
    let new = Decision {
        id: 0,
        task_id: w.task.id.clone(),
        manager_session_id: Some(w.manager.id.clone()),
        cycle_id: None,
        decision: DecisionKind::Nudge,
        reason: "r".to_owned(),
        payload_json: json!({"a": 1}),
        created_at: w.task.created_at,
    };
    let decided = decisions::insert(&mut tx, new.clone(), told()).await.unwrap();
    assert_eq!(decisions::get(&mut tx, decided.id).await.unwrap(), Some(decided.clone()));
    assert_eq!(decisions::list(&mut tx, &w.task.id, 10).await.unwrap(), [decided]);
    let unknown = Decision { cycle_id: Some(99), ..new };
    assert_eq!(decisions::insert(&mut tx, unknown, told()).await.unwrap_err().kind, ErrorKind::Conflict);
}

pub(crate) async fn runs_end_once(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let run = |tx: &conveyor_store::Tx| Run {
        id: RunId::new(tx.clock().uuid_v7()),
        number: 0,
        task_id: w.task.id.clone(),
        name: "r".to_owned(),
        purpose: None,
        status: RunStatus::Active,
        metadata_json: json!({"k": "v"}),
        started_at: tx.now(),
        ended_at: None,
    };
    let mut tx = begin(&ledger).await;
    let new = run(&tx);
    let first = runs::insert(&mut tx, new, told()).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = begin(&ledger).await;
    let second = run(&tx);
    assert_eq!(runs::insert(&mut tx, second, told()).await.unwrap_err().kind, ErrorKind::Conflict);
    tx.roll_back().await;
    let mut tx = begin(&ledger).await;
    assert_eq!(runs::active(&mut tx, &w.task.id).await.unwrap(), Some(first.clone()));
    let ended = runs::finish(&mut tx, &first.id, RunStatus::Finished, told()).await.unwrap();
    assert!(ended.ended_at.is_some());
    let error = runs::finish(&mut tx, &first.id, RunStatus::Failed, told()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "a run that ended keeps its end");
    let new = run(&tx);
    let second = runs::insert(&mut tx, new, told()).await.unwrap();
    assert_eq!(runs::by_name(&mut tx, "r", Some(&w.task.id)).await.unwrap(), Some(second.clone()));
    assert_eq!(runs::list(&mut tx, None, None, 10).await.unwrap(), [second.clone(), ended]);
    assert_eq!(runs::list(&mut tx, Some(&w.task.id), Some(RunStatus::Active), 10).await.unwrap(), [second]);
}

pub(crate) async fn telemetry_is_searched_counted_and_pruned(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let ledger = place.open_with(clock.clone(), Arc::new(OpenGate)).await.unwrap();
    let w = world(&ledger).await;
    for (n, summary) in ["One 100% done", "two_three", "TWO three"].into_iter().enumerate() {
        clock.advance(Duration::from_secs(1));
        let mut tx = begin(&ledger).await;
        let new = NewTelemetry {
            task: Some(w.task.id.clone()),
            run: None,
            actor: "workerctl".to_owned(),
            event_type: format!("kind_{}", n % 2),
            severity: if n == 0 { Severity::Error } else { Severity::Info },
            summary: summary.to_owned(),
            correlation: json!({}),
            attributes: json!({"n": n}),
        };
        telemetry::insert(&mut tx, new).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut db = ledger.read().await.unwrap();
    let wanted = |terms: &[&str]| telemetry::Wanted {
        terms: terms.iter().map(|term| (*term).to_owned()).collect(),
        ..telemetry::Wanted::default()
    };
    for (terms, found) in
        [(&["two"][..], 2), (&["two", "THREE"], 2), (&["100%"], 1), (&["two_"], 1), (&["%"], 1), (&["x"], 0)]
    {
        assert_eq!(telemetry::list(&mut db, &wanted(terms), 10).await.unwrap().len(), found, "{terms:?}");
    }
    let by_type = telemetry::counts(&mut db, &wanted(&[]), GroupBy::EventType).await.unwrap();
    assert_eq!(by_type, [("kind_0".to_owned(), 2), ("kind_1".to_owned(), 1)]);
    let errors = telemetry::Wanted { severity: Some(Severity::Error), ..wanted(&[]) };
    assert_eq!(
        telemetry::counts(&mut db, &errors, GroupBy::Actor).await.unwrap(),
        [("workerctl".to_owned(), 1)]
    );
    assert_eq!(
        telemetry::counts(&mut db, &errors, GroupBy::Severity).await.unwrap(),
        [("error".to_owned(), 1)]
    );
    let newest = telemetry::Wanted { newest_first: true, task: Some(w.task.id.clone()), ..wanted(&[]) };
    assert_eq!(telemetry::list(&mut db, &newest, 1).await.unwrap()[0].summary, "TWO three");
    assert_eq!(telemetry::latest(&mut db, "kind_1").await.unwrap().unwrap().summary, "two_three");
    drop(db);
    let mut tx = begin(&ledger).await;
    assert_eq!(telemetry::prune(&mut tx, 1).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let left = telemetry::list(&mut ledger.read().await.unwrap(), &wanted(&[]), 10).await.unwrap();
    assert_eq!(left.len(), 1);
}

pub(crate) async fn dispatchers_are_replaced_by_id(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let ledger = place.open_with(clock.clone(), Arc::new(OpenGate)).await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let first = Dispatcher {
        id: "d".to_owned(),
        host: "here".to_owned(),
        pid: 1,
        started_at: tx.now(),
        heartbeat_at: tx.now(),
        log_path: Some("/log".to_owned()),
        binding_id: Some(w.binding.id.clone()),
        stop_requested_at: None,
        stopped_at: None,
    };
    dispatchers::start(&mut tx, &first, told()).await.unwrap();
    assert!(dispatchers::request_stop(&mut tx, "d", told()).await.unwrap());
    assert!(!dispatchers::request_stop(&mut tx, "d", told()).await.unwrap());
    dispatchers::stopped(&mut tx, "d", told()).await.unwrap();
    let second = Dispatcher { pid: 2, ..first };
    dispatchers::start(&mut tx, &second, told()).await.unwrap();
    tx.commit().await.unwrap();
    clock.advance(Duration::from_secs(5));
    let mut tx = begin(&ledger).await;
    dispatchers::heartbeat(&mut tx, "d").await.unwrap();
    tx.commit().await.unwrap();
    let mut db = ledger.read().await.unwrap();
    let now = dispatchers::get(&mut db, "d").await.unwrap().unwrap();
    assert_eq!((now.pid, now.stopped_at), (2, None));
    assert!(now.heartbeat_at > second.heartbeat_at);
    assert_eq!(dispatchers::list(&mut db, Some(&w.binding.id)).await.unwrap(), [now.clone()]);
    assert_eq!(dispatchers::list(&mut db, None).await.unwrap(), [now]);
}

pub(crate) async fn receipts_are_kept_in_order(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let id = DeliveryId::new(tx.clock().uuid_v7());
    let mut new =
        NewDelivery::new(id, "7Q4K2MZ0AB".to_owned(), "notify_manager", Transport::Pull, "host".to_owned());
    new.task = Some(w.task.id.clone());
    let delivery = deliveries::insert(&mut tx, new, told()).await.unwrap().delivery;
    assert_eq!(receipts::latest(&mut tx, &delivery.id).await.unwrap(), None);
    let mut kept = Vec::new();
    for (role, status) in [(Role::Manager, ReceiptStatus::Received), (Role::Manager, ReceiptStatus::Blocked)]
    {
        let receipt = Receipt {
            id: 0,
            delivery_id: delivery.id.clone(),
            notification_id: delivery.number,
            task_id: w.task.id.clone(),
            binding_id: Some(w.binding.id.clone()),
            role,
            status,
            payload_json: json!({ "n": kept.len() }),
            correlation_id: None,
            created_at: tx.now(),
        };
        kept.push(receipts::insert(&mut tx, receipt, told()).await.unwrap().0);
    }
    tx.commit().await.unwrap();
    let mut db = ledger.read().await.unwrap();
    assert_eq!(receipts::list(&mut db, &delivery.id).await.unwrap(), kept);
    assert_eq!(receipts::latest(&mut db, &delivery.id).await.unwrap(), kept.pop());
}

pub(crate) async fn a_letter_is_noted_once(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let letter = letters::Letter {
        id: "digest".to_owned(),
        session_id: w.worker.id.clone(),
        name: "a.json".to_owned(),
        verb: Some("report".to_owned()),
        refused: None,
        taken_at: tx.now(),
    };
    letters::insert(&mut tx, &letter, told()).await.unwrap();
    assert_eq!(letters::get(&mut tx, "digest").await.unwrap(), Some(letter.clone()));
    assert_eq!(letters::count(&mut tx, &w.worker.id).await.unwrap(), 1);
    assert!(letters::insert(&mut tx, &letter, told()).await.is_err());
}

pub(crate) async fn what_is_held_is_not_leased_and_goes_in_order_afterwards(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mut ids = Vec::new();
    for token in ["7Q4K2MZ0AB", "7Q4K2MZ0AC"] {
        let id = DeliveryId::new(tx.clock().uuid_v7());
        let mut new =
            NewDelivery::new(id, token.to_owned(), "session_nudge", Transport::Push, "host".to_owned());
        new.target = Some(w.worker.id.clone());
        ids.push(deliveries::insert(&mut tx, new, told()).await.unwrap().delivery.id);
    }
    let task = w.task.clone();
    let paused = tasks::Task { paused_at: Some(tx.now()), ..task.clone() };
    tasks::update(&mut tx, &paused, told()).await.unwrap();
    let (worker, minute) = (&w.worker.id, Duration::from_secs(60));
    let now = tx.now();
    assert!(deliveries::lease_next(&mut tx, worker, "d", minute).await.unwrap().is_none());
    assert!(deliveries::ready_targets(&mut tx, "host", now).await.unwrap().is_empty());
    tasks::update(&mut tx, &task, told()).await.unwrap();
    let taken = conveyor_store::sessions::Session { taken_over_at: Some(now), ..w.worker.clone() };
    conveyor_store::sessions::update(&mut tx, &taken, told()).await.unwrap();
    assert!(deliveries::lease_next(&mut tx, worker, "d", minute).await.unwrap().is_none());
    conveyor_store::sessions::update(&mut tx, &w.worker, told()).await.unwrap();
    assert_eq!(deliveries::ready_targets(&mut tx, "host", now).await.unwrap(), [worker.clone()]);
    let lease = deliveries::lease_next(&mut tx, worker, "d", minute).await.unwrap().unwrap();
    assert_eq!((&lease.delivery.id, lease.delivery.attempts), (&ids[0], 1), "a hold uses up no attempt");
}

pub(crate) async fn continuations_count_for_each_side_and_correlation(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mut made = Vec::new();
    let sides = [(Role::Worker, "a"), (Role::Manager, "a"), (Role::Worker, "a"), (Role::Worker, "b")];
    for (proposer, correlation) in sides {
        let one = Continuation {
            id: 0,
            task_id: w.task.id.clone(),
            binding_id: Some(w.binding.id.clone()),
            proposer,
            revision: 0,
            payload_json: json!({ "next": made.len() }),
            correlation_id: correlation.to_owned(),
            created_at: tx.now(),
        };
        made.push(continuations::insert(&mut tx, one, told()).await.unwrap());
    }
    assert_eq!(made.iter().map(|one| one.revision).collect::<Vec<_>>(), [1, 1, 2, 1]);
    let review = Review {
        id: 0,
        task_id: w.task.id.clone(),
        correlation_id: "a".to_owned(),
        worker_continuation_id: made[2].id,
        manager_continuation_id: made[1].id,
        agreement: Agreement::Divergent,
        verdict: Verdict::Stop,
        rationale: "they exclude each other".to_owned(),
        addendum: None,
        subagent_run_json: json!({ "status": "succeeded" }),
        operator_routing_required: true,
        created_at: tx.now(),
    };
    let review = continuations::insert_review(&mut tx, review, told()).await.unwrap();
    tx.commit().await.unwrap();
    let mut db = ledger.read().await.unwrap();
    let latest = continuations::latest(&mut db, &w.task.id, "a", Role::Worker).await.unwrap();
    assert_eq!(latest.as_ref(), Some(&made[2]));
    assert_eq!(continuations::latest(&mut db, &w.task.id, "b", Role::Manager).await.unwrap(), None);
    made.reverse();
    assert_eq!(continuations::list(&mut db, &w.task.id, 10).await.unwrap(), made);
    assert_eq!(continuations::reviews(&mut db, &w.task.id, 10).await.unwrap(), [review]);
}

pub(crate) async fn the_latest_evidence_of_each_criterion_counts(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mut ids = Vec::new();
    for text in ["a", "b"] {
        let new = Criterion {
            id: 0,
            task_id: w.task.id.clone(),
            criterion: text.to_owned(),
            status: CriterionStatus::Accepted,
            source: CriterionSource::UserRequested,
            proof: None,
            rationale: None,
            evidence_json: json!({}),
            created_at: tx.now(),
            updated_at: tx.now(),
        };
        ids.push(criteria::insert(&mut tx, new, told()).await.unwrap().0.id);
    }
    let check = Check {
        criterion_id: ids[0],
        command: "true".to_owned(),
        must_fail_on: Some("HEAD~1".to_owned()),
        brought_by: "operator".to_owned(),
        allowed_at: None,
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let first = evidence::put_check(&mut tx, check.clone(), told()).await.unwrap();
    let allowed = Check { command: "false".to_owned(), allowed_at: Some(tx.now()), ..check };
    let second = evidence::put_check(&mut tx, allowed, told()).await.unwrap();
    assert_eq!((second.created_at, second.command.as_str()), (first.created_at, "false"));
    assert_eq!(evidence::checks(&mut tx, &w.task.id).await.unwrap(), [second]);
    assert_eq!(evidence::check(&mut tx, ids[1]).await.unwrap(), None);

    let claimed = Evidence {
        id: 0,
        task_id: w.task.id.clone(),
        criterion_id: ids[0],
        kind: EvidenceKind::Claimed,
        passed: true,
        repository: None,
        commit_id: None,
        tree_id: None,
        details_json: json!({ "status": "pass" }),
        created_at: tx.now(),
    };
    let said = evidence::insert(&mut tx, claimed.clone(), None, told()).await.unwrap();
    let verified =
        Evidence { kind: EvidenceKind::Verified, passed: false, tree_id: Some("t".to_owned()), ..claimed };
    let ran = evidence::insert(&mut tx, verified, Some("out\u{0}put"), told()).await.unwrap();
    assert_eq!(evidence::latest(&mut tx, &w.task.id).await.unwrap(), [ran.clone()]);
    let all = evidence::of_criterion(&mut tx, &w.task.id, ids[0]).await.unwrap();
    assert_eq!(all, [said.clone(), ran.clone()]);
    assert_eq!(evidence::output(&mut tx, ran.id).await.unwrap().as_deref(), Some("out\u{fffd}put"));
    assert_eq!(evidence::output(&mut tx, said.id).await.unwrap(), None);
    assert_eq!(criteria::these(&mut tx, &w.task.id, &[ids[1], 99]).await.unwrap().len(), 1);
    assert_eq!(criteria::with_text(&mut tx, &w.task.id, "a").await.unwrap()[0].id, ids[0]);
    assert_eq!(criteria::last(&mut tx, &w.task.id, &[], 1).await.unwrap()[0].id, ids[1]);
}

pub(crate) async fn the_latest_run_of_each_step_counts(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let mut runs = Vec::new();
    for (step, state) in [
        ("run-tools", EpilogueState::Succeeded),
        ("draft-pr", EpilogueState::Succeeded),
        ("run-tools", EpilogueState::Failed),
    ] {
        let run = EpilogueRun {
            id: 0,
            task_id: w.task.id.clone(),
            step_name: step.to_owned(),
            state,
            result_json: json!({}),
            error: None,
            started_at: tx.now(),
            finished_at: tx.now(),
            correlation_id: None,
        };
        runs.push(epilogues::insert(&mut tx, run, told()).await.unwrap());
    }
    assert_eq!(epilogues::latest(&mut tx, &w.task.id).await.unwrap(), runs[1..]);
    assert_eq!(epilogues::list(&mut tx, &w.task.id).await.unwrap(), runs);
}
