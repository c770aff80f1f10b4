//! What was done, or would be.

use conveyor_engine::verb::Answer;
use conveyor_model::redact::redact;
use serde::Serialize;
use serde_json::json;

use super::Setting;
use super::config::Planned;
use super::config::Undone;
use super::record::Record;
use super::skill;
use super::skill::Skill;
use super::state_of;
use crate::mcp::install::codex::Home;

/// What is done to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is put in place.
    Installed,
    /// Another version of it is replaced.
    Updated,
    /// It is there already.
    Unchanged,
    /// It is taken away.
    Removed,
    /// It is not there.
    Absent,
    /// Somebody else wrote or changed it: it stays.
    Left,
}

/// What was done, or would be.
#[derive(Serialize)]
pub(super) struct Report {
    codex_home: String,
    dry_run: bool,
    /// Whether this call changed anything, or would.
    changed: bool,
    /// The skill.
    skill: Part,
    /// The MCP server.
    mcp: Part,
    /// The terminal's title.
    terminal_title: Part,
    /// The configuration as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    /// What stays because somebody else wrote or changed it.
    left: Vec<String>,
    /// What changes.
    pub(super) diff: String,
    #[serde(skip)]
    is_setup: bool,
}

/// One of the three things.
#[derive(Serialize)]
struct Part {
    /// Where it stands.
    target: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Report {
    /// Of setup.
    pub(super) fn setup(
        home: &Home,
        record: &Record,
        skill: &Skill,
        planned: &Planned,
        diff: String,
        dry_run: bool,
    ) -> Self {
        let [(_, before, after), (_, title, wanted)] = &planned.settings;
        let mut left: Vec<String> = skill.left().into_iter().collect();
        if planned.title_is_users {
            left.push(format!(
                "{} is yours and stays; add \"thread-id\" to it, so that conveyor can prove which pane shows which \
                 session of Codex's shared daemon",
                Setting::Title.name()
            ));
        }
        let title_state =
            if planned.title_is_users { State::Left } else { state_of(title.as_deref(), wanted.as_deref()) };
        let mut server = part(home, state_of(before.as_deref(), after.as_deref()));
        server.value = Some(planned.entry.line());
        let report = Self {
            codex_home: home.path().display().to_string(),
            dry_run,
            changed: false,
            skill: Part { target: skill.target().display().to_string(), state: skill.state(), value: None },
            mcp: server,
            terminal_title: Part { value: wanted.clone(), ..part(home, title_state) },
            backup: Some(record.backup().display().to_string()),
            left,
            diff,
            is_setup: true,
        };
        Self { changed: report.changes(), ..report }
    }

    /// Of uninstall.
    pub(super) fn uninstall(
        home: &Home,
        skill: &Skill,
        undone: &Undone,
        diff: String,
        dry_run: bool,
    ) -> Self {
        let state = |setting| match () {
            () if undone.removed.contains(&setting) => State::Removed,
            () if undone.left.contains(&setting) => State::Left,
            () => State::Absent,
        };
        let config = home.config();
        let of_settings = undone
            .left
            .iter()
            .map(|setting| format!("{} in {} was changed since and stays", setting.name(), config.display()));
        let left = skill.left().into_iter().chain(of_settings).collect();
        let report = Self {
            codex_home: home.path().display().to_string(),
            dry_run,
            changed: false,
            skill: Part {
                target: skill.target().display().to_string(),
                state: skill.state_gone(),
                value: None,
            },
            mcp: part(home, state(Setting::Server)),
            terminal_title: part(home, state(Setting::Title)),
            backup: None,
            left,
            diff,
            is_setup: false,
        };
        Self { changed: report.changes(), ..report }
    }

    fn changes(&self) -> bool {
        [self.skill.state, self.mcp.state, self.terminal_title.state]
            .iter()
            .any(|state| matches!(state, State::Installed | State::Updated | State::Removed))
    }

    /// The report for both forms.
    pub(super) fn answer(&self) -> Answer {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        redact(&mut json);
        Answer { json, text: Some(self.text()), exit_code: 0 }
    }

    fn text(&self) -> String {
        let word = |state: State| match state {
            State::Installed => "installed",
            State::Updated => "brought up to date",
            State::Unchanged => "there already",
            State::Removed => "removed",
            State::Absent => "not there",
            State::Left => "left as it is",
        };
        let mut text = self.diff.clone();
        for (name, part) in
            [("skill", &self.skill), ("MCP server", &self.mcp), ("terminal title", &self.terminal_title)]
        {
            text.push_str(&format!("{name}: {}\n", word(part.state)));
        }
        for left in &self.left {
            text.push_str(&format!("left: {left}\n"));
        }
        text.push_str(match (self.dry_run, self.changed, self.is_setup) {
            (true, _, _) => "Nothing was changed (dry run).\n",
            (false, false, _) => "Nothing was to be changed.\n",
            (false, true, true) => "Set up. Sessions see it after their next start.\n",
            (false, true, false) => "Uninstalled. Sessions that run keep what they have until they end.\n",
        });
        text
    }
}

/// A setting of the configuration.
fn part(home: &Home, state: State) -> Part {
    Part { target: home.config().display().to_string(), state, value: None }
}

/// The report of `install-skills`, in the contract's form.
pub(super) fn skills(home: &Home, skill: &Skill, dry_run: bool) -> Answer {
    let target = skill.target().parent().unwrap_or(skill.target());
    let json = json!({
        "codex_home": home.path(),
        "dry_run": dry_run,
        "skills": [{
            "name": skill::NAME,
            "source": format!("conveyor:{}", skill::NAME),
            "target": target,
            "state": skill.state(),
            "version": env!("CARGO_PKG_VERSION"),
            "left": skill.left(),
        }],
    });
    let done = match (skill.state(), dry_run) {
        (State::Installed, false) => "installed",
        (State::Updated, false) => "brought up to date",
        (State::Installed | State::Updated, true) => "would be written (dry run)",
        (State::Left, _) => "left as it is",
        (State::Unchanged | State::Removed | State::Absent, _) => "there already",
    };
    let left = skill.left().map(|left| format!("left: {left}\n")).unwrap_or_default();
    Answer {
        json,
        text: Some(format!("{}: {done}\n{}\n{left}", skill::NAME, target.display())),
        exit_code: 0,
    }
}
