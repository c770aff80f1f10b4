//! A process that stops in the middle, loses its lease, and then goes on: from the next step on it types nothing.

use std::sync::Arc;

use conveyor_engine::Plane;
use conveyor_engine::deliver;
use conveyor_engine::deliver::Holder;
use conveyor_engine::deliver::Until;
use conveyor_model::audit::Actor;
use conveyor_model::limits;
use conveyor_mux::Mux;
use conveyor_store::Engine;
use conveyor_store::OpenGate;
use conveyor_store::deliveries;

use crate::Death;
use crate::Run;
use crate::Scene;
use crate::lease_ms;
use crate::plane;
use crate::slow::Slow;

/// A step behind all that a delivery takes; a run that never comes so far ends the loop before.
const STEPS: u64 = 60;

/// Stops the first process before each step in turn. How often it was stopped where it held a lease.
pub(crate) async fn stalls(engine: Engine, scene: Scene) -> u32 {
    let mut lost = 0;
    for at in 1..=STEPS {
        match stalled(engine, scene, at).await {
            None => break,
            Some(was_taken_over) => lost += u32::from(was_taken_over),
        }
    }
    lost
}

/// One run: whether somebody took over while the first process stood still. Nothing when it never did.
async fn stalled(engine: Engine, scene: Scene, at: u64) -> Option<bool> {
    let run = Run::new(engine, scene).await.unwrap();
    run.plan(Death::Never);
    let slow = Slow::new(&run.world, at);
    let mux: Arc<dyn Mux> = Arc::clone(&slow) as Arc<dyn Mux>;
    let plane = plane(&run.world, &run.place, run.state.path(), Arc::new(OpenGate), mux).unwrap();
    let first = once(&plane, &run);
    tokio::pin!(first);
    tokio::select! {
        biased;
        () = &mut first => return None,
        () = slow.stopped() => {}
    }
    run.world.advance(lease_ms() + 1);
    let taken = take_over(&run).await;
    slow.go_on(if taken { run.world.now() + lease_ms() } else { 0 });
    first.await;
    let typed = slow.typed_afterwards();
    assert_eq!(typed, 0, "{scene:?}, stopped before step {at}: who had lost the lease typed {typed} times");
    run.world.advance(lease_ms() + 1);
    assert!(!run.process("successor", Arc::new(OpenGate)).await);
    run.check(Death::Never).await;
    Some(taken)
}

/// A process that tries to carry out the first message, once.
async fn once(plane: &Plane, run: &Run) {
    let ledger = plane.ledger().await.unwrap();
    let open = deliveries::open_for(&mut ledger.read().await.unwrap(), &run.session.id, 1).await.unwrap();
    let holder = Holder { name: "first".to_owned(), lease: limits::LEASE };
    deliver::carry_out(plane, &open[0].id, &holder, Until::SUBMITTED).await.unwrap();
}

/// Leases what is due, as another dispatcher does, and goes no further.
async fn take_over(run: &Run) -> bool {
    let mux = Arc::new(run.world.mux());
    let plane = plane(&run.world, &run.place, run.state.path(), Arc::new(OpenGate), mux).unwrap();
    let ledger = plane.ledger().await.unwrap();
    let mut tx = ledger.write(&Actor::Dispatch("second".to_owned())).await.unwrap();
    let open = deliveries::open_for(&mut tx, &run.session.id, 100).await.unwrap();
    let begun = open.iter().find(|delivery| delivery.leased_by.as_deref() == Some("first"));
    let Some(begun) = begun.map(|delivery| delivery.id.clone()) else {
        tx.roll_back().await;
        return false;
    };
    // For so long that the first process, which looks again and again, meets it in any case.
    let lease = deliveries::lease(&mut tx, &begun, "second", limits::LEASE).await.unwrap();
    tx.commit().await.unwrap();
    lease.is_some()
}

#[tokio::test]
async fn who_was_suspended_and_lost_its_lease_types_nothing_more() {
    for scene in [Scene::Idle, Scene::Busy] {
        let lost = stalls(Engine::Sqlite, scene).await;
        assert!(lost > 5, "{scene:?}: only {lost} leases were lost");
    }
}
