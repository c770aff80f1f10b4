//! Messages with the role user that no user wrote.

/// A text that Codex puts into the conversation in the user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Synthetic {
    /// Instructions of an `AGENTS.md`.
    AgentsMd,
    /// Where and how the session runs.
    EnvironmentContext,
    /// A skill's text.
    Skill,
    /// News of a sub-agent.
    SubagentNotification,
    /// Told to the model after an interrupt.
    TurnAborted,
    /// Instructions of older versions' configuration.
    UserInstructions,
    /// A `!command` and its output.
    UserShellCommand,
}

impl Synthetic {
    /// How each kind begins; seen in rollouts of 0.99 to 0.169.
    const PREFIXES: [(&'static str, Self); 7] = [
        ("<environment_context>", Self::EnvironmentContext),
        ("<turn_aborted>", Self::TurnAborted),
        ("<user_shell_command>", Self::UserShellCommand),
        ("# AGENTS.md", Self::AgentsMd),
        ("<user_instructions>", Self::UserInstructions),
        ("<skill", Self::Skill),
        ("<subagent_notification>", Self::SubagentNotification),
    ];

    /// The kind of `text`, or `None` for a text of the user's.
    ///
    /// A user who types one of the beginnings is taken for Codex: that makes a delivery unproved, never falsely proved,
    /// and cannot happen to conveyor's own texts, which begin with a label.
    pub fn of(text: &str) -> Option<Self> {
        Self::PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)).map(|&(_, kind)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_text_makes_it_synthetic() {
        assert_eq!(Synthetic::of("<turn_aborted>\nThe user …"), Some(Synthetic::TurnAborted));
        assert_eq!(Synthetic::of("# AGENTS.md instructions for /repo"), Some(Synthetic::AgentsMd));
        assert_eq!(Synthetic::of("[conveyor 7Q4K2MZ0AB] read # AGENTS.md"), None);
        assert_eq!(Synthetic::of(" <turn_aborted>"), None);
        assert_eq!(Synthetic::of(""), None);
    }
}
