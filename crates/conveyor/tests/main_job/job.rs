//! The stages of the main job, each on the sessions as the one before left them.

use conveyor_sim::provider::Received;
use conveyor_sim::tmux::poll;
use serde_json::Value;
use serde_json::json;

use crate::desk::LIMIT;
use crate::pair::Pair;
use crate::pair::TASK;
use crate::pair::is_approval;

impl Pair {
    /// The worker ends a turn; the manager is told in its own pane, once.
    pub(crate) fn a_turns_end_is_told(&self) {
        self.worker.say("build it [[say=it is built]]");
        self.worker.until_idle();
        let told = "Worker wren ended a turn";
        self.manager.until("told", || {
            self.report(&["dispatch", "--once"]);
            self.manager.count(told) > 0
        });
        self.report(&["dispatch", "--once"]);
        assert_eq!(self.manager.count(told), 1, "{:#?}", self.manager.texts());
        let text = self.manager.texts().pop().unwrap();
        assert!(text.starts_with("[conveyor ") && text.contains(TASK), "{text}");
        assert!(!text.contains("it is built"), "never the worker's own words: {text}");
    }

    /// The manager looks at its worker: idle, one turn of this binding done, and its receipt.
    pub(crate) fn a_cycle_shows_the_receipt(&self) {
        let cycle = self.report(&["cycle", TASK]);
        assert_eq!((&cycle["state"], &cycle["task_completed"]), (&json!("idle"), &json!(true)), "{cycle:#}");
        let receipt = &cycle["manager_context"]["worker_receipt"];
        assert_eq!(receipt["binding_id"], cycle["binding_id"], "{cycle:#}");
        assert_eq!(receipt["last_agent_message"], "it is built", "{receipt:#}");
        assert_eq!(cycle["divergence"], Value::Null, "{cycle:#}");
    }

    /// Nothing of the time before the binding counts.
    pub(crate) fn a_first_cycle_shows_no_receipt(&self) {
        let cycle = self.report(&["cycle", TASK]);
        assert_eq!(cycle["manager_context"]["worker_receipt"], Value::Null, "{cycle:#}");
        assert_eq!(cycle["task_completed"], false, "{cycle:#}");
    }

    /// Texts of each awkward shape, to an idle worker.
    pub(crate) fn an_idle_worker_gets_each_text_whole(&self) {
        let steps: Vec<String> = (1..=40).map(|number| format!("- step {number}")).collect();
        let texts = [
            "plain words".to_owned(),
            "one\n\n  two\nends in @x".to_owned(),
            "long words ".repeat(150),
            steps.join("\n"),
        ];
        for text in texts {
            self.worker.until_idle();
            let report = self.nudge(&text);
            let arrived = report["state"] == "recorded" || report["state"] == "answered";
            assert!(arrived && report["altered"] == false, "{report:#}\n{}", self.worker.screen());
            let label = format!("[conveyor {}] ", report["token"].as_str().unwrap());
            assert_eq!(self.worker.texts().pop().unwrap(), format!("{label}{}", text.trim()));
        }
    }

    /// Texts to a busy worker become its next turns, in order.
    pub(crate) fn a_busy_worker_gets_texts_in_order(&self) {
        self.worker.until_idle();
        self.nudge("first [[delay=8]]");
        let second = self.report(&["session-nudge", "wren", "second"]);
        assert!(second["state"] == "submitted" || second["state"] == "recorded", "{second:#}");
        let words = ["session-nudge", "wren", "third", "--wait-for", "answered", "--timeout", "60"];
        let third = self.report(&words);
        assert_eq!(third["state"], "answered", "{third:#}\n{}", self.worker.screen());
        let texts = self.worker.texts();
        let last: Vec<&str> = texts.iter().rev().take(3).filter_map(|text| text.split("] ").nth(1)).collect();
        assert_eq!(last, ["third", "second", "first [[delay=8]]"], "{texts:#?}");
    }

    /// A text goes into the running turn by Enter, and only into a turn that never asks for approvals.
    pub(crate) fn a_running_turn_is_steered_only_if_it_asks_nothing(&self, asks_nothing: bool) {
        self.worker.until_idle();
        self.nudge("drive [[sh=sleep 6]] [[say=arrived]]");
        self.worker.until_shown("a turn", |screen| screen.contains("esc to interrupt"));
        let words =
            ["session-nudge", "wren", "turn left", "--steer", "--wait-for", "answered", "--timeout", "60"];
        let steered = self.report(&words);
        if asks_nothing {
            assert_eq!(steered["state"], "answered", "{steered:#}\n{}", self.worker.screen());
            assert_eq!(self.worker.count("turn left"), 1, "{:#?}", self.worker.texts());
            let asked = |one: &Received| !one.is_side_request() && one.user_text.contains("turn left");
            let asked = self.worker.codex.provider.wait_for(LIMIT, asked).expect("the model gets it");
            assert!(is_in_one_turn(&asked, "drive [[", "turn left"), "{:#}", asked.body["input"]);
        } else {
            assert_eq!(steered["error"]["kind"], "refused", "{steered:#}");
            assert_eq!(self.worker.count("turn left"), 0);
        }
        self.worker.until_idle();
    }

