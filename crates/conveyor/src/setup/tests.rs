//! The skill and the guides against the real command line: what they tell agents to type is what the program takes.

use std::collections::BTreeSet;

use super::skill::TEXT;
use crate::cli;

/// Texts that tell somebody what to type.
const TEXTS: [(&str, &str); 3] = [
    ("the skill", TEXT),
    ("the operator's guide", include_str!("../../../../docs/qa/ralph-loop-operator-guide.md")),
    ("the evidence playbook", include_str!("../../../../docs/agent-evidence-playbook.md")),
];

/// What users ask for, by a part of the words in the skill's table, and the verb that its row must name.
const REQUESTS: [(&str, &str); 13] = [
    ("as the worker for dashboard setup", "register-worker --setup-code"),
    ("as the manager for dashboard setup", "register-manager --setup-code"),
    ("as a worker", "register-worker --name"),
    ("register a manager", "register-manager --name"),
    ("create a task and bind", "bind --task"),
    ("watch the worker", "cycle"),
    ("send a nudge", "session-nudge"),
    ("interrupt the worker", "session-interrupt"),
    ("what happened in this task", "status"),
    ("finish this task", "finish-task"),
    ("\"unbind\"", "unbind --task"),
    ("deregister this session", "deregister"),
    ("reconcile drift", "attention"),
];

/// Every command line in a text: between backticks, or a line of a block. Placeholders become a word.
fn lines(text: &str) -> Vec<String> {
    let spans = text.split('`').filter(|span| span.starts_with("conveyor ") && !span.contains('\n'));
    let rows = text.lines().map(str::trim).filter(|line| line.starts_with("conveyor "));
    let found: BTreeSet<String> = spans.chain(rows).map(|line| without_placeholders(line.trim())).collect();
    found.into_iter().collect()
}

/// `<task>` becomes `x1`, and where only certain words are taken, one of them.
fn without_placeholders(line: &str) -> String {
    let line = line.split(" > ").next().unwrap_or(line);
    let line = line.replace("<id>", "command-00000000-0000-7000-8000-000000000000");
    let line = line.replace("<decision>", "wait").replace("<category.action>", "repo.open_pr");
    let mut plain = String::new();
    let mut depth = 0_u32;
    for letter in line.chars() {
        match letter {
            '<' => {
                depth += 1;
                plain.push_str("x1");
            }
            '>' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// What is wrong with a command line.
fn refusal(line: &str) -> Option<String> {
    let words = shlex::split(line)?;
    let verb = words.get(1).and_then(|word| cli::find(word));
    let matches = match cli::root("conveyor", verb).try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => return Some(format!("{line}: {error}")),
    };
    let (_, rest) = matches.subcommand()?;
    let request = verb.map(|verb| (verb.request_of_args)(rest));
    request.and_then(Result::err).map(|error| format!("{line}: {error}"))
}

#[test]
fn every_command_line_that_is_told_is_taken_by_the_program() {
    for (name, text) in TEXTS {
        let lines = lines(text);
        assert!(lines.len() > 5, "{name}: only {lines:?}");
        let refused: Vec<String> = lines.iter().filter_map(|line| refusal(line)).collect();
        assert!(refused.is_empty(), "{name}: {refused:#?}");
    }
}

#[test]
fn a_line_with_a_flag_that_is_not_there_is_found() {
    for line in ["conveyor cycle x1 --fast", "conveyor replay x1", "conveyor setup --force"] {
        assert!(refusal(line).is_some(), "{line}");
    }
}

#[test]
fn flags_that_stand_alone_are_flags_of_the_verb_in_the_same_paragraph() {
    for (name, text) in TEXTS {
        for paragraph in text.split("\n\n").flat_map(|block| block.split("\n| ")) {
            let known: Vec<String> = paragraph
                .split('`')
                .filter_map(|span| cli::find(span.trim().trim_start_matches("conveyor ").split(' ').next()?))
                .flat_map(|verb| {
                    (verb.command)()
                        .get_arguments()
                        .filter_map(|arg| arg.get_long().map(str::to_owned))
                        .collect::<Vec<_>>()
                })
                .collect();
            let alone = paragraph.split('`').skip(1).step_by(2).filter_map(|span| span.strip_prefix("--"));
            for flag in alone.filter_map(|flag| flag.split([' ', '=']).next()) {
                assert!(
                    known.iter().any(|one| one == flag),
                    "{name}: --{flag} belongs to no verb of its paragraph: {paragraph}"
                );
            }
        }
    }
}

#[test]
fn each_of_the_thirteen_requests_has_its_row() {
    let rows: Vec<(&str, &str)> =
        TEXT.lines().filter_map(|line| line.strip_prefix("| \"")?.split_once(" | ")).collect();
    assert_eq!(rows.len(), REQUESTS.len(), "{rows:#?}");
    for (says, verb) in REQUESTS {
        let row = rows.iter().find(|(said, _)| format!("\"{said}").contains(says));
        let (_, done) = row.unwrap_or_else(|| panic!("no row answers {says:?}"));
        assert!(done.contains(&format!("`conveyor {verb}")), "{says}: {done}");
    }
}

#[test]
fn the_skill_says_what_agents_get_wrong_without_it() {
    for needed in [
        "name: manage-codex-workers",
        "Choose names yourself",
        "burden of proof",
        "before it is bound",
        "Templates",
    ] {
        assert!(TEXT.contains(needed), "{needed}");
    }
    assert!(TEXT.lines().count() < 200);
    assert!(!TEXT.contains("/Users/") && !TEXT.contains("workerctl"));
}
