//! A manager inside a sandbox does its work through the MCP server that `mcp install` told Codex of.

use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use conveyor_sim::provider::Received;
use serde_json::Value;
use serde_json::json;

use crate::desk::Desk;
use crate::desk::LIMIT;
use crate::pair::TASK;
use crate::pair::is_approval;
use crate::seat::Seat;

/// Longer than a shell command of Codex's may take before its output is lost to the model (measured: ten seconds).
const LONG: Duration = Duration::from_secs(12);

/// A worker, and a manager in a sandbox that cannot write outside of its folder. Both are bound.
struct Office {
    desk: Desk,
    codex: Rc<Codex>,
    worker: Seat,
    manager: Seat,
}

impl Office {
    /// The manager registers itself, with a tool call that has these arguments beside its name.
    fn open(registering: &str) -> Self {
        let desk = Desk::new();
        let codex = Rc::new(Codex::start(Flavour::Embedded).unwrap());
        let home = codex.home.display().to_string();
        let program = Flavour::Embedded.program().unwrap();
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut install =
            desk.command(&["mcp", "install", "--yes", "--approve-tools", "--codex-home", &home]);
        let installed = install.env("PATH", path).output().unwrap();
        assert!(installed.status.success(), "{installed:?}");

        let args = ["-s", "workspace-write"].map(str::to_owned).to_vec();
        let options = Options { args, ..Options::default() };
        let worker = Seat::new(&codex, codex.pane.clone(), "codex", "wren");
        let pane = codex.open_beside("boss", &options).unwrap();
        let mut manager = Seat::new(&codex, pane, "boss", "mona");
        let words = ["register-worker", "--name", "wren", "--tmux-session", worker.tmux_session];
        let registered = desk.report_beside(codex.tmux.tmpdir(), &words);
        assert_eq!(registered["pane"], worker.pane.0, "{registered:#}");

        manager.say(&format!(r#"sit down [[mcp=conveyor.register_manager {{"name":"mona"{registering}}}]]"#));
        output(&codex, "sit down", 1);
        let sessions = desk.report(&["sessions", "--name", "mona"]);
        assert_eq!(sessions["error"], Value::Null, "{sessions:#}");
        manager.until_idle();
        manager.thread = first(&sessions)["codex_session_id"].as_str().map(str::to_owned).unwrap();

        desk.report(&["tasks", "--create", TASK, "--goal", "it is built"]);
        let bound = desk.report(&["bind", "--task", TASK, "--worker", "wren", "--manager", "mona"]);
        assert_eq!(bound["error"], Value::Null, "{bound:#}");
        Self { desk, codex, worker, manager }
    }

    /// The manager's model calls a tool, once.
    fn call(&self, words: &str, tool: &str, arguments: &Value) -> String {
        self.manager.say(&format!("{words} [[mcp=conveyor.{tool} {arguments}]]"));
        output(&self.codex, &format!("{words} [["), 1)
    }

    /// When the manager was last heard of.
    fn heard_of(&self) -> Value {
        first(&self.desk.report(&["sessions", "--name", "mona"]))["last_heartbeat_at"].clone()
    }

    /// What lies in the manager's inbox, as a person sees it.
    fn waiting(&self) -> Vec<Value> {
        self.desk.report(&["manager-inbox", TASK])["items"].as_array().unwrap().clone()
    }

    /// The processes that serve the manager's thread.
    fn servers(&self) -> Vec<u32> {
        let boss: u32 = self.manager.pid().parse().unwrap();
        let mut found: Vec<u32> = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| command_line(*pid).get(1).is_some_and(|word| word == "mcp"))
            .filter(|pid| std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|above| above == boss))
            .collect();
        found.sort_unstable();
        found
    }
}

