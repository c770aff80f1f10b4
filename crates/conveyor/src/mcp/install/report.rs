//! What was done to Codex's configuration.

use conveyor_engine::verb::Answer;
use conveyor_model::redact::redact;
use serde::Serialize;

use super::codex::Home;
use super::entry::Entry;

/// What was done.
#[derive(Serialize)]
pub(super) struct Report {
    /// Whether Codex knows the server now.
    installed: bool,
    /// Whether this call changed that.
    changed: bool,
    /// Codex's configuration.
    config: String,
    /// What Codex starts, or started.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// Whether sessions call every tool without asking.
    approve_tools: bool,
    /// Keys of the entry that install never wrote: kept by install, gone after uninstall.
    set_by_user: Vec<String>,
    /// The change of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

impl Report {
    /// The entry was written or removed.
    pub(super) fn changed(home: &Home, installed: bool, entry: &Entry, diff: String) -> Self {
        Self { changed: true, diff: Some(diff), ..Self::unchanged(home, installed, entry) }
    }

    /// The entry was there already, just so.
    pub(super) fn unchanged(home: &Home, installed: bool, entry: &Entry) -> Self {
        Self {
            installed,
            changed: false,
            config: home.config().display().to_string(),
            command: Some(entry.line()),
            approve_tools: installed && entry.approves(),
            set_by_user: entry.set_by_others(),
            diff: None,
        }
    }

    /// There was no entry to remove.
    pub(super) fn absent(home: &Home) -> Self {
        Self {
            installed: false,
            changed: false,
            config: home.config().display().to_string(),
            command: None,
            approve_tools: false,
            set_by_user: Vec::new(),
            diff: None,
        }
    }

    /// The report for both forms.
    pub(super) fn answer(&self) -> Answer {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        redact(&mut json);
        Answer { json, text: Some(self.text()), exit_code: 0 }
    }

    fn text(&self) -> String {
        let diff = self.diff.as_deref().unwrap_or_default();
        let user = match (self.set_by_user.join(", "), self.installed) {
            (keys, _) if keys.is_empty() => String::new(),
            (keys, true) => format!("Kept what somebody else set: {keys}.\n"),
            (keys, false) if self.changed => format!("Gone with it, set by somebody else: {keys}.\n"),
            (_, false) => String::new(),
        };
        let done = match (self.installed, self.changed) {
            (true, true) => "Installed. Sessions see the tools after their next start.",
            (true, false) => "Already installed.",
            (false, true) => "Uninstalled. Sessions that run keep the tools until they end.",
            (false, false) => "Not installed.",
        };
        format!("{diff}{user}{done}\nConfiguration: {}\n", self.config)
    }
}
