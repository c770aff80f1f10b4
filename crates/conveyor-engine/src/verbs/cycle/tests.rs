use std::io::Write as _;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_model::pane::Screen;
use conveyor_mux::Acted;
use conveyor_mux::BufferName;
use conveyor_mux::Key;
use conveyor_mux::Mux;
use conveyor_mux::PaneInfo;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_mux::Process;
use conveyor_mux::Server;
use conveyor_mux::SpawnSpec;
use conveyor_mux::Target;
use conveyor_store::acknowledgements;
use conveyor_store::acknowledgements::Acknowledgement;
use conveyor_store::attention;
use conveyor_store::configs;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::cycles;
use conveyor_store::cycles::CycleState;
use conveyor_store::deliveries;
use conveyor_store::events;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks::Task;
use conveyor_store::telemetry;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::Caller;
use crate::Effects;
use crate::Environment;
use crate::shadow::Seen;
use crate::testing::World;
use crate::testing::run;
use crate::testing::told;
use crate::verbs::bind::Bind;
use crate::verbs::divergences::Divergences;
use crate::verbs::unbind::Unbind;

const FIRST: &str = "01a203b3-bb85-70e0-b271-67688f575b07";
const SECOND: &str = "01a203b3-d56d-7342-9232-f7b8a5294256";

const TRUST: &str = "  Do you trust the contents of this directory?\n\n› 1. Yes, continue\n  2. No, quit\n\n  Press enter to confirm\n";
const BUSY: &str = "• Working (2m 05s • esc to interrupt)\n\n› Ask Codex to do anything\n\n  fake-1 · /x\n";
const IDLE: &str = "• Done.\n\n› Ask Codex to do anything\n\n  fake-1 · /x\n";

/// A terminal that shows one screen, or fails.
#[derive(Clone)]
struct OneScreen(Arc<Mutex<Result<String, Error>>>);

impl OneScreen {
    fn of(text: &str) -> Self {
        Self(Arc::new(Mutex::new(Ok(text.to_owned()))))
    }

    fn show(&self, text: &str) {
        *self.0.lock().unwrap() = Ok(text.to_owned());
    }

    fn fail(&self, error: Error) {
        *self.0.lock().unwrap() = Err(error);
    }
}

fn no_step<T>() -> conveyor_model::Result<T> {
    Err(Error::environment("an observation takes no such step"))
}

#[async_trait]
impl Mux for OneScreen {
    async fn panes(&self, _: &Server) -> conveyor_model::Result<Vec<PaneInfo>> {
        no_step()
    }

    async fn pin(&self, _: &Server, _: &Target) -> conveyor_model::Result<Pin> {
        no_step()
    }

    async fn check(&self, _: &Pin) -> conveyor_model::Result<PinCheck> {
        no_step()
    }

    async fn capture(&self, _: &Pin) -> conveyor_model::Result<Screen> {
        self.0.lock().unwrap().as_ref().map(|text| Screen::from_plain(text)).map_err(Clone::clone)
    }

    async fn load_buffer(&self, _: &Pin, _: &BufferName, _: &[u8]) -> conveyor_model::Result<()> {
        no_step()
    }

    async fn delete_buffer(&self, _: &Pin, _: &BufferName) -> conveyor_model::Result<bool> {
        no_step()
    }

    async fn list_buffers(&self, _: &Pin, _: &str) -> conveyor_model::Result<Vec<BufferName>> {
        no_step()
    }

    async fn paste(&self, _: &Pin, _: &[BufferName]) -> conveyor_model::Result<Acted> {
        no_step()
    }

    async fn press(&self, _: &Pin, _: Key) -> conveyor_model::Result<Acted> {
        no_step()
    }

    async fn spawn(&self, _: &Server, _: &SpawnSpec) -> conveyor_model::Result<Pin> {
        no_step()
    }

    async fn kill_pane(&self, _: &Pin) -> conveyor_model::Result<bool> {
        no_step()
    }

