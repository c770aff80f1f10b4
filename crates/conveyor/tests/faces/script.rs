//! What is typed: one file a verb.

use std::path::PathBuf;

use conveyor_engine::VERBS;

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// `! line`: prepares; it has to succeed and is not shown.
    Prepare(String),
    /// `$ line`: shown.
    Show(String),
    /// `^ line`: waits until Ctrl-C ends it; shown.
    Interrupt(String),
}

/// The script of a verb.
///
/// Panics with what to do when there is none.
pub(crate) fn of(name: &str) -> Vec<Line> {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", missing(name)));
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed: Vec<Line> = lines.map(|line| parse(name, line)).collect();
    assert!(parsed.iter().any(|line| matches!(line, Line::Show(_))), "scripts/{name}.txt shows nothing");
    parsed
}

fn parse(name: &str, line: &str) -> Line {
    let (mark, rest) = line.split_at(1);
    let rest = rest.trim_start().to_owned();
    match mark {
        "!" => Line::Prepare(rest),
        "$" => Line::Show(rest),
        "^" => Line::Interrupt(rest),
        _ => panic!("scripts/{name}.txt: a line begins with `!`, `$`, `^` or `#`, not: {line}"),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/faces/scripts")
}

fn missing(name: &str) -> String {
    format!(
        "`{name}` has no script.\n\
         1. Write crates/conveyor/tests/faces/scripts/{name}.txt: a line `$ conveyor {name} …` for what succeeds and \
         for each typical failure, `! …` for what prepares it, `^ …` for what waits (scripts/README.md).\n\
         2. INSTA_UPDATE=always cargo nextest run -p conveyor --test faces -E 'test(={test})'\n\
         3. Read tests/faces/transcripts/{name}.snap as a user would, mend what you do not like, commit both.",
        test = format_args!("transcript::{name}")
    )
}

/// A script that no verb has is one that nobody runs.
pub(crate) fn each_belongs_to_one_of(beside: &[&str]) {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".txt") else { continue };
        let known = VERBS.iter().any(|verb| verb.name == name) || beside.contains(&name);
        assert!(known, "scripts/{name}.txt belongs to no verb");
    }
}
