//! The words of the format that are known.

use std::borrow::Cow;

use conveyor_model::rollout::Word;
use conveyor_model::rollout::cut;

macro_rules! known {
    ($text:expr; $($word:literal),* $(,)?) => {
        match $text {
            $($word => Cow::Borrowed($word),)*
            unknown => Cow::Owned(cut(unknown, 100).0.to_owned()),
        }
    };
}

/// `text` as a word, without an allocation if it is a known one; an unknown one is cut to 100 bytes.
pub(super) fn word(text: &str) -> Word {
    known!(text;
        "session_meta", "turn_context", "event_msg", "response_item", "compacted", "world_state", "token_usage_record",
        "task_started", "task_complete", "turn_aborted", "user_message", "agent_message", "item_completed",
        "token_count", "thread_settings_applied", "context_compacted", "agent_reasoning", "mcp_tool_call_end",
        "web_search_end", "patch_apply_end", "message", "function_call", "function_call_output", "custom_tool_call",
        "custom_tool_call_output", "local_shell_call", "web_search_call", "reasoning",
    )
}

/// The word of older versions, or the same in snake case, for the type of an `item_completed`'s item.
pub(super) fn item_word(item_type: &str) -> Word {
    match item_type {
        "UserMessage" => Cow::Borrowed("user_message"),
        "AgentMessage" => Cow::Borrowed("agent_message"),
        "ContextCompaction" => Cow::Borrowed("context_compacted"),
        "CommandExecution" => Cow::Borrowed("command_execution"),
        "McpToolCall" => Cow::Borrowed("mcp_tool_call"),
        other => Cow::Owned(snake_case(cut(other, 100).0)),
    }
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for character in camel.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// Payloads of `event_msg` that change nothing that conveyor decides. Those that were never seen in a recording are
/// listed in Codex's source as kept in a rollout.
pub(super) fn is_bookkeeping_event(subtype: &str) -> bool {
    matches!(
        subtype,
        "thread_settings_applied"
            | "entered_review_mode"
            | "exited_review_mode"
            | "mcp_tool_call_end"
            | "web_search_end"
            | "patch_apply_end"
            | "image_generation_end"
            | "agent_reasoning"
            | "thread_goal_updated"
            | "sub_agent_activity"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_the_words_of_older_versions() {
        assert_eq!(item_word("UserMessage"), "user_message");
        assert_eq!(item_word("FileChange"), "file_change");
        assert_eq!(item_word(""), "");
    }

    #[test]
    fn a_known_word_is_not_allocated_and_an_unknown_one_is_bounded() {
        assert!(matches!(word("event_msg"), Cow::Borrowed("event_msg")));
        assert_eq!(word(&"x".repeat(5_000)).len(), 100);
    }
}
