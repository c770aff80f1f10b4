//! Recorded screens and what they are; and texts that must not be taken for what they quote.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/panes")
}

/// `.txt` was captured without styles, `.ansi` with them.
fn screen(file: &str) -> Screen {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    let styled = Path::new(file).extension().is_some_and(|extension| extension == "ansi");
    if styled { Screen::from_ansi(&text) } else { Screen::from_plain(&text) }
}

fn seen(file: &str) -> Classification {
    classify(&screen(file))
}

/// The composer in one word, or the draft's first 30 characters.
fn composer(seen: &Classification) -> String {
    match &seen.composer {
        Composer::Empty => "empty".to_owned(),
        Composer::None => "none".to_owned(),
        Composer::Draft(text) => {
            format!("draft {}", text.chars().take(30).collect::<String>().escape_debug())
        }
    }
}

#[test]
fn every_recorded_screen_is_what_the_table_says() {
    let table = fs::read_to_string(folder().join("expected.table")).unwrap();
    let mut listed = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let file = line.split(" | ").next().unwrap();
        let seen = seen(file);
        let found =
            format!("{file} | {} | {} | {}", seen.kind.as_str(), composer(&seen), seen.rule.unwrap_or("-"));
        if found != line {
            wrong.push(format!("expected {line}\n   found {found}"));
        }
        listed.insert(file.to_owned());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let screens: BTreeSet<String> = files.filter(|file| file != "expected.table").collect();
    assert_eq!(screens.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
}

#[test]
fn a_screen_says_the_same_with_and_without_styles_when_no_style_is_needed() {
    for file in
        ["0.169.0-approval.ansi", "0.144.0-busy-pending.ansi", "0.99.0-draft.ansi", "0.169.0-mcp.ansi"]
    {
        let styled = screen(file);
        let plain = Screen::from_plain(&styled.text());
        let (styled, plain) = (classify(&styled), classify(&plain));
        assert_eq!(
            (styled.kind, &styled.composer, &styled.pending),
            (plain.kind, &plain.composer, &plain.pending)
        );
    }
}

#[test]
fn a_draft_with_the_words_of_the_placeholder_is_a_draft_when_styles_are_known() {
    let draft = "\u{1b}[1m›\u{1b}[0m Ask Codex to do anything\n\n  fake-1 default · /x\n";
    assert_eq!(composer(&classify(&Screen::from_ansi(draft))), "draft Ask Codex to do anything");
    let placeholder = draft.replace(" Ask", " \u{1b}[2mAsk");
    assert_eq!(classify(&Screen::from_ansi(&placeholder)).composer, Composer::Empty);
    let new_words = placeholder.replace("Ask Codex to do anything", "Whatever comes next");
    assert_eq!(
        classify(&Screen::from_ansi(&new_words)).composer,
        Composer::Empty,
        "a placeholder never seen before"
    );
    assert_eq!(
        composer(&classify(&Screen::from_plain("› Whatever comes next\n\n  m · /x\n"))),
        "draft Whatever comes next"
    );
}

#[test]
fn what_waits_for_the_model_is_listed_with_its_token() {
    for (file, tokens) in [
        ("0.144.0-busy-pending.ansi", &["0000000003", "0000000002"][..]),
        ("0.99.0-busy-pending.ansi", &["0000000002"][..]),
        ("0.169.0-busy-own-unsent.ansi", &["0000000002"][..]),
    ] {
        let seen = seen(file);
        assert_eq!(seen.pending.len(), tokens.len(), "{file}: {:?}", seen.pending);
        assert!(tokens.iter().all(|token| seen.is_pending(token)), "{file}: {:?}", seen.pending);
        assert!(!seen.is_pending("0000000001"), "{file}: what the model has is not pending");
    }
    let wrapped = "queued text that is quite long and so will be wrapped or cut in the list of the pending\n\
                   messages because it is longer than one row";
    assert!(seen("0.99.0-busy-pending.ansi").pending[0].ends_with(wrapped));
}

#[test]
fn own_text_is_known_wrapped_folded_and_beside_foreign_text() {
    let body = "first paragraph of a body that is long enough to be wrapped over more than one row of this pane, because \
                it has so many words in it\n\nsecond paragraph after a blank line\n  indented\n› looks like a prompt\n\
                last line ";
    let own = OwnText { token: "7Q4K2MZ0AB".to_owned(), body: body.to_owned() };
    let padded: Vec<String> = (0..60).map(|line| format!("line {line}")).collect();
    let padded = format!("{}{}", padded.join("\n"), " ".repeat(600));
    let padded = OwnText { token: own.token.clone(), body: padded };
    for version in ["0.99.0", "0.144.0", "0.169.0"] {
        let multi = seen(&format!("{version}-own-multi.ansi"));
        assert!(multi.holds_only(&own.token) && multi.holds_exactly(&own), "{version}: {:?}", multi.composer);
        let more = OwnText { body: body.replace("indented", "indented more"), ..own.clone() };
        assert!(!multi.holds_exactly(&more), "{version}: a body that differs");
        let folded = seen(&format!("{version}-own-padded.ansi"));
        assert!(folded.holds_exactly(&padded), "{version}: {:?}", folded.composer);
        assert!(!seen(&format!("{version}-own-behind-foreign.ansi")).holds_exactly(&padded), "{version}");
        assert!(
            !seen(&format!("{version}-own-tall.ansi")).holds_only(&own.token),
            "{version}: its label is not seen"
        );
    }
}

#[test]
fn a_popup_is_seen_above_and_below_the_composer() {
    for version in ["0.99.0", "0.144.0", "0.169.0"] {
        for popup in ["slash", "at", "dollar"] {
            let file = format!("{version}-{popup}.ansi");
            for screen in [screen(&file), Screen::from_plain(&screen(&file).text())] {
                let seen = classify(&screen);
                assert!(seen.popup && !seen.is_ready_for_paste(), "{file}, styled {}", screen.styled);
                assert!(matches!(seen.composer, Composer::Draft(_)), "{file}");
            }
        }
        assert!(!seen(&format!("{version}-draft.ansi")).popup);
        assert!(!seen(&format!("{version}-own-multi.ansi")).popup);
    }
}

#[test]
fn dialogs_tell_their_options_and_where_the_cursor_is() {
    let update = seen("0.169.0-update-available.txt").dialog.unwrap();
    assert_eq!(update.options.len(), 3);
    assert_eq!(update.options[1], DialogOption { number: 2, text: "Skip".to_owned() });
    assert!(update.is_on_first());
    let moved = screen("0.169.0-update-available.txt").text().replace("› 1.", "  1.").replace("  2.", "› 2.");
    assert_eq!(classify(&Screen::from_plain(&moved)).dialog.unwrap().selected, Some(2));
    let login = seen("0.169.0-resume-tui.txt").dialog.unwrap();
    assert_eq!(
        (login.options.len(), login.selected),
        (3, Some(1)),
        "descriptions between options are passed over"
    );
}

#[test]
fn answers_to_recorded_dialogs() {
    let no = Allowed::default();
    let yes = Allowed { approve: true, ..no.clone() };
    for (file, plain, approved) in [
        ("0.169.0-approval.ansi", Answer::NeedsApprove, Answer::Enter),
        ("0.169.0-mcp.ansi", Answer::NeedsApprove, Answer::Enter),
        ("0.144.0-trust.ansi", Answer::Enter, Answer::Enter),
        ("0.169.0-trust-prompt-git.txt", Answer::Enter, Answer::Enter),
        // Its first option lets the agent work without asking.
        ("0.99.0-trust.ansi", Answer::NeedsApprove, Answer::Enter),
        ("made-0.99.0-trust-plain.txt", Answer::NeedsApprove, Answer::CursorElsewhere),
        ("made-plan-implement.txt", Answer::Enter, Answer::Enter),
        ("0.169.0-hooks-review-prompt.txt", Answer::NeverByUs, Answer::NeverByUs),
        ("0.169.0-update-available.txt", Answer::NeverByUs, Answer::NeverByUs),
        ("0.169.0-resume-tui.txt", Answer::NeverByUs, Answer::NeverByUs),
        ("0.169.0-slash-new.txt", Answer::NeverByUs, Answer::NeverByUs),
        ("0.169.0-esc-esc-idle.txt", Answer::NeverByUs, Answer::NeverByUs),
        ("0.144.0-escesc.ansi", Answer::NeverByUs, Answer::NeverByUs),
        ("made-rate-limit-prompt.txt", Answer::NeverByUs, Answer::NeverByUs),
        ("0.169.0-draft.ansi", Answer::ForeignDraft, Answer::ForeignDraft),
        ("0.169.0-slash.ansi", Answer::NotReachable, Answer::NotReachable),
        ("0.169.0-daemon-stopped.txt", Answer::NotReachable, Answer::NotReachable),
        ("0.169.0-after-busy.ansi", Answer::Nothing, Answer::Nothing),
    ] {
        assert_eq!(answerable(&seen(file), &no), plain, "{file}");
        assert_eq!(answerable(&seen(file), &yes), approved, "{file} with --approve");
    }
}

#[test]
fn remarks_beside_the_kind() {
    assert_eq!(seen("0.144.0-plan.ansi").notices, ["plan_prompt"]);
    assert_eq!(seen("0.144.0-esc.ansi").notices, ["escape_armed"]);
    assert_eq!(seen("0.169.0-esc-idle.txt").notices, ["escape_armed"]);
    assert_eq!(seen("made-mcp-startup.txt").notices, ["mcp_startup"]);
    assert_eq!(seen("made-rate-limit-prompt.txt").notices, ["rate_limit_prompt"]);
    assert_eq!(seen("made-busy-long.txt").busy_seconds, Some(3_723));
}

/// The bottom of an idle screen of 0.144.
const IDLE: &str = "\n› Summarize recent commits\n\n  fake-1 default · /home/dev/repo\n";

#[test]
fn a_prompt_that_scrolled_up_is_not_open() {
    for file in [
        "0.169.0-approval-command.txt",
        "0.144.0-trust-prompt.txt",
        "0.169.0-update-available.txt",
        "0.169.0-hooks-review-prompt.txt",
        "0.169.0-resume-tui.txt",
        "0.169.0-busy-tool-tab-queued.txt",
        "0.169.0-daemon-stopped.txt",
        "0.169.0-slash-quit.txt",
    ] {
        let old = screen(file).text();
        let seen = classify(&Screen::from_plain(&format!("{old}\n\n• REPLY 3\n{IDLE}")));
        assert_eq!((seen.kind, &seen.composer, seen.dialog), (Kind::Idle, &Composer::Empty, None), "{file}");
        assert_eq!(seen.pending, Vec::<String>::new(), "{file}");
    }
}

#[test]
fn an_agent_that_quotes_a_prompt_does_not_open_it() {
    let quotes = [
        "• The pane shows:\n\n    Would you like to run the following command?\n\n  › 1. Yes, proceed (y)\n    2. No (esc)\n\n\
         \x20   Press enter to confirm or esc to cancel\n",
        "• It says • Working (3s • esc to interrupt)\n\n  • Working (4s • esc to interrupt)\n",
        "• We shall not allow disapproval. ■ You've hit your usage limit.\n  ■ exceeded retry limit, last status: 429\n",
        "• Text:\n\n  ↳ [conveyor 0000000002] not waiting\n    shift + ← edit last queued message\n",
        "• To continue this session, run codex resume\n  To continue this session, run codex resume\n",
        "› Reconnecting to server… (3s)\n\n• No.\n",
    ];
    for quote in quotes {
        let seen = classify(&Screen::from_plain(&format!("{quote}{IDLE}")));
        assert_eq!((seen.kind, &seen.composer), (Kind::Idle, &Composer::Empty), "{quote}");
        assert!(seen.pending.is_empty(), "{quote}");
    }
}

#[test]
fn an_agents_line_in_the_form_of_a_status_row_is_told_by_its_style() {
    let quoted = "\u{1b}[2m• \u{1b}[0mWorking (3s • esc to interrupt)\n\n\u{1b}[1m›\u{1b}[0m \u{1b}[2mAsk\u{1b}[0m\n\n  m · /x\n";
    assert_eq!(classify(&Screen::from_ansi(quoted)).kind, Kind::Idle);
    assert_eq!(seen("0.169.0-busy-own-unsent.ansi").kind, Kind::Busy, "0.169 draws the key bright");
}

#[test]
fn a_numbered_list_in_a_draft_is_no_dialog() {
    let draft = "› 1. Yes, proceed (y)\n  2. No\n\n  fake-1 default · /home/dev/repo\n";
    assert_eq!(classify(&Screen::from_plain(draft)).kind, Kind::Idle);
    let mut hidden = Screen::from_plain(draft.trim_end_matches("  fake-1 default · /home/dev/repo\n"));
    hidden.cursor = Some(Cursor { row: 3, column: 0, visible: false });
    assert_eq!(
        classify(&hidden).kind,
        Kind::ApprovalPrompt,
        "a dialog without its row of keys hides the cursor"
    );
}

#[test]
fn a_shell_is_no_agent() {
    for text in ["", "$ ls\nfile\n$ ", "› ls\nfile\n› ", "! x"] {
        let seen = classify(&Screen::from_plain(text));
        assert_eq!((seen.kind, seen.composer), (Kind::Unknown, Composer::None), "{text}");
    }
    let dead = Screen { dead: true, ..Screen::from_plain("error: boom\nPane is dead (status 1)\n") };
    assert_eq!(classify(&dead).kind, Kind::Quit);
    let title = Screen { title: "[ ! ] Action Required | work".to_owned(), ..Screen::from_plain("???") };
    assert_eq!(classify(&title).kind, Kind::ApprovalPrompt);
    assert_eq!(classify(&Screen { title: title.title, ..Screen::from_plain(IDLE) }).kind, Kind::Idle);
}

#[test]
fn explain_lists_every_rule_and_the_first_match_decides() {
    let screen = screen("0.169.0-approval-command.txt");
    let tried = explain(&screen);
    assert_eq!(tried.len(), RULES.len());
    let matched: Vec<&str> = tried.iter().filter(|tried| tried.matched).map(|tried| tried.rule).collect();
    assert_eq!(matched, ["approval_heading", "approval_options", "any_dialog"]);
    assert_eq!(classify(&screen).rule, Some("approval_heading"));
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len(), "names are unique");
}

