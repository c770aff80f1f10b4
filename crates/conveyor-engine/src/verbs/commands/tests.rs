use conveyor_model::ErrorKind;
use conveyor_model::Retry;
use conveyor_model::delivery::Transport;
use conveyor_model::wire;
use conveyor_store::AuditRow;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::bindings;
use conveyor_store::deliveries::Change;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::message;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;

/// A nudge for a bound worker, driven to a stage.
async fn nudge(world: &World, worker: &Session, way: &[Stage], change: Change) -> DeliveryId {
    let mut tx = world.tx().await;
    let binding = bindings::active_of_worker(&mut tx, &worker.id).await.unwrap().unwrap();
    let mut new = message::new(&world.plane, Kind::NudgeWorker, worker, "go\non");
    new.task = Some(binding.task_id);
    new.binding = Some(binding.id);
    new.source = Some(binding.manager_session_id);
    new.payload = json!({ "message": "go\non" });
    new.idempotency_key = Some(format!("key-{}", new.id));
    let id = deliveries::insert(&mut tx, new, told()).await.unwrap().delivery.id;
    let mut from = Stage::Pending;
    for to in way {
        deliveries::move_state(&mut tx, &id, None, from, *to, &change, told()).await.unwrap().unwrap();
        from = *to;
    }
    tx.commit().await.unwrap();
    id
}

