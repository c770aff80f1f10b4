//! `mcp install` and `mcp uninstall`: Codex is told of the server, or is told to forget it, by Codex's own command, after
//! the change was shown.

pub(crate) mod codex;
pub(crate) mod consent;
pub(crate) mod diff;
pub(crate) mod document;
pub(crate) mod entry;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use codex::Codex;
use codex::Home;
use codex::rehearse;
use consent::Consent;
use conveyor_engine::Environment;
use conveyor_engine::locate;
use conveyor_engine::verb::Answer;
use conveyor_engine::verb::Form;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Retry;
use entry::Entry;
use report::Report;

use super::NAME;
use super::db;
use crate::output;
use crate::output::Chosen;
use crate::output::Shown;

/// The subcommand that serves, and in front of these two.
const GROUP: &str = "mcp";

/// `mcp install`
pub(super) fn install_command() -> Command {
    let approve = Arg::new("approve-tools")
        .long("approve-tools")
        .action(ArgAction::SetTrue)
        .help("Let sessions call each tool without asking a person first");
    let approve = approve.long_help(
        "Let sessions call each tool without asking a person first\n\n\
         Codex asks before tools that act on other agents or their processes. A session that never asks (`-a never`) \
         cannot call these at all unless this is set: the call fails. Tools that only read, or only write to the \
         ledger, never ask. Adds `default_tools_approval_mode = \"approve\"` to the entry.",
    );
    shared(Command::new("install").about("Tell Codex of this server").long_about(
        "Tell Codex of this server\n\n\
         Shows what changes in Codex's config.toml, asks, and lets `codex mcp add` do it. Sessions that run already \
         see the tools after their next start.",
    ))
    .arg(db())
    .arg(approve)
}

/// `mcp uninstall`
pub(super) fn uninstall_command() -> Command {
    shared(Command::new("uninstall").about("Let Codex forget this server").long_about(
        "Let Codex forget this server\n\n\
         Shows what changes in Codex's config.toml, asks, and lets `codex mcp remove` do it. An entry of the same name \
         that starts another program is left alone.",
    ))
}

/// What both take.
fn shared(command: Command) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    command
        .arg(
            Arg::new("codex-home")
                .long("codex-home")
                .value_name("DIR")
                .help("Codex's folder, instead of CODEX_HOME or ~/.codex"),
        )
        .arg(flag("yes").short('y').help("Do not ask"))
        .arg(flag("json").help("Print JSON"))
        .arg(flag("text").conflicts_with("json").help("Print text"))
}

/// Installs.
pub(super) fn install(program: &'static str, matches: &ArgMatches) -> ExitCode {
    run(program, matches, |call| Ok(add(call)?.answer()))
}

/// Uninstalls.
pub(super) fn uninstall(program: &'static str, matches: &ArgMatches) -> ExitCode {
    run(program, matches, |call| Ok(remove(call)?.answer()))
}

/// Carries out a command that changes what Codex is told, and shows its report.
pub(crate) fn run(program: &'static str, matches: &ArgMatches, act: fn(&Call) -> Result<Answer>) -> ExitCode {
    let environment = match Environment::capture() {
        Ok(environment) => environment,
        Err(error) => return output::fail(program, Shown::Text, &error),
    };
    let chosen = Chosen { json: matches.get_flag("json"), text: matches.get_flag("text") };
    let shown = output::shown(chosen, Form::Json, &environment);
    let call = Call { program, matches, shown, environment };
    match act(&call) {
        Ok(answer) => output::show(shown, &answer),
        Err(error) => output::fail(program, shown, &error),
    }
}

/// Such a command, as it was called.
pub(crate) struct Call<'a> {
    pub(crate) program: &'static str,
    pub(crate) matches: &'a ArgMatches,
    pub(crate) shown: Shown,
    pub(crate) environment: Environment,
}

impl Call<'_> {
    /// Codex's folder.
    pub(crate) fn home(&self) -> Result<Home> {
        let path = match self.matches.get_one::<String>("codex-home") {
            Some(path) => self.environment.absolute(path)?,
            None => self.environment.codex_home()?,
        };
        let home = Home::new(self.environment.cwd.join(path));
        home.check()?;
        Ok(home)
    }

    /// A change, tried on a copy.
    fn rehearse(
        &self,
        home: &Home,
        before: String,
        entry: &Entry,
        make: impl FnOnce(&Home) -> Result<()>,
    ) -> Result<Change> {
        let after = rehearse(&before, make)?;
        let diff =
            without_password(&diff::unified(&before, &after, &home.config()), entry, &self.environment);
        Ok(Change { before, after, diff })
    }

    /// Shows a change, asks for it, makes it, and makes sure that it is the one that was shown.
    fn apply(&self, home: &Home, change: &Change, make: impl FnOnce() -> Result<()>) -> Result<()> {
        Consent { given: self.matches.get_flag("yes"), form: self.shown }.ask(
            &change.diff,
            &home.config(),
            self.program,
        )?;
        if home.read()? != change.before {
            return Err(changed_meanwhile(home));
        }
        make()?;
        if home.read()? == change.after {
            return Ok(());
        }
        let path = home.config();
        Err(Error::environment(format!("{} holds something else than what was shown", path.display()))
            .hint("look at it; another program may have changed it at the same time")
            .retry(Retry::Unknown))
    }
}

