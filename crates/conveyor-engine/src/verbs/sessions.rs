//! `sessions`: who is registered, who lives, and how each can be reached.

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use conveyor_agents::ProcessId;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_mux::PaneId;
use conveyor_mux::Pin;
use conveyor_mux::Server;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::sessions::SessionState;
use conveyor_store::threads;
use conveyor_store::threads::Newest;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::listing;
use crate::listing::More;
use crate::message;
use crate::registration::Communication;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// List sessions
///
/// Active ones in the order in which they were registered, each with whether its process and its pane live, the task to
/// which it is bound, and whether messages are typed into it (`push`) or wait in its inbox (`pull`).
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct SessionsRequest {
    /// Only sessions of this role
    #[arg(long, value_enum)]
    pub role: Option<AskedRole>,
    /// Only sessions in this state
    #[arg(long, value_enum, default_value_t = active())]
    #[serde(default = "active")]
    pub state: AskedState,
    /// Only the session of this name; may be repeated
    #[arg(long)]
    #[serde(default)]
    pub name: Vec<Name>,
    /// Rows at most, the newest; all for a person, 100 for an agent
    #[arg(long)]
    pub limit: Option<u32>,
    /// Accepted for old scripts: there are no legacy sessions
    #[arg(long, hide = true)]
    #[serde(default)]
    pub include_legacy: bool,
    /// Accepted for old scripts: tokens are never shown
    #[arg(long, hide = true)]
    #[serde(default)]
    pub redact_identity_token: bool,
}

const fn active() -> AskedState {
    AskedState::Active
}

/// A role to list.
#[derive(ValueEnum, Clone, Copy, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub enum AskedRole {
    /// Those that supervise
    Manager,
    /// Those that are supervised
    Worker,
}

/// Which sessions to list.
#[derive(ValueEnum, Clone, Copy, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(rename_all = "snake_case")]
pub enum AskedState {
    /// Registered ones
    Active,
    /// Those that were taken off the list
    Gone,
    /// Both
    All,
}

impl Request for SessionsRequest {
    fn check(&self) -> Result<()> {
        listing::check(self.limit)
    }
}

/// A session.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SessionRow {
    /// Whether its process runs; null where none is known, and on another host.
    pub alive: Option<bool>,
    /// The task to which it is bound; the first of several.
    pub bound_task: Option<Name>,
    /// All tasks to which it is bound: a manager may have several.
    pub bound_tasks: Vec<Name>,
    /// Thread of the Codex app that shows it.
    pub codex_app_thread_id: Option<String>,
    /// Title of that thread.
    pub codex_app_thread_title: Option<String>,
    /// Its newest thread.
    pub codex_session_id: Option<String>,
    /// That thread's rollout.
    pub codex_session_path: Option<String>,
    /// How it can be reached.
    pub communication: Communication,
    /// Where it works.
    pub cwd: String,
    /// `push` or `pull`.
    pub delivery: &'static str,
    /// The machine on which it runs.
    pub host: String,
    /// Its id.
    pub id: SessionId,
    /// Never shown.
    pub identity_token: &'static str,
    /// When it was last heard of.
    pub last_heartbeat_at: Option<Timestamp>,
    /// How far its rollout was read, in bytes.
    pub last_ingest_offset: Option<i64>,
    /// Its name.
    pub name: Name,
    /// Which process owns its turns.
    pub owner: &'static str,
    /// Since when deliveries to it are held back.
    pub paused_at: Option<Timestamp>,
    /// Its process.
    pub pid: Option<i64>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// What it does.
    pub role: Role,
    /// Whether it counts.
    pub state: SessionState,
    /// Since when a person has taken it over.
    pub taken_over_at: Option<Timestamp>,
    /// Whether its proved pane is still there; null without one, and on another host.
    pub tmux_live: Option<bool>,
    /// Its pane.
    pub tmux_pane_id: Option<String>,
    /// Its tmux session.
    pub tmux_session: Option<String>,
}

/// A row of the listing.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum SessionsLine {
    /// A session.
    Session(Box<SessionRow>),
    /// There are more.
    More(More),
}

/// The sessions, oldest first.
#[derive(Serialize, JsonSchema, Debug)]
#[serde(transparent)]
pub struct SessionsReport(pub Vec<SessionsLine>);

impl Report for SessionsReport {
    fn text(&self) -> Option<String> {
        if self.0.is_empty() {
            return Some("no sessions\n".to_owned());
        }
        Some(self.0.iter().map(line).collect())
    }
}

fn line(line: &SessionsLine) -> String {
    match line {
        SessionsLine::Session(row) => {
            let life = match (row.state, row.alive) {
                (SessionState::Gone, _) => "gone",
                (SessionState::Active, Some(true)) => "alive",
                (SessionState::Active, Some(false)) => "dead",
                (SessionState::Active, None) => "unknown",
            };
            let task = row.bound_task.as_ref().map_or("-", Name::as_str);
            format!("{}\t{}\t{life}\t{}\t{task}\t{}\n", row.name, row.role, row.delivery, row.cwd)
        }
        SessionsLine::More(more) => format!("there are more: {}\n", more.next),
    }
}

