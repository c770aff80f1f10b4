//! What a verb is: a request, a report and one function. One table of verbs feeds the command line, its help, the
//! completions, the MCP tools and the reference page.

use std::future::Future;
use std::pin::Pin;

use clap::ArgMatches;
use clap::Args;
use clap::Command;
use clap::FromArgMatches;
use conveyor_model::Error;
use conveyor_model::Result;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Caller;
use crate::Plane;
use crate::caller;
use crate::outbox;
use crate::outbox::Letter;
use crate::tool_call;

/// Under which heading the help lists a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// See what is going on.
    Look,
    /// Say who is there and what is wanted.
    Arrange,
    /// Make sessions.
    Start,
    /// Reach an agent.
    Act,
    /// Agree on what counts, and judge it.
    Judge,
    /// Carry messages.
    Carry,
    /// Find out what is wrong.
    Diagnose,
}

impl Group {
    /// All groups in the order of the help.
    pub const ALL: [Self; 7] =
        [Self::Look, Self::Arrange, Self::Start, Self::Act, Self::Judge, Self::Carry, Self::Diagnose];

    /// The heading.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Look => "See what is going on",
            Self::Arrange => "Say who is there and what is wanted",
            Self::Start => "Start and finish",
            Self::Act => "Reach an agent",
            Self::Judge => "Agree and judge",
            Self::Carry => "Carry messages",
            Self::Diagnose => "Find out what is wrong",
        }
    }
}

/// What a verb may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it opens the ledger read-only and never creates one.
    Reads,
    /// The ledger.
    Writes,
    /// The ledger, and agents or processes outside.
    Acts,
}

/// What is printed when neither `--json` nor `--text` is given and no person is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// Text, also into a pipe, as the contract says of narrative verbs.
    Narrative,
}

/// Which agents may call a verb over MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agents {
    /// None: it is a person's verb, or it needs a terminal.
    No,
    /// Any registered or registering session.
    Any,
    /// Only a session with the role of a manager.
    Managers,
    /// Only a session with the role of a worker.
    Workers,
}

/// What a verb asks for: parsed from argv and from JSON alike.
pub trait Request: Args + DeserializeOwned + Serialize + JsonSchema + Send + 'static {
    /// Ranges and conflicts that both faces check.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Whether this request of a verb that may change something changes nothing: it works from inside a sandbox too.
    fn only_reads(&self) -> bool {
        false
    }

    /// What is left in the outbox from inside a sandbox, where the ledger cannot be written. Nothing for what cannot be
    /// said that way.
    fn letter(&self) -> Result<Option<Letter>> {
        Ok(None)
    }
}

/// What a verb answers: its serialised form is the JSON contract.
pub trait Report: Serialize + JsonSchema + Send + 'static {
    /// The report for a person. Without one, the JSON is shown as indented keys and values.
    fn text(&self) -> Option<String> {
        None
    }

    /// The exit code: 0, or 1 where the answer itself is a refusal (a failed check, something that wants attention).
    fn exit_code(&self) -> u8 {
        0
    }
}

/// One verb.
pub trait Verb: 'static {
    /// As the user types it.
    const NAME: &'static str;
    /// Other spellings.
    const ALIASES: &'static [&'static str] = &[];
    /// The heading in the help.
    const GROUP: Group;
    /// What it may change.
    const EFFECT: Effect;
    /// Its form of output where nobody chose one.
    const FORM: Form = Form::Json;
    /// Which agents may call it over MCP.
    const AGENTS: Agents = Agents::Any;
    /// The least arguments that it accepts, for the test that compares the faces.
    const LEAST: &'static [&'static str] = &[];
    /// What it asks for.
    type Request: Request;
    /// What it answers.
    type Report: Report;

    /// Does it.
    fn run(plane: &Plane, request: Self::Request) -> impl Future<Output = Result<Self::Report>> + Send;
}

