//! Sessions, their threads, tasks and bindings.

use std::time::Duration;

use conveyor_model::ErrorKind;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::bindings::BindingState;
use conveyor_store::follows;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::sessions::Wanted;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::tasks::TaskState;
use conveyor_store::testing::Place;
use conveyor_store::threads;
use serde_json::json;

use crate::world;
use crate::world::HOST;
use crate::world::begin;
use crate::world::name;
use crate::world::told;

pub(crate) async fn sessions_are_stored_whole_and_listed(place: &Place) {
    let ledger = place.open().await.unwrap();
    let mut tx = begin(&ledger).await;
    let plain = world::session(&mut tx, "w1", Role::Worker).await;
    let whole = Session {
        pid: Some(4_711),
        pid_start_ticks: Some(99),
        codex_home: Some("/home/x/.codex".to_owned()),
        tmux_pin_json: Some(json!({"pane": "%5", "pid": 3})),
        tmux_session: Some("codex-w1".to_owned()),
        tmux_pane_id: Some("%5".to_owned()),
        owner_kind: OwnerKind::Embedded,
        started_by_conveyor: true,
        last_heartbeat_at: Some(tx.now()),
        codex_app_thread_id: Some("t".to_owned()),
        codex_app_thread_title: Some("Titel ü".to_owned()),
        paused_at: Some(tx.now()),
        taken_over_at: Some(tx.now().plus(Duration::from_millis(7))),
        ..plain.clone()
    };
    sessions::update(&mut tx, &whole, told()).await.unwrap();
    let manager = world::session(&mut tx, "m1", Role::Manager).await;
    tx.commit().await.unwrap();

    let mut db = ledger.read().await.unwrap();
    assert_eq!(sessions::get(&mut db, &whole.id).await.unwrap(), Some(whole.clone()));
    assert_eq!(sessions::by_name(&mut db, &name("w1")).await.unwrap(), Some(whole.clone()));
    assert_eq!(sessions::active_by_pid(&mut db, HOST, 4_711).await.unwrap(), [whole.clone()]);
    assert_eq!(sessions::by_name(&mut db, &name("nobody")).await.unwrap(), None);
    let all = sessions::list(&mut db, &Wanted::default(), 10).await.unwrap();
    assert_eq!(all, [whole.clone(), manager.clone()]);
    let managers =
        Wanted { role: Some(Role::Manager), state: Some(SessionState::Active), ..Wanted::default() };
    assert_eq!(sessions::list(&mut db, &managers, 10).await.unwrap(), [manager]);
    let named =
        Wanted { names: vec![name("w1"), name("x")], host: Some(HOST.to_owned()), ..Wanted::default() };
    assert_eq!(sessions::list(&mut db, &named, 10).await.unwrap(), [whole]);
    assert_eq!(sessions::list(&mut db, &Wanted::default(), 1).await.unwrap().len(), 1);
    let shown = serde_json::to_value(&all[0]).unwrap();
    assert!(shown.get("identity_token").is_none(), "a secret is never shown");
}

