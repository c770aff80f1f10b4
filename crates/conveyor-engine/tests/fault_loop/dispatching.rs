//! The loop over a dispatcher: a worker and a manager on one task, a nudge for the one and a notification for the other in
//! the queue. It is killed at each write of the ledger and at steps of the terminals; another one takes over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use conveyor_engine::Plane;
use conveyor_engine::VERBS;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_model::limits;
use conveyor_sim::agent::Config;
use conveyor_sim::pane::Fate;
use conveyor_sim::pane::SimMux;
use conveyor_sim::pane::World;
use conveyor_store::Clock;
use conveyor_store::Engine;
use conveyor_store::Gate;
use conveyor_store::OpenGate;
use conveyor_store::audit;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::sessions::Role;
use conveyor_store::testing::Killer;
use conveyor_store::testing::Moment;
use conveyor_store::testing::Place;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::Death;
use crate::lease_ms;
use crate::plane;
use crate::recorded;
use crate::register;
use crate::stages;

/// Passes after which a run that has not ended is stuck.
const PASSES: usize = 200;

/// The world of one run.
struct Bound {
    world: World,
    place: Place,
    state: tempfile::TempDir,
    worker: u32,
    manager: u32,
}

impl Bound {
    async fn new(engine: Engine) -> Self {
        let world = World::new(7);
        let worker = world.hands(|hands| hands.open("codex-foo", Config::default()));
        let manager = world.hands(|hands| hands.open("codex-boss", Config::default()));
        let place = Place::new(engine).await.unwrap();
        let bound = Self { world, place, state: tempfile::tempdir().unwrap(), worker, manager };
        let plane = bound.plane(Arc::new(OpenGate));
        register(&plane, &bound.world, worker, "foo", Role::Worker).await.unwrap();
        register(&plane, &bound.world, manager, "boss", Role::Manager).await.unwrap();
        for (verb, request) in [
            ("tasks", json!({ "create": "t", "goal": "g" })),
            ("bind", json!({ "task": "t", "worker": "foo", "manager": "boss" })),
            ("enqueue-nudge-worker", json!({ "task": "t", "message": "do it [[say=done]]" })),
            ("enqueue-notify-manager", json!({ "task": "t", "message": "look at it" })),
        ] {
            call(&plane, verb, request).await.unwrap();
        }
        bound
    }

    fn plane(&self, gate: Arc<dyn Gate>) -> Plane {
        self.plane_on(Arc::new(self.world.mux()), gate)
    }

    fn plane_on(&self, mux: Arc<SimMux>, gate: Arc<dyn Gate>) -> Plane {
        let mut plane = plane(&self.world, &self.place, self.state.path(), gate, mux).unwrap();
        plane.clock = Arc::new(NoTimeOut(plane.clock.clone()));
        plane
    }

    /// A dispatcher, until nothing is owed any more or it is killed. Whether it was killed.
    async fn dispatcher(&self, name: &str, gate: Arc<dyn Gate>) -> bool {
        let mux = Arc::new(self.world.mux());
        let gate = Arc::new(DiesWith { mux: Arc::clone(&mux), gate });
        let plane = self.plane_on(Arc::clone(&mux), gate);
        for _ in 0..PASSES {
            match call(&plane, "dispatch", json!({ "dispatcher_id": name })).await {
                _ if mux.is_killed() => return true,
                Ok(_) => {}
                Err(error) if error.kind == conveyor_model::ErrorKind::Interrupted => return true,
                Err(error) => panic!("{name}: {error}"),
            }
            let all = self.all().await;
            let told = all.iter().any(|one| one.kind == Kind::WorkerTaskComplete.as_str());
            let lost = all.iter().any(|one| one.state == Stage::Unproved);
            if (told || lost) && all.iter().all(|one| one.state.is_settled()) {
                return false;
            }
            self.world.advance(2_500);
        }
        panic!("{name}: not settled after {PASSES} passes\n{}", stages(&self.all().await));
    }

    async fn all(&self) -> Vec<Delivery> {
        let plane = self.plane(Arc::new(OpenGate));
        let ledger = plane.ledger().await.unwrap();
        let wanted = deliveries::Wanted::default();
        let all = deliveries::list(&mut ledger.read().await.unwrap(), &wanted, 100).await.unwrap();
        plane.close().await;
        all
    }

