//! A person's yes.

use std::io::BufRead;
use std::io::IsTerminal;
use std::path::Path;

use conveyor_engine::plane::quote;
use conveyor_model::Error;
use conveyor_model::Result;

use crate::output::Shown;

/// How a yes is got.
pub(crate) struct Consent {
    /// It was given with the command.
    pub(crate) given: bool,
    /// The form of what is printed.
    pub(crate) form: Shown,
}

impl Consent {
    /// Shows a change and asks for it, unless it was agreed to with the command.
    ///
    /// Errors: refused where no person is at a terminal, or where that person says no.
    pub(crate) fn ask(&self, diff: &str, place: &Path, program: &str) -> Result<()> {
        if self.given {
            return Ok(());
        }
        let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        // On a failure in JSON form, standard error holds one line of JSON and nothing else.
        if somebody || self.form == Shown::Text {
            crate::output::complain(&crate::output::clean(diff));
        }
        if !somebody {
            return Err(Error::refused(format!(
                "nobody is there to agree to a change of {}",
                place.display()
            ))
            .hint(same_with_yes(program)));
        }
        crate::output::complain(&format!("Change {}? [y/N] ", place.display()));
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Error::refused("nothing was changed")),
        }
    }
}

/// This very command line, agreed to.
fn same_with_yes(program: &str) -> String {
    let words: Vec<String> = std::env::args().skip(1).chain(["--yes".to_owned()]).collect();
    let words: Vec<&str> = std::iter::once(program).chain(words.iter().map(String::as_str)).collect();
    quote(&words)
}
