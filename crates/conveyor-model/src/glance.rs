//! What to do next about a task, decided from everything at a glance: one step and its reason.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::turn::Coarse;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nobody works on it.
    Unbound,
    /// A worker and a manager are tied to it.
    Bound,
    /// It has ended.
    Finished,
}

/// For whom the next step is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Viewer {
    /// A person, who may do anything.
    Person,
    /// The task's manager, or any agent that is not its worker.
    Manager,
    /// The task's worker.
    Worker,
}

/// What is known of a task, as far as it decides what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Glance {
    /// Who asks.
    pub viewer: Viewer,
    /// Where the task stands.
    pub standing: Standing,
    /// The worker is gone or its process is dead.
    pub worker_gone: bool,
    /// The manager is gone or its process is dead.
    pub manager_gone: bool,
    /// Something wants a person's attention.
    pub attention: bool,
    /// Deliveries that failed, are blocked or lack their proof.
    pub doubtful: bool,
    /// Deliveries that somebody has to carry out.
    pub waiting: bool,
    /// A dispatcher runs where they are to be carried out.
    pub dispatcher: bool,
    /// The worker has items in its inbox.
    pub worker_unread: bool,
    /// The manager has items in its inbox.
    pub manager_unread: bool,
    /// What the worker does.
    pub worker: Coarse,
    /// The worker recorded something that its manager has not looked at.
    pub news: bool,
    /// There are criteria.
    pub has_criteria: bool,
    /// Some of them are still to be met or to be decided on.
    pub open_criteria: bool,
}

/// The step that is recommended, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// See what wants attention.
    Attention,
    /// Register the worker again.
    RegisterWorker,
    /// Register the manager again.
    RegisterManager,
    /// Decide on deliveries that did not succeed.
    SettleDeliveries,
    /// Start a dispatcher.
    StartDispatch,
    /// Take the next item from the own inbox.
    ReadInbox,
    /// Look at the worker.
    Cycle,
    /// Say what is to be met.
    AddCriteria,
    /// Tell the worker to go on.
    Nudge,
    /// Finish the task.
    Finish,
    /// Tie a worker and a manager to the task.
    Bind,
    /// Go on with the work.
    Work,
    /// Wait for the next message.
    Wait,
    /// Look back at what was done.
    Review,
}

/// What to do next. Rules are tried in order: what stops everything else comes first.
pub fn next_step(glance: &Glance) -> NextStep {
    match glance.standing {
        Standing::Finished => NextStep::Review,
        Standing::Unbound => NextStep::Bind,
        Standing::Bound => match glance.viewer {
            Viewer::Worker => for_worker(glance),
            Viewer::Person | Viewer::Manager => for_manager(glance),
        },
    }
}

/// A worker reads what it is told, then works. It looks after nobody else.
fn for_worker(glance: &Glance) -> NextStep {
    if glance.worker_unread {
        NextStep::ReadInbox
    } else if glance.open_criteria {
        NextStep::Work
    } else {
        NextStep::Wait
    }
}

fn for_manager(glance: &Glance) -> NextStep {
    if glance.attention {
        NextStep::Attention
    } else if glance.worker_gone {
        NextStep::RegisterWorker
    } else if glance.manager_gone {
        NextStep::RegisterManager
    } else if glance.doubtful {
        NextStep::SettleDeliveries
    } else if glance.waiting && !glance.dispatcher {
        NextStep::StartDispatch
    } else if glance.manager_unread && glance.viewer == Viewer::Manager {
        NextStep::ReadInbox
    } else if glance.news {
        NextStep::Cycle
    } else {
        about_work(glance)
    }
}

/// Nothing is in the way and nothing is new: what the worker does and what is still to be met decide.
fn about_work(glance: &Glance) -> NextStep {
    match (glance.worker, glance.has_criteria, glance.open_criteria) {
        (_, false, _) => NextStep::AddCriteria,
        (Coarse::Busy, true, _) => NextStep::Wait,
        (Coarse::Idle | Coarse::Unknown, true, true) => NextStep::Nudge,
        (Coarse::Idle | Coarse::Unknown, true, false) => NextStep::Finish,
    }
}

/// The names that a step's command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// The task.
    pub task: &'a str,
    /// The worker, or what stands for one.
    pub worker: &'a str,
    /// The manager, or what stands for one.
    pub manager: &'a str,
}

impl NextStep {
    /// The words of its command, without program and ledger.
    pub fn words(self, viewer: Viewer, names: Names<'_>) -> Vec<&str> {
        let Names { task, worker, manager } = names;
        let inbox = match viewer {
            Viewer::Worker => "worker-inbox",
            Viewer::Person | Viewer::Manager => "manager-inbox",
        };
        match self {
            Self::Attention => vec!["attention", "--task", task],
            Self::RegisterWorker => vec!["register-worker", "--name", worker],
            Self::RegisterManager => vec!["register-manager", "--name", manager],
            Self::SettleDeliveries => {
                vec!["commands", "--task", task, "--state", "failed", "--state", "blocked"]
            }
            Self::StartDispatch => vec!["dispatch", "--watch"],
            Self::ReadInbox => vec![inbox, task, "--consume-next"],
            Self::Cycle => vec!["cycle", task],
            Self::AddCriteria => vec!["criteria", task, "--add", "--criterion", "<what is to be met>"],
            Self::Nudge => vec!["session-nudge", worker, "<what to do next>"],
            Self::Finish => vec!["finish-task", task, "--reason", "<why it is done>"],
            Self::Bind => vec!["bind", "--task", task, "--worker", worker, "--manager", manager],
            Self::Work => vec!["criteria", task, "--list"],
            // A person who waits looks on; taking the manager's messages would keep them from it.
            Self::Wait if viewer == Viewer::Person => vec![inbox, task, "--wait"],
            Self::Wait => vec![inbox, task, "--wait", "--consume-next"],
            Self::Review => vec!["audit", task],
        }
    }

