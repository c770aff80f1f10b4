//! The state of a session's turn: one row, moved by each record of its rollout.
//!
//! Codex from 0.107 on marks the beginning and the end of each turn. 0.99 marks neither: there a turn begins with a
//! message of the user's, and it is over when a whole answer has come that asks for no tool. That is a conclusion, so
//! [`Turn::inferred`] says so, and what the screen shows may contradict it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Timestamp;
use crate::limits;
use crate::rollout::Aborted;
use crate::rollout::Completion;
use crate::rollout::Event;
use crate::rollout::Kind;
use crate::rollout::RateLimits;
use crate::rollout::SessionMeta;
use crate::rollout::TokenUsage;
use crate::rollout::Tokens;
use crate::rollout::TurnContext;
use crate::rollout::TurnError;

/// What the session's newest turn is doing, in fine words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// No record told yet.
    #[default]
    Unknown,
    /// The last turn ended well.
    Idle,
    /// A turn runs, or waits for an approval.
    Busy,
    /// The last turn was interrupted.
    Aborted,
    /// The last turn ended with an error.
    Errored,
    /// A turn runs and has just replaced its context. How long the compaction took before that is in no rollout.
    Compacting,
}

impl TurnState {
    /// The word of the contract's `state`: an aborted or errored turn is idle.
    pub const fn coarse(self) -> Coarse {
        match self {
            Self::Unknown => Coarse::Unknown,
            Self::Busy | Self::Compacting => Coarse::Busy,
            Self::Idle | Self::Aborted | Self::Errored => Coarse::Idle,
        }
    }

    /// The state as it is written in reports and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Aborted => "aborted",
            Self::Errored => "errored",
            Self::Compacting => "compacting",
        }
    }
}

/// The contract's `state`, on which users' scripts branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coarse {
    /// A turn runs.
    Busy,
    /// No turn runs.
    Idle,
    /// No record told yet.
    Unknown,
}

/// A tool call without an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenCall {
    /// The call's id.
    pub call_id: String,
    /// The tool's name.
    pub name: Option<String>,
    /// When it was asked for.
    pub since: Option<Timestamp>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By itself. Up to 0.144 this may hide an error: then there is no last message.
    Completed,
    /// With an error.
    Errored,
    /// From outside: interrupted, replaced.
    Aborted,
}

impl Outcome {
    /// The word that reports and messages use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Errored => "errored",
            Self::Aborted => "aborted",
        }
    }
}

/// The end of a turn, as it is told to a manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TurnEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// The turn; 0.99 names none.
    pub turn_id: Option<String>,
    /// The time of the record that ended it.
    pub at: Option<Timestamp>,
    /// Where that record begins in the rollout, in bytes.
    pub offset: u64,
    /// When Codex says that it ended; else the record's time.
    pub completed_at: Option<Timestamp>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// How long the model took to its first token.
    pub time_to_first_token_ms: Option<u64>,
    /// The agent's last words.
    pub last_agent_message: Option<String>,
    /// What went wrong.
    pub error: Option<TurnError>,
    /// Why it was aborted.
    pub reason: Option<String>,
    /// Concluded rather than read: 0.99 only.
    pub inferred: bool,
}

