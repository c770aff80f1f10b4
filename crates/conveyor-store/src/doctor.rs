//! Is this ledger sound? Looks before anything is repaired, and never creates.
