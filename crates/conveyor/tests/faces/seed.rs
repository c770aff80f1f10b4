//! Each command line of the text that users' agents follow, typed as it is written there: `docs/seed-lines.toml`. And the
//! README's example.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde::Deserialize;

use crate::terminal;
use crate::world::World;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    placeholders: BTreeMap<String, String>,
    scene: Vec<Scene>,
}

/// Lines that are typed in one shell on a machine of their own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scene {
    title: String,
    given: Vec<String>,
    lines: Vec<Line>,
}

/// A command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    run: String,
    owes: Owes,
    /// Its exit code where it is owed.
    #[serde(default)]
    exit: i32,
    /// It goes on until it is stopped.
    #[serde(default)]
    waits: bool,
}

/// Who owes a line.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Owes {
    /// It works.
    Now,
    /// It says plainly that it does not work.
    Later,
}

/// What became of a line.
struct Told {
    code: i32,
    out: String,
    err: String,
}

/// Types all of it.
pub(crate) fn every_line_that_is_owed_works() {
    let seed: Seed = toml::from_str(&file("docs/seed-lines.toml")).unwrap();
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for scene in &seed.scene {
        let world = World::new();
        scene.given.iter().for_each(|line| world.prepare(line));
        for (line, told) in scene.lines.iter().zip(typed(&world, &seed, scene)) {
            let (word, fault) = judge(line, &told);
            *counts.entry(word).or_default() += 1;
            let what =
                |fault| format!("{}: {fault}: {}\n  {}{}", scene.title, line.run.trim(), told.out, told.err);
            wrong.extend(fault.map(what));
        }
        drop(world.shell("conveyor dispatch --stop --dispatcher-id dispatch-pair").output());
    }
    println!("lines of the seed: {counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How a line is counted, and what is wrong with it.
fn judge(line: &Line, told: &Told) -> (&'static str, Option<String>) {
    if told.err.contains("panicked") {
        return ("panics", Some("it panics".to_owned()));
    }
    let works = told.code == line.exit;
    let says_so = told.code != 0 && !told.err.trim().is_empty();
    match line.owes {
        Owes::Now if works => ("work", None),
        Owes::Now => ("fail", Some(format!("exit code {} and not {}", told.code, line.exit))),
        Owes::Later if says_so => ("are not there yet", None),
        Owes::Later => ("work already", Some("it works: let it owe `now`".to_owned())),
    }
}

/// Types the lines of a scene in one shell.
fn typed(world: &World, seed: &Seed, scene: &Scene) -> Vec<Told> {
    let mut script = String::new();
    for (place, line) in scene.lines.iter().enumerate() {
        let mut run = line.run.trim().to_owned();
        // Longer ones first: one may be a part of another.
        let mut known: Vec<_> = seed.placeholders.iter().collect();
        known.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        for (from, to) in known {
            run = run.replace(from.as_str(), to);
        }
        let streams = format!("> \"$WORLD/{place}.out\" 2> \"$WORLD/{place}.err\" < /dev/null");
        if line.waits {
            script.push_str(&format!("{{ exec {run}\n}} {streams} &\nsleep 1; kill -TERM $!; wait $!\n"));
        } else {
            script.push_str(&format!("{{ {run}\n}} {streams}\n"));
        }
        script.push_str(&format!("echo $? > \"$WORLD/{place}.code\"\n"));
    }
    let mut shell = world.shell(&script).spawn().unwrap();
    terminal::ended(&mut shell);
    let read = |place: usize, what: &str| {
        std::fs::read_to_string(world.folder.join(format!("{place}.{what}"))).unwrap_or_default()
    };
    let told = |place| Told {
        code: read(place, "code").trim().parse().unwrap_or(-1),
        out: read(place, "out"),
        err: read(place, "err"),
    };
    (0..scene.lines.len()).map(told).collect()
}

/// The README's example, line by line, on two sessions of the names that it has.
pub(crate) fn the_readmes_example_works() {
    let readme = file("README.md");
    let example = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let world = World::new();
    world.prepare("agents build");
    world.prepare("agents lead");
    let lines: Vec<&str> = example.lines().collect();
    assert_eq!(lines.len(), 5, "{example}");
    let outputs: Vec<Output> = lines.iter().map(|line| world.shell(line).output().unwrap()).collect();
    let told = world.shell("shows codex-lead 'ended a turn'").output().unwrap();
    let stopped = world.shell("conveyor dispatch --stop").output().unwrap();
    for (line, output) in lines.iter().zip(&outputs) {
        assert!(output.status.success(), "{line}: {output:?}");
    }
    let last = String::from_utf8_lossy(&outputs[4].stdout);
    assert!(last.contains("\"state\": \"answered\""), "{last}");
    assert!(told.status.success(), "`lead` was told of the turn: {told:?}");
    assert!(stopped.status.success(), "{stopped:?}");
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
