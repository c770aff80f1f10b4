//! What a caller over MCP does next: a tool and its arguments instead of a command line.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use clap::ArgMatches;
use clap::Command;
use clap::builder::StringValueParser;
use clap::parser::ValueSource;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::VERBS;
use crate::verb::Agents;
use crate::verb::Entry;

/// The call that the words of a command line stand for. Nothing for a verb that no tool offers, and for words that are no
/// call.
pub(crate) fn of(words: &[&str]) -> Option<String> {
    let (name, _) = words.split_first()?;
    let verb = VERBS.iter().find(|verb| verb.is_called(name) && verb.agents != Agents::No)?;
    let arguments = arguments(verb, words)?;
    let tool = verb.name.replace('-', "_");
    Some(if arguments.is_empty() {
        format!("call the tool {tool}")
    } else {
        format!("call the tool {tool} with {}", Value::Object(arguments))
    })
}

/// The same for a command that stands at the end of a hint; other hints as they are.
pub(crate) fn in_hint(hint: &str) -> String {
    const PROGRAM: &str = "conveyor ";
    let Some(at) = hint.find(PROGRAM).filter(|&at| at == 0 || hint[..at].ends_with(": ")) else {
        return hint.to_owned();
    };
    let (before, line) = hint.split_at(at);
    let words = shlex::split(&line[PROGRAM.len()..]).unwrap_or_default();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    of(&words).map_or_else(|| hint.to_owned(), |call| format!("{before}{call}"))
}

/// A verb as it is asked again and again: each row of a listing names a call, and making the parser takes longer than all
/// else that a row takes.
struct Known {
    command: Command,
    /// Id, long name and whether it takes values, of each argument.
    known: Vec<(String, Option<String>, bool)>,
    /// What the tool takes.
    properties: Map<String, Value>,
}

static KNOWN: Mutex<BTreeMap<&'static str, Known>> = Mutex::new(BTreeMap::new());

impl Known {
    fn of(verb: &Entry) -> Option<Self> {
        let command = (verb.command)().mut_args(|arg| {
            if arg.get_action().takes_values() { arg.value_parser(StringValueParser::new()) } else { arg }
        });
        let known = command
            .get_arguments()
            .map(|arg| {
                let long = arg.get_long().map(|long| long.replace('-', "_"));
                (arg.get_id().to_string(), long, arg.get_action().takes_values())
            })
            .collect();
        let mut schema = serde_json::to_value((verb.schema)()).ok()?;
        let Value::Object(properties) = schema["properties"].take() else { return None };
        Some(Self { command, known, properties })
    }

    /// What the words give, under the names and in the types that the tool has. A placeholder stays a text.
    fn arguments(&mut self, words: &[&str]) -> Option<Map<String, Value>> {
        let matches = self.command.try_get_matches_from_mut(words).ok()?;
        let properties = &self.properties;
        let mut arguments = Map::new();
        for (id, long, takes_values) in &self.known {
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            // There is no standard input over MCP.
            if id == "from_stdin" && properties.contains_key("payload_json") {
                arguments.insert("payload_json".to_owned(), json!({}));
                continue;
            }
            let key =
                [Some(id), long.as_ref()].into_iter().flatten().find(|key| properties.contains_key(*key))?;
            let value = if *takes_values { value(&matches, id, &properties[key]) } else { Value::Bool(true) };
            arguments.insert(key.clone(), value);
        }
        Some(arguments)
    }
}

fn arguments(verb: &'static Entry, words: &[&str]) -> Option<Map<String, Value>> {
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !all.contains_key(verb.name) {
        all.insert(verb.name, Known::of(verb)?);
    }
    all.get_mut(verb.name)?.arguments(words)
}

fn value(matches: &ArgMatches, id: &str, property: &Value) -> Value {
    let mut words = matches.get_raw(id).into_iter().flatten().map(|word| word.to_string_lossy().into_owned());
    if is_of(property, "array") {
        return words.map(|word| typed(&word, &property["items"])).collect();
    }
    words.next_back().map_or(Value::Null, |word| typed(&word, property))
}

/// A word in the type that its place wants; one that does not fit stays a text.
fn typed(word: &str, property: &Value) -> Value {
    let wants_text = !["integer", "number", "object"].iter().any(|wanted| is_of(property, wanted));
    if wants_text {
        return Value::from(word);
    }
    serde_json::from_str(word).unwrap_or_else(|_| Value::from(word))
}

/// Whether a property may be of a type.
fn is_of(property: &Value, wanted: &str) -> bool {
    let named = match &property["type"] {
        Value::String(one) => one == wanted,
        Value::Array(all) => all.iter().any(|one| one == wanted),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    named || property["anyOf"].as_array().is_some_and(|all| all.iter().any(|one| is_of(one, wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_becomes_a_call_that_the_tool_takes() {
        let nudge = of(&["session-nudge", "w", "go on"]).unwrap();
        assert_eq!(nudge, "call the tool session_nudge with {\"name\":\"w\",\"text\":\"go on\"}");
        assert_eq!(of(&["attention"]).unwrap(), "call the tool attention");
        for words in [
            &["tail", "w", "--limit", "20"][..],
            &["commands", "--type", "nudge_worker", "--state", "failed", "--state", "blocked"],
            &["criteria", "t", "--satisfy", "1", "--evidence-json", "{\"ran\": \"cargo test\"}"],
            &["worker-ack", "t", "--from-stdin"],
            &["manager-inbox", "t", "--wait", "--consume-next"],
            &["session-nudge", "w", "", "--approve"],
        ] {
            let call = of(words).unwrap();
            let (tool, arguments) = call.split_once(" with ").unwrap();
            let name = tool.rsplit(' ').next().unwrap().replace('_', "-");
            let verb = VERBS.iter().find(|verb| verb.name == name).unwrap();
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            if let Err(error) = (verb.request_of_json)(arguments) {
                panic!("{call}: {error}");
            }
        }
    }

    #[test]
    fn a_placeholder_stays_a_text_and_what_is_no_tool_stays_a_command() {
        let satisfy = of(&["criteria", "t", "--satisfy", "<id>", "--evidence-json", "<proof>"]).unwrap();
        assert!(satisfy.contains("\"satisfy\":[\"<id>\"]"), "{satisfy}");
        for verb in VERBS.iter().filter(|verb| verb.agents == Agents::No) {
            assert_eq!(of(&[verb.name]), None, "{}", verb.name);
        }
        assert_eq!(of(&["reconcile"]), None);
    }

    #[test]
    fn a_command_at_the_end_of_a_hint_is_found() {
        assert_eq!(in_hint("list them: conveyor tasks"), "list them: call the tool tasks");
        assert_eq!(in_hint("conveyor cycle t"), "call the tool cycle with {\"task\":\"t\"}");
        for other in
            ["ask a person", "try again; if it lasts, `conveyor db-doctor` says who", "conveyor nosuch x"]
        {
            assert_eq!(in_hint(other), other);
        }
    }
}
