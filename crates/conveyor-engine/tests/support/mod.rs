//! A world of its own for one test: a ledger, a tmux server, and simulated agents in real panes.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use conveyor_engine::Caller;
use conveyor_engine::Effects;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_model::audit::Actor;
use conveyor_model::ids::SessionId;
use conveyor_mux::Server as MuxServer;
use conveyor_mux::Target;
use conveyor_sim::tmux::PaneId;
use conveyor_sim::tmux::Program;
use conveyor_sim::tmux::Server;
use conveyor_store::AuditRow;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use serde_json::Value;
use serde_json::json;

/// How long anything that has to happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A test's world.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tmux: Server,
    pub(crate) plane: Plane,
}

/// An agent in a pane, registered.
pub(crate) struct Agent {
    pub(crate) pane: PaneId,
    pub(crate) session: Session,
    pub(crate) home: PathBuf,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tmux = Server::new()?;
        let plane = plane(folder.path())?;
        Ok(Self { folder, tmux, plane })
    }

    /// Starts a simulated agent and registers it as its pane and lock prove it.
    pub(crate) async fn agent(&self, name: &str, role: Role, flags: &[&str]) -> Result<Agent> {
        self.agent_of(&sim()?, name, role, flags).await
    }

    /// The same under the name by which a process is taken for Codex, so that its threads can be proved again.
    pub(crate) async fn agent_like_codex(&self, name: &str, role: Role, flags: &[&str]) -> Result<Agent> {
        let (sim, codex) = (sim()?, self.folder.path().join("codex"));
        if !codex.exists() {
            std::fs::hard_link(&sim, &codex).or_else(|_| std::fs::copy(&sim, &codex).map(drop))?;
        }
        self.agent_of(&codex, name, role, flags).await
    }

    async fn agent_of(&self, program: &Path, name: &str, role: Role, flags: &[&str]) -> Result<Agent> {
        let home = self.folder.path().join(format!("codex-{name}"));
        std::fs::create_dir_all(&home)?;
        let mut argv =
            vec![program.display().to_string(), "agent".into(), "--home".into(), home.display().to_string()];
        argv.extend(flags.iter().map(ToString::to_string));
        let env = vec![("CODEX_HOME".to_owned(), home.display().to_string())];
        let program = Program { argv, env, folder: self.folder.path().to_owned() };
        let pane = self.tmux.open(&format!("codex-{name}"), &program)?;
        if flags.contains(&"0.144") {
            // It holds nothing that names its thread before its first message.
            self.tmux.wait_screen(&pane, SOON, "a composer", |screen| screen.contains("› "))?;
            self.tmux.paste_then(&pane, &["good morning"], &["Enter"])?;
        }
        let named = || Ok(lock_of(&home).or_else(|| rollout_of(&home)));
        let thread = conveyor_sim::tmux::poll(SOON, named)?.context("nothing names its thread")?;
        let session = self.register(name, role, &home, &thread).await?;
        Ok(Agent { pane, session, home })
    }

    async fn register(&self, name: &str, role: Role, home: &Path, thread: &str) -> Result<Session> {
        let server = MuxServer::named("default", Some(self.tmux.tmpdir().as_os_str()));
        let pin = self.plane.mux.pin(&server, &Target::Session(format!("codex-{name}"))).await?;
        let id = SessionId::new(self.plane.clock.uuid_v7());
        let cwd = self.folder.path().display().to_string();
        let host = self.plane.environment.host.clone();
        let mut session = Session::new(id, name.parse()?, role, host, cwd, self.plane.clock.now());
        session.pid = Some(i64::from(pin.program.pid));
        session.pid_start_ticks = pin.program.started.and_then(|ticks| i64::try_from(ticks).ok());
        session.codex_home = Some(home.display().to_string());
        session.tmux_session = Some(pin.session.clone());
        session.tmux_pin_json = Some(json!(pin));
        session.owner_kind = OwnerKind::Embedded;
        let mut tx = self.plane.ledger().await?.write(&Actor::Operator).await?;
        let session =
            sessions::insert(&mut tx, session, AuditRow::new("session_registered", "A test registers."))
                .await?;
        let audit = AuditRow::new("thread_adopted", "A test proves a thread.");
        threads::adopt(&mut tx, &session.id, thread, None, "lock", audit).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Runs a verb as the faces do.
    pub(crate) async fn run(&self, verb: &str, request: Value) -> conveyor_model::Result<Value> {
        run(&self.plane, verb, request).await
    }

    /// Waits until the agent shows an empty composer and no running turn.
    pub(crate) fn until_idle(&self, agent: &Agent) -> Result<()> {
        self.tmux.wait_screen(&agent.pane, SOON, "an idle composer", conveyor_sim::codex::is_idle).map(drop)
    }
}

/// Runs a verb of the table from JSON.
pub(crate) async fn run(plane: &Plane, verb: &str, request: Value) -> conveyor_model::Result<Value> {
    let entry =
        conveyor_engine::VERBS.iter().find(|entry| entry.is_called(verb)).expect("the verb is in the table");
    Ok((entry.from_json)(plane, request).await?.json)
}

/// A plane on the world's ledger: as another process would have it.
pub(crate) fn plane(folder: &Path) -> Result<Plane> {
    let state = folder.join("state");
    let environment = Environment::of(
        folder,
        &[("HOME", &folder.display().to_string()), ("XDG_STATE_HOME", &state.display().to_string())],
    );
    Ok(Plane::with(environment, Caller::Person, None, Effects::real())?)
}

/// All texts that a session's rollouts record as the user's own, in order.
pub(crate) fn recorded(agent: &Agent) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in rollouts(&agent.home.join("sessions"))? {
        for (offset, line) in std::fs::read(&path)?.split(|&byte| byte == b'\n').enumerate() {
            if let Ok(event) = conveyor_agents::parse(line, offset as u64) {
                texts.extend(event.delivered_text().map(ToOwned::to_owned));
            }
        }
    }
    Ok(texts)
}

/// How many turns an agent has begun.
pub(crate) fn turns(agent: &Agent) -> Result<usize> {
    let mut begun = 0;
    for path in rollouts(&agent.home.join("sessions"))? {
        begun += std::fs::read_to_string(&path)?.matches("\"task_started\"").count();
    }
    Ok(begun)
}

fn rollouts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rollouts(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The thread whose writer's lock lies in a CODEX_HOME.
fn lock_of(home: &Path) -> Option<String> {
    let entry = std::fs::read_dir(home.join("thread-writer-locks")).ok()?.next()?.ok()?;
    Some(entry.path().file_stem()?.to_str()?.to_owned())
}

/// The thread whose rollout lies in a CODEX_HOME.
fn rollout_of(home: &Path) -> Option<String> {
    let path = rollouts(&home.join("sessions")).ok()?.pop()?;
    conveyor_agents::log::thread_of_rollout(&path).map(ToOwned::to_owned)
}

/// The simulated agent's program, built beside the tests.
pub(crate) fn sim() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let target = exe.parent().and_then(Path::parent).context("the test lies in target/<profile>/deps")?;
    let path = target.join("conveyor-sim");
    ensure!(path.exists(), "{} is missing: cargo build -p conveyor-sim", path.display());
    Ok(path)
}