fn command_line(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    String::from_utf8_lossy(&bytes).split('\0').map(str::to_owned).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn first(sessions: &Value) -> &Value {
    sessions.as_array().map_or(sessions, |rows| &rows[0])
}

/// The last output of a tool that the manager's model saw in the turn with these words.
fn output(codex: &Codex, words: &str, calls: usize) -> String {
    let fits = |one: &Received| {
        !one.is_side_request() && one.user_text.contains(words) && one.outputs.len() == calls
    };
    let found = codex.provider.wait_for(LIMIT, fits);
    found.unwrap_or_else(|| panic!("no answer to {words:?}\n{}", codex.screen())).outputs.pop().unwrap()
}

/// A dispatcher that is ended with the test.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_sandboxed_manager_looks_nudges_and_finishes_through_mcp_and_is_stopped_last() {
    let office = Office::open("");
    let Office { desk, codex, worker, manager } = &office;
    let cycle = office.call("look round", "cycle", &json!({ "task": TASK }));
    assert!(cycle.contains("session_cycle") && cycle.contains("\"worker_session\":\"wren\""), "{cycle}");
    let nudge = office.call("push", "session_nudge", &json!({ "name": "wren", "text": "words from mona" }));
    assert!(nudge.contains("\"side_effect_completed\":true"), "{nudge}");
    worker.until_recorded("] words from mona");
    let texts = codex.user_texts().unwrap();
    assert_eq!(texts.iter().filter(|text| text.ends_with("] words from mona")).count(), 1);
    worker.until_idle();

    let mut watch = desk.command(&["dispatch", "--watch", "--json"]);
    let _watch = Watch(watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let end = json!({ "task": TASK, "stop_worker": true, "stop_manager": true });
    manager.say(&format!("end it [[mcp=conveyor.finish_task {end}]] [[delay=3]] [[say=all is done]]"));
    let receipt = output(codex, "end it [[", 1);
    let stops = |session: &str, state: &str| {
        let place =
            receipt.find(&format!("\"session\":\"{session}\"")).unwrap_or_else(|| panic!("{receipt}"));
        receipt[place..].split('}').next().unwrap().contains(&format!("\"state\":\"{state}\""))
    };
    assert!(stops("wren", "stopped") && stops("mona", "pending"), "{receipt}");
    assert!(!worker.is_there() && manager.is_there(), "the caller's own session goes on with its turn");
    manager.until("stopped", || !manager.is_there());
    // The receipt reached the model, and its turn came to its own end.
    assert!(manager.recorded("all is done\"") > 0, "{:#?}", manager.texts());
    assert_eq!((manager.recorded("\"task_complete\"") > 0, manager.recorded("\"turn_aborted\"")), (true, 0));
    manager.until("gone in the ledger", || {
        let rows = desk.report(&["sessions", "--state", "gone"]);
        rows.as_array().is_some_and(|rows| rows.len() == 2)
    });
}

#[test]
fn a_sandboxed_manager_is_woken_interrupts_nudges_a_busy_worker_and_approves_nothing_through_mcp() {
    let office = Office::open("");
    let Office { desk, codex, worker, manager } = &office;
    worker.say("build it [[say=it is built]]");
    worker.until_idle();
    let told = "Worker wren ended a turn";
    manager.until("told", || {
        desk.report(&["dispatch", "--once"]);
        manager.count(told) > 0
    });
    assert_eq!(manager.count(told), 1, "{:#?}", manager.texts());
    manager.until_idle();

    // 0.144 and later put the text of a turn that did nothing yet back into the composer.
    worker.say("work long [[sh=true]] [[delay=90]]");
    output(codex, "work long [[", 1);
    let interrupt = office.call("stop it", "session_interrupt", &json!({ "name": "wren" }));
    assert!(interrupt.contains("\"interrupted\":true"), "{interrupt}\n{}", worker.screen());
    worker.until_idle();

    worker.say("work on [[sh=true]] [[delay=8]]");
    output(codex, "work on [[", 1);
    let nudge = office.call("push on", "session_nudge", &json!({ "name": "wren", "text": "and then this" }));
    assert!(nudge.contains("\"side_effect_completed\":true"), "{nudge}");
    worker.until_recorded("] and then this");
    worker.until_idle();
    assert_eq!(worker.count("] and then this"), 1, "{:#?}", worker.texts());

    let touched = desk.file("approved");
    worker.say(&format!("ask [[esc=touch {}]]", touched.display()));
    worker.until_shown("an approval", is_approval);
    let held = office.call("agree", "session_nudge", &json!({ "name": "wren", "text": "ok so yes" }));
    assert!(held.contains("the screen shows approval_prompt"), "{held}");
    let refused = office.call("press", "session_nudge", &json!({ "name": "wren", "text": "" }));
    assert!(refused.contains("\"state\":\"failed\""), "{refused}");
    let screen = worker.screen();
    assert!(is_approval(&screen) && !touched.exists(), "{screen}");
    worker.press(&["Escape"]);
    worker.until("the text that waited", || {
        desk.report(&["dispatch", "--once"]);
        worker.count("ok so yes") == 1
    });
    assert!(!touched.exists());
}

#[test]
fn a_manager_waits_longer_than_a_shell_could_and_an_escape_drops_the_wait_and_nothing_else() {
    let office = Office::open(r#","no_tmux":true"#);
    let wait = |seconds: u64| json!({ "task": TASK, "consume_next": true, "wait": true, "timeout": seconds });
    let told = |text: &str| {
        let report = office.desk.report(&["enqueue-notify-manager", TASK, "--message", text]);
        assert_eq!(report["error"], Value::Null, "{report:#}");
    };
    let begin = |words: &str| {
        let before = office.heard_of();
        office.manager.say(&format!("{words} [[mcp=conveyor.manager_inbox {}]]", wait(300)));
        office.manager.until("the wait", || office.heard_of() != before);
    };

    begin("wait long");
    let begun = Instant::now();
    std::thread::sleep(LONG);
    told("it came late");
    let late = output(&office.codex, "wait long [[", 1);
    assert!(late.contains("it came late") && late.contains("\"timed_out\":false"), "{late}");
    assert!(begun.elapsed() < LONG * 3, "it comes at once, not at the end of the wait");
    office.manager.until_idle();

    let servers = office.servers();
    assert_eq!(servers.len(), 1);
    begin("wait again");
    office.manager.press(&["Escape"]);
    office.manager.until("the turn's end", || office.manager.recorded("\"turn_aborted\"") > 0);
    told("for the next call");
    // Whoever still waited would take it at once: the ledger's bell has rung.
    office.desk.report(&["dispatch", "--once"]);
    std::thread::sleep(Duration::from_secs(1));
    let waiting = office.waiting();
    assert_eq!(
        (waiting.len(), &waiting[0]["offers"], &waiting[0]["consumed_at"]),
        (1, &json!(0), &Value::Null)
    );
    assert_eq!(office.servers(), servers, "the server lives on");
    let next = office.call("take it", "manager_inbox", &wait(20));
    assert!(next.contains("for the next call") && next.contains("\"redelivered\":false"), "{next}");
    assert_eq!(office.servers(), servers);
    assert!(office.worker.lives());
}
