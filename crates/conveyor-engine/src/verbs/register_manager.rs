//! `register-manager`: see `registration`, which both roles share.

use clap::Args;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_store::sessions::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Plane;
use crate::identify::Claims;
use crate::registration;
use crate::registration::RegisterReport;
use crate::registration::Wanted;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Request;
use crate::verb::Verb;

/// Record a Codex session as a manager
///
/// Inside the session nothing but a name is needed: thread, process and pane are found and proved. From outside, name it
/// by its tmux session, its process or its rollout. A manager needs no tmux: without a proved pane it reads its inbox.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct RegisterManagerRequest {
    /// The session's name
    #[arg(long)]
    pub name: Option<Name>,
    /// The code of a setup, from which the names of the pair follow; binds once both sides are there
    #[arg(long, value_name = "CODE")]
    pub setup_code: Option<String>,
    /// What the task of the setup code is to reach
    #[arg(long)]
    pub goal: Option<String>,
    /// The process of Codex, or one above it
    #[arg(long, allow_negative_numbers = true)]
    pub pid: Option<i64>,
    /// The rollout of the session
    #[arg(long, value_name = "PATH")]
    pub codex_session: Option<String>,
    /// Where the session works, instead of what its rollout says
    #[arg(long)]
    pub cwd: Option<String>,
    /// The exact name of the tmux session that shows it
    #[arg(long, value_name = "NAME")]
    pub tmux_session: Option<String>,
    /// Look for no pane, and forget the one that was proved
    #[arg(long)]
    #[serde(default)]
    pub no_tmux: bool,
    /// The thread of the Codex app that shows the session
    #[arg(long, value_name = "ID")]
    pub codex_app_thread_id: Option<String>,
    /// The title of that thread
    #[arg(long, value_name = "TITLE")]
    pub codex_app_thread_title: Option<String>,
}

impl RegisterManagerRequest {
    fn wanted(&self) -> Wanted {
        let this = self.clone();
        Wanted {
            role: Role::Manager,
            name: this.name,
            setup_code: this.setup_code,
            goal: this.goal,
            claims: Claims {
                pid: this.pid,
                tmux_session: this.tmux_session,
                rollout: this.codex_session,
                no_tmux: this.no_tmux,
            },
            cwd: this.cwd,
            codex_app_thread_id: this.codex_app_thread_id,
            codex_app_thread_title: this.codex_app_thread_title,
        }
    }
}

impl Request for RegisterManagerRequest {
    fn check(&self) -> Result<()> {
        self.wanted().check()
    }
}

/// The verb.
pub struct RegisterManager;

impl Verb for RegisterManager {
    const NAME: &'static str = "register-manager";
    const GROUP: Group = Group::Arrange;
    const EFFECT: Effect = Effect::Writes;
    const LEAST: &'static [&'static str] = &["--name", "n"];
    type Request = RegisterManagerRequest;
    type Report = RegisterReport;

    async fn run(plane: &Plane, request: RegisterManagerRequest) -> Result<RegisterReport> {
        registration::register(plane, &request.wanted()).await
    }
}