/// The state of one session's turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Turn {
    /// What the newest turn is doing.
    pub state: TurnState,
    /// Whether [`Turn::state`] was concluded rather than read.
    pub inferred: bool,
    /// The newest turn that began.
    pub turn_id: Option<String>,
    /// The time of the record that made the state what it is.
    pub since: Option<Timestamp>,
    /// Tool calls of this turn without an output, oldest first, at most [`limits::OPEN_CALLS`].
    pub open_calls: Vec<OpenCall>,
    /// Open tool calls beyond those.
    pub open_calls_more: u64,
    /// Whether a turn ended by itself since the last one began.
    pub completed: bool,
    /// The newest end of a turn that ended by itself, well or with an error: the contract's receipt.
    pub receipt: Option<TurnEnd>,
    /// How the newest turn that ended did so.
    pub outcome: Option<Outcome>,
    /// How many turns began.
    pub starts: u64,
    /// When the newest turn began.
    pub started_at: Option<Timestamp>,
    /// Where in the rollout the newest turn began, in bytes.
    pub started_offset: Option<u64>,
    /// How many times the context was replaced.
    pub compactions: u64,
    /// When it last was.
    pub compacted_at: Option<Timestamp>,
    /// Tokens of the model's last answer; the total is how full the context is.
    pub last_tokens: Option<TokenUsage>,
    /// Tokens of the whole thread.
    pub total_tokens: Option<TokenUsage>,
    /// Size of the model's context in tokens.
    pub context_window: Option<u64>,
    /// The account's limits as last reported.
    pub rate_limits: Option<RateLimits>,
    /// The newest turn's `approval_policy`.
    pub approval_policy: Option<String>,
    /// The newest turn's `sandbox_mode`.
    pub sandbox_mode: Option<String>,
    /// The newest turn's model.
    pub model: Option<String>,
    /// The newest turn's folder.
    pub cwd: Option<String>,
    /// Version of the Codex that began the thread.
    pub cli_version: Option<String>,
    /// The time of the last record of any kind.
    pub last_event_at: Option<Timestamp>,
    /// Its subtype, see [`Event::reported_subtype`].
    pub last_event_subtype: Option<String>,
    /// Whether this thread's Codex marks beginnings and ends of turns.
    pub marked: bool,
    /// In an unmarked thread the assistant's last words since the user or a tool spoke.
    pub said: Option<String>,
    /// Number in the ledger of the last record, see [`Turn::observe_stored`].
    pub last_event_id: Option<i64>,
    /// Number of the record that made the state what it is.
    pub state_event_id: Option<i64>,
    /// Whether [`Turn::since`] is the time of reading, because that record had none that could be understood.
    pub since_read: bool,
    /// Number of the record that ended the newest turn that ended, in whatever way.
    pub ended_event_id: Option<i64>,
    /// That turn.
    pub ended_turn_id: Option<String>,
    /// Number of the record that is [`Turn::receipt`].
    pub receipt_event_id: Option<i64>,
}

impl Turn {
    /// The contract's `state`.
    pub const fn coarse(&self) -> Coarse {
        self.state.coarse()
    }

    /// The contract's `task_completed`: no turn began since the last one that ended by itself.
    pub const fn task_completed(&self) -> bool {
        self.completed
    }

    /// Whether rolling back the newest `turns` takes back what the record `event` of `turn_id` holds.
    ///
    /// What a turn that ended by itself has answered stays answered, whatever a person makes of the thread later. Of more
    /// turns than one it is not known which they were: then all that nothing has answered counts as taken back.
    pub fn takes_back(&self, turns: u64, event: i64, turn_id: Option<&str>) -> bool {
        let is_answered = self.receipt_event_id.is_some_and(|receipt| event <= receipt);
        let is_newest = self.ended_turn_id.as_deref() == turn_id;
        turns > 0 && !is_answered && (turns > 1 || is_newest)
    }

    /// How full the context is, 0.0 to 1.0 and above.
    pub fn context_used(&self) -> Option<f64> {
        let window = self.context_window.filter(|&window| window > 0)?;
        Some(self.last_tokens?.total_tokens as f64 / window as f64)
    }

    /// Takes in the next record, which the ledger keeps under the number `id`, so that it can be said later what belongs to
    /// which binding.
    ///
    /// The time of a record whose own cannot be understood is the time of reading, put there by whoever stores it: one bad
    /// time never stops the observation.
    pub fn observe_stored(&mut self, event: &Event, id: i64) -> Option<TurnEnd> {
        self.last_event_id = Some(id);
        let end = self.observe(event);
        if self.state_event_id == Some(id) {
            self.since_read = event.at_original.is_some();
        }
        end
    }

