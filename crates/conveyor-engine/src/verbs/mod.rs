//! The verbs, one file each, named as the user types them.

pub mod classify;
pub mod setup_code;