    async fn kill_session(&self, _: &Pin) -> conveyor_model::Result<bool> {
        no_step()
    }
}

/// A world whose worker has a proved pane that shows `screen`.
async fn watched(screen: &OneScreen) -> (World, Plane, Task, Session) {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    let process = Process { pid: 1, started: None };
    let pin = Pin {
        socket: "/tmp/none".into(),
        server: process,
        session: "w".to_owned(),
        pane: "%0".parse().unwrap(),
        program: process,
    };
    let worker = Session { tmux_pin_json: Some(json!(pin)), ..worker };
    let mut tx = world.tx().await;
    sessions::update(&mut tx, &worker, told()).await.unwrap();
    tx.commit().await.unwrap();
    let home = world.rollout(&worker).parent().unwrap().display().to_string();
    let environment = Environment::of(std::path::Path::new(&home), &[("HOME", &home)]);
    let effects = Effects { mux: Arc::new(screen.clone()), ..Effects::real() };
    let db = world.plane.location().to_string();
    let plane = Plane::with(environment, Caller::Person, Some(&db), effects).unwrap();
    (world, plane, task, worker)
}

async fn cycle(plane: &Plane) -> Value {
    run::<Cycle>(plane, json!({ "task": "t" })).await.unwrap().json
}

/// Appends a line as it is.
fn append(world: &World, session: &Session, line: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(world.rollout(session)).unwrap();
    writeln!(file, "{line}").unwrap();
}

#[tokio::test]
async fn a_fresh_binding_reports_nothing_of_the_task_before() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    world.turn_ends(&worker, FIRST).await;
    assert_eq!(world.json::<Cycle>(json!({ "task": "t" })).await["task_completed"], true);
    world.json::<Unbind>(json!({ "task": "t" })).await;
    world.task("next").await;
    world.json::<Bind>(json!({ "task": "next", "worker": "w", "manager": "m" })).await;

    let report = world.json::<Cycle>(json!({ "task": "next" })).await;
    assert_eq!((&report["state"], &report["turn_state"]), (&json!("idle"), &json!("idle")));
    assert_eq!(report["task_completed"], false);
    let nothing = [
        &report["last_state_event_at"],
        &report["last_event_at"],
        &report["last_event_subtype"],
        &report["last_turn_outcome"],
        &report["manager_context"]["worker_receipt"],
    ];
    assert_eq!(nothing, [&Value::Null; 5]);

    world.turn_begins(&worker, SECOND).await;
    world.turn_ends(&worker, SECOND).await;
    let report = world.json::<Cycle>(json!({ "task": "next" })).await;
    assert_eq!(report["task_completed"], true);
    let receipt = &report["manager_context"]["worker_receipt"];
    assert_eq!((&receipt["turn_id"], &receipt["binding_id"]), (&json!(SECOND), &report["binding_id"]));
    assert_eq!(receipt["last_agent_message"], "Done.");
}

#[tokio::test]
async fn turn_aborted_leaves_busy() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    assert_eq!(world.json::<Cycle>(json!({ "task": "t" })).await["state"], "busy");
    let aborted = json!({ "type": "turn_aborted", "turn_id": FIRST, "reason": "interrupted" });
    world.record(&worker, "event_msg", aborted).await;
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!((&report["state"], &report["turn_state"]), (&json!("idle"), &json!("aborted")));
    assert_eq!((&report["last_turn_outcome"], &report["task_completed"]), (&json!("aborted"), &json!(false)));
    assert_eq!(report["recommended"]["reason"], "turn_aborted");
}

