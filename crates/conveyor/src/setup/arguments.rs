//! What the three commands take.

use clap::Arg;
use clap::ArgAction;
use clap::Command;

use crate::mcp::db;

/// `setup`
pub(crate) fn setup_command() -> Command {
    let approve = flag("approve-tools").help("Let sessions call each MCP tool without asking a person first");
    shared(Command::new("setup").about("Tell Codex of conveyor: the skill, the MCP server, the terminal title").long_about(
        "Tell Codex of conveyor: the skill, the MCP server, the terminal title\n\n\
         Puts three things into Codex's folder: the skill `manage-codex-workers`, which prompts can name; the MCP \
         server, through which sandboxed sessions act; and the thread id in the terminal's title, by which conveyor \
         proves which pane shows which session. Shows what changes and asks. Keeps the configuration as it was, for \
         `conveyor uninstall`. Leaves alone, and names, what you wrote or changed yourself.",
    ))
    .arg(approve)
    .arg(db())
    .arg(yes())
}

/// `uninstall`
pub(crate) fn uninstall_command() -> Command {
    shared(Command::new("uninstall").about("Undo `conveyor setup`").long_about(
        "Undo `conveyor setup`\n\n\
         Shows what changes and asks. A configuration that nobody touched since becomes what it was, byte for byte; \
         in another one only what setup wrote is taken out. What you changed since stays, and is named. Ledgers stay \
         too.",
    ))
    .arg(yes())
}

/// `install-skills`
pub(crate) fn install_skills_command() -> Command {
    shared(Command::new("install-skills").about("Put the skill for agents into Codex's folder").long_about(
        "Put the skill for agents into Codex's folder\n\n\
         Writes skills/manage-codex-workers/SKILL.md, or brings it up to date. A file that you edited, or that \
         conveyor did not write, is left alone and named.",
    ))
}

/// What all take.
fn shared(command: Command) -> Command {
    command
        .arg(
            Arg::new("codex-home")
                .long("codex-home")
                .value_name("DIR")
                .help("Codex's folder, instead of CODEX_HOME or ~/.codex"),
        )
        .arg(flag("dry-run").help("Show what would change and change nothing"))
        .arg(flag("json").help("Print JSON"))
        .arg(flag("text").conflicts_with("json").help("Print text"))
}

fn yes() -> Arg {
    flag("yes").short('y').help("Do not ask")
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}
