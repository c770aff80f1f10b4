//! The faces cannot drift: for each verb, the request of the least arguments, the request of the least JSON, and the
//! schema's defaults are the same.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

use conveyor_engine::VERBS;
use conveyor_engine::verb::Entry;
use serde_json::Map;
use serde_json::Value;

/// The request that the verb's least arguments make.
fn from_least_args(entry: &Entry) -> Map<String, Value> {
    let args = std::iter::once(&entry.name).chain(entry.least);
    let matches = (entry.command)()
        .try_get_matches_from(args)
        .unwrap_or_else(|error| panic!("{}: {:?} is not enough: {error}", entry.name, entry.least));
    match (entry.request_of_args)(&matches) {
        Ok(Value::Object(map)) => map,
        other => panic!("{}: {other:?}", entry.name),
    }
}

fn schema(entry: &Entry) -> Value {
    serde_json::to_value((entry.schema)()).unwrap()
}

fn properties(schema: &Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().unwrap_or_default()
}

#[test]
fn a_default_is_the_same_on_the_command_line_and_over_mcp() {
    for entry in VERBS {
        let args = from_least_args(entry);
        let schema = schema(entry);
        // What the least arguments had to say is said again in JSON; all else is left out.
        let given: Map<String, Value> = properties(&schema)
            .into_iter()
            .filter(|(key, property)| property.get("default").is_none_or(|default| *default != args[key]))
            .map(|(key, _)| (key.clone(), args[&key].clone()))
            .filter(|(_, value)| !value.is_null())
            .collect();
        let json = (entry.request_of_json)(Value::Object(given.clone()))
            .unwrap_or_else(|error| panic!("{}: {given:?}: {error}", entry.name));
        assert_eq!(Value::Object(args.clone()), json, "{}", entry.name);
        assert!(
            given.len() <= entry.least.len(),
            "{}: {given:?} are not the schema's defaults, yet the least arguments are {:?}",
            entry.name,
            entry.least
        );
    }
}

#[test]
fn unknown_keys_are_refused_and_names_are_snake_case() {
    for entry in VERBS {
        let schema = schema(entry);
        assert_eq!(schema["additionalProperties"], false, "{} lacks deny_unknown_fields", entry.name);
        for key in properties(&schema).keys() {
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{key}");
        }
    }
}

#[test]
fn each_verb_and_each_argument_is_explained_once() {
    for entry in VERBS {
        let command = (entry.command)();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about:?}", entry.name);
        assert_eq!(
            schema(entry)["description"].as_str().map(|text| text.starts_with(&about)),
            Some(true),
            "{}",
            entry.name
        );
        for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_help().is_some(), "{}: {} has no help", entry.name, argument.get_id());
        }
    }
}

/// The table itself is held by the unit tests of `caller`.
#[test]
fn each_verb_stands_in_the_table_of_rights() {
    let rights = include_str!("../src/caller/rights.rs");
    let missing: Vec<&str> = VERBS
        .iter()
        .map(|entry| entry.name)
        .filter(|name| !rights.contains(&format!("\"{name}\",")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "say in src/caller/rights.rs who may call them");
}

#[test]
fn no_two_verbs_share_a_name() {
    let mut names: Vec<&str> =
        VERBS.iter().flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases)).copied().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
