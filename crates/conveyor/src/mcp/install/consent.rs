//! A person's yes.

use std::io::BufRead;
use std::io::IsTerminal;
use std::path::Path;

use conveyor_model::Error;
use conveyor_model::Result;

use crate::output::Shown;

/// How a yes is got.
pub(super) struct Consent {
    /// It was given with the command.
    pub(super) given: bool,
    /// The form of what is printed.
    pub(super) form: Shown,
}

impl Consent {
    /// Shows a change and asks for it, unless it was agreed to with the command.
    ///
    /// Errors: refused where no person is at a terminal, or where that person says no.
    pub(super) fn ask(&self, diff: &str, file: &Path, command: impl Fn() -> String) -> Result<()> {
        if self.given {
            return Ok(());
        }
        let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        // On a failure in JSON form, standard error holds one line of JSON and nothing else.
        if somebody || self.form == Shown::Text {
            eprint!("{}", crate::output::clean(diff));
        }
        if !somebody {
            return Err(Error::refused(format!(
                "nobody is there to agree to a change of {}",
                file.display()
            ))
            .hint(command()));
        }
        eprint!("Change {}? [y/N] ", file.display());
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Error::refused("nothing was changed")),
        }
    }
}
