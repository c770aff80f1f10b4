//! `conveyor mcp install` and `uninstall` against the real Codex, in homes of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod user;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use conveyor_sim::tmux::Program;
use conveyor_sim::tmux::Server;
use serde_json::Value;
use serde_json::json;
use toml_edit::DocumentMut;

use crate::user::CONVEYOR;
use crate::user::User;
use crate::user::codex;

/// What a user's configuration may look like.
const CONFIG: &str = "model = \"x\"   # my model\n\n[projects.\"/a\"]\ntrust_level = \"trusted\"\n\n\
                      [mcp_servers.other]\ncommand = \"foo\"\nargs = [\"a\", \"b\"]\n";

impl User {
    /// The entry, as Codex itself reads it.
    fn entry(&self) -> Value {
        let done = self.command(&codex()).args(["mcp", "get", "conveyor", "--json"]).output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap_or(Value::Null)
    }

    /// Runs it and reads its failure.
    fn failure(&self, words: &[&str]) -> Value {
        let done = self.run(&[&["mcp"], words].concat());
        assert_eq!(done.status.code(), Some(1), "{words:?}: {}", String::from_utf8_lossy(&done.stdout));
        serde_json::from_slice::<Value>(&done.stderr).unwrap()["error"].clone()
    }
}

/// What a configuration means, whatever its blanks.
fn meaning(text: &str) -> String {
    text.parse::<DocumentMut>().unwrap().to_string().lines().filter(|line| !line.is_empty()).collect()
}

#[test]
fn installing_asks_first_and_without_a_person_changes_nothing() {
    let user = User::with(CONFIG);
    let done = user.run(&["mcp", "install", "--text"]);
    assert_eq!(done.status.code(), Some(1));
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(told.contains("+[mcp_servers.conveyor]\n"), "the change is not shown: {told}");
    assert!(told.ends_with("hint: conveyor mcp install --text --yes\n"), "{told}");
    assert_eq!(user.failure(&["install"])["kind"], "refused");
    assert_eq!(user.config(), CONFIG);
}

#[test]
fn what_was_installed_is_what_codex_reads_and_uninstalling_leaves_the_rest() {
    let user = User::with(CONFIG);
    let report = user.report(&["mcp", "install", "--yes"]);
    assert_eq!((&report["installed"], &report["changed"]), (&json!(true), &json!(true)));
    let transport = user.entry()["transport"].clone();
    assert_eq!(transport["command"], CONVEYOR);
    assert_eq!(transport["args"], json!(["mcp"]));
    assert!(user.config().starts_with("model = \"x\"   # my model\n"));

    let installed = user.config();
    let again = user.report(&["mcp", "install", "--yes"]);
    assert_eq!((&again["installed"], &again["changed"]), (&json!(true), &json!(false)));
    assert_eq!(user.config(), installed);

    let report = user.report(&["mcp", "uninstall", "--yes"]);
    assert_eq!((&report["installed"], &report["changed"]), (&json!(false), &json!(true)));
    assert_eq!(meaning(&user.config()), meaning(CONFIG));
    assert_eq!(user.report(&["mcp", "uninstall", "--yes"])["changed"], false);
}

#[test]
fn the_diff_is_the_change_that_was_made() {
    let user = User::with(CONFIG);
    let report = user.report(&["mcp", "install", "--yes", "--approve-tools"]);
    let diff = report["diff"].as_str().unwrap();
    let after: String =
        diff.lines().skip(3).filter(|line| !line.starts_with('-')).map(|line| &line[1..]).collect();
    let tail: String = user.config().lines().collect();
    assert!(tail.ends_with(&after), "{diff}");
}

#[test]
fn approval_is_added_only_when_asked_for() {
    let user = User::with(CONFIG);
    user.report(&["mcp", "install", "--yes"]);
    assert!(!user.config().contains("approval"));
    let report = user.report(&["mcp", "install", "--yes", "--approve-tools"]);
    assert_eq!((&report["changed"], &report["approve_tools"]), (&json!(true), &json!(true)));
    assert!(user.config().contains("args = [\"mcp\"]\ndefault_tools_approval_mode = \"approve\"\n"));
    assert_eq!(
        user.report(&["mcp", "install", "--yes"])["changed"],
        false,
        "a later install takes nothing away"
    );
}

