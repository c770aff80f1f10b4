//! `kill -9` of real dispatchers at random moments: each message arrives once or visibly not at all.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::user_texts;
use conveyor_sim::tmux::Program;
use conveyor_sim::tmux::Server;
use serde_json::Value;

use crate::desk::Desk;
use crate::desk::LIMIT;
use crate::pair::TASK;

/// How long all deliveries together may take, kills included.
const ALL: Duration = Duration::from_secs(100);

/// From then on nobody is killed any more, so that a slow machine ends too.
const KILLING: Duration = Duration::from_secs(50);

/// A dispatcher lives this many milliseconds at most: a start takes about 50, a delivery about 100.
const LIFE_MS: u64 = 900;

/// Simulated agents in panes of one server.
struct Simulated {
    tmux: Server,
    folder: tempfile::TempDir,
}

impl Simulated {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A session's program is known by its name.
        std::fs::copy(simulator(), folder.path().join("codex")).unwrap();
        Self { tmux: Server::new().unwrap(), folder }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts an agent and registers it.
    fn register(&self, desk: &Desk, role: &str, name: &str) {
        let home = self.home(name).display().to_string();
        std::fs::create_dir_all(&home).unwrap();
        let program = self.folder.path().join("codex").display().to_string();
        let argv = [&program, "agent", "--home", &home].map(ToOwned::to_owned).to_vec();
        let env = vec![("CODEX_HOME".to_owned(), home)];
        let pane =
            self.tmux.open(name, &Program { argv, env, folder: self.folder.path().to_owned() }).unwrap();
        let idle = |screen: &str| screen.contains("› Ask Codex");
        self.tmux.wait_screen(&pane, LIMIT, "an idle composer", idle).unwrap();
        register(desk, self.tmux.tmpdir(), role, name, name);
    }
}

fn simulator() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_conveyor")).with_file_name("conveyor-sim");
    assert!(path.exists(), "{} is missing: cargo build -p conveyor-sim", path.display());
    path
}

fn register(desk: &Desk, tmux: &Path, role: &str, name: &str, tmux_session: &str) {
    let verb = format!("register-{role}");
    let report = desk.report_beside(tmux, &[&verb, "--name", name, "--tmux-session", tmux_session]);
    assert_eq!(report["delivery"], "push", "{report:#}");
}

/// Ties worker and manager.
fn bind(desk: &Desk) {
    desk.report(&["tasks", "--create", TASK, "--goal", "everything arrives"]);
    let bound = desk.report(&["bind", "--task", TASK, "--worker", "wren", "--manager", "mona"]);
    assert_eq!(bound["error"], Value::Null, "{bound:#}");
}

/// The moments of the kills, always the same ones.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(20 + self.0 % LIFE_MS)
    }
}

fn watch(desk: &Desk, id: &str) -> Child {
    let words = ["dispatch", "--watch", "--lease-seconds", "1", "--dispatcher-id", id, "--json"];
    desk.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Puts texts into the queue and kills dispatchers until each is settled. The rows at the end, and the kills.
fn carry_out_and_kill(desk: &Desk, texts: &[String], seed: u64) -> (Vec<Value>, u32) {
    for text in texts {
        let report = desk.report(&["enqueue-nudge-worker", TASK, "--message", text]);
        assert_eq!(report["error"], Value::Null, "{report:#}");
    }
    let mut moments = Moments(seed);
    let mut watches = [watch(desk, "one"), watch(desk, "two")];
    let began = Instant::now();
    let mut kills = 0;
    loop {
        std::thread::sleep(moments.next());
        if began.elapsed() < KILLING {
            let place = kills as usize % 2;
            end(&mut watches[place]);
            watches[place] = watch(desk, ["one", "two"][place]);
            kills += 1;
        }
        let rows = rows(desk);
        if rows.iter().all(is_settled) || began.elapsed() > ALL {
            watches.iter_mut().for_each(end);
            return (rows, kills);
        }
    }
}

fn end(watch: &mut Child) {
    drop(watch.kill());
    drop(watch.wait());
}

fn rows(desk: &Desk) -> Vec<Value> {
    let rows = desk.report(&["commands", "--session", "wren", "--type", "nudge_worker"]);
    rows.as_array().unwrap_or_else(|| panic!("{rows:#}")).clone()
}

fn is_settled(row: &Value) -> bool {
    !matches!(row["delivery_state"].as_str(), Some("pending" | "leased" | "effect_started" | "submitted"))
}

/// Checks what the ledger claims against what the agent recorded. How many are unproved.
fn check(texts: &[String], rows: &[Value], recorded: &[String]) -> usize {
    assert_eq!(rows.len(), texts.len());
    let mut unproved = 0;
    for (text, row) in texts.iter().zip(rows) {
        let times: usize = recorded.iter().map(|one| one.matches(text.as_str()).count()).sum();
        assert!(is_settled(row), "{row:#}");
        let state = row["delivery_state"].as_str().unwrap();
        let claimed = matches!(state, "recorded" | "answered");
        assert!(times <= 1, "{text} arrived {times} times: {row:#}");
        assert_eq!(claimed, times == 1, "what is claimed is what is recorded: {row:#}");
        assert!(claimed || state == "unproved", "nothing stood against it: {row:#}");
        unproved += usize::from(!claimed);
    }
    let order: Vec<&String> =
        texts.iter().filter(|text| recorded.iter().any(|one| one.contains(*text))).collect();
    let arrived: Vec<&String> = recorded
        .iter()
        .flat_map(|one| one.lines())
        .filter_map(|line| texts.iter().find(|text| line.contains(*text)))
        .collect();
    assert_eq!(arrived, order, "first in, first out");
    unproved
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("message {number:03}.")).collect()
}

fn recorded(home: &Path) -> Vec<String> {
    let rollouts = conveyor_sim::codex::rollouts(home).unwrap();
    rollouts.iter().flat_map(|path| user_texts(&std::fs::read_to_string(path).unwrap())).collect()
}

/// What was counted is told, for who looks at how hard it was tried.
fn tell(what: &str, kills: u32, unproved: usize) {
    println!("{what}: {kills} dispatchers were killed, {unproved} deliveries are unproved");
    assert!(kills >= 5, "only {kills} were killed");
}

#[test]
fn fifty_messages_to_a_simulated_agent_survive_killed_dispatchers() {
    let (desk, agents) = (Desk::new(), Simulated::new());
    agents.register(&desk, "worker", "wren");
    agents.register(&desk, "manager", "mona");
    bind(&desk);
    let texts = numbered(50);
    let (rows, kills) = carry_out_and_kill(&desk, &texts, 0x5EED);
    tell("simulated agent", kills, check(&texts, &rows, &recorded(&agents.home("wren"))));
}

#[test]
fn twenty_messages_to_codex_survive_killed_dispatchers() {
    let (desk, agents) = (Desk::new(), Simulated::new());
    agents.register(&desk, "manager", "mona");
    let codex = Codex::start(Flavour::Embedded).unwrap();
    register(&desk, codex.tmux.tmpdir(), "worker", "wren", "codex");
    bind(&desk);
    let texts = numbered(20);
    let (rows, kills) = carry_out_and_kill(&desk, &texts, 0xC0DE);
    tell("Codex 0.169", kills, check(&texts, &rows, &recorded(&codex.home)));
    codex.quit().unwrap();
}
