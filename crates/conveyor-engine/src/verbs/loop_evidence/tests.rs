use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::run;

fn tried(status: &str) -> Value {
    json!({
        "action": "adversarial-check", "task": "t", "failure_mode": "a crash loses a row",
        "check": "kill -9 in a loop", "result": "none lost", "status": status,
    })
}

#[tokio::test]
async fn a_failing_check_revokes_an_earlier_pass_and_both_stay_in_the_history() {
    let world = World::new();
    world.task("t").await;
    let first = world.json::<LoopEvidence>(tried("pass")).await;
    assert_eq!(
        (&first["criterion"]["status"], &first["evidence"]["status"]),
        (&json!("satisfied"), &json!("pass"))
    );
    let second = world.json::<LoopEvidence>(tried("fail")).await;
    assert_eq!((&second["criterion"]["id"], &second["criterion"]["status"]), (&json!(1), &json!("rejected")));
    let list = json!({ "task": "t", "list": true });
    let listed = world.json::<super::super::criteria::Criteria>(list).await;
    assert_eq!(listed["criteria"].as_array().unwrap().len(), 1);
    assert_eq!(listed["criteria"][0]["receipt"]["passed"], false);
    let history = world.json::<super::super::criteria::Criteria>(json!({ "task": "t", "history": 1 })).await;
    assert_eq!(history["history"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn blank_words_unknown_runs_and_workers_are_refused() {
    let world = World::new();
    world.bound().await;
    for (key, value) in [("failure_mode", json!(" ")), ("result", json!("")), ("status", json!("merged"))] {
        let mut request = tried("pass");
        request[key] = value;
        assert_eq!(world.error::<LoopEvidence>(request).await.kind, ErrorKind::Usage);
    }
    let mut run_alone = tried("pass");
    run_alone["loop_run"] = json!("r");
    assert_eq!(world.error::<LoopEvidence>(run_alone.clone()).await.kind, ErrorKind::Usage);
    run_alone["iteration"] = json!(1);
    assert_eq!(world.error::<LoopEvidence>(run_alone).await.kind, ErrorKind::NotFound);
    let refusal = run::<LoopEvidence>(&world.agent("w"), tried("pass")).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Refused);
    assert!(world.told().await.last().unwrap().starts_with("`loop-evidence` was refused"));
    assert!(run::<LoopEvidence>(&world.agent("m"), tried("pass")).await.is_ok());
}

fn shown_by(path: &str) -> Value {
    let mut request = tried("pass");
    request["artifact_path"] = json!(path);
    request
}

#[tokio::test]
async fn the_file_that_shows_it_is_fixed_by_its_size_and_its_digest() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let folder = world.rollout(&worker).parent().unwrap().to_owned();
    std::fs::write(folder.join("trace.txt"), "abc").unwrap();
    for plane in [world.agent("m"), world.seen_by(crate::Caller::Person)] {
        let evidence =
            run::<LoopEvidence>(&plane, shown_by("trace.txt")).await.unwrap().json["evidence"].clone();
        assert_eq!(evidence["artifact_path"], "trace.txt");
        assert_eq!(evidence["artifact"]["bytes"], 3);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(evidence["artifact"]["sha256"], abc);
    }
    let before = world.told().await.len();
    assert_eq!(world.error::<LoopEvidence>(shown_by("nosuch.txt")).await.kind, ErrorKind::NotFound);
    assert_eq!(world.error::<LoopEvidence>(shown_by(".")).await.kind, ErrorKind::Usage);
    let large = std::fs::File::create(folder.join("large")).unwrap();
    large.set_len(limits::ARTIFACT_BYTES + 1).unwrap();
    assert!(world.error::<LoopEvidence>(shown_by("large")).await.message.contains("larger than"));
    assert_eq!(world.told().await.len(), before, "nothing was recorded");
}

#[tokio::test]
async fn a_tool_call_reads_no_file_outside_of_its_tasks_folders() {
    let world = World::new();
    let (_, worker, _) = world.bound().await;
    let folder = world.rollout(&worker).parent().unwrap().to_owned();
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    std::fs::write(&secret, "abc").unwrap();
    std::os::unix::fs::symlink(&secret, folder.join("link")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), folder.join("way")).unwrap();
    let out = format!("../{}/secret", elsewhere.path().file_name().unwrap().to_str().unwrap());
    for path in [secret.to_str().unwrap(), "link", "way/secret", &out] {
        let refusal = run::<LoopEvidence>(&world.agent("m"), shown_by(path)).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Refused, "{path}: {refusal}");
        assert!(world.run::<LoopEvidence>(shown_by(path)).await.is_ok(), "a person may: {path}");
    }
    let thread = Some("thread-m".to_owned());
    let sandbox_mode = Some("danger-full-access".to_owned());
    let free = world.seen_by(crate::Caller::Tool { thread, sandbox_mode });
    assert!(run::<LoopEvidence>(&free, shown_by("link")).await.is_ok());
    // Who may not vouch learns nothing of files either.
    let worker = run::<LoopEvidence>(&world.agent("w"), shown_by("nosuch.txt")).await.unwrap_err();
    assert_eq!(worker.kind, ErrorKind::Refused);
}
