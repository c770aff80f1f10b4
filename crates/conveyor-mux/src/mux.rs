//! The effect: what may be done to a terminal.

use async_trait::async_trait;
use conveyor_model::Result;
use conveyor_model::pane::Screen;

use crate::BufferName;
use crate::PaneInfo;
use crate::Pin;
use crate::PinCheck;
use crate::Server;
use crate::SpawnSpec;
use crate::Target;

/// The keys that are ever sent. Ctrl-C is not among them: it ends an idle Codex at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Submits what the composer holds; does nothing in a dialog.
    Tab,
    /// Answers a dialog that was just classified.
    Enter,
    /// Interrupts a running turn.
    Escape,
    /// Goes to the end of a line of the composer.
    CtrlE,
    /// Deletes a line of the composer before the cursor; does nothing when it is empty.
    CtrlU,
}

impl Key {
    /// The name in tmux's key syntax.
    pub const fn tmux_name(self) -> &'static str {
        match self {
            Self::Tab => "Tab",
            Self::Enter => "Enter",
            Self::Escape => "Escape",
            Self::CtrlE => "C-e",
            Self::CtrlU => "C-u",
        }
    }
}

/// What became of a guarded step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It was carried out.
    Done,
    /// The pane was gone, held another process, was dead or was in a mode: nothing was sent.
    Refused,
}

/// Terminals.
///
/// Errors of every method: [`conveyor_model::ErrorKind::Environment`] when there is no tmux, no server, or a sandbox
/// denies it; [`conveyor_model::ErrorKind::Timeout`] when the server does not answer within
/// [`conveyor_model::limits::TMUX_CALL`].
#[async_trait]
pub trait Mux: Send + Sync {
    /// All panes of a server. A server that does not run has none.
    async fn panes(&self, server: &Server) -> Result<Vec<PaneInfo>>;

    /// Pins the one pane that `target` names.
    ///
    /// Errors: not found; ambiguous, with the candidates, when the session has several panes.
    async fn pin(&self, server: &Server, target: &Target) -> Result<Pin>;

    /// Whether the pinned pane still holds the pinned process.
    async fn check(&self, pin: &Pin) -> Result<PinCheck>;

    /// The visible screen with styles, title and cursor; also of a pane whose program has ended.
    ///
    /// Errors: not found when the pane is gone or holds another process.
    async fn capture(&self, pin: &Pin) -> Result<Screen>;

    /// Puts bytes into a named buffer of the pin's server, replacing what was there.
    async fn load_buffer(&self, pin: &Pin, name: &BufferName, bytes: &[u8]) -> Result<()>;

    /// Deletes a named buffer. True exactly if it was loaded and never pasted; false also when the server is gone.
    async fn delete_buffer(&self, pin: &Pin, name: &BufferName) -> Result<bool>;

    /// The named buffers that begin with `prefix`.
    async fn list_buffers(&self, pin: &Pin, prefix: &str) -> Result<Vec<BufferName>>;

    /// Pastes the buffers in order, each bracketed and each deleted by being pasted, in one step.
    ///
    /// Errors: with [`conveyor_model::Retry::Unknown`] when a buffer was missing, as those before it were pasted.
    async fn paste(&self, pin: &Pin, names: &[BufferName]) -> Result<Acted>;

    /// Sends one key.
    async fn press(&self, pin: &Pin, key: Key) -> Result<Acted>;

    /// Starts a program in a new detached session, starting the server when there is none.
    ///
    /// Errors: conflict when the session's name is in use; usage when the specification can't be carried out.
    async fn spawn(&self, server: &Server, spec: &SpawnSpec) -> Result<Pin>;

    /// Closes the pinned pane, also when its program has ended. False when it was not there any more.
    async fn kill_pane(&self, pin: &Pin) -> Result<bool>;

    /// Ends the pinned pane's session, if it still has the pinned name. False when it was not there any more.
    async fn kill_session(&self, pin: &Pin) -> Result<bool>;
}
