//! What a manager asks its user before it begins, as data: each question names the flag that stores its answer.

use std::collections::BTreeMap;

use conveyor_model::permission;
use conveyor_store::configs::ManagerConfig;
use conveyor_store::configs::NudgeOnCompletion;
use conveyor_store::configs::SupervisionMode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::EPILOGUES;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One of the choices.
    Choice,
    /// A text.
    Text,
    /// A list of texts.
    List,
    /// An object: category to list of its actions.
    CategorizedPermissions,
    /// A list of choices.
    ChoiceList,
    /// True or false.
    Boolean,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Question {
    /// The key of its answer.
    pub id: &'static str,
    /// What the answer is.
    pub kind: Kind,
    /// What is recorded now.
    pub default: Value,
    /// What to ask.
    pub question: &'static str,
    /// What helps to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'static str>,
    /// What can be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<Value>,
    /// The flag of `manager-config` that stores the answer.
    pub flag: &'static str,
}

/// How the questions are meant to be asked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Schema {
    /// Where the user already is: the manager's own chat.
    pub recommended_collection: &'static str,
    /// The command for a person at a terminal.
    pub fallback_collection: String,
    /// The command that stores all answers in one call.
    pub store_answers: String,
    /// The questions.
    pub questions: Vec<Question>,
}

/// All questions, with what is recorded as their defaults.
pub(crate) fn questions(config: &ManagerConfig) -> Vec<Question> {
    let plain = |id, kind, default: &Value, question, flag| Question {
        id,
        kind,
        default: default.clone(),
        question,
        help: None,
        choices: None,
        flag,
    };
    let modes: Vec<&str> = SupervisionMode::ALL.iter().map(|mode| mode.as_str()).collect();
    let nudges: Vec<&str> = NudgeOnCompletion::ALL.iter().map(|nudge| nudge.as_str()).collect();
    vec![
        Question {
            help: Some(
                "light: look rarely; guided: agree on criteria and steer; strict: prove each criterion",
            ),
            choices: Some(json!(modes)),
            ..plain(
                "supervision_mode",
                Kind::Choice,
                &json!(config.supervision_mode),
                "How closely should the worker be supervised?",
                "--mode",
            )
        },
        plain(
            "objective",
            Kind::Text,
            &json!(config.objective),
            "What should the manager be after?",
            "--objective",
        ),
        plain(
            "guidelines",
            Kind::List,
            &config.guidelines_json,
            "Which rules should the manager keep to?",
            "--guideline",
        ),
        Question {
            help: Some("each becomes an accepted criterion, which has to be proved in the end"),
            ..plain(
                "acceptance_criteria",
                Kind::List,
                &config.acceptance_criteria_json,
                "What must be so when the task is done?",
                "--acceptance",
            )
        },
        plain(
            "reference_paths",
            Kind::List,
            &config.reference_paths_json,
            "Which plans, documents or mock-ups should the result be checked against?",
            "--reference",
        ),
        Question {
            help: Some("what is not granted is refused"),
            choices: Some(json!(categories())),
            ..plain(
                "permissions",
                Kind::CategorizedPermissions,
                &config.permissions_json,
                "What may the manager do or have the worker do?",
                "--permissions-json",
            )
        },
        plain("tools", Kind::List, &config.tools_json, "Which tools should be used?", "--tool"),
        Question {
            choices: Some(json!(EPILOGUES)),
            ..plain(
                "epilogues",
                Kind::ChoiceList,
                &config.epilogues_json,
                "Which steps should follow when the work is done?",
                "--epilogue",
            )
        },
        Question {
            choices: Some(json!(nudges)),
            ..plain(
                "nudge_on_completion",
                Kind::Choice,
                &json!(config.nudge_on_completion),
                "What should follow when the worker says that it is done?",
                "--nudge-on-completion",
            )
        },
        Question {
            help: Some("observing and finishing wait until both have"),
            ..plain(
                "require_acks",
                Kind::Boolean,
                &json!(config.require_acks),
                "Must both sides say what they have understood before work counts?",
                "--require-acks",
            )
        },
    ]
}

/// All permissions by category.
fn categories() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut categories: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in permission::ALL {
        categories.entry(one.category).or_default().push(one.action);
    }
    categories
}
