//! Registering a session: who it is, under which name, and which pair it belongs to.
//!
//! A name that is active belongs to one thread and is never given to another. The same thread, or the same terminal with
//! a new thread, registers again: it keeps its id, its earlier threads and how far each was read.

mod place;
mod setup;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::SessionId;
use conveyor_mux::PinCheck;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use self::place::Known;
use self::place::Place;
pub use self::setup::Pairing;
use crate::Plane;
use crate::identify;
use crate::identify::Candidate;
use crate::identify::Claims;
use crate::identify::Identity;
use crate::identify::Thread;
use crate::locate;
use crate::message;
use crate::verb::Report;

/// What is to be registered.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the session does.
    pub role: Role,
    /// Its name.
    pub name: Option<Name>,
    /// The setup code from which its name follows instead.
    pub setup_code: Option<String>,
    /// What the task of the setup code is to reach.
    pub goal: Option<String>,
    /// What is said of the session.
    pub claims: Claims,
    /// Where it works, if the rollout's word is not meant.
    pub cwd: Option<String>,
    /// Thread of the Codex app that shows it.
    pub codex_app_thread_id: Option<String>,
    /// Title of that thread.
    pub codex_app_thread_title: Option<String>,
}

impl Wanted {
    /// Conflicts that both faces refuse.
    pub fn check(&self) -> Result<()> {
        match (&self.name, &self.setup_code) {
            (None, None) => {
                return Err(
                    Error::usage("a session needs a name").hint("add --name NAME or --setup-code CODE")
                );
            }
            (Some(_), Some(_)) => {
                return Err(Error::usage("the name follows from the setup code").hint("leave out --name"));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if self.goal.is_some() && self.setup_code.is_none() {
            return Err(Error::usage("--goal belongs to the task of a setup code")
                .hint("conveyor tasks --create NAME --goal GOAL"));
        }
        if self.claims.no_tmux && self.claims.tmux_session.is_some() {
            return Err(Error::usage("--no-tmux and --tmux-session contradict each other"));
        }
        Ok(())
    }
}

/// How a session can be reached.
#[derive(Serialize, JsonSchema, Debug)]
pub struct Communication {
    /// `tmux`, `codex_app` or `no_tmux`.
    pub session_kind: &'static str,
    /// `push`: typed into its pane; `pull`: it reads its inbox.
    pub receive_style: &'static str,
    /// How it reads its inbox.
    pub poll_command: String,
}

impl Communication {
    /// How this session can be reached.
    pub fn of(plane: &Plane, session: &Session) -> Self {
        let session_kind = match (message::pin(session), &session.codex_app_thread_id) {
            (Some(_), _) => "tmux",
            (None, Some(_)) => "codex_app",
            (None, None) => "no_tmux",
        };
        Self {
            session_kind,
            receive_style: delivery(session),
            poll_command: plane.command(&[
                "session-inbox",
                session.name.as_str(),
                "--consume-next",
                "--wait",
            ]),
        }
    }
}

/// How a session gets its messages: `push`, typed into its pane, or `pull`, read from its inbox.
pub fn delivery(session: &Session) -> &'static str {
    match message::transport(session) {
        Transport::Push => "push",
        Transport::Pull => "pull",
    }
}

/// A registered session, and what to run next.
#[derive(Serialize, JsonSchema, Debug)]
pub struct RegisterReport {
    /// Panes that may be its own, where none is proved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Its thread.
    pub codex_session_id: String,
    /// Its rollout; null before the first message.
    pub codex_session_path: Option<String>,
    /// How it can be reached.
    pub communication: Communication,
    /// Where it works.
    pub cwd: String,
    /// `push` or `pull`.
    pub delivery: &'static str,
    /// Its name.
    pub name: Name,
    /// What to run next.
    pub next: String,
    /// Which process owns its turns: `embedded`, `daemon`, `unknown`.
    pub owner: &'static str,
    /// Its proved pane.
    pub pane: Option<String>,
    /// How the pane was proved.
    pub pane_proof: Option<&'static str>,
    /// Its process.
    pub pid: Option<i64>,
    /// How the thread was proved.
    pub proof: &'static str,
    /// Whether it was registered already.
    pub re_registered: bool,
    /// What it does.
    pub role: Role,
    /// Its id.
    pub session_id: SessionId,
    /// The pair that the setup code stands for.
    #[serde(flatten)]
    pub pairing: Option<Pairing>,
    /// Its tmux session.
    pub tmux_session: Option<String>,
    /// What is odd but stood against nothing.
    pub warnings: Vec<String>,
}

impl Report for RegisterReport {}

/// Registers a session and, by a setup code, ties it to the other side if that is there.
///
/// Errors: those of [`identify::identify`]; conflict for a name or thread that another active session has.
pub async fn register(plane: &Plane, wanted: &Wanted) -> Result<RegisterReport> {
    let identity = identify::identify(plane, &wanted.claims).await?;
    let Some(thread) = identity.thread.clone() else {
        return Err(Error::ambiguous("the session's thread is not proved"));
    };
    let names = wanted.setup_code.as_deref().map(conveyor_model::setup::names).transpose()?;
    let base = names.as_ref().map(|names| setup::own(names, wanted.role));
    let ledger = plane.ledger().await?;
    let kept = kept_pin(plane, &known(&mut *ledger.read().await?, wanted, base, &thread).await?).await?;
    let mut warnings = identity.warnings.clone();
    let mut tx = ledger.write(&plane.actor().await?).await?;
    let known = known(&mut tx, wanted, base, &thread).await?;
    let place = place::decide(wanted.role, wanted.name.as_ref(), base, &known, &identity)?;
    let re_registered = matches!(place, Place::Again(_));
    let session = match place {
        Place::Fresh(name) => fresh(plane, &mut tx, wanted, &identity, name).await?,
        Place::Again(session) => {
            again(&mut tx, wanted, &identity, *session, base, kept, &mut warnings).await?
        }
    };
    hold(&mut tx, &session, &thread).await?;
    tx.commit().await?;
    locate::note(&plane.environment, &thread.id, plane.location())?;
    let pairing = match names {
        Some(names) => Some(setup::pair(plane, wanted, &names, &session, &mut warnings).await?),
        None => None,
    };
    Ok(report(plane, session, identity, thread, re_registered, pairing, warnings))
}

/// What the ledger knows of thread and name.
async fn known(db: &mut Db, wanted: &Wanted, base: Option<&Name>, thread: &Thread) -> Result<Known> {
    let by_thread = threads::session_of(db, &thread.id).await?;
    let name = wanted.name.as_ref().or(base);
    let by_name = match name {
        Some(name) => sessions::active_by_name(db, name).await?,
        None => None,
    };
    let mut free = None;
    if let Some(base) = base {
        for number in 2.. {
            let name = base.with_suffix(&number.to_string());
            if sessions::active_by_name(db, &name).await?.is_none() {
                free = Some(name);
                break;
            }
        }
    }
    Ok(Known { by_thread, by_name, free })
}

/// Whether the pane that was proved at an earlier registration still holds.
async fn kept_pin(plane: &Plane, known: &Known) -> Result<bool> {
    let Some(pin) = known.by_thread.as_ref().and_then(message::pin) else { return Ok(false) };
    Ok(match plane.mux.check(&pin).await {
        Ok(PinCheck::Ours { .. }) => true,
        Ok(PinCheck::Gone { .. } | PinCheck::Changed { .. }) | Err(_) => false,
    })
}

async fn fresh(
    plane: &Plane,
    tx: &mut Tx,
    wanted: &Wanted,
    identity: &Identity,
    name: Name,
) -> Result<Session> {
    let id = SessionId::new(plane.clock.uuid_v7());
    let cwd = cwd(plane, wanted, identity)?.unwrap_or_default();
    let host = plane.environment.host.clone();
    let mut session = Session::new(id, name, wanted.role, host, cwd, tx.now());
    found(&mut session, wanted, identity);
    let sentence = format!("{} is registered as a {}.", session.name, session.role);
    let audit = AuditRow::new("session_registered", sentence).payload(told(&session, identity));
    sessions::insert(tx, session, audit).await
}

async fn again(
    tx: &mut Tx,
    wanted: &Wanted,
    identity: &Identity,
    mut session: Session,
    base: Option<&Name>,
    pin_holds: bool,
    warnings: &mut Vec<String>,
) -> Result<Session> {
    if identity.pane.is_none() && !pin_holds && session.tmux_pin_json.take().is_some() {
        warnings.push("the pane that was proved before is gone; messages wait in the inbox".to_owned());
    }
    if let Some(base) = base.filter(|base| !setup::is_derived(base, &session.name)) {
        place::may_be_renamed(tx, &session).await?;
        warnings.push(format!("the session was called {} until now", session.name));
        session.name = base.clone();
    }
    found(&mut session, wanted, identity);
    if let Some(cwd) = wanted.cwd.clone().or_else(|| identity.cwd.as_deref().map(shown)) {
        session.cwd = cwd;
    }
    let sentence = format!("{} is registered again as a {}.", session.name, session.role);
    let audit = AuditRow::new("session_registered", sentence).payload(told(&session, identity));
    sessions::update(tx, &session, audit).await?;
    Ok(session)
}

/// Puts what was found out into the row; what was not found out stays as it was.
fn found(session: &mut Session, wanted: &Wanted, identity: &Identity) {
    if let Some(process) = identity.process {
        session.pid = Some(i64::from(process.pid));
        session.pid_start_ticks = i64::try_from(process.start_ticks).ok();
    }
    session.codex_home = identity.codex_home.as_deref().map(shown).or(session.codex_home.take());
    session.owner_kind = identity.owner;
    if wanted.claims.no_tmux {
        session.tmux_pin_json = None;
        session.tmux_session = None;
        session.tmux_pane_id = None;
    }
    if let Some(pane) = &identity.pane {
        session.tmux_pin_json = Some(json!(pane.pin));
        session.tmux_session = Some(pane.pin.session.clone());
        session.tmux_pane_id = Some(pane.pin.pane.to_string());
    } else if let Some(named) = &wanted.claims.tmux_session {
        session.tmux_session = Some(named.clone());
    }
    let thread = wanted.codex_app_thread_id.clone();
    session.codex_app_thread_id = thread.or(session.codex_app_thread_id.take());
    let title = wanted.codex_app_thread_title.clone();
    session.codex_app_thread_title = title.or(session.codex_app_thread_title.take());
}

/// Gives the session its thread, unless it has it; notes where its rollout lies.
async fn hold(tx: &mut Tx, session: &Session, thread: &Thread) -> Result<()> {
    let rollout = thread.rollout.as_deref().map(shown);
    let current = threads::current(tx, &session.id).await?;
    let Some(held) = current.into_iter().find(|held| held.thread_id == thread.id) else {
        let sentence = format!("{} has the thread {}, proved by {}.", session.name, thread.id, thread.proof);
        let audit = AuditRow::new("thread_adopted", sentence);
        threads::adopt(tx, &session.id, &thread.id, rollout.as_deref(), thread.proof, audit).await?;
        return Ok(());
    };
    match rollout.filter(|rollout| held.rollout_path.as_ref() != Some(rollout)) {
        Some(rollout) => {
            let sentence = format!("The rollout of thread {} is {rollout}.", thread.id);
            let audit = AuditRow::new("rollout_found", sentence).session(&session.id);
            threads::set_rollout(tx, held.number, &rollout, audit).await
        }
        None => Ok(()),
    }
}

fn cwd(plane: &Plane, wanted: &Wanted, identity: &Identity) -> Result<Option<String>> {
    match &wanted.cwd {
        Some(cwd) => Ok(Some(shown(&plane.environment.absolute(cwd)?))),
        None => Ok(identity.cwd.as_deref().map(shown)),
    }
}

fn told(session: &Session, identity: &Identity) -> serde_json::Value {
    json!({
        "name": session.name,
        "role": session.role,
        "pid": session.pid,
        "thread": identity.thread.as_ref().map(|thread| &thread.id),
        "proof": identity.thread.as_ref().map(|thread| thread.proof),
        "pane": identity.pane.as_ref().map(|pane| pane.pin.pane.to_string()),
        "pane_proof": identity.pane.as_ref().map(|pane| pane.proof),
    })
}

fn report(
    plane: &Plane,
    session: Session,
    identity: Identity,
    thread: Thread,
    re_registered: bool,
    pairing: Option<Pairing>,
    warnings: Vec<String>,
) -> RegisterReport {
    let communication = Communication::of(plane, &session);
    RegisterReport {
        candidates: identity.candidates,
        codex_session_path: thread.rollout.as_deref().map(shown),
        codex_session_id: thread.id,
        delivery: communication.receive_style,
        next: next(plane, &session, pairing.as_ref(), &communication),
        communication,
        owner: session.owner_kind.as_str(),
        pane: message::pin(&session).map(|pin| pin.pane.to_string()),
        pane_proof: identity.pane.map(|pane| pane.proof),
        pid: session.pid,
        proof: thread.proof,
        re_registered,
        role: session.role,
        session_id: session.id,
        pairing,
        tmux_session: session.tmux_session,
        cwd: session.cwd,
        name: session.name,
        warnings,
    }
}

/// What to run next: a bound manager looks, a bound worker reads; who waits for the other side looks for it.
fn next(plane: &Plane, session: &Session, pairing: Option<&Pairing>, how: &Communication) -> String {
    match (session.role, pairing) {
        (Role::Manager, Some(pairing)) if pairing.binding.is_some() => {
            plane.command(&["cycle", pairing.task.as_str()])
        }
        (Role::Manager, Some(pairing)) => plane.command(&["sessions", "--name", pairing.worker.as_str()]),
        (Role::Manager, None) => plane.command(&["discover"]),
        (Role::Worker, Some(_) | None) => how.poll_command.clone(),
    }
}

fn shown(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
