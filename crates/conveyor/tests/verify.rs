//! Checks that the plane runs itself, on real repositories.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

#[path = "kernel/mod.rs"]
mod kernel;
#[path = "faces/terminal.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod terminal;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

/// A home with a repository in `work`: its first commit says `no`, its second `yes`.
struct Lab {
    home: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { home: tempfile::tempdir().unwrap() };
        std::fs::create_dir(lab.work()).unwrap();
        lab.git(&["init", "--quiet", "--initial-branch=main"]);
        for word in ["no", "yes"] {
            std::fs::write(lab.work().join("answer"), word).unwrap();
            lab.git(&["add", "."]);
            lab.git(&["commit", "--quiet", "--message", word]);
        }
        lab.ok(&["tasks", "--create", "t", "--goal", "g"]);
        lab
    }

    fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    fn git(&self, words: &[&str]) -> String {
        let said = Command::new("git")
            .args(["-c", "user.name=n", "-c", "user.email=e"])
            .args(words)
            .current_dir(self.work())
            .env("HOME", self.home.path())
            .output()
            .unwrap();
        assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    fn command(&self, words: &[&str], folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.args(words).env_clear().current_dir(folder).stdin(Stdio::null());
        command.env("HOME", self.home.path()).env("PATH", std::env::var("PATH").unwrap());
        command
    }

    /// Exit code, and what was printed: the answer or the error.
    fn run_in(&self, words: &[&str], folder: &Path) -> (i32, Value) {
        let said = self.command(words, folder).arg("--json").output().unwrap();
        let text = if said.stdout.is_empty() { &said.stderr } else { &said.stdout };
        let json = serde_json::from_slice(text);
        (said.status.code().unwrap(), json.unwrap_or_else(|_| json!(String::from_utf8_lossy(text))))
    }

    fn run(&self, words: &[&str]) -> (i32, Value) {
        self.run_in(words, &self.work())
    }

    fn ok(&self, words: &[&str]) -> Value {
        let (code, json) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {json}");
        json
    }

    /// The message of a command that fails.
    fn error_in(&self, words: &[&str], folder: &Path) -> String {
        let (code, json) = self.run_in(words, folder);
        assert_eq!(code, 1, "{json}");
        json["error"]["message"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
    }

    /// A criterion with a check; its number.
    fn check(&self, command: &str) -> String {
        let words = ["criteria", "t", "--add", "--criterion", command, "--source", "user_requested"];
        let more = ["--status", "accepted", "--check", command];
        let added = self.ok(&[words.as_slice(), more.as_slice()].concat());
        added["affected_criterion"]["id"].to_string()
    }

    fn verify(&self, id: &str, more: &[&str]) -> (i32, Value) {
        self.run(&[&["criteria", "t", "--verify", id], more].concat())
    }

    /// Nothing of a check is left.
    fn is_clean(&self) {
        let checks = self.home.path().join(".local/state/conveyor/checks");
        let left = std::fs::read_dir(checks).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
        assert_eq!(left, 0, "a folder is left");
        assert_eq!(self.git(&["worktree", "list"]).lines().count(), 1, "a working tree is listed");
    }
}

#[test]
fn a_check_runs_on_the_commit_and_its_receipt_says_so() {
    let lab = Lab::new();
    let id = lab.check("grep yes answer && ls -A && ! touch \"$HOME/../../../x\"");
    let (code, said) = lab.verify(&id, &[]);
    assert_eq!(code, 0, "{said}");
    let receipt = &said["affected_criterion"]["receipt"];
    assert_eq!((&receipt["kind"], &receipt["passed"]), (&json!("verified"), &json!(true)));
    assert_eq!(said["affected_criterion"]["status"], "satisfied");
    assert_eq!(receipt["commit"], json!(lab.git(&["rev-parse", "HEAD"])));
    assert_eq!(receipt["tree"], json!(lab.git(&["rev-parse", "HEAD^{tree}"])));
    assert_eq!(said["verified"][0]["run"]["held"]["engine"], "landlock");
    assert_eq!(said["verified"][0]["run"]["exit_code"], 0);
    lab.is_clean();

    let (code, said) = lab.verify(&id, &["--commit", "HEAD~1"]);
    assert_eq!((code, &said["affected_criterion"]["status"]), (1, &json!("accepted")));
    assert_eq!(said["affected_criterion"]["receipt"]["passed"], false);
    lab.is_clean();
    let history = lab.ok(&["criteria", "t", "--history", &id]);
    assert!(history["history"].as_array().unwrap().iter().any(|row| row["kind"] == "evidence_verified"));
}

#[test]
fn a_check_that_cannot_fail_proves_nothing() {
    let lab = Lab::new();
    let id = lab.check("true");
    let (code, said) = lab.verify(&id, &["--must-fail-on", "HEAD~1"]);
    assert_eq!(code, 1, "{said}");
    assert!(said["verified"][0]["reason"].as_str().unwrap().contains("prove nothing"));
    let id = lab.check("grep yes answer");
    let (code, said) = lab.verify(&id, &["--must-fail-on", "HEAD~1"]);
    assert_eq!((code, &said["verified"][0]["must_fail_on"]["failed"]), (0, &json!(true)), "{said}");
    lab.is_clean();
}

#[test]
fn a_check_that_misbehaves_is_held_and_changes_nothing_outside() {
    let lab = Lab::new();
    let hangs = lab.check("setsid sleep 86406.25 & sleep 86406.25");
    let (code, said) = lab.verify(&hangs, &["--time-limit", "1"]);
    assert_eq!((code, &said["verified"][0]["run"]["ended"]["how"]), (1, &json!("timed_out")), "{said}");
    let floods = lab.check("yes | head -c 3000000; mkdir shut && touch shut/file && chmod 000 shut");
    let (code, said) = lab.verify(&floods, &[]);
    assert_eq!((code, &said["verified"][0]["run"]["output_cut"]), (0, &json!(true)), "{said}");
    let secret = lab.home.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let script = format!(
        "cat {0} || echo x > {0} || git -C {1} commit --allow-empty -m x",
        secret.display(),
        lab.work().display()
    );
    let (code, _) = lab.verify(&lab.check(&script), &[]);
    assert_eq!(code, 1);
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "s");
    assert_eq!(lab.git(&["log", "--format=%s"]), "yes\nno");
    lab.is_clean();
}

