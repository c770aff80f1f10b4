//! Starting and finishing, in the real tmux with the simulated agent in place of Codex.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not know their helpers for tests"
)]

mod lab;
mod pairs;

use conveyor_engine::verbs::start_manager::StartManager;
use conveyor_engine::verbs::start_worker::StartWorker;
use conveyor_model::ErrorKind;
use lab::Lab;
use serde_json::json;

#[tokio::test(flavor = "current_thread")]
async fn a_worker_is_there_when_its_own_record_holds_its_first_message() {
    let lab = Lab::new();
    let codex = lab.codex("codex", "");
    let mut request = lab.start("w", &codex);
    request["task"] = json!("Look at the middleware first.");
    let answer = lab.run::<StartWorker>(request).await.unwrap();
    let report = &answer.json;
    assert_eq!(answer.exit_code, 0, "{report:#}");
    assert_eq!((&report["ready"], &report["sandbox"]), (&json!(true), &json!("workspace-write")));
    assert_eq!(report["tmux_session"], "codex-w");
    let thread = report["codex_session_id"].as_str().unwrap();
    assert!(report["codex_session_path"].as_str().unwrap().contains(thread));
    assert!(lab.rollouts().contains("> Look at the middleware first."), "quoted as a person's text");
    let pid = report["pid"].as_i64().unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!line.contains("middleware") && line.contains("--no-daemon"), "{line}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_submit_key_that_is_swallowed_at_the_start_is_pressed_again() {
    let lab = Lab::new();
    let codex = lab.codex("codex", "--ready-after-ms 1500");
    let answer = lab.run::<StartWorker>(lab.start("w", &codex)).await.unwrap();
    assert_eq!(answer.json["ready"], true, "{:#}", answer.json);
}

#[tokio::test(flavor = "current_thread")]
async fn an_older_codex_has_its_thread_by_the_rollout_of_the_first_message() {
    let lab = Lab::new();
    let codex = lab.codex("codex", "--shape 0.144");
    let answer = lab.run::<StartManager>(lab.start("m", &codex)).await.unwrap();
    assert_eq!((answer.exit_code, &answer.json["role"]), (0, &json!("manager")), "{:#}", answer.json);
    assert!(answer.json["codex_session_id"].is_string());
    assert!(lab.rollouts().contains("none yet; ask the user"));
}

#[tokio::test(flavor = "current_thread")]
async fn each_dialog_at_the_start_is_reported_and_left_to_a_person() {
    let lab = Lab::new();
    for (word, kind) in [
        ("trust", "trust_prompt"),
        ("update", "update_prompt"),
        ("login", "login_prompt"),
        ("hooks", "hooks_review_prompt"),
    ] {
        let codex = lab.codex(word, &format!("--dialog {word}"));
        let answer = lab.run::<StartWorker>(lab.start(word, &codex)).await.unwrap();
        let report = &answer.json;
        assert_eq!((answer.exit_code, &report["dialog"]["kind"]), (1, &json!(kind)), "{report:#}");
        assert!(report["attach_command"].as_str().unwrap().ends_with(&format!("attach -t '=codex-{word}'")));
        assert_eq!(report["first_message"]["state"], "pending");
        assert_eq!(lab.active().await.last().unwrap(), word, "the session stays");
    }
    assert_eq!(lab.rollouts(), "", "nothing was typed");
}

#[tokio::test(flavor = "current_thread")]
async fn a_dialog_can_be_a_failure_that_undoes_the_start() {
    let lab = Lab::new();
    let codex = lab.codex("codex", "--dialog login");
    let mut request = lab.start("w", &codex);
    request["on_dialog"] = json!("fail");
    let error = lab.error::<StartWorker>(request).await;
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.ends_with("rolled back: tmux session codex-w, session w (worker)"), "{error}");
    assert_eq!((lab.tmux_sessions(), lab.active().await), (vec![], vec![]));
}

#[tokio::test(flavor = "current_thread")]
async fn only_the_question_of_trust_is_answered() {
    let lab = Lab::new();
    let trusting = |name: &str, codex: &str| {
        let mut request = lab.start(name, codex);
        request["accept_trust"] = json!(true);
        request
    };
    let codex = lab.codex("one", "--dialog trust");
    let answer = lab.run::<StartWorker>(trusting("one", &codex)).await.unwrap();
    assert_eq!(answer.json["ready"], true, "{:#}", answer.json);
    let codex = lab.codex("two", "--dialog trust --dialog update");
    let answer = lab.run::<StartWorker>(trusting("two", &codex)).await.unwrap();
    assert_eq!(answer.json["dialog"]["kind"], "update_prompt", "{:#}", answer.json);
}

