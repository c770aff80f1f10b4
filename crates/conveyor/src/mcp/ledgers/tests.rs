use std::time::Duration;

use super::*;

fn ledgers(folder: &tempfile::TempDir, idle: Duration) -> Ledgers {
    let environment = Environment::of(folder.path(), &[("HOME", folder.path().to_str().unwrap())]);
    Ledgers { idle, ..Ledgers::new(environment, None) }
}

fn caller(thread: &str) -> Caller {
    Caller::Tool { thread: Some(thread.to_owned()), sandbox_mode: None }
}

/// One call: the ledger is opened to write, and given back.
async fn call(ledgers: &Ledgers, thread: &str) -> Arc<Plane> {
    let lent = ledgers.lend(caller(thread)).unwrap();
    lent.plane.ledger().await.unwrap();
    let plane = Arc::clone(&lent.plane);
    ledgers.keep(lent);
    plane
}

#[tokio::test]
async fn a_ledger_stays_open_between_calls_for_each_caller() {
    let folder = tempfile::tempdir().unwrap();
    let ledgers = ledgers(&folder, limits::MCP_LEDGER_IDLE);
    call(&ledgers, "made").await;
    assert_eq!(ledgers.open(), 0, "a ledger that a call made is opened again, to be sure which file it is");
    let first = call(&ledgers, "a").await;
    assert!(Arc::ptr_eq(&first, &call(&ledgers, "a").await));
    assert!(!Arc::ptr_eq(&first, &call(&ledgers, "b").await));
    assert!(Arc::ptr_eq(&first, &call(&ledgers, "a").await));
    for thread in ["c", "d", "e", "f"] {
        call(&ledgers, thread).await;
    }
    assert_eq!(ledgers.open(), limits::MCP_LEDGERS);
}

#[tokio::test]
async fn a_ledger_that_was_replaced_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let ledgers = ledgers(&folder, limits::MCP_LEDGER_IDLE);
    call(&ledgers, "a").await;
    let old = call(&ledgers, "a").await;
    let path = old.location().path().unwrap();
    std::fs::rename(path, path.with_extension("old")).unwrap();
    let new = call(&ledgers, "a").await;
    assert!(!Arc::ptr_eq(&old, &new));
    assert!(path.exists());
}

#[tokio::test]
async fn a_reader_whose_ledger_was_written_meanwhile_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledgers = ledgers(&folder, limits::MCP_LEDGER_IDLE);
    // The last to close a ledger takes its write-ahead log away, so that the next reader opens the bare file.
    let log = call(&ledgers, "writer").await.location().path().unwrap().with_extension("db-wal");
    while log.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let lent = ledgers.lend(caller("a")).unwrap();
    lent.plane.ledger_to_read().await.unwrap().unwrap();
    ledgers.keep(lent.clone());
    assert_eq!(ledgers.open(), 1);
    assert!(Arc::ptr_eq(&lent.plane, &ledgers.lend(caller("a")).unwrap().plane));

    let writer = Ledgers::new(ledgers.environment.clone(), None);
    let writing = call(&writer, "writer").await;
    let actor = conveyor_model::audit::Actor::Operator;
    let mut tx = writing.ledger().await.unwrap().write(&actor).await.unwrap();
    tx.audit(conveyor_store::AuditRow::new("test", "A test writes.")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!Arc::ptr_eq(&lent.plane, &ledgers.lend(caller("a")).unwrap().plane));
}

#[tokio::test]
async fn an_idle_server_lets_go_of_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let ledgers = ledgers(&folder, Duration::from_millis(50));
    call(&ledgers, "a").await;
    call(&ledgers, "a").await;
    assert_eq!(ledgers.open(), 1);
    let emptied = async {
        while ledgers.open() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = ledgers.let_go() => {}
        done = tokio::time::timeout(Duration::from_secs(20), emptied) => done.unwrap(),
    }
}