/// A report whose type no longer matters: what a face renders.
#[derive(Debug)]
pub struct Answer {
    /// The JSON contract.
    pub json: Value,
    /// The text for a person, where the verb has one.
    pub text: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

/// A boxed answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer>> + Send + 'a>>;

/// A verb whose types no longer matter: a row of the table.
pub struct Entry {
    /// As the user types it.
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// The heading in the help.
    pub group: Group,
    /// What it may change.
    pub effect: Effect,
    /// Its form of output where nobody chose one.
    pub form: Form,
    /// Which agents may call it over MCP.
    pub agents: Agents,
    /// The least arguments that it accepts.
    pub least: &'static [&'static str],
    /// Its arguments, with help from the request's doc comment.
    pub command: fn() -> Command,
    /// The JSON schema of its request.
    pub schema: fn() -> schemars::Schema,
    /// Runs it from parsed arguments.
    pub from_args: for<'a> fn(&'a Plane, &ArgMatches) -> Answering<'a>,
    /// Runs it from JSON.
    pub from_json: for<'a> fn(&'a Plane, Value) -> Answering<'a>,
    /// The request that arguments make, as JSON: for the test that compares the faces.
    pub request_of_args: fn(&ArgMatches) -> Result<Value>,
    /// The request that JSON makes, as JSON again.
    pub request_of_json: fn(Value) -> Result<Value>,
}

impl Entry {
    /// The row of a verb.
    pub const fn of<V: Verb>() -> Self {
        Self {
            name: V::NAME,
            aliases: V::ALIASES,
            group: V::GROUP,
            effect: V::EFFECT,
            form: V::FORM,
            agents: V::AGENTS,
            least: V::LEAST,
            command: || {
                V::Request::augment_args(Command::new(V::NAME)).visible_aliases(V::ALIASES.iter().copied())
            },
            schema: schema::<V::Request>,
            from_args: |plane, matches| answer::<V>(plane, of_args::<V>(matches)),
            from_json: |plane, json| answer::<V>(plane, of_json::<V>(json)),
            request_of_args: |matches| as_value(&of_args::<V>(matches)?),
            request_of_json: |json| as_value(&of_json::<V>(json)?),
        }
    }

    /// Whether it is called by this word.
    pub fn is_called(&self, word: &str) -> bool {
        self.name == word || self.aliases.contains(&word)
    }
}

/// The schema of a request in one piece: Codex 0.99 shows its model a reference as a string (measured), and a tool's
/// schema is short enough to hold a name's pattern twice.
fn schema<T: JsonSchema>() -> schemars::Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>()
}

fn of_args<V: Verb>(matches: &ArgMatches) -> Result<V::Request> {
    V::Request::from_arg_matches(matches).map_err(|error| Error::usage(error.to_string()))
}

fn of_json<V: Verb>(json: Value) -> Result<V::Request> {
    serde_json::from_value(json).map_err(|error| Error::usage(format!("{}: {error}", V::NAME)))
}

fn as_value<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::new(conveyor_model::ErrorKind::Environment, error.to_string()))
}

/// The task that a request names, for the audit row of its refusal.
fn named_task<T: Serialize>(request: &T) -> Result<Option<String>> {
    Ok(as_value(request)?["task"].as_str().map(ToOwned::to_owned))
}

fn answer<V: Verb>(plane: &Plane, request: Result<V::Request>) -> Answering<'_> {
    Box::pin(async move {
        let answered = answer_of::<V>(plane, request).await;
        answered.map_err(|error| match &plane.caller {
            Caller::Tool { .. } => Error { hint: error.hint.as_deref().map(tool_call::in_hint), ..error },
            Caller::Person | Caller::Shell { .. } => error,
        })
    })
}

async fn answer_of<V: Verb>(plane: &Plane, request: Result<V::Request>) -> Result<Answer> {
    let request = request?;
    request.check()?;
    if caller::is_confined(plane, V::EFFECT) && !request.only_reads() {
        return match request.letter()? {
            Some(letter) => outbox::leave(plane, &letter).await,
            None => Err(caller::confined(V::NAME)),
        };
    }
    let task = named_task(&request)?;
    let report = match V::run(plane, request).await {
        Ok(report) => report,
        Err(error) => {
            caller::tell_refusal(plane, V::NAME, task.as_deref(), &error).await;
            return Err(error);
        }
    };
    let mut json = as_value(&report)?;
    conveyor_model::redact::redact(&mut json);
    Ok(Answer { text: report.text(), exit_code: report.exit_code(), json })
}