    /// Checks the promises.
    async fn check(&self, death: Death) {
        let all = self.all().await;
        let texts = [recorded(&self.world, self.worker), recorded(&self.world, self.manager)].concat();
        let context = format!("{death:?}\n{texts:#?}\n{}", stages(&all));
        for delivery in &all {
            let label = conveyor_model::wire::label(&delivery.token);
            let times: usize = texts.iter().map(|text| text.matches(label.trim_end()).count()).sum();
            assert!(times <= 1, "{} was delivered {times} times: {context}", delivery.id);
            let proved = matches!(delivery.state, Stage::Recorded | Stage::Answered);
            assert_eq!(proved, times == 1, "what is claimed is what is recorded: {context}");
            assert!(proved || delivery.state == Stage::Unproved, "nothing stood against it: {context}");
        }
        let of_kind = |kind: Kind| all.iter().filter(|one| one.kind == kind.as_str()).count();
        assert_eq!(of_kind(Kind::NudgeWorker), 1, "{context}");
        assert_eq!(of_kind(Kind::NotifyManager), 1, "{context}");
        let ends = texts.iter().filter(|text| text.contains("do it")).count();
        assert_eq!(of_kind(Kind::WorkerTaskComplete), ends, "each turn's end is routed once: {context}");
        let plane = self.plane(Arc::new(OpenGate));
        let ledger = plane.ledger().await.unwrap();
        assert!(audit::check(&mut ledger.read().await.unwrap(), None).await.unwrap().is_ok(), "{context}");
    }
}

/// A process that was killed at a terminal writes nothing any more.
struct DiesWith {
    mux: Arc<SimMux>,
    gate: Arc<dyn Gate>,
}

#[async_trait]
impl Gate for DiesWith {
    async fn before_commit(&self, write: u64) -> Result<()> {
        if self.mux.is_killed() { Err(Killer::death()) } else { self.gate.before_commit(write).await }
    }

    async fn after_commit(&self, write: u64) -> Result<()> {
        self.gate.after_commit(write).await
    }
}

/// The world's clock, in which time stands still while a ledger is asked: without this, each time-out of a target would be
/// over before the ledger has answered.
struct NoTimeOut(Arc<dyn Clock>);

#[async_trait]
impl Clock for NoTimeOut {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        if duration >= limits::TARGET_TIME {
            std::future::pending::<()>().await;
        }
        self.0.sleep(duration).await;
    }

    fn uuid_v7(&self) -> Uuid {
        self.0.uuid_v7()
    }

    fn random(&self) -> u128 {
        self.0.random()
    }

    fn rules_the_ledger(&self) -> bool {
        self.0.rules_the_ledger()
    }
}

async fn call(plane: &Plane, verb: &str, request: Value) -> Result<Value> {
    let entry = VERBS.iter().find(|entry| entry.is_called(verb)).expect("the verb is in the table");
    Ok((entry.from_json)(plane, request).await?.json)
}

/// One run: a dispatcher that dies, and another one. Whether the first one died, and how often it was taken over.
async fn one(engine: Engine, death: Death) -> (bool, usize) {
    let bound = Bound::new(engine).await;
    let mut steps = 0;
    bound.world.plan(move |_, _| {
        steps += 1;
        match death {
            Death::Step(at, fate) if steps == at => fate,
            Death::Step(..) | Death::Write(..) | Death::Never => Fate::Go,
        }
    });
    let gate: Arc<dyn Gate> = match death {
        Death::Write(at, moment) => Arc::new(Killer::new(at, moment)),
        Death::Step(..) | Death::Never => Arc::new(OpenGate),
    };
    let died = bound.dispatcher("one", gate).await;
    let before = bound.all().await;
    if died {
        bound.world.advance(lease_ms() + 1);
        assert!(!bound.dispatcher("two", Arc::new(OpenGate)).await);
    }
    bound.check(death).await;
    let held = before.iter().filter(|one| one.leased_by.as_deref() == Some("one")).count();
    (died, held)
}

/// Kills at each write, then at each step of a terminal. How many deaths there were, and in how many of them the dead one
/// held a lease.
async fn deaths(engine: Engine, writes: u64, steps: u64) -> BTreeMap<&'static str, usize> {
    let mut told = BTreeMap::new();
    let mut count = |(died, held): (bool, usize)| {
        *told.entry("deaths").or_default() += usize::from(died);
        *told.entry("held a lease").or_default() += usize::from(died && held > 0);
        died
    };
    for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
        for at in 1..=writes {
            if !count(one(engine, Death::Write(at, moment)).await) {
                break;
            }
        }
    }
    for fate in [Fate::DieBefore, Fate::DieAfter] {
        for at in 1..=steps {
            if !count(one(engine, Death::Step(at, fate)).await) {
                break;
            }
        }
    }
    told
}

#[tokio::test]
async fn a_dispatcher_that_is_killed_anywhere_is_followed_by_one_that_loses_and_doubles_nothing() {
    let told = deaths(Engine::Sqlite, 200, 60).await;
    assert!(told["deaths"] > 50 && told["held a lease"] > 10, "{told:?}");
}

#[tokio::test]
async fn a_dispatcher_on_postgresql_that_is_killed_at_a_write_is_followed_by_another() {
    let told = deaths(Engine::Postgres, 200, 0).await;
    assert!(told["deaths"] > 20 && told["held a lease"] > 5, "{told:?}");
}
