//! Looking at the pane of a session beside its rollout: what it shows, where it contradicts, what of it wants attention.
//!
//! The rollout decides the state; a pane only adds to it. A terminal that cannot be looked at degrades an observation
//! and never fails it.

use conveyor_agents::ProcessId;
use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::TaskId;
use conveyor_model::pane;
use conveyor_model::pane::Classification;
use conveyor_model::shadow;
use conveyor_model::shadow::Contradiction;
use conveyor_model::shadow::Sight;
use conveyor_model::shadow::Trouble;
use conveyor_model::turn::Turn;
use conveyor_store::AuditRow;
use conveyor_store::Db;
use conveyor_store::Tx;
use conveyor_store::attention;
use conveyor_store::attention::NewAttention;
use conveyor_store::divergences;
use conveyor_store::divergences::Divergence;
use conveyor_store::sessions::Session;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::message;

/// What a look at a session's pane came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// This is on the screen.
    Shows(Box<Classification>),
    /// No pane was proved to be the session's.
    NoPane,
    /// The session runs on another host, whose dispatcher looks at it.
    Elsewhere,
    /// The pinned pane is gone, or holds another program.
    Gone(Error),
    /// The terminal could not be looked at.
    Unseen(Error),
}

impl Seen {
    /// What is on the screen.
    pub fn screen(&self) -> Option<&Classification> {
        match self {
            Self::Shows(screen) => Some(screen),
            Self::NoPane | Self::Elsewhere | Self::Gone(_) | Self::Unseen(_) => None,
        }
    }

    /// The same for the model's decisions.
    pub fn sight(&self) -> Sight {
        match self {
            Self::Shows(screen) => Sight::Shows(screen.kind),
            Self::Gone(_) => Sight::Gone,
            Self::NoPane | Self::Elsewhere | Self::Unseen(_) => Sight::Unseen,
        }
    }

    /// Whether there is a pane of which nothing was seen.
    pub fn is_degraded(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Unseen(_) => true,
            Self::Shows(_) | Self::NoPane | Self::Elsewhere => false,
        }
    }

    /// Why nothing was seen.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Shows(_) => None,
            Self::NoPane => Some("no tmux pane is proved to be the session's".to_owned()),
            Self::Elsewhere => Some("the session runs on another host".to_owned()),
            Self::Gone(error) | Self::Unseen(error) => {
                Some(format!("the pane could not be captured: {error}"))
            }
        }
    }
}

/// Looks at a session's proved pane. One call of tmux, two to three milliseconds; no ledger is held meanwhile.
pub async fn look(plane: &Plane, session: &Session) -> Seen {
    if session.host != plane.environment.host {
        return Seen::Elsewhere;
    }
    let Some(pin) = message::pin(session) else { return Seen::NoPane };
    match plane.mux.capture(&pin).await {
        Ok(screen) => Seen::Shows(Box::new(pane::classify(&screen))),
        Err(error) if error.kind == ErrorKind::NotFound => Seen::Gone(error),
        Err(error) => Seen::Unseen(error),
    }
}

/// Whether the session's very process runs; `None` when no process was proved, or none that can be seen from here.
pub fn process_alive(plane: &Plane, session: &Session) -> Option<bool> {
    if session.host != plane.environment.host {
        return None;
    }
    let pid = u32::try_from(session.pid?).ok()?;
    let start_ticks = u64::try_from(session.pid_start_ticks?).ok()?;
    Some(ProcessId { pid, start_ticks }.is_alive())
}

/// What was noted of a look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted {
    /// The contradiction, counted where it was the latest already.
    pub divergence: Option<Divergence>,
    /// What wants attention now.
    pub troubles: Vec<Trouble>,
    /// What of that did not want it before.
    pub raised: Vec<Raised>,
}

/// Attention that was raised just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What is the matter.
    pub trouble: Trouble,
    /// The row's number.
    pub attention: i64,
}

/// Whether noting a look would change anything: a contradiction, or attention that begins or is over.
pub async fn is_news(
    db: &mut Db,
    session: &Session,
    turn: &Turn,
    seen: &Seen,
    process_alive: Option<bool>,
    now: Timestamp,
) -> Result<bool> {
    let silence = turn.last_event_at.map(|at| now.since(at));
    let contradicts =
        seen.screen().is_some_and(|screen| shadow::contradiction(turn.state, silence, screen.kind).is_some());
    let sight = seen.sight();
    let troubles = shadow::troubles(sight, turn, process_alive);
    let open = attention::open(db, Some(&session.id), None, conveyor_model::limits::LIST_ROWS).await?;
    let raised: Vec<Trouble> = open
        .iter()
        .filter(|open| open.subject == session.id.as_str())
        .filter_map(|open| Trouble::of_word(&open.kind))
        .collect();
    let begins = troubles.iter().any(|trouble| !raised.contains(trouble));
    let is_over = raised.iter().any(|raised| shadow::is_over(*raised, &troubles, sight, turn, process_alive));
    Ok(contradicts || begins || is_over)
}

