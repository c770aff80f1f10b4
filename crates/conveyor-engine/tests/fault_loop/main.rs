//! The fault loop: deliveries to a simulated agent, killed at ledger write 1, 2, 3 … and at terminal step 1, 2, 3 …, then
//! taken over by a successor. After each run the promises are checked: nothing twice, nothing lost, nothing approved.
//!
//! Time, terminal and rollouts are simulated; the ledgers are real.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

mod dispatching;
mod mutants;
mod slashes;
mod slow;
mod stalled;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

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
use conveyor_model::delivery::Stage;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_mux::Key;
use conveyor_mux::Mux;
use conveyor_mux::Server;
use conveyor_mux::Target;
use conveyor_sim::agent::Config;
use conveyor_sim::agent::Dialog;
use conveyor_sim::pane::Fate;
use conveyor_sim::pane::Hands;
use conveyor_sim::pane::What;
use conveyor_sim::pane::World;
use conveyor_store::AuditRow;
use conveyor_store::Engine;
use conveyor_store::Gate;
use conveyor_store::OpenGate;
use conveyor_store::audit;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Delivery;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::testing::Killer;
use conveyor_store::testing::Moment;
use conveyor_store::testing::Place;
use conveyor_store::threads;
use serde_json::json;

/// Messages of each run; enough to show that order is kept.
const TEXTS: [&str; 2] = ["first", "second @x"];

/// Rounds after which a run that has not ended is stuck. A round is two seconds of simulated time.
const ROUNDS: usize = 500;

/// What the world does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// The agent is idle.
    Idle,
    /// The agent works for twenty seconds on something else.
    Busy,
    /// A dialog opens between the first paste and its key; a person denies it later.
    Dialog,
    /// A person has a draft in the composer, and clears it later.
    Draft,
    /// A person types something behind our text before its key, and clears all of it much later.
    Beside,
    /// A person clears the composer, with our text in it, before the first key.
    Cleared,
    /// The agent is killed right after the first paste.
    Killed,
    /// The server is killed and started again right after the first paste.
    Restarted,
    /// A person scrolls for a while.
    CopyMode,
}

/// Where the first process dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// At a commit of the ledger.
    Write(u64, Moment),
    /// At a step of the terminal, before or after it took effect.
    Step(u64, Fate),
    /// Not at all.
    Never,
}

/// One run's world.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) place: Place,
    pub(crate) state: tempfile::TempDir,
    scene: Scene,
    pub(crate) session: Session,
    pane: u32,
    began: u64,
    acted: AtomicBool,
    /// The threads that the agent had at any step.
    threads: Arc<Mutex<BTreeSet<String>>>,
}

impl Run {
    pub(crate) async fn new(engine: Engine, scene: Scene) -> Result<Self> {
        let run = Self::empty(engine, scene, Config::default()).await?;
        // A database of PostgreSQL's takes a while to be made: there one message has to do.
        let texts = if engine == Engine::Postgres { &TEXTS[..1] } else { &TEXTS[..] };
        for text in texts {
            run.enqueue(|plane, session| message::new(plane, Kind::SessionNudge, session, text)).await?;
        }
        run.world.hands(|hands| run.before(hands));
        Ok(run)
    }

    /// One in which nothing waits to be delivered.
    async fn empty(engine: Engine, scene: Scene, config: Config) -> Result<Self> {
        let world = World::new(11);
        let pane = world.hands(|hands| hands.open("codex-foo", config));
        let place = Place::new(engine).await?;
        let state = tempfile::tempdir().unwrap();
        let plane = plane(&world, &place, state.path(), Arc::new(OpenGate), Arc::new(world.mux()))?;
        let session = register(&plane, &world, pane, "foo", Role::Worker).await?;
        let began = world.now();
        let (acted, threads) = (AtomicBool::new(false), Arc::default());
        Ok(Self { world, place, state, scene, session, pane, began, acted, threads })
    }

    /// A plane that nothing kills.
    fn plane(&self) -> Plane {
        let mux = Arc::new(self.world.mux());
        plane(&self.world, &self.place, self.state.path(), Arc::new(OpenGate), mux).unwrap()
    }

    async fn enqueue(&self, new: impl FnOnce(&Plane, &Session) -> NewDelivery) -> Result<()> {
        let plane = self.plane();
        let mut tx = plane.ledger().await?.write(&Actor::Operator).await?;
        let new = new(&plane, &self.session);
        deliveries::insert(&mut tx, new, AuditRow::new("delivery_accepted", "A test.")).await?;
        tx.commit().await
    }

