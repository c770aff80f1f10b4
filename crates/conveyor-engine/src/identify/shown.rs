//! The last message of a thread, and whether a screen shows it: what ties a terminal of the shared daemon's to a thread
//! where neither title nor footer shows the id.

use std::collections::BTreeSet;
use std::path::Path;

use conveyor_agents::AgentLog;
use conveyor_agents::discover;

/// Which of several threads a screen shows, by their last messages: exactly one is shown, and no other thread has the
/// same message.
///
/// An embedded Codex goes on holding the threads that it left by `/clear`, `/new` or `/resume` (measured on 0.169), and
/// holds those of its sub-agents: the screen tells which one is in front.
pub(super) fn in_front(log: &dyn AgentLog, home: &Path, threads: &[String], screen: &str) -> Option<String> {
    let said: Vec<(&String, Vec<String>)> = threads
        .iter()
        .map(|thread| {
            let rollout = discover::rollout_of(log, home, thread).ok().flatten();
            (thread, rollout.map(|path| messages(log, &path)).unwrap_or_default())
        })
        .collect();
    let mut front =
        said.iter().filter(|(_, messages)| messages.last().is_some_and(|last| shows(screen, last)));
    let ((thread, messages), another) = (front.next()?, front.next());
    let last = messages.last()?;
    let shared = said.iter().any(|(other, messages)| other != thread && messages.contains(last));
    (another.is_none() && !shared).then(|| (*thread).clone())
}

/// How much of a rollout's end is read: many turns, and a bounded time.
const TAIL_BYTES: u64 = 1024 * 1024;

/// The messages of the user's in the last [`TAIL_BYTES`] of a rollout, oldest first, blanks left out.
pub(super) fn messages(log: &dyn AgentLog, rollout: &Path) -> Vec<String> {
    let bytes = tail(log, rollout).unwrap_or_default();
    let lines = bytes.split(|&byte| byte == b'\n');
    let events = lines.filter_map(|line| conveyor_agents::parse(line, 0).ok());
    events.filter_map(|event| event.delivered_text().map(squeezed)).filter(|text| !text.is_empty()).collect()
}

fn tail(log: &dyn AgentLog, rollout: &Path) -> std::io::Result<Vec<u8>> {
    let file = log.open(rollout)?;
    let len = file.stat()?.len;
    let start = len.saturating_sub(TAIL_BYTES);
    let mut bytes = vec![0; (len - start) as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(start + filled as u64, &mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The text without blanks: the screen breaks lines where it likes.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Whether a screen shows this squeezed message as one that was submitted.
///
/// A message begins with `›` in the first column and goes on in lines that are set in. The last such place is the
/// composer (or a dialog's choice) and does not count: a draft is no message.
pub(super) fn shows(screen: &str, message: &str) -> bool {
    let lines: Vec<&str> = screen.lines().collect();
    let begins: Vec<usize> = (0..lines.len()).filter(|&row| lines[row].starts_with("› ")).collect();
    let Some((_composer, submitted)) = begins.split_last() else { return false };
    submitted.iter().any(|&row| is_message(&lines[row..], message))
}

fn is_message(lines: &[&str], message: &str) -> bool {
    let mut seen = String::new();
    for (row, line) in lines.iter().enumerate() {
        let text = if row == 0 { line.trim_start_matches('›') } else { line };
        seen.push_str(&squeezed(text));
        if seen.len() >= message.len() {
            let goes_on =
                lines.get(row + 1).is_some_and(|next| next.starts_with("  ") && !next.trim().is_empty());
            return seen == message && !goes_on;
        }
    }
    false
}

/// Whether a thread's last message is no other thread's, so that a screen that shows it shows this thread.
pub(super) fn is_unique(message: &str, others: &[BTreeSet<String>]) -> bool {
    others.iter().all(|messages| !messages.contains(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: &str =
        "› register this session as the\n  worker\n\n• Working (1s • esc to interrupt)\n\n› Ask Codex\n";

    #[test]
    fn a_message_is_found_however_it_is_broken() {
        assert!(shows(SCREEN, &squeezed("register this session as the worker")));
        assert!(!shows(SCREEN, &squeezed("register this session as the")), "it goes on");
        assert!(!shows(SCREEN, &squeezed("register this session as the worker 2")));
    }

    #[test]
    fn a_draft_is_no_message() {
        assert!(!shows("• hello\n\n› register me\n", "registerme"));
        assert!(!shows(SCREEN, &squeezed("Ask Codex")));
    }

    #[test]
    fn what_another_thread_also_said_proves_nothing() {
        let other = BTreeSet::from(["registerme".to_owned()]);
        assert!(!is_unique("registerme", std::slice::from_ref(&other)));
        assert!(is_unique("registerus", &[other]));
    }
}
