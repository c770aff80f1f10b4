//! Reading acceptance criteria out of a worker's answer, which is prose with lists.
//!
//! A heading opens a section, list items below it are criteria. A heading has to look like one (markup, a colon, or a few
//! words without a full stop), so that a sentence that happens to hold "accepted" changes nothing.

/// What a criterion is proposed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The work at hand.
    MustHave,
    /// A later task.
    FollowUp,
}

/// A criterion that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its text, cleaned.
    pub criterion: String,
    /// Where it stood.
    pub section: Section,
}

/// What was found in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// The criteria in their order, each once.
    pub criteria: Vec<Proposed>,
    /// What to look at before they are recorded.
    pub warnings: Vec<String>,
}

/// A heading of more words is prose.
const HEADING_WORDS: usize = 6;

/// Words of the end of a task: the manager's own work, which no worker can satisfy.
const CLOSEOUT: &[&str] = &[
    "finish-task",
    "stop-task",
    "export-task",
    "transcript-capture",
    "unbind",
    "deregister",
    "close the task",
];

/// Reads criteria out of an answer.
pub fn read(answer: &str) -> Proposal {
    let mut reading = Reading::default();
    for line in answer.lines() {
        reading.line(line);
    }
    reading.end()
}

#[derive(Default)]
struct Reading {
    section: Option<Section>,
    saw_heading: bool,
    item: Option<(Section, String)>,
    found: Vec<Proposed>,
}

impl Reading {
    fn line(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() {
            self.close();
            return;
        }
        let item = item(text);
        if let Some((section, rest)) = heading(item.unwrap_or(text), item.is_some()) {
            self.close();
            self.saw_heading = true;
            if item.is_none() || rest.is_empty() {
                self.section = Some(section);
            }
            if !rest.is_empty() {
                self.item = Some((section, rest.to_owned()));
            }
            return;
        }
        match (item, &mut self.item) {
            (Some(item), _) => {
                self.close();
                self.item = self.section.map(|section| (section, item.to_owned()));
            }
            (None, Some((_, open))) if line.starts_with([' ', '\t']) => {
                open.push(' ');
                open.push_str(text);
            }
            (None, _) => self.close(),
        }
    }

    fn close(&mut self) {
        let Some((section, text)) = self.item.take() else { return };
        let criterion = clean(&text);
        let proposed = Proposed { criterion, section };
        if !says_none(&proposed.criterion) && !self.found.contains(&proposed) {
            self.found.push(proposed);
        }
    }

    fn end(mut self) -> Proposal {
        self.close();
        let mut warnings = Vec::new();
        if !self.saw_heading {
            warnings.push(
                "no heading like `Must-have:` or `Follow-up:` was found, so nothing was taken from the text"
                    .to_owned(),
            );
        } else if self.found.is_empty() {
            warnings.push("there are headings, but no list item under them".to_owned());
        }
        for one in &self.found {
            let lower = one.criterion.to_lowercase();
            if let Some(word) = CLOSEOUT.iter().find(|word| lower.contains(*word)) {
                warnings.push(format!(
                    "`{}` speaks of `{word}`, which is the manager's own work at the end: the worker cannot satisfy it",
                    one.criterion
                ));
            }
        }
        Proposal { criteria: self.found, warnings }
    }
}

/// The text of a list item without its bullet and checkbox.
fn item(line: &str) -> Option<&str> {
    let bullet = line.strip_prefix(['-', '*', '+', '•']).or_else(|| numbered(line));
    if let Some(rest) = bullet.filter(|rest| rest.starts_with([' ', '\t'])) {
        let rest = rest.trim_start();
        return Some(checkbox(rest).unwrap_or(rest));
    }
    checkbox(line)
}

/// Behind `1.`, `1)` or `(1)`.
fn numbered(line: &str) -> Option<&str> {
    let digits = line.strip_prefix('(').unwrap_or(line);
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == digits.len() {
        return None;
    }
    if digits.len() < line.len() { rest.strip_prefix(')') } else { rest.strip_prefix(['.', ')']) }
}

/// Behind `[ ]` or `[x]`.
fn checkbox(text: &str) -> Option<&str> {
    let rest = ["[ ]", "[x]", "[X]"].iter().find_map(|mark| text.strip_prefix(mark))?;
    rest.starts_with([' ', '\t']).then(|| rest.trim_start())
}

