//! Systems without `/proc`: pids cannot be proved there yet, and the errors say so.

use std::io;

use super::Belongings;
use super::Process;

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "conveyor reads processes on Linux only")
}

pub(super) fn start_ticks(_: u32) -> io::Result<Option<u64>> {
    Err(unsupported())
}

pub(super) fn inside_sandbox() -> Option<String> {
    None
}

pub(super) fn foreign(_: u32) -> Option<String> {
    None
}

pub(super) fn all() -> io::Result<Vec<Process>> {
    Err(unsupported())
}

pub(super) fn subtree(_: u32) -> io::Result<Vec<Process>> {
    Err(unsupported())
}

pub(super) fn belongings(_: u32) -> Belongings {
    Belongings::default()
}
