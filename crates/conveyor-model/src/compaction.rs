//! Making room in a worker's context: which of the agent's own commands is typed, and what has to hold before.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// A decision older than this says nothing about what the worker does now.
pub const DECISION_AGE: Duration = Duration::from_mins(15);

/// One of the agent's own commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SlashCommand {
    /// The history becomes a summary; the thread stays.
    #[serde(rename = "/compact")]
    Compact,
    /// A new thread without any history.
    #[serde(rename = "/clear")]
    Clear,
}

impl SlashCommand {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Compact, Self::Clear];

    /// As a person types it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compact => "/compact",
            Self::Clear => "/clear",
        }
    }

    /// As it is pasted. The blank closes the list of commands, which would eat the submit key. Measured on 0.169, 0.144
    /// and 0.99.
    pub const fn typed(self) -> &'static str {
        match self {
            Self::Compact => "/compact ",
            Self::Clear => "/clear ",
        }
    }

    /// The one permission that it needs.
    pub const fn permission(self) -> &'static str {
        match self {
            Self::Compact => "worker_session.compact",
            Self::Clear => "worker_session.clear",
        }
    }

    /// The command of a stored text.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.as_str() == text.trim())
    }
}

/// What speaks against resting on a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionWarning {
    /// None was named.
    MissingDecisionId,
    /// There is none of that number.
    DecisionNotFound,
    /// It is on another task.
    DecisionTaskMismatch,
    /// It decided something else than to nudge.
    DecisionMismatch,
    /// It is older than [`DECISION_AGE`].
    DecisionStale,
}

/// A decision, as far as it counts here.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// It is on the task at hand.
    pub of_this_task: bool,
    /// It decided to nudge.
    pub to_nudge: bool,
    /// How old it is.
    pub age: Duration,
}

/// What speaks against the decision that was named, if any was, and found, if it was.
pub fn warnings(named: bool, found: Option<Decided>) -> Vec<DecisionWarning> {
    let Some(decided) = found else {
        let missing =
            if named { DecisionWarning::DecisionNotFound } else { DecisionWarning::MissingDecisionId };
        return vec![missing];
    };
    let all = [
        (!decided.of_this_task, DecisionWarning::DecisionTaskMismatch),
        (!decided.to_nudge, DecisionWarning::DecisionMismatch),
        (decided.age > DECISION_AGE, DecisionWarning::DecisionStale),
    ];
    all.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The task has no configuration, so nothing is granted.
    MissingManagerConfig,
    /// The configuration does not grant the permission that is used.
    PermissionNotEnabled,
    /// The worker's progress is not saved.
    MissingWorkerHandoff,
    /// The decision does not hold, and it has to.
    DecisionNotOk,
    /// A turn is running.
    WorkerBusy,
    /// A message waits for its record, and would be lost with the thread or mixed into the summary.
    MessageUnderWay,
}

impl Refusal {
    /// The word that reports say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingManagerConfig => "missing_manager_config",
            Self::PermissionNotEnabled => "permission_not_enabled",
            Self::MissingWorkerHandoff => "missing_worker_handoff",
            Self::DecisionNotOk => "decision_not_ok",
            Self::WorkerBusy => "worker_busy",
            Self::MessageUnderWay => "message_under_way",
        }
    }
}

/// What is known before anything is sent.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The task has a configuration.
    pub configured: bool,
    /// It grants the permission that is used.
    pub granted: bool,
    /// A handoff is saved.
    pub handoff: bool,
    /// The decision holds.
    pub decision_ok: bool,
    /// It has to hold.
    pub strict: bool,
    /// A command is typed; a prompt can wait for its turn like any message.
    pub types_command: bool,
    /// A turn is running.
    pub busy: bool,
    /// A message was begun and has no record yet.
    pub under_way: bool,
    /// The caller wants it although the worker is busy.
    pub force: bool,
}

