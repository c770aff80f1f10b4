//! What is delivered and by which way.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that the ledger stores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err(Error::usage(format!(concat!("`{}` is not ", $what), other))),
                }
            }
        }
    };
}

words! {
    /// What a delivery is. The words are the contract's command types.
    Kind, "a type of command" {
        /// Enter, pressed as the answer to a dialog or to submit our own unsent text.
        Answer = "answer",
        /// One Escape into a running turn.
        Interrupt = "session_interrupt",
        /// A message for the manager, put into the queue.
        NotifyManager = "notify_manager",
        /// A message for the worker, put into the queue.
        NudgeWorker = "nudge_worker",
        /// A message typed by `session-nudge`.
        SessionNudge = "session_nudge",
        /// One of Codex's own slash commands.
        Slash = "request_worker_compact",
        /// The end of a session: its turn, its program and its pane.
        Stop = "stop_session",
        /// A worker's turn has ended; its manager is told.
        WorkerTaskComplete = "worker_task_complete",
    }
}

impl Kind {
    /// Whether it is a text with a label, whose proof is a record that holds the token.
    ///
    /// The others are keys: their proof is their effect, and they are never repeated by themselves.
    pub const fn is_message(self) -> bool {
        match self {
            Self::NotifyManager | Self::NudgeWorker | Self::SessionNudge | Self::WorkerTaskComplete => true,
            Self::Answer | Self::Interrupt | Self::Slash | Self::Stop => false,
        }
    }
}

words! {
    /// By which way a delivery reaches its target.
    Transport, "a transport" {
        /// Typed into the proved pane of the target.
        Push = "push",
        /// Read by the target from its inbox.
        Pull = "pull_required",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_convert_both_ways() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>().unwrap(), *kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for transport in Transport::ALL {
            assert_eq!(transport.as_str().parse::<Transport>().unwrap(), *transport);
            assert_eq!(serde_json::to_value(transport).unwrap(), transport.as_str());
        }
        assert!("shout".parse::<Kind>().is_err());
    }
}
