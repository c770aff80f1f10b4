//! What an acknowledgement of a task may say: an object of which some keys are known.

use serde_json::Map;
use serde_json::Value;

use crate::Error;
use crate::Result;

/// What a known key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    List,
    Truth,
}

/// The keys that a reader looks for, in the order in which they are named.
const KEYS: &[(&str, Form)] = &[
    ("goal_restatement", Form::Text),
    ("proposed_criteria", Form::List),
    ("expected_tools", Form::List),
    ("open_questions", Form::List),
    ("ready_to_start", Form::Truth),
];

/// The names of the keys that a reader looks for.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// What a reader of an acknowledgement should notice: keys that are missing or not known, questions that are open, and
/// that its writer is not ready.
///
/// Errors: usage, for a known key that holds something else than it should: whoever reads it would be misled.
pub fn remarks(payload: &Map<String, Value>) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    for (key, form) in KEYS {
        match payload.get(*key) {
            None | Some(Value::Null) => remarks.push(format!("`{key}` is missing")),
            Some(value) if !fits(*form, value) => {
                return Err(Error::usage(format!("`{key}` must be {}", form.words())));
            }
            Some(_) => {}
        }
    }
    let unknown: Vec<String> = payload
        .keys()
        .filter(|key| !keys().any(|known| known == key.as_str()))
        .map(|key| format!("`{}`", key.escape_debug()))
        .collect();
    if !unknown.is_empty() {
        remarks.push(format!("nobody looks for {}", unknown.join(", ")));
    }
    if payload.get("open_questions").and_then(Value::as_array).is_some_and(|open| !open.is_empty()) {
        remarks.push("there are open questions".to_owned());
    }
    if payload.get("ready_to_start") == Some(&Value::Bool(false)) {
        remarks.push("`ready_to_start` is false: work should not begin yet".to_owned());
    }
    Ok(remarks)
}

fn fits(form: Form, value: &Value) -> bool {
    match form {
        Form::Text => value.is_string(),
        Form::List => value.is_array(),
        Form::Truth => value.is_boolean(),
    }
}

impl Form {
    const fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::List => "a list",
            Self::Truth => "true or false",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(payload: Value) -> Result<Vec<String>> {
        let Value::Object(payload) = payload else { panic!("an acknowledgement is an object") };
        remarks(&payload)
    }

    #[test]
    fn a_whole_acknowledgement_needs_no_remark() {
        let whole = json!({
            "goal_restatement": "g", "proposed_criteria": ["c"], "expected_tools": [], "open_questions": [],
            "ready_to_start": true,
        });
        assert_eq!(of(whole).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn whoever_is_not_ready_is_noticed() {
        let seen =
            of(json!({ "ready_to_start": false, "open_questions": ["which?"], "mood": "\u{1b}" })).unwrap();
        assert!(seen.contains(&"`ready_to_start` is false: work should not begin yet".to_owned()));
        assert!(seen.contains(&"there are open questions".to_owned()));
        assert!(seen.contains(&"nobody looks for `mood`".to_owned()));
        assert_eq!(of(json!({})).unwrap().len(), KEYS.len());
    }

    #[test]
    fn a_known_key_of_another_form_is_refused() {
        for wrong in [
            json!({ "ready_to_start": "no" }),
            json!({ "open_questions": "none" }),
            json!({ "goal_restatement": ["g"] }),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
