//! The one redaction that reports, exports and telemetry pass: by key and by the shape of a value.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use aho_corasick::AhoCorasickKind;
use serde_json::Value;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Parts of keys whose values are secrets whatever they look like.
const SECRET_KEYS: &[&str] =
    &["identity_token", "password", "passwd", "secret", "api_key", "apikey", "authorization", "credential"];

/// Beginnings of words that are secrets whatever key they stand under, with the least length of such a word.
const SECRET_SHAPES: &[(&str, usize)] = &[
    ("sk-", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("github_pat_", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 20),
    ("eyJ", 40),
    ("session-token-", 20),
    ("glpat-", 20),
    ("npm_", 30),
];

/// Finds [`SECRET_KEYS`], whatever their case. All parts are looked for in one pass: a listing has thousands of values.
static KEYS: LazyLock<AhoCorasick> = LazyLock::new(|| finder(SECRET_KEYS.iter().copied(), true));

/// Finds the beginnings of [`SECRET_SHAPES`].
static SHAPES: LazyLock<AhoCorasick> =
    LazyLock::new(|| finder(SECRET_SHAPES.iter().map(|(start, _)| *start), false));

/// In the form that is made quickest: most commands look at a few values and end.
fn finder(words: impl Iterator<Item = &'static str>, any_case: bool) -> AhoCorasick {
    let kind = Some(AhoCorasickKind::NoncontiguousNFA);
    let built = AhoCorasick::builder().kind(kind).ascii_case_insensitive(any_case).build(words);
    built.expect("a handful of short words is not too much")
}

/// Replaces, at any depth, values under secret keys and words that look like secrets.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if !inner.is_null() && !inner.is_boolean() && KEYS.is_match(key.as_str()) {
                    *inner = Value::String(REDACTED.to_owned());
                } else {
                    redact(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if let Some(clean) = redact_text(text) {
                *text = clean;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text without words that look like secrets; nothing when there are none.
pub fn redact_text(text: &str) -> Option<String> {
    let mut clean = String::new();
    let mut kept = 0;
    for found in SHAPES.find_iter(text) {
        let (start, least) = (found.start(), SECRET_SHAPES[found.pattern()].1);
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |length| start + length);
        if start >= kept && begins_here(&text[..start]) && end - start >= least {
            clean.push_str(&text[kept..start]);
            clean.push_str(REDACTED);
            kept = end;
        }
    }
    if kept == 0 {
        return None;
    }
    clean.push_str(&text[kept..]);
    Some(clean)
}

/// Characters that a secret may hold.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+' | '=')
}

/// Whether a secret may begin behind this text: at a word's start, or behind `=`, `/` or `+`.
fn begins_here(before: &str) -> bool {
    before.chars().next_back().is_none_or(|c| !is_word(c) || matches!(c, '=' | '/' | '+'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_by_key_and_by_shape() {
        let mut value = json!({
            "identity_token": "abc",
            "nested": [{"OPENAI_API_KEY": "x"}, "export KEY=sk-aaaaaaaaaaaaaaaaaaaaaaaa done"],
            "kept": "task-1 (npm_ is a prefix) sk-short",
            "secret": null,
        });
        redact(&mut value);
        assert_eq!(
            value,
            json!({
                "identity_token": REDACTED,
                "nested": [{"OPENAI_API_KEY": REDACTED}, format!("export KEY={REDACTED} done")],
                "kept": "task-1 (npm_ is a prefix) sk-short",
                "secret": null,
            })
        );
    }

    #[test]
    fn a_secret_behind_something_like_one_is_found_too() {
        let key = format!("sk-{}", "a".repeat(24));
        assert_eq!(
            redact_text(&format!("task-1/risk-{key}={key}")),
            Some(format!("task-1/risk-{key}={REDACTED}"))
        );
        assert_eq!(redact_text(&format!("({key}, {key})")), Some(format!("({REDACTED}, {REDACTED})")));
        assert_eq!(redact_text("no secret here"), None);
    }
}
