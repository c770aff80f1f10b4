//! Redaction of what leaves the ledger.
