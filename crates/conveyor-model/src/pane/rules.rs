//! The table of rules, and how it is applied.

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Serialize;

use super::Classification;
use super::Composer;
use super::Kind;
use super::Screen;
use super::layout::Cell;
use super::layout::Layout;
use super::layout::Row;
use super::layout::layout;

/// Where on the screen a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The pane's program has ended.
    DeadPane,
    /// The options of the dialog at the bottom, and the rows above its first option.
    Dialog,
    /// The rows of keys at the very bottom.
    Keys,
    /// The newest cell directly above the composer.
    Cell,
    /// A composer that is there.
    Composer,
    /// The last rows of a screen without dialog and composer.
    Tail,
    /// The terminal's title, on a screen without dialog and composer.
    Title,
}

/// One rule. All of its conditions must hold; an empty list is no condition.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rule {
    /// Stable name.
    pub name: &'static str,
    /// What the screen is when the rule matches.
    pub kind: Kind,
    /// Versions of Codex of which the texts are known, and whether they were seen or only read.
    pub versions: &'static str,
    /// Where it looks.
    pub place: Place,
    /// One of these begins the text.
    pub starts: &'static [&'static str],
    /// All of these are in the text.
    pub contains: &'static [&'static str],
    /// One of these begins an option of the dialog.
    pub option: &'static [&'static str],
}

/// A rule without conditions, to be completed.
const fn rule(name: &'static str, kind: Kind, place: Place, versions: &'static str) -> Rule {
    Rule { name, kind, versions, place, starts: &[], contains: &[], option: &[] }
}

/// All rules in the order in which they are tried; the first that matches decides.
///
/// Apostrophes are compared as `'`, which 0.169 draws as U+2019. Texts of a newest cell that runs are drawn with `•`
/// or `◦` in turn.
pub const RULES: &[Rule] = &[
    rule("dead_pane", Kind::Quit, Place::DeadPane, "any"),
    Rule {
        starts: &["Would you like to ", "Do you want to approve "],
        option: &["Yes"],
        ..rule("approval_heading", Kind::ApprovalPrompt, Place::Dialog, "seen 0.99 to 0.169")
    },
    Rule {
        option: &["Yes, proceed", "Yes, grant these permissions", "Yes, just this once"],
        ..rule("approval_options", Kind::ApprovalPrompt, Place::Dialog, "seen 0.99 to 0.169")
    },
    Rule {
        starts: &["Allow the "],
        contains: &[" MCP server to "],
        option: &["Allow"],
        ..rule("mcp_approval", Kind::McpApprovalPrompt, Place::Dialog, "seen 0.144, 0.169")
    },
    Rule {
        option: &["Yes, provide the requested info"],
        ..rule("mcp_elicitation", Kind::McpApprovalPrompt, Place::Dialog, "read")
    },
    Rule {
        starts: &["Trust this folder?", "Folder access"],
        option: &["Trust and continue"],
        ..rule("trust_folder", Kind::TrustPrompt, Place::Dialog, "seen 0.169")
    },
    Rule {
        starts: &["Do you trust the contents of this directory"],
        option: &["Yes, continue"],
        ..rule("trust_directory", Kind::TrustPrompt, Place::Dialog, "seen 0.144")
    },
    Rule {
        starts: &["> You are running Codex in ", "You are running Codex in "],
        option: &["Yes, allow Codex to work", "Allow Codex to work", "Require approval"],
        ..rule("trust_running_in", Kind::TrustPrompt, Place::Dialog, "seen 0.99")
    },
    Rule {
        starts: &["Hooks need review"],
        ..rule("hooks_review", Kind::HooksReviewPrompt, Place::Dialog, "seen 0.169")
    },
    Rule {
        option: &["Sign in with "],
        ..rule("login_options", Kind::LoginPrompt, Place::Dialog, "seen 0.169")
    },
    Rule {
        option: &["Update now"],
        ..rule("update_options", Kind::UpdatePrompt, Place::Dialog, "seen 0.144, 0.169")
    },
    Rule {
        starts: &["Implement this plan?"],
        option: &["Yes, implement this plan"],
        ..rule("plan_implement", Kind::PlanPrompt, Place::Dialog, "read")
    },
    Rule {
        starts: &["Approaching rate limits"],
        ..rule("rate_limit_prompt", Kind::Picker, Place::Dialog, "read")
    },
    rule("any_dialog", Kind::Picker, Place::Dialog, "any"),
    Rule {
        contains: &["rewind", "esc back"],
        ..rule("rewind_browser", Kind::Rewind, Place::Keys, "seen 0.169")
    },
    Rule {
        contains: &["enter to edit message"],
        ..rule("rewind_transcript", Kind::Rewind, Place::Keys, "seen 0.99, 0.144")
    },
    Rule { contains: &["q to quit"], ..rule("transcript", Kind::Picker, Place::Keys, "seen 0.99, 0.144") },
    Rule { contains: &["enter open"], ..rule("agents_list", Kind::Picker, Place::Keys, "seen 0.169") },
    Rule {
        contains: &["Reconnecting to server"],
        ..rule("server_lost", Kind::Reconnecting, Place::Cell, "seen 0.169")
    },
    Rule {
        contains: &["econnecting", "esc to interrupt)"],
        ..rule("retrying", Kind::Retrying, Place::Cell, "seen 0.99 to 0.169")
    },
    Rule {
        contains: &["esc to interrupt)"],
        ..rule("running", Kind::Busy, Place::Cell, "seen 0.99 to 0.169")
    },
    Rule {
        starts: &["■ You've hit your usage limit", "■ Quota exceeded", "■ You've reached your "],
        ..rule("usage_limit", Kind::UsageLimited, Place::Cell, "seen 0.99 to 0.169")
    },
    Rule {
        starts: &["■ Codex ran out of room in the model's context window"],
        ..rule("context_full", Kind::ContextFull, Place::Cell, "seen 0.169")
    },
    Rule {
        starts: &[
            "■ exceeded retry limit, last status: 429",
            "■ rate limit exceeded",
            "■ unexpected status 429",
        ],
        ..rule("too_many_requests", Kind::RateLimited, Place::Cell, "seen 0.144, 0.169")
    },
    Rule {
        starts: &["■ Conversation interrupted"],
        ..rule("interrupted", Kind::Idle, Place::Cell, "seen 0.99 to 0.169")
    },
    Rule { starts: &["■ "], ..rule("error", Kind::StreamError, Place::Cell, "seen 0.99 to 0.169") },
    Rule {
        starts: &["• Context compacted"],
        ..rule("compacted", Kind::Compacted, Place::Cell, "seen 0.99 to 0.169")
    },
    rule("composer", Kind::Idle, Place::Composer, "seen 0.99 to 0.169"),
    Rule {
        starts: &["To continue this session, run"],
        ..rule("farewell", Kind::Quit, Place::Tail, "seen 0.99 to 0.169")
    },
    Rule {
        starts: &["Welcome to Codex, OpenAI's", "Finish signing in via your browser"],
        ..rule("login_screen", Kind::LoginPrompt, Place::Tail, "read")
    },
    Rule {
        contains: &["Action Required"],
        ..rule("title_action", Kind::ApprovalPrompt, Place::Title, "seen 0.144, 0.169")
    },
];

