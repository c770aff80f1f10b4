use conveyor_model::ErrorKind;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::bindings;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::cycles;
use conveyor_store::cycles::Cycle;
use conveyor_store::cycles::CycleState;
use conveyor_store::deliveries;
use conveyor_store::dispatchers;
use conveyor_store::dispatchers::Dispatcher;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::Caller;
use crate::ingest;
use crate::message;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;
use crate::verbs::dispatch::Dispatch;
use crate::verbs::doctor::Doctor;
use crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker;

/// The recommended step of the one task.
async fn step(world: &World) -> String {
    let report = world.json::<Status>(json!({ "task": "t" })).await;
    report["tasks"][0]["next"]["step"].as_str().unwrap().to_owned()
}

async fn cycle(world: &World, task: &Task) {
    let mut tx = world.tx().await;
    let cycle = Cycle {
        id: 0,
        task_id: task.id.clone(),
        binding_id: None,
        state: CycleState::Succeeded,
        started_at: tx.now(),
        completed_at: Some(tx.now()),
        pane_pattern: None,
        status_json: None,
        error: None,
    };
    cycles::insert(&mut tx, cycle, told()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn criterion(world: &World, task: &Task, status: CriterionStatus) {
    let mut tx = world.tx().await;
    let criterion = Criterion {
        id: 0,
        task_id: task.id.clone(),
        criterion: status.to_string(),
        status,
        source: CriterionSource::UserRequested,
        proof: None,
        rationale: None,
        evidence_json: json!({}),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    criteria::insert(&mut tx, criterion, told()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_bound_task_is_shown_with_all_that_matters() {
    let world = World::new();
    let (task, worker, manager) = world.bound().await;
    world.turn_begins(&worker, "turn-1").await;
    let before = world.json::<Status>(json!({ "task": "t" })).await;
    assert_eq!(before["tasks"][0]["worker"]["state"], "unknown");
    assert!(before["tasks"][0]["worker"]["unread_bytes"].as_u64().unwrap() > 0);

    ingest::session(&world.plane, &worker).await.unwrap();
    criterion(&world, &task, CriterionStatus::Accepted).await;
    criterion(&world, &task, CriterionStatus::Satisfied).await;
    let mut tx = world.tx().await;
    let mut new = message::new(&world.plane, Kind::NotifyManager, &manager, "look");
    new.task = Some(task.id.clone());
    deliveries::insert(&mut tx, new, told()).await.unwrap();
    tx.commit().await.unwrap();

    let report = world.run::<Status>(json!({ "task": "t" })).await.unwrap();
    let row = &report.json["tasks"][0];
    assert_eq!((&row["task"], &row["task_state"]), (&json!("t"), &json!("managed")));
    let shown = &row["worker"];
    assert_eq!(
        (&shown["name"], &shown["state"], &shown["turn_state"]),
        (&json!("w"), &json!("busy"), &json!("busy"))
    );
    assert_eq!((&shown["thread_id"], &shown["delivery"]), (&json!("thread-w"), &json!("pull")));
    assert!(shown["since"].is_string() && shown["staleness_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!((&shown["unread_bytes"], &shown["inbox_backlog"]), (&json!(0), &json!(0)));
    assert_eq!(row["criteria"]["open"], 1);
    assert_eq!(row["deliveries"][0]["type"], "notify_manager");
    assert_eq!(row["deliveries"][0]["waits_for"], "somebody who carries it out");
    assert!(row["last_cycle"].is_null());
    assert_eq!(report.json["dispatch"]["running"], false);
    assert_eq!(row["next"]["step"], "start_dispatch");
    assert!(report.json["next"]["command"].as_str().unwrap().contains("dispatch --watch --db"));
    let text = report.text.unwrap();
    assert!(text.contains("  worker: w busy for "), "{text}");
    assert!(
        text.contains("  notify_manager for m: pending, waits for somebody who carries it out\n"),
        "{text}"
    );
    assert!(text.starts_with("dispatch: none runs\n\nt (managed): goal\n"), "{text}");
}

#[tokio::test]
async fn the_next_step_follows_the_work() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    assert_eq!(step(&world).await, "cycle", "nobody has looked yet");
    cycle(&world, &task).await;
    assert_eq!(step(&world).await, "add_criteria");
    criterion(&world, &task, CriterionStatus::Accepted).await;
    assert_eq!(step(&world).await, "nudge");
    world.turn_begins(&worker, "turn-1").await;
    assert_eq!(step(&world).await, "cycle", "it recorded what nobody has read");
    ingest::session(&world.plane, &worker).await.unwrap();
    cycle(&world, &task).await;
    assert_eq!(step(&world).await, "wait");
    let mut tx = world.tx().await;
    let new = NewAttention {
        kind: "approval_prompt".to_owned(),
        session: Some(worker.id.clone()),
        message: "w asks for an approval".to_owned(),
        ..NewAttention::default()
    };
    attention::raise(&mut tx, new, told()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(step(&world).await, "attention");
    world.json::<crate::verbs::unbind::Unbind>(json!({ "task": "t" })).await;
    assert_eq!(step(&world).await, "bind");
}

#[tokio::test]
async fn what_failed_is_asked_about_until_a_cycle_has_seen_it() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    cycle(&world, &task).await;
    let mut tx = world.tx().await;
    let mut new = message::new(&world.plane, Kind::NudgeWorker, &worker, "go on");
    new.task = Some(task.id.clone());
    let id = deliveries::insert(&mut tx, new, told()).await.unwrap().delivery.id;
    let change = deliveries::Change {
        error: Some(conveyor_model::Error::environment("the target died")),
        ..deliveries::Change::default()
    };
    deliveries::move_state(&mut tx, &id, None, Stage::Pending, Stage::Failed, &change, told()).await.unwrap();
    tx.commit().await.unwrap();
    let report = world.json::<Status>(json!({ "task": "t" })).await;
    assert_eq!(report["tasks"][0]["next"]["step"], "settle_deliveries");
    assert_eq!(report["tasks"][0]["deliveries"][0]["waits_for"], "a decision: the target died");
    cycle(&world, &task).await;
    assert_eq!(step(&world).await, "add_criteria");
}

#[tokio::test]
async fn an_agent_sees_its_own_task_and_its_own_step() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    world.task("t2").await;
    world.session("w2", Role::Worker).await;
    world.session("m2", Role::Manager).await;
    let request = json!({ "task": "t2", "worker": "w2", "manager": "m2" });
    world.json::<crate::verbs::bind::Bind>(request).await;
    criterion(&world, &task, CriterionStatus::Accepted).await;

    let seen = |report: &Value| -> Vec<String> {
        report["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["task"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(seen(&world.json::<Status>(json!({})).await), ["t", "t2"]);
    let mine = run::<Status>(&world.agent("w"), json!({})).await.unwrap().json;
    assert_eq!(seen(&mine), ["t"]);
    assert_eq!(mine["tasks"][0]["next"]["step"], "work");
    assert_eq!(seen(&run::<Status>(&world.agent("m2"), json!({})).await.unwrap().json), ["t2"]);
    let cut = world.json::<Status>(json!({ "limit": 1 })).await;
    assert_eq!((seen(&cut), &cut["truncated"]), (vec!["t".to_owned()], &json!(true)));
    assert!(cut["more"].as_str().unwrap().contains("status --limit 2 --db"));
}

async fn start_dispatcher(world: &World, id: &str, host: &str) {
    let mut tx = world.tx().await;
    let dispatcher = Dispatcher {
        id: id.to_owned(),
        host: host.to_owned(),
        pid: 1,
        started_at: tx.now(),
        heartbeat_at: tx.now(),
        log_path: None,
        binding_id: None,
        stop_requested_at: None,
        stopped_at: None,
    };
    dispatchers::start(&mut tx, &dispatcher, told()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_dispatcher_lives_by_its_lock_and_not_by_its_row() {
    let world = World::new();
    world.bound().await;
    start_dispatcher(&world, "d1", "host").await;
    let state = |report: &Value| report["dispatch"]["dispatchers"][0]["state"].clone();
    let dead = world.json::<Status>(json!({})).await;
    assert_eq!((state(&dead), &dead["dispatch"]["running"]), (json!("dead"), &json!(false)));
    let held = world.plane.ledger().await.unwrap().try_lock("dispatch-d1").await.unwrap().unwrap();
    let alive = world.json::<Status>(json!({})).await;
    assert_eq!((state(&alive), &alive["dispatch"]["running"]), (json!("running"), &json!(true)));
    drop(held);
}

#[tokio::test]
async fn a_session_that_is_gone_comes_before_the_work() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    cycle(&world, &task).await;
    let mut tx = world.tx().await;
    sessions::mark_gone(&mut tx, &worker.id, told()).await.unwrap();
    tx.commit().await.unwrap();
    let report = world.json::<Status>(json!({ "task": "t" })).await;
    assert_eq!(report["tasks"][0]["worker"]["registered"], "gone");
    assert_eq!(report["tasks"][0]["next"]["step"], "register_worker");
    assert!(bindings::active_of_task(&mut *world.tx().await, &task.id).await.unwrap().is_some());
}

#[tokio::test]
async fn nothing_is_made_and_an_unknown_task_is_an_error() {
    let world = World::new();
    let empty = world.json::<Status>(json!({})).await;
    assert_eq!(empty["tasks"], json!([]));
    assert!(empty["next"]["command"].as_str().unwrap().contains("setup-code"));
    assert_eq!(world.error::<Status>(json!({ "task": "t" })).await.kind, ErrorKind::NotFound);
    assert!(world.plane.ledger_to_read().await.unwrap().is_none());
    world.task("t").await;
    assert_eq!(world.error::<Status>(json!({ "task": "none" })).await.kind, ErrorKind::NotFound);
    let idle = world.json::<Status>(json!({})).await;
    assert!(idle["next"]["command"].as_str().unwrap().contains(" discover --db"));
}

#[tokio::test]
async fn a_dispatcher_of_another_host_is_told_the_same_by_all_who_ask_and_does_not_serve_this_one() {
    let world = World::new();
    world.bound().await;
    start_dispatcher(&world, "far", "elsewhere").await;
    world.json::<EnqueueNudgeWorker>(json!({ "task": "t", "message": "go" })).await;
    let states = async || {
        let status = world.json::<Status>(json!({})).await;
        let doctor = world.json::<Doctor>(json!({})).await;
        let far = world.json::<Dispatch>(json!({ "status": true, "dispatcher_id": "far" })).await;
        let step = status["tasks"][0]["next"]["step"].clone();
        let runs = [&status["dispatch"]["running"], &doctor["dispatchers"][0]["alive"], &far["running"]];
        let words = [
            &status["dispatch"]["dispatchers"][0]["state"],
            &doctor["dispatchers"][0]["state"],
            &far["state"],
        ];
        assert!(
            runs.iter().all(|one| *one == runs[0]) && words.iter().all(|one| *one == words[0]),
            "{words:?}"
        );
        (runs[0] == true, words[0].clone(), step)
    };
    assert_eq!(states().await, (false, json!("unknown"), json!("start_dispatch")));
    let held = world.plane.ledger().await.unwrap().try_lock("dispatch-far").await.unwrap().unwrap();
    assert_eq!(states().await, (true, json!("running"), json!("start_dispatch")));
    assert_eq!(crate::dispatch::alive(&world.plane).await.unwrap(), None);
    let mut tx = world.tx().await;
    dispatchers::request_stop(&mut tx, "far", told()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(states().await, (true, json!("stopping"), json!("start_dispatch")));
    drop(held);
}

#[tokio::test]
async fn a_start_that_was_cut_off_is_shown_and_nothing_is_written() {
    let world = World::new();
    world.bound().await;
    let mut tx = world.tx().await;
    for (name, pid) in [("lost", u32::MAX), ("begun", std::process::id())] {
        let id = conveyor_model::ids::SessionId::new(tx.clock().uuid_v7());
        let (name, cwd) = (name.parse().unwrap(), "/".to_owned());
        let mut session = sessions::Session::new(id, name, Role::Worker, "host".to_owned(), cwd, tx.now());
        session.started_by_conveyor = true;
        let starter = conveyor_agents::ProcessId::of(pid).unwrap();
        let starter = starter.unwrap_or(conveyor_agents::ProcessId { pid, start_ticks: 1 });
        let audit = conveyor_store::AuditRow::new("session_registered", "A test starts.");
        sessions::insert(&mut tx, session, audit.payload(json!({ "starter": starter }))).await.unwrap();
    }
    tx.commit().await.unwrap();
    let before = world.told().await;
    let report = world.run::<Status>(json!({})).await.unwrap();
    let cut_off = report.json["starts_cut_off"].as_array().unwrap();
    assert_eq!((cut_off.len(), &cut_off[0]["session"]), (1, &json!("lost")), "{cut_off:?}");
    assert!(cut_off[0]["next"].as_str().unwrap().contains("dispatch --once --db"));
    assert!(report.text.unwrap().contains("the start of lost was cut off"));
    assert_eq!(world.told().await, before);
    let sandboxed = world.seen_by(Caller::Shell { thread: None, sandboxed: true });
    let unseen = run::<Status>(&sandboxed, json!({})).await.unwrap().json;
    assert_eq!(unseen["starts_cut_off"], json!([]), "there every process looks dead");
}
