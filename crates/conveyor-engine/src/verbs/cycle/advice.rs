//! What may be done next, as complete commands.

use conveyor_model::recommend::Action;
use conveyor_model::recommend::Why;

use super::scene::Scene;
use crate::Plane;

/// The commands that fit the advice, the first one first. Words in `<>` are the caller's to replace.
pub(super) fn next(plane: &Plane, scene: &Scene, action: Action, why: Why) -> Vec<String> {
    let (task, worker) = (scene.task.name.as_str(), scene.worker.name.as_str());
    let say = |text: &str| plane.command(&["session-nudge", worker, text]);
    let wait = || plane.command(&["manager-inbox", task, "--wait"]);
    let look = || plane.command(&["tail", worker, "--limit", "20"]);
    let attention = || plane.command(&["attention"]);
    match (action, why) {
        (Action::Wait, _) => vec![wait()],
        (Action::Nudge, Why::QuestionAsked) => vec![say("")],
        (Action::Nudge, Why::ContextFull) => {
            vec![plane.command(&["request-worker-compact", task])]
        }
        (Action::Nudge, Why::Silent) => vec![say("Please give a short status, then go on."), look()],
        (Action::Nudge, Why::ProofMissing) => {
            vec![plane.command(&["criteria", task, "--list"]), say("<which proof is missing>")]
        }
        (Action::Nudge, _) => vec![say("<the next instruction>")],
        (Action::Interrupt, _) => vec![look(), plane.command(&["session-interrupt", worker])],
        (Action::Escalate, Why::AllSatisfied) => {
            vec![plane.command(&[
                "finish-task",
                task,
                "--require-criteria-audit",
                "--reason",
                "<why it is done>",
            ])]
        }
        (Action::Escalate, Why::ApprovalAsked) => {
            vec![attention(), plane.command(&["session-nudge", worker, "", "--approve"])]
        }
        (Action::Escalate, _) => vec![attention()],
    }
}