/// The verb.
pub struct Sessions;

impl Verb for Sessions {
    const NAME: &'static str = "sessions";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    type Request = SessionsRequest;
    type Report = SessionsReport;

    async fn run(plane: &Plane, request: SessionsRequest) -> Result<SessionsReport> {
        let Some(ledger) = plane.ledger_to_read().await? else { return Ok(SessionsReport(Vec::new())) };
        let mut reader = ledger.read().await?;
        let wanted = wanted(&request);
        let mut found = sessions::list(&mut reader, &wanted, u32::MAX).await?;
        let rows = listing::rows(plane, request.limit) as usize;
        let more = (found.len() > rows).then(|| found.drain(..found.len() - rows).count());
        let mut around = Around::default();
        around.look(plane, &found).await;
        let mut beside = Beside::read(&mut reader, &found).await?;
        let row = |session| SessionsLine::Session(Box::new(row(plane, &mut beside, &around, session)));
        let mut lines: Vec<SessionsLine> = found.into_iter().map(row).collect();
        if let Some(left) = more {
            let limit = (left + lines.len()).to_string();
            lines.push(SessionsLine::More(More::by(again(plane, &request, &limit))));
        }
        Ok(SessionsReport(lines))
    }
}

fn wanted(request: &SessionsRequest) -> sessions::Wanted {
    sessions::Wanted {
        role: request.role.map(|role| match role {
            AskedRole::Manager => Role::Manager,
            AskedRole::Worker => Role::Worker,
        }),
        state: match request.state {
            AskedState::Active => Some(SessionState::Active),
            AskedState::Gone => Some(SessionState::Gone),
            AskedState::All => None,
        },
        host: None,
        names: request.name.clone(),
    }
}

/// The command that lists all of what was asked for.
fn again(plane: &Plane, request: &SessionsRequest, limit: &str) -> String {
    let mut words = vec!["sessions"];
    match request.role {
        Some(AskedRole::Manager) => words.extend(["--role", "manager"]),
        Some(AskedRole::Worker) => words.extend(["--role", "worker"]),
        None => {}
    }
    match request.state {
        AskedState::Active => {}
        AskedState::Gone => words.extend(["--state", "gone"]),
        AskedState::All => words.extend(["--state", "all"]),
    }
    for name in &request.name {
        words.extend(["--name", name.as_str()]);
    }
    words.extend(["--limit", limit]);
    plane.command(&words)
}

/// The panes of all servers in which a session was proved: one call of tmux a server, not one a session.
#[derive(Default)]
struct Around {
    panes: HashMap<PathBuf, HashSet<(PaneId, u32)>>,
}

impl Around {
    async fn look(&mut self, plane: &Plane, sessions: &[Session]) {
        for pin in sessions.iter().filter_map(message::pin) {
            if self.panes.contains_key(&pin.socket) {
                continue;
            }
            let panes = plane.mux.panes(&Server::Socket(pin.socket.clone())).await.unwrap_or_default();
            let live = panes.into_iter().filter(|pane| !pane.dead).map(|pane| (pane.id, pane.pid)).collect();
            self.panes.insert(pin.socket, live);
        }
    }

    /// Whether the pane still holds the process that was pinned.
    fn holds(&self, pin: &Pin) -> bool {
        let there =
            self.panes.get(&pin.socket).is_some_and(|panes| panes.contains(&(pin.pane, pin.program.pid)));
        there && pin.program.is_running()
    }
}

/// What rows tell from other tables: one query for all of them, not one for each.
struct Beside {
    threads: HashMap<SessionId, Newest>,
    tasks: HashMap<SessionId, Vec<Name>>,
}

impl Beside {
    async fn read(db: &mut Db, sessions: &[Session]) -> Result<Self> {
        let ids: Vec<SessionId> = sessions.iter().map(|session| session.id.clone()).collect();
        let newest = threads::newest_of(db, &ids).await?;
        let mut tasks: HashMap<SessionId, Vec<Name>> = HashMap::new();
        for (worker, manager, task) in bindings::active_pairs(db).await? {
            tasks.entry(worker).or_default().push(task.clone());
            tasks.entry(manager).or_default().push(task);
        }
        let threads = newest.into_iter().map(|newest| (newest.session_id.clone(), newest)).collect();
        Ok(Self { threads, tasks })
    }
}

