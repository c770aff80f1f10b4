//! The proof of a delivery or a call: the line of an agent's own record that holds it.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use conveyor_model::Timestamp;
use conveyor_model::wire::find_messages;
use serde_json::Value;

/// How much of a line is shown on each side of its token.
const SHOWN: usize = 70;

/// A line of a rollout.
#[derive(Debug)]
pub(super) struct Proof {
    /// The rollout's file name.
    pub(super) file: String,
    /// The line's number, from 1.
    pub(super) line: usize,
    /// The line around what it proves.
    pub(super) text: String,
    /// When the agent wrote it, by its own word.
    pub(super) at: Option<Timestamp>,
}

/// Each line of the rollouts below a Codex folder that records this token's message.
pub(super) fn records(codex_home: &Path, token: &str) -> Result<Vec<Proof>> {
    lines(codex_home, token, |record| holds(record, token))
}

/// Each line of a thread's rollouts in which its model calls what these words name: a tool, or a part of a command.
pub(super) fn calls(codex_home: &Path, thread: &str, words: &str) -> Result<Vec<Proof>> {
    let mut found = lines(codex_home, words, |record| {
        let call = &record["payload"];
        let arguments = call["arguments"].as_str().unwrap_or_default();
        call["type"] == "function_call" && (call["name"] == words || arguments.contains(words))
    })?;
    found.retain(|call| call.file.contains(thread));
    Ok(found)
}

/// The lines that hold a text and whose record is as wanted. A line that is not whole yet is none.
fn lines(codex_home: &Path, text: &str, wanted: impl Fn(&Value) -> bool) -> Result<Vec<Proof>> {
    let mut found = Vec::new();
    for path in rollouts(&codex_home.join("sessions"))? {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rollout = std::fs::read_to_string(&path)?;
        for (index, line) in rollout.lines().enumerate().filter(|(_, line)| line.contains(text)) {
            let record: Value = serde_json::from_str(line).unwrap_or_default();
            if wanted(&record) {
                let at = record["timestamp"].as_str().and_then(|time| time.parse().ok());
                found.push(Proof { file: file.clone(), line: index + 1, text: around(line, text), at });
            }
        }
    }
    Ok(found)
}

/// Whether a record is a user's message with this token.
fn holds(record: &Value, token: &str) -> bool {
    let text = record["payload"]["content"][0]["text"].as_str().unwrap_or_default();
    record["type"] == "response_item"
        && record["payload"]["role"] == "user"
        && find_messages(text).iter().any(|message| message.token == token)
}

/// The line around a text.
fn around(line: &str, token: &str) -> String {
    let at = line.find(token).unwrap_or_default();
    let begin = line[..at].char_indices().rev().nth(SHOWN).map_or(0, |(index, _)| index);
    let end = line[at..].char_indices().nth(SHOWN).map_or(line.len(), |(index, _)| at + index);
    let (before, after) = (if begin > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    format!("{before}{}{after}", &line[begin..end])
}

fn rollouts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_around_its_token_at_whole_characters() {
        let line = format!("{}7Q4K2MZ0AB{}", "ä".repeat(200), "ö".repeat(200));
        let cut = around(&line, "7Q4K2MZ0AB");
        assert!(cut.starts_with("…ä") && cut.ends_with("ö…") && cut.contains("7Q4K2MZ0AB"), "{cut}");
        assert_eq!(around("7Q4K2MZ0AB", "7Q4K2MZ0AB"), "7Q4K2MZ0AB");
    }

    #[test]
    fn only_a_users_own_record_proves_a_delivery() {
        let record = |role: &str, text: &str| {
            serde_json::json!({ "type": "response_item",
                "payload": { "role": role, "content": [{ "text": text }] } })
        };
        assert!(holds(&record("user", "[conveyor 7Q4K2MZ0AB] hello"), "7Q4K2MZ0AB"));
        assert!(!holds(&record("assistant", "[conveyor 7Q4K2MZ0AB] hello"), "7Q4K2MZ0AB"));
        assert!(!holds(&record("user", "it said [conveyor 7Q4K2MZ0AB] hello"), "7Q4K2MZ0AB"));
    }
}
