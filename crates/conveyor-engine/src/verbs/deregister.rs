//! `deregister`: takes a session off the list. No process is stopped.

use clap::Args;
use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::tasks;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Caller;
use crate::Plane;
use crate::resolve;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Take a session off the list; its process goes on
///
/// Its name can be used again afterwards. A session that is bound to a task is refused: unbind the task first.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DeregisterRequest {
    /// The session
    pub name: Name,
}

impl Request for DeregisterRequest {}

/// A session that is gone.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DeregisterReport {
    /// Its name.
    pub name: Name,
    /// Always `gone`.
    pub state: SessionState,
    /// Whether it was gone before.
    pub already_gone: bool,
}

impl Report for DeregisterReport {}

/// The verb.
pub struct Deregister;

impl Verb for Deregister {
    const NAME: &'static str = "deregister";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["n"];
    type Request = DeregisterRequest;
    type Report = DeregisterReport;

    async fn run(plane: &Plane, request: DeregisterRequest) -> Result<DeregisterReport> {
        let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
        let session = resolve::session(&mut tx, &request.name).await?;
        may_end(plane, &mut tx, &session).await?;
        if let Some(binding) = bound(&mut tx, &session).await? {
            return Err(is_bound(&mut tx, &session, &binding).await?);
        }
        let sentence = format!("{} was taken off the list.", session.name);
        let gone = sessions::mark_gone(&mut tx, &session.id, AuditRow::new("session_deregistered", sentence))
            .await?;
        tx.commit().await?;
        Ok(DeregisterReport { name: session.name, state: SessionState::Gone, already_gone: !gone })
    }
}

/// Whether the caller may take this session off the list: a person may, a worker only its own, a manager any that works
/// for nobody. In a shell the thread is a claim, which may only narrow.
async fn may_end(plane: &Plane, db: &mut Db, session: &Session) -> Result<()> {
    let caller = match plane.caller.thread() {
        Some(thread) => threads::session_of(db, thread).await?,
        None => None,
    };
    match caller {
        None if matches!(plane.caller, Caller::Tool { .. }) => {
            Err(Error::refused("this thread is not registered, so it takes nobody off the list")
                .hint("ask a person"))
        }
        Some(caller) if caller.role == Role::Worker && caller.id != session.id => Err(Error::refused(
            format!("the worker `{}` may not take `{}` off the list", caller.name, session.name),
        )
        .hint("ask a person, or your manager")),
        Some(_) | None => Ok(()),
    }
}

async fn bound(db: &mut Db, session: &Session) -> Result<Option<Binding>> {
    match session.role {
        Role::Worker => bindings::active_of_worker(db, &session.id).await,
        Role::Manager => Ok(bindings::active_of_manager(db, &session.id).await?.into_iter().next()),
    }
}

async fn is_bound(db: &mut Db, session: &Session, binding: &Binding) -> Result<Error> {
    let task = tasks::get(db, &binding.task_id).await?;
    let name = task.map_or_else(|| binding.task_id.to_string(), |task| task.name.to_string());
    let message = format!("`{}` is bound to the task `{name}` ({})", session.name, binding.id);
    Ok(Error::conflict(message).hint(format!("end that first: conveyor unbind --task {name}")))
}

#[cfg(test)]
mod tests {
    use conveyor_model::ErrorKind;
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_session_goes_once_and_its_name_is_free_again() {
        let world = World::new();
        let first = world.session("w", Role::Worker).await;
        let gone = world.json::<Deregister>(json!({ "name": "w" })).await;
        assert_eq!(gone, json!({ "name": "w", "state": "gone", "already_gone": false }));
        let told = world.told().await.len();
        let again = world.json::<Deregister>(json!({ "name": "w" })).await;
        assert_eq!(again["already_gone"], true);
        assert_eq!(world.told().await.len(), told, "what changes nothing is not told");
        assert_ne!(world.session("w", Role::Worker).await.id, first.id);
    }

    #[tokio::test]
    async fn a_bound_session_stays_and_the_task_is_named() {
        let world = World::new();
        world.bound().await;
        for name in ["w", "m"] {
            let error = world.error::<Deregister>(json!({ "name": name })).await;
            assert_eq!(error.kind, ErrorKind::Conflict);
            assert!(error.message.contains("the task `t`"), "{error}");
        }
        assert_eq!(world.error::<Deregister>(json!({ "name": "x" })).await.kind, ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_worker_takes_nobody_elses_session_off_the_list() {
        let world = World::new();
        world.session("w", Role::Worker).await;
        world.session("other", Role::Worker).await;
        let agent = world.agent("w");
        let request = |name| json!({ "name": name });
        let refused = crate::testing::run::<Deregister>(&agent, request("other")).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Refused);
        assert!(crate::testing::run::<Deregister>(&agent, request("w")).await.is_ok());
    }
}
