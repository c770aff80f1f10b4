//! Each verb and each sort of caller, in one table: who may, who may not, and that each refusal is told.

use conveyor_model::ErrorKind;
use conveyor_store::audit;
use conveyor_store::sessions::Role;
use serde_json::Value;
use serde_json::json;

use crate::Caller;
use crate::Plane;
use crate::VERBS;
use crate::caller;
use crate::testing::World;
use crate::verb::Effect;
use crate::verb::Entry;

/// Who calls, each by a letter.
const CALLERS: [(char, &str); 6] = [
    ('P', "a person"),
    ('M', "the task's manager"),
    ('O', "another manager"),
    ('W', "the task's worker"),
    ('X', "another worker"),
    ('U', "a thread that nobody registered"),
];

/// A verb, what is asked of it, and who may. Over MCP; a sandbox that is not told counts as the narrowest. What fails for
/// another reason than rights was let through.
fn table() -> Vec<(&'static str, Value, &'static str)> {
    let task = || json!({ "task": "t" });
    vec![
        ("attention", json!({}), "PMOWXU"),
        // What became of deliveries may be dismissed by who decides on them; here nothing became of any.
        ("attention", json!({ "dismiss": 1 }), "PMOWXU"),
        ("bind", json!({ "task": "free", "worker": "x", "manager": "m" }), "PM"),
        ("classify", json!({ "text": "› Ask" }), "PMOWXU"),
        ("commands", json!({}), "PMOWXU"),
        ("commands", json!({ "cancel": COMMAND }), "PM"),
        // Nothing is granted in this world: whoever may ask is refused for that.
        ("compact-worker", json!({ "task": "t", "reason": "r", "dry_run": true }), ""),
        ("continuation", json!({ "task": "t", "list": true }), "PMW"),
        ("continuation", json!({ "task": "t", "submit": "worker", "payload_json": {} }), "PW"),
        ("continuation-reviewer", reviewer(), "PM"),
        ("criteria", json!({ "task": "t", "list": true }), "PMOWXU"),
        (
            "criteria",
            json!({ "task": "t", "add": true, "criterion": "c", "source": "worker_proposed" }),
            "PMW",
        ),
        ("criteria", json!({ "task": "t", "accept": [1] }), "PM"),
        ("criteria", json!({ "task": "t", "verify": [1] }), "PM"),
        ("criteria-plan", json!({ "task": "t", "from_text": "Must-have: c" }), "PMOWXU"),
        ("cycle", task(), "PMO"),
        ("db-doctor", json!({}), "PMOWXU"),
        ("deregister", json!({ "name": "x" }), "PMOX"),
        ("discover", json!({}), "PMOWXU"),
        ("dispatch", json!({ "status": true }), "PMO"),
        ("divergences", task(), "PMOWXU"),
        ("doctor", json!({}), "PMOWXU"),
        ("doctor-self", json!({}), "PMOWXU"),
        ("enqueue-notify-manager", json!({ "task": "t", "message": "m" }), "PMW"),
        ("enqueue-nudge-worker", json!({ "task": "t", "message": "m" }), "PM"),
        ("epilogue", json!({ "task": "t", "status": true }), "PMOWXU"),
        ("epilogue", json!({ "task": "t", "step": "draft-pr" }), "PM"),
        ("finish-task", task(), "PM"),
        ("handoff", json!({ "task": "t", "latest": true }), "PMOWXU"),
        ("handoff", json!({ "task": "t", "summary": "s" }), "PMW"),
        (
            "inbox-ack",
            json!({ "task": "t", "notification_id": 7, "role": "worker", "status": "received" }),
            "PW",
        ),
        (
            "inbox-ack",
            json!({ "task": "t", "notification_id": 7, "role": "manager", "status": "received" }),
            "PM",
        ),
        ("ingest", json!({ "name": "w" }), "PMOWXU"),
        (
            "loop-evidence",
            json!({
                "action": "adversarial-check", "task": "t", "failure_mode": "f", "check": "c", "result": "r",
            }),
            "PM",
        ),
        ("manager-ack", task(), "PMOWXU"),
        ("manager-ack", json!({ "task": "t", "payload_json": {} }), "PM"),
        ("manager-config", task(), "PMOWXU"),
        ("manager-config", json!({ "task": "t", "allow_merge_green": true }), "PM"),
        ("manager-inbox", task(), "PMOWXU"),
        ("manager-inbox", json!({ "task": "t", "consume_next": true }), "PM"),
        ("manager-permission", json!({ "task": "t", "action": "repo.open_pr" }), "PM"),
        ("pair", pair("workspace-write"), "P"),
        ("pair", pair("read-only"), "PMOU"),
        ("pause", task(), "P"),
        ("record-decision", json!({ "task": "t", "decision": "wait", "reason": "r" }), "PM"),
        ("register-manager", json!({ "name": "new" }), "PMOWXU"),
        ("register-worker", json!({ "name": "new" }), "PMOWXU"),
        ("report", json!({ "task": "t", "status": "done", "message": "m" }), "PW"),
        ("request-worker-compact", json!({ "task": "t", "dry_run": true }), ""),
        ("resume", task(), "P"),
        ("session-inbox", json!({ "session": "w", "consume_next": true }), "PW"),
        ("session-interrupt", json!({ "name": "w", "dry_run": true }), ""),
        ("session-nudge", json!({ "name": "w", "text": "hello", "dry_run": true }), "PM"),
        ("sessions", json!({}), "PMOWXU"),
        ("setup-code", json!({}), "PMOWXU"),
        ("start-manager", start("workspace-write"), "P"),
        ("start-worker", start("read-only"), "PMOU"),
        ("start-worker", start("danger-full-access"), "P"),
        ("status", json!({}), "PMOWXU"),
        ("stop-task", task(), "PM"),
        ("tail", json!({ "name": "w" }), "PMOWXU"),
        ("takeover", json!({ "name": "w" }), "P"),
        ("tasks", json!({}), "PMOWXU"),
        ("tasks", json!({ "create": "new", "goal": "g" }), "PMOWXU"),
        ("transcript-capture", task(), "PM"),
        ("transcript-show", task(), "PMOWXU"),
        ("unbind", task(), "PM"),
        ("worker-ack", task(), "PMOWXU"),
        ("worker-ack", json!({ "task": "t", "payload_json": {} }), "PW"),
        ("worker-inbox", json!({ "task": "t", "consume_next": true }), "PW"),
    ]
}

