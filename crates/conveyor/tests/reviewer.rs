//! What a task's end runs, a reviewer and tools: programs that nobody trusts. Each sees what it is given, nothing of it is
//! left, and the gate of `finish-task` opens when they have succeeded.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "main_job/desk.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod desk;
#[path = "kernel/mod.rs"]
mod kernel;
#[path = "faces/terminal.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod terminal;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::time::Duration;
use std::time::Instant;

use desk::Desk;
use serde_json::Value;
use serde_json::json;

/// What a reviewer should say.
const GOOD: &str = r#"{"agreement":"match","verdict":"proceed","rationale":"they say the same"}"#;

/// Who compares whom.
const IDS: [&str; 6] =
    ["--correlation-id", "c", "--reviewer-session-id", "somebody", "--manager-session-id", "manager"];

/// A task with both proposals, whose manager may have reviewers.
struct Case {
    desk: Desk,
}

impl Case {
    fn new() -> Self {
        let case = Self::bound();
        case.ok(&["manager-config", "t", "--permit", "context.spawn_reviewer"]);
        case.propose("worker");
        case.propose("manager");
        case
    }

    /// A task whose worker has a repository in `work`, and nothing more.
    fn bound() -> Self {
        let case = Self { desk: Desk::new() };
        std::fs::create_dir(case.work()).unwrap();
        std::fs::create_dir(case.tools()).unwrap();
        case.git(&["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(case.work().join("answer"), "no").unwrap();
        case.git(&["add", "."]);
        case.git(&["commit", "--quiet", "--message", "no"]);
        for (role, digit) in [("worker", 1), ("manager", 2)] {
            let rollout = case.rollout(digit);
            let verb = format!("register-{role}");
            case.ok(&[&verb, "--name", role, "--no-tmux", "--codex-session", rollout.to_str().unwrap()]);
        }
        case.ok(&["tasks", "--create", "t", "--goal", "the goal"]);
        case.ok(&["bind", "--task", "t", "--worker", "worker", "--manager", "manager"]);
        case
    }

    fn propose(&self, role: &str) {
        let proposal = format!("{{\"next\":\"what the {role} wants\"}}");
        self.ok(&[
            "continuation",
            "t",
            "--submit",
            role,
            "--payload-json",
            &proposal,
            "--correlation-id",
            "c",
        ]);
    }

    fn work(&self) -> PathBuf {
        self.desk.file("work")
    }

    /// A folder in which programs are looked for.
    fn tools(&self) -> PathBuf {
        self.desk.file("tools")
    }

    fn git(&self, words: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=n", "-c", "user.email=e"]).args(words).current_dir(self.work());
        assert!(git.env("HOME", self.desk.file("")).status().unwrap().success(), "{words:?}");
    }

    /// The record of a session without a terminal.
    fn rollout(&self, digit: u8) -> PathBuf {
        let id = format!("01a20000-0000-7000-8000-00000000000{digit}");
        let folder = self.desk.file("no-codex/sessions/2026/11/23");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("rollout-2026-11-23T00-00-00-{id}.jsonl"));
        let payload = json!({ "id": id, "cwd": self.work(), "originator": "test", "cli_version": "0.169.0" });
        let line =
            json!({ "timestamp": "2026-11-23T00:00:00.000Z", "type": "session_meta", "payload": payload });
        std::fs::write(&path, format!("{line}\n")).unwrap();
        path
    }

    /// A person's call.
    fn command(&self, words: &[&str]) -> Command {
        let (verb, rest) = words.split_first().unwrap();
        let ledger = self.desk.ledger();
        // The ledger is named in front: everything behind --reviewer-command is the reviewer's.
        let words = [&[*verb, "--db", ledger.to_str().unwrap(), "--json"], rest].concat();
        let path = format!("{}:{}", self.tools().display(), std::env::var("PATH").unwrap());
        let mut command = self.desk.bare(&words);
        command.env("PATH", path);
        command
    }

    /// The exit code, and the answer or the error.
    fn run(&self, words: &[&str]) -> (i32, Value) {
        read(&self.command(words).output().unwrap())
    }

    fn ok(&self, words: &[&str]) -> Value {
        let (code, json) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {json:#}");
        json
    }

    /// The message of a command that fails.
    fn refusal(&self, words: &[&str], exit: i32) -> String {
        let (code, json) = self.run(words);
        assert_eq!(code, exit, "{words:?}: {json:#}");
        json["error"]["message"].as_str().unwrap_or_else(|| panic!("{json:#}")).to_owned()
    }

    /// A shell script somewhere.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.desk.file(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Lets a shell script review.
    fn review(&self, script: &str, more: &[&str]) -> (i32, Value) {
        let script = self.script("review.sh", script);
        let words = [&["continuation-reviewer", "t"], &IDS[..], more, &["--reviewer-command", "sh", &script]];
        self.run(&words.concat())
    }

    fn reviews(&self) -> usize {
        self.ok(&["continuation", "t", "--list"])["reviews"].as_array().unwrap().len()
    }
}

/// The exit code, and the answer or the error.
fn read(output: &Output) -> (i32, Value) {
    let told = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let json = serde_json::from_slice(told).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(told)));
    (output.status.code().unwrap(), json)
}

