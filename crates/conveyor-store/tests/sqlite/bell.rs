//! The bell: one lone commit is enough.

use std::time::Duration;

use conveyor_model::audit::Actor;
use conveyor_store::AuditRow;
use conveyor_store::Engine;
use conveyor_store::SystemClock;
use conveyor_store::audit;
use conveyor_store::testing::Place;

/// Two hundred lone commits, each of which has to wake a reader that is asleep, and each of which the reader must see
/// when it wakes. There is no sweep here that could cover a lost wake.
#[tokio::test]
async fn a_lone_commit_wakes_two_hundred_times_and_can_be_seen() {
    let place = Place::new(Engine::Sqlite).await.unwrap();
    let (writer, reader) = (place.open().await.unwrap(), place.open().await.unwrap());
    let bell = reader.bell().await.unwrap();
    for n in 1..=200 {
        let ((), rung) = tokio::join!(
            async {
                // The reader below is polled first, so that it sleeps before anything is written.
                tokio::task::yield_now().await;
                let mut tx = writer.write(&Actor::Operator).await.unwrap();
                tx.audit(AuditRow::new("tested", "ring")).await.unwrap();
                tx.commit().await.unwrap();
            },
            bell.rung_within(&SystemClock, Duration::from_secs(10)),
        );
        assert!(rung, "commit {n} woke nobody");
        let head = audit::head(&mut reader.read().await.unwrap()).await.unwrap();
        assert_eq!(head.seq, n, "the wake came before the commit could be seen");
    }
}
