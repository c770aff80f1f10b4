//! A session of the real Codex: its pane, what stands on it, what its own record holds.

use std::rc::Rc;
use std::time::Duration;

use conveyor_sim::codex;
use conveyor_sim::codex::Codex;
use conveyor_sim::tmux::PaneId;
use conveyor_sim::tmux::poll;

use crate::desk::LIMIT;

/// One session in its pane.
pub(crate) struct Seat {
    pub(crate) codex: Rc<Codex>,
    pub(crate) pane: PaneId,
    /// The name of its tmux session.
    pub(crate) tmux_session: &'static str,
    /// The name under which it is registered.
    pub(crate) name: &'static str,
    /// Its thread, once that is known.
    pub(crate) thread: String,
}

impl Seat {
    pub(crate) fn new(
        codex: &Rc<Codex>,
        pane: PaneId,
        tmux_session: &'static str,
        name: &'static str,
    ) -> Self {
        Self { codex: Rc::clone(codex), pane, tmux_session, name, thread: String::new() }
    }

    /// What it shows now.
    pub(crate) fn screen(&self) -> String {
        self.codex.tmux.screen(&self.pane).unwrap_or_else(|error| format!("({error})"))
    }

    /// Waits until it shows this.
    pub(crate) fn until_shown(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let shown = self.codex.tmux.wait_screen(&self.pane, LIMIT, what, wanted);
        shown.unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }

    pub(crate) fn until_idle(&self) {
        self.until_shown("an empty composer", |screen| self.codex.is_ready(screen));
    }

    /// A person submits a text.
    pub(crate) fn say(&self, text: &str) {
        self.until_idle();
        self.codex.tmux.paste_then(&self.pane, &[&format!("{text} ")], &["Tab"]).unwrap();
        self.until_recorded(text);
    }

    /// A person presses keys.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.codex.tmux.press(&self.pane, keys).unwrap();
    }

    /// The user texts that its own rollouts hold, in order; of the whole home while its thread is not known.
    pub(crate) fn texts(&self) -> Vec<String> {
        let rollouts = self.codex.rollouts().unwrap();
        let own = rollouts.iter().filter(|path| path.to_string_lossy().contains(&self.thread));
        own.flat_map(|path| codex::user_texts(&std::fs::read_to_string(path).unwrap())).collect()
    }

    /// How often its own rollouts hold this.
    pub(crate) fn recorded(&self, what: &str) -> usize {
        let rollouts = self.codex.rollouts().unwrap();
        let own = rollouts.iter().filter(|path| path.to_string_lossy().contains(&self.thread));
        own.map(|path| std::fs::read_to_string(path).unwrap().matches(what).count()).sum()
    }

    /// How many of them hold these words.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.texts().iter().map(|text| text.matches(words).count()).sum()
    }

    pub(crate) fn until_recorded(&self, words: &str) {
        self.until(&format!("{words:?} in its record"), || self.count(words) > 0);
    }

    /// Looks until something is so.
    pub(crate) fn until(&self, what: &str, is_so: impl FnMut() -> bool) {
        self.until_within(LIMIT, what, is_so);
    }

    fn until_within(&self, limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
        let found = poll(limit, || Ok(is_so().then_some(()))).unwrap();
        assert!(
            found.is_some(),
            "{}: never {what}; its texts are {:#?}, its screen is\n{}",
            self.name,
            self.texts(),
            self.screen()
        );
    }

    /// The process in its pane.
    pub(crate) fn pid(&self) -> String {
        self.codex.tmux.value(&self.pane, "#{pane_pid}").unwrap()
    }

    /// Whether its program still runs.
    pub(crate) fn lives(&self) -> bool {
        !self.codex.tmux.is_dead(&self.pane).unwrap_or(true)
    }

    /// Whether its pane is there.
    pub(crate) fn is_there(&self) -> bool {
        self.codex.tmux.value(&self.pane, "#{pane_id}").is_ok_and(|found| found == self.pane.0)
    }
}