/// Stands for the id of a delivery to the worker.
const COMMAND: &str = "<command>";

fn reviewer() -> Value {
    json!({
        "task": "t", "correlation_id": "c", "reviewer_session_id": "r", "manager_session_id": "m",
        "reviewer_command": ["true"],
    })
}

fn start(sandbox: &str) -> Value {
    json!({ "name": "new", "sandbox": sandbox })
}

fn pair(sandbox: &str) -> Value {
    json!({
        "task": "new", "task_goal": "g", "worker_name": "nw", "manager_name": "nm", "sandbox": sandbox,
        "dry_run": true,
    })
}

async fn world() -> (World, String) {
    let world = World::new();
    world.bound().await;
    world.task("free").await;
    let config = json!({ "task": "t", "epilogue": ["draft-pr"], "permit": ["context.spawn_reviewer"] });
    world.json::<crate::verbs::manager_config::ManagerConfig>(config).await;
    world.session("o", Role::Manager).await;
    world.session("x", Role::Worker).await;
    let nudge = json!({ "task": "t", "message": "go" });
    let command = world.json::<crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker>(nudge).await;
    let command = command["command_id"].as_str().unwrap().to_owned();
    (world, command)
}

fn plane(world: &World, who: char) -> Plane {
    let session = match who {
        'P' => return world.seen_by(Caller::Person),
        'M' => "m",
        'O' => "o",
        'W' => "w",
        'X' => "x",
        _ => "nobody",
    };
    world.agent(session)
}

/// What rights say to a call: nothing, or why not.
async fn refusal(plane: &Plane, verb: &'static Entry, request: Value) -> Option<String> {
    let answered = async {
        caller::admit(plane, verb).await?;
        (verb.from_json)(plane, request).await
    };
    let error = answered.await.err()?;
    assert!(!error.message.contains("unknown field"), "the table asks wrongly: {error}");
    (error.kind == ErrorKind::Refused).then_some(error.message)
}

/// How many refusals of a verb are told, and how many rows tell of anything.
async fn told(world: &World, verb: &str) -> (usize, usize) {
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let rows = audit::list(&mut reader, &audit::Wanted::default(), 1_000).await.unwrap();
    let is_refusal = |row: &&audit::AuditEvent| {
        row.kind == "call_refused" && row.payload_json.as_ref().is_some_and(|told| told["verb"] == verb)
    };
    (rows.iter().filter(is_refusal).count(), rows.len())
}

