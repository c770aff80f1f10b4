//! Codex's configuration as text with a meaning: read, and changed without touching what is not meant.

use std::collections::BTreeMap;

use conveyor_model::Error;
use conveyor_model::Result;
use toml_edit::Array;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Key;
use toml_edit::Table;
use toml_edit::TableLike;

use super::codex::Home;
use super::entry::Entry;
use crate::mcp::NAME;

/// The table of servers.
const SERVERS: &str = "mcp_servers";

/// This server's entry.
pub(crate) fn entry(text: &str, home: &Home) -> Result<Option<Entry>> {
    Ok(parse(text, home)?
        .get(SERVERS)
        .and_then(|servers| servers.get(NAME))
        .and_then(Item::as_table_like)
        .map(read))
}

/// The same text with what `wanted` holds beside its command line.
pub(crate) fn complete(text: &str, wanted: &Entry, home: &Home) -> Result<String> {
    let mut document = parse(text, home)?;
    let table = document.get_mut(SERVERS).and_then(|servers| servers.get_mut(NAME));
    let Some(table) = table.and_then(Item::as_table_like_mut) else {
        return Err(Error::environment(format!(
            "`codex mcp add` left no entry in {}",
            home.config().display()
        )));
    };
    for (key, item) in &wanted.others {
        *table.entry_format(key).or_insert(Item::None) = item.clone();
    }
    if !wanted.env.is_empty() {
        let variables = wanted.env.iter().map(|(name, value)| (name.clone(), toml_edit::Value::from(value)));
        table.insert("env", Item::Table(variables.collect()));
    }
    Ok(document.to_string())
}

/// The text with this entry and nothing else changed: what is there already keeps its place and its form.
pub(crate) fn put(text: &str, wanted: &Entry, home: &Home) -> Result<String> {
    let mut document = parse(text, home)?;
    let mut servers = Table::new();
    // Without a header of its own where it holds nothing but other tables.
    servers.set_implicit(true);
    let servers = document.entry(SERVERS).or_insert(Item::Table(servers));
    let table = servers
        .as_table_like_mut()
        .and_then(|servers| servers.entry(NAME).or_insert(Item::Table(Table::new())).as_table_like_mut());
    let Some(table) = table else {
        return Err(Error::environment(format!("`{SERVERS}` in {} is no table", home.config().display()))
            .hint("mend it by hand; nothing was changed"));
    };
    let now = read(table);
    if now.command != wanted.command {
        table.insert("command", toml_edit::value(&wanted.command));
    }
    if now.args != wanted.args || !table.contains_key("args") {
        table.insert("args", toml_edit::value(wanted.args.iter().collect::<Array>()));
    }
    for (key, item) in &wanted.others {
        if !now.others.iter().any(|(other, old)| other.get() == key.get() && meaning(old) == meaning(item)) {
            *table.entry_format(key).or_insert(Item::None) = item.clone();
        }
    }
    if now.env != wanted.env {
        let variables = wanted.env.iter().map(|(name, value)| (name.clone(), toml_edit::Value::from(value)));
        table.insert("env", Item::Table(variables.collect()));
    }
    Ok(document.to_string())
}

/// What an item says, whatever its blanks.
fn meaning(item: &Item) -> String {
    item.to_string().trim().to_owned()
}

/// The text as a document.
pub(crate) fn parse(text: &str, home: &Home) -> Result<DocumentMut> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let line = error.message().lines().next().unwrap_or_default().to_owned();
        Error::environment(format!("{} is no valid TOML: {line}", home.config().display()))
            .hint("mend it by hand; nothing was changed")
    })
}

fn read(table: &dyn TableLike) -> Entry {
    let text = |item: &Item| item.as_str().map(str::to_owned);
    let mut entry =
        Entry { command: String::new(), args: Vec::new(), env: BTreeMap::new(), others: Vec::new() };
    for (name, item) in table.iter() {
        match name {
            "command" => entry.command = text(item).unwrap_or_default(),
            "args" => {
                let args = item.as_array().into_iter().flatten();
                entry.args = args.filter_map(|arg| arg.as_str().map(str::to_owned)).collect();
            }
            "env" => {
                let pairs = item.as_table_like().into_iter().flat_map(TableLike::iter);
                entry.env = pairs.filter_map(|(name, value)| Some((name.to_owned(), text(value)?))).collect();
            }
            other => {
                let key = table.key(other).cloned().unwrap_or_else(|| Key::new(other));
                entry.others.push((key, item.clone()));
            }
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "model = \"x\" # mine\n\n[mcp_servers.conveyor]\ncommand = \"/bin/conveyor\"\nargs = [\"mcp\"]\n\
                          # slow\ntool_timeout_sec = 900\n\n[mcp_servers.conveyor.env]\nA = \"b\"\n\n[tui]\n";

    fn home() -> Home {
        Home::new("/codex".into())
    }

    #[test]
    fn an_entry_is_read_with_all_its_keys() {
        let entry = entry(CONFIG, &home()).unwrap().unwrap();
        assert_eq!((entry.line().as_str(), entry.env["A"].as_str()), ("/bin/conveyor mcp", "b"));
        assert_eq!(entry.set_by_others(), ["tool_timeout_sec"]);
        assert!(super::entry("[mcp_servers.other]\n", &home()).unwrap().is_none());
        assert!(super::entry("", &home()).unwrap().is_none());
    }

    #[test]
    fn completing_touches_nothing_else() {
        let wanted = entry(CONFIG, &home()).unwrap().unwrap().over(None, true);
        let bare = CONFIG.replace("# slow\ntool_timeout_sec = 900\n", "");
        let completed = complete(&bare, &wanted, &home()).unwrap();
        let added: Vec<&str> =
            completed.lines().filter(|line| !bare.lines().any(|old| old == *line)).collect();
        assert_eq!(added, ["# slow", "tool_timeout_sec = 900", "default_tools_approval_mode = \"approve\""]);
        assert_eq!(complete(&completed, &wanted, &home()).unwrap(), completed);
    }

    #[test]
    fn a_broken_configuration_is_left_alone() {
        let error = entry("[mcp_servers\n", &home()).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("mend it by hand; nothing was changed"));
    }
}
