//! The story: what is done, and what each step has to prove.

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use conveyor_model::Timestamp;
use serde_json::Value;

use super::cast::Agent;
use super::cast::FIRST_WISH;
use super::cast::SECOND_WISH;
use super::narrator::Narrator;
use super::proof;
use super::stage::Stage;
use super::sweep;

/// One of the two sessions.
struct Player {
    /// What it is registered as.
    name: &'static str,
    /// Its tmux session.
    tmux: &'static str,
    /// How it is registered.
    verb: &'static str,
}

const WORKER: Player = Player { name: "build", tmux: "codex-build", verb: "register-worker" };
const MANAGER: Player = Player { name: "lead", tmux: "codex-lead", verb: "register-manager" };

/// What the registration of a session proved.
struct Known {
    pid: i64,
    thread: String,
}

/// Tells the whole story. The first proof that is missing ends it.
pub(super) async fn tell(stage: &Stage) -> Result<()> {
    let mut narrator = Narrator::default();
    Narrator::say(&format!("A worker and a manager: {}.", stage.cast.title()));
    start(stage, &mut narrator).await?;
    let worker = register(stage, &mut narrator, &WORKER).await?;
    let manager = register(stage, &mut narrator, &MANAGER).await?;
    arrange(stage, &mut narrator).await?;
    let pids = [worker.pid, manager.pid];
    let dispatcher = watch(stage, &mut narrator).await?;
    first_turn(stage, &mut narrator).await?;
    managers_turn(stage, &mut narrator, &manager.thread).await?;
    look(stage, &mut narrator).await?;
    finish(stage, &mut narrator, &pids).await?;
    stop_watch(stage, &mut narrator, dispatcher).await?;
    Narrator::say("\nEach message arrived once, and each claim above was read from a record, not assumed.");
    Ok(())
}

async fn start(stage: &Stage, narrator: &mut Narrator) -> Result<()> {
    narrator.step("Two agents start, each in a pane. conveyor did not start them; it comes from outside.");
    stage.model().await?;
    if stage.cast.agent == Agent::Codex {
        // A sandboxed shell of Codex's reaches neither tmux nor the ledger: its manager acts through tools.
        let installed = stage.conveyor(&["mcp", "install", "--approve-tools", "--yes"]).await?;
        ensure!(installed["changed"] != false, "the tools were not installed: {installed}");
        Narrator::proved("the manager's Codex knows conveyor's tools");
    }
    let program = if stage.cast.agent == Agent::Codex { "codex" } else { "conveyor-sim agent" };
    for player in [WORKER, MANAGER] {
        Narrator::command(&format!("tmux new-session -d -s {} {program}", player.tmux));
        stage.open(player.tmux).await?;
    }
    Ok(())
}

/// Registers a session by the pane that shows it.
async fn register(stage: &Stage, narrator: &mut Narrator, player: &Player) -> Result<Known> {
    narrator.step(&format!(
        "A person registers `{}` by the pane that shows it; thread and pane are proved.",
        player.name
    ));
    let words = [player.verb, "--name", player.name, "--tmux-session", player.tmux];
    Narrator::command(&format!("conveyor {}", words.join(" ")));
    // Until the agent has started there is no thread to prove.
    let known = stage.until("the session is registered", async || stage.ask(&words).await.map(Some)).await;
    let known = match known {
        Ok(known) => known,
        Err(error) => {
            return Err(error.context(format!("the pane shows\n{}", stage.screen(player.tmux).await)));
        }
    };
    ensure!(known["delivery"] == "push", "its pane is not proved: {known}");
    let word = |key: &str| known[key].as_str().unwrap_or("nothing").to_owned();
    Narrator::proved(&format!("its thread is {} (proof: {})", word("codex_session_id"), word("proof")));
    Narrator::proved(&format!("its pane is {} (proof: {})", word("pane"), word("pane_proof")));
    let pid = known["pid"].as_i64().context("its process is not known")?;
    Ok(Known { pid, thread: word("codex_session_id") })
}

