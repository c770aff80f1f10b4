//! Deliberate faults, kept so that a test can show that the fault loop finds them. They can be switched on only with the
//! feature `mutants`, which nothing but this crate's own tests asks for.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A successor types once more what its predecessor had begun to type.
    SubmitTwice,
    /// Whoever has lost a lease goes on.
    NoEpochCheck,
}

#[cfg(feature = "mutants")]
mod switched {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Switches a fault on for this thread, or off.
    pub fn switch(mutant: Option<Mutant>) {
        MUTANT.set(mutant);
    }

    pub(crate) fn is_on(mutant: Mutant) -> bool {
        MUTANT.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub(crate) use switched::is_on;
#[cfg(feature = "mutants")]
pub use switched::switch;

/// Whether a fault is on: never.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}
