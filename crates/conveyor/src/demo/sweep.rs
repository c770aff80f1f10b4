//! Ending what a demo started, by process id: whatever was started in its world has the world's home in its environment,
//! and nothing else has.

use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use rustix::process::test_kill_process;

/// How long a process is given to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Between two looks at processes that were asked to end.
const LOOK: Duration = Duration::from_millis(50);

/// Ends the processes that were started with this variable: asks first, then kills. Gives those that are left.
pub(super) async fn end(variable: &str) -> Vec<i32> {
    for signal in [Signal::TERM, Signal::KILL] {
        for pid in with(variable) {
            // It may have ended in between.
            let _ = kill_process(pid, signal);
        }
        let asked = std::time::Instant::now();
        while asked.elapsed() < GRACE {
            if with(variable).is_empty() {
                return Vec::new();
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    with(variable).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect()
}

/// Whether a process of this id runs. One that has ended and was not waited for does not.
pub(super) fn is_there(pid: i64) -> bool {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        return !state.starts_with(['Z', 'X']);
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// The processes that were started with this variable; none where the system does not show environments. A zombie's is
/// empty.
fn with(variable: &str) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| has(*pid, variable)).filter_map(Pid::from_raw).collect()
}

fn has(pid: i32, variable: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|one| one == variable.as_bytes())
}
