//! Starting one Codex session in a terminal of its own.
//!
//! The order: everything is checked before anything is touched ([`plan`]); the name is taken in the ledger, so that two
//! starts cannot have the same; the program is started; its screen is looked at until it takes a message, asks
//! something, or dies ([`up`]). The first message is a delivery like any other ([`first_message`]): it is not on the
//! command line, where every user of the machine could read it, and it is proved by the session's own record. Whoever
//! starts can undo exactly what was made ([`undo`]).

mod codex;
mod composer;
mod flags;
pub(crate) mod orphans;
mod plan;
mod policy;
mod prompt;
mod report;
mod rights;

use std::time::Duration;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;
use conveyor_model::pane::Classification;
use conveyor_mux::Pin;
use conveyor_store::AuditRow;
use conveyor_store::sessions;
use conveyor_store::sessions::OwnerKind;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use serde_json::json;

pub use self::flags::Approval;
pub use self::flags::LaunchFlags;
pub use self::flags::OnDialog;
pub use self::flags::Profile;
pub use self::flags::Sandbox;
pub(crate) use self::orphans::cut_off;
pub use self::plan::Spec;
pub use self::plan::Wanted;
pub use self::plan::plan;
pub use self::plan::plan_one;
pub use self::plan::way;
pub use self::policy::policy;
pub use self::prompt::Prompted;
pub use self::prompt::accept as accept_first;
pub use self::prompt::bring as bring_first;
pub use self::prompt::check_length;
pub use self::prompt::first_message;
pub use self::report::DialogReport;
pub use self::report::FirstMessage;
pub use self::report::SessionReport;
pub use self::report::StartReport;
pub use self::rights::may_start;

use crate::Plane;
use crate::adopt;

/// A session that was started.
#[derive(Clone, Debug)]
pub struct Up {
    /// Its row as it is now.
    pub session: Session,
    /// Its pane.
    pub pin: Pin,
    /// The dialog that stands before its composer and was left to a person.
    pub dialog: Option<Classification>,
    /// Until when it has to be there.
    pub deadline: Timestamp,
    /// How long each of its steps may take: the start, the first message.
    pub patience: Duration,
    /// What it may do.
    pub sandbox: Sandbox,
    /// When it asks.
    pub approval: Approval,
}

/// What was made so far, and can be undone.
#[derive(Clone, Debug)]
pub struct Made {
    name: Name,
    role: Role,
    session: SessionId,
    pin: Option<Pin>,
    keep: bool,
}

/// A start that failed, and what became of what it had made.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// What was undone.
    pub undone: Undone,
}

/// What became of things that were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Undone.
    pub rolled_back: Vec<String>,
    /// Not undone.
    pub left_behind: Vec<String>,
}

impl Undone {
    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.rolled_back.extend(other.rolled_back);
        self.left_behind.extend(other.left_behind);
        self
    }
}

impl Failure {
    /// The error, with what was undone in its words.
    pub fn into_error(self) -> Error {
        let Self { mut error, undone } = self;
        for (what, list) in [("rolled back", undone.rolled_back), ("left behind", undone.left_behind)] {
            if !list.is_empty() {
                error.message = format!("{}; {what}: {}", error.message, list.join(", "));
            }
        }
        error
    }
}

impl Up {
    /// What of it can be undone.
    pub fn made(&self, keep: bool) -> Made {
        Made {
            name: self.session.name.clone(),
            role: self.session.role,
            session: self.session.id.clone(),
            pin: Some(self.pin.clone()),
            keep,
        }
    }
}

/// Starts a session and waits until it takes a message or shows a dialog that a person has to answer.
///
/// A failure has undone what was made, unless the plan says to keep it.
pub async fn up(plane: &Plane, spec: &Spec) -> Result<Up, Failure> {
    // From here on a signal is a wish to undo, which the waits below see.
    let _ = plane.end_gracefully();
    let session = match register(plane, spec).await {
        Ok(session) => session,
        Err(error) => return Err(Failure { error, undone: Undone::default() }),
    };
    let mut made = Made {
        name: spec.name.clone(),
        role: spec.role,
        session: session.id.clone(),
        pin: None,
        keep: spec.keep_on_failure,
    };
    match bring_up(plane, spec, session, &mut made).await {
        Ok(up) => Ok(up),
        Err(error) => Err(Failure { error, undone: undo(plane, &made).await }),
    }
}

async fn bring_up(plane: &Plane, spec: &Spec, session: Session, made: &mut Made) -> Result<Up> {
    let patience = Duration::from_secs(spec.timeout_seconds);
    let deadline = plane.clock.now().plus(patience);
    let pin = plane.mux.spawn(&spec.server, &codex::spawn_spec(plane, spec, &session.id)).await?;
    made.pin = Some(pin.clone());
    let session = pinned(plane, session, &pin).await?;
    let dialog = composer::wait(plane, spec, &session, &pin, deadline).await?;
    adopt::first_thread(plane, &session).await?;
    let session = fresh(plane, &session.id).await?;
    Ok(Up { session, pin, dialog, deadline, patience, sandbox: spec.sandbox, approval: spec.approval })
}