/// The section that a line opens, and what stands behind its colon.
fn heading(text: &str, is_item: bool) -> Option<(Section, &str)> {
    let (head, rest) = match text.split_once(':') {
        Some((head, rest)) => (head, Some(rest.trim_matches(['*', '_', ' ', '\t']))),
        None => (text, None),
    };
    let marked = text.starts_with('#') || text.starts_with("**") || text.starts_with("__");
    let words = words(head);
    let short = words.len() <= HEADING_WORDS;
    let looks_like_one = match (is_item, rest) {
        // A list item is one only when there is nothing else in front of its colon.
        (true, rest) => rest.is_some() && words.len() <= 3,
        (false, Some(_)) => short,
        (false, None) => marked || (short && !text.ends_with(['.', '!', '?', ','])),
    };
    let section = section(&words).filter(|_| looks_like_one)?;
    Some((section, rest.unwrap_or_default()))
}

/// Lower-case words; a hyphen parts them.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn section(words: &[String]) -> Option<Section> {
    let has = |wanted: &[&str]| words.windows(wanted.len()).any(|some| some.iter().eq(wanted));
    let one_of = |all: &[&[&str]]| all.iter().any(|wanted| has(wanted));
    if one_of(&[&["follow", "up"], &["follow", "ups"], &["followup"], &["followups"], &["deferred"]]) {
        Some(Section::FollowUp)
    } else if one_of(&[
        &["must", "have"],
        &["must", "haves"],
        &["musthave"],
        &["musthaves"],
        &["current", "task"],
        &["accepted"],
    ]) {
        Some(Section::MustHave)
    } else {
        None
    }
}

fn clean(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_matches(|c: char| c == '`' || c.is_whitespace()).to_owned()
}

/// Whether an item says that there is none.
fn says_none(text: &str) -> bool {
    let words = words(text).join(" ");
    let bare = words.strip_suffix(" criteria").unwrap_or(&words);
    matches!(bare, "" | "n a" | "na" | "none" | "nothing" | "no follow up" | "no follow ups" | "no deferred")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(answer: &str) -> Vec<(Section, String)> {
        read(answer).criteria.into_iter().map(|one| (one.section, one.criterion)).collect()
    }

    fn must(text: &str) -> (Section, String) {
        (Section::MustHave, text.to_owned())
    }

    fn later(text: &str) -> (Section, String) {
        (Section::FollowUp, text.to_owned())
    }

    #[test]
    fn items_go_where_their_heading_says() {
        let answer = "Here is what I propose.\n\n## Must-have\n- [ ] `tests pass`\n* the  diff\n  is small\n1) no panic\n\n\
                      **Follow-up (deferred):**\n(1) docs\n• more docs\n- none.\n";
        assert_eq!(
            found(answer),
            [
                must("tests pass"),
                must("the diff is small"),
                must("no panic"),
                later("docs"),
                later("more docs")
            ]
        );
    }

    #[test]
    fn prose_with_such_a_word_is_no_heading() {
        let answer = "Must-have:\n- a\n\nI think that we accepted too much here and deferred the rest.\n- b\n\
                      That is deferred.\n- c\n";
        assert_eq!(found(answer), [must("a"), must("b"), must("c")]);
    }

    #[test]
    fn an_item_may_stand_behind_its_headings_colon() {
        let answer = "Must-have: tests pass\nFollow-up: docs\n- **Must-have:** no panic\n- x\n";
        assert_eq!(found(answer), [must("tests pass"), later("docs"), must("no panic"), later("x")]);
    }

    #[test]
    fn a_colon_inside_an_item_opens_nothing() {
        assert_eq!(
            found("Must-have:\n- The accepted way to do it: run the tests\n"),
            [must("The accepted way to do it: run the tests")]
        );
    }

    #[test]
    fn a_line_that_is_not_indented_ends_an_item() {
        assert_eq!(found("Must have\n- a\nso much for that\n- b"), [must("a"), must("b")]);
    }

    #[test]
    fn what_was_not_understood_is_said() {
        assert!(read("all good").warnings[0].contains("no heading"));
        assert!(read("Must-have:\nprose only").warnings[0].contains("no list item"));
        assert!(read("Must-have:\n- finish-task succeeds").warnings[0].contains("manager's own work"));
        assert!(read("Must-have:\n- a").warnings.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,400}") {
            let _ = read(&text);
        }
    }
}
