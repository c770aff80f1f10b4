//! A request's schema as agents are shown it.
//!
//! Codex hands its model types, names, descriptions and what is required; `default`, `format`, `pattern` and the like
//! are dropped on the way (measured on 0.99, 0.144 and 0.169). What a caller needs of these is said in the description.

use conveyor_engine::verb::Entry;
use schemars::Schema;
use schemars::transform::Transform;
use schemars::transform::transform_subschemas;
use serde_json::Map;
use serde_json::Value;

/// A tool's input: the description that leads it, and the schema without it.
pub(super) fn of(verb: &Entry) -> (String, Map<String, Value>) {
    let mut schema = (verb.schema)();
    Plain.transform(&mut schema);
    let mut input = schema.as_object().cloned().unwrap_or_default();
    input.remove("title");
    let description = input.remove("description");
    input.entry("type").or_insert_with(|| "object".into());
    input.entry("properties").or_insert_with(|| Map::new().into());
    (description.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default(), input)
}

/// Leaves what every version of Codex reads: one type a value, no `null`, defaults in words.
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(map) = schema.as_object_mut() {
            drop_null(map);
            tell_default(map);
            map.remove("format");
        }
        transform_subschemas(self, schema);
    }
}

/// An argument that may be left out need not also be nullable.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&"null".into()));
        if let [Value::Object(only)] = &mut choices[..] {
            let only = std::mem::take(only);
            map.remove("anyOf");
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
    }
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &mut types[..] {
            let only = only.take();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = map.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
}

/// A default that is not simply "none of it" is told in words.
fn tell_default(map: &mut Map<String, Value>) {
    let told = match map.get("default") {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Bool(true)) => "true".to_owned(),
        _ => return,
    };
    let description = map.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{description} (default: {told})").trim_start().to_owned();
    map.insert("description".to_owned(), description.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(schema: Value) -> Value {
        let mut schema = Schema::try_from(schema).unwrap();
        Plain.transform(&mut schema);
        schema.to_value()
    }

    #[test]
    fn what_codex_would_drop_or_misread_is_said_plainly() {
        let before = json!({ "type": "object", "properties": {
            "age": { "type": "integer", "format": "uint64", "minimum": 0, "default": 90, "description": "How old" },
            "text": { "type": ["string", "null"], "default": null },
            "word": { "anyOf": [{ "type": "string", "enum": ["a"] }, { "type": "null" }], "description": "A word" },
            "of": { "type": ["string", "null"], "enum": ["x", null] },
            "flag": { "type": "boolean", "default": false },
            "many": { "type": "array", "items": { "type": "integer", "format": "int32" }, "default": [] },
        } });
        let after = json!({ "type": "object", "properties": {
            "age": { "type": "integer", "minimum": 0, "default": 90, "description": "How old (default: 90)" },
            "text": { "type": "string" },
            "word": { "type": "string", "enum": ["a"], "description": "A word" },
            "of": { "type": "string", "enum": ["x"] },
            "flag": { "type": "boolean", "default": false },
            "many": { "type": "array", "items": { "type": "integer" }, "default": [] },
        } });
        assert_eq!(plain(before), after);
    }

    #[test]
    fn a_choice_of_several_types_stays_a_choice() {
        let choice = json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] });
        assert_eq!(plain(choice.clone()), choice);
    }
}
