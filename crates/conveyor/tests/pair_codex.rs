//! A pair of the real Codex, from one command line to the other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use conveyor_sim::codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::directive::Step;
use conveyor_sim::provider::Provider;
use conveyor_sim::provider::Rule;
use conveyor_sim::tmux::Server;
use conveyor_sim::tmux::poll;
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(1);

/// How the message begins that tells a manager of its worker's turn.
const TOLD: &str = "Worker w ended a turn";

/// A home, a ledger, a tmux server and a model of its own.
struct Place {
    folder: tempfile::TempDir,
    tmux: Server,
    provider: Provider,
}

impl Place {
    fn new() -> Self {
        // Codex refuses to put its helper programs into a home below /tmp.
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sim");
        std::fs::create_dir_all(&target).unwrap();
        let folder =
            tempfile::Builder::new().prefix("pair").tempdir_in(target.canonicalize().unwrap()).unwrap();
        let place = Self { folder, tmux: Server::new().unwrap(), provider: Provider::start().unwrap() };
        std::fs::create_dir(place.work()).unwrap();
        std::fs::create_dir(place.home()).unwrap();
        std::fs::write(place.home().join("config.toml"), place.config()).unwrap();
        place
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("codex")
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn config(&self) -> String {
        format!(
            "model = \"fake-1\"\nmodel_provider = \"fake\"\n[model_providers.fake]\nname = \"fake\"\n\
             base_url = \"{}\"\nwire_api = \"responses\"\nenv_key = \"FAKE_KEY\"\nrequires_openai_auth = false\n\
             [projects.\"{}\"]\ntrust_level = \"trusted\"\n",
            self.provider.base_url(),
            self.work().display()
        )
    }

    /// Runs conveyor as a person does; its exit code and its JSON.
    fn conveyor(&self, words: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.args(words).arg("--json").arg("--db").arg(self.folder.path().join("ledger.db"));
        for variable in ["CODEX_THREAD_ID", "CODEX_CI", "CLAUDECODE", "TMUX", "TMUX_PANE"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.folder.path()).env("CODEX_HOME", self.home()).env("FAKE_KEY", "fake");
        command
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("TMUX_TMPDIR", self.tmux.tmpdir());
        let output = command.current_dir(self.folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let json = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{words:?}: {error}: {text}\n{}", String::from_utf8_lossy(&output.stderr))
        });
        (output.status.code().unwrap(), json)
    }

    /// What the users' messages of all rollouts are.
    fn user_texts(&self) -> Vec<String> {
        let rollouts = codex::rollouts(&self.home()).unwrap();
        let texts = rollouts.iter().map(|path| std::fs::read_to_string(path).unwrap());
        texts.flat_map(|text| codex::user_texts(&text)).collect()
    }
}

fn pair(place: &Place, flavour: Flavour) -> Value {
    let program = flavour.program().unwrap().canonicalize().unwrap();
    let (program, work) = (program.display().to_string(), place.work().display().to_string());
    let (code, pair) = place.conveyor(&[
        "pair",
        "--task",
        "t",
        "--worker-name",
        "w",
        "--manager-name",
        "m",
        "--task-goal",
        "Make it right.",
        "--task-prompt",
        "Begin with the smallest step.",
        "--manager-acceptance",
        "Tests pass",
        "--cwd",
        &work,
        "--codex-bin",
        &program,
        "--dispatcher-id",
        "dispatch-pair",
    ]);
    assert_eq!(code, 0, "{pair:#}");
    pair
}

/// Waits until the model answers the manager's message about its worker's turn.
fn manager_is_told(place: &Place) {
    let told = place.provider.wait_for(LIMIT, |one| one.user_text.contains(TOLD));
    assert!(told.is_some(), "the manager was not told of its worker's turn: {:#?}", place.user_texts());
}

