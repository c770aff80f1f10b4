use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use conveyor_store::acknowledgements;
use conveyor_store::criteria;
use conveyor_store::handoffs;
use conveyor_store::letters;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::testing::Killer;
use conveyor_store::testing::Moment;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::Caller;
use crate::Plane;
use crate::testing;
use crate::testing::World;
use crate::verbs::attention::Attention;
use crate::verbs::criteria::Criteria;
use crate::verbs::dispatch::Dispatch;
use crate::verbs::handoff::Handoff;
use crate::verbs::inbox_ack::InboxAck;
use crate::verbs::report::ReportToManager;
use crate::verbs::worker_ack::WorkerAck;
use crate::verbs::worker_inbox::WorkerInbox;

/// A world whose worker has an outbox in the world's folder.
async fn world() -> (World, Session, PathBuf) {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let outbox = Path::new(&worker.cwd).join(".conveyor/outbox");
    std::fs::create_dir_all(&outbox).unwrap();
    (world, worker, outbox)
}

fn sandboxed(world: &World) -> Plane {
    world.seen_by(Caller::Shell { thread: Some("thread-w".to_owned()), sandboxed: true })
}

fn put(outbox: &Path, name: &str, letter: &Value) {
    std::fs::write(outbox.join(name), letter.to_string()).unwrap();
}

fn report(message: &str) -> Value {
    json!({ "verb": "report", "request": { "status": "done", "message": message } })
}

async fn handed_over(world: &World, task: &conveyor_model::ids::TaskId) -> Vec<String> {
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let all = handoffs::list(&mut reader, task, 100).await.unwrap();
    all.into_iter().map(|handoff| handoff.summary).collect()
}

async fn taken(world: &World, worker: &Session) -> i64 {
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    letters::count(&mut reader, &worker.id).await.unwrap()
}

fn left(outbox: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(outbox)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "refused")
        .collect();
    names.sort();
    names
}

fn reason(outbox: &Path, name: &str) -> String {
    std::fs::read_to_string(outbox.join("refused").join(format!("{name}.reason"))).unwrap()
}

#[tokio::test]
async fn a_sandboxed_shell_reports_without_knowing_of_any_file() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    let shell = sandboxed(&world);
    let said = json!({ "status": "done", "message": "all of it" });
    let answer = testing::run::<ReportToManager>(&shell, said).await.unwrap();
    assert_eq!((&answer.json["queued"], answer.exit_code), (&json!("outbox"), 0));
    assert!(answer.text.unwrap().contains("queued in outbox"));
    testing::run::<WorkerAck>(&shell, json!({ "task": "t", "payload_json": { "ready_to_start": true } }))
        .await
        .unwrap();
    testing::run::<Handoff>(&shell, json!({ "task": "t", "summary": "half of it" })).await.unwrap();
    assert!(testing::run::<Handoff>(&shell, json!({ "task": "t", "summary": " " })).await.is_err());

    world.json::<Dispatch>(json!({ "once": true })).await;
    assert_eq!(handed_over(&world, &task.id).await, ["half of it", "all of it"]);
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let ack = acknowledgements::latest(&mut reader, &task.id, Role::Worker).await.unwrap().unwrap();
    assert!(ack.binding_id.is_some());
    drop(reader);
    let outbox = Path::new(&worker.cwd).join(".conveyor/outbox");
    assert_eq!(left(&outbox), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(outbox.join("../.gitignore")).unwrap(), "*\n");
    assert_eq!(taken(&world, &worker).await, 3);
}

#[tokio::test]
async fn a_letter_is_taken_once_wherever_its_dispatcher_is_killed() {
    for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
        for name in ["a.json", "b.json"] {
            let (world, worker, outbox) = world().await;
            put(&outbox, "a.json", &report("once"));
            std::fs::write(outbox.join("b.json"), "[]").unwrap();
            let at = if name == "a.json" { 1 } else { 2 };
            let killed = all(&world.with_gate(Arc::new(Killer::new(at, moment)))).await;
            assert_eq!(killed.unwrap_err().kind, conveyor_model::ErrorKind::Interrupted);
            assert!(
                left(&outbox).contains(&name.to_owned()),
                "{moment:?}: it died before {name} was removed"
            );
            all(&world.plane).await.unwrap();
            assert_eq!(left(&outbox), Vec::<String>::new());
            assert_eq!(taken(&world, &worker).await, 2, "{moment:?} {name}");
            let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
            let task =
                conveyor_store::tasks::by_name(&mut reader, &"t".parse().unwrap()).await.unwrap().unwrap();
            drop(reader);
            assert_eq!(handed_over(&world, &task.id).await, ["once"], "{moment:?} {name}");
            let told = world.told().await;
            assert_eq!(told.iter().filter(|told| told.starts_with("A letter of w was")).count(), 2);
        }
    }
}