async fn state(world: &World, id: &DeliveryId) -> Delivery {
    deliveries::get(&mut *world.tx().await, id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_row_has_the_contracts_keys() {
    let world = World::new();
    let (task, worker, manager) = world.bound().await;
    let id = nudge(&world, &worker, &[], Change::default()).await;
    let mut tx = world.tx().await;
    deliveries::lease(&mut tx, &id, "d1", std::time::Duration::from_mins(1)).await.unwrap().unwrap();
    tx.commit().await.unwrap();

    let listed = world.run::<Commands>(json!({ "task": "t", "attempts": true })).await.unwrap();
    let row = &listed.json[0];
    for key in [
        "attempts",
        "available_at",
        "claim_expires_at",
        "claimed_at",
        "claimed_by",
        "correlation_id",
        "created_at",
        "error",
        "id",
        "manager_id",
        "max_attempts",
        "payload",
        "required_permission",
        "result",
        "state",
        "task_id",
        "task_name",
        "type",
        "updated_at",
        "worker_id",
        "attempt_history",
        "idempotency_key",
        "delivery_state",
        "waits_for",
    ] {
        assert!(row.get(key).is_some(), "{key}");
    }
    assert_eq!(row["id"], id.as_str());
    assert_eq!((&row["state"], &row["delivery_state"]), (&json!("attempted"), &json!("leased")));
    assert_eq!((&row["task_id"], &row["task_name"]), (&json!(task.id), &json!("t")));
    assert_eq!((&row["worker_id"], &row["manager_id"]), (&json!(worker.id), &json!(manager.id)));
    assert_eq!(row["claimed_by"], "d1");
    assert!(row["claimed_at"].is_string() && row["claim_expires_at"].is_string());
    assert_eq!(row["waits_for"], "d1 carries it out");
    assert_eq!(row["message"], "go on");
    assert_eq!(row["payload"]["message"], "go\non");
    assert_eq!(row["idempotency_key"], format!("key-{id}"));
    assert_eq!(
        row["token"].as_str().map(str::len),
        Some(conveyor_model::wire::TOKEN_CHARS),
        "as the label has it"
    );
    let attempt = &row["attempt_history"][0];
    for key in [
        "correlation_id",
        "dispatcher_id",
        "error",
        "finished_at",
        "id",
        "result",
        "side_effect_completed",
        "side_effect_started",
        "started_at",
        "state",
    ] {
        assert!(attempt.get(key).is_some(), "{key}");
    }
    assert_eq!((&attempt["dispatcher_id"], &attempt["state"]), (&json!("d1"), &json!("running")));
    assert_eq!(
        listed.text.unwrap(),
        format!(
            "{id}\tattempted\tnudge_worker\tt\tattempt_history=1\tlast_attempt=running\tleased: waits for d1 carries it out\n"
        )
    );
    let plain = world.json::<Commands>(json!({})).await;
    assert!(plain[0].get("attempt_history").is_none());
}

/// The ids of a listing, `…` for the row that tells of more.
async fn listed(world: &World, request: Value) -> Vec<String> {
    let rows = world.json::<Commands>(request).await;
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap_or("…").to_owned()).collect()
}

#[tokio::test]
async fn filters_are_all_applied_and_the_newest_are_kept() {
    let world = World::new();
    let (_, worker, manager) = world.bound().await;
    let mut ids = Vec::new();
    for way in [&[][..], &[Stage::Failed], &[Stage::Blocked], &[]] {
        ids.push(nudge(&world, &worker, way, Change::default()).await.to_string());
    }
    let [first, failed, blocked, last] = ids.try_into().unwrap();
    let all = [first.clone(), failed.clone(), blocked.clone(), last.clone()];
    assert_eq!(listed(&world, json!({})).await, all);
    assert_eq!(listed(&world, json!({ "state": ["pending"] })).await, [first.clone(), last.clone()]);
    assert_eq!(
        listed(&world, json!({ "state": ["failed", "blocked"] })).await,
        [failed.clone(), blocked.clone()]
    );
    assert_eq!(listed(&world, json!({ "limit": 2 })).await, [blocked.clone(), last.clone(), "…".to_owned()]);
    let newest = json!({ "limit": 2, "newest_first": true });
    assert_eq!(listed(&world, newest).await, [last, blocked.clone(), "…".to_owned()]);
    assert_eq!(listed(&world, json!({ "id": blocked })).await, [blocked]);
    assert_eq!(listed(&world, json!({ "type": "notify_manager" })).await, Vec::<String>::new());
    assert_eq!(listed(&world, json!({ "session": manager.name })).await, Vec::<String>::new());
    assert_eq!(listed(&world, json!({ "session": "w", "task": "t" })).await.len(), 4);
    let more = world.json::<Commands>(json!({ "limit": 1, "state": ["pending"], "task": "t" })).await;
    assert!(
        more[1]["next"].as_str().unwrap().contains("commands --limit 10 --task t --state pending --db"),
        "{more}"
    );
}

#[tokio::test]
async fn unknown_names_are_errors_and_an_empty_ledger_is_none() {
    let world = World::new();
    assert_eq!(world.json::<Commands>(json!({})).await, json!([]));
    assert!(world.plane.ledger_to_read().await.unwrap().is_none(), "a listing makes no ledger");
    world.bound().await;
    let id = DeliveryId::new(world.plane.clock.uuid_v7());
    for request in [
        json!({ "task": "none" }),
        json!({ "session": "none" }),
        json!({ "id": id }),
        json!({ "cancel": id }),
        json!({ "retry": id }),
        json!({ "resend": id }),
    ] {
        let error = world.error::<Commands>(request.clone()).await;
        assert_eq!(error.kind, ErrorKind::NotFound, "{request}: {error}");
    }
    for wrong in [
        json!({ "cancel": id, "retry": id }),
        json!({ "resend": id, "task": "t" }),
        json!({ "resend": id, "attempts": true }),
        json!({ "state": ["sleeping"] }),
        json!({ "type": "shout" }),
        json!({ "limit": 0 }),
    ] {
        assert_eq!(world.error::<Commands>(wrong.clone()).await.kind, ErrorKind::Usage, "{wrong}");
    }
}

#[tokio::test]
async fn what_nobody_has_begun_is_taken_back() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let id = nudge(&world, &worker, &[], Change::default()).await;
    let done = world.run::<Commands>(json!({ "cancel": id })).await.unwrap();
    assert_eq!(done.json["action"], "cancel");
    assert_eq!((&done.json["was"], &done.json["delivery_state"]), (&json!("pending"), &json!("cancelled")));
    assert_eq!(done.json["state"], "failed");
    assert!(done.json["next"].is_null());
    assert_eq!(done.text.unwrap(), format!("{id} for w is cancelled\n"));
    assert_eq!(world.told().await.last().unwrap(), &format!("{id} was taken back: somebody asked for it."));
    let again = world.error::<Commands>(json!({ "cancel": id })).await;
    assert_eq!(again.kind, ErrorKind::Conflict);

    let leased = nudge(&world, &worker, &[Stage::Leased], Change::default()).await;
    let begun = nudge(&world, &worker, &[Stage::Leased, Stage::EffectStarted], Change::default()).await;
    for id in [leased, begun] {
        let error = world.error::<Commands>(json!({ "cancel": id })).await;
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn an_inbox_item_is_taken_back_until_a_reader_was_given_it() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let change = Change { transport: Some(Transport::Pull), into_inbox: true, ..Change::default() };
    let unread = nudge(&world, &worker, &[Stage::Leased, Stage::Pending], change.clone()).await;
    world.json::<Commands>(json!({ "cancel": unread })).await;
    let mut tx = world.tx().await;
    assert_eq!(deliveries::inbox(&mut tx, &worker.id, 10).await.unwrap(), [], "it is shown to nobody");
    drop(tx);

    let offered = nudge(&world, &worker, &[Stage::Leased, Stage::Pending], change).await;
    let mut tx = world.tx().await;
    let lasting = std::time::Duration::from_mins(1);
    deliveries::offer_next(&mut tx, &worker.id, "reader", lasting, told()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let error = world.error::<Commands>(json!({ "cancel": offered })).await;
    assert!(error.message.contains("may have read it"), "{error}");
    assert_eq!(state(&world, &offered).await.state, Stage::Pending);
}

#[tokio::test]
async fn a_retry_is_only_for_what_certainly_did_not_arrive() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let error = |retry| Change {
        error: Some(conveyor_model::Error::environment("the target died").retry(retry)),
        ..Change::default()
    };
    let safe = nudge(&world, &worker, &[Stage::Failed], error(Retry::Safe)).await;
    let done = world.json::<Commands>(json!({ "retry": safe })).await;
    assert_eq!((&done["delivery_state"], &done["may_arrive_twice"]), (&json!("pending"), &json!(false)));
    assert!(done["next"].as_str().unwrap().contains(" dispatch --once --db "), "{done}");
    let after = state(&world, &safe).await;
    assert_eq!((after.error, after.attempts), (None, 0));

    let way = [Stage::Leased, Stage::EffectStarted, Stage::Submitted, Stage::Unproved];
    let doubtful = nudge(&world, &worker, &way, error(Retry::Unknown)).await;
    let refused = world.error::<Commands>(json!({ "retry": doubtful })).await;
    assert_eq!((refused.kind, refused.retry), (ErrorKind::Conflict, Retry::Unknown));
    assert!(refused.hint.unwrap().contains(&format!("commands --resend {doubtful} --db")));

    let done = world.run::<Commands>(json!({ "resend": doubtful })).await.unwrap();
    assert_eq!((&done.json["was"], &done.json["may_arrive_twice"]), (&json!("unproved"), &json!(true)));
    assert!(done.text.unwrap().contains("it may arrive twice"));
    let told = format!("{doubtful} was unproved; it is to be sent again and may arrive twice.");
    assert!(world.told().await.contains(&told));
}

/// The worker's rollout shows the message after all.
async fn record(world: &World, worker: &Session, id: &DeliveryId) {
    let sent = state(world, id).await;
    let text = format!("{}{}", wire::label(&sent.token), wire::body(&sent.body));
    let content = json!([{ "type": "input_text", "text": text.trim_end() }]);
    world
        .record(worker, "response_item", json!({ "type": "message", "role": "user", "content": content }))
        .await;
    world.json::<crate::verbs::ingest::Ingest>(json!({ "name": "w" })).await;
}

#[tokio::test]
async fn a_late_record_makes_a_resend_needless() {
    let way = [Stage::Leased, Stage::EffectStarted, Stage::Submitted, Stage::Unproved];
    for leased in [false, true] {
        let world = World::new();
        let (_, worker, _) = world.bound().await;
        let id = nudge(&world, &worker, &way, Change::default()).await;
        world.json::<Commands>(json!({ "resend": id })).await;
        let minute = std::time::Duration::from_mins(1);
        let mut epoch = None;
        if leased {
            let mut tx = world.tx().await;
            epoch =
                deliveries::lease(&mut tx, &id, "d1", minute).await.unwrap().map(|one| one.delivery.epoch);
            tx.commit().await.unwrap();
        }
        record(&world, &worker, &id).await;
        let after = state(&world, &id).await;
        assert_eq!((after.state, &after.leased_by), (Stage::Recorded, &None), "leased: {leased}");
        let mut tx = world.tx().await;
        assert_eq!(deliveries::lease_next(&mut tx, &worker.id, "d2", minute).await.unwrap(), None);
        let begins = Change { keep_lease: true, ..Change::default() };
        let (from, to) = (Stage::Leased, Stage::EffectStarted);
        let begun = deliveries::move_state(&mut tx, &id, epoch, from, to, &begins, told()).await.unwrap();
        assert_eq!(begun, None, "whoever held it types nothing");
        let running = deliveries::attempts(&mut tx, &id).await.unwrap();
        assert!(running.iter().all(|attempt| attempt.finished_at.is_some()), "{running:?}");
    }
}

#[tokio::test]
async fn a_message_that_was_taken_back_or_given_up_has_arrived_when_its_record_is_there() {
    let way = [Stage::Leased, Stage::EffectStarted, Stage::Submitted, Stage::Unproved];
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let id = nudge(&world, &worker, &way, Change::default()).await;
    world.json::<Commands>(json!({ "resend": id })).await;
    world.json::<Commands>(json!({ "cancel": id })).await;
    record(&world, &worker, &id).await;
    assert_eq!(state(&world, &id).await.state, Stage::Recorded);
    let never_typed = nudge(&world, &worker, &[Stage::Cancelled], Change::default()).await;
    record(&world, &worker, &never_typed).await;
    assert_eq!(state(&world, &never_typed).await.state, Stage::Cancelled, "somebody quoted it");
}

#[tokio::test]
async fn a_decision_clears_what_wanted_attention() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let id = nudge(&world, &worker, &[Stage::Blocked], Change::default()).await;
    let mut tx = world.tx().await;
    let new = NewAttention {
        kind: "delivery_blocked".to_owned(),
        delivery: Some(id.clone()),
        ..NewAttention::default()
    };
    attention::raise(&mut tx, new, AuditRow::new("test", "Blocked.")).await.unwrap();
    tx.commit().await.unwrap();
    world.json::<Commands>(json!({ "retry": id })).await;
    assert_eq!(attention::open(&mut *world.tx().await, None, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn an_agent_decides_only_about_its_own() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.session("other", Role::Manager).await;
    let id = nudge(&world, &worker, &[], Change::default()).await;
    for stranger in ["other", "w", "nobody"] {
        let error = run::<Commands>(&world.agent(stranger), json!({ "cancel": id })).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{stranger}");
    }
    assert!(run::<Commands>(&world.agent("m"), json!({ "cancel": id })).await.is_ok());
}

#[tokio::test]
async fn commands_are_listed_by_worker_and_by_manager() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let nudged = nudge(&world, &worker, &[], Change::default()).await;
    let notify = json!({ "task": "t", "message": "look" });
    let told = world.json::<crate::verbs::enqueue_notify_manager::EnqueueNotifyManager>(notify).await;
    let told = told["command_id"].as_str().unwrap().to_owned();
    world.session("w2", Role::Worker).await;
    let ids = async |filter: Value| -> Vec<String> {
        let listed = world.json::<Commands>(filter).await;
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let both = [nudged.to_string(), told.clone()];
    assert_eq!(ids(json!({ "worker": "w" })).await, both);
    assert_eq!(ids(json!({ "manager": "m" })).await, both);
    assert_eq!(ids(json!({ "worker": "w", "session": "m" })).await, [told]);
    assert_eq!(ids(json!({ "worker": "w2" })).await, [] as [String; 0]);
    assert_eq!(world.error::<Commands>(json!({ "worker": "nosuch" })).await.kind, ErrorKind::NotFound);
    let error = world.error::<Commands>(json!({ "manager": "w" })).await;
    assert!(error.message.contains("`w` is a worker, not a manager"), "{error}");
    let both = world.error::<Commands>(json!({ "manager": "m", "cancel": nudged })).await;
    assert_eq!(both.kind, ErrorKind::Usage);
}
