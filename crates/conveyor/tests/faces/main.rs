//! The faces as their users meet them: for each verb, whole stdout, stderr and exit code, in a pipe, in an agent's
//! terminal and in a person's; what a closed pipe does; what a signal does, whenever it comes.
//!
//! `scripts/` holds what is typed, `transcripts/` what is answered; `scripts/README.md` says how to write one.

#![allow(clippy::unwrap_used, reason = "a test says by panicking what failed")]

mod closed;
mod normal;
mod script;
mod seed;
mod signals;
mod terminal;
mod transcript;
mod world;

use conveyor_engine::VERBS;
use libtest_mimic::Arguments;
use libtest_mimic::Trial;

/// What the program offers beside the table of verbs, and what it says where no verb was meant.
const BESIDE: [&str; 7] = ["completions", "demo", "install-skills", "mcp", "no-verb", "setup", "uninstall"];

/// What goes wrong outside, whatever the verb.
const BAD_INPUT: &str = "bad-input";

fn main() {
    let arguments = Arguments::from_args();
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).chain(BESIDE).collect();
    let mut trials = vec![trial("scripts::each_belongs_to_a_verb", || {
        script::each_belongs_to_one_of(&[&BESIDE[..], &[BAD_INPUT]].concat());
    })];
    trials.push(trial("transcript::bad-input", || transcript::holds(BAD_INPUT)));
    trials.push(trial("seed::every_line_that_is_owed_works", seed::every_line_that_is_owed_works));
    trials.push(trial("seed::the_readmes_example_works", seed::the_readmes_example_works));
    for name in names {
        trials.push(trial(&format!("transcript::{name}"), move || transcript::holds(name)));
        trials.push(trial(&format!("closed_pipe::{name}"), move || closed::ends_quietly(name)));
        trials.push(trial(&format!("signal::{name}"), move || signals::end_it_whole(name)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}
