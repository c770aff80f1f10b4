//! Sessions in real panes of a real tmux, as their processes prove them. The simulated agent holds its writer lock and
//! its rollout open, as an embedded Codex does.

mod support;

use std::path::PathBuf;

use anyhow::Context;
use conveyor_engine::Caller;
use conveyor_engine::Effects;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_engine::identify;
use conveyor_engine::identify::Refreshed;
use conveyor_model::ErrorKind;
use conveyor_sim::tmux::PaneId;
use conveyor_sim::tmux::Program;
use conveyor_sim::tmux::Server;
use conveyor_sim::tmux::poll;
use conveyor_store::sessions;
use conveyor_store::threads;
use serde_json::Value;
use serde_json::json;
use support::SOON;

type Done = anyhow::Result<()>;

/// A tmux server, a CODEX_HOME and a ledger of one test.
struct Place {
    tmux: Server,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // What runs in a pane is taken for Codex by its program's name.
        let (sim, codex) = (support::sim()?, folder.path().join("codex"));
        std::fs::hard_link(&sim, &codex).or_else(|_| std::fs::copy(&sim, &codex).map(drop))?;
        std::fs::create_dir(folder.path().join("home"))?;
        Ok(Self { tmux: Server::new()?, folder })
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// An agent in a pane of its own, and its thread.
    fn agent(&self, session: &str, flags: &[&str]) -> anyhow::Result<(PaneId, String)> {
        let before = self.threads()?;
        let mut argv = vec![self.folder.path().join("codex").display().to_string(), "agent".to_owned()];
        argv.extend(flags.iter().map(ToString::to_string));
        let env = vec![("CODEX_HOME".to_owned(), self.home().display().to_string())];
        let pane = self.tmux.open(session, &Program { argv, env, folder: self.folder.path().to_owned() })?;
        let fresh = || Ok(self.threads()?.into_iter().find(|thread| !before.contains(thread)));
        let thread = poll(SOON, fresh)?.context("no writer lock appeared")?;
        self.tmux.wait_screen(&pane, SOON, "a composer", |screen| screen.contains("› "))?;
        Ok((pane, thread))
    }

    /// The threads of all writers' locks.
    fn threads(&self) -> anyhow::Result<Vec<String>> {
        let Ok(entries) = std::fs::read_dir(self.home().join("thread-writer-locks")) else {
            return Ok(vec![]);
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.extend(name.strip_suffix(".lock").map(ToOwned::to_owned));
        }
        Ok(found)
    }

    fn plane(&self, caller: Caller) -> anyhow::Result<Plane> {
        let (folder, tmux) =
            (self.folder.path().display().to_string(), self.tmux.tmpdir().display().to_string());
        let home = self.home().display().to_string();
        let variables = [("HOME", folder.as_str()), ("TMUX_TMPDIR", &tmux), ("CODEX_HOME", &home)];
        let db = self.folder.path().join("state/ledger.db").display().to_string();
        let environment = Environment::of(self.folder.path(), &variables);
        Ok(Plane::with(environment, caller, Some(&db), Effects::real())?)
    }

    fn person(&self) -> anyhow::Result<Plane> {
        self.plane(Caller::Person)
    }

    fn tool(&self, thread: &str) -> anyhow::Result<Plane> {
        self.plane(Caller::Tool {
            thread: Some(thread.to_owned()),
            sandbox_mode: Some("read-only".to_owned()),
        })
    }

    fn pid(&self, pane: &PaneId) -> anyhow::Result<i64> {
        Ok(self.tmux.value(pane, "#{pane_pid}")?.parse()?)
    }
}

async fn worker(plane: &Plane, request: Value) -> conveyor_model::Result<Value> {
    support::run(plane, "register-worker", request).await
}