/// Whether a process runs that was given this word.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|one| one == word.as_bytes())
    })
}

#[test]
fn a_good_answer_is_kept_and_the_reviewer_was_given_what_both_sides_want_and_what_is_changed() {
    let case = Case::new();
    std::fs::write(case.work().join("answer"), "yes").unwrap();
    let given = ["what the worker wants", "what the manager wants", "the goal", "1 file changed"];
    let looks: String = given.iter().map(|words| format!("grep -q '{words}' context || exit 7\n")).collect();
    let (code, review) = case.review(&format!("cat > context\n{looks}printf '%s' '{GOOD}'"), &[]);
    assert_eq!(
        (code, &review["verdict"], &review["agreement"]),
        (0, &json!("proceed"), &json!("match")),
        "{review:#}"
    );
    let run = &review["subagent_run"];
    assert_eq!(
        (&run["status"], &run["sandbox"]["engine"]),
        (&json!("succeeded"), &json!("landlock")),
        "{run:#}"
    );
    assert_eq!((&run["sandbox"]["network"], &run["runner_arg_count"]), (&json!(false), &json!(1)));
    assert_eq!(review["operator_routing_required"], false);
    assert_eq!(case.reviews(), 1);
}

#[test]
fn a_rehearsal_shows_what_a_reviewer_would_be_given_and_runs_nothing() {
    let case = Case::new();
    let (code, planned) = case.review("exit 1", &["--dry-run"]);
    assert_eq!((code, &planned["context"]["task"]["goal"]), (0, &json!("the goal")), "{planned:#}");
    assert_eq!(planned["context"]["worker_continuation"]["payload"]["next"], "what the worker wants");
    assert_eq!(
        (&planned["context"]["diff"]["error"], &planned["context"]["diff"]["branch_base"]),
        (&json!(null), &json!("main"))
    );
    assert_eq!(planned["reviewer_command"][0], "sh");
    assert_eq!(case.reviews(), 0);
}

