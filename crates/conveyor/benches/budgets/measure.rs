//! Taking measurements: whole processes by the monotonic clock and the kernel's own account of each.

use std::io::Read;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use wait4::Wait4;

/// A process that ended well.
pub(crate) struct Run {
    /// From before the spawn until it was reaped.
    pub(crate) wall: Duration,
    /// Its largest resident set, in bytes.
    pub(crate) peak: u64,
}

/// Runs a command to its end. What it prints is thrown away; why it fails is the error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Run> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let mut told = String::new();
    child.stderr.take().context("stderr is piped")?.read_to_string(&mut told)?;
    let used = child.wait4()?;
    let wall = begun.elapsed();
    if !used.status.success() {
        bail!("{command:?}: {}: {}", used.status, told.trim());
    }
    Ok(Run { wall, peak: used.rusage.maxrss })
}

/// Measurements of one thing, in the unit of its row.
pub(crate) type Samples = Vec<f64>;

/// Measures two in turn, A B A B, so that both meet the same moods of the machine. The first round of each is not counted.
pub(crate) fn in_turn<A, B>(
    rounds: usize,
    mut ours: impl FnMut(usize) -> anyhow::Result<A>,
    mut theirs: impl FnMut(usize) -> anyhow::Result<B>,
) -> anyhow::Result<(Vec<A>, Vec<B>)> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        first.push(ours(round)?);
        second.push(theirs(round)?);
    }
    Ok((first.split_off(1), second.split_off(1)))
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds of each run.
pub(crate) fn walls(runs: &[Run]) -> Samples {
    runs.iter().map(|run| ms(run.wall)).collect()
}

/// The value below which a share of the samples lies (nearest rank). NaN without samples.
pub(crate) fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// A process in the background that is killed when it is dropped.
pub(crate) struct Background(Child);

impl Background {
    /// Starts it with nothing to read and nobody to read it.
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// Processor time so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.0.id()))?;
        let nanoseconds: f64 = text.split_whitespace().next().context("schedstat is empty")?.parse()?;
        Ok(nanoseconds / 1e6)
    }

    /// Resident set now, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
