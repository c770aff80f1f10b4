use std::collections::BTreeMap;

use super::*;
use crate::log::MemoryLog;

const A: &str = "01a203b1-5a77-7b02-adb4-ea3209f7045a";
const B: &str = "01a203b7-5c3e-7f71-8c28-0c5e1b209c48";

/// Processes as a test wants them: a pane's shell is 10.
#[derive(Default)]
struct Table {
    processes: Vec<Process>,
    belongings: BTreeMap<u32, Belongings>,
}

impl Table {
    fn with(mut self, pid: u32, parent: u32, exe: &str, cmdline: &str, open: &[String]) -> Self {
        let id = ProcessId { pid, start_ticks: 1 };
        let cmdline = cmdline.split(' ').map(ToOwned::to_owned).collect();
        self.processes.push(Process { id, parent, exe: Some(exe.into()), cmdline });
        let open_files = open.iter().map(PathBuf::from).collect();
        self.belongings
            .insert(pid, Belongings { open_files, codex_home: Some("/h".into()), ..Belongings::default() });
        self
    }

    fn pane() -> Self {
        Self::default().with(10, 1, "/bin/bash", "bash", &[]).with(
            11,
            10,
            "/usr/bin/node",
            "node /n/.bin/codex",
            &[],
        )
    }
}

impl ProcessTable for Table {
    fn subtree(&self, pid: u32) -> Result<Vec<Process>> {
        let mut found: Vec<Process> = Vec::new();
        for process in &self.processes {
            if process.id.pid == pid || found.iter().any(|above| above.id.pid == process.parent) {
                found.push(process.clone());
            }
        }
        Ok(found)
    }

    fn belongings(&self, id: ProcessId) -> Result<Belongings> {
        Ok(self.belongings[&id.pid].clone())
    }
}

fn lock(thread: &str) -> String {
    format!("/h/thread-writer-locks/{thread}.lock")
}

fn rollout(thread: &str) -> String {
    format!("/h/sessions/2026/11/22/rollout-2026-11-22T14-34-25-{thread}.jsonl")
}

fn look(table: &Table, clues: Clues<'_>) -> Belonging {
    let log = MemoryLog::default();
    log.append(rollout(A), b"");
    discover(table, &log, &Clues { root_pid: Some(10), ..clues }).unwrap()
}

/// Thread and proof, or the candidates.
fn short(belonging: Belonging) -> std::result::Result<(String, Proof), Vec<String>> {
    match belonging {
        Belonging::Proved { thread_id, proof, .. } => Ok((thread_id, proof)),
        Belonging::Ambiguous { candidates, .. } | Belonging::Unproved { candidates, .. } => Err(candidates),
    }
}

const CODEX: &str = "/n/vendor/x86_64-unknown-linux-musl/bin/codex";

#[test]
fn an_embedded_tui_is_proved_by_what_it_holds_open() {
    let table = Table::pane().with(12, 11, CODEX, "codex --no-daemon", &[lock(A)]);
    assert_eq!(short(look(&table, Clues::default())), Ok((A.into(), Proof::WriterLock)));
    let table = Table::pane().with(12, 11, CODEX, "codex", &[rollout(A)]);
    let Belonging::Proved { rollout: path, codex: Some(codex), proof, .. } = look(&table, Clues::default())
    else {
        panic!("not proved")
    };
    assert_eq!((path, proof), (Some(PathBuf::from(rollout(A))), Proof::OpenRollout));
    assert_eq!((codex.process.pid, codex.daemon), (12, false));
}

#[test]
fn two_rollouts_held_open_are_not_guessed_between() {
    let table = Table::pane().with(12, 11, CODEX, "codex", &[rollout(A), rollout(B)]);
    assert_eq!(short(look(&table, Clues::default())), Err(vec![A.into(), B.into()]));
    let footer = format!("› Ask\n\n  Ready · {B} · Context 0% used\n");
    let clues = Clues { screen: Some(&footer), ..Clues::default() };
    assert_eq!(short(look(&table, clues)), Ok((B.into(), Proof::Footer)));
    let table = Table::pane().with(12, 11, CODEX, "codex", &[rollout(A), rollout(B), lock(B)]);
    assert_eq!(short(look(&table, Clues::default())), Ok((B.into(), Proof::WriterLock)));
}

