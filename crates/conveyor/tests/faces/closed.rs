//! A reader that goes away has what it wanted: the program ends quietly, with the exit code that it has anyway.

use std::process::Command;
use std::process::Stdio;

use crate::script;
use crate::script::Line;
use crate::signals;
use crate::terminal;
use crate::world::World;

/// Which pipes nobody reads.
#[derive(Clone, Copy, Debug)]
enum Closed {
    /// Standard output: `conveyor … | head -0`.
    Out,
    /// Both: `conveyor … 2>&1 | head -0`.
    Both,
}

/// Runs a verb's script with nobody reading.
pub(crate) fn ends_quietly(name: &str) {
    let script = script::of(name);
    let read = codes(&script, |command| terminal::in_a_pipe(command, |_| {}).status);
    for closed in [Closed::Out, Closed::Both] {
        let unread = codes(&script, |command| run(command, closed));
        assert_eq!(unread, read, "{closed:?}: the exit codes are those of a program that is read");
    }
}

/// Whether what nobody reads is ours.
fn ends_with_us(line: &str) -> bool {
    let last = line.rsplit(" | ").next().unwrap_or(line);
    ["conveyor", "workerctl", "$CONVEYOR"].iter().any(|word| last.contains(word))
}

/// The exit codes of a script's lines.
fn codes(script: &[Line], mut run: impl FnMut(Command) -> String) -> Vec<(String, String)> {
    let world = World::new();
    let mut codes = Vec::new();
    for line in script {
        match line {
            Line::Prepare(line) => world.prepare(line),
            Line::Show(line) if ends_with_us(line) => codes.push((line.clone(), run(world.shell(line)))),
            Line::Show(line) => drop(world.shell(line).output().unwrap()),
            // What waits tells nothing before its end; signals are another matter.
            Line::Interrupt(line) => {
                let mut child = world.shell(&format!("exec {line}")).stdout(Stdio::null()).spawn().unwrap();
                signals::interrupt_when_it_waits(&mut child);
                terminal::ended(&mut child);
            }
        }
    }
    codes
}

/// Runs it with nobody reading, and returns its exit code.
fn run(mut command: Command, closed: Closed) -> String {
    let nobody = || {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        write
    };
    let errors = tempfile::NamedTempFile::new().unwrap();
    command.stdout(nobody());
    match closed {
        Closed::Out => command.stderr(errors.reopen().unwrap()),
        Closed::Both => command.stderr(nobody()),
    };
    let mut child = command.spawn().unwrap();
    let status = terminal::ended(&mut child);
    let told = std::fs::read_to_string(errors.path()).unwrap();
    for word in ["panicked", "roken pipe", "cannot be written"] {
        assert!(!told.contains(word), "{command:?} says: {told}");
    }
    status.code().map_or_else(|| format!("{status} {command:?}"), |code| code.to_string())
}
