//! What a fake model does with a text: directives such as `[[sh=ls]]` inside it, in the order in which they stand.
//!
//! The provider of the real Codex and the built-in model of the simulated agent read the same directives, so that one
//! scenario means the same to both.

use std::time::Duration;

use serde_json::Value;

/// One thing that a fake model does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Works for this long before the next step: `[[delay=SECONDS]]`.
    Delay(Duration),
    /// Calls a tool.
    Call(Call),
    /// Ends the turn with this text: `[[say=TEXT]]`.
    Say(String),
    /// Ends the turn with a failure of the model's side.
    Fail(Failure),
}

/// A tool call of the model's.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// A shell command.
    Shell(Shell),
    /// An MCP tool: `[[mcp=SERVER.TOOL {JSON}]]`.
    Mcp {
        /// The server's name in Codex's configuration.
        server: String,
        /// The tool's name.
        tool: String,
        /// Its arguments, a JSON object.
        arguments: Value,
    },
}

/// A shell command of the model's: `[[sh=COMMAND]]`, or `[[esc=COMMAND]]` when it asks for wider rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shell {
    /// The command line.
    pub command: String,
    /// Whether it asks to leave the sandbox, which opens the approval dialog.
    pub escalated: bool,
    /// After how many milliseconds the call returns although the command still runs: `[[yield=MS]]` before it.
    pub yield_ms: Option<u64>,
}

/// How the model's side fails a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 401: `[[401]]`. Final.
    Unauthorized,
    /// 429 that Codex retries: `[[429]]`.
    TooManyRequests,
    /// 500 that Codex retries: `[[500]]`.
    ServerError,
    /// The account's quota is used up: `[[usage]]`. Final.
    UsageLimit,
    /// The stream ends before it is complete: `[[drop]]`. Retried.
    Dropped,
    /// The context window is full: `[[ctx]]`. Final; the next turn compacts first.
    ContextFull,
}

/// What one request to the model is answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// How long the model works first.
    pub delay: Duration,
    /// What it answers then.
    pub action: Action,
}

/// The end of one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A tool call; another request follows with its output.
    Call(Call),
    /// A message; the turn ends.
    Say(String),
    /// A failure; the turn ends after Codex's retries.
    Fail(Failure),
}

/// The steps that a text asks for. Unknown directives are plain text.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut yield_ms = None;
    let mut rest = text;
    while let Some(start) = rest.find("[[") {
        let Some(length) = rest[start + 2..].find("]]") else { break };
        let inside = &rest[start + 2..start + 2 + length];
        let (name, value) = inside.split_once('=').unwrap_or((inside, ""));
        if name == "yield" {
            yield_ms = value.parse().ok();
        } else if let Some(step) = step(name, value, &mut yield_ms) {
            steps.push(step);
        }
        rest = &rest[start + 2 + length + 2..];
    }
    steps
}

/// The step of one directive.
fn step(name: &str, value: &str, yield_ms: &mut Option<u64>) -> Option<Step> {
    let mut shell = |escalated| {
        let yield_ms = yield_ms.take();
        Step::Call(Call::Shell(Shell { command: value.to_owned(), escalated, yield_ms }))
    };
    Some(match name {
        "delay" => Step::Delay(Duration::try_from_secs_f64(value.parse().ok()?).ok()?),
        "sh" => shell(false),
        "esc" => shell(true),
        "mcp" => mcp(value)?,
        "say" => Step::Say(value.to_owned()),
        "401" => Step::Fail(Failure::Unauthorized),
        "429" => Step::Fail(Failure::TooManyRequests),
        "500" => Step::Fail(Failure::ServerError),
        "usage" => Step::Fail(Failure::UsageLimit),
        "drop" => Step::Fail(Failure::Dropped),
        "ctx" => Step::Fail(Failure::ContextFull),
        _ => return None,
    })
}

/// `server.tool {json}`; without arguments an empty object.
fn mcp(value: &str) -> Option<Step> {
    let (path, json) = value.split_once(' ').unwrap_or((value, "{}"));
    let (server, tool) = path.split_once('.')?;
    let arguments = serde_json::from_str(json).ok()?;
    Some(Step::Call(Call::Mcp { server: server.to_owned(), tool: tool.to_owned(), arguments }))
}

/// The steps as one answer a request: each call, text or failure ends one, and a turn that ends with none of the last
/// two ends with `default_reply`.
pub fn rounds(steps: &[Step], default_reply: &str) -> Vec<Round> {
    let mut rounds = Vec::new();
    let mut delay = Duration::ZERO;
    for step in steps {
        let action = match step {
            Step::Delay(more) => {
                delay += *more;
                continue;
            }
            Step::Call(call) => Action::Call(call.clone()),
            Step::Say(text) => Action::Say(text.clone()),
            Step::Fail(failure) => Action::Fail(*failure),
        };
        let ended = !matches!(action, Action::Call(_));
        rounds.push(Round { delay: std::mem::take(&mut delay), action });
        if ended {
            return rounds;
        }
    }
    rounds.push(Round { delay, action: Action::Say(default_reply.to_owned()) });
    rounds
}

/// What a fake model says when nothing else was asked for.
pub fn default_reply(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    format!("FAKE-REPLY to {} chars: '{start}'", text.chars().count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn directives_are_steps_in_their_order() {
        let steps = parse(
            r#"go [[delay=0.5]] [[yield=500]] [[sh=ls]] [[esc=rm x]] [[mcp=c.who {"a":1}]] [[nope=1]] x"#,
        );
        let shell = |command: &str, escalated, yield_ms| {
            Step::Call(Call::Shell(Shell { command: command.to_owned(), escalated, yield_ms }))
        };
        let mcp = Call::Mcp { server: "c".into(), tool: "who".into(), arguments: json!({ "a": 1 }) };
        let expected = vec![
            Step::Delay(Duration::from_millis(500)),
            shell("ls", false, Some(500)),
            shell("rm x", true, None),
            Step::Call(mcp),
        ];
        assert_eq!(steps, expected);
        assert_eq!(parse("[[sh=never closed"), []);
    }

    #[test]
    fn each_call_is_one_request_and_a_text_ends_the_turn() {
        let rounds = rounds(&parse("[[sh=a]] [[delay=1]] [[sh=b]]"), "done");
        assert_eq!(rounds.len(), 3);
        assert_eq!(rounds[1].delay, Duration::from_secs(1));
        assert_eq!(rounds[2], Round { delay: Duration::ZERO, action: Action::Say("done".into()) });
        let ended = super::rounds(&parse("[[say=x]] [[sh=never]]"), "done");
        assert_eq!(ended, [Round { delay: Duration::ZERO, action: Action::Say("x".into()) }]);
    }
}
