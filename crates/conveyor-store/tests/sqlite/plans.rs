//! Look-ups of the working set cost what is open, not what ever was.

use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_store::Engine;
use conveyor_store::attention;
use conveyor_store::bindings;
use conveyor_store::cycles;
use conveyor_store::deliveries;
use conveyor_store::events;
use conveyor_store::testing::Place;
use conveyor_store::testing::plans;
use conveyor_store::threads;

/// SQLite once took an index over all deliveries of a target instead of the one over the open ones: without statistics it
/// does not know that the latter is small.
#[tokio::test]
async fn a_lookup_of_open_work_never_walks_history() {
    let place = Place::new(Engine::Sqlite).await.unwrap();
    let ledger = place.open().await.unwrap();
    let db = &mut *ledger.read().await.unwrap();
    let session: SessionId = "session-0197a1d0-0000-7000-8000-000000000001".parse().unwrap();
    let task: TaskId = "task-0197a1d0-0000-7000-8000-000000000001".parse().unwrap();
    let now = Timestamp::from_millis(0);
    plans(db).await.unwrap();

    deliveries::open_for(db, &session, 9).await.unwrap();
    deliveries::open_on(db, "h", 9).await.unwrap();
    deliveries::ready_targets(db, "h", now).await.unwrap();
    deliveries::unwatched(db, "h", now, 9).await.unwrap();
    deliveries::overdue(db, "h", now, 9).await.unwrap();
    deliveries::next_due(db, "h", now).await.unwrap();
    deliveries::inbox(db, &session, 9).await.unwrap();
    deliveries::unsettled_of_thread(db, "t").await.unwrap();
    deliveries::recorded_in_turn(db, &session, None).await.unwrap();
    deliveries::by_token(db, "0000000000").await.unwrap();
    attention::open(db, None, None, 9).await.unwrap();
    bindings::active_of_worker(db, &session).await.unwrap();
    bindings::active_of_manager(db, &session).await.unwrap();
    threads::session_of(db, "t").await.unwrap();
    cycles::latest(db, &task).await.unwrap();
    events::last(db, 1).await.unwrap();

    let expected = [
        "deliveries_open_target",
        "deliveries_open_host",
        "deliveries_open_host",
        "deliveries_open_host",
        "deliveries_open_host",
        "deliveries_open_host",
        "deliveries_inbox",
        "deliveries_open_target",
        "deliveries_unproved",
        "deliveries_recorded",
        "sqlite_autoindex_deliveries",
        "attention_uncleared",
        "bindings_active_worker",
        "bindings_active_manager",
        "session_threads_current",
        "cycles_task",
        "events_session",
    ];
    let plans = plans(db).await.unwrap();
    assert_eq!(plans.len(), expected.len());
    for ((sql, plan), index) in plans.iter().zip(expected) {
        let searched = plan.iter().any(|step| step.contains("SEARCH") && step.contains(index));
        assert!(searched, "{sql}\nshould search {index}: {plan:#?}");
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN") && !step.contains("moments")),
            "{sql}\n{plan:#?}"
        );
    }
}
