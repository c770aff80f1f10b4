//! The budgets, measured beside the peer in one run: `scripts/bench`. What is measured and how: `docs/bench.md`.
//!
//! With words, only the groups of lines that are so named are measured, and nothing is written.

mod dispatcher;
mod mcp;
mod measure;
mod nudge;
mod rollout;
mod sides;
mod table;
mod verbs;
mod world;

use std::time::Instant;

use anyhow::ensure;

use crate::sides::target;
use crate::table::Line;
use crate::table::Machine;
use crate::table::Table;
use crate::world::World;

/// Measures some lines of the table.
type Group = fn(&mut World) -> anyhow::Result<Vec<Line>>;

/// The groups in the order of the table.
const GROUPS: [(&str, Group); 11] = [
    ("version", verbs::version),
    ("reads", verbs::reads),
    ("writes", verbs::writes),
    ("cycle", verbs::cycle),
    ("ingest", verbs::ingest),
    ("wake", dispatcher::wake),
    ("backlog", dispatcher::backlog),
    ("idle", dispatcher::idle),
    ("mcp", mcp::calls),
    ("finish", verbs::finish),
    ("nudge", nudge::nudge),
];

/// How often the large rollout is read by each.
const INGESTS: usize = 3;

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |group: &str| wanted.is_empty() || wanted.iter().any(|word| word == group);
    ensure!(target().join("peer/bin/conveyor").exists(), "the peer is missing: run scripts/bench");
    let begun = Instant::now();
    let load_before = load()?;
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(target())?;
    eprintln!("the ledgers with 100,000 events and 100 sessions");
    let mut world = World::build(folder.path(), if is_wanted("ingest") { INGESTS } else { 0 })?;
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for (name, measure) in GROUPS.iter().filter(|(name, _)| is_wanted(name)) {
        eprintln!("{name} ({:.0} s)", begun.elapsed().as_secs_f64());
        match measure(&mut world) {
            Ok(measured) => lines.extend(measured),
            // The others are measured all the same.
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    let machine = Machine {
        processors: std::thread::available_parallelism()?.get(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        load_before,
        load_after: load()?,
        seconds: begun.elapsed().as_secs_f64(),
    };
    let table = Table { machine, lines, not_measured: failed };
    let page = table.markdown();
    println!("{page}");
    if wanted.is_empty() {
        std::fs::write(target().join("bench.md"), page)?;
        std::fs::write(target().join("bench.json"), serde_json::to_string_pretty(&table)? + "\n")?;
    }
    ensure!(table.not_measured.is_empty(), "not everything could be measured");
    Ok(())
}

/// The load average of the last minute.
fn load() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or("?").to_owned())
}
