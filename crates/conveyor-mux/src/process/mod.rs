//! When a process was started, by which a reused process id is told from the first one.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "other.rs")]
mod platform;

use crate::Process;

/// Start of a process in the platform's own unit and origin; none when there is no such process, or it has ended and
/// only waits for its parent.
///
/// Linux: clock ticks since boot. Elsewhere: the start second as `ps` prints it, as a number.
pub fn started(pid: u32) -> Option<u64> {
    platform::started(pid)
}

impl Process {
    /// The process that now has this id.
    pub fn now(pid: u32) -> Self {
        Self { pid, started: started(pid) }
    }

    /// Whether this very process still runs.
    ///
    /// A process whose start was not seen when it was pinned is not taken for a running one.
    pub fn is_running(&self) -> bool {
        self.started.is_some() && started(self.pid) == self.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_a_reused_id_does_not_count() {
        let me = Process::now(std::process::id());
        assert!(me.is_running());
        let earlier = Process { started: me.started.map(|started| started - 1), ..me };
        assert!(!earlier.is_running(), "the same id with another start is another process");
        assert!(!Process { started: None, ..me }.is_running());
    }

    #[test]
    fn a_process_that_was_waited_for_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(started(pid), None);
    }
}
