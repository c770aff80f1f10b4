//! What a test does to a world.

use std::path::Path;

use super::world::Inner;
use crate::agent::Agent;
use crate::agent::Config;
use crate::agent::Dialog;
use crate::agent::Millis;

/// What a test can do to a world.
pub struct Hands<'a> {
    pub(super) inner: &'a mut Inner,
}

impl Hands<'_> {
    /// Opens a session with one pane; returns the pane's number, 5 for `%5`.
    pub fn open(&mut self, session: &str, config: Config) -> u32 {
        self.inner.open(session, config, true)
    }

    /// The agent in a pane; none when the pane is gone.
    pub fn agent(&mut self, pane: u32) -> Option<&mut Agent> {
        self.inner.server.panes.get_mut(&pane).map(|pane| &mut pane.agent)
    }

    /// What a terminal sends: a person types.
    pub fn input(&mut self, pane: u32, bytes: &[u8]) {
        let now = self.inner.now;
        self.inner.act(pane, |agent| agent.on_input(bytes, now));
    }

    /// A text arrives by another way than the terminal, as with `codex queue`.
    pub fn submit(&mut self, pane: u32, text: &str) {
        let now = self.inner.now;
        self.inner.act(pane, |agent| agent.start_with(text, now));
    }

    /// A dialog opens.
    pub fn dialog(&mut self, pane: u32, dialog: Dialog) {
        if let Some(agent) = self.agent(pane) {
            agent.open(dialog);
        }
    }

    /// The pane goes into copy mode, or leaves it.
    pub fn mode(&mut self, pane: u32, in_mode: bool) {
        if let Some(pane) = self.inner.server.panes.get_mut(&pane) {
            pane.in_mode = in_mode;
        }
    }

    /// The agent is killed: nothing is written any more.
    pub fn kill_program(&mut self, pane: u32) {
        self.inner.program_ended(pane);
    }

    /// The pane is closed.
    pub fn kill_pane(&mut self, pane: u32) {
        self.inner.program_ended(pane);
        self.inner.server.panes.remove(&pane);
    }

    /// The tmux server is killed with all that it held.
    pub fn kill_server(&mut self) {
        self.inner.server.pid = None;
        self.inner.server.panes.clear();
        self.inner.server.buffers.clear();
        self.inner.running.clear();
    }

    /// Another server takes the socket. Its panes are numbered from 0 again.
    pub fn restart_server(&mut self) {
        self.kill_server();
        self.inner.start_server();
    }

    /// What is in a buffer.
    pub fn buffer(&self, name: &str) -> Option<&[u8]> {
        self.inner.server.buffers.get(name).map(Vec::as_slice)
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.inner.now
    }

    /// The `CODEX_HOME`.
    pub fn home(&self) -> &Path {
        &self.inner.home
    }
}
