//! The dispatcher: how fast it wakes, how fast it works through a backlog, what it costs when nothing happens.

use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use serde_json::Value;

use crate::measure::Background;
use crate::measure::Samples;
use crate::measure::ms;
use crate::measure::run;
use crate::sides::words;
use crate::table::Budget;
use crate::table::Figure;
use crate::table::Line;
use crate::world::WOKEN;
use crate::world::World;

/// How long a process is given until it waits.
const SETTLE: Duration = Duration::from_millis(60);

/// From the record that ends a turn to the return of the manager's waiting call, a dispatcher watching.
pub(crate) fn wake(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let wait = ["manager-inbox", WOKEN, "--consume-next", "--wait", "--timeout", "20", "--json"];
    let ours = world.ours.clone();
    let watch = Background::spawn(&mut ours.command(&["dispatch", "--watch", "--json"]))?;
    std::thread::sleep(SETTLE * 5);
    let mut woken = Samples::new();
    for _ in 0..=200 {
        world.worker.begin_turn()?;
        let mut reader = ours.command(&wait).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        std::thread::sleep(SETTLE);
        let begun = Instant::now();
        world.worker.end_turn()?;
        let status = reader.wait()?;
        woken.push(ms(begun.elapsed()));
        let output = std::io::read_to_string(reader.stdout.take().context("stdout is piped")?)?;
        ensure!(status.success() && output.contains("worker_task_complete"), "no wake: {output}");
    }
    drop(watch);
    let peer = wake_peer(world)?;
    let note = "the peer never without an `ingest`; here one is run right away";
    let line = |figure| Line::new("turn end → `manager-inbox --wait` returns", figure, "ms", &woken[1..]);
    Ok(vec![
        line(Figure::P50).owes(Budget::AtMost(10.0)).beside(&peer).note(note),
        line(Figure::P99).owes(Budget::AtMost(50.0)),
    ])
}

fn wake_peer(world: &mut World) -> anyhow::Result<Samples> {
    let wait = ["manager-inbox", WOKEN, "--consume-next", "--wait", "--timeout", "20", "--json"];
    let peer = &world.peer;
    // What the turns of before left behind is not measured.
    run(&mut peer.command(&["ingest", "wren"]))?;
    run(&mut peer.command(&["dispatch", "--once", "--limit", "1000"]))?;
    let emptied = || -> anyhow::Result<bool> {
        let output = peer.command(&["manager-inbox", WOKEN, "--consume-next", "--json"]).output()?;
        Ok(!String::from_utf8_lossy(&output.stdout).contains("worker_task_complete"))
    };
    let many: Vec<_> =
        (0..210).map(|_| words(&["manager-inbox", WOKEN, "--consume-next", "--json"])).collect();
    peer.run_all(&many)?;
    ensure!(emptied()?, "the peer's inbox is not empty");
    let _watch = Background::spawn(&mut peer.command(&["dispatch", "--watch"]))?;
    let mut woken = Samples::new();
    for _ in 0..5 {
        world.worker.begin_turn()?;
        let mut reader = peer.command(&wait).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        std::thread::sleep(SETTLE * 10);
        let begun = Instant::now();
        world.worker.end_turn()?;
        run(&mut peer.command(&["ingest", "wren"]))?;
        ensure!(reader.wait()?.success(), "the peer's inbox failed");
        woken.push(ms(begun.elapsed()));
    }
    Ok(woken)
}

/// Messages for an inbox that wait for one pass.
const BACKLOG: usize = 1000;

/// One pass over a backlog.
pub(crate) fn backlog(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let (ours, peer) = (world.ours.copied("backlog")?, world.peer.copied("backlog")?);
    let enqueue = |number: usize| {
        let text = format!("message {number}");
        words(&["enqueue-notify-manager", WOKEN, "--message", &text])
    };
    for number in 0..BACKLOG {
        let line = enqueue(number);
        run(&mut ours.command(&line.iter().map(String::as_str).collect::<Vec<_>>()))?;
    }
    peer.run_all(&(0..BACKLOG).map(enqueue).collect::<Vec<_>>())?;
    let once = ["dispatch", "--once", "--limit", "1000", "--json"];
    let mut passes = Samples::new();
    for round in 0..=3 {
        let copy = ours.copied(&format!("backlog-{round}"))?;
        passes.push(ms(run(&mut copy.command(&once))?.wall));
        // What lies in an inbox stays pending until somebody reads it.
        let pending = copy.report(&["commands", "--state", "pending", "--limit", "2000"])?;
        let routed = |command: &&Value| !command["inbox_at"].is_null();
        let routed = pending.as_array().map_or(0, |all| all.iter().filter(routed).count());
        ensure!(routed >= BACKLOG, "only {routed} of the backlog were routed");
    }
    let theirs = vec![ms(run(&mut peer.command(&once))?.wall)];
    let line = Line::new("`dispatch --once`, 1,000 pending pull deliveries", Figure::P50, "ms", &passes[1..]);
    Ok(vec![line.owes(Budget::AtMost(1000.0)).beside(&theirs)])
}

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(30);

/// A watch over 100 sessions of which none does anything; both programs at once, each on its own.
pub(crate) fn idle(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let ours = Background::spawn(&mut world.ours.command(&["dispatch", "--watch", "--json"]))?;
    let theirs = Background::spawn(&mut world.peer.command(&["dispatch", "--watch"]))?;
    std::thread::sleep(Duration::from_secs(2));
    let (our_start, their_start) = (ours.cpu_ms()?, theirs.cpu_ms()?);
    std::thread::sleep(IDLE);
    let share = |used: f64| 100.0 * used / ms(IDLE);
    let (our_share, their_share) = (share(ours.cpu_ms()? - our_start), share(theirs.cpu_ms()? - their_start));
    Ok(vec![
        Line::new("idle `dispatch --watch`, 100 sessions, 30 s: processor", Figure::P50, "%", &[our_share])
            // Less than what is shown as 0.0.
            .owes(Budget::AtMost(0.05))
            .beside(&vec![their_share]),
        Line::new("idle `dispatch --watch`: memory", Figure::P50, "MiB", &[ours.resident_mib()?])
            .owes(Budget::AtMost(15.0))
            .beside(&vec![theirs.resident_mib()?]),
    ])
}