    /// One Escape ends a turn; an idle worker is left alone.
    pub(crate) fn an_interrupt_ends_a_turn_and_no_session(&self) {
        self.worker.until_idle();
        // 0.144 puts the text of a turn that did nothing yet back into the composer.
        self.nudge("work [[sh=true]] [[delay=90]]");
        let began = |one: &Received| one.user_text.contains("work [[sh=true]]") && !one.outputs.is_empty();
        let begun = self.worker.codex.provider.wait_for(LIMIT, began);
        assert!(begun.is_some(), "{}", self.worker.screen());
        let report = self.report(&["session-interrupt", "wren"]);
        assert_eq!(report["key_sent"], "Escape", "{report:#}\n{}", self.worker.screen());
        assert_eq!(report["interrupted"], true, "{report:#}\n{}", self.worker.screen());
        self.worker.until_idle();
        let report = self.report(&["session-interrupt", "wren"]);
        assert_eq!(
            (&report["interrupted"], &report["key_sent"]),
            (&json!(false), &Value::Null),
            "{report:#}"
        );
        assert!(self.worker.lives());
        assert_eq!(self.nudge("still there")["delivered"], true);
    }

    /// A dialog on the screen keeps everything back, and nothing is approved.
    pub(crate) fn a_dialog_keeps_a_text_back(&self) {
        self.worker.until_idle();
        let touched = self.desk.file("approved");
        self.nudge(&format!("ask [[esc=touch {}]]", touched.display()));
        self.worker.until_shown("an approval", is_approval);
        let held = self.report(&["session-nudge", "wren", "ok so yes"]);
        assert_eq!(held["state"], "pending", "{held:#}");
        assert_eq!(held["waiting_for"], "the screen shows approval_prompt", "{held:#}");
        let refused = self.report(&["session-nudge", "wren", ""]);
        assert_eq!(refused["state"], "failed", "{refused:#}");
        let screen = self.worker.screen();
        assert!(is_approval(&screen) && !touched.exists(), "{screen}");
        self.worker.press(&["Escape"]);
        self.worker.until("the text that waited", || {
            self.report(&["dispatch", "--once"]);
            self.worker.count("ok so yes") == 1
        });
        assert!(!touched.exists());
    }

    /// A dialog is answered only by whoever says so, and nothing is typed into it.
    pub(crate) fn a_dialog_is_approved_when_that_is_said(&self) {
        self.worker.until_idle();
        let touched = self.desk.file("granted");
        self.nudge(&format!("ask again [[esc=touch {}]]", touched.display()));
        self.worker.until_shown("an approval", is_approval);
        let texts = self.worker.texts();
        let refused = self.report(&["session-nudge", "wren", ""]);
        assert_eq!(refused["state"], "failed", "{refused:#}");
        let screen = self.worker.screen();
        assert!(is_approval(&screen) && !touched.exists(), "{screen}");
        let approved = self.report(&["session-nudge", "wren", "", "--approve"]);
        assert_eq!(approved["delivered"], true, "{approved:#}\n{}", self.worker.screen());
        self.worker.until("what was approved", || touched.exists());
        self.worker.until_idle();
        assert_eq!(self.worker.texts(), texts, "nothing was typed");
    }

    /// The task is finished, and nothing of either session runs any more.
    pub(crate) fn both_are_stopped(&self) {
        let pids = [self.worker.pid(), self.manager.pid()];
        let finished = self.report(&["finish-task", TASK, "--stop-worker", "--stop-manager"]);
        assert_eq!(finished["stops"].as_array().map(Vec::len), Some(2), "{finished:#}");
        for stop in finished["stops"].as_array().unwrap() {
            assert_eq!((&stop["state"], &stop["how"]), (&json!("stopped"), &json!("quit")), "{finished:#}");
        }
        for (seat, pid) in [(&self.worker, &pids[0]), (&self.manager, &pids[1])] {
            assert!(!seat.is_there(), "the pane of {} is closed", seat.name);
            // A process that has ended stays in the table until its parent has asked how.
            let process = std::path::Path::new("/proc").join(pid);
            assert!(
                poll(LIMIT, || Ok((!process.exists()).then_some(()))).unwrap().is_some(),
                "{} runs",
                seat.name
            );
            // What a thread records after this would be a turn that nobody sees.
            let recorded = seat.recorded("\"timestamp\"");
            std::thread::sleep(std::time::Duration::from_millis(500));
            assert_eq!(seat.recorded("\"timestamp\""), recorded, "{} goes on", seat.name);
        }
    }
}

/// Whether no answer of the model's stands between two texts of the user's: it would have ended the turn of the first.
/// Of all records this is the one that each version writes.
fn is_in_one_turn(request: &Received, first: &str, second: &str) -> bool {
    let input = request.body["input"].as_array().unwrap();
    let place = |words: &str| {
        let holds = |item: &Value| item["role"] == "user" && item["content"].to_string().contains(words);
        input.iter().rposition(holds).unwrap_or_else(|| panic!("{words:?} is not there: {input:#?}"))
    };
    let between = &input[place(first)..place(second)];
    !between.is_empty() && between.iter().all(|item| item["role"] != "assistant")
}