#[test]
fn a_new_version_keeps_the_users_own_settings_with_their_comments() {
    let old = "[mcp_servers.conveyor]\ncommand = \"/gone/conveyor\"\nargs = [\"mcp\"]\n# long waits\n\
               tool_timeout_sec = 900\n\n[mcp_servers.conveyor.env]\nEXTRA = \"1\"\n";
    let user = User::with(old);
    let report = user.report(&["mcp", "install", "--yes", "--db", "here.db"]);
    assert_eq!(report["set_by_user"], json!(["tool_timeout_sec"]));
    assert!(user.config().contains("# long waits\ntool_timeout_sec = 900\n"), "{}", user.config());
    let transport = user.entry()["transport"].clone();
    assert_eq!(transport["env"], json!({ "EXTRA": "1" }));
    let ledger = user.folder.path().canonicalize().unwrap().join("here.db");
    assert_eq!(transport["args"], json!(["mcp", "--db", ledger]));
    assert_eq!(user.report(&["mcp", "uninstall", "--yes"])["set_by_user"], json!(["tool_timeout_sec"]));
}

#[test]
fn another_program_under_the_same_name_is_left_alone() {
    let foreign = "[mcp_servers.conveyor]\ncommand = \"npx\"\nargs = [\"belt\"]\n";
    let user = User::with(foreign);
    for words in [["install", "--yes"], ["uninstall", "--yes"]] {
        let error = user.failure(&words);
        assert_eq!(error["kind"], "conflict");
        assert!(error["message"].as_str().unwrap().contains("npx belt"), "{error}");
    }
    assert_eq!(user.config(), foreign);
}

#[test]
fn a_server_is_told_of_a_codex_home_and_a_state_folder_of_ones_own() {
    let user = User::with("");
    let home = user.folder.path().join("elsewhere");
    let words = ["mcp", "install", "--yes", "--codex-home", "elsewhere"];
    let mut install = user.command(Path::new(CONVEYOR));
    install
        .args(words)
        .env("XDG_STATE_HOME", "/state")
        .env("CONVEYOR_DATABASE_URL", "postgres://ann:s3cr@db/x");
    let missing = install.output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("does not exist"), "{missing:?}");
    std::fs::create_dir(&home).unwrap();
    let done = install.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let printed = String::from_utf8(done.stdout).unwrap();
    assert!(printed.contains("postgres://ann@db/x") && !printed.contains("s3cr"), "{printed}");
    let config = std::fs::read_to_string(home.join("config.toml")).unwrap();
    let document: DocumentMut = config.parse().unwrap();
    let env = &document["mcp_servers"]["conveyor"]["env"];
    let value = |name: &str| env[name].as_str().unwrap().to_owned();
    assert_eq!(value("CODEX_HOME"), home.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(
        (value("XDG_STATE_HOME").as_str(), value("CONVEYOR_DATABASE_URL").as_str()),
        ("/state", "postgres://ann:s3cr@db/x")
    );
    let mode = std::fs::metadata(home.join("config.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read the password");
}

#[test]
fn without_codex_it_says_how_to_get_it() {
    let user = User::with(CONFIG);
    let done =
        user.command(Path::new(CONVEYOR)).args(["mcp", "install"]).env("PATH", "/nowhere").output().unwrap();
    let error = serde_json::from_slice::<Value>(&done.stderr).unwrap()["error"].clone();
    assert_eq!(
        (&error["kind"], &error["hint"]),
        (&json!("environment"), &json!("install it: npm install -g @openai/codex"))
    );
}

#[test]
fn at_a_terminal_a_persons_word_decides() {
    let user = User::with(CONFIG);
    let tmux = Server::new().unwrap();
    for (answer, installed) in [("n", false), ("y", true)] {
        // tmux gives a pane the PATH of its client, whatever `-e` says.
        let environment = user.environment().into_iter().map(|(name, value)| format!("{name}={value}"));
        let argv = ["env".to_owned()].into_iter().chain(environment);
        let argv = argv.chain([CONVEYOR, "mcp", "install", "--text"].map(str::to_owned)).collect();
        let program = Program { argv, env: Vec::new(), folder: user.folder.path().to_owned() };
        let pane = tmux.open(answer, &program).unwrap();
        let limit = Duration::from_secs(20);
        let screen = tmux.wait_screen(&pane, limit, "a question", |screen| screen.contains("[y/N]")).unwrap();
        assert!(screen.contains("+[mcp_servers.conveyor]"), "{screen}");
        tmux.press(&pane, &[answer, "Enter"]).unwrap();
        let said = if installed { "Installed." } else { "nothing was changed" };
        tmux.wait_screen(&pane, limit, said, |screen| screen.contains(said)).unwrap();
        assert_eq!(user.config().contains("[mcp_servers.conveyor]"), installed);
    }
}
