//! `conveyor demo`: a manager and a worker from the first start to the last stop, in a world of their own, with the proof
//! of each step.
//!
//! The demo is a user like any other: it runs this program's own command lines and reads what they answer. Everything it
//! makes lies in one folder and is gone afterwards.

mod cast;
mod narrator;
mod proof;
mod stage;
mod story;
mod sweep;

use std::process::ExitCode;

use anyhow::Context;
use anyhow::anyhow;
use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::builder::EnumValueParser;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use self::cast::Agent;
use self::cast::Cast;
use self::stage::Stage;
use crate::output;

/// The subcommand.
pub(crate) fn command() -> Command {
    let agent = Arg::new("agent")
        .long("agent")
        .value_parser(EnumValueParser::<Agent>::new())
        .help("Which agents play; Codex where it is installed, else the simulated ones");
    let keep = Arg::new("keep").long("keep").action(ArgAction::SetTrue).help("Keep the folder to look at it");
    Command::new("demo")
        .about("Show a manager and a worker at work, each step with its proof")
        .long_about(
            "Show a manager and a worker at work, each step with its proof\n\n\
             Two agents run in panes of a tmux server of their own, with a home, a Codex folder and a ledger of their \
             own and a model that is built in: no account is needed, nothing is paid, and nothing of yours is touched. \
             Each command that is shown is the one that a user would type. All is gone afterwards.",
        )
        .arg(agent)
        .arg(keep)
}

/// Shows it. The exit code is 1 when a proof is missing, and the reason is told.
pub(crate) fn run(program: &'static str, matches: &ArgMatches) -> ExitCode {
    let asked = matches.get_one::<Agent>("agent").copied();
    match play(asked, matches.get_flag("keep")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!(
                "{program}: the demo failed: {}\n",
                output::clean(&format!("{error:#}"))
            ));
            ExitCode::FAILURE
        }
    }
}

fn play(asked: Option<Agent>, keep: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // From here on a signal is a wish to clean up, whenever it comes.
        let mut signals = Signals::listen()?;
        let stage = Stage::new(Cast::choose(asked)?)?;
        let told = tokio::select! {
            told = story::tell(&stage) => told,
            () = signals.any() => Err(anyhow!("stopped by a signal")),
        };
        let cleared = stage.clear(keep).await.context("cleaning up");
        told.and(cleared)
    })
}

/// Ctrl-C and other wishes to end. Once listened to they end nothing by themselves, so that cleaning up is not cut short.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Waits for one of them.
    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