#[tokio::test]
async fn token_count_after_completion_keeps_task_completed() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    world.turn_ends(&worker, FIRST).await;
    world.record(&worker, "event_msg", json!({ "type": "token_count", "info": null })).await;
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!(report["task_completed"], true);
    assert_eq!(report["last_event_subtype"], "token_count");
    assert_eq!(report["ingest"]["new_events"], 3);
    let again = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!((&again["ingest"]["new_events"], &again["task_completed"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_bad_timestamp_never_fails_a_cycle() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.record(&worker, "session_meta", json!({})).await;
    let times = ["[1]", "17", "\"yesterday\"", "null"];
    for time in times {
        let payload = json!({ "type": "task_started", "turn_id": FIRST });
        append(
            &world,
            &worker,
            &format!("{{\"timestamp\":{time},\"type\":\"event_msg\",\"payload\":{payload}}}"),
        );
    }
    append(&world, &worker, "{\"timestamp\":NaN}");
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!((&report["state"], &report["ingest"]["skipped_lines"]), (&json!("busy"), &json!(1)));
    assert!(report["staleness_seconds"].as_f64().unwrap() < 60.0, "{report}");
    let dated = json!({ "type": "task_complete", "turn_id": FIRST });
    world.record(&worker, "event_msg", dated).await;
    assert_eq!(world.json::<Cycle>(json!({ "task": "t" })).await["staleness_degraded"], false);
}

#[tokio::test]
async fn a_time_that_cannot_be_understood_is_told_as_degraded() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    world.record(&worker, "session_meta", json!({})).await;
    let payload = json!({ "type": "task_started", "turn_id": FIRST });
    append(&world, &worker, &format!("{{\"timestamp\":[1],\"type\":\"event_msg\",\"payload\":{payload}}}"));
    assert_eq!(world.json::<Cycle>(json!({ "task": "t" })).await["staleness_degraded"], true);
}

#[tokio::test]
async fn a_closed_ack_gate_fails_before_anything_is_read() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    let mut tx = world.tx().await;
    let config = ManagerConfig { require_acks: true, ..ManagerConfig::new(task.id.clone(), tx.now()) };
    configs::put(&mut tx, config, told()).await.unwrap();
    tx.commit().await.unwrap();

    let error = world.error::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("worker and manager"), "{error}");
    let mut tx = world.tx().await;
    assert!(events::last(&mut tx, worker.number).await.unwrap().is_none(), "nothing was read");
    let row = cycles::latest(&mut tx, &task.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.error), (CycleState::Failed, Some(error.message)));
    assert_eq!(row.status_json.unwrap()["failure_phase"], "load_manager_context");

    let binding = conveyor_store::bindings::active_of_task(&mut tx, &task.id).await.unwrap().unwrap();
    for (role, revision) in [(Role::Worker, 1), (Role::Manager, 7)] {
        acknowledge(&mut tx, &task, &binding.id, role, revision).await;
    }
    tx.commit().await.unwrap();
    let error = world.error::<Cycle>(json!({ "task": "t" })).await;
    assert!(
        error.message.contains("and manager did not"),
        "an older configuration was acknowledged: {error}"
    );

    let mut tx = world.tx().await;
    acknowledge(&mut tx, &task, &binding.id, Role::Manager, 1).await;
    tx.commit().await.unwrap();
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!(report["manager_context"]["manager_ack"]["current"], true);
}

async fn acknowledge(
    tx: &mut Tx,
    task: &Task,
    binding: &conveyor_model::ids::BindingId,
    role: Role,
    config: i64,
) {
    let ack = Acknowledgement {
        id: 0,
        task_id: task.id.clone(),
        binding_id: Some(binding.clone()),
        role,
        payload_json: json!({}),
        revision: 0,
        manager_config_revision: Some(config),
        correlation_id: None,
        created_at: tx.now(),
    };
    acknowledgements::insert(tx, ack, told()).await.unwrap();
}

