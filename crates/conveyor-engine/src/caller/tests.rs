use clap::Args;
use conveyor_model::ErrorKind;
use conveyor_model::audit::Actor;
use conveyor_model::ids::SessionId;
use conveyor_store::AuditRow;
use conveyor_store::sessions;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::*;
use crate::plane::Effects;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Nothing is asked.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
struct Nothing {}

impl Request for Nothing {}

#[derive(Serialize, JsonSchema, Debug)]
struct Done {}

impl Report for Done {}

/// A verb of each sort, told apart by its number.
struct Kept<const AGENTS: u8>;

impl<const AGENTS: u8> Verb for Kept<AGENTS> {
    const NAME: &'static str = "do-it";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Writes;
    const AGENTS: Agents = match AGENTS {
        0 => Agents::Any,
        1 => Agents::Managers,
        2 => Agents::Workers,
        _ => Agents::No,
    };
    type Request = Nothing;
    type Report = Done;

    async fn run(_: &Plane, _: Nothing) -> Result<Done> {
        Ok(Done {})
    }
}

static ANY: Entry = Entry::of::<Kept<0>>();
static MANAGERS: Entry = Entry::of::<Kept<1>>();
static WORKERS: Entry = Entry::of::<Kept<2>>();
static NOBODY: Entry = Entry::of::<Kept<3>>();

fn tool(thread: Option<&str>) -> Caller {
    Caller::Tool { thread: thread.map(str::to_owned), sandbox_mode: None }
}

/// A plane on a ledger in this folder.
fn plane(folder: &tempfile::TempDir, caller: Caller) -> Plane {
    let environment = Environment::of(folder.path(), &[]);
    let db = folder.path().join("private/ledger.db");
    Plane::with(environment, caller, db.to_str(), Effects::real()).unwrap()
}

/// Registers a session that has a thread.
async fn register(plane: &Plane, name: &str, role: Role, thread: &str) -> SessionId {
    let ledger = plane.ledger().await.unwrap();
    let mut tx = ledger.write(&Actor::Operator).await.unwrap();
    let id = SessionId::new(plane.clock.uuid_v7());
    let (host, cwd) = ("here".to_owned(), "/".to_owned());
    let session = Session::new(id.clone(), name.parse().unwrap(), role, host, cwd, tx.now());
    let row = || AuditRow::new("test", "A test registers a session.");
    sessions::insert(&mut tx, session, row()).await.unwrap();
    threads::adopt(&mut tx, &id, thread, None, "test", row()).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// What this caller is told of each verb: nothing, or why not.
async fn told(folder: &tempfile::TempDir, caller: Caller) -> [Option<String>; 3] {
    let plane = plane(folder, caller);
    let mut told = [None, None, None];
    for (place, verb) in [&ANY, &MANAGERS, &WORKERS].into_iter().enumerate() {
        told[place] = admit(&plane, verb).await.err().map(|error| {
            assert_eq!(error.kind, ErrorKind::Refused);
            format!("{error}; {}", error.hint.as_deref().unwrap_or_default())
        });
    }
    told
}

#[tokio::test]
async fn a_role_comes_from_the_ledger_by_the_callers_thread() {
    let folder = tempfile::tempdir().unwrap();
    let person = plane(&folder, Caller::Person);
    register(&person, "boss", Role::Manager, "thread-m").await;
    let worker = register(&person, "w1", Role::Worker, "thread-w").await;

    let not = |role: &str, is: &str| {
        let ask = format!("ask the {role} of your task");
        Some(format!("`do-it` is for a {role}, and this thread is the {is}; {ask}"))
    };
    assert_eq!(told(&folder, tool(Some("thread-m"))).await, [None, None, not("worker", "manager `boss`")]);
    assert_eq!(told(&folder, tool(Some("thread-w"))).await, [None, not("manager", "worker `w1`"), None]);

    let mut tx = person.ledger().await.unwrap().write(&Actor::Operator).await.unwrap();
    sessions::mark_gone(&mut tx, &worker, AuditRow::new("test", "A test ends a session.")).await.unwrap();
    tx.commit().await.unwrap();
    let unregistered = |role: &str| {
        let hint = format!("call the tool `register_{role}` first");
        Some(format!("`do-it` is for a {role}, and this thread is not registered; {hint}"))
    };
    for caller in [tool(Some("thread-w")), tool(Some("thread-x")), tool(Some("")), tool(None)] {
        assert_eq!(told(&folder, caller).await, [None, unregistered("manager"), unregistered("worker")]);
    }
}

#[tokio::test]
async fn without_a_ledger_only_verbs_for_anybody_are_open_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let [any, manager, worker] = told(&folder, tool(Some("thread-m"))).await;
    assert!(any.is_none() && manager.is_some() && worker.is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_persons_command_line_needs_no_role_and_a_persons_verb_is_no_agents() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(told(&folder, Caller::Person).await, [None, None, None]);
    assert!(admit(&plane(&folder, Caller::Person), &NOBODY).await.is_ok());
    let error = admit(&plane(&folder, tool(Some("thread-m"))), &NOBODY).await.unwrap_err();
    assert_eq!(error.message, "`do-it` is not offered to agents");
}
