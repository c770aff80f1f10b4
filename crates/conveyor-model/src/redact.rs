//! The one redaction that reports, exports and telemetry pass: by key and by the shape of a value.

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

/// Replaces, at any depth, values under secret keys and words that look like secrets.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if is_secret_key(key) && !inner.is_null() && !inner.is_boolean() {
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
    if !SECRET_SHAPES.iter().any(|(start, _)| text.contains(start)) {
        return None;
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+' | '=');
    let mut clean = String::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        match secret_start(word) {
            Some(at) => {
                clean.push_str(&word[..at]);
                clean.push_str(REDACTED);
                changed = true;
            }
            None => clean.push_str(word),
        }
        let gap = tail.find(is_word).unwrap_or(tail.len());
        clean.push_str(&tail[..gap]);
        rest = &tail[gap..];
    }
    changed.then_some(clean)
}

/// Where in a word a secret begins: at its start, or behind `=` or `/`.
fn secret_start(word: &str) -> Option<usize> {
    SECRET_SHAPES.iter().find_map(|(start, length)| {
        let at = word.find(start)?;
        let fresh = at == 0 || matches!(word.as_bytes()[at - 1], b'=' | b'/' | b'+');
        (fresh && word.len() - at >= *length).then_some(at)
    })
}

/// Whether values under this key are secrets.
fn is_secret_key(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|part| lower.contains(part))
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
}
