//! What was measured, beside its budget and the peer, as Markdown and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::Samples;
use crate::measure::quantile;

/// Which number of a set of samples a budget names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    P50,
    P99,
    Largest,
}

impl Figure {
    fn of(self, samples: &[f64]) -> f64 {
        match self {
            Self::P50 => quantile(samples, 0.5),
            Self::P99 => quantile(samples, 0.99),
            Self::Largest => quantile(samples, 1.0),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Largest => "largest",
        }
    }
}

/// What is owed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the table.
#[derive(Serialize)]
pub(crate) struct Line {
    work: String,
    figure: &'static str,
    unit: &'static str,
    budget: Option<f64>,
    measured: f64,
    met: Option<bool>,
    samples: usize,
    least: f64,
    most: f64,
    peer: Option<f64>,
    peer_samples: usize,
    /// How many times better than the peer.
    ratio: Option<f64>,
    note: &'static str,
    #[serde(skip)]
    owes_at_least: bool,
}

impl Line {
    /// A line without a peer.
    pub(crate) fn new(work: impl Into<String>, figure: Figure, unit: &'static str, samples: &[f64]) -> Self {
        Self {
            work: work.into(),
            figure: figure.word(),
            unit,
            budget: None,
            measured: figure.of(samples),
            met: None,
            samples: samples.len(),
            least: quantile(samples, 0.0),
            most: quantile(samples, 1.0),
            peer: None,
            peer_samples: 0,
            ratio: None,
            note: "",
            owes_at_least: false,
        }
    }

    /// What is owed.
    pub(crate) fn owes(mut self, budget: Budget) -> Self {
        (self.budget, self.met) = match budget {
            Budget::AtMost(most) => (Some(most), Some(self.measured <= most)),
            Budget::AtLeast(least) => (Some(least), Some(self.measured >= least)),
        };
        self.owes_at_least = matches!(budget, Budget::AtLeast(_));
        self
    }

    /// The peer at the same work, in the same run, by its median. Less is better unless the budget is a least.
    pub(crate) fn beside(mut self, peer: &Samples) -> Self {
        let theirs = quantile(peer, 0.5);
        let ratio = if self.owes_at_least { self.measured / theirs } else { theirs / self.measured };
        (self.peer, self.peer_samples, self.ratio) = (Some(theirs), peer.len(), Some(ratio));
        self
    }

    /// What has to be known to read it.
    pub(crate) fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    fn markdown(&self) -> String {
        let sign = if self.owes_at_least { "≥ " } else { "" };
        let budget = self.budget.map_or_else(|| "–".to_owned(), |budget| format!("{sign}{}", number(budget)));
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "–",
        };
        let peer = self
            .peer
            .map_or_else(|| "–".to_owned(), |peer| format!("{} ({})", number(peer), self.peer_samples));
        let ratio = self.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", number(ratio)));
        format!(
            "| {} | {} {} | {budget} | {} | {} … {} | {} | {met} | {peer} | {ratio} | {} |",
            self.work,
            self.figure,
            self.unit,
            number(self.measured),
            number(self.least),
            number(self.most),
            self.samples,
            self.note
        )
    }
}

/// The machine and what else it did.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
    pub(crate) seconds: f64,
}

/// Everything.
#[derive(Serialize)]
pub(crate) struct Table {
    pub(crate) machine: Machine,
    pub(crate) lines: Vec<Line>,
    /// Groups whose measurement failed, and why.
    pub(crate) not_measured: Vec<String>,
}

impl Table {
    /// As a page.
    pub(crate) fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut page = format!(
            "# Budgets, measured\n\n`conveyor` {} (release) beside `agent-conveyor` 0.1.0 in the same run, in turn. \
             {} processors, kernel {}; load average {} before, {} after; {:.0} s. How it is measured: docs/bench.md.\n\n\
             | work | figure | budget | conveyor | least … most | runs | | peer (runs) | better by | |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
            env!("CARGO_PKG_VERSION"),
            machine.processors,
            machine.kernel,
            machine.load_before,
            machine.load_after,
            machine.seconds
        );
        for line in &self.lines {
            let _ = writeln!(page, "{}", line.markdown());
        }
        let judged = self.lines.iter().filter(|line| line.met.is_some()).count();
        let met = self.lines.iter().filter(|line| line.met == Some(true)).count();
        let _ = writeln!(page, "\n{met} of {judged} budgets are met.");
        for failed in &self.not_measured {
            let _ = writeln!(page, "\n**Not measured:** {failed}");
        }
        page
    }
}

/// Three significant digits, or whole thousands.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => {
            let whole = value.round() as i64;
            format!("{},{:03}", whole / 1000, whole.abs() % 1000)
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}
