//! Processes by `/proc`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use super::Belongings;
use super::Process;
use super::ProcessId;

/// What conveyor uses of `/proc/PID/stat`.
struct Status {
    state: u8,
    parent: u32,
    start_ticks: u64,
}

fn proc(pid: u32, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}

/// Nothing, if the process ended.
fn ended<T>(error: io::Error) -> io::Result<Option<T>> {
    const ESRCH: i32 = 3;
    if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) {
        return Ok(None);
    }
    Err(error)
}

fn status(pid: u32) -> io::Result<Option<Status>> {
    match fs::read(proc(pid, "stat")) {
        Ok(bytes) => {
            parse_stat(&bytes).map(Some).ok_or_else(|| io::Error::other("its stat is not understood"))
        }
        Err(error) => ended(error),
    }
}

/// The name in parentheses may hold anything, parentheses and blanks too: fields are counted from its last one.
fn parse_stat(bytes: &[u8]) -> Option<Status> {
    let after_name = bytes.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(bytes.get(after_name..)?).ok()?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    // Fields 3, 4 and 22 of proc(5), counted from the one after the name.
    Some(Status {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Zombies and dead processes have ended.
const fn has_ended(state: u8) -> bool {
    matches!(state, b'Z' | b'X' | b'x')
}

pub(super) fn start_ticks(pid: u32) -> io::Result<Option<u64>> {
    let status = status(pid)?.filter(|status| !has_ended(status.state));
    Ok(status.map(|status| status.start_ticks))
}

/// What the kernel says of a process's confinement; nothing takes it away again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Restraint {
    name: String,
    no_new_privs: bool,
    filters: u32,
    parent: u32,
}

fn restraint(pid: &str) -> Option<Restraint> {
    fs::read_to_string(Path::new("/proc").join(pid).join("status")).ok().map(|text| parse_restraint(&text))
}

fn parse_restraint(status: &str) -> Restraint {
    let mut restraint = Restraint::default();
    for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match key {
            "Name" => value.clone_into(&mut restraint.name),
            "PPid" => restraint.parent = value.parse().unwrap_or_default(),
            "NoNewPrivs" => restraint.no_new_privs = value == "1",
            // Kernels before 5.9 do not count: there the mode, which stands first, stands for the count.
            "Seccomp" | "Seccomp_filters" => restraint.filters = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    restraint
}

/// Why this process runs inside Codex's sandbox, if it does, by what it cannot take away from itself.
///
/// Measured: 0.144 and 0.169 make a PID namespace whose first process is `codex-linux-sandbox`, by itself or behind
/// `bwrap`; 0.99 makes none, there Codex is an ancestor that is not restrained. Both set `no_new_privs` and a filter.
pub(super) fn inside_sandbox() -> Option<String> {
    const SANDBOX: &str = "codex-linux-sandbox";
    let own = restraint("self").filter(|own| own.no_new_privs)?;
    let first = words(&fs::read(proc(1, "cmdline")).unwrap_or_default());
    if first.iter().any(|word| Path::new(word).file_name().is_some_and(|name| name == SANDBOX)) {
        return Some("conveyor runs inside Codex's sandbox, where pids have other meanings".to_owned());
    }
    let mut above = Vec::new();
    let mut next = own.parent;
    while next > 1 && above.len() < MOST_ANCESTORS {
        let Some(ancestor) = restraint(&next.to_string()) else { break };
        next = ancestor.parent;
        above.push(ancestor);
    }
    is_restrained_by_codex(&own, &above)
        .then(|| "conveyor runs inside a sandbox that Codex made for its command".to_owned())
}

/// A line of ancestors is short; a loop in what is read while processes end is cut.
const MOST_ANCESTORS: usize = 64;

fn is_restrained_by_codex(own: &Restraint, above: &[Restraint]) -> bool {
    above.iter().any(|one| one.name.starts_with("codex") && (!one.no_new_privs || one.filters < own.filters))
}

/// Why a process of this pid cannot be the one that somebody meant.
pub(super) fn foreign(pid: u32) -> Option<String> {
    const KERNEL_THREADS: u32 = 2;
    let parent = status(pid).ok().flatten().map_or(0, |status| status.parent);
    if pid <= KERNEL_THREADS || parent == KERNEL_THREADS {
        return Some(format!(
            "pid {pid} is the system's own; inside Codex's sandbox $PPID is 2, a number that means nothing outside"
        ));
    }
    let theirs = fs::read_link(proc(pid, "ns/pid")).ok()?;
    let ours = fs::read_link("/proc/self/ns/pid").ok()?;
    (theirs != ours)
        .then(|| format!("process {pid} runs in another PID namespace, as a sandboxed command does"))
}

pub(super) fn subtree(root: u32) -> io::Result<Vec<Process>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut known = BTreeMap::new();
    for pid in all_pids()? {
        if let Some(status) = status(pid)?.filter(|status| !has_ended(status.state)) {
            children.entry(status.parent).or_default().push(pid);
            known.insert(pid, status);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        if let Some(status) = known.remove(&pid) {
            found.push(describe(pid, &status));
            next.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    Ok(found)
}

/// Every process of this moment.
pub(super) fn all() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for pid in all_pids()? {
        if let Some(status) = status(pid)?.filter(|status| !has_ended(status.state)) {
            found.push(describe(pid, &status));
        }
    }
    Ok(found)
}

fn all_pids() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn describe(pid: u32, status: &Status) -> Process {
    Process {
        id: ProcessId { pid, start_ticks: status.start_ticks },
        parent: status.parent,
        exe: fs::read_link(proc(pid, "exe")).ok(),
        cmdline: words(&fs::read(proc(pid, "cmdline")).unwrap_or_default()),
    }
}

fn words(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

pub(super) fn belongings(pid: u32) -> Belongings {
    let environment = fs::read(proc(pid, "environ")).unwrap_or_default();
    let text = |name: &[u8]| variable(&environment, name)?.into_os_string().into_string().ok();
    Belongings {
        open_files: open_files(pid),
        codex_home: variable(&environment, b"CODEX_HOME"),
        home: variable(&environment, b"HOME"),
        cwd: fs::read_link(proc(pid, "cwd")).ok(),
        tmux: variable(&environment, b"TMUX").map(PathBuf::into_os_string),
        started_as: text(super::STARTED_AS.as_bytes()),
        thread: text(b"CODEX_THREAD_ID"),
    }
}

fn open_files(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(proc(pid, "fd")) else { return Vec::new() };
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.is_absolute()).collect()
}

fn variable(environment: &[u8], name: &[u8]) -> Option<PathBuf> {
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))?;
    (!value.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = b"42 (a) (R 9 b) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 2 3";
        let status = parse_stat(stat).unwrap();
        assert_eq!((status.state, status.parent, status.start_ticks), (b'S', 7, 123_456));
        assert!(parse_stat(b"42 (a").is_none());
    }

    #[test]
    fn a_command_is_in_codexs_sandbox_when_codex_is_above_it_and_less_restrained() {
        let status = "Name:\tsh\nPPid:\t7\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let own = parse_restraint(status);
        assert_eq!(own, Restraint { name: "sh".to_owned(), no_new_privs: true, filters: 1, parent: 7 });
        let named = |name: &str, no_new_privs, filters| Restraint {
            name: name.to_owned(),
            no_new_privs,
            filters,
            parent: 1,
        };
        assert!(is_restrained_by_codex(&own, &[named("sh", true, 1), named("codex", false, 0)]));
        assert!(is_restrained_by_codex(&own, &[named("codex", true, 0)]), "in a container of its own");
        // A container or a desktop sandbox around all of it says nothing of Codex's.
        assert!(!is_restrained_by_codex(&own, &[named("codex", true, 1), named("containerd", false, 0)]));
        assert!(!is_restrained_by_codex(&own, &[named("firejail", false, 0)]));
    }

    #[test]
    fn words_and_variables_are_split_at_nul() {
        assert_eq!(words(b"codex\0resume\0\0"), ["codex", "resume", ""]);
        assert!(words(b"").is_empty());
        assert_eq!(variable(b"A=1\0CODEX_HOME=/h\0", b"CODEX_HOME"), Some(PathBuf::from("/h")));
        assert_eq!(variable(b"CODEX_HOMES=/h\0CODEX_HOME=\0", b"CODEX_HOME"), None);
    }
}