#[tokio::test]
async fn a_turns_end_is_handed_over_once() {
    let world = World::new();
    let (task, worker, manager) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    world.turn_ends(&worker, FIRST).await;
    let kept = world.json::<Cycle>(json!({ "task": "t", "no_consume": true })).await;
    assert_eq!(
        (&kept["consumed_dispatch_notifications"], &kept["waiting_notifications"]),
        (&json!(0), &json!(1))
    );
    let looker = run::<Cycle>(&world.agent("w"), json!({ "task": "t" })).await.unwrap().json;
    assert_eq!(
        looker["consumed_dispatch_notifications"], 0,
        "the worker does not read what is for its manager"
    );

    let report = run::<Cycle>(&world.agent("m"), json!({ "task": "t" })).await.unwrap().json;
    assert_eq!(report["consumed_dispatch_notifications"], 1);
    let told = &report["consumed_notifications"][0];
    assert_eq!(told["signal_type"], "worker_task_complete");
    let mut tx = world.tx().await;
    let wanted = deliveries::Wanted { target: Some(manager.id.clone()), ..deliveries::Wanted::default() };
    let delivery = deliveries::list(&mut tx, &wanted, 10).await.unwrap().remove(0);
    assert_eq!((delivery.state, delivery.consumed_how.as_deref()), (Stage::Recorded, Some("cycle")));
    assert_eq!(delivery.consumed_cycle, report["cycle_id"].as_i64());
    let row = cycles::latest(&mut tx, &task.id).await.unwrap().unwrap();
    assert_eq!(row.status_json.unwrap()["consumed_notifications"], json!([delivery.number]));
    drop(tx);

    let again = run::<Cycle>(&world.agent("m"), json!({ "task": "t" })).await.unwrap().json;
    assert_eq!(again["consumed_dispatch_notifications"], 0);
    assert_eq!(again["task_completed"], true);
}

