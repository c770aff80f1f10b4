//! A worker and a manager, registered and bound.

use std::rc::Rc;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use serde_json::Value;

use crate::desk::Desk;
use crate::seat::Seat;

/// The task.
pub(crate) const TASK: &str = "ship";

/// Shows each terminal's thread in its title.
const TITLE: &str = "[tui]\nterminal_title = [\"activity\", \"thread-id\"]\n";

/// A dialog that asks for a command.
pub(crate) fn is_approval(screen: &str) -> bool {
    screen.contains("Yes, proceed")
}

/// Two sessions on one task.
pub(crate) struct Pair {
    pub(crate) desk: Desk,
    pub(crate) worker: Seat,
    pub(crate) manager: Seat,
}

impl Pair {
    /// Starts both sessions and ties them, as fits how they run.
    pub(crate) fn bound(flavour: Flavour) -> Self {
        Self::bound_with(flavour, &[])
    }

    /// The same with arguments for both programs; those of one daemon have their own.
    pub(crate) fn bound_with(flavour: Flavour, args: &[&str]) -> Self {
        let mut pair = match flavour {
            Flavour::Embedded | Flavour::V144 | Flavour::V99 => Self::apart(flavour, args),
            Flavour::Daemon => Self::in_one_folder(&["-s", "danger-full-access", "-a", "never"], ""),
        };
        match flavour {
            Flavour::Embedded => pair.register_from_outside(),
            // Older versions hold nothing open before the first message.
            Flavour::V144 | Flavour::V99 => {
                pair.worker.say("good morning");
                pair.manager.say("good morning");
                pair.register_from_outside();
            }
            Flavour::Daemon => pair.register_themselves(),
        }
        pair.bind();
        pair
    }

    /// Two sessions of one daemon in one folder that ask a person for commands. Their titles show who they are.
    pub(crate) fn of_one_daemon_that_ask() -> Self {
        let mut pair = Self::in_one_folder(&["-s", "read-only", "-a", "on-request"], TITLE);
        pair.register_from_outside();
        pair.bind();
        pair
    }

    fn bind(&self) {
        self.report(&["tasks", "--create", TASK, "--goal", "it is built"]);
        let bound = self.report(&["bind", "--task", TASK, "--worker", "wren", "--manager", "mona"]);
        assert_eq!(bound["error"], Value::Null, "{bound:#}");
    }

    /// Two sessions that share nothing: neither home nor folder nor tmux server.
    fn apart(flavour: Flavour, args: &[&str]) -> Self {
        let options = options(args, "");
        let start = || Rc::new(Codex::launch(flavour, &options).unwrap());
        let (first, second) = (start(), start());
        let worker = Seat::new(&first, first.pane.clone(), "codex", "wren");
        let manager = Seat::new(&second, second.pane.clone(), "codex", "mona");
        worker.until_idle();
        manager.until_idle();
        Self { desk: Desk::new(), worker, manager }
    }

    /// Two sessions of one daemon in one folder.
    fn in_one_folder(args: &[&str], tables: &str) -> Self {
        let options = options(args, tables);
        let codex = Rc::new(Codex::launch(Flavour::Daemon, &options).unwrap());
        let manager = Seat::new(&codex, codex.pane.clone(), "codex", "mona");
        manager.until_idle();
        let worker = Seat::new(&codex, codex.open_beside("second", &options).unwrap(), "second", "wren");
        worker.until_idle();
        Self { desk: Desk::new(), worker, manager }
    }

    /// A person registers the worker by its tmux session and the manager by its process.
    fn register_from_outside(&mut self) {
        let tmux = self.worker.codex.tmux.tmpdir();
        let words = ["register-worker", "--name", "wren", "--tmux-session", self.worker.tmux_session];
        let worker = self.desk.report_beside(tmux, &words);
        let tmux = self.manager.codex.tmux.tmpdir();
        let words = ["register-manager", "--name", "mona", "--pid", &self.manager.pid()];
        let manager = self.desk.report_beside(tmux, &words);
        self.worker.thread = proved(&worker, &self.worker);
        self.manager.thread = proved(&manager, &self.manager);
    }

    /// Each session runs the command itself. It needs no sandbox: a shell in one is refused, also where a person approves
    /// its command.
    fn register_themselves(&mut self) {
        let (ledger, state) = (self.desk.ledger(), self.desk.state());
        for (seat, role) in [(&mut self.manager, "manager"), (&mut self.worker, "worker")] {
            let report = self.desk.file(seat.name);
            let command = format!(
                "XDG_STATE_HOME={} {} register-{role} --name {} --json --db {} > {} 2>&1",
                state.display(),
                env!("CARGO_BIN_EXE_conveyor"),
                seat.name,
                ledger.display(),
                report.display()
            );
            seat.say(&format!("be {} [[yield=30000]] [[sh={command}]]", seat.name));
            let told = || serde_json::from_str(&std::fs::read_to_string(&report).unwrap_or_default()).ok();
            seat.until("its report", || told().is_some());
            seat.thread = proved(&told().unwrap(), seat);
            seat.until_idle();
        }
        assert_ne!(self.worker.thread, self.manager.thread);
    }

    /// Runs conveyor at the desk.
    pub(crate) fn report(&self, words: &[&str]) -> Value {
        self.desk.report(words)
    }

    /// Sends a text and waits for its record.
    pub(crate) fn nudge(&self, text: &str) -> Value {
        self.report(&["session-nudge", "wren", text, "--wait-for", "recorded", "--timeout", "60"])
    }
}

fn options(args: &[&str], tables: &str) -> Options {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Options { args, tables: tables.to_owned(), ..Options::default() }
}

/// The thread of a registration that proved thread and pane.
fn proved(report: &Value, seat: &Seat) -> String {
    assert_eq!(report["pane"], seat.pane.0, "{report:#}\n{}", seat.screen());
    assert_eq!(report["delivery"], "push", "{report:#}");
    report["codex_session_id"].as_str().unwrap().to_owned()
}