async fn arrange(stage: &Stage, narrator: &mut Narrator) -> Result<()> {
    narrator.step("A task, and who does it under whom.");
    stage.conveyor(&["tasks", "--create", "demo", "--goal", "All tests pass."]).await?;
    let words = ["bind", "--task", "demo", "--worker", WORKER.name, "--manager", MANAGER.name];
    let bound = stage.conveyor(&words).await?;
    ensure!(bound["binding_id"].is_string(), "there is no binding: {bound}");
    Narrator::proved(&format!("{} works on `demo` for {}", WORKER.name, MANAGER.name));
    Ok(())
}

/// Starts the dispatcher and gives its process.
async fn watch(stage: &Stage, narrator: &mut Narrator) -> Result<i64> {
    narrator.step("A dispatcher reads what the agents record and carries messages; it sleeps in between.");
    let started = stage.conveyor(&["dispatch", "--watch", "--detach"]).await?;
    let pid = started["pid"].as_i64().with_context(|| format!("it has no process: {started}"))?;
    ensure!(started["running"] == true && sweep::is_there(pid), "it does not run: {started}");
    Narrator::proved(&format!("it runs as process {pid}"));
    Ok(pid)
}

async fn first_turn(stage: &Stage, narrator: &mut Narrator) -> Result<()> {
    narrator
        .step("A person gives the worker its first wish, and waits until its own record shows the answer.");
    let words = ["session-nudge", WORKER.name, FIRST_WISH, "--wait-for", "answered", "--timeout", "90"];
    let told = stage.conveyor(&words).await?;
    ensure!(told["state"] == "answered", "it was not answered: {told}");
    show_delivery(stage, &told["command_id"]).await
}

async fn managers_turn(stage: &Stage, narrator: &mut Narrator, thread: &str) -> Result<()> {
    narrator.step(
        "The worker's turn has ended, which wakes the manager. From here on nobody types: the manager acts.",
    );
    let woken = answered(stage, |row| row["type"] == "worker_task_complete").await?;
    show_delivery(stage, &woken["id"]).await?;
    // Codex's manager calls tools, the simulated one runs the commands of the same names.
    let calls = match stage.cast.agent {
        Agent::Codex => ["cycle", "session_nudge"],
        Agent::Sim => ["cycle demo", "session-nudge build"],
    };
    for call in calls {
        let proofs = proof::calls(&stage.path("codex"), thread, call)?;
        let proof = proofs.first().with_context(|| format!("the manager never called `{call}`"))?;
        Narrator::proved(&format!("the manager called `{call}` by itself:"));
        Narrator::detail(&format!("{}, line {}", proof.file, proof.line));
    }
    let wish = answered(stage, is_managers_wish).await?;
    show_delivery(stage, &wish["id"]).await
}

fn is_managers_wish(row: &Value) -> bool {
    row["message"].as_str().is_some_and(|text| text.contains(SECOND_WISH))
}

/// Waits until a command of the task that fits is answered, and gives its row.
async fn answered(stage: &Stage, fits: impl Fn(&Value) -> bool) -> Result<Value> {
    let look = async || {
        let rows = stage.ask(&["commands", "--task", "demo"]).await?;
        let rows = rows.as_array().cloned().unwrap_or_default();
        Ok(rows.into_iter().find(|row| row["delivery_state"] == "answered" && fits(row)))
    };
    let found = stage.until("the message is answered", look).await;
    match found {
        Ok(row) => Ok(row),
        Err(error) => {
            let rows = stage.ask(&["commands", "--task", "demo"]).await.unwrap_or_default();
            let (worker, manager) = (stage.screen(WORKER.tmux).await, stage.screen(MANAGER.tmux).await);
            Err(error.context(format!("{rows:#}\nthe worker:\n{worker}\nthe manager:\n{manager}")))
        }
    }
}