    /// How the scene begins.
    fn before(&self, hands: &mut Hands<'_>) {
        match self.scene {
            Scene::Busy => hands.submit(self.pane, "something else [[delay=20]]"),
            Scene::Draft => hands.input(self.pane, b"my own words"),
            Scene::CopyMode => hands.mode(self.pane, true),
            Scene::Idle
            | Scene::Dialog
            | Scene::Beside
            | Scene::Cleared
            | Scene::Killed
            | Scene::Restarted => {}
        }
    }

    /// What a person does, once, when enough time has gone by.
    fn person(&self) {
        let seconds = (self.world.now() - self.began) / 1_000;
        let (after, act): (u64, fn(&mut Hands<'_>, u32)) = match self.scene {
            Scene::Dialog => (40, |hands, pane| hands.input(pane, b"\x1b")),
            Scene::Draft => (40, |hands, pane| hands.input(pane, b"\x15")),
            Scene::Beside => (700, |hands, pane| hands.input(pane, b"\x15\x15\x15\x15")),
            Scene::CopyMode => (40, |hands, pane| hands.mode(pane, false)),
            Scene::Idle | Scene::Busy | Scene::Cleared | Scene::Killed | Scene::Restarted => return,
        };
        if seconds >= after && !self.acted.swap(true, Ordering::SeqCst) {
            self.world.hands(|hands| act(hands, self.pane));
        }
    }

    /// Puts the scene's events and the process's death before the terminal's steps.
    pub(crate) fn plan(&self, death: Death) {
        let (scene, pane, threads) = (self.scene, self.pane, Arc::clone(&self.threads));
        let mut happened = false;
        let mut steps = 0;
        self.world.plan(move |hands, moment| {
            steps += 1;
            threads.lock().unwrap().extend(hands.agent(pane).map(|agent| agent.thread().to_owned()));
            if !happened && moment.what == What::Press(Key::Tab) {
                happened = true;
                match scene {
                    Scene::Dialog => {
                        hands.dialog(pane, Dialog::Command { command: "touch /srv/approved".to_owned() });
                    }
                    Scene::Beside => hands.input(pane, b"and mine"),
                    Scene::Cleared => hands.input(pane, b"\x15\x15\x15\x15"),
                    Scene::Killed => hands.kill_program(pane),
                    Scene::Restarted => hands.restart_server(),
                    Scene::Idle | Scene::Busy | Scene::Draft | Scene::CopyMode => {}
                }
            }
            match death {
                Death::Step(at, fate) if steps == at => fate,
                Death::Step(..) | Death::Write(..) | Death::Never => Fate::Go,
            }
        });
    }

    /// Runs a process until everything is settled or it is killed. Whether it was killed.
    pub(crate) async fn process(&self, name: &str, gate: Arc<dyn Gate>) -> bool {
        self.process_on(Arc::new(self.world.mux()), name, gate).await
    }

    /// The same, with terminals of its own.
    pub(crate) async fn process_on(&self, mux: Arc<dyn Mux>, name: &str, gate: Arc<dyn Gate>) -> bool {
        let plane = plane(&self.world, &self.place, self.state.path(), gate, mux).unwrap();
        match self.work(&plane, name).await {
            Ok(()) => false,
            Err(error) if error.kind == conveyor_model::ErrorKind::Interrupted => true,
            Err(error) => panic!("{:?}: {name}: {error}", self.scene),
        }
    }

    async fn work(&self, plane: &Plane, name: &str) -> Result<()> {
        let holder = Holder { name: name.to_owned(), lease: limits::LEASE };
        for _ in 0..ROUNDS {
            ingest::session(plane, &self.session).await?;
            let open = deliveries::open_for(&mut *plane.ledger().await?.read().await?, &self.session.id, 100)
                .await?;
            if open.is_empty() {
                return Ok(());
            }
            for delivery in open.iter().filter(|open| open.available_at <= plane.clock.now()) {
                deliver::carry_out(plane, &delivery.id, &holder, Until::SUBMITTED).await?;
            }
            // Straight to the next moment at which somebody would look again.
            let now = plane.clock.now();
            let pause =
                open.iter().map(|open| open.available_at.since(now).as_millis()).min().unwrap_or_default();
            self.world.advance(u64::try_from(pause).unwrap_or_default().clamp(2_000, 30_000));
            self.person();
        }
        panic!("{:?}: {name}: not settled after {ROUNDS} rounds", self.scene);
    }

    /// Checks the promises, and returns the rows of the recovery table that were reached.
    pub(crate) async fn check(&self, death: Death) -> BTreeSet<String> {
        let plane = self.plane();
        let ledger = plane.ledger().await.unwrap();
        let mut db = ledger.read().await.unwrap();
        let wanted =
            deliveries::Wanted { target: Some(self.session.id.clone()), ..deliveries::Wanted::default() };
        let all = deliveries::list(&mut db, &wanted, 100).await.unwrap();
        let texts = recorded(&self.world, self.pane);
        let context = format!("{:?} {death:?}\n{texts:#?}\n{}", self.scene, stages(&all));
        for delivery in &all {
            self.check_one(delivery, &texts, &context);
        }
        let order: Vec<&str> =
            texts.iter().filter_map(|text| conveyor_model::wire::split_label(text)).map(|(t, _)| t).collect();
        let mut by_seq: Vec<&str> = all.iter().map(|delivery| delivery.token.as_str()).collect();
        by_seq.retain(|token| order.contains(token));
        assert_eq!(order, by_seq, "first in, first out: {context}");
        let approved =
            self.world.hands(|hands| hands.agent(self.pane).map(|agent| agent.answered().join(",")));
        let approved = approved.unwrap_or_default();
        assert!(!approved.contains("approved") && !approved.contains("quit"), "{approved}: {context}");
        assert!(audit::check(&mut db, None).await.unwrap().is_ok(), "the chain holds: {context}");
        rows(&mut db).await
    }

    fn check_one(&self, delivery: &Delivery, texts: &[String], context: &str) {
        let label = conveyor_model::wire::label(&delivery.token);
        let times: usize = texts.iter().map(|text| text.matches(label.trim_end()).count()).sum();
        assert!(times <= 1, "{} was delivered {times} times: {context}", delivery.id);
        let proved = matches!(delivery.state, Stage::Recorded | Stage::Answered);
        assert_eq!(proved, times == 1, "what is claimed is what is recorded: {context}");
        assert!(delivery.state.is_settled(), "visibly ended: {context}");
        assert!(!delivery.altered, "the text is the one that was sent: {context}");
        let harmed = matches!(self.scene, Scene::Killed | Scene::Restarted | Scene::Beside | Scene::Cleared);
        assert!(proved || harmed || delivery.state == Stage::Unproved, "nothing is lost: {context}");
    }
}

/// The user texts that the agent in a pane recorded.
pub(crate) fn recorded(world: &World, pane: u32) -> Vec<String> {
    lines(world, pane)
        .iter()
        .filter_map(|line| conveyor_agents::parse(line, 0).ok()?.delivered_text().map(ToOwned::to_owned))
        .collect()
}

/// The lines of the rollout of the agent in a pane.
fn lines(world: &World, pane: u32) -> Vec<Vec<u8>> {
    let Some(path) = world.hands(|hands| {
        let home = hands.home().to_owned();
        hands.agent(pane).map(|agent| home.join(agent.rollout_path()))
    }) else {
        return Vec::new();
    };
    let Ok(file) = world.log().open(&path) else { return Vec::new() };
    let mut bytes = vec![0; usize::try_from(file.stat().unwrap().len).unwrap()];
    let read = file.read_at(0, &mut bytes).unwrap();
    bytes[..read].split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

pub(crate) fn stages(all: &[Delivery]) -> String {
    all.iter().map(|d| format!("{} {} epoch {} {:?}\n", d.token, d.state, d.epoch, d.error)).collect()
}

/// The rows of the recovery table that audit rows name.
async fn rows(db: &mut conveyor_store::Db) -> BTreeSet<String> {
    let events = audit::list(db, &audit::Wanted::default(), 100_000).await.unwrap();
    let row = |event: audit::AuditEvent| Some(event.payload_json?["row"].as_str()?.to_owned());
    events.into_iter().filter_map(row).collect()
}

/// A process's plane on a world.
pub(crate) fn plane(
    world: &World,
    place: &Place,
    state: &Path,
    gate: Arc<dyn Gate>,
    mux: Arc<dyn Mux>,
) -> Result<Plane> {
    let state = state.display().to_string();
    let environment = Environment::of(Path::new("/"), &[("HOME", &state), ("XDG_STATE_HOME", &state)]);
    let effects = Effects { clock: Arc::new(world.clock()), mux, log: Arc::new(world.log()), gate };
    let db = match place.location() {
        conveyor_store::Location::Sqlite(path) => path.display().to_string(),
        conveyor_store::Location::Postgres(url) => url.clone(),
    };
    Plane::with(environment, Caller::Person, Some(&db), effects)
}

/// A session in the pane of the tmux session `codex-NAME`.
pub(crate) async fn register(
    plane: &Plane,
    world: &World,
    pane: u32,
    name: &str,
    role: Role,
) -> Result<Session> {
    let target = Target::Session(format!("codex-{name}"));
    let pin = plane.mux.pin(&Server::named("default", None), &target).await?;
    let (thread, home) = world
        .hands(|hands| (hands.agent(pane).map(|agent| agent.thread().to_owned()), hands.home().to_owned()));
    let id = SessionId::new(plane.clock.uuid_v7());
    let host = plane.environment.host.clone();
    let mut session = Session::new(id, name.parse()?, role, host, "/".to_owned(), plane.clock.now());
    session.codex_home = Some(home.display().to_string());
    session.tmux_pin_json = Some(json!(pin));
    session.owner_kind = OwnerKind::Embedded;
    let mut tx = plane.ledger().await?.write(&Actor::Operator).await?;
    let session = sessions::insert(&mut tx, session, AuditRow::new("session_registered", "A test.")).await?;
    let thread = thread.expect("the agent has a thread");
    threads::adopt(&mut tx, &session.id, &thread, None, "lock", AuditRow::new("thread_adopted", "A test."))
        .await?;
    tx.commit().await?;
    Ok(session)
}

/// For how long a lease lasts.
pub(crate) fn lease_ms() -> u64 {
    u64::try_from(limits::LEASE.as_millis()).unwrap_or(60_000)
}

/// One run: a process that dies, and its successor. Whether the first one died, and the rows that were reached.
async fn one(engine: Engine, scene: Scene, death: Death) -> (bool, BTreeSet<String>) {
    let run = Run::new(engine, scene).await.unwrap();
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
    (died, run.check(death).await)
}

/// Kills at each point in turn until a run gets through alive, or until only waiting is left to be killed in.
pub(crate) async fn fault_loop(engine: Engine, scene: Scene) -> BTreeMap<String, usize> {
    let (writes, steps) = if scene == Scene::Idle { (200, 200) } else { (12, 16) };
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    let mut count =
        |rows: BTreeSet<String>| rows.into_iter().for_each(|row| *reached.entry(row).or_default() += 1);
    count(one(engine, scene, Death::Never).await.1);
    for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
        for at in 1..=writes {
            let (died, rows) = one(engine, scene, Death::Write(at, moment)).await;
            count(rows);
            if !died {
                break;
            }
        }
    }
    for fate in [Fate::DieBefore, Fate::DieAfter] {
        for at in 1..=steps {
            let (died, rows) = one(engine, scene, Death::Step(at, fate)).await;
            count(rows);
            if !died {
                break;
            }
        }
    }
    reached
}

macro_rules! loops {
    ($($name:ident: $engine:ident $scene:ident reaches [$($row:literal),* $(,)?];)*) => { $(
        #[tokio::test]
        async fn $name() {
            let reached = fault_loop(Engine::$engine, Scene::$scene).await;
            for row in [$($row),*] {
                assert!(reached.contains_key(row), "{row} was never reached: {reached:?}");
            }
        }
    )* };
}

loops! {
    an_idle_agent_on_sqlite: Sqlite Idle reaches ["NotBegun", "NeverPasted", "PastedOnly"];
    an_idle_agent_on_postgresql: Postgres Idle reaches ["NotBegun", "NeverPasted", "PastedOnly"];
    a_busy_agent: Sqlite Busy reaches ["NotBegun", "NeverPasted", "PastedOnly", "InQueue"];
    a_dialog_between_paste_and_key: Sqlite Dialog reaches ["NotBegun", "PastedOnly"];
    a_person_with_a_draft: Sqlite Draft reaches ["NotBegun"];
    a_person_who_types_beside: Sqlite Beside reaches ["BesideDraft"];
    a_person_who_clears_the_composer: Sqlite Cleared reaches ["Nowhere"];
    an_agent_that_is_killed: Sqlite Killed reaches ["TargetGone"];
    a_server_that_is_restarted: Sqlite Restarted reaches ["TargetGone"];
    a_person_who_scrolls: Sqlite CopyMode reaches ["NotBegun"];
}