    /// Takes in the next record of the rollout; the answer is the end of a turn, if the record is one.
    ///
    /// An end that names an older turn than the newest is told, but leaves the state alone.
    pub fn observe(&mut self, event: &Event) -> Option<TurnEnd> {
        self.last_event_at = event.at.or(self.last_event_at);
        self.last_event_subtype = event.reported_subtype().map(ToString::to_string);
        match &event.kind {
            Kind::SessionMeta(meta) => self.meet(meta),
            Kind::TurnContext(context) => self.settle_in(context),
            Kind::TaskStarted { context_window } => self.start(event, *context_window),
            Kind::TaskComplete(completion) => return Some(self.complete(event, completion)),
            Kind::TurnAborted(aborted) => return Some(self.abort(event, aborted)),
            Kind::UserMessage { synthetic: None } => self.hear(event),
            Kind::AgentMessage => self.say(event),
            Kind::ToolCall { name } => self.open(event, name.as_deref()),
            Kind::ToolOutput => self.close(event),
            Kind::Compacted => self.compact(event),
            Kind::CompactedEcho => self.resume(),
            Kind::TokenCount(tokens) => return self.count(event, tokens),
            Kind::UserMessage { synthetic: Some(_) }
            | Kind::UserEcho { .. }
            | Kind::AgentEcho
            | Kind::RolledBack { .. }
            | Kind::ItemDone(_)
            | Kind::Bookkeeping
            | Kind::Unknown => {}
        }
        None
    }

    fn meet(&mut self, meta: &SessionMeta) {
        // A legacy fork copies the history of its base, first record included: the first one is the thread's own.
        if self.cli_version.is_none() {
            self.cli_version.clone_from(&meta.cli_version);
        }
        if self.cwd.is_none() {
            self.cwd.clone_from(&meta.cwd);
        }
    }

    fn settle_in(&mut self, context: &TurnContext) {
        self.approval_policy.clone_from(&context.approval_policy);
        self.sandbox_mode.clone_from(&context.sandbox_mode);
        self.model = context.model.clone().or_else(|| self.model.take());
        self.cwd = context.cwd.clone().or_else(|| self.cwd.take());
    }

    fn start(&mut self, event: &Event, context_window: Option<u64>) {
        self.marked = true;
        self.said = None;
        self.context_window = context_window.or(self.context_window);
        self.begin(event, false);
    }

    fn begin(&mut self, event: &Event, inferred: bool) {
        self.enter(TurnState::Busy, event.at, inferred);
        self.turn_id.clone_from(&event.turn_id);
        self.starts = self.starts.saturating_add(1);
        self.started_at = event.at;
        self.started_offset = Some(event.offset);
        self.completed = false;
        self.forget_calls();
    }

    fn enter(&mut self, state: TurnState, at: Option<Timestamp>, inferred: bool) {
        self.state = state;
        self.since = at;
        self.inferred = inferred;
        self.state_event_id = self.last_event_id;
    }

    fn forget_calls(&mut self) {
        self.open_calls.clear();
        self.open_calls_more = 0;
    }

    fn complete(&mut self, event: &Event, completion: &Completion) -> TurnEnd {
        let outcome = if completion.error.is_some() { Outcome::Errored } else { Outcome::Completed };
        let end = TurnEnd {
            completed_at: completion.completed_at.or(event.at),
            duration_ms: completion.duration_ms,
            time_to_first_token_ms: completion.time_to_first_token_ms,
            last_agent_message: completion.last_agent_message.clone(),
            error: completion.error.clone(),
            ..self.end_of(event, outcome)
        };
        self.marked = true;
        self.finish(&end);
        end
    }

    fn abort(&mut self, event: &Event, aborted: &Aborted) -> TurnEnd {
        let end = TurnEnd {
            completed_at: aborted.completed_at.or(event.at),
            duration_ms: aborted.duration_ms,
            reason: aborted.reason.clone(),
            ..self.end_of(event, Outcome::Aborted)
        };
        self.finish(&end);
        end
    }

