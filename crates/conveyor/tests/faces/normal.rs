//! What differs from run to run is replaced by what it is, so that the rest can be compared word by word.

use std::cell::RefCell;

use regex::Captures;
use regex::Regex;

use crate::world::World;

/// Replaces what one run has for itself. Ids are numbered as they appear, so that mixing them up shows.
pub(crate) struct Normal {
    fixed: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
    id: Regex,
    ids: RefCell<Vec<String>>,
}

/// What is replaced, in this order; `$1` is kept.
const PATTERNS: &[(&str, &str)] = &[
    (r"\r\n", "\n"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"\[conveyor [0-9A-HJKMNP-TV-Z]{10}\]", "[conveyor <token>]"),
    (r"(command-<id\d+> )[0-9A-HJKMNP-TV-Z]{10}\b", "$1<token>"),
    (r#""confirmation": "[0-9A-HJKMNP-TV-Z]{10}""#, "\"confirmation\": \"<token>\""),
    // A turn of the simulated agent ends so soon that whoever waits for the record may see the end.
    (r#""state": "answered""#, "\"state\": \"recorded\""),
    (r"(\w+): answered\b", "$1: recorded"),
    (r#"("token": ?")[0-9A-HJKMNP-TV-Z]{10}""#, "$1<token>\""),
    (r#"("[a-z_]*pid": ?)\d+"#, "$1<pid>"),
    (r"\b(pid:?|process) \d{2,}", "$1 <pid>"),
    (r"codex-cli \d[\d.]*|\(v\d+\.\d+\.\d+\)", "<version>"),
    (r"tmux \d[\w.]*", "tmux <version>"),
    (r#"("?schema_version"?: )\d+"#, "$1<version>"),
    (r#"("?found"?: )\d+(,?\n\s+"?name"?: "?schema_version)"#, "$1<version>$2"),
    (r#"("start_ticks": ?|"started_at_ticks": ?|"server_start": ?)\d+"#, "$1<ticks>"),
    (
        r#"("(?:[a-z_]*_)?(?:staleness|age|idle|waited|elapsed|duration)(?:_seconds|_ms)?": ?)[\d.]+"#,
        "$1<time>",
    ),
    (r"([-/]dispatch-[a-z-]+-)[0-9a-f]{8}", "$1<digest>"),
    (r"(rollout-)\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d", "$1<time>"),
    (r"sessions/\d{4}/\d\d/\d\d/", "sessions/<date>/"),
];

impl Normal {
    pub(crate) fn of(world: &World) -> Self {
        let text = |path: &std::path::Path| path.display().to_string();
        let conveyor = std::path::Path::new(env!("CARGO_BIN_EXE_conveyor"));
        let fixed = vec![
            (text(conveyor), "<conveyor>"),
            (text(std::path::Path::new(env!("CARGO_BIN_EXE_workerctl"))), "<workerctl>"),
            (text(world.tmux.tmpdir()), "<tmux>"),
            (text(&world.folder), "<world>"),
        ];
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = (Regex::new(&format!(r"\b{}\b", regex::escape(&host))).unwrap(), "<host>");
        let known = PATTERNS.iter().map(|(pattern, with)| (Regex::new(pattern).unwrap(), *with));
        let id = Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
        Self { fixed, patterns: known.chain([host]).collect(), id, ids: RefCell::default() }
    }

    /// The text without what only this run has.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.fixed {
            text = text.replace(from, to);
        }
        text = self.id.replace_all(&text, |found: &Captures<'_>| self.number(&found[0])).into_owned();
        for (pattern, with) in &self.patterns {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        text
    }

    fn number(&self, id: &str) -> String {
        let mut ids = self.ids.borrow_mut();
        let place = ids.iter().position(|known| known == id).unwrap_or_else(|| {
            ids.push(id.to_owned());
            ids.len() - 1
        });
        format!("<id{}>", place + 1)
    }
}
