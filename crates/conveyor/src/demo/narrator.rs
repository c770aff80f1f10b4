//! What a person reads along.

use crate::output;

/// Prints titles, commands and proofs, and counts the steps.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    step: u32,
}

impl Narrator {
    /// A sentence outside of the steps.
    pub(super) fn say(text: &str) {
        print(text);
    }

    /// The next step: what happens, and why.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        print(&format!("\n{}. {title}", self.step));
    }

    /// A command that a user would type.
    pub(super) fn command(line: &str) {
        print(&format!("   $ {line}"));
    }

    /// What is proved now.
    pub(super) fn proved(text: &str) {
        print(&format!("   ✓ {text}"));
    }

    /// More about the last line.
    pub(super) fn detail(text: &str) {
        print(&format!("     {text}"));
    }
}

/// A reader that went away does not stop the story: it still has to clean up.
fn print(line: &str) {
    let _ = output::print(&format!("{}\n", output::clean(line)));
}