/// The text is not what was shown.
pub(crate) fn changed_meanwhile(home: &Home) -> Error {
    Error::conflict(format!("{} changed meanwhile", home.config().display())).hint("run this again")
}

/// A change of the configuration.
struct Change {
    before: String,
    after: String,
    /// Both compared, as it may be shown.
    diff: String,
}

/// Adds or brings up to date.
fn add(call: &Call) -> Result<Report> {
    let codex = Codex::find(&call.environment)?;
    let home = call.home()?;
    let before = home.read()?;
    let old = document::entry(&before, &home)?;
    if let Some(foreign) = old.as_ref().filter(|old| !old.is_ours()) {
        return Err(taken(foreign, &home));
    }
    let approve = call.matches.get_flag("approve-tools");
    let db = call.matches.get_one::<String>("db").map(String::as_str);
    let wanted = wanted(&call.environment, db, &home)?.over(old.as_ref(), approve);
    if old.as_ref() == Some(&wanted) {
        return Ok(Report::unchanged(&home, true, &wanted));
    }
    let change = call.rehearse(&home, before, &wanted, |copy| put(&codex, copy, &wanted))?;
    call.apply(&home, &change, || put(&codex, &home, &wanted))?;
    Ok(Report::changed(&home, true, &wanted, change.diff))
}

/// Removes.
fn remove(call: &Call) -> Result<Report> {
    let codex = Codex::find(&call.environment)?;
    let home = call.home()?;
    let before = home.read()?;
    let Some(old) = document::entry(&before, &home)? else {
        return Ok(Report::absent(&home));
    };
    if !old.is_ours() {
        return Err(taken(&old, &home));
    }
    let change = call.rehearse(&home, before, &old, |copy| codex.remove(copy))?;
    call.apply(&home, &change, || codex.remove(&home))?;
    Ok(Report::changed(&home, false, &old, change.diff))
}

/// Lets Codex write the entry, then adds what its command knows no option for.
fn put(codex: &Codex, home: &Home, wanted: &Entry) -> Result<()> {
    codex.add(home, wanted)?;
    let written = home.read()?;
    let completed = document::complete(&written, wanted, home)?;
    if completed == written { Ok(()) } else { home.write(&completed) }
}

/// The entry as this program wants it.
pub(crate) fn wanted(environment: &Environment, db: Option<&str>, home: &Home) -> Result<Entry> {
    let mut args = vec![GROUP.to_owned()];
    if let Some(db) = db {
        args.extend(["--db".to_owned(), ledger(environment, db)?]);
    }
    Ok(Entry::new(&executable(environment), args, entry::environment(environment, home.path())))
}

/// A ledger as the entry names it: absolute, for the server runs in each session's own folder.
fn ledger(environment: &Environment, db: &str) -> Result<String> {
    let location = locate::ledger(environment, None, Some(db))?.location;
    if location.path().is_none() && location.to_string() != db {
        return Err(Error::usage("a password on a command line can be read by every user of this machine")
            .hint("export CONVEYOR_DATABASE_URL, and run this without --db"));
    }
    Ok(location.to_string())
}

/// A diff without the password of the ledger's address that the entry's environment may hold.
pub(crate) fn without_password(diff: &str, entry: &Entry, environment: &Environment) -> String {
    let url = entry.env.get("CONVEYOR_DATABASE_URL");
    let shown = url.and_then(|url| Some((url, locate::ledger(environment, None, Some(url)).ok()?.location)));
    shown.map_or_else(|| diff.to_owned(), |(url, location)| diff.replace(url, &location.to_string()))
}

/// This program by the name under which PATH finds it, which outlives an upgrade, else by its own path.
fn executable(environment: &Environment) -> PathBuf {
    let own = &environment.executable;
    let named =
        environment.find_program(NAME).filter(|named| named.canonicalize().ok() == own.canonicalize().ok());
    named.unwrap_or_else(|| own.clone())
}

/// The name is in use for something else.
pub(crate) fn taken(entry: &Entry, home: &Home) -> Error {
    Error::conflict(format!(
        "the entry `{NAME}` in {} starts `{}`, which is not this program",
        home.config().display(),
        entry.line()
    ))
    .hint(format!("rename that entry, or remove it: codex mcp remove {NAME}"))
}
