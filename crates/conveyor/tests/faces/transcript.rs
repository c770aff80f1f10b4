//! A script's transcript: each line as a program, an agent and a person meet it.

use std::process::Command;

use crate::normal::Normal;
use crate::script;
use crate::script::Line;
use crate::signals;
use crate::terminal;
use crate::terminal::Answer;
use crate::world::World;

/// Where a line is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A program reads stdout and stderr.
    Pipe,
    /// An agent's shell, in a terminal of its own.
    Agent,
    /// A person's terminal.
    Person,
}

/// Compares the transcript of a verb with the one that is kept.
pub(crate) fn holds(name: &str) {
    let script = script::of(name);
    let [pipe, agent, person] = std::thread::scope(|scope| {
        [Place::Pipe, Place::Agent, Place::Person]
            .map(|place| {
                scope.spawn({
                    let script = &script;
                    move || told(script, place)
                })
            })
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    assert!(pipe.iter().any(|(_, answer)| answer.status == "0"), "scripts/{name}.txt shows no success");
    assert!(pipe.iter().any(|(_, answer)| answer.status != "0"), "scripts/{name}.txt shows no failure");
    let mut text = String::new();
    for ((shown, pipe), (agent, person)) in pipe.iter().zip(agent.iter().zip(&person)) {
        text.push_str(&format!("────── {shown}\n{}", section(pipe, &agent.1, &person.1)));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("transcripts");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Runs a script in one place. What is shown, and what it answered.
fn told(script: &[Line], place: Place) -> Vec<(String, Answer)> {
    let world = World::new();
    let normal = Normal::of(&world);
    let mut told = Vec::new();
    for line in script {
        match line {
            Line::Prepare(line) => world.prepare(line),
            Line::Show(line) => {
                let answer = run(world.shell(line), place, |_| {});
                told.push((format!("$ {line}"), normal_of(&normal, answer)));
            }
            Line::Interrupt(line) => {
                let command = world.shell(&format!("exec {line}"));
                let answer = run(command, place, signals::interrupt_when_it_waits);
                told.push((format!("$ {line}\n^C"), normal_of(&normal, answer)));
            }
        }
    }
    told
}

fn run(mut command: Command, place: Place, then: impl FnOnce(&mut std::process::Child)) -> Answer {
    match place {
        Place::Pipe => terminal::in_a_pipe(command, then),
        Place::Agent => {
            command.env("CODEX_CI", "1");
            terminal::in_a_terminal(command, then)
        }
        Place::Person => terminal::in_a_terminal(command, then),
    }
}

fn normal_of(normal: &Normal, answer: Answer) -> Answer {
    Answer { status: answer.status, out: normal.text(&answer.out), err: normal.text(&answer.err) }
}

fn section(pipe: &Answer, agent: &Answer, person: &Answer) -> String {
    let mut text = format!("exit code {}\n", pipe.status);
    part(&mut text, "stdout", &pipe.out);
    part(&mut text, "stderr", &pipe.err);
    seen(&mut text, "an agent's terminal", agent, pipe);
    seen(&mut text, "a person's terminal", person, pipe);
    text
}

fn part(text: &mut String, heading: &str, content: &str) {
    if !content.is_empty() {
        text.push_str(&format!("── {heading}\n{}\n", content.trim_end_matches('\n')));
    }
}

/// What a terminal showed, unless it is what the pipe had.
fn seen(text: &mut String, whose: &str, answer: &Answer, pipe: &Answer) {
    let same = [format!("{}{}", pipe.out, pipe.err), format!("{}{}", pipe.err, pipe.out)];
    match answer.status == pipe.status {
        true if same.contains(&answer.out) => text.push_str(&format!("── {whose}: the same\n")),
        true => part(text, whose, &answer.out),
        false => part(text, &format!("{whose}, exit code {}", answer.status), &format!("{}\n", answer.out)),
    }
}
