//! What a task's configuration may grant to its manager, by category and action.

use crate::Error;
use crate::Result;

/// One permission: `category.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission {
    /// The category.
    pub category: &'static str,
    /// The action.
    pub action: &'static str,
}

const fn permission(category: &'static str, action: &'static str) -> Permission {
    Permission { category, action }
}

/// All permissions that there are.
pub const ALL: &[Permission] = &[
    permission("communication", "comment_on_pr"),
    permission("communication", "notify_operator"),
    permission("context", "fetch_issues"),
    permission("context", "fetch_prs"),
    permission("context", "spawn_reviewer"),
    permission("repo", "merge_green_pr"),
    permission("repo", "open_pr"),
    permission("repo", "push_branch"),
    permission("verification", "run_cargo"),
    permission("verification", "run_playwright"),
    permission("verification", "run_pytest"),
    permission("verification", "run_xcodebuild"),
    permission("worker_session", "clear"),
    permission("worker_session", "compact"),
    permission("worker_session", "interrupt"),
    permission("worker_session", "stop"),
];

/// Older words, each for one or more permissions.
const ALIASES: &[(&str, &[&str])] = &[
    ("allow_merge_green", &["repo.merge_green_pr"]),
    ("allow_pr", &["repo.open_pr"]),
    ("allow_worker_compact_clear", &["worker_session.compact", "worker_session.clear"]),
    ("create_pr", &["repo.open_pr"]),
    ("merge_green_pr", &["repo.merge_green_pr"]),
    ("worker_compact_clear", &["worker_session.compact", "worker_session.clear"]),
];

/// The permissions that a word stands for: one, or those of an older word.
///
/// Errors: usage, for a word that stands for none.
pub fn parse(word: &str) -> Result<Vec<Permission>> {
    let meant =
        ALIASES.iter().find(|(alias, _)| *alias == word).map_or(vec![word], |(_, meant)| meant.to_vec());
    meant.into_iter().map(known).collect()
}

fn known(word: &str) -> Result<Permission> {
    let found = word
        .split_once('.')
        .and_then(|(category, action)| ALL.iter().find(|p| p.category == category && p.action == action));
    found.copied().ok_or_else(|| {
        let names: Vec<String> = ALL.iter().map(ToString::to_string).collect();
        Error::usage(format!("`{}` is not a permission", word.escape_debug()))
            .hint(format!("one of {}", names.join(", ")))
    })
}

/// Whether a stored object (category to list of actions) grants all that a word stands for. An unknown word is granted
/// by nothing.
pub fn grants(permissions: &serde_json::Value, word: &str) -> bool {
    let granted = |p: &Permission| {
        let actions = permissions[p.category].as_array();
        actions.is_some_and(|actions| actions.iter().any(|action| action == p.action))
    };
    parse(word).is_ok_and(|meant| meant.iter().all(granted))
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.category, self.action)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_listed_is_granted() {
        let stored = json!({ "repo": ["open_pr"], "worker_session": ["compact"] });
        assert!(grants(&stored, "repo.open_pr") && grants(&stored, "allow_pr"));
        for denied in ["repo.push_branch", "worker_compact_clear", "context.fetch_prs", "nonsense", ""] {
            assert!(!grants(&stored, denied), "{denied}");
        }
        assert!(
            !grants(&json!(null), "repo.open_pr") && !grants(&json!({ "repo": "open_pr" }), "repo.open_pr")
        );
    }

    #[test]
    fn each_older_word_stands_for_known_permissions() {
        assert!(ALIASES.iter().all(|(alias, meant)| parse(alias).unwrap().len() == meant.len()));
        assert!(parse("repo.rewrite_history").is_err());
    }
}
