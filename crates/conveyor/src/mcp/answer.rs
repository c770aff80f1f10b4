//! A verb's answer or failure as the result of a tool call.

use std::fmt::Write;

use conveyor_engine::verb::Answer;
use conveyor_model::Error;
use conveyor_model::redact::redact;
use rmcp::model::CallToolResult;
use rmcp::model::ContentBlock;
use serde_json::Value;
use serde_json::json;

/// The result of a call.
///
/// The report stands in it twice: as data, which is what Codex gives its model (measured), and as text for clients that
/// read only text. A report that says no (exit code 1) is an answer, not an error.
pub(super) fn result(answered: Result<Answer, Error>) -> CallToolResult {
    match answered {
        Ok(answer) => shown(answer.json, false),
        Err(error) => {
            let mut json = json!({ "error": error });
            redact(&mut json);
            shown(json, true)
        }
    }
}

fn shown(json: Value, is_error: bool) -> CallToolResult {
    let text = ContentBlock::text(visible(&format!("{json:#}")));
    let mut result =
        if is_error { CallToolResult::error(vec![text]) } else { CallToolResult::success(vec![text]) };
    // Before 2026-07-28 the protocol knows only objects here.
    result.structured_content = json.is_object().then_some(json);
    result
}

/// JSON in which no character acts on the terminal of whoever shows it: it may hold an agent's words. What JSON itself
/// does not escape stands only inside of its strings, where an escape means the same.
fn visible(json: &str) -> String {
    let acts = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if acts(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: Value) -> Answer {
        Answer { json, text: Some("for people".to_owned()), exit_code: 1 }
    }

    #[test]
    fn a_report_is_data_and_text_alike() {
        let result = result(Ok(answer(json!({ "name": "w1" }))));
        assert_eq!(result.is_error, Some(false), "a report that says no is an answer");
        assert_eq!(result.structured_content, Some(json!({ "name": "w1" })));
        assert_eq!(result.content[0].as_text().unwrap().text, "{\n  \"name\": \"w1\"\n}");
    }

    #[test]
    fn a_failure_tells_kind_message_hint_and_retry() {
        let result = result(Err(Error::refused("no").hint("ask")));
        let expected =
            json!({ "error": { "kind": "refused", "message": "no", "hint": "ask", "retry": "safe" } });
        assert_eq!((result.is_error, result.structured_content), (Some(true), Some(expected)));
    }

    #[test]
    fn an_agents_words_cannot_steer_the_terminal_of_who_reads_them() {
        let result = result(Ok(answer(json!({ "text": "a\u{1b}[2J\u{9b}2J\u{202e}b" }))));
        let text = &result.content[0].as_text().unwrap().text;
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{text}");
        let back: Value = serde_json::from_str(text).unwrap();
        assert_eq!(back["text"], "a\u{1b}[2J\u{9b}2J\u{202e}b");
    }

    #[test]
    fn a_report_that_is_no_object_is_text_only() {
        let result = result(Ok(answer(json!([1]))));
        assert_eq!(result.structured_content, None);
    }
}
