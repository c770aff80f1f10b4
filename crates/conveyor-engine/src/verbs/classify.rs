//! `classify`: what a captured screen shows, by the rules that conveyor itself acts on.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::pane;
use conveyor_model::pane::Classification;
use conveyor_model::pane::Notable;
use conveyor_model::pane::Screen;
use conveyor_model::pane::Tried;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Longest capture that is read: a screen of 1,000 rows of 1,000 cells.
const CAPTURE_BYTES: u64 = 4 * 1024 * 1024;

/// Say what a captured screen shows
///
/// Reads a capture of a pane, with or without its colours (`tmux capture-pane -p -e`), from `--text`, `--file` or
/// standard input, and reports its kind, what the composer holds, and which rule decided on which line.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct ClassifyRequest {
    /// The capture itself
    #[arg(long, allow_hyphen_values = true)]
    pub text: Option<String>,
    /// A file that holds the capture
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Seconds since the last change of the worker's state
    #[arg(long, default_value_t = seconds())]
    #[serde(default = "seconds")]
    pub status_age_seconds: u64,
    /// Seconds after which a running turn is notable
    #[arg(long, default_value_t = seconds())]
    #[serde(default = "seconds")]
    pub busy_wait_seconds: u64,
    /// List each rule that was tried
    #[arg(long)]
    #[serde(default)]
    pub explain: bool,
}

const fn seconds() -> u64 {
    90
}

impl Request for ClassifyRequest {
    fn check(&self) -> Result<()> {
        if self.text.is_some() && self.file.is_some() {
            return Err(Error::usage("a capture is given by --text or by --file, not by both"));
        }
        Ok(())
    }
}

/// What the screen shows.
#[derive(Serialize, JsonSchema, Debug)]
pub struct ClassifyReport {
    /// The contract's notable pattern, if there is one.
    pub busy_wait: Option<Notable>,
    /// As it was asked.
    pub busy_wait_seconds: u64,
    /// As it was asked.
    pub status_age_seconds: u64,
    /// The contract's word for a session that starts: `needs_trust`, `ready`, `working`, `error`, `starting`.
    pub startup: &'static str,
    /// Why that word.
    pub startup_reason: String,
    /// The classification.
    #[serde(flatten)]
    pub seen: Classification,
    /// Each rule that was tried, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<Vec<Tried>>,
}

impl Report for ClassifyReport {}

/// The verb.
pub struct Classify;

impl Verb for Classify {
    const NAME: &'static str = "classify";
    const GROUP: Group = Group::Diagnose;
    const EFFECT: Effect = Effect::Reads;
    type Request = ClassifyRequest;
    type Report = ClassifyReport;

    async fn run(_: &Plane, request: ClassifyRequest) -> Result<ClassifyReport> {
        let screen = Screen::from_ansi(&capture(&request)?);
        let seen = pane::classify(&screen);
        let age = Duration::from_secs(request.status_age_seconds);
        let busy_wait = Duration::from_secs(request.busy_wait_seconds);
        let startup = startup(seen.kind);
        Ok(ClassifyReport {
            busy_wait: pane::notable_pattern(&seen, Some(age), busy_wait, 0),
            busy_wait_seconds: request.busy_wait_seconds,
            status_age_seconds: request.status_age_seconds,
            startup,
            startup_reason: format!("the screen is of the kind {}", seen.kind.as_str()),
            explained: request.explain.then(|| pane::explain(&screen)),
            seen,
        })
    }
}

/// The capture that was asked for.
fn capture(request: &ClassifyRequest) -> Result<String> {
    if let Some(text) = &request.text {
        return Ok(text.clone());
    }
    let read = match &request.file {
        Some(path) => std::fs::File::open(path).and_then(read),
        None => read(std::io::stdin().lock()),
    };
    read.map_err(|error| {
        let name =
            request.file.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
        Error::environment(format!("{name} cannot be read: {error}"))
    })
}

fn read(source: impl Read) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    source.take(CAPTURE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The contract's word for what a starting session's screen shows.
fn startup(kind: pane::Kind) -> &'static str {
    use pane::Kind;
    match kind {
        Kind::TrustPrompt => "needs_trust",
        Kind::Idle | Kind::Compacted => "ready",
        Kind::Busy | Kind::Retrying => "working",
        Kind::RateLimited | Kind::UsageLimited | Kind::ContextFull | Kind::StreamError | Kind::Quit => {
            "error"
        }
        Kind::ApprovalPrompt
        | Kind::McpApprovalPrompt
        | Kind::HooksReviewPrompt
        | Kind::LoginPrompt
        | Kind::UpdatePrompt
        | Kind::PlanPrompt
        | Kind::Picker
        | Kind::Rewind
        | Kind::Reconnecting
        | Kind::Unknown => "starting",
    }
}
