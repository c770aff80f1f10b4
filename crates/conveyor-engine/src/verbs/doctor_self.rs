//! `doctor-self`: who this very session is, and how to register it.

use std::path::PathBuf;

use clap::Args;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Caller;
use crate::Plane;
use crate::identify;
use crate::identify::Candidate;
use crate::identify::Claims;
use crate::identify::Identity;
use crate::verb::Effect;
use crate::verb::Group;
use crate::verb::Report;
use crate::verb::Request;
use crate::verb::Verb;

/// Say who this session is and how to register it
///
/// `supported` means that this session's thread and pane are proved, so that a worker can be typed to. A session without
/// a proved pane can still be registered: it reads its messages itself. Exit code 1 when it is not supported.
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
pub struct DoctorSelfRequest {
    /// The exact name of the tmux session that shows it
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
}

impl Request for DoctorSelfRequest {}

/// One thing that was looked at.
#[derive(Serialize, JsonSchema, Debug)]
pub struct SelfCheck {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Which session it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What stands against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether `supported` depends on it.
    pub decides: bool,
}

/// Commands that register this session.
#[derive(Serialize, JsonSchema, Debug)]
pub struct RegisterLines {
    /// As a worker.
    pub worker: String,
    /// As a manager.
    pub manager: String,
}

/// Who this session is.
#[derive(Serialize, JsonSchema, Debug)]
pub struct DoctorSelfReport {
    /// The same as `supported`.
    pub ok: bool,
    /// Whether it can be registered as a worker that is typed to.
    pub supported: bool,
    /// Whether it can be registered as a manager, for which the thread is enough.
    pub managers_supported: bool,
    /// Its tmux session, if its pane is proved.
    pub current_session: Option<String>,
    /// Its pane, if that is proved.
    pub pane: Option<String>,
    /// How the pane was proved.
    pub pane_proof: Option<&'static str>,
    /// Panes that may be its own, where none is proved.
    pub candidates: Vec<Candidate>,
    /// Its process.
    pub pid: Option<u32>,
    /// Its thread.
    pub thread: Option<String>,
    /// How the thread was proved.
    pub proof: Option<&'static str>,
    /// Its rollout; null before the first message.
    pub rollout: Option<PathBuf>,
    /// Its CODEX_HOME.
    pub codex_home: Option<PathBuf>,
    /// Where it works.
    pub cwd: Option<PathBuf>,
    /// Which process owns its turns.
    pub owner: &'static str,
    /// What was looked at.
    pub checks: Vec<SelfCheck>,
    /// Names of the checks that stand against `supported`.
    pub failed: Vec<&'static str>,
    /// Why it is supported, or why not.
    pub why_or_why_not: String,
    /// Commands that register this session; put a name in.
    pub register: RegisterLines,
    /// The one for a worker.
    pub command_template: String,
    /// What comes after that.
    pub follow_up: Vec<String>,
    /// How a session without a pane gets its messages.
    pub codex_app_inbox_guidance: String,
    /// What is odd but stands against nothing.
    pub warnings: Vec<String>,
    /// Where the skill lies.
    pub skill_path: Option<PathBuf>,
    /// This program.
    pub conveyor_invocation: PathBuf,
    /// The same, by the contract's name.
    pub workerctl_invocation: PathBuf,
}

impl Report for DoctorSelfReport {
    fn exit_code(&self) -> u8 {
        u8::from(!self.supported)
    }
}

/// The verb.
pub struct DoctorSelf;

impl Verb for DoctorSelf {
    const NAME: &'static str = "doctor-self";
    const GROUP: Group = Group::Diagnose;
    const EFFECT: Effect = Effect::Reads;
    type Request = DoctorSelfRequest;
    type Report = DoctorSelfReport;

    async fn run(plane: &Plane, request: DoctorSelfRequest) -> Result<DoctorSelfReport> {
        let claims = Claims { tmux_session: request.session.clone(), ..Claims::default() };
        let (identity, trouble) = match identify::look(plane, &claims).await {
            Ok(identity) => (Some(identity), None),
            Err(error) => (None, Some(error.message)),
        };
        let checks = checks(plane, identity.as_ref(), trouble.as_deref());
        let failed: Vec<&'static str> =
            checks.iter().filter(|check| check.decides && !check.ok).map(|check| check.name).collect();
        Ok(report(plane, &request, identity.as_ref(), trouble, checks, failed))
    }
}

fn checks(plane: &Plane, identity: Option<&Identity>, trouble: Option<&str>) -> Vec<SelfCheck> {
    let thread = identity.and_then(|identity| identity.thread.as_ref());
    let pane = identity.and_then(|identity| identity.pane.as_ref());
    let check = |name, ok, decides| SelfCheck { name, ok, path: None, session: None, error: None, decides };
    let program = |name: &'static str, word: &str| {
        let path = plane.environment.find_program(word);
        SelfCheck { path: path.clone(), ..check(name, path.is_some(), false) }
    };
    let skill = skill(plane);
    vec![
        SelfCheck {
            error: trouble.map(ToOwned::to_owned),
            session: thread.map(|thread| thread.id.clone()),
            ..check("thread_proved", thread.is_some(), true)
        },
        SelfCheck {
            session: pane.map(|pane| pane.pin.session.clone()),
            ..check("current_tmux_session_live", pane.is_some(), true)
        },
        program("conveyor_on_path", "conveyor"),
        program("workerctl_on_path", "workerctl"),
        program("tmux_on_path", "tmux"),
        program("codex_on_path", "codex"),
        SelfCheck { path: skill.clone(), ..check("manage_skill_installed", skill.is_some(), false) },
    ]
}