#[tokio::test(flavor = "current_thread")]
async fn a_program_that_dies_is_reported_with_its_last_words_and_undone() {
    let lab = Lab::new();
    let codex = lab.program("codex", "echo 'error: unexpected argument'; exit 2");
    let error = lab.error::<StartWorker>(lab.start("w", &codex)).await;
    assert_eq!(error.kind, ErrorKind::Environment);
    assert!(error.message.contains("error: unexpected argument"), "{error}");
    assert_eq!((lab.tmux_sessions(), lab.active().await), (vec![], vec![]));
    let codex = lab.codex("codex", "");
    assert!(lab.run::<StartWorker>(lab.start("w", &codex)).await.is_ok(), "the name can be used again");
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_start_can_be_kept_to_be_looked_at() {
    let lab = Lab::new();
    let codex = lab.program("codex", "echo broken; exit 2");
    let mut request = lab.start("w", &codex);
    request["keep_on_failure"] = json!(true);
    let error = lab.error::<StartWorker>(request).await;
    assert!(error.message.ends_with("left behind: tmux session codex-w, session w (worker)"), "{error}");
    assert_eq!((lab.tmux_sessions(), lab.active().await), (vec!["codex-w".to_owned()], vec!["w".to_owned()]));
}

#[tokio::test(flavor = "current_thread")]
async fn a_program_that_never_takes_a_message_is_given_up_and_undone() {
    let lab = Lab::new();
    let codex = lab.program("codex", "echo thinking; exec sleep 60");
    let mut request = lab.start("w", &codex);
    request["timeout_seconds"] = json!(1);
    let error = lab.error::<StartWorker>(request).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("thinking"), "{error}");
    assert_eq!((lab.tmux_sessions(), lab.active().await), (vec![], vec![]));
}

#[tokio::test(flavor = "current_thread")]
async fn everything_is_checked_before_anything_is_touched() {
    let lab = Lab::new();
    let codex = lab.codex("codex", "");
    lab.tmux.run(["new-session", "-d", "-s", "codex-taken", "sleep", "60"]).unwrap();
    let cases = [
        (json!({ "name": "w", "cwd": "/nowhere" }), ErrorKind::Usage, "is not a folder"),
        (json!({ "name": "w", "codex_bin": "no-such-codex" }), ErrorKind::Environment, "no program"),
        (json!({ "name": "w", "codex_bin": "/bin/false" }), ErrorKind::Environment, "fails"),
        (json!({ "name": "taken", "codex_bin": codex }), ErrorKind::Conflict, "tmux session `codex-taken`"),
        (json!({ "name": "w", "timeout_seconds": 0 }), ErrorKind::Usage, "between"),
        (json!({ "name": "x".repeat(60), "codex_bin": codex }), ErrorKind::Usage, "longer"),
        (
            json!({ "name": "w", "prompt": "x".repeat(70_000), "codex_bin": codex }),
            ErrorKind::Usage,
            "longer",
        ),
    ];
    for (request, kind, words) in cases {
        let error = lab.error::<StartWorker>(request.clone()).await;
        assert_eq!(error.kind, kind, "{request}: {error}");
        assert!(error.message.contains(words), "{request}: {error}");
    }
    assert!(lab.plane.ledger_to_read().await.unwrap().is_none(), "no ledger was made");
    assert_eq!(lab.tmux_sessions(), ["codex-taken"]);
    lab.run::<StartWorker>(lab.start("w", &codex)).await.unwrap();
    let error = lab.error::<StartManager>(lab.start("w", &codex)).await;
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Conflict, "there is an active worker `w` already")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn the_environment_of_a_session_holds_nothing_of_its_starter() {
    let lab = Lab::new();
    lab.tmux.run(["new-session", "-d", "-s", "first", "sleep", "60"]).unwrap();
    for variable in ["npm_config_x", "CODEX_THREAD_ID", "CONVEYOR_DATABASE_URL", "KEPT"] {
        lab.tmux.run(["set-environment", "-g", variable, "foreign"]).unwrap();
    }
    let codex = lab.codex("codex", "");
    let answer = lab.run::<StartWorker>(lab.start("w", &codex)).await.unwrap();
    let pid = answer.json["pid"].as_i64().unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let foreign: Vec<&str> = environment.split('\0').filter(|one| one.ends_with("=foreign")).collect();
    assert_eq!(foreign, ["KEPT=foreign"]);
    assert!(environment.split('\0').any(|one| one.starts_with("CODEX_HOME=")));
}