fn started_supervised_and_stopped(flavour: Flavour) {
    let place = Place::new();
    let pair = pair(&place, flavour);
    let texts = place.user_texts();
    assert!(texts.iter().any(|text| text.contains("> Begin with the smallest step.")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("You are the manager session `m`")), "{texts:?}");
    assert_eq!(pair["dispatch"]["started"], true, "{pair:#}");
    manager_is_told(&place);
    let told = |text: &String| text.contains("Worker w ended a turn (completed) on task t.");
    let routed = poll(LIMIT, || Ok(place.user_texts().iter().any(told).then_some(())));
    assert!(routed.unwrap().is_some(), "it is in the manager's rollout: {:#?}", place.user_texts());
    let of_manager: Vec<_> = place
        .user_texts()
        .into_iter()
        .filter(|text| text.contains("You are the manager") || told(text))
        .collect();
    assert!(
        !told(&of_manager[0]),
        "a turn's end reached the manager before its instructions: {of_manager:#?}"
    );

    let pids: Vec<i64> =
        ["worker", "manager"].iter().map(|role| pair[role]["pid"].as_i64().unwrap()).collect();
    assert!(pids.iter().all(|pid| Path::new(&format!("/proc/{pid}")).exists()), "both run");
    let (code, finish) =
        place.conveyor(&["finish-task", "t", "--stop-manager", "--stop-worker", "--reason", "done"]);
    assert_eq!(code, 0, "{finish:#}");
    for stop in finish["stops"].as_array().unwrap() {
        assert_eq!((&stop["state"], &stop["how"]), (&"stopped".into(), &"quit".into()), "{finish:#}");
    }
    // A process that has ended stays in the table until its parent has asked how.
    let none_runs = || pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    assert!(poll(LIMIT, || Ok(none_runs().then_some(()))).unwrap().is_some(), "none runs");
    assert!(place.tmux.run(["list-sessions"]).is_err(), "no tmux session is left");
    let dispatcher = format!("/proc/{}", pair["dispatch"]["pid"]);
    let ended = poll(LIMIT, || Ok((!Path::new(&dispatcher).exists()).then_some(())));
    assert!(ended.unwrap().is_some(), "the dispatcher ends with the last binding");
}

/// Stops a manager whose model has not begun to answer.
fn stopped_in_its_turn(flavour: Flavour, draft: Option<&str>) -> Value {
    let place = Place::new();
    place.provider.rule(Rule::new(TOLD, vec![Step::Delay(LIMIT * 3), Step::Say("late".to_owned())]));
    let pair = pair(&place, flavour);
    manager_is_told(&place);
    if let Some(draft) = draft {
        let pane = pair["manager"]["tmux_session"].as_str().unwrap();
        place.tmux.run(["send-keys", "-t", &format!("={pane}:"), "-l", draft]).unwrap();
    }
    let (code, finish) = place.conveyor(&["finish-task", "t", "--stop-manager", "--reason", "done"]);
    assert_eq!(code, 0, "{finish:#}");
    assert_eq!(finish["stops"][0]["state"], "stopped", "{finish:#}");
    assert_eq!(finish["stops"][0]["interrupted"], true, "{finish:#}");
    let submitted = draft.is_some_and(|draft| place.user_texts().iter().any(|text| text.contains(draft)));
    assert!(!submitted, "a person's draft was submitted: {:#?}", place.user_texts());
    finish["stops"][0]["how"].clone()
}

#[test]
fn a_manager_whose_interrupt_gives_our_text_back_is_quit_and_not_killed_0_144() {
    assert_eq!(stopped_in_its_turn(Flavour::V144, None), "quit");
}

#[test]
fn a_manager_that_is_interrupted_before_it_answers_is_quit_0_169() {
    assert_eq!(stopped_in_its_turn(Flavour::Embedded, None), "quit");
}

#[test]
fn a_draft_beside_our_text_is_neither_deleted_nor_submitted_by_a_stop_0_144() {
    assert_eq!(stopped_in_its_turn(Flavour::V144, Some("my own words")), "killed");
}

#[test]
fn a_pair_is_started_supervised_and_stopped_0_169() {
    started_supervised_and_stopped(Flavour::Embedded);
}

#[test]
fn a_pair_is_started_supervised_and_stopped_0_144() {
    started_supervised_and_stopped(Flavour::V144);
}

#[test]
fn a_pair_is_started_supervised_and_stopped_0_99() {
    started_supervised_and_stopped(Flavour::V99);
}
