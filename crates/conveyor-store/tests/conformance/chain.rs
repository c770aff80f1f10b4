//! Transactions, the audit chain, the bell, locks, and what holds the ledger together.

use std::sync::Arc;
use std::time::Duration;

use conveyor_model::ErrorKind;
use conveyor_model::audit::Actor;
use conveyor_store::AuditRow;
use conveyor_store::Clock;
use conveyor_store::Counter;
use conveyor_store::Engine;
use conveyor_store::Ledger;
use conveyor_store::Mode;
use conveyor_store::OpenGate;
use conveyor_store::SCHEMA_VERSION;
use conveyor_store::SystemClock;
use conveyor_store::audit;
use conveyor_store::audit::Wanted;
use conveyor_store::doctor;
use conveyor_store::doctor::Findings;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::tasks;
use conveyor_store::testing::Killer;
use conveyor_store::testing::ManualClock;
use conveyor_store::testing::Moment;
use conveyor_store::testing::Place;
use serde_json::json;

use crate::world;
use crate::world::begin;
use crate::world::told;

/// Long enough for a bell on a busy machine, short enough not to hang.
const PATIENCE: Duration = Duration::from_secs(10);

async fn commit_one(ledger: &Ledger, sentence: &str) {
    let mut tx = begin(ledger).await;
    tx.audit(AuditRow::new("tested", sentence)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn rows(ledger: &Ledger) -> Vec<audit::AuditEvent> {
    audit::list(&mut ledger.read().await.unwrap(), &Wanted::default(), 10_000).await.unwrap()
}

pub(crate) async fn four_writers_make_one_chain_in_commit_order(place: &Place) {
    const EACH: i64 = 50;
    let ledger = place.open().await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let ledger = place.open().await.unwrap();
        writers.push(tokio::spawn(async move {
            for n in 0..EACH {
                let mut tx = begin(&ledger).await;
                // The number is drawn inside of the transaction, so its order is the order of the commits.
                let order = tx.next_number(Counter::Telemetry).await.unwrap();
                let row = AuditRow::new("tested", format!("{writer}:{n}")).payload(json!({"order": order}));
                tx.audit(row).await.unwrap();
                tx.commit().await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = rows(&ledger).await;
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, (1..=4 * EACH).collect::<Vec<_>>(), "gapless");
    for row in &rows {
        assert_eq!(row.payload_json, Some(json!({"order": row.seq})), "in commit order");
    }
    assert!(rows.is_sorted_by_key(|row| row.at), "the ledger's time never runs backwards along the chain");
    let mut db = ledger.read().await.unwrap();
    assert_eq!(audit::check(&mut db, None).await.unwrap(), Ok(4 * EACH));
    assert_eq!(audit::check(&mut db, Some(10)).await.unwrap(), Ok(10));
}

pub(crate) async fn audit_rows_are_found_by_what_they_belong_to(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let before = rows(&ledger).await.len();
    let mut tx = ledger.write(&Actor::Manager(w.manager.id.clone())).await.unwrap();
    let sent = world::enqueue(&mut tx, &w.worker, "x").await;
    let row = AuditRow::new("odd", "all of it\0")
        .task(&w.task.id)
        .session(&w.worker.id)
        .binding(&w.binding.id)
        .delivery(&sent.id)
        .correlation("c")
        .payload(json!({"text": "\0"}));
    let seq = tx.audit(row).await.unwrap();
    let too_long = AuditRow::new("odd", "x").correlation("c".repeat(513));
    assert_eq!(tx.audit(too_long).await.unwrap_err().kind, ErrorKind::Usage);
    tx.commit().await.unwrap();
    let mut db = ledger.read().await.unwrap();
    let wanted = [
        Wanted { task: Some(w.task.id.clone()), after: Some(seq - 1), ..Wanted::default() },
        Wanted { session: Some(w.worker.id.clone()), newest_first: true, ..Wanted::default() },
        Wanted { delivery: Some(sent.id.clone()), newest_first: true, ..Wanted::default() },
        Wanted { correlation: Some("c".to_owned()), ..Wanted::default() },
        Wanted { kinds: vec!["odd".to_owned(), "none".to_owned()], ..Wanted::default() },
    ];
    for wanted in wanted {
        let row = audit::list(&mut db, &wanted, 1).await.unwrap().remove(0);
        assert_eq!((row.seq, row.sentence.as_str()), (seq, "all of it\u{fffd}"), "{wanted:?}");
        assert_eq!(row.actor, format!("manager:{}", w.manager.id));
        assert_eq!(
            (&row.binding_id, row.payload_json),
            (&Some(w.binding.id.clone()), Some(json!({"text": "\0"})))
        );
    }
    assert_eq!(rows_count(&mut db).await, before + 2);
    assert_eq!(audit::head(&mut db).await.unwrap().seq, seq);
    assert!(audit::check(&mut db, None).await.unwrap().is_ok());
}

async fn rows_count(db: &mut conveyor_store::Db) -> usize {
    audit::list(db, &Wanted::default(), 10_000).await.unwrap().len()
}

pub(crate) async fn a_change_without_an_audit_row_is_refused(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let mut tx = begin(&ledger).await;
    conveyor_store::turns::put(&mut tx, &w.worker.id, "busy", &json!({}), None).await.unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind, ErrorKind::Ledger);
    let mut db = ledger.read().await.unwrap();
    assert_eq!(conveyor_store::turns::get(&mut db, &w.worker.id).await.unwrap(), None);
}

pub(crate) async fn a_change_goes_in_wholly_or_not_at_all(place: &Place) {
    let ledger = place.open().await.unwrap();
    let mut tx = begin(&ledger).await;
    let first = world::task(&mut tx, "t").await;
    let twin = tasks::Task { id: conveyor_model::ids::TaskId::new(tx.clock().uuid_v7()), ..first };
    assert_eq!(tasks::insert(&mut tx, twin, told()).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(
        tx.commit().await.unwrap_err().kind,
        ErrorKind::Ledger,
        "nobody goes on after a failed statement"
    );
    assert_eq!(tasks::list(&mut ledger.read().await.unwrap(), false, 10).await.unwrap(), []);
    commit_one(&ledger, "the next one is whole").await;
    assert_eq!(rows(&ledger).await.len(), 1);
}

pub(crate) async fn a_dropped_change_leaves_nothing(place: &Place) {
    let ledger = place.open().await.unwrap();
    let mut tx = begin(&ledger).await;
    world::task(&mut tx, "t").await;
    drop(tx);
    // The connection is free again for this process and the lock for the others.
    let other = place.open().await.unwrap();
    commit_one(&other, "from another").await;
    commit_one(&ledger, "from here").await;
    assert_eq!(rows(&ledger).await.len(), 2);
    assert_eq!(tasks::list(&mut ledger.read().await.unwrap(), false, 10).await.unwrap(), []);
}

pub(crate) async fn a_transaction_without_changes_writes_nothing(place: &Place) {
    let killer = Arc::new(Killer::new(1, Moment::BeforeCommit));
    let ledger = place.open_with(Arc::new(SystemClock), killer.clone()).await.unwrap();
    begin(&ledger).await.commit().await.unwrap();
    assert!(!killer.has_killed(), "nothing was to be committed");
}

pub(crate) async fn a_crash_before_a_commit_leaves_nothing_and_after_it_everything(place: &Place) {
    for (n, moment, kept) in [(2, Moment::BeforeCommit, 1), (2, Moment::AfterCommit, 3)] {
        let gate = Arc::new(Killer::new(n, moment));
        let ledger = place.open_with(Arc::new(SystemClock), gate.clone()).await.unwrap();
        let mut died = 0;
        for _ in 0..4 {
            let mut tx = begin(&ledger).await;
            tx.audit(told()).await.unwrap();
            died += i32::from(tx.commit().await == Err(Killer::death()));
        }
        assert!(gate.has_killed());
        assert_eq!(died, 3, "a dead process writes nothing more");
        drop(ledger);
        let ledger = place.open().await.unwrap();
        assert_eq!(rows(&ledger).await.len(), kept, "{moment:?}");
        assert!(audit::check(&mut ledger.read().await.unwrap(), None).await.unwrap().is_ok());
    }
}

pub(crate) async fn a_reader_sees_one_snapshot(place: &Place) {
    let ledger = place.open().await.unwrap();
    let other = place.open().await.unwrap();
    commit_one(&ledger, "one").await;
    let mut reader = ledger.read().await.unwrap();
    assert_eq!(audit::head(&mut reader).await.unwrap().seq, 1);
    commit_one(&other, "two").await;
    assert_eq!(audit::head(&mut reader).await.unwrap().seq, 1, "still the snapshot");
    drop(reader);
    let mut reader = ledger.read().await.unwrap();
    assert_eq!(audit::head(&mut reader).await.unwrap().seq, 2);
    assert!(SystemClock.now().since(reader.now()) < Duration::from_mins(1));
}

/// Statements that must fail, each with what it would have done.
const FORBIDDEN: [(&str, &str); 11] = [
    ("UPDATE audit_events SET sentence = 'x'", "change a row"),
    ("DELETE FROM audit_events WHERE seq = 2", "delete a row"),
    ("DELETE FROM audit_events", "delete all rows"),
    (
        "INSERT INTO audit_events (seq, at, actor, kind, sentence, payload_digest, hash) VALUES (1, '', '', '', '', '', '')",
        "take a number again",
    ),
    (
        "INSERT INTO audit_events (seq, at, actor, kind, sentence, payload_digest, hash) VALUES (0, '', '', '', '', '', '')",
        "put a row before the first",
    ),
    ("UPDATE audit_payloads SET payload_json = '{}'", "change a payload"),
    ("INSERT INTO audit_payloads (seq, payload_json) VALUES (1, '{}')", "replace a payload"),
    ("DELETE FROM chain_head", "lose the head"),
    ("INSERT INTO chain_head (id, seq, hash) VALUES (1, 9, 'x')", "make another head"),
    ("UPDATE chain_head SET seq = seq - 1", "move the head back"),
    ("UPDATE chain_head SET seq = seq", "leave the head in place"),
];

/// What only one engine can be asked.
const FORBIDDEN_ON_SQLITE: [(&str, &str); 2] = [
    (
        "REPLACE INTO audit_events (seq, at, actor, kind, sentence, payload_digest, hash) VALUES (2, '', '', '', '', '', '')",
        "slip past the delete trigger",
    ),
    ("REPLACE INTO chain_head (id, seq, hash) VALUES (1, 9, 'x')", "replace the head"),
];
const FORBIDDEN_ON_POSTGRES: [(&str, &str); 3] = [
    ("TRUNCATE audit_events CASCADE", "empty the chain"),
    ("TRUNCATE audit_payloads", "empty the payloads"),
    ("TRUNCATE chain_head", "lose the head"),
];

pub(crate) async fn the_audit_chain_cannot_be_changed(place: &Place) {
    let ledger = place.open().await.unwrap();
    for text in ["one", "two", "three"] {
        commit_one(&ledger, text).await;
    }
    let before = rows(&ledger).await;
    let engine = begin(&ledger).await.engine();
    let own: &[(&str, &str)] = match engine {
        Engine::Sqlite => &FORBIDDEN_ON_SQLITE,
        Engine::Postgres => &FORBIDDEN_ON_POSTGRES,
    };
    for (sql, would) in FORBIDDEN.iter().chain(own) {
        let error = conveyor_store::testing::run(place, sql).await.expect_err(would);
        assert_eq!(error.kind, ErrorKind::Conflict, "{sql}: {error:?}");
    }
    assert_eq!(rows(&ledger).await, before);
    assert!(audit::check(&mut ledger.read().await.unwrap(), None).await.unwrap().is_ok());
}

pub(crate) async fn damage_to_the_chain_is_found(place: &Place) {
    let ledger = place.open().await.unwrap();
    for text in ["one", "two", "three"] {
        commit_one(&ledger, text).await;
    }
    let engine = begin(&ledger).await.engine();
    drop(ledger);
    let drop_trigger = |name: &str, table: &str| match engine {
        Engine::Sqlite => format!("DROP TRIGGER {name}"),
        Engine::Postgres => format!("DROP TRIGGER {name} ON {table}"),
    };
    let damages = [
        (
            drop_trigger("audit_payloads_no_update", "audit_payloads"),
            "UPDATE audit_payloads SET payload_json = '[]' WHERE seq = 3",
            "payload of audit row 3",
        ),
        (
            drop_trigger("audit_events_no_update", "audit_events"),
            "UPDATE audit_events SET sentence = 'x' WHERE seq = 2",
            "audit row 2",
        ),
        (
            drop_trigger("audit_events_no_delete", "audit_events"),
            "DELETE FROM audit_payloads; DELETE FROM audit_events WHERE seq = 1",
            "audit row 1 is missing",
        ),
    ];
    for (allow, damage, found) in damages {
        conveyor_store::testing::run(place, &allow).await.unwrap();
        conveyor_store::testing::run(place, damage).await.unwrap();
        let findings = examine(place).await;
        assert!(!findings.ok());
        let chain = findings.checks.iter().find(|check| check.name == "audit_chain").unwrap();
        assert!(chain.found.to_string().contains(found), "{damage}: {}", chain.found);
        let missing = findings.checks.iter().find(|check| check.name == "required_triggers").unwrap();
        assert!(!missing.ok);
    }
}

async fn examine(place: &Place) -> Findings {
    doctor::examine(place.location(), Arc::new(SystemClock), None).await.unwrap()
}

pub(crate) async fn the_doctor_finds_nothing_in_a_sound_ledger_and_what_is_missing_in_another(place: &Place) {
    let nothing = examine(place).await;
    assert!(!nothing.exists && nothing.checks.is_empty());
    if let Some(folder) = place.folder() {
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "looking creates nothing");
    }
    let ledger = place.open().await.unwrap();
    world::world(&ledger).await;
    let sound = examine(place).await;
    assert!(sound.exists && sound.ok(), "{sound:#?}");
    assert_eq!(sound.schema_version, Some(SCHEMA_VERSION));
    drop(ledger);
    conveyor_store::testing::run(place, "DROP INDEX events_place; DROP TABLE handoffs").await.unwrap();
    let unsound = examine(place).await;
    let missing: Vec<String> = unsound
        .checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| format!("{} {}", check.name, check.found))
        .collect();
    assert_eq!(
        missing,
        ["required_tables [\"handoffs\"]", "required_indexes [\"events_place\",\"handoffs_task\"]"]
    );
}

pub(crate) async fn payloads_can_be_pruned_and_the_chain_stays_whole(place: &Place) {
    let ledger = place.open().await.unwrap();
    for text in ["one", "two", "three"] {
        commit_one(&ledger, text).await;
    }
    let mut tx = begin(&ledger).await;
    assert_eq!(audit::prune_payloads(&mut tx, 2, told()).await.unwrap(), 2);
    assert_eq!(audit::prune_payloads(&mut tx, 2, told()).await.unwrap(), 0);
    tx.commit().await.unwrap();
    let payloads: Vec<bool> = rows(&ledger).await.iter().map(|row| row.payload_json.is_some()).collect();
    assert_eq!(payloads, [false, false, true, true]);
    assert_eq!(audit::check(&mut ledger.read().await.unwrap(), None).await.unwrap(), Ok(4));
}

pub(crate) async fn a_lone_commit_rings_the_bell(place: &Place) {
    let ledger = place.open().await.unwrap();
    let (waiting, other) = (place.open().await.unwrap(), place.open().await.unwrap());
    let (bell, second) = (waiting.bell().await.unwrap(), other.bell().await.unwrap());
    for n in 1..=3 {
        commit_one(&ledger, "ring").await;
        assert!(bell.rung_within(&SystemClock, PATIENCE).await, "ring {n} was not heard");
        let seq = audit::head(&mut waiting.read().await.unwrap()).await.unwrap().seq;
        assert_eq!(seq, n, "what rang can be seen");
        assert!(second.rung_within(&SystemClock, PATIENCE).await, "each of many readers wakes");
    }
    commit_one(&ledger, "before the wait").await;
    assert!(bell.rung_within(&SystemClock, PATIENCE).await, "a ring between two waits is kept");
}

pub(crate) async fn heartbeats_and_telemetry_do_not_ring(place: &Place) {
    let ledger = place.open().await.unwrap();
    let w = world::world(&ledger).await;
    let bell = ledger.bell().await.unwrap();
    let mut tx = begin(&ledger).await;
    sessions::heartbeat(&mut tx, &w.worker.id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!bell.rung_within(&SystemClock, Duration::from_millis(200)).await);
    let heard = sessions::get(&mut ledger.read().await.unwrap(), &w.worker.id).await.unwrap().unwrap();
    assert!(heard.last_heartbeat_at.is_some(), "it was stored all the same");
    commit_one(&ledger, "now").await;
    assert!(bell.rung_within(&SystemClock, PATIENCE).await);
}

pub(crate) async fn a_lock_is_released_by_its_holders_death(place: &Place) {
    let ledger = place.open().await.unwrap();
    let other = place.open().await.unwrap();
    assert!(!other.is_locked("dispatch-a").await.unwrap());
    let held = ledger.try_lock("dispatch-a").await.unwrap().unwrap();
    assert!(other.is_locked("dispatch-a").await.unwrap());
    assert!(!other.is_locked("dispatch-b").await.unwrap());
    assert!(other.try_lock("dispatch-a").await.unwrap().is_none());
    assert!(other.try_lock("dispatch-b").await.unwrap().is_some());
    drop(held);
    let deadline = std::time::Instant::now() + PATIENCE;
    while other.is_locked("dispatch-a").await.unwrap() {
        assert!(
            std::time::Instant::now() < deadline,
            "a server notices within moments that its client is gone"
        );
    }
    assert!(other.try_lock("dispatch-a").await.unwrap().is_some());
}

pub(crate) async fn two_makers_of_one_ledger_make_one(place: &Place) {
    let makers = (0..6).map(|_| place.open());
    for ledger in futures::future::join_all(makers).await {
        commit_one(&ledger.unwrap(), "made").await;
    }
    assert_eq!(rows(&place.open().await.unwrap()).await.len(), 6);
}

pub(crate) async fn a_later_migration_runs_once(place: &Place) {
    let reader = Ledger::open(place.location(), Mode::Read, Arc::new(SystemClock), Arc::new(OpenGate)).await;
    assert!(reader.unwrap().is_none(), "reading never makes a ledger");
    let ledger = place.open().await.unwrap();
    commit_one(&ledger, "kept").await;
    drop(ledger);
    let next = SCHEMA_VERSION + 1;
    conveyor_store::testing::upgrade(place, next, "CREATE TABLE extra (id IDENTITY, note TEXT);")
        .await
        .unwrap();
    conveyor_store::testing::upgrade(place, next, "CREATE TABLE extra (id IDENTITY, note TEXT);")
        .await
        .unwrap();
    conveyor_store::testing::run(place, "INSERT INTO extra (id, note) VALUES (1, 'x')").await.unwrap();
    for mode in [Mode::Read, Mode::Write] {
        let newer = Ledger::open(place.location(), mode, Arc::new(SystemClock), Arc::new(OpenGate)).await;
        let error = newer.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Ledger);
        assert!(error.message.contains("newer"), "{error}");
    }
    let findings = examine(place).await;
    assert!(findings.exists && !findings.ok());
    if let Some(folder) = place.folder() {
        let copies = std::fs::read_dir(folder).unwrap().flatten().filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with(&format!("ledger.db.v{SCHEMA_VERSION}-")) && file.metadata().unwrap().len() > 0
        });
        assert_eq!(copies.count(), 1, "the file was copied before it was changed");
    }
    let broken = conveyor_store::testing::upgrade(
        place,
        next + 1,
        "CREATE TABLE more (id IDENTITY); CREATE nonsense;",
    )
    .await;
    assert!(broken.is_err());
    let again = conveyor_store::testing::run(place, "SELECT id FROM more").await;
    assert!(again.is_err(), "a migration is done wholly or not at all");
}

