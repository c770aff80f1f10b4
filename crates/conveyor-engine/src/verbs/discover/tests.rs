use conveyor_model::ErrorKind;
use conveyor_store::sessions::Role;
use conveyor_store::telemetry::NewTelemetry;
use conveyor_store::telemetry::Severity;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::told;

/// The kinds of suggestions with whom they name.
fn suggested(report: &Value) -> Vec<String> {
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or("-").to_owned();
    let rows = report["suggestions"].as_array().unwrap().iter();
    rows.map(|one| {
        format!(
            "{} {} {} {}",
            text(one, "kind"),
            text(one, "task"),
            text(one, "worker"),
            text(one, "manager")
        )
    })
    .collect()
}

#[tokio::test]
async fn who_is_bound_is_not_suggested() {
    let world = World::new();
    world.bound().await;
    world.task("t2").await;
    let report = world.json::<Discover>(json!({ "query": " w " })).await;
    assert_eq!(report["query"], "w");
    assert_eq!(suggested(&report), ["register-worker - - -", "register-manager - - -"]);
    world.session("w2", Role::Worker).await;
    world.session("m2", Role::Manager).await;
    // The query matches neither of the two; suggestions come from the whole control plane.
    let report = world.json::<Discover>(json!({ "query": "nothing" })).await;
    assert_eq!(suggested(&report), ["bind t2 w2 m2"]);
    let command = report["suggestions"][0]["command"].as_str().unwrap();
    assert!(command.contains("bind --task t2 --worker w2 --manager m2 --db "), "{command}");
    assert!(report["suggestions"][0]["reason"].as_str().unwrap().contains("both sessions are free"));
}

#[tokio::test]
async fn the_setup_code_fits_better_than_the_folder() {
    let world = World::new();
    for name in ["a", "dashboard-7F"] {
        world.task(name).await;
    }
    for name in ["w", "dashboard-7F-worker"] {
        world.session(name, Role::Worker).await;
    }
    for name in ["m", "dashboard-7F-manager"] {
        world.session(name, Role::Manager).await;
    }
    let report = world.json::<Discover>(json!({})).await;
    let suggested = suggested(&report);
    assert_eq!(suggested[0], "bind dashboard-7F dashboard-7F-worker dashboard-7F-manager");
    assert_eq!(suggested[1], "bind a w m");
    assert_eq!(report["suggestions"][0]["reason"], "task, worker and manager carry the same setup code");
}

#[tokio::test]
async fn gone_and_finished_are_found_only_with_all() {
    let world = World::new();
    let (task, worker, _) = world.bound().await;
    world.json::<crate::verbs::unbind::Unbind>(json!({ "task": "t" })).await;
    let mut tx = world.tx().await;
    let task = tasks::get(&mut tx, &task.id).await.unwrap().unwrap();
    tasks::update(&mut tx, &Task { state: tasks::TaskState::Done, ..task }, told()).await.unwrap();
    sessions::mark_gone(&mut tx, &worker.id, told()).await.unwrap();
    tx.commit().await.unwrap();

    let some = world.json::<Discover>(json!({})).await;
    assert_eq!((&some["tasks"], some["sessions"].as_array().unwrap().len()), (&json!([]), 1));
    let all = world.json::<Discover>(json!({ "all": true })).await;
    assert_eq!((all["tasks"][0]["name"].clone(), all["sessions"].as_array().unwrap().len()), (json!("t"), 2));
    assert_eq!(suggested(&all), ["register-worker - - -"], "neither is suggested");
}

#[tokio::test]
async fn what_matches_is_shown_without_secrets() {
    let world = World::new();
    world.bound().await;
    world.task("other").await;
    let mut tx = world.tx().await;
    for (number, word) in ["w rose", "tulip", "w fell"].into_iter().enumerate() {
        let new = NewTelemetry {
            task: None,
            run: None,
            actor: "worker".to_owned(),
            event_type: format!("event_{number}"),
            severity: Severity::Info,
            summary: word.to_owned(),
            correlation: json!({}),
            attributes: json!({}),
        };
        telemetry::insert(&mut tx, new).await.unwrap();
    }
    tx.commit().await.unwrap();
    let report = world.json::<Discover>(json!({ "query": "W" })).await;
    assert_eq!(report["tasks"], json!([]));
    let names = |key: &str, name: &str| -> Vec<String> {
        report[key].as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    // The folder of this test's sessions has a random name, which may hold the letter too.
    assert_eq!(names("sessions", "name").first().map(String::as_str), Some("w"));
    assert_eq!(names("bindings", "task_name"), ["t"]);
    assert_eq!(names("telemetry", "event_type"), ["event_2", "event_0"], "the newest first");
    let session = &report["sessions"][0];
    assert_eq!((&session["bound_task"], &session["delivery"]), (&json!("t"), &json!("pull")));
    assert_eq!(session["codex_session_id"], "thread-w");
    assert!(!report.to_string().contains("identity_token"));
    for key in
        ["id", "state", "created_at", "task_goal", "worker_state", "manager_state", "worker_tmux_session"]
    {
        assert!(report["bindings"][0].get(key).is_some(), "{key}");
    }
    let by_thread = world.json::<Discover>(json!({ "query": "thread-m" })).await;
    assert_eq!(by_thread["sessions"][0]["name"], "m");
}

#[tokio::test]
async fn limits_hold_for_each_sort_and_are_told() {
    let world = World::new();
    for number in 0..3 {
        world.task(&format!("t{number}")).await;
    }
    let report = world.json::<Discover>(json!({ "limit": 2 })).await;
    assert_eq!(report["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(report["tasks"][1]["name"], "t2");
    assert_eq!(report["truncated"], true);
    assert!(report["more"].as_str().unwrap().contains("discover --limit 20 --db"));
    assert_eq!(world.error::<Discover>(json!({ "limit": 0 })).await.kind, ErrorKind::Usage);
}

#[tokio::test]
async fn without_a_ledger_only_suggestions_are_left() {
    let world = World::new();
    let report = world.json::<Discover>(json!({})).await;
    assert_eq!(suggested(&report), ["register-worker - - -", "register-manager - - -"]);
    assert!(world.plane.ledger_to_read().await.unwrap().is_none());
}
