//! The verbs, one file each, named as the user types them.

pub mod attention;
pub mod bind;
pub mod classify;
pub mod commands;
pub mod cycle;
pub mod deregister;
pub mod discover;
pub mod dispatch;
pub mod divergences;
pub mod enqueue_notify_manager;
pub mod enqueue_nudge_worker;
pub mod ingest;
pub mod manager_inbox;
pub mod register_manager;
pub mod register_worker;
pub mod session_inbox;
pub mod session_interrupt;
pub mod session_nudge;
pub mod sessions;
pub mod setup_code;
pub mod status;
pub mod tail;
pub mod tasks;
pub mod unbind;
pub mod worker_inbox;