#[test]
fn a_hostile_reviewer_reads_neither_ledger_nor_records_nor_the_work_and_changes_nothing() {
    let case = Case::new();
    let secrets = [case.desk.ledger(), case.rollout(1), case.rollout(2), case.work().join("answer")];
    let mark = case.desk.file("mark");
    let mut script = "found=\n".to_owned();
    for (number, secret) in secrets.iter().enumerate() {
        assert!(std::fs::read(secret).is_ok(), "{}", secret.display());
        script += &format!("cat '{}' > /dev/null 2>&1 && found=\"$found {number}\"\n", secret.display());
    }
    for folder in [case.desk.state(), case.desk.file("no-codex"), case.desk.file("")] {
        script += &format!("ls '{}' > /dev/null 2>&1 && found=\"$found folder\"\n", folder.display());
    }
    script += &format!("(echo x > '{}') 2> /dev/null && found=\"$found mark\"\n", mark.display());
    script += "cat /proc/$PPID/environ > /dev/null 2>&1 && found=\"$found environ\"\n";
    script += "env | grep -v -E '^(PATH|LANG|LC_ALL|PYTHONIOENCODING|HOME|TMPDIR|PWD|OLDPWD|_|CONVEYOR_CONFINED)=' \
               && found=\"$found environment\"\n";
    script += "echo x > \"$HOME/mine\" || found=\"$found home\"\n";
    script +=
        "printf '{\"agreement\":\"match\",\"verdict\":\"proceed\",\"rationale\":\"found:%s\"}' \"$found\"\n";
    let (code, review) = case.review(&script, &[]);
    assert_eq!((code, &review["rationale"]), (0, &json!("found:")), "{review:#}");
    assert!(!mark.exists());
    // Where nothing holds it, the same script finds all of it.
    let output = Command::new("sh").args(["-c", &script]).env("HOME", case.work()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("found: 0 1 2 3 folder folder folder mark environ"), "{said}");
    assert!(mark.exists());
}

#[test]
fn a_reviewer_that_hangs_is_ended_with_all_that_it_started() {
    let case = Case::new();
    let word = format!("91{}", std::process::id());
    let begun = Instant::now();
    let (code, review) = case.review(&format!("setsid sleep {word} & sleep {word}"), &["--timeout", "1"]);
    assert!(begun.elapsed() < Duration::from_secs(40));
    assert_eq!((code, &review["verdict"]), (1, &json!("stop")), "{review:#}");
    assert_eq!(
        (&review["agreement"], &review["operator_routing_required"]),
        (&json!("divergent"), &json!(true))
    );
    assert!(review["rationale"].as_str().unwrap().contains("too long"), "{review:#}");
    assert!(!runs(&word), "a process of the reviewer still runs");
}

#[test]
fn whatever_goes_wrong_is_a_stop_and_a_failure_and_its_words_are_kept_from_everybody() {
    let case = Case::new();
    let wrong = [
        ("exit 3", "exit code 3"),
        ("echo SECRET-WORDS >&2; exit 1", "exit code 1"),
        ("echo SECRET-WORDS", "one JSON object"),
        ("echo '{\"agreement\":\"match\"}'", "`verdict` is missing"),
        ("kill -9 $$", "signal 9"),
        ("yes SECRET-WORDS | head -c 3000000", "printed more than"),
    ];
    for (script, why) in wrong {
        let (code, review) = case.review(script, &[]);
        assert_eq!((code, &review["verdict"]), (1, &json!("stop")), "{script}: {review:#}");
        assert!(review["rationale"].as_str().unwrap().contains(why), "{script}: {review:#}");
        assert!(!review.to_string().contains("SECRET-WORDS"), "{review:#}");
    }
    assert_eq!(case.reviews(), wrong.len(), "each is on record");
    let words =
        [&["continuation-reviewer", "t"], &IDS[..], &["--reviewer-command", "no-such-program"]].concat();
    let (code, review) = case.run(&words);
    assert_eq!((code, &review["subagent_run"]["sandbox"]["enabled"]), (1, &json!(false)), "{review:#}");
}

