//! A small world for tests of verbs: a ledger in a temporary folder, sessions with rollouts, and verbs called by JSON.

use std::io::Write;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::audit::Actor;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::audit;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::tasks::Task;
use conveyor_store::threads;
use serde_json::Value;
use serde_json::json;

use crate::Caller;
use crate::Effects;
use crate::Environment;
use crate::Plane;
use crate::verb::Answer;
use crate::verb::Entry;
use crate::verb::Verb;

/// The world.
pub(crate) struct World {
    /// A person's plane on the ledger.
    pub(crate) plane: Plane,
    folder: tempfile::TempDir,
    db: String,
}

impl World {
    /// An empty ledger in a folder of its own.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("private/ledger.db").to_str().unwrap().to_owned();
        Self::on(folder, db)
    }

    /// An empty ledger elsewhere: a PostgreSQL database.
    pub(crate) fn at(db: &str) -> Self {
        Self::on(tempfile::tempdir().unwrap(), db.to_owned())
    }

    fn on(folder: tempfile::TempDir, db: String) -> Self {
        let plane = plane(&folder, Caller::Person, &db);
        Self { plane, folder, db }
    }

    /// Another process's plane on the same ledger.
    pub(crate) fn seen_by(&self, caller: Caller) -> Plane {
        plane(&self.folder, caller, &self.db)
    }

    /// A person's plane whose process dies at a commit.
    pub(crate) fn with_gate(&self, gate: std::sync::Arc<dyn conveyor_store::Gate>) -> Plane {
        let home = self.folder.path().to_str().unwrap();
        let environment = Environment::of(self.folder.path(), &[("HOME", home)]);
        let effects = Effects { gate, ..Effects::real() };
        Plane::with(environment, Caller::Person, Some(&self.db), effects).unwrap()
    }

    /// The plane of an agent over MCP.
    pub(crate) fn agent(&self, session: &str) -> Plane {
        self.seen_by(Caller::Tool { thread: Some(format!("thread-{session}")), sandbox_mode: None })
    }

    /// Begins a change.
    pub(crate) async fn tx(&self) -> Tx {
        self.plane.ledger().await.unwrap().write(&Actor::Operator).await.unwrap()
    }

    /// An active session with a thread, whose rollout does not exist yet.
    pub(crate) async fn session(&self, name: &str, role: Role) -> Session {
        let mut tx = self.tx().await;
        let id = SessionId::new(tx.clock().uuid_v7());
        let cwd = self.folder.path().display().to_string();
        let session = Session::new(id, name.parse().unwrap(), role, "host".to_owned(), cwd, tx.now());
        let session = sessions::insert(&mut tx, session, told()).await.unwrap();
        let thread = format!("thread-{name}");
        threads::adopt(&mut tx, &session.id, &thread, None, "test", told()).await.unwrap();
        tx.commit().await.unwrap();
        session
    }

    /// A candidate.
    pub(crate) async fn task(&self, name: &str) -> Task {
        let mut tx = self.tx().await;
        let id = TaskId::new(tx.clock().uuid_v7());
        let task = Task::new(id, name.parse().unwrap(), "goal".to_owned(), None, tx.now());
        let task = tasks::insert(&mut tx, task, told()).await.unwrap();
        tx.commit().await.unwrap();
        task
    }

    /// A worker `w`, a manager `m`, a task `t`, bound.
    pub(crate) async fn bound(&self) -> (Task, Session, Session) {
        let (task, worker) = (self.task("t").await, self.session("w", Role::Worker).await);
        let manager = self.session("m", Role::Manager).await;
        let request = json!({ "task": "t", "worker": "w", "manager": "m" });
        self.run::<crate::verbs::bind::Bind>(request).await.unwrap();
        (task, worker, manager)
    }

    /// Appends a record to a session's rollout, and lets the ledger know where that lies.
    pub(crate) async fn record(&self, session: &Session, kind: &str, payload: Value) {
        let path = self.rollout(session);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let at = self.plane.clock.now().to_string();
        writeln!(file, "{}", json!({ "timestamp": at, "type": kind, "payload": payload })).unwrap();
        let mut tx = self.tx().await;
        let thread = threads::current(&mut tx, &session.id).await.unwrap().remove(0);
        if thread.rollout_path.is_none() {
            threads::set_rollout(&mut tx, thread.number, path.to_str().unwrap(), told()).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// Records the beginning of a turn.
    pub(crate) async fn turn_begins(&self, session: &Session, turn: &str) {
        self.record(session, "event_msg", json!({ "type": "task_started", "turn_id": turn })).await;
    }

    /// Records the end of a turn.
    pub(crate) async fn turn_ends(&self, session: &Session, turn: &str) {
        let payload = json!({ "type": "task_complete", "turn_id": turn, "last_agent_message": "Done." });
        self.record(session, "event_msg", payload).await;
    }

    /// Where a session's rollout lies.
    pub(crate) fn rollout(&self, session: &Session) -> PathBuf {
        self.folder.path().join(format!("{}.jsonl", session.name))
    }

    /// Calls a verb as a person.
    pub(crate) async fn run<V: Verb>(&self, request: Value) -> Result<Answer> {
        run::<V>(&self.plane, request).await
    }

    /// The JSON of a call that succeeds.
    pub(crate) async fn json<V: Verb>(&self, request: Value) -> Value {
        self.run::<V>(request).await.unwrap().json
    }

    /// The failure of a call that fails.
    pub(crate) async fn error<V: Verb>(&self, request: Value) -> Error {
        self.run::<V>(request).await.unwrap_err()
    }

    /// The sentences of the audit chain, oldest first.
    pub(crate) async fn told(&self) -> Vec<String> {
        let mut reader = self.plane.ledger().await.unwrap().read().await.unwrap();
        let all = audit::list(&mut reader, &audit::Wanted::default(), u32::MAX).await.unwrap();
        all.into_iter().map(|row| row.sentence).collect()
    }
}

fn plane(folder: &tempfile::TempDir, caller: Caller, db: &str) -> Plane {
    let home = folder.path().to_str().unwrap();
    let environment = Environment::of(folder.path(), &[("HOME", home)]);
    Plane::with(environment, caller, Some(db), Effects::real()).unwrap()
}

/// Calls a verb on a plane, as its JSON face does.
pub(crate) async fn run<V: Verb>(plane: &Plane, request: Value) -> Result<Answer> {
    (Entry::of::<V>().from_json)(plane, request).await
}

/// An audit row of a test's own.
pub(crate) fn told() -> AuditRow {
    AuditRow::new("test", "A test arranges.")
}