#[tokio::test]
async fn what_the_gate_keeps_back_is_not_handed_over() {
    let world = World::new();
    let (task, _, manager) = world.bound().await;
    let mut tx = world.tx().await;
    let binding = conveyor_store::bindings::active_of_task(&mut tx, &task.id).await.unwrap().unwrap();
    let kind = conveyor_model::delivery::Kind::NotifyManager;
    for permission in [None, Some("communication.notify_operator".to_owned())] {
        let mut new = crate::message::new(&world.plane, kind, &manager, "look at it");
        new.task = Some(task.id.clone());
        new.binding = Some(binding.id.clone());
        new.required_permission = permission;
        deliveries::insert(&mut tx, new, told()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!(report["consumed_notifications"].as_array().unwrap().len(), 1);
    assert_eq!(report["consumed_notifications"][0]["message"], "look at it");
    let states = deliveries::counts(&mut *world.tx().await, Some(&task.id)).await.unwrap();
    assert_eq!(states, [(Stage::Pending, 1), (Stage::Recorded, 1)]);
}

#[tokio::test]
async fn a_dialog_is_notable_at_once_and_wants_attention_until_it_is_gone() {
    let screen = OneScreen::of(TRUST);
    let (world, plane, task, worker) = watched(&screen).await;
    world.turn_begins(&worker, FIRST).await;
    let report = cycle(&plane).await;
    assert_eq!(report["notable_pane_pattern"], "trust_prompt");
    let signal = &report["pane_signal"];
    assert_eq!(signal["classifier"]["recommended_action"], "inspect_or_accept_trust");
    assert_eq!((&signal["captured"], &signal["degraded"]), (&json!(true), &json!(false)));
    assert_eq!((&signal["kind"], &signal["composer"]), (&json!("trust_prompt"), &json!("none")));
    assert!(signal["line"].is_u64() && signal["rule"].is_string() && signal["status_age_seconds"].is_u64());
    assert_eq!(report["recommended"]["action"], "nudge");
    assert!(report["next"][0].as_str().unwrap().contains("session-nudge w ''"), "{}", report["next"]);
    assert_eq!(report["attention"], json!(["trust_prompt"]));
    cycle(&plane).await;
    let mut tx = world.tx().await;
    let open = attention::open(&mut tx, Some(&worker.id), None, 10).await.unwrap();
    let [raised] = open.as_slice() else { panic!("one row for one dialog: {open:?}") };
    assert_eq!((raised.kind.as_str(), raised.task_id.as_ref()), ("trust_prompt", Some(&task.id)));
    drop(tx);

    screen.show(BUSY);
    assert_eq!(cycle(&plane).await["attention"], json!([]));
    assert!(attention::open(&mut *world.tx().await, Some(&worker.id), None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pane_that_contradicts_the_rollout_is_noted_with_its_evidence() {
    let screen = OneScreen::of(IDLE);
    let (world, plane, _, worker) = watched(&screen).await;
    world.record(&worker, "session_meta", json!({})).await;
    let payload = json!({ "type": "task_started", "turn_id": FIRST });
    let line = json!({ "timestamp": "2026-01-01T00:00:00Z", "type": "event_msg", "payload": payload });
    append(&world, &worker, &line.to_string());
    for count in 1..=2 {
        let report = cycle(&plane).await;
        assert_eq!(report["state"], "busy", "the rollout decides");
        let divergence = &report["divergence"];
        assert_eq!((&divergence["rollout_says"], &divergence["pane_says"]), (&json!("busy"), &json!("idle")));
        assert_eq!(divergence["count"], count);
        assert_eq!(report["recommended"]["reason"], "screen_is_idle");
    }
    let entries = run::<Divergences>(&plane, json!({ "task": "t" })).await.unwrap().json;
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!((&entries[0]["kind"], &entries[0]["count"]), (&json!("contradiction"), &json!(2)));
    assert_eq!(entries[0]["evidence"]["turn_id"], FIRST);
    screen.show(BUSY);
    assert_eq!(cycle(&plane).await["divergence"], Value::Null);
}

#[tokio::test]
async fn a_terminal_that_cannot_be_looked_at_degrades_and_never_fails() {
    let screen = OneScreen::of(TRUST);
    let (world, plane, _, worker) = watched(&screen).await;
    cycle(&plane).await;
    screen.fail(Error::timeout("tmux did not answer within 5.0 s"));
    let report = cycle(&plane).await;
    let signal = &report["pane_signal"];
    assert_eq!((&signal["captured"], &signal["degraded"]), (&json!(false), &json!(true)));
    assert!(signal["reason"].as_str().unwrap().contains("tmux did not answer"));
    assert_eq!((&signal["classifier"], &signal["status_age_seconds"]), (&Value::Null, &Value::Null));
    let open = |kinds: &'static [&'static str]| {
        let world = &world;
        let worker = &worker;
        async move {
            let open = attention::open(&mut *world.tx().await, Some(&worker.id), None, 10).await.unwrap();
            assert_eq!(open.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), kinds);
        }
    };
    open(&["trust_prompt"]).await;
    screen.fail(Error::not_found("the pane %0 is gone"));
    let report = cycle(&plane).await;
    assert_eq!(report["recommended"]["reason"], "pane_gone");
    open(&["pane_gone"]).await;
    let mut tx = world.tx().await;
    let spans = cycles::spans(&mut tx, report["cycle_id"].as_i64().unwrap()).await.unwrap();
    let phases: Vec<(&str, &str)> =
        spans.iter().map(|span| (span.phase.as_str(), span.state.as_str())).collect();
    assert_eq!(
        phases,
        [
            ("resolve_active_binding", "succeeded"),
            ("load_manager_context", "succeeded"),
            ("ingest_rollout", "succeeded"),
            ("capture_pane_signal", "degraded"),
            ("infer_worker_state", "succeeded"),
            ("classify_pane_signal", "succeeded"),
            ("persist_cycle_row", "succeeded"),
        ]
    );
}

#[tokio::test]
async fn a_session_without_a_pane_or_elsewhere_is_not_looked_at() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    assert_eq!(shadow::look(&world.plane, &worker).await, Seen::NoPane);
    let away = Session { host: "other".to_owned(), ..worker };
    assert_eq!(shadow::look(&world.plane, &away).await, Seen::Elsewhere);
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!((&report["pane_signal"]["degraded"], &report["state"]), (&json!(false), &json!("unknown")));
}

#[tokio::test]
async fn pid_zero_or_a_number_used_again_is_not_alive() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let own = conveyor_agents::ProcessId::of(std::process::id()).unwrap().unwrap();
    let ticks = own.start_ticks as i64;
    let pid = i64::from(own.pid);
    let cases = [
        (None, None, None),
        (Some(pid), None, None),
        (Some(-1), Some(ticks), None),
        (Some(0), Some(ticks), Some(false)),
        (Some(pid), Some(ticks + 1), Some(false)),
        (Some(pid), Some(ticks), Some(true)),
    ];
    for (pid, pid_start_ticks, alive) in cases {
        let session = Session { pid, pid_start_ticks, ..worker.clone() };
        assert_eq!(shadow::process_alive(&world.plane, &session), alive, "{pid:?} {pid_start_ticks:?}");
    }
}

#[tokio::test]
async fn a_process_that_ended_is_told_and_raised() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let dead = Session { pid: Some(i64::from(std::process::id())), pid_start_ticks: Some(1), ..worker };
    let mut tx = world.tx().await;
    sessions::update(&mut tx, &dead, told()).await.unwrap();
    tx.commit().await.unwrap();
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!((&report["worker_alive"], &report["attention"]), (&json!(false), &json!(["process_dead"])));
    assert_eq!(report["recommended"]["action"], "escalate");
}

