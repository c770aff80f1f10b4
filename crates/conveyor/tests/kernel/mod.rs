//! A kernel that has no Landlock.

use std::process::Command;
use std::process::Output;

use seccompiler::BpfProgram;
use seccompiler::SeccompAction;
use seccompiler::SeccompFilter;

/// Why the kernel refuses: it has none.
pub(crate) const NOT_BUILT: i32 = libc::ENOSYS;

/// Why the kernel refuses: it is switched off.
pub(crate) const SWITCHED_OFF: i32 = libc::EOPNOTSUPP;

/// Runs a command, and all that it starts, on a kernel that answers each question about Landlock with an error.
pub(crate) fn without_landlock(mut command: Command, errno: i32) -> Output {
    // What is filtered is the thread and its children; the test itself goes on as before.
    let filtered = std::thread::spawn(move || {
        let calls = [(libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
        let denied = SeccompAction::Errno(u32::try_from(errno).unwrap());
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter: BpfProgram =
            SeccompFilter::new(calls, SeccompAction::Allow, denied, arch).unwrap().try_into().unwrap();
        seccompiler::apply_filter(&filter).unwrap();
        command.output().unwrap()
    });
    filtered.join().unwrap()
}
