//! The real tmux, one process a step.

mod call;
mod format;

use std::ffi::OsString;
use std::time::Duration;

use async_trait::async_trait;
use conveyor_model::Error;
use conveyor_model::ErrorKind;
use conveyor_model::Result;
use conveyor_model::Retry;
use conveyor_model::limits::TMUX_CALL;
use conveyor_model::pane::Cursor;
use conveyor_model::pane::Screen;

use crate::Acted;
use crate::BufferName;
use crate::Fault;
use crate::Gone;
use crate::Key;
use crate::Mux;
use crate::PaneInfo;
use crate::Pin;
use crate::PinCheck;
use crate::Process;
use crate::Server;
use crate::SpawnSpec;
use crate::Target;
use call::Call;
use format::Record;

/// What a guarded step prints when it was carried out.
const DONE: &str = "done";

/// What a guarded step prints when its guard failed.
const REFUSED: &str = "refused";

/// The real tmux, one process a step. Measured: 2 to 3 ms each.
#[derive(Clone, Debug)]
pub struct Tmux {
    program: OsString,
    patience: Duration,
}

impl Default for Tmux {
    fn default() -> Self {
        Self { program: "tmux".into(), patience: TMUX_CALL }
    }
}

impl Tmux {
    /// The `tmux` in `PATH`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another program instead of the `tmux` in `PATH`.
    pub fn program(self, program: impl Into<OsString>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// Another time limit for one call than [`TMUX_CALL`].
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn call(&self, server: &Server) -> Call {
        Call::new(&self.program, server, self.patience)
    }

    fn call_pinned(&self, pin: &Pin) -> Call {
        self.call(&Server::Socket(pin.socket.clone()))
    }

    /// All panes with everything that a pin needs; none when there is no server.
    async fn records(&self, server: &Server) -> Result<Vec<Record>, Fault> {
        let call = self.call(server).args(["list-panes", "-a", "-F", &format::pane()]);
        match call.run().await {
            Ok(printed) => Ok(format::read_panes(&printed)),
            Err(Fault::NoServer(_)) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    /// Runs `step` in the server if the guard holds, both in one call.
    ///
    /// The pane's process id and the server's are compared inside the server, where no time passes between the look
    /// and the step. `step` is in tmux's command language and holds nothing that needs quoting.
    async fn guarded(&self, pin: &Pin, guard: &str, step: &str) -> Result<Acted> {
        let pane = pin.pane.to_string();
        let step = format!("{step} ; display-message -p {DONE}");
        let refused = format!("display-message -p {REFUSED}");
        let call = self.call_pinned(pin).args(["if-shell", "-F", "-t", &pane, guard, &step, &refused]);
        match call.run().await {
            Ok(printed) if printed.trim_ascii() == DONE.as_bytes() => Ok(Acted::Done),
            Ok(printed) if printed.trim_ascii() == REFUSED.as_bytes() => Ok(Acted::Refused),
            Ok(printed) => Err(unexpected("a guarded step", &printed).retry(Retry::Unknown)),
            Err(Fault::NoServer(_)) => Ok(Acted::Refused),
            Err(fault) if fault.is_no_target() => Ok(Acted::Refused),
            Err(fault) => Err(Error::from(fault).retry(Retry::Unknown)),
        }
    }
}

/// The guard under which keys may be sent: the pinned process is alive in its pane, and no mode takes the keys.
fn guard_keys(pin: &Pin) -> String {
    format!("#{{&&:{},#{{==:#{{pane_in_mode}}#{{pane_dead}},00}}}}", guard_process(pin))
}

/// The guard under which a pane may be closed: it holds the pinned process, alive or ended.
fn guard_process(pin: &Pin) -> String {
    format!("#{{==:#{{pid}} #{{pane_pid}},{} {}}}", pin.server.pid, pin.program.pid)
}

fn unexpected(step: &str, printed: &[u8]) -> Error {
    let printed = String::from_utf8_lossy(printed);
    let shown: String = printed.trim().chars().take(200).collect();
    Error::environment(format!("tmux answered {step} with `{}`", shown.escape_debug()))
}

fn not_found(pin: &Pin) -> Error {
    Error::not_found(format!("the pane {} does not hold the process {} any more", pin.pane, pin.program.pid))
        .hint("register the session again if it lives on in another pane")
}

/// The panes of a session, for a person who has to choose.
fn ambiguous(target: &Target, records: &[Record]) -> Error {
    let panes: Vec<String> =
        records.iter().map(|record| format!("{} ({})", record.id, record.command.escape_debug())).collect();
    Error::ambiguous(format!("{target} has {} panes: {}", records.len(), panes.join(", ")))
        .hint("name the pane by its id")
}

/// What a pin's pane is, from what the server tells of it.
fn judge(pin: &Pin, record: &Record) -> PinCheck {
    if record.server_pid != pin.server.pid || !pin.server.is_running() {
        return PinCheck::Changed {
            what: format!("another tmux server, {}, has the socket", record.server_pid),
        };
    }
    if record.pid != pin.program.pid {
        let what = format!("the pane holds the process {}, not {}", record.pid, pin.program.pid);
        return PinCheck::Changed { what };
    }
    if record.dead {
        return PinCheck::Gone { what: Gone::Program };
    }
    if !pin.program.is_running() {
        return PinCheck::Changed {
            what: format!("the process id {} was given to another process", record.pid),
        };
    }
    PinCheck::Ours { in_mode: record.in_mode }
}

#[async_trait]
impl Mux for Tmux {
    async fn panes(&self, server: &Server) -> Result<Vec<PaneInfo>> {
        let records = self.records(server).await?;
        Ok(records.into_iter().map(Record::into_info).collect())
    }

    async fn pin(&self, server: &Server, target: &Target) -> Result<Pin> {
        let mut records = self.records(server).await?;
        match target {
            // Compared here: tmux itself would take the name for a prefix or a pattern.
            Target::Session(name) => records.retain(|record| record.session == *name),
            Target::Pane(id) => {
                records.retain(|record| record.id == *id);
                // A window that is linked into several sessions is listed once for each.
                records.truncate(1);
            }
        }
        if records.len() > 1 {
            return Err(ambiguous(target, &records));
        }
        let found = records.pop().ok_or_else(|| Error::not_found(format!("{target} does not exist")))?;
        Ok(found.into_pin())
    }

    async fn check(&self, pin: &Pin) -> Result<PinCheck> {
        let pane = pin.pane.to_string();
        let call = self.call_pinned(pin).args(["display-message", "-p", "-t", &pane, &format::pane()]);
        match call.run().await {
            // Without such a pane tmux still prints the format, with empty values.
            Ok(printed) => match format::read_panes(&printed).pop() {
                Some(record) if record.id == pin.pane => Ok(judge(pin, &record)),
                Some(_) | None => Ok(PinCheck::Gone { what: Gone::Pane }),
            },
            Err(Fault::NoServer(_)) => Ok(PinCheck::Gone { what: Gone::Server }),
            Err(fault) if fault.is_no_target() => Ok(PinCheck::Gone { what: Gone::Pane }),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn capture(&self, pin: &Pin) -> Result<Screen> {
        let pane = pin.pane.to_string();
        let call =
            self.call_pinned(pin).args(["display-message", "-p", "-t", &pane, &format::screen()]).then();
        let live = format!("capture-pane -p -e -t {pane}");
        // Under a dead program tmux writes a line of its own, and moves one row out of the screen for it.
        let dead = format!("{live} -S -1");
        let printed =
            match call.args(["if-shell", "-F", "-t", &pane, "#{pane_dead}", &dead, &live]).run().await {
                Ok(printed) => printed,
                Err(Fault::NoServer(_)) => return Err(not_found(pin)),
                Err(fault) if fault.is_no_target() => return Err(not_found(pin)),
                Err(fault) => return Err(fault.into()),
            };
        let (head, rest) = format::read_screen(&printed).ok_or_else(|| unexpected("a capture", &printed))?;
        if (head.server_pid, head.pid) != (pin.server.pid, pin.program.pid) {
            return Err(not_found(pin));
        }
        let (column, row) = head.cursor;
        Ok(Screen {
            width: head.size.0,
            height: head.size.1,
            cursor: Some(Cursor { row, column, visible: head.cursor_visible }),
            title: head.title,
            in_mode: head.in_mode,
            dead: head.dead,
            ..Screen::from_ansi(&String::from_utf8_lossy(rest))
        })
    }

    async fn load_buffer(&self, pin: &Pin, name: &BufferName, bytes: &[u8]) -> Result<()> {
        let call = self.call_pinned(pin).args(["load-buffer", "-b", name.as_str(), "-"]);
        call.run_with(bytes).await?;
        Ok(())
    }

    async fn delete_buffer(&self, pin: &Pin, name: &BufferName) -> Result<bool> {
        match self.call_pinned(pin).args(["delete-buffer", "-b", name.as_str()]).run().await {
            Ok(_) => Ok(true),
            Err(Fault::NoServer(_)) => Ok(false),
            Err(Fault::Failed(said)) if said.contains("unknown buffer") || said.contains("no buffer") => {
                Ok(false)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn list_buffers(&self, pin: &Pin, prefix: &str) -> Result<Vec<BufferName>> {
        let printed = match self.call_pinned(pin).args(["list-buffers", "-F", "#{buffer_name}"]).run().await {
            Ok(printed) => printed,
            Err(Fault::NoServer(_)) => return Ok(Vec::new()),
            Err(fault) => return Err(fault.into()),
        };
        let names = String::from_utf8_lossy(&printed);
        let ours = names.lines().filter(|name| name.starts_with(prefix));
        Ok(ours.filter_map(|name| name.parse().ok()).collect())
    }

    async fn paste(&self, pin: &Pin, names: &[BufferName]) -> Result<Acted> {
        // -r: without it tmux turns each LF into CR. -p: bracketed where the program asked for it.
        let pane = pin.pane;
        let steps: Vec<String> =
            names.iter().map(|name| format!("paste-buffer -p -r -d -b {name} -t {pane}")).collect();
        if steps.is_empty() {
            return Err(Error::usage("nothing to paste"));
        }
        self.guarded(pin, &guard_keys(pin), &steps.join(" ; ")).await
    }

    async fn press(&self, pin: &Pin, key: Key) -> Result<Acted> {
        let step = format!("send-keys -t {} {}", pin.pane, key.tmux_name());
        self.guarded(pin, &guard_keys(pin), &step).await
    }

    async fn spawn(&self, server: &Server, spec: &SpawnSpec) -> Result<Pin> {
        let mut call = self.call(server).args(["new-session", "-d", "-P", "-F", &format::pane()]);
        let (columns, rows) = spec.size;
        call = call.args(["-s", spec.session.as_str(), "-x", &columns.to_string(), "-y", &rows.to_string()]);
        call = call.args(["-c".into(), spec.start_directory()?, "--".into()]).args(spec.command()?);
        if spec.keep_dead {
            // In the same call, and so before the server can notice that the program ended.
            let target = format!("={}:", spec.session);
            call = call.then().args(["set-option", "-p", "-t", &target, "remain-on-exit", "on"]);
        }
        let printed = call.run().await.map_err(|fault| spawn_error(fault, spec))?;
        let record = format::read_panes(&printed).pop().ok_or_else(|| unexpected("new-session", &printed))?;
        Ok(record.into_pin())
    }

    async fn kill_pane(&self, pin: &Pin) -> Result<bool> {
        let step = format!("kill-pane -t {}", pin.pane);
        Ok(self.guarded(pin, &guard_process(pin), &step).await? == Acted::Done)
    }

    async fn kill_session(&self, pin: &Pin) -> Result<bool> {
        if pin.session.parse::<conveyor_model::Name>().is_err() {
            let name = pin.session.escape_debug();
            return Err(Error::refused(format!("the tmux session `{name}` was not made by conveyor")));
        }
        let guard = format!("#{{&&:{},#{{==:#{{session_name}},{}}}}}", guard_process(pin), pin.session);
        let step = format!("kill-session -t {}", pin.pane);
        Ok(self.guarded(pin, &guard, &step).await? == Acted::Done)
    }
}

fn spawn_error(fault: Fault, spec: &SpawnSpec) -> Error {
    match &fault {
        Fault::Failed(said) if said.contains("duplicate session") => {
            Error::new(ErrorKind::Conflict, format!("a tmux session `{}` exists already", spec.session))
                .hint(format!("choose another name, or look at it: `tmux attach -t '={}'`", spec.session))
        }
        Fault::Missing | Fault::NoServer(_) | Fault::Denied(_) | Fault::Hung(_) | Fault::Failed(_) => {
            Error::from(fault).during(format!("starting `{}`", spec.session))
        }
    }
}

impl Record {
    fn into_pin(self) -> Pin {
        Pin {
            socket: self.socket,
            server: Process::now(self.server_pid),
            session: self.session,
            pane: self.id,
            program: Process::now(self.pid),
        }
    }

    fn into_info(self) -> PaneInfo {
        PaneInfo {
            id: self.id,
            session: self.session,
            pid: self.pid,
            title: self.title,
            cwd: self.cwd,
            command: self.command,
            in_mode: self.in_mode,
            dead: self.dead,
        }
    }
}
