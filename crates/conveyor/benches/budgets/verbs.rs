//! Verbs as processes, from spawn to exit.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use conveyor_store::AuditRow;
use conveyor_store::Clock;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::Mode;
use conveyor_store::OpenGate;
use conveyor_store::SystemClock;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionSource;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::tasks;
use serde_json::json;

use crate::measure::Background;
use crate::measure::Run;
use crate::measure::Samples;
use crate::measure::in_turn;
use crate::measure::ms;
use crate::measure::quantile;
use crate::measure::run;
use crate::measure::walls;
use crate::sides::Conveyor;
use crate::sides::words;
use crate::table::Budget;
use crate::table::Figure;
use crate::table::Line;
use crate::world::EVENTS;
use crate::world::SEEN;
use crate::world::World;

/// The cheapest call that each program knows.
pub(crate) fn version(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, theirs) = in_turn(
        100,
        |_| run(std::process::Command::new(env!("CARGO_BIN_EXE_conveyor")).arg("--version")),
        |_| run(&mut world.peer.command(&["--help"])),
    )?;
    let mut nothing = Samples::new();
    for _ in 0..100 {
        nothing.push(ms(run(&mut std::process::Command::new("/bin/true"))?.wall));
    }
    let floor = Line::new("a process that does nothing (`true`)", Figure::P50, "ms", &nothing);
    let line = Line::new("`--version`", Figure::P50, "ms", &walls(&ours)).owes(Budget::AtMost(3.0));
    let line = line.beside(&walls(&theirs)).note("the peer has `--help` only");
    Ok(vec![floor.note("what this machine takes for any program"), line])
}

/// Verbs that read.
pub(crate) fn reads(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, peer) = (&world.ours, &world.peer);
    let (sessions, theirs) = in_turn(
        60,
        |_| run(&mut ours.command(&["sessions", "--json"])),
        |_| run(&mut peer.command(&["sessions"])),
    )?;
    let (tasks, their_tasks) = in_turn(
        60,
        |_| run(&mut ours.command(&["tasks", "--json"])),
        |_| run(&mut peer.command(&["tasks", "--json"])),
    )?;
    let (status, _) = in_turn(60, |_| run(&mut ours.command(&["status", SEEN, "--json"])), |_| Ok(()))?;
    let line = |work, runs| Line::new(work, Figure::P50, "ms", &walls(runs)).owes(Budget::AtMost(5.0));
    Ok(vec![
        line("reads: `sessions`, 100 of them", &sessions).beside(&walls(&theirs)),
        line("reads: `tasks`", &tasks).beside(&walls(&their_tasks)),
        line("reads: `status TASK`", &status).note("the peer has none"),
    ])
}

/// A verb that writes, and what one `fsync` costs the disk in the same minute. Beside a dispatcher, as where conveyor is in
/// use; and alone, where the only connection also makes the write-ahead log and folds it in again: five times `fsync`.
pub(crate) fn writes(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, peer) = (world.ours.copied("writes")?, &world.peer);
    let create =
        |name: String| run(&mut ours.command(&["tasks", "--create", &name, "--goal", "written", "--json"]));
    let mut probe = Probe::new(&ours.home)?;
    let mut syncs = Samples::new();
    let watch = Background::spawn(&mut ours.command(&["dispatch", "--watch", "--json"]))?;
    std::thread::sleep(SETTLE);
    let (created, theirs) = in_turn(
        60,
        |round| {
            syncs.push(probe.sync()?);
            create(format!("new-{round}"))
        },
        |round| run(&mut peer.command(&["tasks", "--create", &format!("new-{round}"), "--goal", "written"])),
    )?;
    drop(watch);
    let (alone, _) = in_turn(60, |round| create(format!("alone-{round}")), |_| Ok(()))?;
    let owed = 5.0 + quantile(&syncs, 0.5);
    Ok(vec![
        Line::new("writes: `tasks --create`, beside a dispatcher", Figure::P50, "ms", &walls(&created))
            .owes(Budget::AtMost(owed))
            .beside(&walls(&theirs))
            .note("5 ms and one `fsync`"),
        Line::new("writes: `tasks --create`, alone", Figure::P50, "ms", &walls(&alone))
            .note("opening and closing the log: five `fsync`"),
        Line::new("the disk: 4 KiB and `fsync`", Figure::P50, "ms", &syncs),
    ])
}

