//! A person takes a session over between any two writes of a delivery that is being carried out. What was typed before is
//! finished; nothing is typed afterwards until the session is given back; then all of it arrives, once and in order.
//!
//! Time, terminal and rollouts are simulated; the ledgers are real.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use conveyor_agents::AgentLog;
use conveyor_engine::Caller;
use conveyor_engine::Effects;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_engine::deliver;
use conveyor_engine::deliver::Holder;
use conveyor_engine::deliver::Until;
use conveyor_engine::ingest;
use conveyor_engine::message;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Kind;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_mux::Mux;
use conveyor_mux::Server;
use conveyor_mux::Target;
use conveyor_sim::agent::Config;
use conveyor_sim::pane::World;
use conveyor_store::AuditRow;
use conveyor_store::Engine;
use conveyor_store::Gate;
use conveyor_store::OpenGate;
use conveyor_store::audit;
use conveyor_store::deliveries;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::testing::Place;
use conveyor_store::threads;
use serde_json::json;

/// Messages of a run.
const TEXTS: [&str; 2] = ["first", "second"];

/// Writes after which the take-over comes; more than a run of two messages makes.
const WRITES: u64 = 40;

/// A person who takes the session over right after a write.
struct Person {
    plane: Plane,
    after: u64,
}

#[async_trait]
impl Gate for Person {
    async fn after_commit(&self, write: u64) -> Result<()> {
        if write == self.after {
            call(&self.plane, "takeover", json!({ "name": "foo" })).await?;
        }
        Ok(())
    }
}

async fn call(plane: &Plane, verb: &str, request: serde_json::Value) -> Result<()> {
    let entry = conveyor_engine::VERBS.iter().find(|entry| entry.is_called(verb)).unwrap();
    (entry.from_json)(plane, request).await.map(drop)
}

fn plane(world: &World, place: &Place, state: &Path, gate: Arc<dyn Gate>) -> Plane {
    let state = state.display().to_string();
    let environment = Environment::of(Path::new("/"), &[("HOME", &state), ("XDG_STATE_HOME", &state)]);
    let mux: Arc<dyn Mux> = Arc::new(world.mux());
    let effects = Effects { clock: Arc::new(world.clock()), mux, log: Arc::new(world.log()), gate };
    let db = match place.location() {
        conveyor_store::Location::Sqlite(path) => path.display().to_string(),
        conveyor_store::Location::Postgres(url) => url.clone(),
    };
    Plane::with(environment, Caller::Person, Some(&db), effects).unwrap()
}

/// A registered agent with two messages that wait for it.
async fn arrange(plane: &Plane, world: &World) -> (Session, u32) {
    let pane = world.hands(|hands| hands.open("codex-foo", Config::default()));
    let target = Target::Session("codex-foo".to_owned());
    let pin = plane.mux.pin(&Server::named("default", None), &target).await.unwrap();
    let (thread, home) = world
        .hands(|hands| (hands.agent(pane).map(|agent| agent.thread().to_owned()), hands.home().to_owned()));
    let id = SessionId::new(plane.clock.uuid_v7());
    let host = plane.environment.host.clone();
    let mut session =
        Session::new(id, "foo".parse().unwrap(), Role::Worker, host, "/".to_owned(), plane.clock.now());
    session.codex_home = Some(home.display().to_string());
    session.tmux_pin_json = Some(json!(pin));
    session.owner_kind = OwnerKind::Embedded;
    let told = || AuditRow::new("test", "A test arranges.");
    let mut tx = plane.ledger().await.unwrap().write(&Actor::Operator).await.unwrap();
    let session = sessions::insert(&mut tx, session, told()).await.unwrap();
    threads::adopt(&mut tx, &session.id, &thread.unwrap(), None, "lock", told()).await.unwrap();
    for text in TEXTS {
        let new = message::new(plane, Kind::SessionNudge, &session, text);
        deliveries::insert(&mut tx, new, told()).await.unwrap();
    }
    tx.commit().await.unwrap();
    (session, pane)
}

