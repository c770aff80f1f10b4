//! What a start answers.

use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::delivery::Stage;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::pane;
use conveyor_model::pane::Classification;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Serialize;

use super::Approval;
use super::Prompted;
use super::Sandbox;
use super::Up;
use super::attach_command;
use super::thread_of;
use crate::Plane;
use crate::verb::Report;

/// A session that was started, in the contract's words.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct SessionReport {
    /// Its thread; null until the program has one.
    pub codex_session_id: Option<String>,
    /// Its rollout; null before the first message.
    pub codex_session_path: Option<String>,
    /// Where it works.
    pub cwd: String,
    /// Its name.
    pub name: Name,
    /// The agent's process.
    pub pid: Option<i64>,
    /// What it does.
    pub role: Role,
    /// Its id.
    pub session_id: SessionId,
    /// The tmux session.
    pub tmux_session: Option<String>,
    /// The pane.
    pub tmux_pane_id: Option<String>,
    /// What its commands may touch.
    pub sandbox: Sandbox,
    /// When it asks.
    pub ask_for_approval: Approval,
    /// Whether its own record holds the first message.
    pub ready: bool,
    /// The dialog that waits for a person.
    pub dialog: Option<DialogReport>,
    /// The first message.
    pub first_message: Option<FirstMessage>,
    /// How a person sees it.
    pub attach_command: String,
}

/// A dialog that stands before the composer.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct DialogReport {
    /// What it is.
    pub kind: pane::Kind,
    /// The line that says so.
    pub evidence: Option<String>,
    /// What can be chosen.
    pub options: Vec<String>,
    /// What to do.
    pub next: String,
}

/// A session's first message.
#[derive(Clone, Serialize, JsonSchema, Debug)]
pub struct FirstMessage {
    /// The delivery.
    pub command_id: DeliveryId,
    /// Where it stands.
    pub state: Stage,
}

impl SessionReport {
    /// The report of a session and its first message, as the ledger has it now.
    pub async fn of(plane: &Plane, up: &Up, prompted: Option<&Prompted>) -> Result<Self> {
        let session = super::fresh(plane, &up.session.id).await?;
        let thread = thread_of(plane, &session).await?;
        let dialog = prompted.map_or(up.dialog.as_ref(), |prompted| prompted.dialog.as_ref());
        Ok(Self {
            codex_session_id: thread.as_ref().map(|thread| thread.thread_id.clone()),
            codex_session_path: thread.and_then(|thread| thread.rollout_path),
            cwd: session.cwd,
            name: session.name,
            pid: session.pid,
            role: session.role,
            session_id: session.id,
            tmux_session: session.tmux_session,
            tmux_pane_id: session.tmux_pane_id,
            sandbox: up.sandbox,
            ask_for_approval: up.approval,
            ready: prompted.is_some_and(|prompted| prompted.dialog.is_none()),
            dialog: dialog.map(|seen| DialogReport::of(seen, up)),
            first_message: prompted.map(|prompted| FirstMessage {
                command_id: prompted.delivery.id.clone(),
                state: prompted.delivery.state,
            }),
            attach_command: attach_command(&up.pin),
        })
    }

    /// One line for a person, and a second one when a dialog waits.
    pub fn line(&self) -> String {
        let pid = self.pid.map_or("unknown".to_owned(), |pid| pid.to_string());
        let mut line = format!(
            "{} {}: process {pid}, sandbox {}, approval {}\n  {}\n",
            self.role,
            self.name,
            self.sandbox.as_str(),
            self.ask_for_approval.as_str(),
            self.attach_command
        );
        if let Some(dialog) = &self.dialog {
            line.extend(["  it shows ", dialog.kind.as_str(), ": ", &dialog.next, "\n"]);
        }
        line
    }
}

impl DialogReport {
    fn of(seen: &Classification, up: &Up) -> Self {
        let options = seen.dialog.iter().flat_map(|dialog| &dialog.options);
        Self {
            kind: seen.kind,
            evidence: seen.evidence.clone(),
            options: options.map(|option| format!("{}. {}", option.number, option.text)).collect(),
            next: format!(
                "answer it in its terminal: {}; then a dispatcher brings the first message",
                attach_command(&up.pin)
            ),
        }
    }
}

/// What `start-worker` and `start-manager` answer.
#[derive(Serialize, JsonSchema, Debug)]
pub struct StartReport {
    /// The session.
    #[serde(flatten)]
    pub session: SessionReport,
    /// What to run next.
    pub next: String,
}

impl Report for StartReport {
    fn text(&self) -> Option<String> {
        Some(format!("{}Next: {}\n", self.session.line(), self.next))
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.session.ready)
    }
}
