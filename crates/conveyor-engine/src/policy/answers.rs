//! The answers to the questions, as one object, and what they set.

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::permission;
use serde_json::Map;
use serde_json::Value;

use super::ListChange;
use super::Objective;
use super::Settings;
use super::check_epilogues;

/// What the answers set. A question that is not answered leaves its setting as it is.
///
/// Errors: usage, for an answer to no question and for one of another kind.
pub(crate) fn of_answers(answers: &Map<String, Value>) -> Result<Settings> {
    let mut settings = Settings::default();
    for (id, answer) in answers {
        set(&mut settings, id, answer)
            .map_err(|error| error.during(format!("the answer `{}`", id.escape_debug())))?;
    }
    Ok(settings)
}

fn set(settings: &mut Settings, id: &str, answer: &Value) -> Result<()> {
    match id {
        "supervision_mode" => settings.mode = Some(text(answer)?.parse()?),
        "objective" => {
            settings.objective = Some(if answer.is_null() {
                Objective::Unset
            } else {
                Objective::Is(text(answer)?.to_owned())
            });
        }
        "guidelines" => settings.guidelines = list(answer)?,
        "acceptance_criteria" => settings.acceptance = list(answer)?,
        "reference_paths" => settings.references = list(answer)?,
        "tools" => settings.tools = list(answer)?,
        "permissions" => match answer {
            Value::Object(object) => settings.permissions = permission::changes(object)?,
            _ => return Err(Error::usage("it must be an object: category to list of actions")),
        },
        "epilogues" => {
            settings.epilogues = list(answer)?;
            check_epilogues(settings.epilogues.replace.as_deref().unwrap_or_default())?;
        }
        "nudge_on_completion" => settings.nudge = Some(text(answer)?.parse()?),
        "require_acks" => {
            let answer = answer.as_bool().ok_or_else(|| Error::usage("it must be true or false"))?;
            settings.require_acks = Some(answer);
        }
        _ => {
            return Err(Error::usage("there is no such question")
                .hint("read the questions: conveyor manager-config <task> --questions"));
        }
    }
    Ok(())
}

fn text(answer: &Value) -> Result<&str> {
    answer.as_str().ok_or_else(|| Error::usage("it must be a text"))
}

fn list(answer: &Value) -> Result<ListChange> {
    let Value::Array(items) = answer else { return Err(Error::usage("it must be a list of texts")) };
    let texts: Result<Vec<String>> = items.iter().map(|item| text(item).map(ToOwned::to_owned)).collect();
    Ok(ListChange { replace: Some(texts?), add: Vec::new() })
}
