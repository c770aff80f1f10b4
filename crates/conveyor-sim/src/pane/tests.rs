use std::time::Duration;

use conveyor_agents::AgentLog;
use conveyor_model::ErrorKind;
use conveyor_model::pane::Composer;
use conveyor_model::pane::Kind;
use conveyor_model::pane::classify;
use conveyor_mux::Acted;
use conveyor_mux::BufferName;
use conveyor_mux::Key;
use conveyor_mux::Mux;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_mux::Server;
use conveyor_mux::Target;
use conveyor_store::Clock;

use super::*;
use crate::agent::Config;
use crate::agent::Dialog;
use crate::agent::Shape;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn buffer(name: &str) -> BufferName {
    name.parse().unwrap()
}

async fn pin(mux: &SimMux) -> Pin {
    mux.pin(&Server::named("default", None), &Target::Session("worker".to_owned())).await.unwrap()
}

/// Label and body go in as two buffers and one paste.
async fn paste(mux: &SimMux, pin: &Pin, body: &str) -> Acted {
    mux.load_buffer(pin, &buffer("label"), b"[conveyor 7Q4K2MZ0AB] ").await.unwrap();
    mux.load_buffer(pin, &buffer("body"), body.as_bytes()).await.unwrap();
    mux.paste(pin, &[buffer("label"), buffer("body")]).await.unwrap()
}

fn world(config: Config) -> World {
    let world = World::new(7);
    world.hands(|hands| hands.open("worker", config));
    world
}