pub(crate) async fn a_gone_sessions_name_can_be_used_again(place: &Place) {
    let ledger = place.open().await.unwrap();
    let mut tx = begin(&ledger).await;
    let first = world::session(&mut tx, "w", Role::Worker).await;
    tx.commit().await.unwrap();

    let mut tx = begin(&ledger).await;
    let twin = Session::new(
        conveyor_model::ids::SessionId::new(tx.clock().uuid_v7()),
        name("w"),
        Role::Manager,
        HOST.to_owned(),
        "/".to_owned(),
        tx.now(),
    );
    let error = sessions::insert(&mut tx, twin.clone(), told()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error:?}");
    tx.roll_back().await;

    let mut tx = begin(&ledger).await;
    assert!(sessions::mark_gone(&mut tx, &first.id, told()).await.unwrap());
    assert!(!sessions::mark_gone(&mut tx, &first.id, told()).await.unwrap(), "it is gone already");
    let second = sessions::insert(&mut tx, twin, told()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(second.number > first.number, "small numbers are never used again");

    let mut db = ledger.read().await.unwrap();
    assert_eq!(sessions::by_name(&mut db, &name("w")).await.unwrap().unwrap().id, second.id);
    assert_eq!(sessions::active_by_name(&mut db, &name("w")).await.unwrap().unwrap().id, second.id);
    let gone = Wanted { state: Some(SessionState::Gone), ..Wanted::default() };
    assert_eq!(sessions::list(&mut db, &gone, 10).await.unwrap()[0].id, first.id);
    drop(db);

    let mut tx = begin(&ledger).await;
    sessions::mark_gone(&mut tx, &second.id, told()).await.unwrap();
    assert_eq!(
        sessions::by_name(&mut tx, &name("w")).await.unwrap().unwrap().id,
        second.id,
        "the last to go"
    );
    assert_eq!(sessions::active_by_name(&mut tx, &name("w")).await.unwrap(), None);
}

pub(crate) async fn a_session_is_found_by_its_thread(place: &Place) {
    let ledger = place.open().await.unwrap();
    let mut tx = begin(&ledger).await;
    let worker = world::session(&mut tx, "w", Role::Worker).await;
    let other = world::session(&mut tx, "o", Role::Worker).await;
    let first = threads::adopt(&mut tx, &worker.id, "t1", Some("/r1"), "lock", told()).await.unwrap();
    threads::set_rollout(&mut tx, first.number, "/r1b", told()).await.unwrap();
    let second = threads::adopt(&mut tx, &worker.id, "t2", None, "title", told()).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = begin(&ledger).await;
    let error = threads::adopt(&mut tx, &other.id, "t2", None, "title", told()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "a thread is never taken over");
    tx.roll_back().await;

    let mut db = ledger.read().await.unwrap();
    let current = threads::current(&mut db, &worker.id).await.unwrap();
    assert_eq!(current.iter().map(|thread| thread.number).collect::<Vec<_>>(), [second.number, first.number]);
    assert_eq!(current[1].rollout_path.as_deref(), Some("/r1b"));
    assert_eq!(threads::followed_on(&mut db, HOST).await.unwrap().len(), 2);
    assert_eq!(threads::followed_on(&mut db, "elsewhere").await.unwrap(), []);
    assert_eq!(threads::session_of(&mut db, "t1").await.unwrap(), Some(worker.clone()));
    let newest = threads::newest_of(&mut db, &[worker.id.clone(), other.id.clone()]).await.unwrap();
    assert_eq!(newest.len(), 1, "a session without a thread has none: {newest:?}");
    assert_eq!((newest[0].thread_id.as_str(), newest[0].position), ("t2", None));
    drop(db);

    let mut tx = begin(&ledger).await;
    assert!(threads::release(&mut tx, &worker.id, "t1", told()).await.unwrap());
    assert!(!threads::release(&mut tx, &worker.id, "t1", told()).await.unwrap());
    assert_eq!(threads::session_of(&mut tx, "t1").await.unwrap(), None);
    threads::adopt(&mut tx, &other.id, "t1", None, "lock", told()).await.unwrap();
    assert_eq!(threads::session_of(&mut tx, "t1").await.unwrap().unwrap().id, other.id);
    sessions::mark_gone(&mut tx, &worker.id, told()).await.unwrap();
    assert_eq!(threads::current(&mut tx, &worker.id).await.unwrap(), []);
    follows::begin(&mut tx, "t1", "/r1b", 1, 2).await.unwrap();
    let newest = threads::newest_of(&mut tx, &[other.id.clone()]).await.unwrap();
    assert_eq!((newest[0].session_id.clone(), newest[0].position), (other.id.clone(), Some(0)));
    assert_eq!(threads::of_session(&mut tx, &worker.id).await.unwrap().len(), 2);
    assert_eq!(threads::session_of(&mut tx, "t2").await.unwrap(), None);
}

pub(crate) async fn a_tasks_name_is_free_when_it_is_finished(place: &Place) {
    let ledger = place.open().await.unwrap();
    let mut tx = begin(&ledger).await;
    let first = world::task(&mut tx, "t").await;
    tx.commit().await.unwrap();

    let mut tx = begin(&ledger).await;
    let id = conveyor_model::ids::TaskId::new(tx.clock().uuid_v7());
    let twin = Task::new(id, name("t"), "g".to_owned(), Some("s".to_owned()), tx.now());
    let error = tasks::insert(&mut tx, twin.clone(), told()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    tx.roll_back().await;

    let mut tx = begin(&ledger).await;
    let done = Task {
        state: TaskState::Done,
        outcome: Some("finished".to_owned()),
        reason: Some("why".to_owned()),
        finished_at: Some(tx.now()),
        ..first.clone()
    };
    tasks::update(&mut tx, &done, told()).await.unwrap();
    let second = tasks::insert(&mut tx, twin, told()).await.unwrap();
    tx.commit().await.unwrap();

    let mut db = ledger.read().await.unwrap();
    assert_eq!(tasks::by_name(&mut db, &name("t")).await.unwrap(), Some(second.clone()));
    assert_eq!(
        tasks::by_id_or_name(&mut db, first.id.as_str()).await.unwrap().unwrap().state,
        TaskState::Done
    );
    assert_eq!(tasks::by_id_or_name(&mut db, "t").await.unwrap(), Some(second.clone()));
    assert_eq!(tasks::by_id_or_name(&mut db, "no name").await.unwrap(), None);
    assert_eq!(tasks::list(&mut db, true, 10).await.unwrap(), [second]);
    assert_eq!(tasks::list(&mut db, false, 10).await.unwrap().len(), 2);
    for state in TaskState::ALL {
        assert_eq!(
            state.is_unfinished(),
            matches!(state, TaskState::Candidate | TaskState::Managed | TaskState::Paused)
        );
    }
}

pub(crate) async fn a_task_and_a_worker_are_bound_once(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    let other_task = world::task(&mut tx, "t2").await;
    let other_worker = world::session(&mut tx, "w2", Role::Worker).await;
    tx.commit().await.unwrap();

    for (task, worker) in [(&w.task, &other_worker), (&other_task, &w.worker)] {
        let mut tx = begin(&ledger).await;
        let new = world::binding(&tx, task, worker, &w.manager);
        let error = bindings::insert(&mut tx, new, told()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        tx.roll_back().await;
    }
    let mut tx = begin(&ledger).await;
    let new = Binding {
        start_event_id: Some(7),
        start_thread_id: Some("t".to_owned()),
        start_offset: Some(9),
        start_turn_id: Some("u".to_owned()),
        ..world::binding(&tx, &other_task, &other_worker, &w.manager)
    };
    let second = bindings::insert(&mut tx, new, told()).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = begin(&ledger).await;
    assert_eq!(bindings::get(&mut tx, &second.id).await.unwrap(), Some(second.clone()));
    assert_eq!(bindings::active_of_task(&mut tx, &w.task.id).await.unwrap(), Some(w.binding.clone()));
    assert_eq!(bindings::active_of_worker(&mut tx, &other_worker.id).await.unwrap(), Some(second.clone()));
    let of_manager = bindings::active_of_manager(&mut tx, &w.manager.id).await.unwrap();
    assert_eq!(of_manager, [w.binding.clone(), second.clone()]);
    assert!(bindings::end(&mut tx, &w.binding.id, BindingState::Ended, told()).await.unwrap());
    assert!(!bindings::end(&mut tx, &w.binding.id, BindingState::Invalid, told()).await.unwrap());
    assert_eq!(bindings::active_of_task(&mut tx, &w.task.id).await.unwrap(), None);
    assert_eq!(bindings::of_task(&mut tx, &w.task.id).await.unwrap()[0].state, BindingState::Ended);
    let pair = (second.worker_session_id.clone(), second.manager_session_id.clone());
    let pairs = bindings::active_pairs(&mut tx).await.unwrap();
    assert_eq!(
        pairs.iter().map(|(worker, manager, _)| (worker.clone(), manager.clone())).collect::<Vec<_>>(),
        [pair]
    );
    assert_eq!(bindings::list(&mut tx, true, 10).await.unwrap(), [second]);
    assert_eq!(bindings::list(&mut tx, false, 10).await.unwrap().len(), 2);
}