/// Notes what a look adds to the rollout: a contradiction with its evidence, and attention raised or over.
///
/// `turn` is the session's turn as it is in this transaction.
pub async fn note(
    tx: &mut Tx,
    session: &Session,
    task: Option<&TaskId>,
    turn: &Turn,
    seen: &Seen,
    process_alive: Option<bool>,
) -> Result<Noted> {
    let silence = turn.last_event_at.map(|at| tx.now().since(at));
    let contradiction =
        seen.screen().and_then(|screen| shadow::contradiction(turn.state, silence, screen.kind));
    let divergence = match contradiction {
        Some(found) => Some(diverges(tx, session, task, turn, seen, found).await?),
        None => None,
    };
    let sight = seen.sight();
    let troubles = shadow::troubles(sight, turn, process_alive);
    for open in attention::open(tx, Some(&session.id), None, conveyor_model::limits::LIST_ROWS).await? {
        let raised = Trouble::of_word(&open.kind).filter(|_| open.subject == session.id.as_str());
        if raised.is_some_and(|raised| shadow::is_over(raised, &troubles, sight, turn, process_alive)) {
            let sentence = format!("{} of {} is over.", open.kind, session.name);
            let audit = AuditRow::new("attention_cleared", sentence).session(&session.id);
            attention::clear(tx, &open.subject, &open.kind, audit).await?;
        }
    }
    let mut newly = Vec::new();
    for trouble in &troubles {
        newly.extend(raise(tx, session, task, *trouble, seen).await?);
    }
    Ok(Noted { divergence, troubles, raised: newly })
}

async fn diverges(
    tx: &mut Tx,
    session: &Session,
    task: Option<&TaskId>,
    turn: &Turn,
    seen: &Seen,
    found: Contradiction,
) -> Result<Divergence> {
    let (rollout, pane) = (found.rollout_says.as_str(), found.pane_says.as_str());
    let evidence = json!({
        "turn_id": turn.turn_id,
        "inferred": turn.inferred,
        "open_calls": turn.open_calls.len(),
        "last_event_at": turn.last_event_at,
        "last_event_id": turn.last_event_id,
        "screen": evidence(seen),
    });
    let sentence = format!("The rollout of {} says {rollout}, its pane shows {pane}.", session.name);
    let audit = AuditRow::new("divergence_noted", sentence).payload(evidence.clone());
    divergences::note(tx, &session.id, task, (rollout, pane), &evidence, audit).await
}

/// Which rule decided on which line: the proof of what was seen.
fn evidence(seen: &Seen) -> Value {
    match seen.screen() {
        Some(screen) => json!({ "rule": screen.rule, "line": screen.line, "evidence": screen.evidence }),
        None => json!({ "reason": seen.reason() }),
    }
}

async fn raise(
    tx: &mut Tx,
    session: &Session,
    task: Option<&TaskId>,
    trouble: Trouble,
    seen: &Seen,
) -> Result<Option<Raised>> {
    let message = format!("{} {}.", session.name, matter(trouble));
    let audit = AuditRow::new("attention_raised", message.clone()).session(&session.id);
    let new = NewAttention {
        kind: trouble.as_str().to_owned(),
        session: Some(session.id.clone()),
        task: task.cloned(),
        delivery: None,
        message,
        evidence: evidence(seen),
    };
    let (row, is_new) = attention::raise(tx, new, audit).await?;
    Ok(is_new.then_some(Raised { trouble, attention: row.id }))
}

/// What is the matter, behind the session's name.
pub fn matter(trouble: Trouble) -> String {
    use pane::Kind;
    match trouble {
        Trouble::PaneGone => "has lost its pane".to_owned(),
        Trouble::ProcessDead => "has ended: its process does not run any more".to_owned(),
        Trouble::Screen(Kind::ApprovalPrompt | Kind::McpApprovalPrompt) => "waits for an approval".to_owned(),
        Trouble::Screen(Kind::UsageLimited) => "has used up its account's allowance".to_owned(),
        Trouble::Screen(Kind::RateLimited) => "was refused because of too many requests".to_owned(),
        Trouble::Screen(Kind::ContextFull) => "has filled its context window".to_owned(),
        Trouble::Screen(Kind::Quit) => "has quit".to_owned(),
        Trouble::Screen(kind) => format!("shows {} and waits for an answer", kind.as_str()),
    }
}