#[test]
fn every_rule_decides_at_least_one_known_screen() {
    let table = fs::read_to_string(folder().join("expected.table")).unwrap();
    let used: BTreeSet<&str> = table.lines().filter_map(|line| line.rsplit(" | ").next()).collect();
    let elsewhere = ["dead_pane", "title_action"];
    let unused: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.name)
        .filter(|name| !used.contains(name) && !elsewhere.contains(name))
        .collect();
    assert_eq!(unused, Vec::<&str>::new());
}

/// Pieces of screens, so that random screens reach deep into the rules.
fn piece() -> impl Strategy<Value = String> {
    let known: Vec<&'static str> = vec![
        "›",
        "› ",
        "! ",
        "• ",
        "◦ ",
        "■ ",
        "⚠ ",
        "  ",
        "    ",
        "\n",
        "\n\n",
        "1. ",
        "  2. ",
        "› 1. Yes",
        "↳ ",
        "  ↳ [conveyor 0000000002]",
        "(1m 02s • esc to interrupt)",
        "• Queued follow-up inputs",
        "Press enter to confirm or esc to cancel",
        "enter insert · esc close",
        "/model  choose",
        "\u{1b}[2m",
        "\u{1b}[0m",
        "\u{1b}[38;2;1",
        "ä",
        "\u{2019}",
        "[Pasted Content 9 chars]",
        "To continue this session, run",
    ];
    prop_oneof![
        proptest::sample::select(known).prop_map(str::to_owned),
        ".{0,6}",
        any::<char>().prop_map(String::from)
    ]
}

proptest! {
    #[test]
    fn classify_never_panics(pieces in proptest::collection::vec(piece(), 0..60), visible in any::<bool>(), row in 0u16..60) {
        let text = pieces.concat();
        for screen in [Screen::from_plain(&text), Screen::from_ansi(&text)] {
            let cursor = Some(Cursor { row, column: 2, visible });
            let seen = classify(&Screen { cursor, ..screen.clone() });
            let _ = explain(&screen);
            let _ = answerable(&seen, &Allowed { approve: true, steer: true, own: &[] });
            let _ = notable_pattern(&seen, None, std::time::Duration::from_secs(90), 0);
            prop_assert!(!seen.kind.is_dialog() || !seen.is_ready_for_paste());
            prop_assert!(seen.line.is_none_or(|line| (1..=screen.lines.len()).contains(&line)));
        }
    }
}
