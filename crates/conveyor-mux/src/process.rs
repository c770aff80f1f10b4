//! When a process was started.

/// Start of a process, in the kernel's ticks since boot; none when there is no such process.
pub fn started(_pid: u32) -> Option<u64> {
    None
}
