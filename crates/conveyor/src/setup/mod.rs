//! `setup`, `uninstall` and `install-skills`: what a user's Codex needs in order to know of conveyor, put in place by one
//! command and taken away by another.
//!
//! Three things: the skill, which users' prompts name; the MCP server, through which a sandboxed agent acts; and the thread
//! id in the terminal's title, by which a pane of the shared daemon is proved. What was there before is written down
//! before anything changes, so that a call that was killed in the middle is mended by either command.

mod arguments;
mod config;
mod record;
mod report;
mod skill;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::ArgMatches;
use conveyor_model::Result;

pub(crate) use self::arguments::install_skills_command;
pub(crate) use self::arguments::setup_command;
pub(crate) use self::arguments::uninstall_command;
use self::config::Planned;
use self::config::Setting;
use self::config::Undone;
use self::record::Kept;
use self::record::Record;
use self::report::Report;
use self::report::State;
use self::skill::Skill;
use crate::mcp::install::Call;
use crate::mcp::install::codex::Home;
use crate::mcp::install::consent::Consent;
use crate::mcp::install::diff;
use crate::mcp::install::run;

/// `setup`
pub(crate) fn setup(program: &'static str, matches: &ArgMatches) -> ExitCode {
    run(program, matches, |call| Ok(put_in_place(call)?.answer()))
}

/// `uninstall`
pub(crate) fn uninstall(program: &'static str, matches: &ArgMatches) -> ExitCode {
    run(program, matches, |call| Ok(take_away(call)?.answer()))
}

/// `install-skills`
pub(crate) fn install_skills(program: &'static str, matches: &ArgMatches) -> ExitCode {
    run(program, matches, |call| {
        let home = call.home()?;
        let skill = Skill::look(home.path())?;
        if !call.dry_run() {
            skill.install()?;
        }
        Ok(report::skills(&home, &skill, call.dry_run()))
    })
}

impl Call<'_> {
    fn dry_run(&self) -> bool {
        self.matches.get_flag("dry-run")
    }

    /// Shows what changes and asks for it.
    fn ask(&self, diff: &str, home: &Home) -> Result<()> {
        let given = self.matches.get_flag("yes");
        Consent { given, form: self.shown }.ask(diff, home.path(), self.program)
    }
}

/// Puts the three in place: whatever is missing of them, and nothing else.
fn put_in_place(call: &Call) -> Result<Report> {
    let home = call.home()?;
    let skill = Skill::look(home.path())?;
    let record = Record::of(&home);
    let kept = record.load()?;
    let current = config::read(&home)?;
    let planned = config::plan(call, &home, current.as_deref())?;
    let diff = change(call, &home, current.as_deref(), Some(&planned.text), &planned) + &skill.shown();
    let changes_config = current.as_deref() != Some(planned.text.as_str());
    let report = Report::setup(&home, &record, &skill, &planned, diff, call.dry_run());
    if call.dry_run() || !(changes_config || skill.is_to_be_written()) {
        return Ok(report);
    }
    call.ask(&report.diff, &home)?;
    let before = match &kept {
        Some(kept) => config::undo(current.as_deref(), kept, &home)?.text,
        None => current.clone(),
    };
    let created = kept.as_ref().is_some_and(|kept| kept.created_skills) || skill.makes_folder();
    let after = planned.text.clone();
    // Written down first: whoever is killed after this finds here what there was.
    record.save(&Kept { before, after, created_skills: created })?;
    if changes_config {
        config::replace(&home, current.as_deref(), Some(&planned.text))?;
    }
    skill.install()?;
    Ok(report)
}

/// Takes away what setup put in place, and nothing that somebody changed since.
fn take_away(call: &Call) -> Result<Report> {
    let home = call.home()?;
    let skill = Skill::look(home.path())?;
    let record = Record::of(&home);
    let kept = record.load()?;
    let current = config::read(&home)?;
    let undone = match &kept {
        Some(kept) => config::undo(current.as_deref(), kept, &home)?,
        None => Undone::nothing(current.clone()),
    };
    let shown = diff::unified(
        current.as_deref().unwrap_or_default(),
        undone.text.as_deref().unwrap_or_default(),
        &home.config(),
    );
    let config_stays = current == undone.text;
    let diff = if config_stays { String::new() } else { shown } + &skill.shown_gone();
    let report = Report::uninstall(&home, &skill, &undone, diff, call.dry_run());
    if call.dry_run() {
        return Ok(report);
    }
    if !report.diff.is_empty() {
        call.ask(&report.diff, &home)?;
    }
    if !config_stays {
        config::replace(&home, current.as_deref(), undone.text.as_deref())?;
    }
    skill.remove(kept.as_ref().is_some_and(|kept| kept.created_skills))?;
    record.remove()?;
    Ok(report)
}

/// What changes in the configuration, as it may be shown: a ledger's address without its password.
fn change(call: &Call, home: &Home, before: Option<&str>, after: Option<&str>, planned: &Planned) -> String {
    if before == after {
        return String::new();
    }
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let diff = diff::unified(before, after, &home.config());
    crate::mcp::install::without_password(&diff, &planned.entry, &call.environment)
}

/// What is done to a setting, seen from its text before and after.
fn state_of(before: Option<&str>, after: Option<&str>) -> State {
    match (before, after) {
        (None, Some(_)) => State::Installed,
        (Some(_), None) => State::Removed,
        (Some(before), Some(after)) if before != after => State::Updated,
        (Some(_), Some(_)) => State::Unchanged,
        (None, None) => State::Absent,
    }
}
