//! The table of verbs: it feeds the command line, its help, the completions, the MCP tools and the reference page.

use crate::verb::Entry;
use crate::verbs;

/// All verbs, in the order in which each heading of the help lists them.
#[rustfmt::skip]
pub static VERBS: &[Entry] = &[
    Entry::of::<verbs::attention::Attention>(),
    Entry::of::<verbs::bind::Bind>(),
    Entry::of::<verbs::classify::Classify>(),
    Entry::of::<verbs::commands::Commands>(),
    Entry::of::<verbs::cycle::Cycle>(),
    Entry::of::<verbs::db_doctor::DbDoctor>(),
    Entry::of::<verbs::deregister::Deregister>(),
    Entry::of::<verbs::discover::Discover>(),
    Entry::of::<verbs::dispatch::Dispatch>(),
    Entry::of::<verbs::divergences::Divergences>(),
    Entry::of::<verbs::doctor::Doctor>(),
    Entry::of::<verbs::doctor_self::DoctorSelf>(),
    Entry::of::<verbs::enqueue_notify_manager::EnqueueNotifyManager>(),
    Entry::of::<verbs::enqueue_nudge_worker::EnqueueNudgeWorker>(),
    Entry::of::<verbs::finish_task::FinishTask>(),
    Entry::of::<verbs::handoff::Handoff>(),
    Entry::of::<verbs::inbox_ack::InboxAck>(),
    Entry::of::<verbs::ingest::Ingest>(),
    Entry::of::<verbs::manager_ack::ManagerAck>(),
    Entry::of::<verbs::manager_config::ManagerConfig>(),
    Entry::of::<verbs::manager_inbox::ManagerInbox>(),
    Entry::of::<verbs::manager_permission::ManagerPermission>(),
    Entry::of::<verbs::pair::Pair>(),
    Entry::of::<verbs::record_decision::RecordDecision>(),
    Entry::of::<verbs::register_manager::RegisterManager>(),
    Entry::of::<verbs::register_worker::RegisterWorker>(),
    Entry::of::<verbs::session_inbox::SessionInbox>(),
    Entry::of::<verbs::session_interrupt::SessionInterrupt>(),
    Entry::of::<verbs::session_nudge::SessionNudge>(),
    Entry::of::<verbs::sessions::Sessions>(),
    Entry::of::<verbs::setup_code::SetupCode>(),
    Entry::of::<verbs::start_manager::StartManager>(),
    Entry::of::<verbs::start_worker::StartWorker>(),
    Entry::of::<verbs::status::Status>(),
    Entry::of::<verbs::tail::Tail>(),
    Entry::of::<verbs::tasks::Tasks>(),
    Entry::of::<verbs::unbind::Unbind>(),
    Entry::of::<verbs::worker_ack::WorkerAck>(),
    Entry::of::<verbs::worker_inbox::WorkerInbox>(),
];
