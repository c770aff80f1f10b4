//! Names that follow from a dashboard's setup code, so that nobody has to invent or type them.

use crate::Error;
use crate::Name;
use crate::Result;

/// Letters and digits in a fresh code: without those that are read as others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The names of one setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupNames {
    /// `dashboard-CODE`
    pub task: Name,
    /// `dashboard-CODE-worker`
    pub worker: Name,
    /// `dashboard-CODE-manager`
    pub manager: Name,
}

/// A fresh code of six characters.
pub fn code(random: u128) -> String {
    (0..6).map(|place| char::from(ALPHABET[(random >> (5 * place)) as usize & 31])).collect()
}

/// The names that a code stands for.
///
/// Errors: a code that is not made of letters, digits, `-` and `_`, or that is too long to leave room for a suffix.
pub fn names(code: &str) -> Result<SetupNames> {
    let name = |suffix: &str| format!("dashboard-{code}{suffix}").parse::<Name>();
    let fits = code.len() <= 40 && !code.is_empty();
    if !fits {
        return Err(Error::usage("a setup code has 1 to 40 characters").hint("make one: conveyor setup-code"));
    }
    Ok(SetupNames { task: name("")?, worker: name("-worker")?, manager: name("-manager")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_code() {
        let names = names("7F2K").unwrap();
        assert_eq!(names.task.as_str(), "dashboard-7F2K");
        assert_eq!(names.worker.as_str(), "dashboard-7F2K-worker");
        assert_eq!(names.manager.as_str(), "dashboard-7F2K-manager");
    }

    #[test]
    fn a_code_that_is_no_name_is_refused() {
        assert!(super::names("").is_err());
        assert!(super::names("a b").is_err());
        assert!(super::names(&"x".repeat(60)).is_err());
        assert!(super::names(&code(u128::MAX)).is_ok());
    }
}
