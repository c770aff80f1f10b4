//! The criteria lines that users' agents follow, as they are written, in a shell and under a pipe.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use std::path::Path;
use std::process::Command;
use std::process::Output;

/// Runs a shell script with `conveyor` on its path and a home of its own.
fn shell(home: &Path, script: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_conveyor")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("sh")
        .args(["-euc", script])
        .env_clear()
        .envs([("HOME", home.to_str().unwrap()), ("PATH", &path)])
        .current_dir(home)
        .output()
        .unwrap()
}

#[test]
fn the_criteria_pipelines_work_as_written() {
    let home = tempfile::tempdir().unwrap();
    let script = r#"
conveyor tasks --create my-task --goal "Refactor auth" > /dev/null
conveyor criteria my-task --list > list.json
for text in a b c d e f g h i j k l m n; do
  conveyor criteria my-task --add --criterion "$text" --source worker_proposed --status proposed > /dev/null
done
conveyor criteria my-task --accept 12 --rationale "Must-have for this task" > accepted.json
conveyor criteria my-task --satisfy 12 --evidence-json '{"command":"python3 -m unittest tests.test_workerctl.ManagerBootstrapPromptTests -v","status":"pass"}' > satisfied.json
conveyor criteria my-task --defer 13 --rationale "Follow-up after this task" > /dev/null
conveyor criteria my-task --reject 14 --rationale "Duplicate or out of scope" > /dev/null
criterion_id=$(conveyor criteria my-task --add --criterion "Targeted prompt tests pass" --source worker_proposed --status proposed | python3 -c 'import json,sys; print(json.load(sys.stdin)["affected_criterion"]["id"])')
conveyor criteria my-task --satisfy "$criterion_id" --evidence-json '{"command":"python3 -m unittest tests.test_workerctl.ManagerBootstrapPromptTests -v","status":"pass"}' > last.json
conveyor criteria my-task --add --criterion=-v --source final_audit > /dev/null
conveyor criteria my-task --list --text
"#;
    let ran = shell(home.path(), script);
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(home.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("list.json")["criteria"], serde_json::json!([]));
    assert_eq!(json("accepted.json")["affected_criterion"]["status"], "accepted");
    assert_eq!(json("satisfied.json")["affected_criterion"]["evidence"]["status"], "pass");
    assert_eq!(json("last.json")["affected_criterion"]["id"], 15);
    assert!(told.contains("#16  proposed   final_audit       -         -v"), "{told}");
    assert!(
        told.ends_with("my-task: 0 accepted, 1 deferred, 12 proposed, 1 rejected, 2 satisfied\n"),
        "{told}"
    );
}

#[test]
fn a_plans_commands_run_as_they_are_printed() {
    let home = tempfile::tempdir().unwrap();
    let script = r#"
conveyor tasks --create my-task --goal "Refactor auth" > /dev/null
printf 'Must-have:\n- it is the user'"'"'s $HOME\nFollow-up:\n- -v later\n' > answer.md
conveyor criteria-plan my-task --from-worker-response answer.md > from-file.txt
conveyor criteria-plan my-task --from-stdin < answer.md | cmp - from-file.txt
conveyor criteria-plan my-task --from-worker-response answer.md --json \
  | python3 -c 'import json,sys; print("\n".join(s["shell"] for s in json.load(sys.stdin)["suggestions"]))' | sh -eu > /dev/null
conveyor criteria my-task --list --text
"#;
    let ran = shell(home.path(), script);
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("accepted   worker_proposed   -         it is the user's $HOME"), "{told}");
    assert!(told.contains("deferred   worker_proposed   -         -v later"), "{told}");
}