    /// Why it is recommended.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Attention => "something wants attention and may hold up everything else",
            Self::RegisterWorker => "the worker's session is gone",
            Self::RegisterManager => "the manager's session is gone",
            Self::SettleDeliveries => "messages did not get through, or nothing proves that they did",
            Self::StartDispatch => "messages wait and no dispatcher runs",
            Self::ReadInbox => "the inbox holds messages",
            Self::Cycle => "the worker did something that nobody has looked at",
            Self::AddCriteria => "nothing says yet what is to be met",
            Self::Nudge => "the worker is idle and criteria are open",
            Self::Finish => "the worker is idle and no criterion is open",
            Self::Bind => "nobody works on the task",
            Self::Work => "criteria are open",
            Self::Wait => "nothing is to be done until the next message",
            Self::Review => "the task has ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUIET: Glance = Glance {
        viewer: Viewer::Manager,
        standing: Standing::Bound,
        worker_gone: false,
        manager_gone: false,
        attention: false,
        doubtful: false,
        waiting: false,
        dispatcher: true,
        worker_unread: false,
        manager_unread: false,
        worker: Coarse::Idle,
        news: false,
        has_criteria: true,
        open_criteria: true,
    };

    #[test]
    fn the_rules_in_their_order() {
        let all = Glance {
            worker_gone: true,
            manager_gone: true,
            attention: true,
            doubtful: true,
            waiting: true,
            dispatcher: false,
            manager_unread: true,
            worker_unread: true,
            news: true,
            ..QUIET
        };
        // Each step, with what is mended before the next one is asked for.
        let story: &[(NextStep, fn(&mut Glance))] = &[
            (NextStep::Attention, |glance| glance.attention = false),
            (NextStep::RegisterWorker, |glance| glance.worker_gone = false),
            (NextStep::RegisterManager, |glance| glance.manager_gone = false),
            (NextStep::SettleDeliveries, |glance| glance.doubtful = false),
            (NextStep::StartDispatch, |glance| glance.dispatcher = true),
            (NextStep::ReadInbox, |glance| glance.manager_unread = false),
            (NextStep::Cycle, |glance| glance.news = false),
            (NextStep::Nudge, |glance| glance.worker = Coarse::Busy),
            (NextStep::Wait, |glance| (glance.worker, glance.open_criteria) = (Coarse::Idle, false)),
            (NextStep::Finish, |glance| glance.has_criteria = false),
            (NextStep::AddCriteria, |glance| glance.standing = Standing::Unbound),
            (NextStep::Bind, |glance| glance.standing = Standing::Finished),
            (NextStep::Review, |_| ()),
        ];
        let mut glance = all;
        for (step, mend) in story {
            assert_eq!(next_step(&glance), *step, "{glance:?}");
            mend(&mut glance);
        }
    }

    #[test]
    fn a_worker_reads_then_works_then_waits() {
        let worker = Glance { viewer: Viewer::Worker, attention: true, worker_unread: true, ..QUIET };
        assert_eq!(next_step(&worker), NextStep::ReadInbox);
        let worker = Glance { worker_unread: false, ..worker };
        assert_eq!(next_step(&worker), NextStep::Work);
        assert_eq!(next_step(&Glance { open_criteria: false, ..worker }), NextStep::Wait);
    }

    #[test]
    fn a_person_does_not_take_the_managers_messages() {
        let person = Glance { viewer: Viewer::Person, manager_unread: true, worker: Coarse::Busy, ..QUIET };
        let step = next_step(&person);
        let words = step.words(Viewer::Person, Names { task: "t", worker: "w", manager: "m" });
        assert_eq!(words, ["manager-inbox", "t", "--wait"]);
    }

    fn glances() -> impl Strategy<Value = Glance> {
        let viewers = proptest::sample::select(vec![Viewer::Person, Viewer::Manager, Viewer::Worker]);
        let standings =
            proptest::sample::select(vec![Standing::Unbound, Standing::Bound, Standing::Finished]);
        let turns = proptest::sample::select(vec![Coarse::Busy, Coarse::Idle, Coarse::Unknown]);
        let flags = proptest::array::uniform11(any::<bool>());
        (viewers, standings, turns, flags).prop_map(|(viewer, standing, worker, flags)| {
            let [a, b, c, d, e, f, g, h, i, j, k] = flags;
            Glance {
                viewer,
                standing,
                worker,
                worker_gone: a,
                manager_gone: b,
                attention: c,
                doubtful: d,
                waiting: e,
                dispatcher: f,
                worker_unread: g,
                manager_unread: h,
                news: i,
                has_criteria: j,
                open_criteria: k,
            }
        })
    }

    proptest! {
        #[test]
        fn a_running_turn_is_neither_nudged_nor_finished(glance in glances()) {
            let step = next_step(&Glance { worker: Coarse::Busy, ..glance });
            prop_assert!(!matches!(step, NextStep::Nudge | NextStep::Finish));
        }

        #[test]
        fn nothing_is_finished_while_something_is_open(glance in glances()) {
            if next_step(&glance) == NextStep::Finish {
                prop_assert!(glance.has_criteria && !glance.open_criteria);
                prop_assert!(!glance.attention && !glance.doubtful && !glance.news);
            }
        }

        #[test]
        fn a_worker_is_never_told_to_manage(glance in glances()) {
            let glance = Glance { viewer: Viewer::Worker, standing: Standing::Bound, ..glance };
            let step = next_step(&glance);
            prop_assert!(matches!(step, NextStep::ReadInbox | NextStep::Work | NextStep::Wait));
        }
    }
}