    fn end_of(&self, event: &Event, outcome: Outcome) -> TurnEnd {
        TurnEnd {
            outcome,
            turn_id: event.turn_id.clone().or_else(|| self.turn_id.clone()),
            at: event.at,
            offset: event.offset,
            completed_at: event.at,
            duration_ms: None,
            time_to_first_token_ms: None,
            last_agent_message: None,
            error: None,
            reason: None,
            inferred: false,
        }
    }

    fn finish(&mut self, end: &TurnEnd) {
        if self.is_older(end.turn_id.as_deref()) {
            return;
        }
        self.outcome = Some(end.outcome);
        self.ended_event_id = self.last_event_id;
        self.ended_turn_id.clone_from(&end.turn_id);
        let state = match end.outcome {
            Outcome::Completed => TurnState::Idle,
            Outcome::Errored => TurnState::Errored,
            Outcome::Aborted => TurnState::Aborted,
        };
        self.enter(state, end.at, end.inferred);
        self.said = None;
        self.forget_calls();
        match end.outcome {
            Outcome::Completed | Outcome::Errored => {
                self.completed = true;
                self.receipt = Some(end.clone());
                self.receipt_event_id = self.last_event_id;
            }
            Outcome::Aborted => {}
        }
    }

    /// Whether `turn_id` names a turn before the newest: turn ids are UUIDv7, so their text sorts by time.
    fn is_older(&self, turn_id: Option<&str>) -> bool {
        match (turn_id, self.turn_id.as_deref()) {
            (Some(ended), Some(newest)) => ended.len() == newest.len() && ended < newest,
            (None, _) | (_, None) => false,
        }
    }

    fn hear(&mut self, event: &Event) {
        self.said = None;
        if !self.marked && self.coarse() != Coarse::Busy {
            self.begin(event, true);
        }
    }

    fn say(&mut self, event: &Event) {
        if !self.marked && self.coarse() == Coarse::Busy {
            self.said = Some(event.text.clone().unwrap_or_default());
        }
    }

    fn open(&mut self, event: &Event, name: Option<&str>) {
        self.resume();
        self.said = None;
        let Some(call_id) = &event.call_id else { return };
        if self.open_calls.len() >= limits::OPEN_CALLS {
            self.open_calls_more = self.open_calls_more.saturating_add(1);
            return;
        }
        let name = name.map(ToOwned::to_owned);
        self.open_calls.push(OpenCall { call_id: call_id.clone(), name, since: event.at });
    }

    fn close(&mut self, event: &Event) {
        self.said = None;
        let known = self.open_calls.iter().position(|call| Some(&call.call_id) == event.call_id.as_ref());
        match known {
            Some(index) => {
                self.open_calls.remove(index);
            }
            None => self.open_calls_more = self.open_calls_more.saturating_sub(1),
        }
    }

    fn compact(&mut self, event: &Event) {
        self.compactions = self.compactions.saturating_add(1);
        self.compacted_at = event.at;
        if self.state == TurnState::Busy {
            self.state = TurnState::Compacting;
        }
    }

    fn resume(&mut self) {
        if self.state == TurnState::Compacting {
            self.state = TurnState::Busy;
        }
    }

    /// In an unmarked thread the count that closes an answer without an open call ends the turn: Codex writes it when
    /// the whole answer has come, after the answer's tool calls.
    fn count(&mut self, event: &Event, tokens: &Tokens) -> Option<TurnEnd> {
        self.last_tokens = tokens.last.or(self.last_tokens);
        self.total_tokens = tokens.total.or(self.total_tokens);
        self.context_window = tokens.context_window.or(self.context_window);
        self.rate_limits = tokens.rate_limits.clone().or_else(|| self.rate_limits.take());
        let answered = tokens.last.is_some() && self.open_calls.is_empty() && self.open_calls_more == 0;
        let last_agent_message = self.said.take_if(|_| answered)?;
        let end = TurnEnd {
            last_agent_message: Some(last_agent_message),
            inferred: true,
            ..self.end_of(event, Outcome::Completed)
        };
        self.finish(&end);
        Some(end)
    }
}

#[cfg(test)]
mod tests;