fn row(plane: &Plane, beside: &mut Beside, around: &Around, session: Session) -> SessionRow {
    let is_here = session.host == plane.environment.host;
    let thread = beside.threads.remove(&session.id);
    let bound_tasks = beside.tasks.remove(&session.id).unwrap_or_default();
    let pin = message::pin(&session);
    let communication = Communication::of(plane, &session);
    SessionRow {
        alive: is_alive(&session).filter(|_| is_here),
        bound_task: bound_tasks.first().cloned(),
        bound_tasks,
        codex_app_thread_id: session.codex_app_thread_id,
        codex_app_thread_title: session.codex_app_thread_title,
        codex_session_path: thread.as_ref().and_then(|thread| thread.rollout_path.clone()),
        delivery: communication.receive_style,
        communication,
        cwd: session.cwd,
        host: session.host,
        id: session.id,
        identity_token: "[REDACTED]",
        last_heartbeat_at: session.last_heartbeat_at,
        last_ingest_offset: thread.as_ref().and_then(|thread| thread.position),
        codex_session_id: thread.map(|thread| thread.thread_id),
        name: session.name,
        owner: session.owner_kind.as_str(),
        paused_at: session.paused_at,
        pid: session.pid,
        registered_at: session.registered_at,
        role: session.role,
        state: session.state,
        taken_over_at: session.taken_over_at,
        tmux_live: pin.filter(|_| is_here).map(|pin| around.holds(&pin)),
        tmux_pane_id: session.tmux_pane_id,
        tmux_session: session.tmux_session,
    }
}

/// Whether the process that was registered runs: the same one, not another that got its number.
pub(crate) fn is_alive(session: &Session) -> Option<bool> {
    let pid = u32::try_from(session.pid?).ok()?;
    let start_ticks = u64::try_from(session.pid_start_ticks?).ok()?;
    Some(ProcessId { pid, start_ticks }.is_alive())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Caller;
    use crate::testing::World;
    use crate::verbs::deregister::Deregister;

    #[tokio::test]
    async fn a_list_without_a_ledger_is_empty_and_makes_none() {
        let world = World::new();
        assert_eq!(world.json::<Sessions>(json!({})).await, json!([]));
        assert!(world.plane.ledger_to_read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn rows_tell_the_task_and_how_to_reach_it_and_no_token() {
        let world = World::new();
        world.bound().await;
        let rows = world.json::<Sessions>(json!({ "role": "worker" })).await;
        let row = &rows[0];
        assert_eq!(rows.as_array().unwrap().len(), 1);
        assert_eq!(
            (&row["name"], &row["bound_task"], &row["delivery"]),
            (&json!("w"), &json!("t"), &json!("pull"))
        );
        assert_eq!((&row["alive"], &row["tmux_live"]), (&json!(null), &json!(null)));
        assert_eq!(row["codex_session_id"], "thread-w");
        assert!(!rows.to_string().contains("session-token-"), "{rows}");
    }

    #[tokio::test]
    async fn a_gone_session_is_listed_when_it_is_asked_for() {
        let world = World::new();
        world.session("w", Role::Worker).await;
        world.session("x", Role::Worker).await;
        world.json::<Deregister>(json!({ "name": "w" })).await;
        let names = |rows: serde_json::Value| {
            rows.as_array().unwrap().iter().map(|row| row["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(world.json::<Sessions>(json!({})).await), ["x"]);
        assert_eq!(names(world.json::<Sessions>(json!({ "state": "gone" })).await), ["w"]);
        assert_eq!(
            names(world.json::<Sessions>(json!({ "state": "all", "name": ["x", "w"] })).await),
            ["w", "x"]
        );
        assert!(names(world.json::<Sessions>(json!({ "name": ["y"] })).await).is_empty());
    }

    #[tokio::test]
    async fn what_is_left_out_is_told_with_the_command_that_shows_it() {
        let world = World::new();
        for name in ["a", "b", "c"] {
            world.session(name, Role::Worker).await;
        }
        let rows = world.json::<Sessions>(json!({ "role": "worker", "limit": 2 })).await;
        assert_eq!((&rows[0]["name"], &rows[1]["name"]), (&json!("b"), &json!("c")));
        assert_eq!(rows[2]["truncated"], true);
        assert!(rows[2]["next"].as_str().unwrap().contains("sessions --role worker --limit 3"), "{rows}");
    }

    #[tokio::test]
    async fn a_process_that_ended_is_dead_and_one_with_its_number_is_not_taken_for_it() {
        let world = World::new();
        let session = world.session("w", Role::Worker).await;
        let own = ProcessId::of(std::process::id()).unwrap().unwrap();
        for (ticks, alive) in [(own.start_ticks, true), (own.start_ticks + 1, false)] {
            let pid = Some(i64::from(own.pid));
            let changed = Session { pid, pid_start_ticks: Some(ticks as i64), ..session.clone() };
            let mut tx = world.tx().await;
            sessions::update(&mut tx, &changed, conveyor_store::AuditRow::new("test", "Test."))
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let seen = world.seen_by(Caller::Person);
            let rows = crate::testing::run::<Sessions>(&seen, json!({})).await.unwrap().json;
            assert_eq!(rows[0]["alive"], alive);
        }
    }
}