/// How long a dispatcher is given until it watches.
const SETTLE: Duration = Duration::from_millis(500);

/// How long the disk needs to keep a page.
struct Probe(File);

impl Probe {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::create(folder.join("probe"))?))
    }

    fn sync(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        self.0.write_all(&[7; 4096])?;
        self.0.sync_data()?;
        Ok(ms(begun.elapsed()))
    }
}

/// One look at a worker that did nothing, its real pane included.
pub(crate) fn cycle(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, theirs) = in_turn(
        50,
        |_| run(&mut world.ours.command(&["cycle", SEEN, "--json"])),
        |_| run(&mut world.peer.command(&["cycle", SEEN])),
    )?;
    let line = Line::new("`cycle`, nothing new, tmux capture included", Figure::P50, "ms", &walls(&ours));
    Ok(vec![line.owes(Budget::AtMost(10.0)).beside(&walls(&theirs))])
}

/// The large rollout into a fresh ledger.
#[expect(clippy::unnecessary_wraps, reason = "all groups have one signature")]
pub(crate) fn ingest(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, theirs) = &world.ingest;
    let speed =
        |runs: &[Run]| -> Samples { runs.iter().map(|run| EVENTS as f64 / run.wall.as_secs_f64()).collect() };
    let peak =
        |runs: &[Run]| -> Samples { runs.iter().map(|run| run.peak as f64 / (1024.0 * 1024.0)).collect() };
    Ok(vec![
        Line::new("`ingest` of 100,000 lines (31 MB)", Figure::P50, "lines/s", &speed(ours))
            .owes(Budget::AtLeast(150_000.0))
            .beside(&speed(theirs))
            .note("250,000 wanted"),
        Line::new("`ingest`: memory", Figure::Largest, "MiB", &peak(ours))
            .owes(Budget::AtMost(32.0))
            .beside(&peak(theirs)),
    ])
}

/// The end of a task with many criteria.
pub(crate) fn finish(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, peer) = (world.ours.copied("criteria")?, world.peer.copied("criteria")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(add_criteria(&ours))?;
    let add = |number| {
        let text = format!("criterion {number}");
        words(&[
            "criteria",
            SEEN,
            "--add",
            "--criterion",
            &text,
            "--source",
            "user_requested",
            "--status",
            "satisfied",
        ])
    };
    // The peer ends no bound task whose sessions have no pane.
    let unbind = words(&["unbind", "--task", SEEN]);
    peer.run_all(&(0..CRITERIA).map(add).chain([unbind]).collect::<Vec<_>>())?;
    let finish = ["finish-task", SEEN, "--require-criteria-audit", "--reason", "measured"];
    let (finished, theirs) = in_turn(
        10,
        |round| run(&mut ours.copied(&format!("finish-{round}"))?.command(&finish)),
        |round| run(&mut peer.copied(&format!("finish-{round}"))?.command(&finish)),
    )?;
    let line = Line::new("`finish-task` with 1,000 criteria", Figure::P50, "ms", &walls(&finished));
    Ok(vec![line.owes(Budget::AtMost(50.0)).beside(&walls(&theirs))])
}

const CRITERIA: i64 = 1000;

async fn add_criteria(ours: &Conveyor) -> anyhow::Result<()> {
    let location = Location::Sqlite(ours.ledger.clone());
    let ledger = Ledger::open(&location, Mode::Write, Arc::new(SystemClock), Arc::new(OpenGate)).await?;
    let ledger = ledger.context("the copy is there")?;
    let mut tx = ledger.write(&conveyor_model::audit::Actor::Operator).await?;
    let task = tasks::by_name(&mut tx, &SEEN.parse()?).await?.context("the task is there")?;
    for number in 0..CRITERIA {
        let criterion = Criterion {
            id: 0,
            task_id: task.id.clone(),
            criterion: format!("criterion {number}"),
            status: CriterionStatus::Satisfied,
            source: CriterionSource::UserRequested,
            proof: None,
            rationale: None,
            evidence_json: json!({ "command": "cargo test", "status": "pass" }),
            created_at: SystemClock.now(),
            updated_at: SystemClock.now(),
        };
        criteria::insert(&mut tx, criterion, AuditRow::new("criterion_added", "for the bench")).await?;
    }
    tx.commit().await?;
    ledger.close().await;
    Ok(())
}
