//! What stands in the place of the composer and takes its keys.

use super::Agent;
use super::Input;
use super::Shape;

/// A dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialog {
    /// May this command run outside of the sandbox?
    Command {
        /// The command line.
        command: String,
    },
    /// May this MCP tool be called?
    Mcp {
        /// The server's name.
        server: String,
        /// The tool's name.
        tool: String,
    },
    /// Is this folder trusted? At start.
    Trust,
    /// A newer version is there; its first option runs npm. At start.
    Update,
    /// Nobody is signed in. At start.
    Login,
    /// Hooks are new or changed. At start.
    Hooks,
    /// Where does the new conversation run? After `/new` in a git repository.
    Picker,
}

/// A dialog with its cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) dialog: Dialog,
    pub(super) selected: usize,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The option at this place.
    Option(usize),
    /// Escape.
    Cancel,
}

impl Dialog {
    /// Its options, without numbers.
    pub(super) fn options(&self) -> Vec<String> {
        let fixed: &[&str] = match self {
            Self::Command { command } => {
                let prefix = command.split(';').next().unwrap_or_default();
                return vec![
                    "Yes, proceed (y)".to_owned(),
                    format!("Yes, and don't ask again for commands that start with `{prefix}` (p)"),
                    "No, and tell Codex what to do differently (esc)".to_owned(),
                ];
            }
            Self::Mcp { .. } => &[
                "Allow                   Run the tool and continue",
                "Allow for this session  Run the tool and remember this choice for this session",
                "Always allow            Run the tool and remember this choice for future tool calls",
                "Cancel                  Cancel this tool call",
            ],
            Self::Trust => &["Trust and continue", "Back to Agent Command Center"],
            Self::Update => {
                &["Update now (runs `npm install -g @openai/codex`)", "Skip", "Skip until next version"]
            }
            Self::Login => &["Sign in with ChatGPT", "Sign in with Device Code", "Sign in another way"],
            Self::Hooks => {
                &["Review hooks", "Trust all and continue", "Continue without trusting (hooks won't run)"]
            }
            Self::Picker => &[
                "Use current Git worktree  Keep using the current working directory",
                "Create new Git worktree   Create a separate checkout of this repository in another directory",
            ],
        };
        fixed.iter().map(|&option| option.to_owned()).collect()
    }

    /// The letters that answer it at once, measured for the command approval only.
    fn shortcut(&self, letter: char) -> Option<Answer> {
        match (self, letter) {
            (Self::Command { .. }, 'y') => Some(Answer::Option(0)),
            (Self::Command { .. }, 'p') => Some(Answer::Option(1)),
            (Self::Command { .. }, 'n') => Some(Answer::Cancel),
            _ => {
                let place = usize::try_from(letter.to_digit(10)?).ok()?.checked_sub(1)?;
                (place < self.options().len()).then_some(Answer::Option(place))
            }
        }
    }

    /// The screen's lines with the cursor at `selected`.
    pub(super) fn lines(&self, selected: usize, shape: Shape, cwd: &str) -> Vec<String> {
        let (head, foot) = self.frame(shape, cwd);
        let indent = if matches!(self, Self::Mcp { .. }) { "  " } else { "" };
        let mark = if *self == Self::Login { '>' } else { '›' };
        let option = |(place, text): (usize, String)| {
            let mark = if place == selected { mark } else { ' ' };
            format!("{indent}{mark} {}. {text}", place + 1)
        };
        let mut lines = head;
        lines.extend(self.options().into_iter().enumerate().map(option));
        if !matches!(self, Self::Mcp { .. }) {
            lines.push(String::new());
        }
        lines.push(format!("  {foot}"));
        lines
    }