#[tokio::test]
async fn a_cycle_that_a_killed_process_left_is_marked_failed_by_the_next_one() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let mut tx = world.tx().await;
    let left = cycles::Cycle {
        id: 0,
        task_id: task.id.clone(),
        binding_id: None,
        state: CycleState::Started,
        started_at: tx.now(),
        completed_at: None,
        pane_pattern: None,
        status_json: None,
        error: None,
    };
    let left = cycles::insert(&mut tx, left, told()).await.unwrap();
    tx.commit().await.unwrap();
    world.json::<Cycle>(json!({ "task": "t" })).await;
    let row = cycles::get(&mut *world.tx().await, left.id).await.unwrap().unwrap();
    assert_eq!(row.state, CycleState::Failed);
    assert!(row.completed_at.is_some() && row.error.unwrap().contains("was ended before it was done"));
}

#[tokio::test]
async fn a_rollout_that_vanished_fails_the_cycle_visibly() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    world.json::<Cycle>(json!({ "task": "t" })).await;
    std::fs::remove_file(world.rollout(&worker)).unwrap();
    let error = world.error::<Cycle>(json!({ "task": "t" })).await;
    assert_eq!(error.kind, ErrorKind::Rollout);
    let mut tx = world.tx().await;
    let row = cycles::latest(&mut tx, &task.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.error.as_deref()), (CycleState::Failed, Some(error.message.as_str())));
    let spans = cycles::spans(&mut tx, row.id).await.unwrap();
    let last = spans.last().unwrap();
    assert_eq!(
        (last.phase.as_str(), last.error.as_deref()),
        ("ingest_rollout", Some(error.message.as_str()))
    );
    let failed = telemetry::latest(&mut tx, "manager_cycle_failed").await.unwrap().unwrap();
    assert_eq!(failed.attributes_json["failure_phase"], "ingest_rollout");
}

#[tokio::test]
async fn an_unknown_or_unbound_task_writes_nothing() {
    let world = World::new();
    world.task("lone").await;
    let before = world.told().await;
    for task in ["lone", "none", "not a name"] {
        assert_eq!(world.error::<Cycle>(json!({ "task": task })).await.kind, ErrorKind::NotFound);
    }
    assert_eq!(world.told().await, before);
}