#[test]
fn the_daemon_below_the_first_tui_proves_nothing_about_its_pane() {
    let server = "codex app-server --listen unix:// --managed";
    let table = Table::pane()
        .with(12, 11, CODEX, "codex", &[])
        .with(13, 12, "/h/packages/codex", server, &[lock(A), rollout(A), lock(B)])
        .with(14, 13, CODEX, "codex exec hello", &[rollout(B)]);
    let table = Table { processes: table.processes, belongings: table.belongings };
    assert_eq!(short(look(&table, Clues::default())), Err(vec![]));
    let clues = Clues { pane_title: Some("⠋ 01a203b1-5a77-7b02-adb4-ea320..."), ..Clues::default() };
    assert_eq!(short(look(&table, clues)), Ok((A.into(), Proof::PaneTitle)));
    let clues = Clues { caller: Some(B), ..Clues::default() };
    assert_eq!(short(look(&table, clues)), Ok((B.into(), Proof::Caller)));
}

#[test]
fn a_threads_commands_are_told_apart_from_the_daemon_that_runs_them_and_from_other_threads() {
    let server = "codex app-server --listen unix:// --managed";
    let mut table = Table::pane()
        .with(12, 11, CODEX, "codex", &[])
        .with(13, 12, "/h/packages/codex", server, &[lock(A), lock(B)])
        .with(14, 13, "/bin/bash", "bash -c one", &[])
        .with(15, 14, "/bin/sleep", "sleep 9", &[])
        .with(16, 13, "/bin/bash", "bash -c two", &[])
        .with(17, 13, "/b/conveyor", "conveyor mcp", &[]);
    for (pid, thread) in [(14, A), (15, A), (16, B)] {
        table.belongings.get_mut(&pid).unwrap().thread = Some(thread.to_owned());
    }
    let pids = |found: Vec<Process>| found.iter().map(|process| process.id.pid).collect::<Vec<_>>();
    assert_eq!(pids(without_daemon(table.subtree(10).unwrap())), [10, 11, 12]);
    let daemon = ProcessId { pid: 13, start_ticks: 1 };
    let of = |thread: &str| pids(commands_of(&table, daemon, &BTreeSet::from([thread.to_owned()])).unwrap());
    assert_eq!((of(A), of(B)), (vec![14, 15], vec![16]));
}

#[test]
fn a_codex_that_a_tool_call_started_is_not_the_panes() {
    let table = Table::pane().with(12, 11, CODEX, "codex", &[lock(A)]).with(
        13,
        12,
        CODEX,
        "codex exec x",
        &[rollout(B)],
    );
    assert_eq!(short(look(&table, Clues::default())), Ok((A.into(), Proof::WriterLock)));
}

#[test]
fn the_thread_with_which_it_began_is_only_a_candidate() {
    let table = Table::pane().with(12, 11, CODEX, &format!("codex resume {A}"), &[]);
    let Belonging::Unproved { candidates, why, .. } = look(&table, Clues::default()) else {
        panic!("proved")
    };
    assert_eq!(candidates, [A]);
    assert_eq!(why, "the thread with which it began may have been left by /new, /clear or a fork");
}

#[test]
fn proofs_that_contradict_each_other_prove_nothing() {
    let table = Table::pane().with(12, 11, CODEX, "codex", &[lock(A)]);
    let clues = Clues { caller: Some(B), ..Clues::default() };
    assert_eq!(short(look(&table, clues)), Err(vec![A.into(), B.into()]));
}

#[test]
fn two_codexes_side_by_side_are_an_error_that_names_both() {
    let table =
        Table::pane().with(12, 11, CODEX, "codex", &[lock(A)]).with(13, 10, CODEX, "codex", &[lock(B)]);
    let error = discover(&table, &MemoryLog::default(), &Clues { root_pid: Some(10), ..Clues::default() })
        .unwrap_err();
    assert_eq!(error.message, "two Codexes run under process 10: 12 and 13");
}

#[test]
fn a_pane_without_codex_says_so() {
    let Belonging::Unproved { why, candidates, codex } = look(&Table::pane(), Clues::default()) else {
        panic!()
    };
    assert_eq!((why.as_str(), candidates, codex), ("no Codex runs under this process", vec![], None));
}

#[test]
fn a_rollout_is_found_by_the_id_in_its_name() {
    let log = MemoryLog::default();
    assert_eq!(rollout_of(&log, Path::new("/h"), A).unwrap(), None);
    log.append(rollout(A), b"");
    log.append(rollout(B), b"");
    assert_eq!(rollout_of(&log, Path::new("/h"), A).unwrap(), Some(rollout(A).into()));
    assert_eq!(rollout_of(&log, Path::new("/other"), A).unwrap(), None);
    log.append(rollout(A).replace("sessions", "archived_sessions"), b"");
    assert!(rollout_of(&log, Path::new("/h"), A).is_err());
}