fn skill(plane: &Plane) -> Option<PathBuf> {
    let home = plane.environment.codex_home().ok()?;
    Some(home.join("skills/manage-codex-workers/SKILL.md")).filter(|path| path.is_file())
}

fn report(
    plane: &Plane,
    request: &DoctorSelfRequest,
    identity: Option<&Identity>,
    trouble: Option<String>,
    checks: Vec<SelfCheck>,
    failed: Vec<&'static str>,
) -> DoctorSelfReport {
    let supported = failed.is_empty();
    let thread = identity.and_then(|identity| identity.thread.clone());
    let pane = identity.and_then(|identity| identity.pane.clone());
    let register = lines(plane, request, thread.is_some());
    let why = why(plane, identity, trouble);
    DoctorSelfReport {
        ok: supported,
        supported,
        managers_supported: thread.is_some(),
        current_session: pane.as_ref().map(|pane| pane.pin.session.clone()),
        pane_proof: pane.as_ref().map(|pane| pane.proof),
        pane: pane.map(|pane| pane.pin.pane.to_string()),
        candidates: identity.map(|identity| identity.candidates.clone()).unwrap_or_default(),
        pid: identity.and_then(|identity| identity.process).map(|process| process.pid),
        proof: thread.as_ref().map(|thread| thread.proof),
        rollout: thread.as_ref().and_then(|thread| thread.rollout.clone()),
        thread: thread.map(|thread| thread.id),
        codex_home: identity.and_then(|identity| identity.codex_home.clone()),
        cwd: identity.and_then(|identity| identity.cwd.clone()),
        owner: identity.map_or("unknown", |identity| identity.owner.as_str()),
        checks,
        failed,
        why_or_why_not: why,
        command_template: register.worker.clone(),
        register,
        follow_up: vec![
            plane.command(&["tasks", "--create", "NAME", "--goal", "GOAL"]),
            plane.command(&["bind", "--task", "NAME", "--worker", "WORKER", "--manager", "MANAGER"]),
            plane.command(&["cycle", "NAME"]),
        ],
        codex_app_inbox_guidance: format!(
            "Without a proved pane a session reads its messages itself: {}",
            plane.command(&["session-inbox", "NAME", "--consume-next", "--wait"])
        ),
        warnings: identity.map(|identity| identity.warnings.clone()).unwrap_or_default(),
        skill_path: skill(plane),
        conveyor_invocation: plane.environment.executable.clone(),
        workerctl_invocation: plane.environment.executable.clone(),
    }
}

/// Inside a session a name is enough; from outside the tmux session says which one is meant.
fn lines(plane: &Plane, request: &DoctorSelfRequest, known: bool) -> RegisterLines {
    let line = |verb, name| {
        let mut words = vec![verb, "--name", name];
        match (&request.session, plane.caller.thread()) {
            (Some(session), None) => words.extend(["--tmux-session", session.as_str()]),
            (None, None) if !known => words.extend(["--tmux-session", "SESSION"]),
            (Some(_) | None, Some(_) | None) => {}
        }
        plane.command(&words)
    };
    RegisterLines { worker: line("register-worker", "WORKER"), manager: line("register-manager", "MANAGER") }
}

fn why(plane: &Plane, identity: Option<&Identity>, trouble: Option<String>) -> String {
    if let Some(trouble) = trouble {
        return trouble;
    }
    let thread = identity.and_then(|identity| identity.thread.as_ref());
    let pane = identity.and_then(|identity| identity.pane.as_ref());
    match (thread, pane, &plane.caller) {
        (Some(thread), Some(pane), _) => {
            format!("the thread {} is in the pane {}, proved by {}", thread.id, pane.pin.pane, pane.proof)
        }
        (Some(thread), None, _) => {
            let first = identity.and_then(|identity| identity.candidates.first());
            let why = first.map_or("no pane holds its Codex", |candidate| candidate.why.as_str());
            format!("the thread {} is known, its pane is not proved: {why}", thread.id)
        }
        (None, _, Caller::Person) => {
            "no Codex session calls: run it inside one, or name one by --session".to_owned()
        }
        (None, _, Caller::Shell { .. } | Caller::Tool { .. }) => {
            "the call does not say from which thread it comes".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_person_outside_of_any_session_is_not_supported_though_a_tmux_server_may_run() {
        let world = World::new();
        let answer = world.run::<DoctorSelf>(json!({})).await.unwrap();
        assert_eq!((answer.exit_code, &answer.json["supported"]), (1, &json!(false)));
        assert_eq!((&answer.json["pane"], &answer.json["current_session"]), (&json!(null), &json!(null)));
        assert_eq!(answer.json["failed"], json!(["thread_proved", "current_tmux_session_live"]));
    }

    #[tokio::test]
    async fn a_session_without_a_pane_is_good_enough_for_a_manager() {
        let world = World::new();
        let answer = crate::testing::run::<DoctorSelf>(&world.agent("m"), json!({})).await.unwrap();
        let report = &answer.json;
        assert_eq!((&report["supported"], &report["managers_supported"]), (&json!(false), &json!(true)));
        assert_eq!((&report["thread"], &report["proof"]), (&json!("thread-m"), &json!("caller")));
        assert_eq!(report["failed"], json!(["current_tmux_session_live"]));
        let register = "call the tool register_manager with {\"name\":\"MANAGER\"}";
        assert_eq!(report["register"]["manager"], register);
    }
}