    /// What stands above and below the options.
    fn frame(&self, shape: Shape, cwd: &str) -> (Vec<String>, &'static str) {
        let paragraphs = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        match self {
            Self::Command { command } => {
                let mut head = paragraphs(&["  Would you like to run the following command?", ""]);
                if shape == Shape::V169 {
                    head.extend(paragraphs(&["  Environment: local", ""]));
                }
                head.extend(paragraphs(&["  Reason: needs to write outside", ""]));
                head.extend([format!("  $ {command}"), String::new()]);
                (head, "Press enter to confirm or esc to cancel")
            }
            Self::Mcp { server, tool } => {
                let question = format!("  Allow the {server} MCP server to run tool \"{tool}\"?");
                (vec!["  Field 1/1".to_owned(), question], "enter to submit | esc to cancel")
            }
            Self::Trust => {
                let mut head = vec!["  Folder access".to_owned(), format!("  {cwd}"), String::new()];
                head.extend(paragraphs(&[
                    "  Trust this folder? Codex can read, edit, and run files here.",
                    "",
                ]));
                (head, "enter continue · esc back")
            }
            Self::Update => {
                (paragraphs(&["  Update available · 0.169.0 → 0.200.0", ""]), "enter continue · esc skip")
            }
            Self::Login => (
                paragraphs(&["  Welcome to Codex, OpenAI's command-line coding agent", ""]),
                "Press enter to continue",
            ),
            Self::Hooks => (
                paragraphs(&["  Hooks need review", "  1 hook is new or changed.", ""]),
                "enter confirm · esc skip",
            ),
            Self::Picker => {
                (paragraphs(&["  Where should the new conversation run?", ""]), "enter select · esc back")
            }
        }
    }
}

impl Agent {
    /// Opens a dialog now, over whatever is there: between a paste and its submit key, for instance.
    pub fn open(&mut self, dialog: Dialog) {
        self.dialog = Some(Open { dialog, selected: 0 });
    }

    /// A key while a dialog is open. Tab and pastes do nothing in any of them: measured, `docs/codex-measurements.md`.
    pub(super) fn dialog_input(&mut self, input: &Input) {
        let Some(open) = &mut self.dialog else { return };
        let count = open.dialog.options().len();
        let answer = match input {
            Input::Enter => Some(Answer::Option(open.selected)),
            Input::Escape | Input::Ctrl('c') => Some(Answer::Cancel),
            Input::Up => {
                open.selected = open.selected.saturating_sub(1);
                None
            }
            Input::Down => {
                open.selected = (open.selected + 1).min(count - 1);
                None
            }
            Input::Char(letter) => open.dialog.shortcut(*letter),
            Input::Tab | Input::Paste(_) | Input::Ctrl(_) | Input::Backspace | Input::Other => None,
        };
        if let (Some(answer), Some(open)) = (answer, answer.and_then(|_| self.dialog.take())) {
            self.answer(open.dialog, answer);
        }
    }

    /// Carries an answer out.
    fn answer(&mut self, dialog: Dialog, answer: Answer) {
        match (dialog, answer) {
            (Dialog::Command { command }, Answer::Option(0 | 1)) => self.approve_command(&command),
            (Dialog::Command { command }, Answer::Option(_) | Answer::Cancel) => {
                self.refuse_command(&command);
            }
            (Dialog::Mcp { server, tool }, Answer::Option(0..=2)) => self.finish_mcp(&server, &tool, true),
            (Dialog::Mcp { server, tool }, Answer::Option(_) | Answer::Cancel) => {
                self.finish_mcp(&server, &tool, false);
            }
            (Dialog::Update, Answer::Option(0)) => {
                self.quit("Updating Codex via `npm install -g @openai/codex`...");
            }
            (Dialog::Trust, Answer::Option(1) | Answer::Cancel) | (Dialog::Login, Answer::Option(_)) => {
                self.quit("");
            }
            (Dialog::Login, Answer::Cancel) => self.open(Dialog::Login),
            (Dialog::Picker, Answer::Option(_)) => self.new_thread(),
            (Dialog::Trust | Dialog::Update | Dialog::Hooks, Answer::Option(_))
            | (Dialog::Update | Dialog::Hooks | Dialog::Picker, Answer::Cancel) => self.next_start_dialog(),
        }
    }
}