/// Everything that stands against it, so that a caller mends all at once.
pub fn refusals(facts: &Facts) -> Vec<Refusal> {
    let in_its_way = facts.types_command && !facts.force;
    let all = [
        (!facts.configured, Refusal::MissingManagerConfig),
        (facts.configured && !facts.granted, Refusal::PermissionNotEnabled),
        (!facts.handoff, Refusal::MissingWorkerHandoff),
        (facts.strict && !facts.decision_ok, Refusal::DecisionNotOk),
        (in_its_way && facts.busy, Refusal::WorkerBusy),
        (in_its_way && facts.under_way, Refusal::MessageUnderWay),
    ];
    all.into_iter().filter_map(|(holds, refusal)| holds.then_some(refusal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Facts = Facts {
        configured: true,
        granted: true,
        handoff: true,
        decision_ok: true,
        strict: true,
        types_command: true,
        busy: false,
        under_way: false,
        force: false,
    };

    #[test]
    fn each_thing_that_is_missing_is_named_and_nothing_else() {
        use Refusal as R;
        let table: [(&str, Facts, &[Refusal]); 13] = [
            ("all is well", GOOD, &[]),
            (
                "no configuration",
                Facts { configured: false, granted: false, ..GOOD },
                &[R::MissingManagerConfig],
            ),
            ("not granted", Facts { granted: false, ..GOOD }, &[R::PermissionNotEnabled]),
            ("no handoff", Facts { handoff: false, ..GOOD }, &[R::MissingWorkerHandoff]),
            ("a bad decision, strict", Facts { decision_ok: false, ..GOOD }, &[R::DecisionNotOk]),
            ("a bad decision, not strict", Facts { decision_ok: false, strict: false, ..GOOD }, &[]),
            ("busy", Facts { busy: true, ..GOOD }, &[R::WorkerBusy]),
            ("busy, forced", Facts { busy: true, force: true, ..GOOD }, &[]),
            ("busy, only a prompt", Facts { busy: true, types_command: false, ..GOOD }, &[]),
            ("a message under way", Facts { under_way: true, ..GOOD }, &[R::MessageUnderWay]),
            ("the same, forced", Facts { under_way: true, force: true, ..GOOD }, &[]),
            (
                "force opens no other gate",
                Facts { granted: false, handoff: false, decision_ok: false, force: true, ..GOOD },
                &[R::PermissionNotEnabled, R::MissingWorkerHandoff, R::DecisionNotOk],
            ),
            (
                "all at once",
                Facts {
                    configured: false,
                    handoff: false,
                    decision_ok: false,
                    busy: true,
                    under_way: true,
                    ..GOOD
                },
                &[
                    R::MissingManagerConfig,
                    R::MissingWorkerHandoff,
                    R::DecisionNotOk,
                    R::WorkerBusy,
                    R::MessageUnderWay,
                ],
            ),
        ];
        for (name, facts, wanted) in table {
            assert_eq!(refusals(&facts), wanted, "{name}");
        }
    }

    #[test]
    fn a_decision_must_be_there_fresh_and_the_right_one() {
        use DecisionWarning as W;
        let good = Decided { of_this_task: true, to_nudge: true, age: DECISION_AGE };
        let late = DECISION_AGE + Duration::from_millis(1);
        let table: [(bool, Option<Decided>, &[DecisionWarning]); 7] = [
            (false, None, &[W::MissingDecisionId]),
            (true, None, &[W::DecisionNotFound]),
            (true, Some(good), &[]),
            (true, Some(Decided { of_this_task: false, ..good }), &[W::DecisionTaskMismatch]),
            (true, Some(Decided { to_nudge: false, ..good }), &[W::DecisionMismatch]),
            (true, Some(Decided { age: late, ..good }), &[W::DecisionStale]),
            (
                true,
                Some(Decided { of_this_task: false, to_nudge: false, age: late }),
                &[W::DecisionTaskMismatch, W::DecisionMismatch, W::DecisionStale],
            ),
        ];
        for (named, found, wanted) in table {
            assert_eq!(warnings(named, found), wanted, "{found:?}");
        }
    }

    #[test]
    fn a_command_needs_only_the_permission_that_it_uses() {
        for command in SlashCommand::ALL {
            assert_eq!(crate::permission::parse(command.permission()).map(|meant| meant.len()), Ok(1));
            assert_eq!(SlashCommand::of(command.typed()), Some(command));
            assert!(command.typed().ends_with(' '), "the list of commands would eat the submit key");
        }
        assert_eq!(SlashCommand::of("/compact now"), None);
    }
}