/// What became of one rule on one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tried {
    /// The rule's name.
    pub rule: &'static str,
    /// Where it looked.
    pub place: Place,
    /// Whether it matched. The first that did decided.
    pub matched: bool,
    /// Row of the matching line, counted from 1.
    pub line: Option<usize>,
}

/// What a screen shows.
pub fn classify(screen: &Screen) -> Classification {
    let layout = layout(screen);
    let decided = RULES.iter().find_map(|rule| Some((rule, match_rule(rule, screen, &layout)?)));
    let (kind, rule, row) = match decided {
        Some((rule, row)) => (rule.kind, Some(rule.name), row.row),
        None => (Kind::Unknown, None, None),
    };
    let cell = layout.cell.as_ref().map_or("", |cell| cell.row.text.as_str());
    Classification {
        kind,
        notices: notices(rule, cell, &layout),
        busy_seconds: if kind.is_running() || kind == Kind::Reconnecting { elapsed(cell) } else { None },
        composer: layout.composer.unwrap_or(Composer::None),
        rule,
        line: row.as_ref().map(|row| row.index + 1),
        evidence: row.map(|row| row.text.trim().chars().take(200).collect()),
        dialog: layout.dialog,
        popup: layout.popup,
        pending: layout.pending,
        in_mode: screen.in_mode,
    }
}

/// Every rule with what became of it on this screen, in order.
pub fn explain(screen: &Screen) -> Vec<Tried> {
    let layout = layout(screen);
    let tried = RULES.iter().map(|rule| {
        let hit = match_rule(rule, screen, &layout);
        let line = hit.as_ref().and_then(|hit| hit.row.as_ref()).map(|row| row.index + 1);
        Tried { rule: rule.name, place: rule.place, matched: hit.is_some(), line }
    });
    tried.collect()
}

/// A match, with the row that it was found in; a title has none.
struct Hit {
    row: Option<Row>,
}

impl Hit {
    fn at(row: &Row) -> Self {
        Self { row: Some(row.clone()) }
    }
}

