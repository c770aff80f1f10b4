//! A dialog that opens while a text is being delivered: between paste and key nothing may be approved.

use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use conveyor_sim::codex::Flavour;
use conveyor_sim::directive::Call;
use conveyor_sim::directive::Shell;
use conveyor_sim::directive::Step;
use conveyor_sim::provider::Received;
use conveyor_sim::provider::Rule;
use serde_json::Value;

use crate::pair::Pair;
use crate::pair::is_approval;

/// Tries at most; about every third hits the moment.
const TRIES: u32 = 12;

/// From then on no new try begins.
const ENOUGH: Duration = Duration::from_secs(45);

/// How often the moment has to be hit to stop early.
const HITS: u32 = 3;

/// A model that asks for a command in the moment in which conveyor is about to paste.
fn rule(tmux: PathBuf, touched: PathBuf) -> Rule {
    Rule::ask("race", move |request: &Received| {
        if request.is_side_request() || !request.outputs.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        while !is_about_to_paste(&tmux) && Instant::now() < deadline {}
        let command = format!("touch {}", touched.display());
        vec![Step::Call(Call::Shell(Shell { command, escalated: true, ..Shell::default() }))]
    })
}

/// Conveyor's buffers are loaded right before they are pasted.
fn is_about_to_paste(tmux: &PathBuf) -> bool {
    let mut list = Command::new("tmux");
    list.args(["list-buffers", "-F", "#{buffer_name}"]).env("TMUX_TMPDIR", tmux).env_remove("TMUX");
    let listed = list.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains("conveyor-")
}

#[test]
fn a_dialog_that_opens_between_paste_and_key_is_never_answered() {
    let pair = Pair::bound(Flavour::Embedded);
    let touched = pair.desk.file("approved");
    let tmux = pair.worker.codex.tmux.tmpdir().to_owned();
    pair.worker.codex.provider.rule(rule(tmux, touched.clone()));
    let began = Instant::now();
    let (mut tries, mut hits) = (0, 0);
    while tries < TRIES && hits < HITS && began.elapsed() < ENOUGH {
        tries += 1;
        hits += u32::from(one_try(&pair, tries));
        assert!(!touched.exists(), "try {tries} approved the command");
    }
    println!("{hits} of {tries} tries pasted before the dialog and pressed nothing");
}

/// One try. Whether the text was pasted and the dialog came before the key.
fn one_try(pair: &Pair, number: u32) -> bool {
    pair.worker.say(&format!("race {number}"));
    let text = format!("between {number}.");
    let sent = pair.report(&["session-nudge", "wren", &text, "--wait-for", "submitted", "--timeout", "3"]);
    pair.worker.until_shown("the dialog", is_approval);
    pair.worker.press(&["Escape"]);
    pair.worker.until("the text, once the dialog is gone", || {
        pair.report(&["dispatch", "--once"]);
        pair.worker.count(&text) > 0
    });
    pair.worker.until_idle();
    assert_eq!(pair.worker.count(&text), 1, "{:#?}", pair.worker.texts());
    sent["side_effect_started"] == true && sent["side_effect_completed"] == Value::Bool(false)
}
