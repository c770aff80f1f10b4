//! A JSON object as an argument: written out on a command line or on standard input, as itself over MCP.

use std::io::Read;
use std::str::FromStr;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::Caller;

/// A JSON object of bounded size.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct JsonObject(Map<String, Value>);

impl JsonObject {
    /// Its keys and values.
    pub fn map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Sets a key, whatever it held.
    pub fn insert(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    /// The same as a value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The object that stands on standard input.
    ///
    /// Errors: usage, for anything else.
    pub fn from_stdin() -> Result<Self> {
        Self::read(std::io::stdin().lock())
    }

    /// The object that a caller gave: on standard input where it says so, else as an argument. Over MCP standard input is
    /// the protocol's.
    ///
    /// Errors: usage, when standard input holds no object, or is none of the caller's.
    pub fn given(caller: &Caller, from_stdin: bool, argument: Option<Self>) -> Result<Option<Self>> {
        match (from_stdin, caller) {
            (true, Caller::Tool { .. }) => {
                Err(Error::usage("there is no standard input over MCP").hint("use `payload_json`"))
            }
            (true, Caller::Person | Caller::Shell { .. }) | (false, _) => Self::typed(from_stdin, argument),
        }
    }

    /// The same for what is known to be typed on a command line.
    ///
    /// Errors: usage, when standard input holds no object.
    pub fn typed(from_stdin: bool, argument: Option<Self>) -> Result<Option<Self>> {
        if from_stdin { Self::from_stdin().map(Some) } else { Ok(argument) }
    }

    /// The object that is all that a source holds.
    fn read(source: impl Read) -> Result<Self> {
        let mut text = String::new();
        let limit = limits::OBJECT_BYTES as u64 + 1;
        source
            .take(limit)
            .read_to_string(&mut text)
            .map_err(|error| Error::usage(format!("standard input cannot be read as text: {error}")))?;
        if text.trim().is_empty() {
            return Err(Error::usage("standard input is empty")
                .hint("pipe a JSON object into it, or give it with --payload-json"));
        }
        text.parse()
    }
}

impl FromIterator<(String, Value)> for JsonObject {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl FromStr for JsonObject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > limits::OBJECT_BYTES {
            return Err(Error::usage(format!("the JSON is longer than {} bytes", limits::OBJECT_BYTES)));
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(other) => Err(Error::usage(format!("{} is no JSON object", kind(&other)))
                .hint("an object stands in braces: {\"key\": \"value\"}")),
            Err(error) => Err(Error::usage(format!("this is no JSON: {error}"))),
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        // A model often writes an object out as a text.
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for JsonObject {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonObject".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_of_bounded_size_is_taken() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::OBJECT_BYTES));
        for wrong in ["", "[]", "null", "7", "\"{}\"", "{", "{} {}", &long, &"[".repeat(10_000)] {
            let error = wrong.parse::<JsonObject>().unwrap_err();
            assert_eq!(error.kind, conveyor_model::ErrorKind::Usage);
        }
        assert_eq!("{\"a\":1}".parse::<JsonObject>().unwrap().map()["a"], 1);
    }

    #[test]
    fn a_model_may_write_the_object_out_as_a_text() {
        let as_text: JsonObject = serde_json::from_value(serde_json::json!("{\"a\":1}")).unwrap();
        let as_itself: JsonObject = serde_json::from_value(serde_json::json!({ "a": 1 })).unwrap();
        assert_eq!(as_text, as_itself);
        assert!(serde_json::from_value::<JsonObject>(serde_json::json!(["a"])).is_err());
    }

    #[test]
    fn an_empty_or_endless_input_is_an_error_and_no_hang() {
        assert!(JsonObject::read(std::io::empty()).unwrap_err().message.contains("empty"));
        assert!(JsonObject::read(std::io::repeat(b' ')).is_err());
        assert!(JsonObject::read(&b"\xff"[..]).is_err());
    }
}
