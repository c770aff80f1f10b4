//! The entry of this server in Codex's configuration.

use std::collections::BTreeMap;
use std::path::Path;

use conveyor_engine::Environment;
use toml_edit::Item;
use toml_edit::Key;

/// The setting that lets sessions call every tool without asking (measured: `"auto"` still asks).
const APPROVAL: &str = "default_tools_approval_mode";
const APPROVE: &str = "approve";

/// What decides where conveyor finds its ledger, Codex and tmux, and what Codex does not hand on to a server (measured:
/// of a session's environment, a server sees HOME, PATH, LANG, SHELL, TERM and what concerns proxies).
const HANDED_ON: [&str; 3] = ["CONVEYOR_DATABASE_URL", "TMUX_TMPDIR", "XDG_STATE_HOME"];

/// An entry `[mcp_servers.conveyor]`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The program.
    pub(crate) command: String,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment, beside what Codex hands on.
    pub(crate) env: BTreeMap<String, String>,
    /// All other keys, as they are written, with the comments that lead them.
    pub(crate) others: Vec<(Key, Item)>,
}

impl Entry {
    /// An entry with nothing that Codex's own command could not write.
    pub(crate) fn new(command: &Path, args: Vec<String>, env: BTreeMap<String, String>) -> Self {
        let command = command.to_string_lossy().into_owned();
        Self { command, args, env, others: Vec::new() }
    }

    /// This entry in the place of an earlier one of ours, whose settings, variables and ledger stay unless this one names
    /// others.
    pub(crate) fn over(mut self, old: Option<&Self>, approve: bool) -> Self {
        if let Some(old) = old {
            let env = std::mem::take(&mut self.env);
            self.env = old.env.clone();
            self.env.extend(env);
            if self.args.len() == 1 {
                self.args.clone_from(&old.args);
            }
            self.others.clone_from(&old.others);
        }
        if approve {
            self.others.retain(|(name, _)| name != APPROVAL);
            self.others.push((Key::new(APPROVAL), toml_edit::value(APPROVE)));
        }
        self
    }

    /// Whether it starts this program's server, in whatever version and from whatever place.
    pub(crate) fn is_ours(&self) -> bool {
        let base = Path::new(&self.command).file_name().and_then(|name| name.to_str());
        matches!(base, Some("conveyor" | "workerctl")) && self.args.first().is_some_and(|word| word == "mcp")
    }

    /// Keys that install never wrote.
    pub(crate) fn set_by_others(&self) -> Vec<String> {
        let foreign = |(name, item): &&(Key, Item)| name != APPROVAL || item.as_str() != Some(APPROVE);
        self.others.iter().filter(foreign).map(|(name, _)| name.get().to_owned()).collect()
    }

    /// Whether it lets sessions call every tool without asking.
    pub(crate) fn approves(&self) -> bool {
        self.others.iter().any(|(name, item)| name == APPROVAL && item.as_str() == Some(APPROVE))
    }

    /// The command line that it starts.
    pub(crate) fn line(&self) -> String {
        let words: Vec<&str> = std::iter::once(&self.command).chain(&self.args).map(String::as_str).collect();
        conveyor_engine::plane::quote(&words)
    }
}

impl PartialEq for Entry {
    /// Whether they mean the same, however it is written.
    fn eq(&self, other: &Self) -> bool {
        let others = |entry: &Self| -> BTreeMap<String, String> {
            let plain =
                |(name, item): &(Key, Item)| (name.get().to_owned(), item.to_string().trim().to_owned());
            entry.others.iter().map(plain).collect()
        };
        (&self.command, &self.args, &self.env) == (&other.command, &other.args, &other.env)
            && others(self) == others(other)
    }
}

/// The variables that the server needs to see what this process sees.
pub(crate) fn environment(environment: &Environment, codex_home: &Path) -> BTreeMap<String, String> {
    let handed_on = HANDED_ON.iter().filter_map(|&name| Some((name, environment.variable(name)?.to_owned())));
    let usual = environment.home().ok().map(|home| home.join(".codex"));
    // A server is not told for which folder it runs.
    let home =
        (usual.as_deref() != Some(codex_home)).then(|| ("CODEX_HOME", codex_home.display().to_string()));
    handed_on.chain(home).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(command: &str, args: &[&str]) -> Entry {
        Entry::new(Path::new(command), args.iter().map(|&arg| arg.to_owned()).collect(), BTreeMap::new())
    }

    #[test]
    fn another_program_under_our_name_is_not_ours() {
        assert!(entry("/opt/1.0/conveyor", &["mcp"]).is_ours());
        assert!(entry("workerctl", &["mcp", "--db", "x"]).is_ours());
        assert!(!entry("npx", &["conveyor", "mcp"]).is_ours());
        assert!(!entry("/usr/bin/conveyor", &["serve"]).is_ours());
        assert!(!entry("/usr/bin/conveyor", &[]).is_ours());
    }

    #[test]
    fn a_new_version_keeps_what_the_user_set() {
        let mut old = entry("/opt/1.0/conveyor", &["mcp", "--db", "/a.db"]);
        old.env.insert("EXTRA".to_owned(), "1".to_owned());
        old.others.push((Key::new("tool_timeout_sec"), toml_edit::value(900)));
        let new = entry("/opt/2.0/conveyor", &["mcp"]).over(Some(&old), true);
        assert_eq!(new.line(), "/opt/2.0/conveyor mcp --db /a.db");
        assert_eq!(new.env["EXTRA"], "1");
        assert!(new.approves());
        assert_eq!(new.set_by_others(), ["tool_timeout_sec"]);
    }

    #[test]
    fn a_server_is_told_what_codex_does_not_hand_on() {
        let of = |codex_home: &str| {
            let variables = [("HOME", "/home/ann"), ("XDG_STATE_HOME", "/s"), ("PATH", "/bin")];
            environment(&Environment::of(Path::new("/"), &variables), Path::new(codex_home))
        };
        let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        assert_eq!(of("/home/ann/.codex"), pairs(&[("XDG_STATE_HOME", "/s")]));
        assert_eq!(of("/other"), pairs(&[("CODEX_HOME", "/other"), ("XDG_STATE_HOME", "/s")]));
    }
}
