//! Ctrl-C and SIGTERM at any time: the program ends at once and quietly, and nothing is half done.

use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;

use crate::script;
use crate::script::Line;
use crate::terminal;
use crate::world::World;

/// When the signals come: before the program has begun to listen, while it works, and after.
const MOMENTS: [u64; 12] = [0, 1, 3, 5, 8, 11, 15, 20, 30, 60, 150, 400];

/// The same for what starts sessions.
const LATER: [u64; 4] = [650, 900, 1_300, 1_800];

/// What rests for so long has come to what it waits for.
const AT_REST: Duration = Duration::from_millis(100);

/// A program that was asked to end takes no longer. Most take a few milliseconds; a start is undone first.
const AT_ONCE: Duration = Duration::from_secs(10);

fn kill(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}

/// Waits until the program waits for something, and presses Ctrl-C.
///
/// Panics when it does not wait, or goes on waiting.
pub(crate) fn interrupt_when_it_waits(child: &mut Child) {
    let begun = Instant::now();
    let (mut rest, mut rested) = (None, Instant::now());
    while rest.is_none() || rested.elapsed() < AT_REST {
        assert_eq!(child.try_wait().unwrap(), None, "it does not wait");
        assert!(begun.elapsed() < terminal::PATIENCE, "it never comes to rest");
        let now = at_rest(child.id());
        if now != rest {
            (rest, rested) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(child, Signal::INT);
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(asked.elapsed() < AT_ONCE, "it waits on");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How often our program has rested, if it rests now: it listens to SIGINT, none of its threads runs or is about to, and
/// nothing that it started does. Before that it may be a shell, which listens to SIGINT too.
fn at_rest(pid: u32) -> Option<u64> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let program = std::fs::read_link(process.join("exe")).ok()?;
    if !["conveyor", "workerctl"].iter().any(|name| program.ends_with(name)) || !handles(pid, Signal::INT) {
        return None;
    }
    let mut rests = 0;
    for thread in std::fs::read_dir(process.join("task")).ok()?.flatten() {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let started = std::fs::read_to_string(thread.path().join("children")).ok()?;
        if !value("State:")?.starts_with('S') || !started.trim().is_empty() {
            return None;
        }
        rests += value("voluntary_ctxt_switches:")?.parse::<u64>().ok()?;
    }
    Some(rests)
}

/// Whether a process has a handler for a signal.
fn handles(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// Ends the first line of a verb's script at each moment, with one signal and the other in turn; then runs it to its end.
pub(crate) fn end_it_whole(name: &str) {
    let script = script::of(name);
    // What makes sessions needs a world without them, and takes longer.
    let starts = ["pair", "start-manager", "start-worker"].contains(&name);
    let later: &[u64] = if starts { &LATER } else { &[] };
    let (mut world, line) = prepared(&script);
    let signals = [Signal::INT, Signal::TERM].into_iter().cycle();
    for (&moment, signal) in MOMENTS.iter().chain(later).zip(signals) {
        if starts {
            world = prepared(&script).0;
        }
        let before = tmux_sessions(&world);
        let told = ended_by(&world, &line, signal, Duration::from_millis(moment));
        assert!(!told.contains("panicked"), "{signal:?} after {moment} ms: {told}");
        world.prepare("conveyor db-doctor");
        if starts {
            check_sessions(&world, &before, &format!("{signal:?} after {moment} ms: {told}"));
        }
    }
    let last = terminal::in_a_pipe(world.shell(&line), |_| {});
    assert!(["0", "1"].contains(&last.status.as_str()), "it cannot be run any more: {last:?}");
    assert!(!last.err.contains("panicked"), "{last:?}");
    world.prepare("conveyor db-doctor");
}

/// A world in which the first line that a script shows can be typed, and that line.
fn prepared(script: &[Line]) -> (World, String) {
    let world = World::new();
    for line in script {
        match line {
            Line::Prepare(line) => world.prepare(line),
            Line::Show(line) | Line::Interrupt(line) => return (world, format!("exec {line}")),
        }
    }
    panic!("the script shows nothing");
}

/// No session stands in the ledger that does not live, and none lives in tmux that was made now and is not in the ledger.
fn check_sessions(world: &World, before: &[String], context: &str) {
    let output = world.shell("conveyor sessions --json").output().unwrap();
    let sessions: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sessions = sessions.as_array().unwrap();
    let mut ours = Vec::new();
    for session in sessions {
        assert_eq!(session["alive"], true, "{context}\n{session:#}");
        ours.push(session["tmux_session"].as_str().unwrap_or_default());
    }
    for name in tmux_sessions(world).iter().filter(|name| !before.contains(name)) {
        assert!(ours.contains(&name.as_str()), "{context}\nthe tmux session {name} is nobody's");
    }
}

fn tmux_sessions(world: &World) -> Vec<String> {
    let listed = world.tmux.run(["list-sessions", "-F", "#{session_name}"]).unwrap_or_default();
    listed.lines().map(str::to_owned).collect()
}

/// Runs a line, ends it after a while, and returns what it said of that.
fn ended_by(world: &World, line: &str, signal: Signal, after: Duration) -> String {
    let mut child = world.shell(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    kill(&child, signal);
    let asked = Instant::now();
    let status = terminal::ended(&mut child);
    assert!(asked.elapsed() < AT_ONCE, "{line} goes on");
    let code = status.code();
    assert!(matches!(code, None | Some(0 | 1)), "{line}: {status}");
    std::io::read_to_string(child.stderr.take().unwrap()).unwrap()
}
