//! A message to a real Codex until its own record holds it.

use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;

use crate::measure::Samples;
use crate::measure::ms;
use crate::sides::Conveyor;
use crate::sides::Peer;
use crate::sides::words;
use crate::table::Budget;
use crate::table::Figure;
use crate::table::Line;
use crate::world::World;

const ROUNDS: usize = 20;

/// What one nudge took.
struct Nudged {
    recorded: f64,
    returned: f64,
}

/// Both programs in turn into the same idle session.
pub(crate) fn nudge(world: &mut World) -> anyhow::Result<Vec<Line>> {
    let codex = Codex::start(Flavour::Embedded)?;
    codex.submit("Hello.")?;
    codex.wait_idle()?;
    let rollout = codex.rollouts()?.pop().context("the session has no rollout")?;
    let ours = Conveyor::new(&made(&world.folder, "nudge-conveyor")?, codex.tmux.tmpdir());
    ours.report(&["register-worker", "--name", "wren", "--tmux-session", "codex"])?;
    let peer = Peer::new(&made(&world.folder, "nudge-peer")?, codex.tmux.tmpdir());
    let mut register = Peer::register("worker", "wren", &rollout);
    register.extend(words(&["--tmux-session", "codex"]));
    peer.run_all(&[register])?;
    let (mut proved, mut recorded, mut theirs) = (Samples::new(), Samples::new(), Samples::new());
    for round in 0..=ROUNDS {
        codex.wait_idle()?;
        let text = format!("Nudge {round} of conveyor.");
        let done = one(
            &mut ours.command(&["session-nudge", "wren", &text, "--wait-for", "recorded"]),
            &rollout,
            &text,
        )?;
        proved.push(done.returned);
        recorded.push(done.recorded);
        codex.wait_idle()?;
        let text = format!("Nudge {round} of the peer.");
        theirs.push(one(&mut peer.command(&["session-nudge", "wren", &text]), &rollout, &text)?.recorded);
    }
    codex.quit()?;
    Ok(vec![
        Line::new("nudge → recorded by a real Codex, and proved", Figure::P50, "ms", &proved[1..])
            .owes(Budget::AtMost(400.0))
            .note("until `session-nudge --wait-for recorded` returns; the peer proves nothing"),
        Line::new("nudge → in the record, seen from outside", Figure::P50, "ms", &recorded[1..])
            .beside(&theirs[1..].to_vec()),
    ])
}

fn made(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs a nudge and watches the rollout beside it.
fn one(command: &mut Command, rollout: &Path, text: &str) -> anyhow::Result<Nudged> {
    let mut record = std::fs::File::open(rollout)?;
    record.seek(SeekFrom::End(0))?;
    let (mut seen, mut recorded, mut returned) = (Vec::new(), None, None);
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    while recorded.is_none() || returned.is_none() {
        ensure!(begun.elapsed() < Duration::from_secs(20), "{text:?} is not in the record");
        if returned.is_none()
            && let Some(status) = child.try_wait()?
        {
            returned = Some(ms(begun.elapsed()));
            let told = std::io::read_to_string(child.stderr.take().context("stderr is piped")?)?;
            ensure!(status.success(), "{command:?}: {told}");
        }
        record.read_to_end(&mut seen)?;
        if recorded.is_none() && holds(&seen, text) {
            recorded = Some(ms(begun.elapsed()));
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(Nudged { recorded: recorded.context("recorded")?, returned: returned.context("returned")? })
}

fn holds(seen: &[u8], text: &str) -> bool {
    seen.windows(text.len()).any(|part| part == text.as_bytes())
}