fn kind(result: conveyor_model::Result<Value>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

#[tokio::test]
async fn a_tmux_session_is_named_exactly_and_proved_by_the_lock() -> Done {
    let place = Place::new()?;
    let (pane, thread) = place.agent("codex-ab", &[])?;
    let person = place.person()?;
    let prefix = worker(&person, json!({ "name": "a", "tmux_session": "codex-a" })).await;
    assert_eq!(kind(prefix), Some(ErrorKind::NotFound), "tmux itself would take it for a prefix");
    let report = worker(&person, json!({ "name": "a", "tmux_session": "codex-ab" })).await?;
    assert_eq!(
        (&report["codex_session_id"], &report["proof"]),
        (&json!(thread), &json!("lock")),
        "{report:#}"
    );
    assert_eq!((&report["pane"], &report["delivery"]), (&json!(pane.0), &json!("push")), "{report:#}");
    assert_eq!(
        (&report["owner"], &report["codex_session_path"]),
        (&json!("embedded"), &json!(null)),
        "{report:#}"
    );
    let rows = support::run(&person, "sessions", json!({})).await?;
    assert_eq!((&rows[0]["alive"], &rows[0]["tmux_live"]), (&json!(true), &json!(true)), "{rows:#}");
    place.tmux.run(["kill-session", "-t", "=codex-ab"])?;
    poll(SOON, || Ok((!std::path::Path::new(&format!("/proc/{}", report["pid"])).exists()).then_some(())))?;
    let rows = support::run(&person, "sessions", json!({})).await?;
    assert_eq!((&rows[0]["alive"], &rows[0]["tmux_live"]), (&json!(false), &json!(false)), "{rows:#}");
    Ok(())
}

#[tokio::test]
async fn a_codex_of_another_home_that_shows_no_thread_yet_is_told_as_such_and_waited_for() -> Done {
    let place = Place::new()?;
    let home = place.folder.path().join("another");
    let argv = [&place.folder.path().join("codex").display().to_string(), "agent", "--shape", "0.144"];
    let program = Program {
        argv: argv.map(ToOwned::to_owned).to_vec(),
        env: vec![("CODEX_HOME".to_owned(), home.display().to_string())],
        folder: place.folder.path().to_owned(),
    };
    let pane = place.tmux.open("one", &program)?;
    place.tmux.wait_screen(&pane, SOON, "a composer", |screen| screen.contains("› "))?;
    let person = place.person()?;
    // Before its first message this version holds nothing that names its thread.
    let early = worker(&person, json!({ "name": "w", "tmux_session": "one" })).await.unwrap_err();
    assert!(early.message.contains(&format!("nothing names a thread (panes: {})", pane.0)), "{early}");
    let (report, said) =
        tokio::join!(worker(&person, json!({ "name": "w", "tmux_session": "one" })), async {
            place.tmux.paste_then(&pane, &["hello"], &["Enter"])
        });
    said?;
    let report = report?;
    assert_eq!((&report["pane"], &report["proof"]), (&json!(pane.0), &json!("open_file")), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn two_sessions_in_one_folder_find_their_own_panes() -> Done {
    let place = Place::new()?;
    let (pane_1, thread_1) = place.agent("one", &[])?;
    let (pane_2, thread_2) = place.agent("two", &[])?;
    for (name, pane, thread) in [("w2", &pane_2, &thread_2), ("w1", &pane_1, &thread_1)] {
        let report = worker(&place.tool(thread)?, json!({ "name": name })).await?;
        assert_eq!(
            (&report["codex_session_id"], &report["pane"]),
            (&json!(thread), &json!(pane.0)),
            "{report:#}"
        );
    }
    // An agent may not name the other one, by whatever means.
    let first = place.tool(&thread_1)?;
    let by_pid = worker(&first, json!({ "name": "x", "pid": place.pid(&pane_2)? })).await;
    assert_eq!(kind(by_pid), Some(ErrorKind::Refused));
    let by_session = worker(&first, json!({ "name": "x", "tmux_session": "two" })).await;
    assert_eq!(kind(by_session), Some(ErrorKind::Refused));
    Ok(())
}

#[tokio::test]
async fn a_pane_of_the_callers_environment_is_not_taken_for_its_own() -> Done {
    let place = Place::new()?;
    let (_, thread_1) = place.agent("one", &[])?;
    let (_, thread_2) = place.agent("two", &[])?;
    let shell = place.plane(Caller::Shell { thread: Some(thread_2.clone()), sandboxed: false })?;
    let wrong = worker(&shell, json!({ "name": "w", "tmux_session": "one" })).await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Conflict, "{wrong}");
    assert!(wrong.message.contains(&thread_1) && wrong.message.contains(&thread_2), "{wrong}");
    Ok(())
}

#[tokio::test]
async fn pids_that_prove_nothing_are_refused() -> Done {
    let place = Place::new()?;
    let (pane, thread) = place.agent("one", &[])?;
    let person = place.person()?;
    for pid in [0, -1] {
        assert_eq!(kind(worker(&person, json!({ "name": "w", "pid": pid })).await), Some(ErrorKind::Usage));
    }
    let mut child = std::process::Command::new("true").spawn()?;
    child.wait()?;
    assert_eq!(
        kind(worker(&person, json!({ "name": "w", "pid": child.id() })).await),
        Some(ErrorKind::Refused)
    );
    assert_eq!(kind(worker(&person, json!({ "name": "w", "pid": 2 })).await), Some(ErrorKind::Refused));
    let own = worker(&person, json!({ "name": "w", "pid": std::process::id() })).await.unwrap_err();
    assert_eq!(own.kind, ErrorKind::Ambiguous, "{own}");
    let sandboxed = worker(&place.tool(&thread)?, json!({ "name": "w", "pid": 2 })).await?;
    assert_eq!((&sandboxed["pane"], &sandboxed["codex_session_id"]), (&json!(pane.0), &json!(thread)));
    assert!(sandboxed["warnings"][0].as_str().is_some_and(|text| text.starts_with("--pid was passed over")));
    Ok(())
}

#[tokio::test]
async fn a_title_is_a_proof_as_a_lock_is() -> Done {
    let place = Place::new()?;
    let (pane, thread) = place.agent("one", &["--title-thread"])?;
    let report = worker(&place.person()?, json!({ "name": "w", "pid": place.pid(&pane)? })).await?;
    assert_eq!(
        (&report["codex_session_id"], &report["pane"]),
        (&json!(thread), &json!(pane.0)),
        "{report:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_new_thread_in_the_same_pane_is_adopted_and_the_old_one_kept() -> Done {
    let place = Place::new()?;
    let (pane, first) = place.agent("one", &[])?;
    let person = place.person()?;
    worker(&person, json!({ "name": "w", "tmux_session": "one" })).await?;
    let session = session(&person).await?;
    assert_eq!(identify::refresh(&person, &session).await?, Refreshed::Same);
    place.tmux.paste_then(&pane, &["/clear"], &["Enter"])?;
    let second = poll(SOON, || Ok(place.threads()?.into_iter().find(|thread| *thread != first)))?;
    let second = second.context("/clear makes a thread")?;
    let adopted = until_adopted(&person, &session).await?;
    assert_eq!(adopted, Refreshed::Adopted { thread: second.clone() });
    let ledger = person.ledger().await?;
    let all = threads::of_session(&mut *ledger.read().await?, &session.id).await?;
    let ids: Vec<&str> = all.iter().map(|thread| thread.thread_id.as_str()).collect();
    assert_eq!(ids, [first.as_str(), second.as_str()]);
    assert_eq!(identify::refresh(&person, &session).await?, Refreshed::Same);
    // It registers itself again, under its name and as the same session.
    let again = worker(&place.tool(&second)?, json!({ "name": "w" })).await?;
    assert_eq!((&again["re_registered"], &again["session_id"]), (&json!(true), &json!(session.id)));
    Ok(())
}

/// Looks until the terminal has let go of its earlier thread.
async fn until_adopted(plane: &Plane, session: &sessions::Session) -> anyhow::Result<Refreshed> {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        match identify::refresh(plane, session).await? {
            adopted @ Refreshed::Adopted { .. } => return Ok(adopted),
            other => anyhow::ensure!(std::time::Instant::now() < deadline, "{other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn session(plane: &Plane) -> anyhow::Result<sessions::Session> {
    let ledger = plane.ledger().await?;
    let name = "w".parse()?;
    sessions::active_by_name(&mut *ledger.read().await?, &name).await?.context("it is registered")
}
