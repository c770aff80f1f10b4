//! Asking the questions at a terminal: prompts and answers go through two streams, so that what is printed as the result
//! stays a result.

use std::io::BufRead;
use std::io::Write;

use conveyor_model::Error;
use conveyor_model::Result;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::questions::Kind;
use super::questions::Question;

/// Asks each question and returns the answers as an object. An empty answer keeps what is recorded; `-` empties it.
///
/// Errors: usage, at the end of the input and for an answer that is none: nothing is stored then.
pub(crate) fn ask(
    questions: &[Question],
    input: &mut impl BufRead,
    prompt: &mut impl Write,
) -> Result<Map<String, Value>> {
    let mut answers = Map::new();
    for question in questions {
        show(question, prompt)
            .map_err(|error| Error::environment(format!("the question cannot be shown: {error}")))?;
        if let Some(answer) = answer(question, input)? {
            answers.insert(question.id.to_owned(), answer);
        }
    }
    Ok(answers)
}

fn show(question: &Question, prompt: &mut impl Write) -> std::io::Result<()> {
    writeln!(prompt, "\n{}", question.question)?;
    if let Some(help) = question.help {
        writeln!(prompt, "  ({help})")?;
    }
    if let Some(choices) = &question.choices {
        writeln!(prompt, "  choices: {choices}")?;
    }
    let how = match question.kind {
        Kind::Choice => "one of the choices",
        Kind::Text => "a text",
        Kind::List => "one a line, then an empty line",
        Kind::ChoiceList => "choices, one a line, then an empty line",
        Kind::CategorizedPermissions => {
            "`category.action`, one a line, then an empty line; these and no others"
        }
        Kind::Boolean => "yes or no",
    };
    write!(prompt, "  {how}; empty keeps {}, `-` empties it\n> ", question.default)?;
    prompt.flush()
}

fn answer(question: &Question, input: &mut impl BufRead) -> Result<Option<Value>> {
    let first = line(input)?;
    if first.is_empty() {
        return Ok(None);
    }
    let empties = first == "-";
    Ok(Some(match question.kind {
        Kind::Choice if empties => return Err(Error::usage(format!("`{}` cannot be empty", question.id))),
        Kind::Choice => json!(first),
        Kind::Text if empties => Value::Null,
        Kind::Text => json!(first),
        Kind::Boolean => match first.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" => json!(true),
            "n" | "no" | "false" | "-" => json!(false),
            _ => return Err(Error::usage(format!("`{}` is neither yes nor no", first.escape_debug()))),
        },
        Kind::List | Kind::ChoiceList if empties => json!([]),
        Kind::List | Kind::ChoiceList => json!(lines(first, input)?),
        Kind::CategorizedPermissions => {
            permissions(if empties { Vec::new() } else { lines(first, input)? }, question)?
        }
    }))
}

/// All categories, so that what is not named is not granted.
fn permissions(words: Vec<String>, question: &Question) -> Result<Value> {
    let categories = question.choices.as_ref().and_then(Value::as_object);
    let mut object: Map<String, Value> =
        categories.into_iter().flatten().map(|(category, _)| (category.clone(), json!([]))).collect();
    for word in words {
        for one in conveyor_model::permission::parse(&word)? {
            if let Some(Value::Array(actions)) = object.get_mut(one.category) {
                actions.push(json!(one.action));
            }
        }
    }
    Ok(Value::Object(object))
}

fn lines(first: String, input: &mut impl BufRead) -> Result<Vec<String>> {
    let mut lines = vec![first];
    loop {
        let next = line(input)?;
        if next.is_empty() {
            return Ok(lines);
        }
        lines.push(next);
    }
}

fn line(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(0) => Err(Error::usage("the input ended before all questions were answered; nothing was stored")),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(Error::environment(format!("the answer cannot be read: {error}"))),
    }
}