#[tokio::test]
async fn each_verb_and_each_sort_of_caller() {
    let mut wrong = Vec::new();
    for (name, request, may) in table() {
        let verb = VERBS.iter().find(|verb| verb.name == name).unwrap_or_else(|| panic!("{name}"));
        let (world, command) = world().await;
        let request: Value = serde_json::from_str(&request.to_string().replace(COMMAND, &command)).unwrap();
        // Who may not comes first: a refusal changes nothing for whoever comes next.
        let (allowed, refused): (Vec<_>, Vec<_>) =
            CALLERS.into_iter().partition(|(who, _)| may.contains(*who));
        for (who, words) in refused {
            let (refusals, rows) = told(&world, name).await;
            match refusal(&plane(&world, who), verb, request.clone()).await {
                None => wrong.push(format!("{name} {request}: let {words} through")),
                Some(_) if who != 'P' && told(&world, name).await != (refusals + 1, rows + 1) => {
                    wrong.push(format!("{name} {request}: the refusal of {words} is not told by one row"));
                }
                Some(_) => {}
            }
        }
        for (who, words) in allowed {
            // What one may do may stand in the way of the next, so each gets a world of its own.
            let (fresh, command) = if verb.effect == Effect::Reads { continue } else { self::world().await };
            let request: Value = serde_json::from_str(
                &request.to_string().replace(&command, COMMAND).replace(COMMAND, &command),
            )
            .unwrap();
            if let Some(why) = refusal(&plane(&fresh, who), verb, request.clone()).await {
                wrong.push(format!("{name} {request}: refused {words}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_agent_starts_nothing_wider_than_itself_and_a_sandbox_that_is_not_told_is_the_narrowest() {
    let (world, _) = world().await;
    let verb = VERBS.iter().find(|verb| verb.name == "start-worker").unwrap();
    let all = ["read-only", "workspace-write", "danger-full-access"];
    for own in [None, Some("nonsense"), Some(all[0]), Some(all[1]), Some(all[2])] {
        let widest = all.iter().position(|mode| Some(*mode) == own).unwrap_or(0);
        for (place, wanted) in all.iter().enumerate() {
            let caller =
                Caller::Tool { thread: Some("thread-m".to_owned()), sandbox_mode: own.map(str::to_owned) };
            let refused = refusal(&world.seen_by(caller), verb, start(wanted)).await;
            assert_eq!(refused.is_some(), place > widest, "{own:?} starts {wanted}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_thread_id_in_a_shell_narrows_and_never_widens() {
    let (world, _) = world().await;
    let verb = |name: &str| VERBS.iter().find(|verb| verb.name == name).unwrap();
    let shell =
        |thread: &str| world.seen_by(Caller::Shell { thread: Some(thread.to_owned()), sandboxed: false });
    let (finish, nudge) = (json!({ "task": "t" }), json!({ "name": "w", "text": "hello", "dry_run": true }));
    // A worker that claims another's thread gains what a person has anyway; one that claims its own is narrowed.
    assert!(refusal(&shell("thread-w"), verb("finish-task"), finish.clone()).await.is_some());
    assert!(refusal(&shell("thread-w"), verb("session-nudge"), nudge.clone()).await.is_some());
    assert!(
        refusal(&shell("thread-m"), verb("report"), json!({ "task": "t", "status": "done", "message": "m" }))
            .await
            .is_some()
    );
    // Over MCP nothing in a call's arguments names the caller.
    let forged = json!({ "task": "t", "thread_id": "thread-m" });
    let error = (verb("finish-task").from_json)(&world.agent("w"), forged).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
}

#[tokio::test]
async fn from_inside_a_sandbox_only_what_reads_is_carried_out() {
    let (world, _) = world().await;
    let shell = world.seen_by(Caller::Shell { thread: Some("thread-w".to_owned()), sandboxed: true });
    let verb = |name: &str| VERBS.iter().find(|verb| verb.name == name).unwrap();
    for (name, request) in [
        ("tasks", json!({})),
        ("handoff", json!({ "task": "t", "latest": true })),
        ("worker-ack", json!({ "task": "t" })),
        ("manager-config", json!({ "task": "t", "questions": true })),
        ("commands", json!({})),
        ("status", json!({})),
    ] {
        assert_eq!(refusal(&shell, verb(name), request).await, None, "{name}");
    }
    for (name, request) in [
        ("tasks", json!({ "create": "new", "goal": "g" })),
        ("manager-config", json!({ "task": "t", "mode": "light" })),
        ("bind", json!({ "task": "free", "worker": "x", "manager": "m" })),
    ] {
        assert!(refusal(&shell, verb(name), request).await.is_some(), "{name}");
    }
}
