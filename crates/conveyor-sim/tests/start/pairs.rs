//! Pairs: started, finished, and undone when something fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use conveyor_engine::ingest;
use conveyor_engine::verbs::finish_task::FinishTask;
use conveyor_engine::verbs::pair::Pair;
use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_store::Gate;
use conveyor_store::bindings;
use conveyor_store::criteria;
use conveyor_store::deliveries;
use conveyor_store::sessions;
use conveyor_store::tasks;
use serde_json::Value;
use serde_json::json;

use super::lab::Lab;

fn request(lab: &Lab, codex: &str) -> Value {
    json!({
        "task": "t", "worker_name": "w", "manager_name": "m", "task_goal": "Make it right.",
        "task_prompt": "Begin small.", "manager_acceptance": ["Tests pass"], "manager_permit": ["allow_pr"],
        "cwd": lab.work(), "codex_bin": codex, "timeout_seconds": 30, "no_dispatch": true,
    })
}

async fn nothing_is_left(lab: &Lab, when: &str) {
    assert_eq!(lab.tmux_sessions(), Vec::<String>::new(), "{when}");
    assert_eq!(lab.active().await, Vec::<String>::new(), "{when}");
    let (bound, open) = lab
        .read(async |db| {
            (bindings::list(db, true, 9).await.unwrap(), tasks::list(db, true, 9).await.unwrap())
        })
        .await;
    assert!(bound.is_empty() && open.is_empty(), "{when}: {bound:?} {open:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_pair_is_started_supervised_and_stopped() {
    let lab = Lab::new();
    let answer = lab.run::<Pair>(request(&lab, &lab.codex("codex", ""))).await.unwrap();
    let report = &answer.json;
    assert_eq!(answer.exit_code, 0, "{report:#}");
    assert_eq!((&report["worker"]["ready"], &report["manager"]["ready"]), (&json!(true), &json!(true)));
    assert_eq!((&report["task"]["created"], &report["dispatch"]["ensure"]), (&json!(true), &json!(false)));
    assert_eq!(report["manager_acceptance_criteria_seeded"], 1);
    let recorded = lab.rollouts();
    assert!(recorded.contains("> Begin small.") && recorded.contains("Granted: repo.open_pr."));

    // The worker's first turn belongs to the task: its manager is told of its end.
    let told = async || {
        let name = "w".parse().unwrap();
        let worker = lab.read(async |db| sessions::active_by_name(db, &name).await.unwrap().unwrap()).await;
        ingest::session(&lab.plane, &worker).await.unwrap();
        let wanted = deliveries::Wanted {
            kinds: vec!["worker_task_complete".to_owned()],
            ..deliveries::Wanted::default()
        };
        lab.read(async |db| deliveries::list(db, &wanted, 9).await.unwrap()).await.len()
    };
    lab.eventually("the turn's end is routed", async || told().await == 1).await;

    let pids: Vec<i64> =
        ["worker", "manager"].iter().map(|role| report[role]["pid"].as_i64().unwrap()).collect();
    let gate = json!({ "task": "t", "require_criteria_audit": true, "require_acks": true });
    let error = lab.error::<FinishTask>(gate).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(
        error.message,
        "accepted criteria are not satisfied: #1: Tests pass; no current acknowledgement of the worker and of the manager"
    );
    assert!(error.hint.unwrap().contains("criteria t --satisfy 1"));

    let finish = json!({ "task": "t", "reason": "merged", "stop_manager": true, "stop_worker": true });
    let answer = lab.run::<FinishTask>(finish.clone()).await.unwrap();
    let report = &answer.json;
    assert_eq!((answer.exit_code, &report["state"]), (0, &json!("done")), "{report:#}");
    assert_eq!(
        (&report["killed_worker"], &report["killed_manager"]),
        (&json!(true), &json!(true)),
        "{report:#}"
    );
    assert_eq!(report["stops"][0]["how"], "quit", "{report:#}");
    // A process that has ended stays in the table until its parent has asked how.
    lab.eventually("both processes are gone", async || {
        pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    })
    .await;
    nothing_is_left(&lab, "after the finish").await;

    let again = lab.run::<FinishTask>(finish).await.unwrap();
    assert_eq!(again.json["already_done_followup"], true);
    assert_eq!(again.json["stops"][1]["state"], "already_stopped");
    let error = lab.error::<FinishTask>(json!({ "task": "t" })).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Conflict, "the task `t` is done already"));
    let answer = lab.run::<Pair>(request(&lab, &lab.codex("codex", ""))).await.unwrap();
    assert_eq!(answer.exit_code, 0, "all names can be used again: {:#}", answer.json);
}