#[test]
fn hooks_and_filters_of_the_repository_are_not_run_with_the_users_rights() {
    let lab = Lab::new();
    let trace = lab.home.path().join("trace");
    let script = format!("#!/bin/sh\ntouch {}\n", trace.display());
    let hook = lab.work().join(".git/hooks/post-checkout");
    std::fs::write(&hook, &script).unwrap();
    assert!(Command::new("chmod").args(["+x", hook.to_str().unwrap()]).status().unwrap().success());
    lab.git(&["config", "filter.f.smudge", &format!("touch {}; cat", trace.display())]);
    lab.git(&["config", "core.fsmonitor", &format!("touch {}", trace.display())]);
    std::fs::write(lab.work().join(".git/info/attributes"), "* filter=f").unwrap();
    let (code, said) = lab.verify(&lab.check("grep yes answer"), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(!trace.exists());
}

#[test]
fn what_cannot_be_checked_is_an_error_and_changes_nothing() {
    let lab = Lab::new();
    let id = lab.check("true");
    let bare = lab.home.path().join("bare.git");
    lab.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let verify = ["criteria", "t", "--verify", id.as_str()];
    assert!(lab.error_in(&verify, &bare).contains("bare"));
    assert!(lab.error_in(&verify, Path::new("/")).contains("in no git repository"));
    let words = [&verify[..], &["--commit", "nowhere"]].concat();
    assert!(lab.error_in(&words, &lab.work()).contains("is no commit"));
    let words = [&verify[..], &["--commit=--upload-pack=x"]].concat();
    assert!(lab.error_in(&words, &lab.work()).contains("is no commit"));
    let words = [&verify[..], &["--unconfined"]].concat();
    assert!(lab.error_in(&words, &lab.work()).contains("only a person on a terminal"));
    lab.ok(&["criteria", "t", "--add", "--criterion", "bare", "--source", "user_requested"]);
    assert!(lab.error_in(&["criteria", "t", "--verify", "2"], &lab.work()).contains("has no check"));
    let listed = lab.ok(&["criteria", "t", "--list"]);
    assert_eq!(listed["criteria"][0]["receipt"], json!(null));
    assert_eq!(listed["criteria"][0]["status"], "accepted");
}

#[test]
fn a_killed_check_leaves_nothing_that_the_next_one_does_not_take_away() {
    let lab = Lab::new();
    let id = lab.check("sleep 86407.25");
    let mut killed = lab.command(&["criteria", "t", "--verify", &id], &lab.work()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let sleeps = || {
        let found = Command::new("pgrep").args(["-f", "^sleep 86407.25$"]).output().unwrap();
        found.status.success()
    };
    while !sleeps() {
        assert!(Instant::now() < until, "the check does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    while sleeps() {
        assert!(Instant::now() < until, "the check outlives its caller");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, said) = lab.verify(&lab.check("grep yes answer"), &[]);
    assert_eq!(code, 0, "{said}");
    lab.is_clean();
}

#[test]
fn a_task_is_finished_only_on_the_tree_that_was_verified() {
    let lab = Lab::new();
    let id = lab.check("grep yes answer");
    let rehearsal = ["finish-task", "t", "--dry-run"];
    let closed = |said: &Value| said["closed_gates"][0]["message"].as_str().unwrap_or_default().to_owned();
    let (code, said) = lab.run(&rehearsal);
    assert_eq!(code, 1);
    assert!(closed(&said).contains("was never run"), "{said}");
    assert_eq!(lab.verify(&id, &[]).0, 0);
    assert_eq!(lab.run(&rehearsal).0, 0);

    std::fs::write(lab.work().join("answer"), "yes and more").unwrap();
    let (_, said) = lab.run(&rehearsal);
    assert!(closed(&said).contains("not committed"), "{said}");
    lab.git(&["commit", "--quiet", "--all", "--message", "more"]);
    let (_, said) = lab.run(&rehearsal);
    assert!(closed(&said).contains("another tree"), "{said}");

    std::fs::write(lab.work().join("answer"), "no").unwrap();
    lab.git(&["commit", "--quiet", "--all", "--message", "worse"]);
    let error = lab.error_in(&["finish-task", "t"], &lab.work());
    assert!(error.contains("#1 failed"), "{error}");
    lab.git(&["revert", "--no-edit", "HEAD"]);
    let done = lab.ok(&["finish-task", "t", "--require-criteria-audit"]);
    assert_eq!((&done["state"], &done["final_audit"]["summary"]["satisfied"]), (&json!("done"), &json!(1)));
    lab.is_clean();
}

#[test]
fn only_a_person_on_a_terminal_lets_a_check_reach_everything() {
    let lab = Lab::new();
    let (secret, mark) = (lab.home.path().join("secret"), lab.home.path().join("mark"));
    std::fs::write(&secret, "s").unwrap();
    let script = format!("cat {} && touch {}", secret.display(), mark.display());
    let id = lab.check(&script);
    assert_eq!(lab.verify(&id, &[]).0, 1, "it is held");
    let words = ["criteria", "t", "--verify", &id, "--unconfined", "--json"];
    let command = || lab.command(&words, &lab.work());

    for agent in ["CODEX_THREAD_ID", "CODEX_CI", "CLAUDECODE"] {
        let mut command = command();
        command.env(agent, "01a203b1-5a77-7b02-adb4-ea3209f7045a");
        let said = terminal::in_a_terminal(command, |_| {});
        assert!(said.status == "1" && said.out.contains("only a person on a terminal"), "{agent}: {said:?}");
    }
    let said = terminal::in_a_pipe(command(), |_| {});
    assert!(said.status == "1" && said.err.contains("only a person on a terminal"), "{said:?}");
    // Whoever holds one end of it only may be a program.
    let mut piped = Command::new("sh");
    piped.args(["-c", "echo | \"$@\"", "sh", env!("CARGO_BIN_EXE_conveyor")]).args(words);
    piped.env_clear().current_dir(lab.work());
    piped.env("HOME", lab.home.path()).env("PATH", std::env::var("PATH").unwrap());
    let said = terminal::in_a_terminal(piped, |_| {});
    assert!(said.status == "1" && said.out.contains("only a person on a terminal"), "{said:?}");
    assert!(!mark.exists());

    let said = terminal::in_a_terminal(command(), |_| {});
    assert_eq!(said.status, "0", "{said:?}");
    let answer: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(answer["verified"][0]["run"]["held"]["engine"], "none", "{answer:#}");
    assert!(mark.exists());
    let history = lab.ok(&["criteria", "t", "--history", &id]);
    assert!(
        history["history"].as_array().unwrap().iter().any(|row| row["kind"] == "check_allowed"),
        "{history:#}"
    );

    // What was allowed is this command; another one has to be allowed anew.
    std::fs::remove_file(&mark).unwrap();
    assert_eq!(lab.verify(&id, &[]).0, 0);
    assert!(mark.exists());
    std::fs::remove_file(&mark).unwrap();
    let other = format!("{script} # another one");
    let change = ["criteria", "t", "--add", "--upsert", "--criterion", &script, "--source", "user_requested"];
    lab.ok(&[&change[..], &["--check", &other]].concat());
    assert_eq!(lab.verify(&id, &[]).0, 1);
    assert!(!mark.exists());
}

#[test]
fn without_landlock_nothing_is_run_and_the_refusal_says_why() {
    let lab = Lab::new();
    let mark = lab.home.path().join("mark");
    let id = lab.check(&format!("touch {}", mark.display()));
    let verify = ["criteria", "t", "--verify", &id, "--json"];
    for (errno, why) in
        [(kernel::NOT_BUILT, "this kernel has no Landlock"), (kernel::SWITCHED_OFF, "switched off")]
    {
        for words in [&verify[..], &["finish-task", "t", "--json"]] {
            let said = kernel::without_landlock(lab.command(words, &lab.work()), errno);
            let error = String::from_utf8_lossy(&said.stderr);
            assert_eq!(said.status.code(), Some(1), "{error}");
            assert!(error.contains(why) && error.contains("so the command was not run"), "{error}");
            assert!(error.contains("\"kind\":\"environment\""), "{error}");
        }
    }
    assert!(!mark.exists());
    let listed = lab.ok(&["criteria", "t", "--list"]);
    assert_eq!(
        (&listed["criteria"][0]["receipt"], &listed["criteria"][0]["status"]),
        (&json!(null), &json!("accepted"))
    );
    assert_eq!(lab.ok(&["finish-task", "t", "--dry-run", "--outcome", "abandoned"])["state"], "candidate");
}
