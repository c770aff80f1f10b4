//! How an answer is shown: JSON for programs and agents, text for people.

use std::io::ErrorKind;
use std::io::IsTerminal;
use std::io::Write;
use std::process::ExitCode;

use conveyor_engine::Environment;
use conveyor_engine::plane::Told;
use conveyor_engine::verb::Answer;
use conveyor_engine::verb::Form;
use conveyor_model::Error;
use conveyor_model::redact::redact;
use conveyor_model::redact::redact_text;
use serde_json::Value;

/// What the caller chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    /// `--json`
    pub(crate) json: bool,
    /// `--text`
    pub(crate) text: bool,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// JSON, indented by two, keys sorted.
    Json,
    /// Text.
    Text,
}

/// The form: what was chosen, else the verb's own, else JSON except on a person's terminal.
pub(crate) fn shown(chosen: Chosen, form: Form, environment: &Environment) -> Shown {
    let person = std::io::stdout().is_terminal() && !environment.is_agent();
    match (chosen.json, chosen.text, form) {
        (true, _, _) => Shown::Json,
        (false, true, _) | (false, false, Form::Narrative) => Shown::Text,
        (false, false, Form::Json) if !person => Shown::Json,
        (false, false, Form::Json) => match environment.variable("CONVEYOR_FORMAT") {
            Some("json") => Shown::Json,
            _ => Shown::Text,
        },
    }
}

/// Shows an answer and gives its exit code.
pub(crate) fn show(shown: Shown, answer: &Answer) -> ExitCode {
    let text = match (shown, &answer.text) {
        (Shown::Json, _) => format!("{:#}\n", answer.json),
        (Shown::Text, Some(text)) => line_ended(&clean(text)),
        (Shown::Text, None) => line_ended(&clean(&outline(&answer.json, 0))),
    };
    let printed = print(&text);
    if printed == ExitCode::SUCCESS { ExitCode::from(answer.exit_code) } else { printed }
}

/// Prints what a verb tells while it runs, in one line.
pub(crate) fn tell(shown: Shown, told: &Told) {
    let mut json = told.json.clone();
    redact(&mut json);
    let line = match shown {
        Shown::Json => json.to_string(),
        Shown::Text => clean(&told.text).replace('\n', " "),
    };
    // A reader that went away has what it wanted; the work goes on.
    let _ = print(&format!("{line}\n"));
}

/// Prints a text. A reader that closed the pipe has what it wanted: that ends quietly.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("conveyor: the answer cannot be written: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Shows a failure on stderr and gives its exit code.
pub(crate) fn fail(program: &str, shown: Shown, error: &Error) -> ExitCode {
    let text = match shown {
        Shown::Json => format!("{}\n", serde_json::json!({ "error": error })),
        Shown::Text => {
            let hint = error.hint.as_ref().map(|hint| format!("hint: {}\n", clean(hint))).unwrap_or_default();
            format!("{program}: {}\n{hint}", clean(&error.message))
        }
    };
    complain(&text);
    ExitCode::from(error.kind.exit_code())
}

/// Prints to stderr. Nothing is left to be told where nobody reads that.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Text as a terminal may show it: no secrets, and control characters made visible, for it may hold an agent's words.
pub(crate) fn clean(text: &str) -> String {
    let text = redact_text(text).unwrap_or_else(|| text.to_owned());
    text.chars()
        .flat_map(|c| match c {
            '\n' | '\t' => vec![c],
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => c.escape_default().collect(),
            c => vec![c],
        })
        .collect()
}

fn line_ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// A report without a text of its own: keys and values, indented.
fn outline(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| member(&indent, key, value, depth)).collect(),
        Value::Array(items) if items.is_empty() => format!("{indent}none\n"),
        Value::Array(items) => items.iter().map(|item| member(&indent, "-", item, depth)).collect(),
        scalar => format!("{indent}{}\n", plain(scalar)),
    }
}

fn member(indent: &str, key: &str, value: &Value, depth: usize) -> String {
    let key = if key == "-" { "-".to_owned() } else { format!("{key}:") };
    match value {
        Value::Object(map) if !map.is_empty() => format!("{indent}{key}\n{}", outline(value, depth + 1)),
        Value::Array(items) if !items.is_empty() => format!("{indent}{key}\n{}", outline(value, depth + 1)),
        scalar => format!("{indent}{key} {}\n", plain(scalar)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.replace('\n', "\n    "),
        Value::Object(_) | Value::Array(_) => "none".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