#[tokio::test(flavor = "current_thread")]
async fn two_pairs_in_one_folder_are_two_pairs() {
    let lab = Lab::new();
    let codex = lab.codex("codex", "");
    let one = lab.run::<Pair>(request(&lab, &codex)).await.unwrap().json;
    let mut other = request(&lab, &codex);
    other["task"] = json!("t2");
    other["worker_name"] = json!("w2");
    other["manager_name"] = json!("m2");
    let two = lab.run::<Pair>(other).await.unwrap().json;
    let threads: std::collections::BTreeSet<&str> = [&one, &two]
        .iter()
        .flat_map(|report| {
            ["worker", "manager"].map(|role| report[role]["codex_session_id"].as_str().unwrap())
        })
        .collect();
    assert_eq!(threads.len(), 4);
    let finish = json!({ "task": "t", "stop_manager": true, "stop_worker": true });
    assert_eq!(lab.run::<FinishTask>(finish).await.unwrap().exit_code, 0);
    assert_eq!(lab.tmux_sessions(), ["codex-m2", "codex-w2"], "the other pair goes on");
}

#[tokio::test(flavor = "current_thread")]
async fn a_running_turn_and_its_command_end_before_a_worker_counts_as_stopped() {
    let lab = Lab::new();
    let mut asked = request(&lab, &lab.codex("codex", ""));
    asked["task_prompt"] = json!("[[sh=exec sleep 97]]");
    assert_eq!(lab.run::<Pair>(asked).await.unwrap().exit_code, 0);
    let finish = json!({ "task": "t", "outcome": "abandoned", "stop_manager": true, "stop_worker": true });
    let answer = lab.run::<FinishTask>(finish).await.unwrap();
    let worker = &answer.json["stops"][0];
    assert_eq!(worker["interrupted"], true, "{:#}", answer.json);
    // The simulated agent leaves its command behind, as Codex does with a background terminal.
    assert!(["stopped", "still_running"].contains(&worker["state"].as_str().unwrap()));
    assert_eq!(answer.exit_code, u8::from(worker["state"] == "still_running"));
    assert_eq!(answer.json["state"], "stopped");
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_that_is_gone_already_is_no_failure() {
    let lab = Lab::new();
    assert_eq!(lab.run::<Pair>(request(&lab, &lab.codex("codex", ""))).await.unwrap().exit_code, 0);
    lab.tmux.run(["kill-session", "-t", "=codex-w"]).unwrap();
    let finish = json!({ "task": "t", "stop_manager": true, "stop_worker": true });
    let answer = lab.run::<FinishTask>(finish).await.unwrap();
    let states: Vec<&Value> =
        answer.json["stops"].as_array().unwrap().iter().map(|stop| &stop["state"]).collect();
    assert_eq!(states, ["already_stopped", "stopped"], "{:#}", answer.json);
    nothing_is_left(&lab, "after the finish").await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_callers_own_session_is_left_to_the_dispatcher() {
    let lab = Lab::new();
    let report = lab.run::<Pair>(request(&lab, &lab.codex("codex", ""))).await.unwrap().json;
    let thread = report["manager"]["codex_session_id"].as_str().unwrap();
    let manager = lab.agent(thread, "workspace-write");
    let finish = json!({ "task": "t", "stop_manager": true, "stop_worker": true });
    let entry = conveyor_engine::verb::Entry::of::<FinishTask>();
    let answer = (entry.from_json)(&manager, finish).await.unwrap();
    assert_eq!(answer.exit_code, 0);
    assert_eq!(answer.json["stops"][1]["state"], "pending", "{:#}", answer.json);
    assert_eq!(lab.tmux_sessions(), ["codex-m"]);
    let id = answer.json["stops"][1]["command_id"].as_str().unwrap().parse().unwrap();
    let holder = conveyor_engine::deliver::Holder::caller(&lab.plane);
    let until = conveyor_engine::deliver::Until::SUBMITTED;
    lab.eventually("the dispatcher stops it", async || {
        conveyor_engine::deliver::carry_out(&lab.plane, &id, &holder, until).await.unwrap();
        lab.tmux_sessions().is_empty()
    })
    .await;
    nothing_is_left(&lab, "after the dispatcher").await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_agent_starts_no_pair_with_wider_rights() {
    let lab = Lab::new();
    let agent = lab.agent("01a203ae-04ca-7370-9952-c3bf08534c3d", "workspace-write");
    let mut asked = request(&lab, &lab.codex("codex", ""));
    asked["codex_profile"] = json!("yolo");
    let entry = conveyor_engine::verb::Entry::of::<Pair>();
    let error = (entry.from_json)(&agent, asked).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert_eq!(lab.tmux_sessions(), Vec::<String>::new());
}

#[tokio::test(flavor = "current_thread")]
async fn a_dialog_keeps_the_pair_and_its_first_message_waits() {
    let lab = Lab::new();
    let answer = lab.run::<Pair>(request(&lab, &lab.codex("codex", "--dialog trust"))).await.unwrap();
    let report = &answer.json;
    assert_eq!(
        (answer.exit_code, &report["worker"]["dialog"]["kind"]),
        (1, &json!("trust_prompt")),
        "{report:#}"
    );
    assert_eq!(report["manager"]["first_message"]["state"], "pending");
    assert!(report["binding_id"].is_string());
}

#[tokio::test(flavor = "current_thread")]
async fn a_rehearsal_checks_and_touches_nothing() {
    let lab = Lab::new();
    let mut asked = request(&lab, &lab.codex("codex", ""));
    asked["dry_run"] = json!(true);
    asked["no_dispatch"] = json!(false);
    let answer = lab.run::<Pair>(asked.clone()).await.unwrap();
    assert_eq!(answer.json["ensure_dispatch"], true);
    assert_eq!(answer.json["dispatch_command"][1], "dispatch");
    for (key, value) in [
        ("manager_permit", json!(["repo.rewrite_history"])),
        ("manager_epilogue", json!(["dance"])),
        ("manager_permissions_json", json!("[]")),
        ("manager_name", json!("w")),
        ("task_goal", Value::Null),
        ("cwd", json!("/nowhere")),
    ] {
        let mut wrong = asked.clone();
        wrong[key] = value;
        lab.error::<Pair>(wrong).await;
    }
    assert!(lab.plane.ledger_to_read().await.unwrap().is_none());
    assert_eq!(lab.tmux_sessions(), Vec::<String>::new());
}

#[tokio::test(flavor = "current_thread")]
async fn a_manager_that_dies_takes_the_worker_back() {
    let lab = Lab::new();
    let second = "mkdir started 2>/dev/null || { echo no second one; exit 3; }\n";
    let codex = lab.codex_behind("codex", second, "");
    let answer = lab.run::<Pair>(request(&lab, &codex)).await.unwrap();
    let report = &answer.json;
    assert_eq!(answer.exit_code, 1);
    assert!(report["error"]["message"].as_str().unwrap().contains("no second one"), "{report:#}");
    assert_eq!(
        report["rolled_back"],
        json!(["tmux session codex-m", "session m (manager)", "tmux session codex-w", "session w (worker)"])
    );
    assert_eq!(report["left_behind"], json!([]));
    nothing_is_left(&lab, "after the failure").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_that_is_never_taken_undoes_the_binding_and_the_task() {
    let lab = Lab::new();
    let second = "mkdir started 2>/dev/null || set -- --ready-after-ms 600000 \"$@\"\n";
    let codex = lab.codex_behind("codex", second, "");
    let mut asked = request(&lab, &codex);
    asked["timeout_seconds"] = json!(5);
    let answer = lab.run::<Pair>(asked).await.unwrap();
    assert_eq!(answer.exit_code, 1, "{:#}", answer.json);
    let undone = answer.json["rolled_back"].as_array().unwrap();
    assert_eq!(undone[2], "task t", "{:#}", answer.json);
    nothing_is_left(&lab, "after the failure").await;
}

/// A gate that lets one commit fail.
struct FailOnce {
    at: AtomicU64,
    seen: AtomicU64,
}

#[async_trait]
impl Gate for FailOnce {
    async fn before_commit(&self, _: u64) -> Result<()> {
        let now = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if now == self.at.load(Ordering::SeqCst) { Err(Error::ledger("the disk is full")) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn whichever_write_fails_nothing_is_left() {
    let gate = Arc::new(FailOnce { at: AtomicU64::new(0), seen: AtomicU64::new(0) });
    let lab = Lab::with_gate(Arc::clone(&gate) as Arc<dyn Gate>);
    let codex = lab.codex("codex", "");
    let mut failed = 0;
    for at in 1.. {
        gate.at.store(at, Ordering::SeqCst);
        gate.seen.store(0, Ordering::SeqCst);
        let answer = lab.run::<Pair>(request(&lab, &codex)).await.unwrap();
        let reached = gate.seen.load(Ordering::SeqCst) >= at;
        if answer.exit_code == 0 {
            let finish = json!({ "task": "t", "stop_manager": true, "stop_worker": true });
            gate.at.store(u64::MAX, Ordering::SeqCst);
            assert_eq!(lab.run::<FinishTask>(finish).await.unwrap().exit_code, 0);
        } else {
            failed += 1;
            assert_eq!(answer.json["left_behind"], json!([]), "write {at}: {:#}", answer.json);
        }
        nothing_is_left(&lab, &format!("write {at}")).await;
        if !reached {
            break;
        }
    }
    assert!(failed >= 8, "only {failed} writes failed a pair");
    let name = "t".parse().unwrap();
    let task = lab.read(async |db| tasks::by_name(db, &name).await.unwrap().unwrap()).await;
    let seeded = lab.read(async |db| criteria::list(db, &task.id, &[]).await.unwrap()).await;
    assert_eq!(seeded.len(), 1);
}
