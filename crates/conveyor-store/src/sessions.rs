//! Registered agent sessions.

use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use serde_json::Value;

use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::cell::words;
use crate::db::Db;
use crate::filter::Filter;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

words! {
    /// What a session does for tasks.
    Role, "a role" {
        /// Supervises.
        Manager = "manager",
        /// Is supervised.
        Worker = "worker",
    }
}

words! {
    /// Whether a session counts.
    SessionState, "a session's state" {
        /// Registered.
        Active = "active",
        /// Deregistered or dead; its name can be used again.
        Gone = "gone",
    }
}

words! {
    /// Which process owns the session's turn.
    OwnerKind, "a kind of owner" {
        /// Codex's shared daemon: the turn outlives the pane.
        Daemon = "daemon",
        /// The program in the pane: the turn ends with it.
        Embedded = "embedded",
        /// Not known.
        Unknown = "unknown",
    }
}

table! {
    /// A session.
    Session in "sessions" {
        /// Its id.
        id: SessionId,
        /// Small number, given by [`insert`]; events refer to it.
        number: i64,
        /// Its name, unique among active sessions.
        name: Name,
        /// What it does.
        role: Role,
        /// The machine on which it runs. A dispatcher acts only on its own host.
        host: String,
        /// Whether it counts.
        state: SessionState,
        /// The agent's process.
        pid: Option<i64>,
        /// When that process started, in clock ticks since boot, so that a number used again is not taken for it.
        pid_start_ticks: Option<i64>,
        /// The agent's own home folder.
        codex_home: Option<String>,
        /// Where it works.
        cwd: String,
        /// The proved pane: server, pane id, process and its start.
        tmux_pin_json: Option<Value>,
        /// The tmux session that was named, which is a claim until a pin proves it.
        tmux_session: Option<String>,
        /// The pane that was named.
        tmux_pane_id: Option<String>,
        /// Which process owns its turn.
        owner_kind: OwnerKind,
        /// Conveyor started it, hence may end its tmux session.
        started_by_conveyor: bool,
        /// A secret of this registration. Never printed.
        #[serde(skip_serializing)]
        identity_token: String,
        /// When it was registered.
        registered_at: Timestamp,
        /// When it was last heard of.
        last_heartbeat_at: Option<Timestamp>,
        /// When it went.
        gone_at: Option<Timestamp>,
        /// Thread of the Codex app that shows it.
        codex_app_thread_id: Option<String>,
        /// Title of that thread.
        codex_app_thread_title: Option<String>,
        /// Since when deliveries to it are held back.
        paused_at: Option<Timestamp>,
        /// Since when a person has taken it over.
        taken_over_at: Option<Timestamp>,
    }
}

impl Session {
    /// An active session of which nothing but this is known.
    pub fn new(id: SessionId, name: Name, role: Role, host: String, cwd: String, now: Timestamp) -> Self {
        let identity_token = format!("session-token-{}", &id.as_str()[SessionId::PREFIX.len()..]);
        Self {
            id,
            number: 0,
            name,
            role,
            host,
            state: SessionState::Active,
            pid: None,
            pid_start_ticks: None,
            codex_home: None,
            cwd,
            tmux_pin_json: None,
            tmux_session: None,
            tmux_pane_id: None,
            owner_kind: OwnerKind::Unknown,
            started_by_conveyor: false,
            identity_token,
            registered_at: now,
            last_heartbeat_at: None,
            gone_at: None,
            codex_app_thread_id: None,
            codex_app_thread_title: None,
            paused_at: None,
            taken_over_at: None,
        }
    }
}

/// Registers a session and returns it with its number. An active session of that name: kind `conflict`.
pub async fn insert(tx: &mut Tx, mut session: Session, audit: AuditRow) -> Result<Session> {
    session.number = tx.next_number(Counter::Session).await?;
    tx.insert(&session).await?;
    tx.audit(audit.or_session(Some(&session.id))).await?;
    Ok(session)
}

/// Stores all fields of a session that is registered already.
pub async fn update(tx: &mut Tx, session: &Session, audit: AuditRow) -> Result<()> {
    tx.replace(session).await?;
    tx.audit(audit.or_session(Some(&session.id))).await.map(drop)
}

/// Marks an active session as gone and closes its threads. Whether it was active.
pub async fn mark_gone(tx: &mut Tx, id: &SessionId, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE sessions SET state = 'gone', gone_at = $2 WHERE id = $1 AND state = 'active'";
    if tx.change(sql, args![id, &now]).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE session_threads SET until_at = $2 WHERE session_id = $1 AND until_at IS NULL";
    tx.change(sql, args![id, &now]).await?;
    tx.audit(audit.or_session(Some(id))).await?;
    Ok(true)
}

/// Notes that a session was heard of. Rings nobody and leaves no audit row.
pub async fn heartbeat(tx: &mut Tx, id: &SessionId) -> Result<()> {
    let now = tx.now();
    tx.whisper("UPDATE sessions SET last_heartbeat_at = $2 WHERE id = $1", args![id, &now]).await.map(drop)
}

/// A session by its id.
pub async fn get(db: &mut Db, id: &SessionId) -> Result<Option<Session>> {
    db.one(Session::select("WHERE id = $1"), args![id]).await
}

/// The active session of that name, else the one that went last.
pub async fn by_name(db: &mut Db, name: &Name) -> Result<Option<Session>> {
    let rest = "WHERE name = $1 ORDER BY CASE state WHEN 'active' THEN 0 ELSE 1 END, number DESC LIMIT 1";
    db.one(Session::select(rest), args![name]).await
}

/// The active session of that name.
pub async fn active_by_name(db: &mut Db, name: &Name) -> Result<Option<Session>> {
    db.one(Session::select("WHERE name = $1 AND state = 'active'"), args![name]).await
}

/// Active sessions whose agent is this process.
pub async fn active_by_pid(db: &mut Db, host: &str, pid: i64) -> Result<Vec<Session>> {
    let rest = "WHERE state = 'active' AND host = $1 AND pid = $2 ORDER BY number";
    db.all(Session::select(rest), args![&host.to_owned(), &pid]).await
}

/// Which sessions are listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of this role.
    pub role: Option<Role>,
    /// Only in this state.
    pub state: Option<SessionState>,
    /// Only on this host.
    pub host: Option<String>,
    /// Only these names; all when empty.
    pub names: Vec<Name>,
}

/// Sessions in the order in which they were registered.
pub async fn list(db: &mut Db, wanted: &Wanted, limit: u32) -> Result<Vec<Session>> {
    let (rest, args) = Filter::new()
        .given("role = ?", wanted.role.as_ref())
        .given("state = ?", wanted.state.as_ref())
        .given("host = ?", wanted.host.as_ref())
        .one_of("name", &wanted.names)
        .limited("ORDER BY number", limit);
    db.all(Session::select(&rest), args).await
}

/// How many active sessions a host has, and the newest one's number: whoever follows them sees that one came or went.
pub async fn marks(db: &mut Db, host: &str) -> Result<(i64, i64)> {
    let sql = "SELECT COUNT(*), COALESCE(MAX(number), 0) FROM sessions WHERE host = $1 AND state = 'active'";
    Ok(db.one(sql, args![&host.to_owned()]).await?.unwrap_or_default())
}
