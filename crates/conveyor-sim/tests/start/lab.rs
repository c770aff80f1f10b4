//! A place of its own for one test: home, ledger, tmux server, and the simulated agent in place of Codex.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use conveyor_engine::Caller;
use conveyor_engine::Effects;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_engine::verb::Answer;
use conveyor_engine::verb::Entry;
use conveyor_engine::verb::Verb;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_sim::tmux::Server;
use conveyor_store::Db;
use conveyor_store::Gate;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use serde_json::Value;
use serde_json::json;

/// The place.
pub(crate) struct Lab {
    /// A person's plane on it.
    pub(crate) plane: Plane,
    /// Its tmux server.
    pub(crate) tmux: Server,
    folder: tempfile::TempDir,
}

impl Lab {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::with_gate(Arc::new(conveyor_store::OpenGate))
    }

    /// An empty one whose ledger's commits pass a gate.
    pub(crate) fn with_gate(gate: Arc<dyn Gate>) -> Self {
        let folder = tempfile::Builder::new().prefix("cvlab").tempdir().unwrap();
        for name in ["native", "bin", "codex", "work"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let native = folder.path().join("native/codex");
        let program = Path::new(env!("CARGO_BIN_EXE_conveyor-sim"));
        if std::fs::hard_link(program, &native).is_err() {
            std::fs::copy(program, &native).unwrap();
        }
        let tmux = Server::new().unwrap();
        let plane = plane(folder.path(), &tmux, Caller::Person, gate);
        Self { plane, tmux, folder }
    }

    /// The working folder of its sessions.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work").canonicalize().unwrap()
    }

    /// A Codex that is the simulated agent with these arguments.
    pub(crate) fn codex(&self, name: &str, arguments: &str) -> String {
        self.codex_behind(name, "", arguments)
    }

    /// The same, behind a shell text that may change its arguments or end it.
    pub(crate) fn codex_behind(&self, name: &str, text: &str, arguments: &str) -> String {
        let native = self.folder.path().join("native/codex");
        self.program(name, &format!("{text}exec {} agent {arguments} \"$@\"", native.display()))
    }

    /// Looks until it is so.
    pub(crate) async fn eventually(&self, what: &str, so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !so().await {
            assert!(Instant::now() < deadline, "not within 20 s: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A Codex that answers `--help` and else runs this shell text.
    pub(crate) fn program(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join("bin").join(name);
        let help = "case $1 in --help) echo '      --no-daemon  Run without'; exit 0 ;; esac";
        std::fs::write(&path, format!("#!/bin/sh\n{help}\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// The plane of an agent over MCP.
    pub(crate) fn agent(&self, thread: &str, sandbox: &str) -> Plane {
        let (thread, sandbox_mode) = (Some(thread.to_owned()), Some(sandbox.to_owned()));
        plane(
            self.folder.path(),
            &self.tmux,
            Caller::Tool { thread, sandbox_mode },
            Arc::new(conveyor_store::OpenGate),
        )
    }

    /// Calls a verb as a person.
    pub(crate) async fn run<V: Verb>(&self, request: Value) -> Result<Answer> {
        (Entry::of::<V>().from_json)(&self.plane, request).await
    }

    /// The failure of a call that fails.
    pub(crate) async fn error<V: Verb>(&self, request: Value) -> Error {
        match self.run::<V>(request).await {
            Ok(answer) => panic!("it did not fail: {:#}", answer.json),
            Err(error) => error,
        }
    }

    /// Names of all tmux sessions.
    pub(crate) fn tmux_sessions(&self) -> Vec<String> {
        let listed = self.tmux.run(["list-sessions", "-F", "#{session_name}"]).unwrap_or_default();
        listed.lines().map(str::to_owned).collect()
    }

    /// Names of all active sessions.
    pub(crate) async fn active(&self) -> Vec<String> {
        let wanted =
            sessions::Wanted { state: Some(sessions::SessionState::Active), ..sessions::Wanted::default() };
        let Some(ledger) = self.plane.ledger_to_read().await.unwrap() else { return Vec::new() };
        let listed: Vec<Session> =
            sessions::list(&mut ledger.read().await.unwrap(), &wanted, 100).await.unwrap();
        listed.into_iter().map(|session| session.name.to_string()).collect()
    }

    /// Reads in the ledger.
    pub(crate) async fn read<T>(&self, read: impl AsyncFnOnce(&mut Db) -> T) -> T {
        read(&mut *self.plane.ledger().await.unwrap().read().await.unwrap()).await
    }

    /// Everything that the rollouts of its sessions hold.
    pub(crate) fn rollouts(&self) -> String {
        let paths = conveyor_sim::codex::rollouts(&self.folder.path().join("codex")).unwrap();
        paths.into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// A request to start a session with this Codex.
    pub(crate) fn start(&self, name: &str, codex: &str) -> Value {
        json!({ "name": name, "cwd": self.work(), "codex_bin": codex, "timeout_seconds": 30 })
    }
}

fn plane(folder: &Path, tmux: &Server, caller: Caller, gate: Arc<dyn Gate>) -> Plane {
    let text = |path: &Path| path.display().to_string();
    let (home, codex) = (text(folder), text(&folder.join("codex")));
    let (state, tmpdir) = (text(&folder.join("state")), text(tmux.tmpdir()));
    let path = std::env::var("PATH").unwrap();
    let variables = [
        ("HOME", home.as_str()),
        ("CODEX_HOME", &codex),
        ("XDG_STATE_HOME", &state),
        ("TMUX_TMPDIR", &tmpdir),
        ("PATH", &path),
    ];
    let environment = Environment::of(&folder.join("work"), &variables);
    let db = text(&folder.join("ledger.db"));
    Plane::with(environment, caller, Some(&db), Effects { gate, ..Effects::real() }).unwrap()
}
