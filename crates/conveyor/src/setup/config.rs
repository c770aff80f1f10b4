//! What setup writes into Codex's configuration, and how it is taken out again.

use conveyor_model::Error;
use conveyor_model::Result;
use toml_edit::Array;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Table;
use toml_edit::Value;

use super::record::Kept;
use crate::mcp::NAME;
use crate::mcp::install;
use crate::mcp::install::Call;
use crate::mcp::install::changed_meanwhile;
use crate::mcp::install::codex::Home;
use crate::mcp::install::document;
use crate::mcp::install::entry::Entry;

/// What the title shows: `activity` in front, which says busy, idle or that somebody has to act; then the thread.
/// Measured: 0.169 and 0.144 show both from the start, 0.99 knows neither and starts all the same.
const TITLE: [&str; 2] = ["activity", "thread-id"];

/// The item that proves a pane's thread.
const THREAD: &str = "thread-id";

/// One setting that setup makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// The MCP server.
    Server,
    /// The terminal's title.
    Title,
}

impl Setting {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Server, Self::Title];

    /// Table and key.
    const fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Server => ("mcp_servers", NAME),
            Self::Title => ("tui", "terminal_title"),
        }
    }

    /// As a person writes it.
    pub(super) fn name(self) -> String {
        let (table, key) = self.path();
        format!("{table}.{key}")
    }

    /// The setting as it is written, with the comments that lead it.
    pub(super) fn written(self, text: &str, home: &Home) -> Result<Option<String>> {
        Ok(self.literal(&document::parse(text, home)?))
    }

    fn literal(self, document: &DocumentMut) -> Option<String> {
        let (table, key) = self.path();
        let table = document.get(table)?.as_table_like()?;
        let mut alone = DocumentMut::new();
        let written = table.key(key)?.clone();
        alone.as_table_mut().insert_formatted(&written, table.get(key)?.clone());
        Some(alone.to_string().trim().to_owned())
    }
}

/// A configuration as setup wants it.
pub(super) struct Planned {
    /// The text.
    pub(super) text: String,
    /// The server's entry in it.
    pub(super) entry: Entry,
    /// What each setting was, and what it is then.
    pub(super) settings: [(Setting, Option<String>, Option<String>); 2],
    /// The user chose a title without the thread: it stays.
    pub(super) title_is_users: bool,
}

/// The configuration; `None` where there is none.
pub(super) fn read(home: &Home) -> Result<Option<String>> {
    let exists = home.config().symlink_metadata().is_ok();
    exists.then(|| home.read()).transpose()
}

/// The configuration with server and title.
///
/// Not by `codex mcp add`, which writes all other servers anew (measured on 0.169): undone, they would not be as they were.
pub(super) fn plan(call: &Call, home: &Home, current: Option<&str>) -> Result<Planned> {
    let current = current.unwrap_or_default();
    let old = document::entry(current, home)?;
    if let Some(foreign) = old.as_ref().filter(|old| !old.is_ours()) {
        return Err(install::taken(foreign, home));
    }
    let db = call.matches.get_one::<String>("db").map(String::as_str);
    let entry = install::wanted(&call.environment, db, home)?
        .over(old.as_ref(), call.matches.get_flag("approve-tools"));
    let with_server =
        if old.as_ref() == Some(&entry) { current.to_owned() } else { document::put(current, &entry, home)? };
    let (text, title_is_users) = with_title(&with_server, home)?;
    let [server, title] = Setting::ALL;
    let of = |setting: Setting| -> Result<_> {
        Ok((setting, setting.written(current, home)?, setting.written(&text, home)?))
    };
    let settings = [of(server)?, of(title)?];
    Ok(Planned { text, entry, settings, title_is_users })
}

/// The text with the thread in the terminal's title; `true` where the user chose a title without it, which stays.
fn with_title(text: &str, home: &Home) -> Result<(String, bool)> {
    let mut document = document::parse(text, home)?;
    let (table, key) = Setting::Title.path();
    let tui = document.entry(table).or_insert(Item::Table(Table::new()));
    let Some(tui) = tui.as_table_like_mut() else {
        return Ok((text.to_owned(), true));
    };
    if let Some(chosen) = tui.get(key) {
        let shows =
            chosen.as_array().is_some_and(|items| items.iter().any(|one| one.as_str() == Some(THREAD)));
        return Ok((text.to_owned(), !shows));
    }
    tui.insert(key, Item::Value(Value::Array(Array::from_iter(TITLE))));
    Ok((document.to_string(), false))
}

/// A configuration without what setup wrote.
pub(super) struct Undone {
    /// The text; `None` where no file remains.
    pub(super) text: Option<String>,
    /// What was taken out.
    pub(super) removed: Vec<Setting>,
    /// What somebody changed since, and so stays.
    pub(super) left: Vec<Setting>,
}

impl Undone {
    /// Nothing was set up.
    pub(super) fn nothing(text: Option<String>) -> Self {
        Self { text, removed: Vec::new(), left: Vec::new() }
    }
}

/// Takes out what setup wrote: the whole text where nobody touched it since, else each setting that is still as it was
/// written.
pub(super) fn undo(current: Option<&str>, kept: &Kept, home: &Home) -> Result<Undone> {
    let Some(text) = current else { return Ok(Undone::nothing(None)) };
    let before = document::parse(kept.before.as_deref().unwrap_or_default(), home)?;
    let after = document::parse(&kept.after, home)?;
    let mut document = document::parse(text, home)?;
    let (mut removed, mut left) = (Vec::new(), Vec::new());
    for setting in Setting::ALL {
        let (was, made) = (setting.literal(&before), setting.literal(&after));
        match setting.literal(&document) {
            // Setup did nothing, or somebody took it out already.
            _ if was == made => {}
            None => {}
            now if now == made => removed.push(setting),
            Some(_) => left.push(setting),
        }
    }
    if text == kept.after {
        return Ok(Undone { text: kept.before.clone(), removed, left });
    }
    for setting in &removed {
        put_back(&mut document, &before, *setting)?;
    }
    let text = document.to_string();
    let is_gone = kept.before.is_none() && text.trim().is_empty();
    Ok(Undone { text: (!is_gone).then_some(text), removed, left })
}

/// Gives one setting the place that it had; a table that only held it goes with it.
fn put_back(document: &mut DocumentMut, before: &DocumentMut, setting: Setting) -> Result<()> {
    let (name, key) = setting.path();
    let earlier = before.get(name).and_then(Item::as_table_like);
    let Some(table) = document.get_mut(name).and_then(Item::as_table_like_mut) else {
        return Err(Error::environment(format!("`{name}` is no table")));
    };
    match earlier.and_then(|earlier| earlier.get(key)) {
        Some(item) => drop(table.insert(key, item.clone())),
        None => drop(table.remove(key)),
    }
    if table.is_empty() && earlier.is_none() {
        document.remove(name);
    }
    Ok(())
}

/// Puts a configuration in the place of the one that was shown.
pub(super) fn replace(home: &Home, shown: Option<&str>, wanted: Option<&str>) -> Result<()> {
    if read(home)?.as_deref() != shown {
        return Err(changed_meanwhile(home));
    }
    match wanted {
        Some(text) => home.write(text),
        None => std::fs::remove_file(home.config()).map_err(|error| {
            Error::environment(format!("{} cannot be removed: {error}", home.config().display()))
        }),
    }
}
