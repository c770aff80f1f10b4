//! `criteria`: the conditions under which a task counts as done.

mod change;
mod report;
mod request;
mod verify;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::Tx;
use conveyor_store::tasks::Task;

pub use self::report::CriteriaReport;
use self::report::Done;
use self::request::Action;
pub use self::request::CriteriaRequest;
pub use self::request::Source;
pub use self::request::Status;

use crate::Plane;
use crate::caller::judge;
use crate::caller::judge::Judge;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Verb;

/// The verb.
pub struct Criteria;

impl Verb for Criteria {
    const NAME: &'static str = "criteria";
    const GROUP: Group = Group::Judge;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["foo", "--list"];
    type Request = CriteriaRequest;
    type Report = CriteriaReport;

    async fn run(plane: &Plane, request: CriteriaRequest) -> Result<CriteriaReport> {
        match request.action()? {
            Action::List => {
                let mut reader = plane.ledger_that_exists().await?.read().await?;
                let task = resolve::task(&mut reader, &request.task).await?;
                report::make(plane, &mut reader, &request, task, Done::default()).await
            }
            Action::History(id) => {
                let mut reader = plane.ledger_that_exists().await?.read().await?;
                let task = resolve::task(&mut reader, &request.task).await?;
                let done =
                    Done { history: Some(report::history(&mut reader, &task, id).await?), ..Done::default() };
                report::make(plane, &mut reader, &request, task, done).await
            }
            Action::Verify(ids) => verify::verify(plane, &request, &ids).await,
            action @ (Action::Add | Action::Move(..)) => change(plane, &request, &action).await,
        }
    }
}

/// Adds or judges, in one step, and tells how things stand afterwards.
async fn change(plane: &Plane, request: &CriteriaRequest, action: &Action) -> Result<CriteriaReport> {
    let (mut tx, task) = resolve::task_to_change(plane, &request.task).await?;
    let done = match decide(plane, &mut tx, request, action, &task).await {
        Ok(done) => done,
        Err(refusal) if refusal.kind == conveyor_model::ErrorKind::Refused => {
            // What was begun is forgotten: only the refusal is noted.
            tx.roll_back().await;
            let tx = plane.ledger().await?.write(&plane.actor().await?).await?;
            return Err(judge::refuse(plane, tx, "criteria", &task.id, refusal).await);
        }
        Err(error) => return Err(error),
    };
    let report = report::make(plane, &mut tx, request, task, done).await?;
    tx.commit().await?;
    Ok(report)
}

async fn decide(
    plane: &Plane,
    tx: &mut Tx,
    request: &CriteriaRequest,
    action: &Action,
    task: &Task,
) -> Result<Done> {
    let judge = judge::judge(plane, tx, task).await?;
    match action {
        Action::Add => change::add(plane, tx, request, task, judge).await,
        Action::Move(to, ids) => match judge {
            Judge::Full => change::judge(tx, request, task, *to, ids).await,
            Judge::Proposes => Err(Error::refused("a worker does not judge the criteria of its own task")
                .hint("propose it, and tell your manager what proves it")),
        },
        Action::List | Action::History(_) | Action::Verify(_) => Ok(Done::default()),
    }
}

#[cfg(test)]
mod tests;
