//! The processes of one private home: each has its path in its environment, and nothing else in the world has.

use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::tmux::poll;

/// How long a process is given to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// The processes whose environment names this `CODEX_HOME`, zombies left out.
pub(super) fn with_home(home: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let wanted = format!("CODEX_HOME={}", home.display());
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| has_variable(*pid, &wanted)).filter_map(Pid::from_raw).collect()
}

/// Whether the process was started with this variable. A zombie's environment is empty.
fn has_variable(pid: i32, wanted: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// Ends them: asks first, then kills.
pub(super) fn end(home: &Path) {
    for signal in [Signal::TERM, Signal::KILL] {
        for pid in with_home(home) {
            // It may have ended in between.
            let _ = kill_process(pid, signal);
        }
        let gone = poll(GRACE, || Ok(with_home(home).is_empty().then_some(())));
        if matches!(gone, Ok(Some(()))) {
            return;
        }
    }
}
