//! A tree of processes, and its end.
//!
//! The helper is a *subreaper*: whatever its command starts, however often it forks, whatever session it makes, stays a
//! descendant of the helper and is found through the parents in `/proc`.

use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;
use std::time::Instant;

use conveyor_model::limits;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;
use rustix::process::kill_process;
use rustix::process::waitpid;

/// Between two looks at processes that were just killed.
const LOOK: Duration = Duration::from_millis(2);

/// One process as `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// It has ended, and nobody has asked how.
    is_dead: bool,
}

/// Kills all descendants of this process, and returns how many there were besides `main` and how many could not be ended.
///
/// `main` is reaped by whoever waits for it, so that its exit code is not lost here.
pub(super) fn end(main: i32) -> (u64, u64) {
    let myself = rustix::process::getpid().as_raw_nonzero().get();
    let until = Instant::now() + limits::CONFINED_KILL;
    let mut seen = HashSet::new();
    loop {
        let all = processes();
        let below = descendants(&all, myself);
        let alive: Vec<i32> = below.iter().copied().filter(|pid| !all[pid].is_dead).collect();
        seen.extend(alive.iter().copied().filter(|pid| *pid != main));
        // A process that is stopped first cannot fork while its relatives are killed.
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in &alive {
                send(*pid, signal);
            }
        }
        for pid in below.iter().filter(|pid| all[pid].is_dead && all[pid].parent == myself && **pid != main) {
            reap(*pid);
        }
        if alive.is_empty() || Instant::now() >= until {
            return (seen.len() as u64, alive.len() as u64);
        }
        std::thread::sleep(LOOK);
    }
}

/// Kills whatever carries a mark in its environment: for what is left of a helper that was itself killed.
pub(super) fn sweep(mark: &str) {
    let until = Instant::now() + limits::CONFINED_KILL;
    let wanted = format!("{}={mark}", super::MARK);
    loop {
        let marked: Vec<i32> =
            processes().into_iter().filter(|(_, one)| !one.is_dead).map(|(pid, _)| pid).collect();
        let marked: Vec<i32> = marked.into_iter().filter(|pid| carries(*pid, wanted.as_bytes())).collect();
        for pid in &marked {
            send(*pid, Signal::KILL);
        }
        if marked.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn carries(pid: i32, wanted: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

/// All processes by id. One that ends meanwhile is simply not there.
fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return HashMap::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|pid| Some((pid, parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// Reads a line of `/proc/PID/stat`. The name in parentheses may hold anything, parentheses and blanks too.
fn parse(stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process { parent, is_dead: matches!(state, "Z" | "X") })
}

/// Everybody below `root`.
fn descendants(all: &HashMap<i32, Process>, root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, process) in all {
        children.entry(process.parent).or_default().push(*pid);
    }
    let mut below = Vec::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        let of_it = children.remove(&parent).unwrap_or_default();
        next.extend(&of_it);
        below.extend(of_it);
    }
    below
}

/// A process that is gone needs no signal.
fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn reap(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_is_read() {
        assert_eq!(parse("7 (a) R 1 (b) S 3 4 5"), Some(Process { parent: 3, is_dead: false }));
        assert_eq!(parse("7 (a) Z 3 4"), Some(Process { parent: 3, is_dead: true }));
        assert_eq!(parse("7"), None);
    }

    #[test]
    fn everybody_below_is_found_and_nobody_else() {
        let process = |parent| Process { parent, is_dead: false };
        let all = HashMap::from([(2, process(1)), (3, process(2)), (4, process(3)), (5, process(1))]);
        let mut below = descendants(&all, 2);
        below.sort_unstable();
        assert_eq!(below, [3, 4]);
    }
}
