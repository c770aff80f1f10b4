use conveyor_store::cycles::Cycle;
use conveyor_store::tasks::Task;
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::testing::told;

/// Cycles of a task that saw these patterns, oldest first; `!` is a cycle that failed.
async fn seen(world: &World, task: &Task, patterns: &[Option<&str>]) {
    for pattern in patterns {
        let mut tx = world.tx().await;
        let failed = *pattern == Some("!");
        let cycle = Cycle {
            id: 0,
            task_id: task.id.clone(),
            binding_id: None,
            state: if failed { CycleState::Failed } else { CycleState::Succeeded },
            started_at: tx.now(),
            completed_at: Some(tx.now()),
            pane_pattern: pattern.filter(|_| !failed).map(ToOwned::to_owned),
            status_json: Some(json!({ "state": "busy" })),
            error: None,
        };
        cycles::insert(&mut tx, cycle, told()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn told_as(entries: &Value) -> Vec<(&str, i64)> {
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|one| (one["notable_pane_pattern"].as_str().unwrap(), one["count"].as_i64().unwrap()))
        .collect()
}

const A: Option<&str> = Some("approval_prompt");
const T: Option<&str> = Some("trust_prompt");

#[tokio::test]
async fn runs_of_the_same_pattern_are_one_entry() {
    let world = World::new();
    let (task, other) = (world.task("t").await, world.task("other").await);
    seen(&world, &task, &[A, A]).await;
    seen(&world, &other, &[T]).await;
    seen(&world, &task, &[A, None, T, Some("!"), T, A]).await;
    let entries = world.json::<Divergences>(json!({ "task": "t" })).await;
    assert_eq!(
        told_as(&entries),
        [("approval_prompt", 1), ("trust_prompt", 2), ("approval_prompt", 3)],
        "a clean cycle and another pattern end a run; a failed cycle and another task do not"
    );
    assert!(entries[2]["first_at"].as_str() <= entries[2]["last_at"].as_str());
    assert!(entries[0].get("status").is_none());

    let one = world.json::<Divergences>(json!({ "task": "t", "limit": 2 })).await;
    assert_eq!(told_as(&one), [("approval_prompt", 1), ("trust_prompt", 2)]);
    let trust = json!({ "task": "t", "pattern": "trust_prompt", "full": true });
    let trust = world.json::<Divergences>(trust).await;
    assert_eq!(told_as(&trust), [("trust_prompt", 2)]);
    assert_eq!(trust[0]["status"]["state"], "busy");
    let later = json!({ "task": "t", "since": "2999-01-01T00:00:00Z" });
    assert_eq!(world.json::<Divergences>(later).await, json!([]));
    assert_eq!(world.json::<Divergences>(json!({ "task": "t", "limit": 0 })).await, json!([]));
}

#[tokio::test]
async fn a_run_longer_than_a_page_is_one_entry() {
    let world = World::new();
    let task = world.task("t").await;
    let mut patterns = vec![T];
    patterns.extend([A; PAGE as usize + 3]);
    seen(&world, &task, &patterns).await;
    let entries = world.json::<Divergences>(json!({ "task": "t" })).await;
    assert_eq!(told_as(&entries), [("approval_prompt", i64::from(PAGE) + 3), ("trust_prompt", 1)]);
}

#[tokio::test]
async fn none_is_an_empty_list_and_an_unknown_task_an_error() {
    let world = World::new();
    world.task("t").await;
    assert_eq!(world.json::<Divergences>(json!({ "task": "t" })).await, json!([]));
    let error = world.error::<Divergences>(json!({ "task": "none" })).await;
    assert_eq!(error.kind, conveyor_model::ErrorKind::NotFound);
}
