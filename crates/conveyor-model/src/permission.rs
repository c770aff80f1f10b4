//! What a task's configuration may grant to its manager, by category and action.

use std::collections::BTreeSet;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

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

/// The permissions that a word stands for and that a stored object does not grant.
///
/// Errors: usage, for a word that stands for none.
pub fn missing(permissions: &Value, word: &str) -> Result<Vec<Permission>> {
    let meant = parse(word)?;
    Ok(meant.into_iter().filter(|one| !grants(permissions, &one.to_string())).collect())
}

/// The actions of a category that a stored object grants, sorted.
///
/// Errors: usage, for a category that there is not.
pub fn granted_in(permissions: &Value, category: &str) -> Result<Vec<&'static str>> {
    let all = in_category(category)?;
    let granted = all.into_iter().filter(|one| grants(permissions, &one.to_string()));
    Ok(granted.map(|one| one.action).collect())
}

/// All permissions of a category.
fn in_category(category: &str) -> Result<Vec<Permission>> {
    let all: Vec<Permission> = ALL.iter().copied().filter(|one| one.category == category).collect();
    if !all.is_empty() {
        return Ok(all);
    }
    let mut names: Vec<&str> = ALL.iter().map(|one| one.category).collect();
    names.dedup();
    Err(Error::usage(format!("`{}` is not a category of permissions", category.escape_debug()))
        .hint(format!("one of {}", names.join(", "))))
}

/// One change of what is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This too.
    Grant(Permission),
    /// This no more.
    Revoke(Permission),
    /// Of this category exactly these.
    Replace(&'static str, Vec<Permission>),
    /// Nothing at all.
    RevokeAll,
}

/// The changes that an object stands for: a category with a list replaces it, an action with a truth value grants or
/// revokes it.
///
/// Errors: usage, for anything that is not known.
pub fn changes(object: &Map<String, Value>) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for (key, value) in object {
        match value {
            Value::Bool(true) => changes.extend(parse(key)?.into_iter().map(Change::Grant)),
            Value::Bool(false) => changes.extend(parse(key)?.into_iter().map(Change::Revoke)),
            Value::Array(actions) => changes.push(replacement(key, actions)?),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(Error::usage(format!(
                    "`{}` is neither a list of actions nor a truth value",
                    key.escape_debug()
                )));
            }
        }
    }
    Ok(changes)
}

fn replacement(category: &str, actions: &[Value]) -> Result<Change> {
    let known = in_category(category)?;
    let mut with = Vec::new();
    for action in actions {
        with.extend(parse(&format!("{category}.{}", action.as_str().unwrap_or_default()))?);
    }
    Ok(Change::Replace(known[0].category, with))
}

/// A stored object after these changes: each category sorted, none empty.
pub fn apply(before: &Value, changes: &[Change]) -> Value {
    let all = ALL.iter().copied();
    let mut granted: BTreeSet<Permission> = all.filter(|one| grants(before, &one.to_string())).collect();
    for change in changes {
        match change {
            Change::Grant(one) => drop(granted.insert(*one)),
            Change::Revoke(one) => drop(granted.remove(one)),
            Change::Replace(category, with) => {
                granted.retain(|one| one.category != *category);
                granted.extend(with);
            }
            Change::RevokeAll => granted.clear(),
        }
    }
    let mut object: Map<String, Value> = Map::new();
    for one in granted {
        let list = object.entry(one.category).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(json!(one.action));
        }
    }
    Value::Object(object)
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

    fn of(object: Value) -> Result<Vec<Change>> {
        let Value::Object(object) = object else { panic!("it is an object") };
        changes(&object)
    }

    #[test]
    fn changes_grant_replace_and_take_back() {
        let before =
            json!({ "repo": ["open_pr", "push_branch"], "context": ["fetch_prs"], "nonsense": ["x"] });
        let after =
            apply(&before, &of(json!({ "repo": ["merge_green_pr"], "context.fetch_prs": false })).unwrap());
        assert_eq!(after, json!({ "repo": ["merge_green_pr"] }), "what is not known is dropped");
        let both = apply(&after, &of(json!({ "worker_compact_clear": true })).unwrap());
        assert_eq!(both, json!({ "repo": ["merge_green_pr"], "worker_session": ["clear", "compact"] }));
        assert_eq!(apply(&both, &[Change::RevokeAll]), json!({}));
    }

    #[test]
    fn an_unknown_permission_is_never_passed_over() {
        for wrong in [
            json!({ "repo": ["rewrite_history"] }),
            json!({ "rights": [] }),
            json!({ "repo.rewrite_history": true }),
            json!({ "repo": [7] }),
            json!({ "repo": "open_pr" }),
            json!({ "repo.open_pr": null }),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(granted_in(&json!({}), "rights").is_err() && missing(&json!({}), "repo").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let stored = json!({ "worker_session": ["compact"] });
        let missing = missing(&stored, "worker_compact_clear").unwrap();
        assert_eq!(missing.iter().map(ToString::to_string).collect::<Vec<_>>(), ["worker_session.clear"]);
        assert_eq!(granted_in(&stored, "worker_session").unwrap(), ["compact"]);
    }

    #[test]
    fn each_older_word_stands_for_known_permissions() {
        assert!(ALIASES.iter().all(|(alias, meant)| parse(alias).unwrap().len() == meant.len()));
        assert!(parse("repo.rewrite_history").is_err());
    }
}
