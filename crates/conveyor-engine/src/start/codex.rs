//! Which Codex is started, with which arguments and in which environment.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use conveyor_agents::process::STARTED_AS;
use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_mux::SpawnSpec;
use conveyor_store::Location;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use super::Spec;
use crate::Plane;

/// A Codex that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codex {
    /// The program, absolute.
    pub program: PathBuf,
    /// Whether it knows the shared daemon and hence the flag against it.
    pub knows_daemon: bool,
}

/// The Codex in `PATH`, or the one that was named; asked once what it knows.
pub(super) async fn find(plane: &Plane, bin: Option<&str>) -> Result<Codex> {
    let program = program(plane, bin)?;
    let help = ask(plane, &program).await?;
    Ok(Codex { program, knows_daemon: help.contains("--no-daemon") })
}

fn program(plane: &Plane, bin: Option<&str>) -> Result<PathBuf> {
    let name = bin.unwrap_or("codex");
    let found = match bin {
        Some(path) if path.contains('/') => {
            let path = plane.environment.absolute(path)?;
            plane.environment.find_program(&path.to_string_lossy())
        }
        Some(_) | None => plane.environment.find_program(name),
    };
    found.ok_or_else(|| {
        Error::environment(format!("there is no program `{}`", name.escape_debug()))
            .hint("npm install -g @openai/codex, or name the program with --codex-bin")
    })
}

/// What `codex --help` prints.
async fn ask(plane: &Plane, program: &Path) -> Result<String> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.arg("--help").current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(path) = plane.environment.variable("PATH") {
        command.env("PATH", path);
    }
    let answered = timeout(limits::CODEX_ANSWERS, command.output())
        .await
        .map_err(|_| Error::timeout(format!("`{shown} --help` does not answer")))?;
    let output =
        answered.map_err(|error| Error::environment(format!("`{shown}` does not start: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(300).collect();
    Err(Error::environment(format!("`{shown} --help` fails: {}", said.escape_debug()))
        .hint("name a working Codex with --codex-bin"))
}

/// Takes out of the environment what belongs to whoever started the tmux server or this program: npm's own settings,
/// another session's identity, and a ledger that the new session must not choose by itself. The names of such variables
/// are not known beforehand, so the new session's own shell looks for them and then becomes Codex; it reads nothing else.
const CLEAN: &str = r#"for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
case $name in CODEX_HOME) ;; CODEX_*|CONVEYOR_DATABASE_URL|NPM_*|npm_*|PNPM_SCRIPT_SRC_DIR) unset "$name" ;; esac
done
exec "$@""#;

/// Variables that the new session has from the caller, whatever the tmux server was started with: they decide where it
/// finds Codex's folder, programs, and conveyor's state.
const HANDED_ON: [&str; 4] = ["CODEX_HOME", "HOME", "PATH", "XDG_STATE_HOME"];

/// What tmux is to start. It carries the session's id, by which it is found when its starter is killed.
pub(super) fn spawn_spec(plane: &Plane, spec: &Spec, session: &SessionId) -> SpawnSpec {
    let mut argv: Vec<OsString> = ["/bin/sh", "-c", CLEAN, "codex"].map(OsString::from).to_vec();
    argv.push(spec.codex.program.clone().into());
    argv.extend(arguments(plane, spec).into_iter().map(OsString::from));
    let set = HANDED_ON
        .iter()
        .filter_map(|name| Some((OsString::from(name), OsString::from(plane.environment.variable(name)?))));
    let mark = (OsString::from(STARTED_AS), OsString::from(session.as_str()));
    SpawnSpec {
        set: set.chain([mark]).collect(),
        ..SpawnSpec::new(spec.tmux_session.clone(), &spec.cwd, argv)
    }
}

/// Codex's arguments. The first message is not among them.
fn arguments(plane: &Plane, spec: &Spec) -> Vec<String> {
    let mut arguments = Vec::new();
    if spec.codex.knows_daemon {
        arguments.push("--no-daemon".to_owned());
    }
    arguments.extend(["--sandbox", spec.sandbox.as_str()].map(str::to_owned));
    arguments.extend(["--ask-for-approval", spec.approval.as_str()].map(str::to_owned));
    for setting in server_settings(plane) {
        arguments.extend(["-c".to_owned(), setting]);
    }
    arguments
}

/// Settings with which the session has conveyor's tools: its sandbox keeps its shell from the ledger, and the tools check
/// by themselves who calls them. A JSON text of strings is TOML as well.
fn server_settings(plane: &Plane) -> Vec<String> {
    let executable = plane.environment.executable.to_string_lossy();
    let arguments = match plane.location() {
        Location::Sqlite(path) => json!(["mcp", "--db", path.to_string_lossy()]),
        // The URL may hold a password, which no command line shows: the server finds the ledger by the caller's thread.
        Location::Postgres(_) => json!(["mcp"]),
    };
    let mut settings = vec![
        format!("mcp_servers.conveyor.command={}", json!(executable)),
        format!("mcp_servers.conveyor.args={arguments}"),
        "mcp_servers.conveyor.default_tools_approval_mode=\"approve\"".to_owned(),
    ];
    for name in ["TMUX_TMPDIR", "XDG_STATE_HOME"] {
        if let Some(value) = plane.environment.variable(name) {
            settings.push(format!("mcp_servers.conveyor.env.{name}={}", json!(value)));
        }
    }
    settings
}