#[tokio::test]
async fn a_thousand_criteria_are_counted_and_the_newest_listed() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let first = world.json::<Cycle>(json!({ "task": "t" })).await;
    let negotiation = &first["manager_context"]["criteria_negotiation"];
    assert_eq!((&negotiation["needed"], &negotiation["reason"]), (&json!(true), &json!("no_criteria")));
    let actions: Vec<&str> = negotiation["suggested_actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    assert_eq!(actions.len(), 4);
    assert!(actions[0].contains("session-nudge w") && actions.iter().all(|one| one.contains(" --db ")));
    assert!(actions[1].contains("criteria t --add --criterion"), "{}", actions[1]);

    let mut tx = world.tx().await;
    for number in 0..1_000 {
        let criterion = Criterion {
            id: 0,
            task_id: task.id.clone(),
            criterion: format!("criterion {number}"),
            status: if number < 3 { CriterionStatus::Satisfied } else { CriterionStatus::Accepted },
            source: CriterionSource::UserRequested,
            proof: None,
            rationale: None,
            evidence_json: json!({}),
            created_at: tx.now(),
            updated_at: tx.now(),
        };
        criteria::insert(&mut tx, criterion, told()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    let listed = &report["manager_context"]["acceptance_criteria"];
    assert_eq!(listed["summary"]["accepted"], 997);
    let open = listed["open"].as_array().unwrap();
    assert_eq!(open.len(), limits::CYCLE_CRITERIA as usize);
    assert_eq!(open.last().unwrap()["criterion"], "criterion 999");
    assert_eq!((&listed["truncated"], listed["satisfied"].as_array().unwrap().len()), (&json!(true), 3));
    assert_eq!(report["manager_context"]["criteria_negotiation"]["needed"], false);

    let brief = world.json::<Cycle>(json!({ "task": "t", "brief": true })).await;
    let one = &brief["manager_context"]["acceptance_criteria"]["open"][0];
    assert!(one["id"].is_i64() && one.get("criterion").is_none(), "{one}");
}

#[tokio::test]
async fn the_stored_status_is_bounded_whatever_was_said() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    world.turn_begins(&worker, FIRST).await;
    let words = "sk-aaaaaaaaaaaaaaaaaaaaaaaa ".repeat(5_000);
    let payload = json!({ "type": "task_complete", "turn_id": FIRST, "last_agent_message": words });
    world.record(&worker, "event_msg", payload).await;
    let report = world.json::<Cycle>(json!({ "task": "t" })).await;
    let said = report["manager_context"]["worker_receipt"]["last_agent_message"].as_str().unwrap();
    assert!(said.len() > 10_000 && !said.contains("sk-a"), "the report has the words whole, without secrets");
    let row = cycles::latest(&mut *world.tx().await, &task.id).await.unwrap().unwrap();
    let status = row.status_json.unwrap().to_string();
    assert!(status.len() < 6_000, "{}", status.len());
    assert!(!status.contains("sk-a"));
}

#[tokio::test]
async fn each_recording_is_observed_to_its_end() {
    let expected = [
        ("0.99.0-tui", "idle"),
        ("0.144.0-tui", "idle"),
        ("0.169.0-exec-basic", "idle"),
        ("0.169.0-tui-approvals-errors", "idle"),
        ("0.169.0-tui-steer-bg-compact", "idle"),
        ("99-exec-tool", "idle"),
    ];
    for (name, state) in expected {
        let world = World::new();
        let (_, worker, _) = world.bound().await;
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../conveyor-agents/testdata");
        let lines = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        world.record(&worker, "world_state", json!({})).await;
        std::fs::write(world.rollout(&worker), &lines).unwrap();
        let report = world.json::<Cycle>(json!({ "task": "t" })).await;
        assert_eq!(report["state"], state, "{name}: {report}");
        assert_eq!(report["ingest"]["new_events"], lines.lines().count(), "{name}");
        assert!(report["manager_context"]["worker_receipt"]["turn_id"].is_string() || name.contains("99"));
        assert!(report["last_event_at"].is_string(), "{name}");
    }
}
