use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use super::*;

/// A process that waits until it is killed.
fn sleeper() -> Child {
    Command::new("sleep").arg("600").env("CODEX_HOME", "/tmp/some-home").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut child = sleeper();
    let id = ProcessId::of(child.id()).unwrap().unwrap();
    assert!(id.is_alive());
    assert!(!ProcessId { start_ticks: id.start_ticks + 1, ..id }.is_alive());
    child.kill().unwrap();
    // A zombie until it is waited for: it has ended, though its pid is still there.
    while id.is_alive() {
        std::thread::yield_now();
    }
    child.wait().unwrap();
    assert_eq!(ProcessId::of(id.pid).unwrap(), None);
    assert!(System.belongings(id).is_err());
}

#[test]
fn numbers_from_inside_a_sandbox_are_claims() {
    for pid in [0, 1, 2] {
        match named_pid(pid).unwrap() {
            NamedPid::Claim { .. } | NamedPid::Gone => {}
            here @ NamedPid::Here(_) => panic!("{here:?}"),
        }
    }
    let own = std::process::id();
    assert_eq!(named_pid(own).unwrap(), NamedPid::Here(ProcessId::of(own).unwrap().unwrap()));
    assert_eq!(named_pid(u32::MAX).unwrap(), NamedPid::Gone);
}

#[test]
fn a_subtree_holds_the_children_and_their_words() {
    let mut child = sleeper();
    // Until it has replaced itself, the child still shows this test's own program.
    let find = || {
        System.subtree(std::process::id()).unwrap().into_iter().find(|process| process.id.pid == child.id())
    };
    let found = loop {
        let found = find().unwrap();
        if found.cmdline == ["sleep", "600"] {
            break found;
        }
    };
    assert_eq!(found.parent, std::process::id());
    assert_eq!(System.belongings(found.id).unwrap().codex_home, Some(PathBuf::from("/tmp/some-home")));
    child.kill().unwrap();
    child.wait().unwrap();
}
