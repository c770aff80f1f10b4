//! The same loop over Codex's own commands. They bear no label that would show them in the record, so nothing but care
//! keeps one from being typed twice: killed anywhere, each takes effect at most once and ends proved or visibly not.

use std::sync::Arc;

use conveyor_engine::message;
use conveyor_model::compaction::SlashCommand;
use conveyor_model::delivery::Kind;
use conveyor_model::delivery::Stage;
use conveyor_sim::agent::Config;
use conveyor_sim::pane::Fate;
use conveyor_store::Engine;
use conveyor_store::Gate;
use conveyor_store::OpenGate;
use conveyor_store::audit;
use conveyor_store::deliveries;
use conveyor_store::testing::Killer;
use conveyor_store::testing::Moment;
use serde_json::Value;
use serde_json::json;

use crate::Death;
use crate::Run;
use crate::Scene;
use crate::lease_ms;
use crate::lines;
use crate::stages;

/// What became of one run.
struct Told {
    died: bool,
    state: Stage,
    effects: usize,
}

/// An agent that has had a turn, and one of its commands that waits to be typed.
async fn waiting(engine: Engine, scene: Scene, command: SlashCommand) -> Run {
    let config = Config { title_is_thread: true, ..Config::default() };
    let run = Run::empty(engine, scene, config).await.unwrap();
    run.world.hands(|hands| hands.submit(run.pane, "begin"));
    run.world.advance(10_000);
    let force = scene == Scene::Busy;
    run.enqueue(|plane, session| {
        let mut new = message::new(plane, Kind::Slash, session, command.as_str());
        new.payload = json!({ "slash_command": command, "force": force });
        new
    })
    .await
    .unwrap();
    run.world.hands(|hands| {
        if scene == Scene::Busy {
            // Longer than a lease: a successor comes while the command waits behind the turn.
            hands.submit(run.pane, "something else [[delay=100]]");
        } else {
            run.before(hands);
        }
    });
    run
}

/// How often the agent did it.
fn effects(run: &Run, command: SlashCommand) -> usize {
    match command {
        SlashCommand::Compact => {
            let compacted = |line: &Vec<u8>| {
                serde_json::from_slice::<Value>(line).is_ok_and(|line| line["type"] == "compacted")
            };
            lines(&run.world, run.pane).iter().filter(|line| compacted(line)).count()
        }
        SlashCommand::Clear => {
            let mut threads = run.threads.lock().unwrap();
            threads.extend(
                run.world.hands(|hands| hands.agent(run.pane).map(|agent| agent.thread().to_owned())),
            );
            threads.len().saturating_sub(1)
        }
    }
}

/// A process that dies, and its successor.
async fn one(engine: Engine, scene: Scene, command: SlashCommand, death: Death) -> Told {
    let run = waiting(engine, scene, command).await;
    run.plan(death);
    let gate: Arc<dyn Gate> = match death {
        Death::Write(at, moment) => Arc::new(Killer::new(at, moment)),
        Death::Step(..) | Death::Never => Arc::new(OpenGate),
    };
    let died = run.process("first", gate).await;
    if died {
        run.world.advance(lease_ms() + 1);
        assert!(!run.process("successor", Arc::new(OpenGate)).await);
    }
    // Whatever was typed takes effect by then.
    run.world.advance(300_000);
    let effects = effects(&run, command);
    let plane = run.plane();
    let mut db = plane.ledger().await.unwrap().read().await.unwrap();
    let all = deliveries::list(&mut db, &deliveries::Wanted::default(), 100).await.unwrap();
    let context = format!("{scene:?} {} {death:?}: {effects} times\n{}", command.as_str(), stages(&all));
    assert_eq!(all.len(), 1, "{context}");
    let delivery = &all[0];
    assert!(effects <= 1, "it was done twice: {context}");
    assert!(delivery.state.is_settled(), "visibly ended: {context}");
    let proved = matches!(delivery.state, Stage::Recorded | Stage::Answered);
    assert!(!proved || effects == 1, "nothing is claimed that was not done: {context}");
    let safe = delivery.retry.as_deref() == Some("safe");
    assert!(!safe || effects == 0, "what may be repeated was not done: {context}");
    let told = delivery.error.is_some() && delivery.retry.is_some();
    assert!(proved || told, "what is not proved says so, and whether it may be repeated: {context}");
    assert!(audit::check(&mut db, None).await.unwrap().is_ok(), "the chain holds: {context}");
    Told { died, state: delivery.state, effects }
}

/// Kills at each point in turn until a run gets through alive. How the runs ended.
pub(crate) async fn fault_loop(engine: Engine, scene: Scene, command: SlashCommand) -> Vec<Stage> {
    let mut ended = Vec::new();
    let whole = one(engine, scene, command, Death::Never).await;
    if matches!(scene, Scene::Idle | Scene::Busy) {
        assert_eq!((whole.state, whole.effects), (Stage::Recorded, 1), "{scene:?} {}", command.as_str());
    }
    ended.push(whole.state);
    // A turn that is waited for makes many writes that only say so.
    let (writes, steps) = if scene == Scene::Idle { (200, 200) } else { (12, 16) };
    let writes = [Moment::BeforeCommit, Moment::AfterCommit]
        .map(|moment| (1..=writes).map(move |at| Death::Write(at, moment)).collect::<Vec<_>>());
    let steps = [Fate::DieBefore, Fate::DieAfter]
        .map(|fate| (1..=steps).map(move |at| Death::Step(at, fate)).collect::<Vec<_>>());
    for deaths in writes.into_iter().chain(steps) {
        let (mut killed, all) = (0, deaths.len());
        for death in deaths {
            let told = one(engine, scene, command, death).await;
            ended.push(told.state);
            if !told.died {
                break;
            }
            killed += 1;
        }
        assert!(killed >= 3, "only {killed} points were killed at");
        assert!(scene != Scene::Idle || killed < all, "no run of {all} got through alive");
    }
    ended
}

macro_rules! loops {
    ($($name:ident: $engine:ident $scene:ident $command:ident ends $state:ident;)*) => { $(
        #[tokio::test]
        async fn $name() {
            let ended = fault_loop(Engine::$engine, Scene::$scene, SlashCommand::$command).await;
            assert!(ended.contains(&Stage::$state), "none is {}: {ended:?}", Stage::$state);
        }
    )* };
}

loops! {
    an_idle_agent_is_compacted_on_sqlite: Sqlite Idle Compact ends Recorded;
    an_idle_agent_is_compacted_on_postgresql: Postgres Idle Compact ends Recorded;
    an_idle_agent_is_cleared: Sqlite Idle Clear ends Recorded;
    a_busy_agent_is_compacted_behind_its_turn: Sqlite Busy Compact ends Recorded;
    a_draft_stands_in_the_way: Sqlite Draft Compact ends Failed;
    an_agent_that_is_killed_is_not_compacted: Sqlite Killed Compact ends Unproved;
    a_person_clears_the_composer_before_the_key: Sqlite Cleared Clear ends Unproved;
}