/// The rollout of the agent in pane 0.
fn rollout(world: &World) -> String {
    let path = world.home().join(world.hands(|hands| hands.agent(0).unwrap().rollout_path().to_owned()));
    let Ok(file) = world.log().open(&path) else { return String::new() };
    let mut bytes = vec![0; usize::try_from(file.stat().unwrap().len).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What the user texts in it are that prove a delivery.
fn delivered(world: &World) -> Vec<String> {
    let rollout = rollout(world);
    let events = rollout.lines().map(|line| conveyor_agents::parse(line.as_bytes(), 0).unwrap());
    events.filter_map(|event| event.delivered_text().map(str::to_owned)).collect()
}

fn answered(world: &World) -> Vec<String> {
    world.hands(|hands| hands.agent(0).unwrap().answered().to_vec())
}

#[test]
fn a_paste_and_tab_are_recorded_and_the_buffers_are_spent() {
    let world = world(Config::default());
    run(async {
        let mux = world.mux();
        let pin = pin(&mux).await;
        assert_eq!(classify(&mux.capture(&pin).await.unwrap()).kind, Kind::Idle);
        assert_eq!(paste(&mux, &pin, "do it ").await, Acted::Done);
        let shown = classify(&mux.capture(&pin).await.unwrap());
        assert!(shown.holds_only("7Q4K2MZ0AB"), "{shown:?}");
        assert!(!mux.delete_buffer(&pin, &buffer("body")).await.unwrap(), "a pasted buffer is gone");
        assert_eq!(mux.press(&pin, Key::Tab).await.unwrap(), Acted::Done);
        let busy = mux.capture(&pin).await.unwrap();
        assert_eq!(classify(&busy).kind, Kind::Busy, "{busy:?}");
        assert_eq!(delivered(&world), ["[conveyor 7Q4K2MZ0AB] do it"]);
        world.advance(1_000);
        assert_eq!(classify(&mux.capture(&pin).await.unwrap()).composer, Composer::Empty);
    });
}

#[test]
fn a_dialog_between_paste_and_key_is_approved_by_enter_and_not_by_tab() {
    for (key, expected) in [(Key::Tab, vec![]), (Key::Enter, vec!["approved rm x".to_owned()])] {
        let world = world(Config::default());
        world.plan(|hands, moment| {
            if matches!(moment.what, What::Press(_)) {
                hands.dialog(0, Dialog::Command { command: "rm x".to_owned() });
            }
            Fate::Go
        });
        run(async {
            let mux = world.mux();
            let pin = pin(&mux).await;
            paste(&mux, &pin, "do it ").await;
            mux.press(&pin, key).await.unwrap();
        });
        assert_eq!(answered(&world), expected, "{key:?}");
        assert_eq!(delivered(&world), Vec::<String>::new());
    }
}

#[test]
fn a_restarted_server_has_the_same_pane_id_and_takes_nothing() {
    let world = world(Config::default());
    run(async {
        let mux = world.mux();
        let pin = pin(&mux).await;
        mux.load_buffer(&pin, &buffer("body"), b"x").await.unwrap();
        world.hands(|hands| {
            hands.restart_server();
            hands.open("worker", Config::default());
        });
        assert!(matches!(mux.check(&pin).await.unwrap(), PinCheck::Changed { .. }));
        assert_eq!(mux.press(&pin, Key::Tab).await.unwrap(), Acted::Refused);
        assert!(!mux.delete_buffer(&pin, &buffer("body")).await.unwrap(), "buffers die with their server");
        assert_eq!(mux.capture(&pin).await.unwrap_err().kind, ErrorKind::NotFound);
    });
}

#[test]
fn a_pane_in_copy_mode_takes_neither_paste_nor_key_and_keeps_the_buffers() {
    let world = world(Config::default());
    run(async {
        let mux = world.mux();
        let pin = pin(&mux).await;
        world.hands(|hands| hands.mode(0, true));
        assert_eq!(paste(&mux, &pin, "x").await, Acted::Refused);
        assert_eq!(mux.press(&pin, Key::Tab).await.unwrap(), Acted::Refused);
        assert!(mux.delete_buffer(&pin, &buffer("body")).await.unwrap(), "never pasted");
    });
}

#[test]
fn a_killed_process_takes_no_further_step() {
    for (fate, pasted) in [(Fate::DieBefore, false), (Fate::DieAfter, true)] {
        let world = world(Config::default());
        world.plan(move |_, moment| if moment.what == What::Paste { fate } else { Fate::Go });
        run(async {
            let mux = world.mux();
            let pin = pin(&mux).await;
            mux.load_buffer(&pin, &buffer("body"), b"text").await.unwrap();
            assert_eq!(mux.paste(&pin, &[buffer("body")]).await.unwrap_err().kind, ErrorKind::Interrupted);
            assert!(mux.press(&pin, Key::Tab).await.is_err() && mux.is_killed());
            world.no_plan();
            let successor = world.mux();
            assert_eq!(successor.delete_buffer(&pin, &buffer("body")).await.unwrap(), !pasted);
        });
        assert_eq!(world.hands(|hands| hands.agent(0).unwrap().draft()), if pasted { "text" } else { "" });
    }
}

#[test]
fn one_seed_makes_one_history() {
    let history = || {
        let world = world(Config::default());
        world.hands(|hands| hands.submit(0, "[[sh=echo a]] [[delay=2]] [[say=done]]"));
        world.advance(5_000);
        rollout(&world)
    };
    let first = history();
    assert!(first.contains("task_complete") && first.contains("function_call_output"));
    assert_eq!(first, history());
}

#[test]
fn a_sleep_moves_time_only_when_everybody_sleeps() {
    let world = World::new(1);
    let begin = world.now();
    let (one, two) = (world.clock(), world.clock());
    let (_first, second) = (one.join(), two.join());
    run(async {
        let long = async {
            one.sleep(Duration::from_mins(1)).await;
            world.now() - begin
        };
        let short = async {
            two.sleep(Duration::from_secs(1)).await;
            let early = world.now() - begin;
            drop(second);
            early
        };
        assert_eq!(futures::join!(long, short), (60_000, 1_000));
    });
}

#[test]
fn every_record_of_every_shape_is_known() {
    for shape in [Shape::V169, Shape::V144, Shape::V99] {
        let world = world(Config { shape, ..Config::default() });
        let texts = [
            "one",
            "[[sh=echo a]]",
            "[[mcp=a.b {}]]",
            "[[esc=ls]]",
            "[[429]]",
            "/compact",
            "!ls",
            "[[ctx]]",
            "last",
        ];
        for text in texts {
            world.hands(|hands| hands.submit(0, text));
            world.advance(500);
            world.hands(|hands| hands.input(0, b"\r"));
            world.advance(500);
        }
        world.hands(|hands| hands.submit(0, "[[delay=50]]"));
        world.advance(500);
        world.hands(|hands| hands.input(0, b"\x1b"));
        let rollout = rollout(&world);
        for line in rollout.lines() {
            let event = conveyor_agents::parse(line.as_bytes(), 0).unwrap();
            assert_ne!(event.kind.name(), "unknown", "{shape:?} {line}");
        }
        let compactions = rollout.matches("\"type\":\"compacted\"").count();
        assert_eq!(compactions, 2, "{shape:?}: by command, and before the turn after a full context");
        assert!(rollout.contains("turn_aborted"));
    }
}

#[test]
fn each_dialog_is_what_the_rules_take_it_for() {
    let command = Dialog::Command { command: "touch x".to_owned() };
    let mcp = Dialog::Mcp { server: "a".to_owned(), tool: "b".to_owned() };
    let expected = [
        (command, Kind::ApprovalPrompt),
        (mcp, Kind::McpApprovalPrompt),
        (Dialog::Trust, Kind::TrustPrompt),
        (Dialog::Update, Kind::UpdatePrompt),
        (Dialog::Login, Kind::LoginPrompt),
        (Dialog::Hooks, Kind::HooksReviewPrompt),
        (Dialog::Picker, Kind::Picker),
    ];
    for (dialog, kind) in expected {
        let world = world(Config::default());
        world.hands(|hands| hands.dialog(0, dialog));
        run(async {
            let mux = world.mux();
            let pin = pin(&mux).await;
            let screen = mux.capture(&pin).await.unwrap();
            assert_eq!(classify(&screen).kind, kind, "{screen:?}");
        });
    }
}

#[test]
fn a_submit_key_before_the_session_has_started_leaves_the_draft() {
    let world = world(Config { ready_after_ms: 1_000, ..Config::default() });
    run(async {
        let mux = world.mux();
        let pin = pin(&mux).await;
        paste(&mux, &pin, "too early ").await;
        mux.press(&pin, Key::Tab).await.unwrap();
        assert_eq!(delivered(&world), Vec::<String>::new());
        world.advance(1_000);
        mux.press(&pin, Key::Tab).await.unwrap();
        assert_eq!(delivered(&world), ["[conveyor 7Q4K2MZ0AB] too early"]);
    });
}

#[test]
fn keys_that_quit_a_codex_quit_this_one() {
    let world = world(Config::default());
    world.hands(|hands| hands.input(0, b"draft"));
    world.hands(|hands| hands.input(0, b"\x03"));
    assert_eq!(answered(&world), Vec::<String>::new(), "with a draft it only clears");
    world.hands(|hands| hands.input(0, b"\x03"));
    assert_eq!(answered(&world), ["quit"]);
}
