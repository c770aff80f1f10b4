//! A command in the real Codex's sandbox knows where it is, also when it takes away what its environment says of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use conveyor_sim::codex::Flavour;

const CONVEYOR: &str = env!("CARGO_BIN_EXE_conveyor");

/// Makes a task, in a home of its own and with nothing else in the environment.
fn create_a_task(around: Option<Flavour>) -> Output {
    let home = tempfile::tempdir().unwrap();
    let home_is = format!("HOME={}", home.path().display());
    let bare = ["env", "-i", &home_is, CONVEYOR, "tasks", "--create", "t", "--goal", "g"];
    let mut command = match around {
        None => Command::new(bare[0]),
        Some(flavour) => {
            let mut codex = Command::new(flavour.program().unwrap());
            codex.arg("sandbox").args((flavour == Flavour::V99).then_some("linux")).arg("--").arg(bare[0]);
            codex
        }
    };
    command.args(&bare[1..]).env("HOME", home.path()).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_sandbox_that_hides_its_variables_is_known_by_the_system() {
    let outside = create_a_task(None);
    assert!(outside.status.success(), "{}", String::from_utf8_lossy(&outside.stderr));
    for flavour in [Flavour::Embedded, Flavour::V144, Flavour::V99] {
        let inside = create_a_task(Some(flavour));
        let told = String::from_utf8_lossy(&inside.stderr);
        assert_eq!(inside.status.code(), Some(1), "{flavour:?}: {told}");
        assert!(told.contains("cannot work from inside this sandbox"), "{flavour:?}: {told}");
    }
}
