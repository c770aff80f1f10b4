//! Other systems: `ps`, which every one of them has. Not tried on a Mac yet.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::process::Command;

/// A digest of the start time as `ps` prints it, to the second; none for a zombie.
pub(super) fn started(pid: u32) -> Option<u64> {
    let output =
        Command::new("ps").env("LC_ALL", "C").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output();
    let text = String::from_utf8(output.ok().filter(|output| output.status.success())?.stdout).ok()?;
    let (state, start) = text.trim().split_once(char::is_whitespace)?;
    if state.starts_with('Z') {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    start.trim().hash(&mut hasher);
    Some(hasher.finish())
}