/// Carries out what goes, for some rounds or until nothing is open. Whether nothing is.
async fn work(plane: &Plane, world: &World, session: &Session, rounds: usize) -> bool {
    let holder = Holder { name: "first".to_owned(), lease: limits::LEASE };
    for _ in 0..rounds {
        ingest::session(plane, session).await.unwrap();
        let open =
            deliveries::open_for(&mut plane.ledger().await.unwrap().read().await.unwrap(), &session.id, 9)
                .await
                .unwrap();
        if open.is_empty() {
            return true;
        }
        for delivery in open.iter().filter(|open| open.available_at <= plane.clock.now()) {
            deliver::carry_out(plane, &delivery.id, &holder, Until::SUBMITTED).await.unwrap();
        }
        world.advance(3_000);
    }
    false
}

/// The places in the chain of all rows of a sort.
async fn places(plane: &Plane, kind: &str) -> Vec<i64> {
    let wanted = audit::Wanted { kinds: vec![kind.to_owned()], ..audit::Wanted::default() };
    let mut reader = plane.ledger().await.unwrap().read().await.unwrap();
    audit::list(&mut reader, &wanted, 1_000).await.unwrap().iter().map(|row| row.seq).collect()
}

/// The user texts that the agent recorded.
fn recorded(world: &World, pane: u32) -> Vec<String> {
    let home = world.hands(|hands| hands.home().to_owned());
    let path = world.hands(|hands| hands.agent(pane).map(|agent| home.join(agent.rollout_path())));
    let Some(file) = path.and_then(|path| world.log().open(&path).ok()) else { return Vec::new() };
    let mut bytes = vec![0; usize::try_from(file.stat().unwrap().len).unwrap()];
    let read = file.read_at(0, &mut bytes).unwrap();
    let lines = bytes[..read].split(|&byte| byte == b'\n');
    let text = |line| Some(conveyor_agents::parse(line, 0).ok()?.delivered_text()?.to_owned());
    lines.filter_map(text).collect()
}

/// One run. How many messages had been typed when the take-over came; none when nothing was left to be held.
async fn one(engine: Engine, after: u64) -> Option<usize> {
    let world = World::new(11);
    let place = Place::new(engine).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let person = || plane(&world, &place, state.path(), Arc::new(OpenGate));
    let (session, pane) = arrange(&person(), &world).await;
    let gate = Person { plane: person(), after };
    let carrier = plane(&world, &place, state.path(), Arc::new(gate));
    let all_gone = work(&carrier, &world, &session, 12).await;

    let watching = person();
    let taken = places(&watching, "session_taken_over").await;
    let taken = taken.first().copied()?;
    let begun = places(&watching, "delivery_effect_started").await;
    assert!(begun.iter().all(|place| *place < taken), "after {after}: typed while a person drives");
    assert_eq!(
        recorded(&world, pane).len(),
        begun.len(),
        "after {after}: what was typed is finished, the rest waits"
    );
    call(&watching, "takeover", json!({ "name": "foo", "release": true })).await.unwrap();
    assert!(work(&carrier, &world, &session, 40).await, "after {after}: given back, and not delivered");
    let texts = recorded(&world, pane);
    let arrived: Vec<&str> =
        texts.iter().filter_map(|text| Some(conveyor_model::wire::split_label(text)?.1.trim())).collect();
    assert_eq!(arrived, TEXTS, "after {after}: each once and in order");
    (!all_gone).then_some(begun.len())
}

/// Takes over after each write in turn, until one comes when nothing is left to be held.
async fn between_any_two_writes(engine: Engine) {
    let mut typed = Vec::new();
    for after in 1..=WRITES {
        match one(engine, after).await {
            Some(count) => typed.push(count),
            None => break,
        }
    }
    // Before anything is typed, and between the two.
    for count in 0..TEXTS.len() {
        assert!(typed.iter().filter(|typed| **typed == count).count() > 0, "{count}: {typed:?}");
    }
}

#[tokio::test]
async fn a_take_over_stops_what_is_not_typed_yet_on_sqlite() {
    between_any_two_writes(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_take_over_stops_what_is_not_typed_yet_on_postgresql() {
    between_any_two_writes(Engine::Postgres).await;
}
