//! `conveyor setup`, `uninstall` and `install-skills` with the real Codex's own command, in homes of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod user;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use conveyor_sim::codex::Codex;
use conveyor_sim::codex::Flavour;
use conveyor_sim::codex::Options;
use serde_json::Value;
use serde_json::json;

use crate::user::CONVEYOR;
use crate::user::User;

/// What a user's configuration may look like, odd blanks and all.
const CONFIG: &str = "model  = \"x\"   # my model\n\n\n[projects.\"/a\"]\ntrust_level = \"trusted\"\n\n\
                      [mcp_servers.other]\ncommand='foo'\nargs=[\"a\",\"b\"]\n";

impl User {
    fn skill(&self) -> PathBuf {
        self.home().join("skills/manage-codex-workers/SKILL.md")
    }

    fn edit(&self, path: &Path, change: impl Fn(&str) -> String) {
        std::fs::write(path, change(&std::fs::read_to_string(path).unwrap())).unwrap();
    }

    /// Every file below Codex's folder with its bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.home()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    found.insert(path.clone(), Vec::new());
                    folders.push(path);
                } else {
                    found.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

/// The states of skill, server and title.
fn states(report: &Value) -> [&str; 3] {
    ["skill", "mcp", "terminal_title"].map(|part| report[part]["state"].as_str().unwrap())
}

#[test]
fn set_up_and_undone_leaves_every_byte_as_it_was() {
    for config in [Some(CONFIG), Some(""), None] {
        let user = User::with(config);
        let before = user.files();
        let report = user.report(&["setup", "--yes"]);
        assert_eq!(states(&report), ["installed", "installed", "installed"]);
        assert!(
            user.config().contains("terminal_title = [\"activity\", \"thread-id\"]"),
            "{}",
            user.config()
        );
        assert!(user.config().contains("[mcp_servers.conveyor]"));
        assert!(std::fs::read_to_string(user.skill()).unwrap().contains("name: manage-codex-workers"));

        let installed = user.files();
        let again = user.report(&["setup", "--yes"]);
        assert_eq!(states(&again), ["unchanged", "unchanged", "unchanged"]);
        assert_eq!((&again["changed"], &again["diff"]), (&json!(false), &json!("")));
        assert_eq!(user.files(), installed);

        let report = user.report(&["uninstall", "--yes"]);
        assert_eq!(states(&report), ["removed", "removed", "removed"]);
        assert_eq!(user.files(), before, "{config:?}");
        assert_eq!(user.report(&["uninstall", "--yes"])["changed"], false);
    }
}

#[test]
fn it_asks_first_and_a_dry_run_changes_nothing() {
    let user = User::with(Some(CONFIG));
    let before = user.files();
    let report = user.report(&["setup", "--dry-run"]);
    assert_eq!((&report["changed"], states(&report)), (&json!(true), ["installed"; 3]));
    let diff = report["diff"].as_str().unwrap();
    assert!(
        diff.contains("+[mcp_servers.conveyor]")
            && diff.contains("+terminal_title")
            && diff.contains("SKILL.md")
    );
    let refused = user.run(&["setup", "--text"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.ends_with("hint: conveyor setup --text --yes\n") && told.contains("+[mcp_servers"),
        "{told}"
    );
    user.report(&["install-skills", "--dry-run"]);
    assert_eq!(user.files(), before);

    user.report(&["setup", "--yes"]);
    let installed = user.files();
    assert_eq!(states(&user.report(&["uninstall", "--dry-run"])), ["removed"; 3]);
    assert_eq!(user.run(&["uninstall"]).status.code(), Some(1), "nobody agreed");
    assert_eq!(user.files(), installed);
}

#[test]
fn what_codex_and_the_user_wrote_since_stays() {
    let user = User::with(Some(CONFIG));
    user.report(&["setup", "--yes"]);
    // As Codex does at each start.
    user.edit(&user.config_path(), |text| {
        text.replace("terminal_title", "notices = 1\nterminal_title").replace("# my model", "# my new model")
            + "\n[mcp_servers.third]\ncommand = \"bar\"\n"
    });
    assert_eq!(states(&user.report(&["uninstall", "--yes"])), ["removed"; 3]);
    let config = user.config();
    assert!(!config.contains("terminal_title") && !config.contains("mcp_servers.conveyor"), "{config}");
    for kept in
        ["# my new model", "[tui]\nnotices = 1", "[mcp_servers.third]", "command='foo'\nargs=[\"a\",\"b\"]"]
    {
        assert!(config.contains(kept), "{kept} is gone: {config}");
    }
}

#[test]
fn what_the_user_changed_of_ours_is_left_and_named() {
    let user = User::with(None);
    user.report(&["setup", "--yes"]);
    user.edit(&user.skill(), |text| text.replace("# Manage Codex workers", "# Manage my workers"));
    user.edit(&user.config_path(), |text| {
        text.replace("[\"activity\", \"thread-id\"]", "[\"thread-id\"]")
            .replace("[mcp_servers.conveyor]\n", "[mcp_servers.conveyor]\ntool_timeout_sec = 900\n")
    });
    let changed = user.files();
    let again = user.report(&["setup", "--yes"]);
    assert_eq!(states(&again), ["left", "unchanged", "unchanged"]);
    assert_eq!(user.files(), changed);
    let report = user.report(&["uninstall", "--yes"]);
    assert_eq!(states(&report), ["left", "left", "left"]);
    let left = report["left"].to_string();
    for named in ["SKILL.md was edited", "mcp_servers.conveyor in", "tui.terminal_title in"] {
        assert!(left.contains(named), "{left}");
    }
    assert!(user.config().contains("tool_timeout_sec = 900"));
    assert!(std::fs::read_to_string(user.skill()).unwrap().contains("# Manage my workers"));
}

#[test]
fn a_title_and_a_skill_that_were_there_before_are_the_users() {
    let user = User::with(Some("[tui]\nterminal_title = [\"project-name\"]\n"));
    std::fs::create_dir_all(user.skill().parent().unwrap()).unwrap();
    std::fs::write(user.skill(), "# Mine\n").unwrap();
    let before = user.files();
    let report = user.report(&["setup", "--yes"]);
    assert_eq!(states(&report), ["left", "installed", "left"]);
    assert!(report["left"].to_string().contains("add \\\"thread-id\\\" to it"), "{}", report["left"]);
    assert_eq!(user.report(&["install-skills"])["skills"][0]["state"], "left");
    user.report(&["uninstall", "--yes"]);
    assert_eq!(user.files(), before);
}

#[test]
fn a_foreign_server_of_the_same_name_stops_it_before_anything_changes() {
    let user = User::with(Some("[mcp_servers.conveyor]\ncommand = \"npx\"\nargs = [\"belt\"]\n"));
    let before = user.files();
    let done = user.run(&["setup", "--yes"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("npx belt"));
    assert_eq!(user.files(), before);
}

#[test]
fn a_server_that_was_installed_alone_before_survives_the_undoing() {
    let user = User::with(Some(CONFIG));
    assert!(user.run(&["mcp", "install", "--yes"]).status.success());
    let before = user.files();
    assert_eq!(states(&user.report(&["setup", "--yes"])), ["installed", "unchanged", "installed"]);
    assert_eq!(states(&user.report(&["uninstall", "--yes"])), ["removed", "absent", "removed"]);
    assert_eq!(user.files(), before);
}

#[test]
fn killed_after_any_step_either_command_mends_it() {
    // What lies there after each step of setup: the record; the configuration; the skill's folder; the skill.
    let whole = User::with(Some(CONFIG));
    let before: BTreeMap<_, _> = whole.files();
    whole.report(&["setup", "--yes"]);
    let after = whole.files();
    let steps: Vec<Vec<&Path>> = [
        vec!["conveyor", "conveyor/config.toml.before"],
        vec!["conveyor", "conveyor/config.toml.before", "conveyor/setup.json"],
        vec!["conveyor", "conveyor/config.toml.before", "conveyor/setup.json", "config.toml"],
        vec!["conveyor", "conveyor/config.toml.before", "conveyor/setup.json", "config.toml", "skills"],
    ]
    .map(|names| names.into_iter().map(Path::new).collect())
    .to_vec();
    let relative = |files: &BTreeMap<PathBuf, Vec<u8>>, home: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        files
            .iter()
            .map(|(path, bytes)| (path.strip_prefix(home).unwrap().to_owned(), bytes.clone()))
            .collect()
    };
    for step in steps {
        for repaired_by in ["setup", "uninstall"] {
            let user = User::with(Some(CONFIG));
            for name in &step {
                let (from, to) = (whole.home().join(name), user.home().join(name));
                if from.is_dir() {
                    std::fs::create_dir(to).unwrap();
                } else {
                    std::fs::copy(from, to).unwrap();
                }
            }
            user.report(&[repaired_by, "--yes"]);
            if repaired_by == "setup" {
                let (now, wanted) = (user.files(), &after);
                assert_eq!(relative(&now, &user.home()), relative(wanted, &whole.home()), "{step:?}");
            }
            user.report(&["uninstall", "--yes"]);
            assert_eq!(relative(&user.files(), &user.home()), relative(&before, &whole.home()), "{step:?}");
        }
    }
}

#[test]
fn the_kept_configuration_is_readable_by_its_owner_only() {
    let user = User::with(Some("[mcp_servers.other]\ncommand = \"x\"\nenv = { PASSWORD = \"s3cr\" }\n"));
    let report = user.report(&["setup", "--yes"]);
    let backup = PathBuf::from(report["backup"].as_str().unwrap());
    assert!(std::fs::read_to_string(&backup).unwrap().contains("s3cr"));
    for (path, mode) in [(backup.as_path(), 0o600), (backup.parent().unwrap(), 0o700)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}

#[test]
fn another_codex_home_is_taken_and_a_missing_one_refused() {
    let user = User::with(None);
    let missing = user.run(&["setup", "--yes", "--codex-home", "elsewhere"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("does not exist"), "{missing:?}");
    std::fs::create_dir(user.folder.path().join("elsewhere")).unwrap();
    user.report(&["setup", "--yes", "--codex-home", "elsewhere"]);
    assert!(user.folder.path().join("elsewhere/skills/manage-codex-workers/SKILL.md").exists());
    assert!(!user.config_path().exists());
}

/// What was set up is what the real Codex shows its model and its terminal.
fn codex_knows(flavour: Flavour, shows_title: bool) {
    let codex = Codex::start(flavour).unwrap();
    let home = codex.home.display().to_string();
    let program = Flavour::Embedded.program().unwrap();
    let path = format!(
        "{}:{}",
        program.parent().unwrap().canonicalize().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let done = Command::new(CONVEYOR)
        .args(["setup", "--yes", "--codex-home", &home])
        .env("HOME", codex.user_home())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let pane = codex.open_beside("second", &Options::default()).unwrap();
    let limit = Duration::from_secs(40);
    codex.tmux.wait_screen(&pane, limit, "an empty composer", |screen| codex.is_ready(screen)).unwrap();
    codex.tmux.paste_then(&pane, &["Use the manage-codex-workers skill. "], &["Tab"]).unwrap();
    let request = codex
        .provider
        .wait_for(limit, |one| !one.is_side_request() && one.body.to_string().contains("Use the manage"));
    let body = request.expect("a request").body.to_string();
    assert!(body.contains("manage-codex-workers: Supervise another Codex session"), "the skill is not named");
    assert!(body.contains("/manage-codex-workers/SKILL.md)"), "its file is not named");
    assert!(body.contains("register_worker"), "the tools are not there");
    let title = codex.tmux.value(&pane, "#{pane_title}").unwrap();
    let thread =
        codex.rollouts().unwrap().pop().unwrap().file_stem().unwrap().to_str().unwrap()[28..].to_owned();
    assert_eq!(title.contains(&thread[..29]), shows_title, "{title:?} for {thread}");
}

#[test]
fn codex_0_169_names_the_skill_to_its_model_and_the_thread_in_its_title() {
    codex_knows(Flavour::Embedded, true);
}

#[test]
fn codex_0_169_with_its_daemon_does_too() {
    codex_knows(Flavour::Daemon, true);
}

#[test]
fn codex_0_144_does_too() {
    codex_knows(Flavour::V144, true);
}

#[test]
fn codex_0_99_names_the_skill_and_starts_although_it_knows_no_title() {
    codex_knows(Flavour::V99, false);
}