/// Shows a delivery's token, its times, and the one line of a rollout that proves it.
async fn show_delivery(stage: &Stage, id: &Value) -> Result<()> {
    let id = id.as_str().context("a delivery has an id")?;
    let rows = stage.ask(&["commands", "--id", id]).await?;
    let row = &rows[0];
    let token = row["token"].as_str().with_context(|| format!("it has no token: {row}"))?;
    let target = row["target_session"].as_str().unwrap_or_default();
    let proofs = proof::records(&stage.path("codex"), token)?;
    ensure!(proofs.len() == 1, "the token {token} stands in {} records instead of one", proofs.len());
    let accepted = time(row, "created_at")?;
    let recorded = proofs[0].at.context("the record has no time")?.since(accepted).as_millis();
    let known = time(row, "answered_at")?.since(accepted).as_millis();
    Narrator::proved(&format!("[conveyor {token}] was accepted; {target} recorded it {recorded} ms later:"));
    Narrator::detail(&format!("{}, line {}", proofs[0].file, proofs[0].line));
    Narrator::detail(&proofs[0].text);
    Narrator::proved(&format!(
        "{known} ms after it was accepted, the turn that holds it was known to have ended"
    ));
    Ok(())
}

/// A time of a delivery.
fn time(row: &Value, key: &str) -> Result<Timestamp> {
    let text = row[key].as_str().with_context(|| format!("{key} is missing: {row}"))?;
    text.parse().map_err(|error| anyhow::anyhow!("{key}: {error}"))
}

async fn look(stage: &Stage, narrator: &mut Narrator) -> Result<()> {
    narrator.step(
        "The second turn woke the manager again; its wish has a key, so the same wish was not sent twice.",
    );
    stage.until("nothing is under way", async || Ok(is_quiet(stage).await?.then_some(()))).await?;
    let rows = stage.conveyor(&["commands", "--task", "demo", "--type", "session_nudge"]).await?;
    let wishes = rows.as_array().map_or(0, |rows| rows.iter().filter(|row| is_managers_wish(row)).count());
    ensure!(wishes == 1, "the manager's wish was sent {wishes} times");
    Narrator::proved("one wish of the person's and one of the manager's, each delivered once");
    let seen = stage.conveyor(&["cycle", "demo", "--brief"]).await?;
    ensure!(seen["state"] == "idle" && seen["task_completed"] == true, "the worker is not done: {seen}");
    Narrator::proved("the worker is idle and has finished its turn");
    Ok(())
}

/// Whether both turns were told to the manager and no command waits or is under way.
async fn is_quiet(stage: &Stage) -> Result<bool> {
    let rows = stage.ask(&["commands", "--task", "demo"]).await?;
    let rows = rows.as_array().cloned().unwrap_or_default();
    let told = rows.iter().filter(|row| row["type"] == "worker_task_complete").count();
    Ok(told >= 2 && rows.iter().all(|row| row["delivery_state"] == "answered"))
}

async fn finish(stage: &Stage, narrator: &mut Narrator, pids: &[i64]) -> Result<()> {
    narrator.step("The task is done; both sessions are stopped, which means that they are gone.");
    let words = ["finish-task", "demo", "--reason", "All tests pass.", "--stop-worker", "--stop-manager"];
    let done = stage.conveyor(&words).await?;
    ensure!(done["killed_worker"] == true && done["killed_manager"] == true, "one still runs: {done}");
    for pid in pids {
        ensure!(!sweep::is_there(*pid), "process {pid} is still there");
    }
    Narrator::proved(&format!("the processes {} and {} have ended", pids[0], pids[1]));
    Ok(())
}

async fn stop_watch(stage: &Stage, narrator: &mut Narrator, pid: i64) -> Result<()> {
    narrator.step("The dispatcher is stopped.");
    stage.conveyor(&["dispatch", "--stop"]).await?;
    ensure!(!sweep::is_there(pid), "process {pid} is still there");
    Narrator::proved(&format!("process {pid} has ended"));
    Ok(())
}
