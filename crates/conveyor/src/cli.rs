//! The command line: finds the verb, parses its arguments, runs it, renders its answer.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_engine::VERBS;
use conveyor_engine::confine;
use conveyor_engine::verb::Answer;
use conveyor_engine::verb::Entry;
use conveyor_model::Error;
use conveyor_model::Result;

use crate::demo;
use crate::help;
use crate::log;
use crate::mcp;
use crate::output;
use crate::output::Chosen;
use crate::output::Shown;
use crate::setup;
use crate::signals;

/// Runs the program with these arguments; the first is its own name.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let program = program_name(args.first());
    if args.get(1).is_some_and(|arg| arg == "--version" || arg == "-V") && args.len() == 2 {
        return output::print(&format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
    }
    if args.get(1).is_some_and(|arg| arg == confine::HELPER) {
        return ExitCode::from(confine::helper());
    }
    let verb = args.get(1).and_then(|word| word.to_str()).and_then(find);
    let matches = match root(program, verb).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return help::report(program, verb, &error),
    };
    match matches.subcommand() {
        Some(("completions", rest)) => completions(program, rest),
        Some(("demo", rest)) => demo::run(program, rest),
        Some(("install-skills", rest)) => setup::install_skills(program, rest),
        Some(("mcp", rest)) => mcp::run(program, rest),
        Some(("setup", rest)) => setup::setup(program, rest),
        Some(("uninstall", rest)) => setup::uninstall(program, rest),
        Some((name, rest)) => find(name).map_or(ExitCode::from(2), |verb| call(program, verb, rest)),
        None => ExitCode::from(2),
    }
}

/// The name in front of messages: what the program was called by, when that is one of its two names.
fn program_name(arg0: Option<&OsString>) -> &'static str {
    let base = arg0.and_then(|path| Path::new(path).file_name());
    if base.is_some_and(|name| name == "workerctl") { "workerctl" } else { "conveyor" }
}

/// The verb that a word calls.
pub(crate) fn find(word: &str) -> Option<&'static Entry> {
    VERBS.iter().find(|entry| entry.is_called(word))
}

/// The whole command line. When the verb is known, only its arguments are built: the others cost start-up time.
pub(crate) fn root(program: &'static str, only: Option<&'static Entry>) -> Command {
    let root = Command::new(program)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Supervise coding-agent sessions durably, with proof of each delivery")
        .subcommand_required(true)
        .subcommand_value_name("VERB")
        .arg_required_else_help(true)
        .infer_long_args(true)
        .disable_help_subcommand(true);
    match only {
        Some(entry) => root.subcommand(subcommand(entry)),
        None => root
            .override_help(help::overview(program))
            .subcommands(VERBS.iter().map(subcommand))
            .subcommand(completions_command())
            .subcommand(demo::command())
            .subcommand(setup::install_skills_command())
            .subcommand(mcp::command())
            .subcommand(setup::setup_command())
            .subcommand(setup::uninstall_command()),
    }
}

/// A verb's own arguments and those that each verb has.
fn subcommand(entry: &Entry) -> Command {
    let db = Arg::new("db")
        .long("db")
        .visible_alias("path")
        .value_name("PATH|URL")
        .global(false)
        .help("The ledger: a SQLite file or a postgres:// URL");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    let text = Arg::new("text")
        .long("text")
        .id("as-text")
        .action(ArgAction::SetTrue)
        .conflicts_with("json")
        .help("Print text");
    let command = (entry.command)();
    let takes_text = command.get_arguments().any(|arg| arg.get_long() == Some("text"));
    let command = command.infer_long_args(true).next_help_heading("Options of each verb").arg(db).arg(json);
    if takes_text { command } else { command.arg(text) }
}

fn completions_command() -> Command {
    let shell = Arg::new("shell").required(true).value_parser(clap::value_parser!(clap_complete::Shell));
    Command::new("completions").about("Print completions for a shell").arg(shell)
}

fn completions(program: &'static str, matches: &ArgMatches) -> ExitCode {
    let Some(shell) = matches.get_one::<clap_complete::Shell>("shell") else {
        return ExitCode::from(2);
    };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut root(program, None), program, &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// Calls a verb with its parsed arguments.
fn call(program: &'static str, verb: &'static Entry, matches: &ArgMatches) -> ExitCode {
    let flag = |id: &str| matches.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false);
    let environment = match Environment::capture() {
        Ok(environment) => environment,
        Err(error) => return output::fail(program, Shown::Text, &error),
    };
    if verb.name == "dispatch" {
        log::to_stderr();
    }
    let chosen = Chosen { json: flag("json"), text: flag("as-text") };
    let shown = output::shown(chosen, verb.form, &environment);
    match answer(verb, matches, environment, shown) {
        Ok((answer, true)) if shown == Shown::Json => output::print(&format!("{}\n", answer.json)),
        Ok((answer, _)) => output::show(shown, &answer),
        Err(error) => output::fail(program, shown, &error),
    }
}

/// An answer, and whether the verb printed line by line before it: then the answer is one more line.
type Answered = (Answer, bool);

/// Runs the verb to its end, or until a signal says otherwise.
fn answer(verb: &Entry, matches: &ArgMatches, environment: Environment, shown: Shown) -> Result<Answered> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::environment(format!("the runtime cannot start: {error}")))?;
    let db = matches.get_one::<String>("db").map(String::as_str);
    let answer = runtime.block_on(until_sound(verb, matches, &environment, db, shown));
    runtime.shutdown_background();
    let _ = std::io::stdout().flush();
    answer
}

/// How often a read is tried again because a writer came by while the file was read without any lock.
const UNSOUND_READS: usize = 3;

/// Runs the verb; again when what it read was changed under it. Only a verb that changes nothing can meet that.
async fn until_sound(
    verb: &Entry,
    matches: &ArgMatches,
    environment: &Environment,
    db: Option<&str>,
    shown: Shown,
) -> Result<Answered> {
    for _ in 0..UNSOUND_READS {
        let plane = Plane::open(environment.clone(), db)?;
        conveyor_engine::caller::admit(&plane, verb).await?;
        plane.listen(Box::new(move |told| output::tell(shown, told)));
        let answer = signals::until_stopped(&plane, (verb.from_args)(&plane, matches)).await;
        let (sound, by_line) = (plane.read_is_sound(), plane.tells_by_line());
        plane.close().await;
        if sound {
            return answer.map(|answer| (answer, by_line));
        }
    }
    Err(Error::ledger("the ledger changed again and again while it was read")
        .hint("run the same command again"))
}
