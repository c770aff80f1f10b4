//! Help: verbs under the purpose that they serve, and what is said of wrong usage.

use std::fmt::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use conveyor_engine::Environment;
use conveyor_engine::VERBS;
use conveyor_engine::verb::Entry;
use conveyor_engine::verb::Group;
use conveyor_model::Error;

use crate::output;
use crate::output::Chosen;

/// The page that `--help` without a verb shows.
pub(crate) fn overview(program: &str) -> String {
    let mut page = format!(
        "Supervise coding-agent sessions durably, with proof of each delivery.\n\nUsage: {program} <VERB> [ARGUMENTS]\n"
    );
    for group in Group::ALL {
        let _ = write!(page, "\n{}:\n", group.heading());
        for entry in VERBS.iter().filter(|entry| entry.group == group) {
            let _ = writeln!(page, "  {:<24} {}", entry.name, summary(entry));
        }
    }
    let _ = write!(
        page,
        "\nAlso:\n  {:<24} Tell Codex of conveyor: the skill, the MCP server, the terminal title\n  {:<24} Undo that\n  \
         {:<24} Put only the skill for agents into Codex's folder\n  \
         {:<24} Show a manager and a worker at work, each step with its proof\n  {:<24} Serve the tools for agents over MCP; `mcp install` tells Codex of it\n  \
         {:<24} Print completions for a shell\n  {:<24} Print the version\n\n\
         `{program} <VERB> --help` tells what a verb does and takes. Each verb takes --json, --text and --db.\n",
        "setup", "uninstall", "install-skills", "demo", "mcp", "completions <SHELL>", "--version"
    );
    page
}

/// The first line of a verb's help.
fn summary(entry: &Entry) -> String {
    (entry.command)().get_about().map(ToString::to_string).unwrap_or_default()
}

/// Shows help that was asked for, or an error of usage.
pub(crate) fn report(program: &str, verb: Option<&Entry>, error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::print(&error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::complain(&error.render().to_string());
            ExitCode::from(2)
        }
        _ => usage(program, verb, error),
    }
}

/// An error of usage, in the form that the verb's answers have.
fn usage(program: &str, verb: Option<&Entry>, error: &clap::Error) -> ExitCode {
    let told = Told::of(&error.render().to_string());
    let help = match verb {
        Some(verb) => format!("{program} {} --help", verb.name),
        None => format!("{program} --help"),
    };
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    let shown = match (verb, Environment::capture()) {
        (Some(verb), Ok(environment)) => {
            output::shown(Chosen { json: wants_json, text: false }, verb.form, &environment)
        }
        _ if wants_json => output::Shown::Json,
        _ => output::Shown::Text,
    };
    let message = match (shown, told.usage) {
        (output::Shown::Text, Some(usage)) => format!("{}\n{usage}", told.message),
        (output::Shown::Text | output::Shown::Json, _) => told.message,
    };
    // A value that we refused ourselves says what is allowed.
    let own = std::error::Error::source(error).and_then(|own| own.downcast_ref::<Error>());
    let tip = own.and_then(|own| own.hint.clone()).or(told.tip);
    let hint = tip.map_or_else(|| help.clone(), |tip| format!("{tip}; {help}"));
    output::fail(program, shown, &Error::usage(message).hint(hint))
}

/// What clap says of wrong usage, taken apart.
struct Told {
    /// What is wrong, in one line.
    message: String,
    /// How the verb is used.
    usage: Option<String>,
    /// What was probably meant.
    tip: Option<String>,
}

impl Told {
    fn of(rendered: &str) -> Self {
        let mut told = Self { message: String::new(), usage: None, tip: None };
        for paragraph in rendered.split("\n\n").map(str::trim) {
            let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some(message) = line.strip_prefix("error: ") {
                message.clone_into(&mut told.message);
            } else if line.starts_with("Usage: ") {
                told.usage = Some(paragraph.to_owned());
            } else if let Some(tip) = line.strip_prefix("tip: ") {
                told.tip.get_or_insert_with(|| tip.to_owned());
            }
        }
        told
    }
}