/// Starts one session and brings it its first message; a failure of either undoes both.
pub async fn one(plane: &Plane, spec: &Spec, text: &str) -> Result<SessionReport> {
    check_length(text)?;
    let up = up(plane, spec).await.map_err(Failure::into_error)?;
    match first_message(plane, &up, text, None).await {
        Ok(prompted) => SessionReport::of(plane, &up, Some(&prompted)).await,
        Err(error) => {
            let undone = undo(plane, &up.made(spec.keep_on_failure)).await;
            Err(Failure { error, undone }.into_error())
        }
    }
}

/// Takes the name in the ledger, before anything is started.
async fn register(plane: &Plane, spec: &Spec) -> Result<Session> {
    let actor = plane.actor().await?;
    orphans::reconcile(plane).await?;
    let mut tx = plane.ledger().await?.write(&actor).await?;
    let id = SessionId::new(plane.clock.uuid_v7());
    let cwd = spec.cwd.to_string_lossy().into_owned();
    let new = Session::new(id, spec.name.clone(), spec.role, plane.environment.host.clone(), cwd, tx.now());
    let new = Session {
        tmux_session: Some(spec.tmux_session.to_string()),
        started_by_conveyor: true,
        owner_kind: OwnerKind::Embedded,
        codex_home: Some(spec.codex_home.to_string_lossy().into_owned()),
        ..new
    };
    let via = format!("start-{}", spec.role);
    let sentence = format!("The {} {} is being started.", spec.role, spec.name);
    let audit = AuditRow::new("session_registered", sentence).payload(json!({
        "name": spec.name,
        "role": spec.role,
        "session_id": new.id,
        "via": via,
        "sandbox": spec.sandbox,
        "ask_for_approval": spec.approval,
        "starter": orphans::starter(plane),
    }));
    let session = sessions::insert(&mut tx, new, audit).await?;
    tx.commit().await?;
    Ok(session)
}

/// Notes the pane.
async fn pinned(plane: &Plane, session: Session, pin: &Pin) -> Result<Session> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let session = with_pane(session, pin);
    let sentence =
        format!("{} runs in the pane {} of the tmux session {}.", session.name, pin.pane, pin.session);
    sessions::update(&mut tx, &session, AuditRow::new("session_started", sentence)).await?;
    tx.commit().await?;
    Ok(session)
}

fn with_pane(session: Session, pin: &Pin) -> Session {
    Session {
        tmux_pin_json: Some(json!(pin)),
        tmux_pane_id: Some(pin.pane.to_string()),
        tmux_session: Some(pin.session.clone()),
        pid: Some(i64::from(pin.program.pid)),
        pid_start_ticks: pin.program.started.and_then(|ticks| i64::try_from(ticks).ok()),
        ..session
    }
}

/// The session as the ledger has it now.
async fn fresh(plane: &Plane, id: &SessionId) -> Result<Session> {
    crate::resolve::by_id(&mut *plane.ledger().await?.read().await?, id).await
}

/// The session's newest thread and its rollout.
pub(crate) async fn thread_of(plane: &Plane, session: &Session) -> Result<Option<threads::SessionThread>> {
    Ok(threads::current(&mut *plane.ledger().await?.read().await?, &session.id).await?.into_iter().next())
}

/// Undoes what a start has made: ends the program with its tmux session, and gives the name back. What the plan says to
/// keep, and what cannot be undone, is told as left behind.
pub async fn undo(plane: &Plane, made: &Made) -> Undone {
    let mut undone = Undone::default();
    let row = format!("session {} ({})", made.name, made.role);
    let terminal = made.pin.as_ref().map(|pin| format!("tmux session {}", pin.session));
    if made.keep && made.pin.is_some() {
        undone.left_behind.extend(terminal.into_iter().chain([row]));
        return undone;
    }
    if let (Some(pin), Some(terminal)) = (&made.pin, terminal) {
        match plane.mux.kill_session(pin).await {
            Ok(_) => undone.rolled_back.push(terminal),
            Err(error) => undone.left_behind.push(format!("{terminal} ({error})")),
        }
    }
    match forget(plane, made).await {
        Ok(()) => undone.rolled_back.push(row),
        Err(error) => undone.left_behind.push(format!("{row} ({error})")),
    }
    undone
}

/// Gives the name back.
async fn forget(plane: &Plane, made: &Made) -> Result<()> {
    let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
    let sentence = format!("The start of {} was undone.", made.name);
    sessions::mark_gone(&mut tx, &made.session, AuditRow::new("session_start_undone", sentence)).await?;
    tx.commit().await
}

/// The command with which a person sees the session.
pub fn attach_command(pin: &Pin) -> String {
    let target = format!("={}", pin.session);
    crate::plane::quote(&["tmux", "-S", &pin.socket.to_string_lossy(), "attach", "-t", &target])
}
