//! The demo with simulated agents and with the real Codex: what it proves, and that it leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// Far above what anything here takes: only what never happens reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder for temporary files, so that whatever a demo leaves is seen.
fn demo(folder: &Path, agent: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
    command
        .args(["demo", "--agent", agent])
        .env("TMPDIR", folder)
        .env("XDG_CACHE_HOME", folder)
        .env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What lies in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The processes whose environment names a home below this folder.
fn processes(folder: &Path) -> Vec<String> {
    let mark = format!("HOME={}/conveyor-demo-", folder.canonicalize().unwrap().display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).split('\0').any(|one| one.starts_with(&mark))
    })
    .collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

fn proves_each_delivery_and_leaves_nothing(folder: &Path, agent: &str) {
    let output = demo(folder, agent).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let labels = text.lines().filter(|line| line.contains("✓ [conveyor ")).count();
    assert_eq!(labels, 3, "the person's wish, the wake-up, the manager's wish:\n{text}");
    let lines = text.lines().filter(|line| line.starts_with("     …") && line.contains("[conveyor "));
    assert_eq!(lines.count(), 3, "each with the line that proves it:\n{text}");
    let calls = text.lines().filter(|line| line.contains("✓ the manager called"));
    assert_eq!(calls.count(), 2, "the manager looked and asked:\n{text}");
    for proof in ["the worker is idle", "have ended", "each delivered once"] {
        assert!(text.contains(proof), "{proof} is missing:\n{text}");
    }
    assert_eq!(entries(folder), Vec::<PathBuf>::new());
    assert_eq!(processes(folder), Vec::<String>::new());
}

#[test]
fn the_demo_proves_each_delivery_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    proves_each_delivery_and_leaves_nothing(folder.path(), "sim");
}

#[test]
fn the_demo_with_the_real_codex_proves_each_delivery_and_leaves_nothing() {
    // Codex refuses to put its helper programs into a home below /tmp.
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/sim");
    std::fs::create_dir_all(&target).unwrap();
    let folder = tempfile::Builder::new().prefix("demo").tempdir_in(target.canonicalize().unwrap()).unwrap();
    proves_each_delivery_and_leaves_nothing(folder.path(), "codex");
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let child = demo(folder.path(), "sim").spawn().unwrap();
    until("something runs", || !processes(folder.path()).is_empty());
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("stopped by a signal"), "{text}");
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    assert_eq!(processes(folder.path()), Vec::<String>::new());
}