pub(crate) async fn zero_characters_are_replaced(place: &Place) {
    let clock = Arc::new(ManualClock::default());
    let ledger = place.open_with(clock, Arc::new(OpenGate)).await.unwrap();
    let mut tx = begin(&ledger).await;
    let mut session = world::session(&mut tx, "w", Role::Worker).await;
    session.cwd = String::from("/a\0b");
    session.tmux_pin_json = Some(json!({"title": "x\0y"}));
    sessions::update(&mut tx, &session, told()).await.unwrap();
    tx.commit().await.unwrap();
    let stored = sessions::get(&mut ledger.read().await.unwrap(), &session.id).await.unwrap().unwrap();
    assert_eq!(stored.cwd, "/a\u{fffd}b");
    assert_eq!(stored.tmux_pin_json, session.tmux_pin_json, "JSON escapes it");
}

pub(crate) async fn a_beginning_that_was_dropped_leaves_the_ledger_usable(place: &Place) {
    let ledger = place.open().await.unwrap();
    for yields in 0..60 {
        let patience = async {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            tx = ledger.write(&Actor::Operator) => tx.unwrap().roll_back().await,
            () = patience => {}
        }
        ledger.write(&Actor::Operator).await.unwrap().roll_back().await;
        drop(ledger.read().await.unwrap());
    }
}