#[test]
fn who_asks_for_what_is_not_granted_or_not_there_starts_nothing() {
    let case = Case::bound();
    let mark = case.desk.file("mark");
    let command = ["--reviewer-command", "touch", mark.to_str().unwrap()];
    let words = |ids: &[&'static str]| [&["continuation-reviewer", "t"], ids, &command].concat();
    assert!(case.refusal(&words(&IDS), 1).contains("permission_not_enabled"));
    case.ok(&["manager-config", "t", "--permit", "context.spawn_reviewer"]);
    assert!(case.refusal(&words(&IDS), 1).contains("the worker has proposed nothing"));
    case.propose("worker");
    assert!(case.refusal(&words(&IDS), 1).contains("the manager has proposed nothing"));
    case.propose("manager");
    let mut same = IDS;
    same[3] = "manager";
    assert!(case.refusal(&words(&same), 2).contains("have to differ"));
    same[5] = "another";
    assert!(case.refusal(&words(&same), 1).contains("does not review its own task"));
    let network = [&["continuation-reviewer", "t"], &IDS[..], &["--network"], &command].concat();
    assert!(case.refusal(&network, 1).contains("only a person on a terminal"));
    for timeout in ["0", "-1", "3601", "NaN"] {
        let timed = format!("--timeout={timeout}");
        let words = [&["continuation-reviewer", "t"], &IDS[..], &[&timed], &command].concat();
        assert!(case.refusal(&words, 2).contains("--timeout"), "{timeout}");
    }
    assert!(!mark.exists() && case.reviews() == 0);
}

#[test]
fn only_a_person_on_a_terminal_gives_a_reviewer_the_network() {
    let case = Case::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = case.script(
        "online.sh",
        &format!(
            "if (exec 3<> /dev/tcp/127.0.0.1/{port}) 2> /dev/null; then net=in; else net=out; fi\n\
         printf '{{\"agreement\":\"match\",\"verdict\":\"proceed\",\"rationale\":\"%s\"}}' $net"
        ),
    );
    let reviewer = ["--reviewer-command", "bash", &script];
    let words = [&["continuation-reviewer", "t"], &IDS[..], &reviewer].concat();
    assert_eq!(case.ok(&words)["rationale"], "out");
    let words = [&["continuation-reviewer", "t"], &IDS[..], &["--network"], &reviewer].concat();
    let mut agent = case.command(&words);
    agent.env("CODEX_THREAD_ID", "01a203b1-5a77-7b02-adb4-ea3209f7045a");
    let said = terminal::in_a_terminal(agent, |_| {});
    assert!(said.status == "1" && said.out.contains("only a person on a terminal"), "{said:?}");
    let said = terminal::in_a_terminal(case.command(&words), |_| {});
    let review: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(
        (&review["rationale"], &review["subagent_run"]["sandbox"]["network"]),
        (&json!("in"), &json!(true))
    );
}

#[test]
fn without_landlock_no_reviewer_and_no_tool_is_run() {
    let case = Case::new();
    let mark = case.work().join("mark");
    let script = case.script("review.sh", &format!("touch {}; printf '%s' '{GOOD}'", mark.display()));
    let words = [&["continuation-reviewer", "t"], &IDS[..], &["--reviewer-command", "sh", &script]].concat();
    let (code, review) = read(&kernel::without_landlock(case.command(&words), kernel::NOT_BUILT));
    assert_eq!((code, &review["verdict"]), (1, &json!("stop")), "{review:#}");
    assert_eq!(review["subagent_run"]["sandbox"]["enabled"], false);
    assert!(review["rationale"].as_str().unwrap().contains("this kernel has no Landlock"), "{review:#}");
    case.script("tools/marks", &format!("touch {}", mark.display()));
    case.ok(&["manager-config", "t", "--epilogue", "run-tools", "--tool", "marks"]);
    let step = case.command(&["epilogue", "t", "--step", "run-tools"]);
    let (code, said) = read(&kernel::without_landlock(step, kernel::SWITCHED_OFF));
    assert_eq!((code, &said["runs"][0]["state"]), (1, &json!("failed")), "{said:#}");
    assert!(said["runs"][0]["error"].as_str().unwrap().contains("Landlock is switched off"), "{said:#}");
    assert!(!mark.exists());
}

#[test]
fn a_secret_is_no_argument_of_a_reviewer() {
    let case = Case::new();
    let link = case.desk.file("link");
    std::os::unix::fs::symlink(case.desk.ledger(), &link).unwrap();
    for secret in [case.desk.ledger(), case.rollout(2), link] {
        let command = ["--reviewer-command", "cat", secret.to_str().unwrap()];
        let said = case.refusal(&[&["continuation-reviewer", "t"], &IDS[..], &command].concat(), 1);
        assert!(said.contains("not for a reviewer"), "{said}");
    }
    assert_eq!(case.reviews(), 0);
}

#[test]
fn a_tool_runs_confined_in_the_workers_folder_and_the_first_that_does_not_answer_ends_it() {
    let case = Case::bound();
    let step = ["epilogue", "t", "--step", "run-tools"];
    assert!(case.refusal(&step, 1).contains("does not name the step run-tools"));
    case.ok(&["manager-config", "t", "--epilogue", "run-tools"]);
    let (code, said) = case.run(&step);
    assert_eq!((code, &said["runs"][0]["error"]), (1, &json!("no tool is configured")), "{said:#}");
    let ledger = case.desk.ledger();
    let reads = format!("cat '{}' > /dev/null 2>&1 && echo LEDGER", ledger.display());
    case.script("tools/good", &format!("pwd; echo $1; {reads}; touch mark 2> /dev/null; true"));
    case.script("tools/bad", "echo no >&2; exit 4");
    case.ok(&["manager-config", "t", "--tool", "good", "--tool", "git"]);
    let said = case.ok(&step);
    let told = &said["runs"][0]["result"]["tools"];
    let real = case.work().canonicalize().unwrap();
    assert_eq!(told[0]["stdout"], json!(format!("{}\n--version\n", real.display())), "{said:#}");
    assert!(told[1]["stdout"].as_str().unwrap().starts_with("git version"), "{said:#}");
    assert!(!case.work().join("mark").exists(), "a tool wrote into the worker's folder");
    for (name, why) in [
        ("bad", "does not answer with 0"),
        ("no-such-tool", "not on PATH"),
        ("/bin/sh", "no name"),
        ("-c", "no name"),
    ] {
        case.ok(&["manager-config", "t", &format!("--tool={name}"), "--tool", "good"]);
        let (code, said) = case.run(&step);
        let run = &said["runs"][0];
        let why = if why == "no name" { "is not the name of a program" } else { why };
        assert_eq!(
            (code, &run["state"], run["result"]["tools"].as_array().unwrap().len()),
            (1, &json!("failed"), 1)
        );
        assert!(run["error"].as_str().unwrap().contains(why), "{said:#}");
    }
}

#[test]
fn the_gate_of_finish_task_is_closed_until_each_step_has_succeeded() {
    let case = Case::new();
    let steps = ["run-tools", "draft-pr", "subagent-review", "record-handoff"];
    let config: Vec<&str> = steps.iter().flat_map(|step| ["--epilogue", step]).collect();
    case.ok(&[&["manager-config", "t", "--tool", "git"][..], &config].concat());
    let finish = ["finish-task", "t", "--require-epilogue"];
    assert!(case.refusal(&finish, 1).contains(&steps.join(", ")));
    for step in ["subagent-review", "record-handoff"] {
        assert_eq!(case.run(&["epilogue", "t", "--step", step]).0, 1, "{step} has nothing to show yet");
    }
    case.review("exit 1", &[]);
    assert_eq!(case.run(&["epilogue", "t", "--step", "subagent-review"]).0, 1, "the reviewer failed");
    assert_eq!(case.review(&format!("printf '%s' '{GOOD}'"), &[]).0, 0);
    case.ok(&["handoff", "t", "--summary", "all of it"]);
    for (place, step) in steps.iter().enumerate() {
        let said = case.refusal(&finish, 1);
        assert!(said.ends_with(&steps[place..].join(", ")), "{said}");
        case.ok(&["epilogue", "t", "--step", step]);
    }
    assert_eq!(case.ok(&["epilogue", "t", "--status"])["status"]["missing_or_incomplete"], json!([]));
    let finished = case.ok(&finish);
    assert_eq!(finished["final_epilogue_audit"]["ok"], true);
    assert_eq!(
        finished["final_epilogue_audit"]["steps"][1]["latest_run"]["result"]["pull_request_opened"],
        false
    );
}