#[tokio::test]
async fn what_is_no_letter_is_moved_aside_with_its_reason_and_nothing_is_read_of_it() {
    let (world, worker, outbox) = world().await;
    let secret = outbox.join("../secret");
    std::fs::write(&secret, report("a secret").to_string()).unwrap();
    std::os::unix::fs::symlink(&secret, outbox.join("link.json")).unwrap();
    std::fs::hard_link(&secret, outbox.join("name.json")).unwrap();
    std::fs::create_dir(outbox.join("folder.json")).unwrap();
    let pipe = outbox.join("pipe.json");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        pipe.as_os_str().as_bytes(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    std::fs::write(outbox.join("huge.json"), vec![b' '; conveyor_model::limits::OUTBOX_BYTES + 1]).unwrap();
    for (name, why) in [
        ("link", "link"),
        ("name", "another name"),
        ("folder", "folder"),
        ("pipe", "no regular file"),
        ("huge", "too long"),
    ] {
        all(&world.plane).await.unwrap();
        assert!(reason(&outbox, &format!("{name}.json")).contains(why), "{name}");
    }
    assert_eq!(left(&outbox), Vec::<String>::new());
    assert_eq!(taken(&world, &worker).await, 5);
    let told = world.told().await;
    assert_eq!(told.iter().filter(|told| told.starts_with("A letter of w was refused")).count(), 5);
    assert!(!told.iter().any(|told| told.contains("secret")));
    assert!(secret.exists(), "what a link points to is left alone");
}

#[tokio::test]
async fn a_half_written_letter_is_waited_for_and_then_refused() {
    let (world, worker, outbox) = world().await;
    let whole = report("slowly").to_string();
    std::fs::write(outbox.join("a.json"), &whole[..20]).unwrap();
    assert_eq!(all(&world.plane).await.unwrap(), (0, true));
    assert_eq!(left(&outbox), ["a.json"]);
    std::fs::write(outbox.join("a.json"), &whole).unwrap();
    assert_eq!(all(&world.plane).await.unwrap(), (1, false));

    let file = std::fs::File::create(outbox.join("b.json")).unwrap();
    let old = std::time::SystemTime::now() - 2 * conveyor_model::limits::OUTBOX_SETTLES;
    file.set_modified(old).unwrap();
    assert_eq!(all(&world.plane).await.unwrap(), (1, false));
    assert!(reason(&outbox, "b.json").contains("no JSON"));
    assert_eq!(taken(&world, &worker).await, 2);
}

#[tokio::test]
async fn a_letter_says_no_more_than_its_worker_may() {
    let (world, _, outbox) = world().await;
    let other = world.task("other").await;
    let letters = [
        json!({ "verb": "finish-task", "request": { "task": "t" } }),
        json!({ "verb": "manager-ack", "request": { "task": "t", "payload_json": {} } }),
        json!({ "verb": "handoff", "request": { "task": "other", "summary": "s" } }),
        json!({ "verb": "handoff", "request": { "task": "t", "latest": true } }),
        json!({ "verb": "inbox-ack",
                "request": { "task": "t", "notification_id": 1, "role": "manager", "status": "accepted" } }),
        json!({ "verb": "propose-criterion", "request": { "criterion": "c", "status": "satisfied" } }),
        json!({ "verb": "report", "request": { "status": "done", "message": "m" }, "thread_id": "thread-m" }),
        json!({ "verb": "report", "request": { "status": "done", "message": " " } }),
        json!([]),
    ];
    for (number, letter) in letters.iter().enumerate() {
        put(&outbox, &format!("{number}.json"), letter);
    }
    assert_eq!(all(&world.plane).await.unwrap().0, letters.len());
    for (number, letter) in letters.iter().enumerate() {
        assert!(!reason(&outbox, &format!("{number}.json")).is_empty(), "{letter}");
    }
    assert_eq!(handed_over(&world, &other.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_proposed_criterion_is_proposed_and_no_more() {
    let (world, _, outbox) = world().await;
    put(&outbox, "a.json", &json!({ "verb": "propose-criterion", "request": { "criterion": "it is fast" } }));
    all(&world.plane).await.unwrap();
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let task = conveyor_store::tasks::by_name(&mut reader, &"t".parse().unwrap()).await.unwrap().unwrap();
    let all = criteria::list(&mut reader, &task.id, &[]).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].status.as_str(), all[0].source.as_str()), ("proposed", "worker_proposed"));
}

#[tokio::test]
async fn no_letter_counts_that_two_workers_can_have_written_and_a_person_is_told() {
    let (world, worker, outbox) = world().await;
    let other = world.session("w2", Role::Worker).await;
    let mut signed = report("forged");
    signed["from"] = json!("w");
    put(&outbox, "a.json", &signed);
    put(&outbox, "b.json", &report("whose?"));
    all(&world.plane).await.unwrap();
    for name in ["a.json", "b.json"] {
        assert!(reason(&outbox, name).contains("`w` and `w2` can all write here"), "{name}");
    }
    let wanting = async || world.json::<Attention>(json!({})).await["attention"].clone();
    let told = wanting().await;
    assert_eq!((told.as_array().unwrap().len(), &told[0]["kind"]), (1, &json!("outbox_shared")), "{told:#}");
    let refused =
        testing::run::<ReportToManager>(&sandboxed(&world), report("mine")["request"].clone()).await;
    assert!(refused.unwrap_err().hint.unwrap().contains("MCP tool `report`"));

    let mut tx = world.tx().await;
    conveyor_store::sessions::mark_gone(&mut tx, &other.id, testing::told()).await.unwrap();
    tx.commit().await.unwrap();
    put(&outbox, "c.json", &report("mine"));
    signed["from"] = json!("w2");
    put(&outbox, "d.json", &signed);
    all(&world.plane).await.unwrap();
    assert!(reason(&outbox, "d.json").contains("no worker `w2`"));
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let task = conveyor_store::tasks::by_name(&mut reader, &"t".parse().unwrap()).await.unwrap().unwrap();
    let handoff = handoffs::latest(&mut reader, &task.id).await.unwrap().unwrap();
    assert_eq!((handoff.summary.as_str(), handoff.worker_session_id), ("mine", Some(worker.id)));
    drop(reader);
    assert_eq!(handed_over(&world, &task.id).await, ["mine"]);
    assert_eq!(wanting().await, json!([]));
}

#[tokio::test]
async fn who_works_above_a_folder_can_write_its_letters_and_who_works_below_cannot() {
    let (world, worker, _) = world().await;
    let inner = Path::new(&worker.cwd).join("inner");
    std::fs::create_dir(&inner).unwrap();
    let link = Path::new(&worker.cwd).join("link");
    std::os::unix::fs::symlink(&inner, &link).unwrap();
    let mut below = world.session("w2", Role::Worker).await;
    below.cwd = link.display().to_string();
    let mut tx = world.tx().await;
    conveyor_store::sessions::update(&mut tx, &below, testing::told()).await.unwrap();
    tx.commit().await.unwrap();
    let workers =
        shared::workers(world.plane.ledger().await.unwrap(), &world.plane.environment.host).await.unwrap();
    let writers = |folder: &Path| shared::names(&shared::writers(&shared::real(folder), &workers));
    assert_eq!(writers(Path::new(&worker.cwd)), "`w`");
    assert_eq!(writers(&inner), "`w` and `w2`");
    assert_eq!(writers(&link), "`w` and `w2`");
    assert_eq!(writers(&Path::new(&worker.cwd).with_extension("longer")), "");
}

#[tokio::test]
async fn a_sandboxed_shell_proposes_a_criterion_and_acknowledges_a_message() {
    let world = World::new();
    let (task, ..) = world.bound().await;
    let nudge = json!({ "task": "t", "message": "go" });
    world.json::<crate::verbs::enqueue_nudge_worker::EnqueueNudgeWorker>(nudge).await;
    world.json::<Dispatch>(json!({ "once": true })).await;
    let inbox = world.json::<WorkerInbox>(json!({ "task": "t" })).await;
    let number = inbox["items"][0]["id"].as_i64().unwrap_or_else(|| panic!("{inbox:#}"));
    let shell = sandboxed(&world);
    let proposal = json!({
        "task": "t", "add": true, "criterion": "it is fast", "source": "worker_proposed", "rationale": "users wait",
    });
    let received = json!({ "task": "t", "notification_id": number, "role": "worker", "status": "received" });
    for answer in [
        testing::run::<Criteria>(&shell, proposal).await.unwrap(),
        testing::run::<InboxAck>(&shell, received).await.unwrap(),
    ] {
        assert_eq!(answer.json["queued"], "outbox");
    }
    let judged = json!({ "task": "t", "add": true, "criterion": "c", "source": "user_requested" });
    assert!(testing::run::<Criteria>(&shell, judged).await.is_err(), "a letter only proposes");
    let as_manager =
        json!({ "task": "t", "notification_id": number, "role": "manager", "status": "received" });
    testing::run::<InboxAck>(&shell, as_manager).await.map_or_else(drop, |left| {
        assert_eq!(left.json["queued"], "outbox", "a dispatcher refuses it");
    });

    world.json::<Dispatch>(json!({ "once": true })).await;
    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
    let proposed = criteria::list(&mut reader, &task.id, &[]).await.unwrap();
    assert_eq!(proposed.len(), 1);
    assert_eq!(
        (proposed[0].status.as_str(), proposed[0].rationale.as_deref()),
        ("proposed", Some("users wait"))
    );
    drop(reader);
    let said = world.json::<InboxAck>(json!({ "task": "t", "notification_id": number })).await;
    assert_eq!(said["acknowledgements"].as_array().unwrap().len(), 1, "{said:#}");
    assert_eq!((&said["latest"]["role"], &said["latest"]["status"]), (&json!("worker"), &json!("received")));
}

#[tokio::test]
async fn an_outbox_that_is_a_link_is_not_looked_into() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir(elsewhere.path().join("outbox")).unwrap();
    put(&elsewhere.path().join("outbox"), "a.json", &report("elsewhere"));
    std::os::unix::fs::symlink(elsewhere.path(), Path::new(&worker.cwd).join(".conveyor")).unwrap();
    assert_eq!(all(&world.plane).await.unwrap(), (0, false));
    assert_eq!(handed_over(&world, &task.id).await, Vec::<String>::new());
    assert!(elsewhere.path().join("outbox/a.json").exists());
}