fn match_rule(rule: &Rule, screen: &Screen, layout: &Layout) -> Option<Hit> {
    let free = layout.dialog.is_none() && layout.composer.is_none();
    match rule.place {
        Place::DeadPane => screen.dead.then(|| Hit { row: layout.tail.first().cloned() }),
        Place::Dialog => match_dialog(rule, layout),
        Place::Keys => layout.tail.iter().take(2).find(|row| holds(rule, &row.text)).map(Hit::at),
        Place::Cell => {
            layout.cell.as_ref().filter(|cell| cell_holds(rule, cell)).map(|cell| Hit::at(&cell.row))
        }
        Place::Composer => layout.composer_row.as_ref().map(Hit::at),
        Place::Tail => layout.tail.iter().find(|row| free && holds(rule, &row.text)).map(Hit::at),
        Place::Title => (free && holds(rule, &screen.title)).then_some(Hit { row: None }),
    }
}

/// A dialog rule: one of the options begins as told, and one row of the heading fits.
fn match_dialog(rule: &Rule, layout: &Layout) -> Option<Hit> {
    let dialog = layout.dialog.as_ref()?;
    let begins = |text: &str| rule.option.iter().any(|start| text.starts_with(start));
    if !rule.option.is_empty() && !dialog.options.iter().any(|option| begins(&plain(&option.text))) {
        return None;
    }
    if rule.starts.is_empty() {
        return layout.first_option.as_ref().map(Hit::at);
    }
    layout.heading.iter().find(|row| holds(rule, &row.text)).map(Hit::at)
}

/// A cell rule. A running turn's row is one row and drawn as Codex draws it; an agent may quote it.
fn cell_holds(rule: &Rule, cell: &Cell) -> bool {
    let status = elapsed(&cell.row.text).is_some() && holds(rule, &cell.row.text);
    match rule.kind {
        Kind::Busy | Kind::Retrying => status && cell.drawn_as_status,
        Kind::Reconnecting => status,
        Kind::Idle
        | Kind::ApprovalPrompt
        | Kind::McpApprovalPrompt
        | Kind::TrustPrompt
        | Kind::HooksReviewPrompt
        | Kind::LoginPrompt
        | Kind::UpdatePrompt
        | Kind::PlanPrompt
        | Kind::Picker
        | Kind::Rewind
        | Kind::RateLimited
        | Kind::UsageLimited
        | Kind::ContextFull
        | Kind::StreamError
        | Kind::Compacted
        | Kind::Quit
        | Kind::Unknown => holds(rule, &cell.text),
    }
}

/// Whether a text fulfils a rule's conditions on text.
fn holds(rule: &Rule, text: &str) -> bool {
    let text = plain(text);
    let starts = rule.starts.is_empty() || rule.starts.iter().any(|start| text.starts_with(start));
    starts && rule.contains.iter().all(|part| text.contains(part))
}

/// A text trimmed and with typewriter apostrophes.
fn plain(text: &str) -> String {
    text.trim().replace('\u{2019}', "'")
}

/// The whole of a status row: `• Working (1h 2m 03s • esc to interrupt) · 1 background terminal running`. Before the
/// time stands no second bullet, which an agent's sentence about such a row would have.
static STATUS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let time = r"\((?:(\d{1,6})h )?(?:(\d{1,2})m )?(\d{1,2})s(?: • esc to interrupt)?\)";
    Regex::new(&format!("^[•◦] [^•◦]*{time}(?: · .*)?$")).ok()
});

/// The seconds that a status row tells; none when it is no status row.
fn elapsed(text: &str) -> Option<u64> {
    let found = STATUS.as_ref()?.captures(text)?;
    let part = |at: usize| found.get(at).map_or(Some(0), |part| part.as_str().parse::<u64>().ok());
    Some(part(1)? * 3600 + part(2)? * 60 + part(3)?)
}

/// Remarks beside the kind.
fn notices(rule: Option<&'static str>, cell: &str, layout: &Layout) -> Vec<&'static str> {
    let footer_has = |part: &str| layout.footer.iter().any(|row| row.text.contains(part));
    let mut notices = Vec::new();
    if cell.starts_with(['•', '◦']) && cell.contains("Starting MCP servers") {
        notices.push("mcp_startup");
    }
    if rule == Some("rate_limit_prompt") {
        notices.push("rate_limit_prompt");
    }
    // 0.144 offers plan mode under a draft that holds the word `plan`. Measured: Tab submits all the same.
    if footer_has("Create a plan?") {
        notices.push("plan_prompt");
    }
    // The next Escape would open the browser of earlier messages.
    if footer_has("esc again to edit previous message") {
        notices.push("escape_armed");
    }
    notices
}
