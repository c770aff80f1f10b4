//! What most rows are measured in: a ledger with 100,000 events and 100 sessions, the same for both, and a simulated
//! agent in a real pane.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use conveyor_sim::codex::rollouts;
use conveyor_sim::tmux::Program;
use conveyor_sim::tmux::Server;

use crate::measure::Run;
use crate::measure::in_turn;
use crate::measure::run;
use crate::rollout::Rollout;
use crate::sides::Conveyor;
use crate::sides::Peer;
use crate::sides::target;
use crate::sides::words;

/// Lines of the large rollout: 31 MB.
pub(crate) const EVENTS: usize = 100_000;

/// Registered sessions.
const SESSIONS: usize = 100;

/// Task of the agent in the pane.
pub(crate) const SEEN: &str = "seen";

/// Task whose worker's turns end, and whose manager waits at its inbox.
pub(crate) const WOKEN: &str = "woken";

/// Both programs with the same content.
pub(crate) struct World {
    pub(crate) ours: Conveyor,
    pub(crate) peer: Peer,
    /// The rollout of the worker of [`WOKEN`].
    pub(crate) worker: Rollout,
    /// What reading the large rollout took, in fresh ledgers.
    pub(crate) ingest: (Vec<Run>, Vec<Run>),
    /// For whatever a measurement needs.
    pub(crate) folder: PathBuf,
    /// Its pane ends when it is dropped.
    _tmux: Server,
}

impl World {
    /// Reads the large rollout `rounds` times on each side; the last ledgers become the world's.
    pub(crate) fn build(folder: &Path, rounds: usize) -> anyhow::Result<Self> {
        let tmux = Server::new()?;
        let codex = folder.join("rollouts");
        let big = Rollout::with_lines(&codex, 0, EVENTS - 1)?;
        let (mut ours, mut peer) = (Conveyor::new(folder, tmux.tmpdir()), Peer::new(folder, tmux.tmpdir()));
        let ingest = in_turn(
            rounds,
            |round| {
                let folder = side(folder, "conveyor", round)?;
                ours = Conveyor::new(&folder, tmux.tmpdir());
                ours.register("worker", "big", &big)?;
                run(&mut ours.command(&["ingest", "big"]))
            },
            |round| {
                let folder = side(folder, "peer", round)?;
                peer = Peer::new(&folder, tmux.tmpdir());
                peer.run_all(&[Peer::register("worker", "big", &big.path)])?;
                run(&mut peer.command(&["ingest", "big"]))
            },
        )?;
        let worker = populate(&codex, &ours, &peer)?;
        seat_agent(&folder.join("agent"), &tmux, &ours, &peer)?;
        Ok(Self { ours, peer, worker, ingest, folder: folder.to_owned(), _tmux: tmux })
    }
}

fn side(folder: &Path, name: &str, round: usize) -> anyhow::Result<PathBuf> {
    let folder = folder.join(format!("{name}-{round}"));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Registers the other sessions, each with a short rollout that is read once, and binds a worker and a manager.
fn populate(codex: &Path, ours: &Conveyor, peer: &Peer) -> anyhow::Result<Rollout> {
    let worker = Rollout::with_lines(codex, 1, 10)?;
    let manager = Rollout::with_lines(codex, 2, 10)?;
    ours.register("worker", "wren", &worker)?;
    ours.register("manager", "mona", &manager)?;
    let mut theirs = vec![
        Peer::register("worker", "wren", &worker.path),
        Peer::register("manager", "mona", &manager.path),
    ];
    for number in 3..SESSIONS - 1 {
        let (rollout, name) = (Rollout::with_lines(codex, number, 10)?, format!("other-{number}"));
        ours.register("worker", &name, &rollout)?;
        theirs.push(Peer::register("worker", &name, &rollout.path));
        theirs.push(words(&["ingest", &name]));
    }
    ours.bind(WOKEN, "wren", "mona")?;
    theirs.extend(Peer::bind(WOKEN, "wren", "mona"));
    theirs.extend([words(&["ingest", "wren"]), words(&["ingest", "mona"])]);
    peer.run_all(&theirs)?;
    ours.report(&["ingest", "--all"])?;
    Ok(worker)
}

/// Puts a simulated agent, which has had one turn, into a pane, registers it and binds it.
fn seat_agent(home: &Path, tmux: &Server, ours: &Conveyor, peer: &Peer) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(20);
    std::fs::create_dir_all(home)?;
    // A session's program is known by its name.
    let program = home.join("codex");
    std::fs::copy(target().join("release/conveyor-sim"), &program)
        .context("conveyor-sim is missing: cargo build --release --bin conveyor-sim")?;
    let (program, codex_home) = (program.display().to_string(), home.display().to_string());
    let argv = words(&[&program, "agent", "--home", &codex_home]);
    let env = vec![("CODEX_HOME".to_owned(), codex_home)];
    let pane = tmux.open(SEEN, &Program { argv, env, folder: home.to_owned() })?;
    let idle = |screen: &str| screen.contains("› Ask Codex");
    tmux.wait_screen(&pane, PATIENCE, "an idle composer", idle)?;
    tmux.paste_then(&pane, &["Say hello. "], &["Tab"])?;
    let told = |screen: &str| screen.contains("Say hello.") && idle(screen);
    tmux.wait_screen(&pane, PATIENCE, "a turn that has ended", told)?;
    let rollout = rollouts(home)?.pop().context("the agent has no rollout")?;
    ours.report(&["register-worker", "--name", SEEN, "--tmux-session", SEEN])?;
    ours.bind(SEEN, SEEN, "mona")?;
    let mut worker = Peer::register("worker", SEEN, &rollout);
    worker.extend(words(&["--tmux-session", SEEN]));
    let manager = Peer::register("manager", "mina", &rollout);
    let [create, bind] = Peer::bind(SEEN, SEEN, "mina");
    peer.run_all(&[worker, manager, create, bind])
}
