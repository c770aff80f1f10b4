//! The server in this process, spoken to as an agent's program speaks, on verbs made for it.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use conveyor_engine::Environment;
use conveyor_engine::Plane;
use conveyor_engine::verb::Agents;
use conveyor_engine::verb::Effect;
use conveyor_engine::verb::Entry;
use conveyor_engine::verb::Group;
use conveyor_engine::verb::Report;
use conveyor_engine::verb::Request;
use conveyor_engine::verb::Verb;
use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::io::DuplexStream;
use tokio::io::Lines;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ledgers::Ledgers;
use super::serve::serve;
use super::serve::until_terminated;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits that have begun and waits that were given up, by name.
static WAITS: Mutex<(Vec<String>, Vec<String>)> = Mutex::new((Vec::new(), Vec::new()));

/// Do as the name says
#[derive(Args, Serialize, Deserialize, JsonSchema, Debug)]
#[serde(deny_unknown_fields)]
struct Named {
    /// A name
    #[arg(long)]
    name: Option<String>,
}

impl Request for Named {}

#[derive(Serialize, JsonSchema, Debug)]
struct Said {
    said: String,
}

impl Report for Said {}

/// Waits for ever.
struct Wait;

/// Notes that a wait was given up.
struct GivenUp(String);

impl Drop for GivenUp {
    fn drop(&mut self) {
        WAITS.lock().unwrap().1.push(self.0.clone());
    }
}

impl Verb for Wait {
    const NAME: &'static str = "wait-on";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Reads;
    type Request = Named;
    type Report = Said;

    async fn run(_: &Plane, request: Named) -> Result<Said> {
        let name = request.name.unwrap_or_default();
        WAITS.lock().unwrap().0.push(name.clone());
        let _given_up = GivenUp(name);
        std::future::pending().await
    }
}

/// Says who calls, by the plane that it was lent.
struct Who;

impl Verb for Who {
    const NAME: &'static str = "who";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Writes;
    type Request = Named;
    type Report = Said;

    async fn run(plane: &Plane, _: Named) -> Result<Said> {
        plane.ledger().await?;
        Ok(Said { said: format!("{:?}", plane.caller.thread()) })
    }
}

/// Breaks the rule that nothing panics.
struct Panics;

impl Verb for Panics {
    const NAME: &'static str = "panics";
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Acts;
    type Request = Named;
    type Report = Said;

    async fn run(_: &Plane, request: Named) -> Result<Said> {
        panic!("asked for by {:?}", request.name)
    }
}

/// Is not for agents, or only for some.
struct Kept<const MANAGERS: bool>;

impl<const MANAGERS: bool> Verb for Kept<MANAGERS> {
    const NAME: &'static str = if MANAGERS { "for-managers" } else { "for-people" };
    const GROUP: Group = Group::Look;
    const EFFECT: Effect = Effect::Acts;
    const AGENTS: Agents = if MANAGERS { Agents::Managers } else { Agents::No };
    type Request = Named;
    type Report = Said;

    async fn run(_: &Plane, _: Named) -> Result<Said> {
        Ok(Said { said: "done".to_owned() })
    }
}

static TABLE: &[Entry] = &[
    Entry::of::<Wait>(),
    Entry::of::<Who>(),
    Entry::of::<Panics>(),
    Entry::of::<Kept<true>>(),
    Entry::of::<Kept<false>>(),
];

/// An agent's program.
struct Client {
    to: Option<DuplexStream>,
    from: Lines<BufReader<DuplexStream>>,
    serving: JoinHandle<Result<()>>,
    folder: tempfile::TempDir,
}

impl Client {
    /// A client that has shaken hands.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::new(environment(folder.path()), None);
        let (to, input) = tokio::io::duplex(1 << 16);
        let (output, from) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(serve(ledgers, TABLE, input, output));
        let mut client = Self { to: Some(to), from: BufReader::new(from).lines(), serving, folder };
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "test", "version": "0" } });
        client.send(json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello })).await;
        assert_eq!(client.next().await["result"]["protocolVersion"], "2025-06-18");
        client.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        client
    }

    async fn send(&mut self, message: Value) {
        self.to.as_mut().unwrap().write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let line =
            timeout(LIMIT, self.from.next_line()).await.expect("an answer").unwrap().expect("an open stream");
        serde_json::from_str(&line).unwrap()
    }

    /// Calls a tool as this thread.
    async fn call(&mut self, id: u32, thread: &str, tool: &str, arguments: Value) {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "threadId": thread } });
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })).await;
    }

    /// Begins a wait and returns when it waits.
    async fn wait(&mut self, id: u32, name: &str) {
        self.call(id, "t", "wait_on", json!({ "name": name })).await;
        until(|| WAITS.lock().unwrap().0.iter().any(|one| one == name)).await;
    }

    /// Closes the client's end and waits for the server's.
    async fn leave(mut self) {
        drop(self.to.take());
        timeout(LIMIT, self.serving).await.expect("the server ends").unwrap().unwrap();
    }
}

fn environment(folder: &Path) -> Environment {
    Environment::of(folder, &[("HOME", folder.to_str().unwrap())])
}

fn given_up(name: &str) -> bool {
    WAITS.lock().unwrap().1.iter().any(|one| one == name)
}

async fn until(holds: impl Fn() -> bool) {
    let looks = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, looks).await.expect("it comes to hold");
}

#[tokio::test]
async fn a_long_wait_holds_up_no_other_call_and_can_be_cancelled() {
    let mut client = Client::start().await;
    client.wait(1, "cancelled").await;
    client.wait(2, "other").await;
    client.call(3, "t", "who", json!({})).await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], &answer["result"]["structuredContent"]["said"]),
        (&json!(3), &json!("Some(\"t\")"))
    );
    client
        .send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }))
        .await;
    until(|| given_up("cancelled")).await;
    assert!(!given_up("other"));
    client.leave().await;
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_waits_with_it() {
    let mut client = Client::start().await;
    client.wait(1, "vanished").await;
    client.leave().await;
    assert!(given_up("vanished"));
}

#[tokio::test]
async fn an_answer_that_is_ready_in_time_reaches_a_client_that_only_closed_its_end() {
    let mut client = Client::start().await;
    client.call(1, "t", "who", json!({})).await;
    drop(client.to.take());
    assert_eq!(client.next().await["id"], 1);
    client.leave().await;
}

#[tokio::test]
async fn a_panic_is_answered_and_the_server_goes_on() {
    let mut client = Client::start().await;
    client.call(1, "t", "panics", json!({})).await;
    let error = client.next().await["result"]["structuredContent"]["error"].clone();
    assert_eq!((&error["kind"], &error["retry"]), (&json!("environment"), &json!("unknown")));
    client.call(2, "t", "who", json!({})).await;
    assert_eq!(client.next().await["id"], 2);
    client.leave().await;
}

#[tokio::test]
async fn arguments_never_name_the_caller() {
    let mut client = Client::start().await;
    for arguments in [json!({ "threadId": "boss" }), json!({ "_meta": { "threadId": "boss" } })] {
        client.call(1, "t", "who", arguments).await;
        let error = client.next().await["result"]["structuredContent"]["error"].clone();
        assert_eq!(error["kind"], "usage", "{error}");
    }
    let turn = json!({ "thread_id": "t2", "sandbox_mode": "read-only" }).to_string();
    let params = json!({ "name": "who", "_meta": { "x-codex-turn-metadata": turn } });
    client.send(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params })).await;
    assert_eq!(client.next().await["result"]["structuredContent"]["said"], "Some(\"t2\")");
    client.leave().await;
}

#[tokio::test]
async fn what_a_caller_may_not_is_refused_in_the_contracts_form() {
    let mut client = Client::start().await;
    let refused = [
        ("for_people", "refused", "conveyor for-people"),
        ("for_managers", "refused", "register_manager"),
        ("no_such", "usage", "tools/list"),
    ];
    for (tool, kind, hint) in refused {
        client.call(1, "t", tool, json!({})).await;
        let result = client.next().await["result"].clone();
        let error = &result["structuredContent"]["error"];
        assert_eq!((&result["isError"], &error["kind"]), (&json!(true), &json!(kind)), "{result}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
    assert!(!client.folder.path().join(".local").exists(), "a refused call made a ledger");
    client.leave().await;
}

#[tokio::test]
async fn each_tool_says_what_it_may_change_and_who_may_call_it() {
    let mut client = Client::start().await;
    client.send(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
    let tools = client.next().await["result"]["tools"].clone();
    let hints = |tool: &Value| {
        let hint = |name: &str| tool["annotations"][name].as_bool().unwrap();
        assert!(!hint("openWorldHint"));
        (tool["name"].as_str().unwrap().to_owned(), hint("readOnlyHint"), hint("destructiveHint"))
    };
    let seen: Vec<_> = tools.as_array().unwrap().iter().map(hints).collect();
    let expected = [
        ("wait_on".to_owned(), true, false),
        ("who".to_owned(), false, false),
        ("panics".to_owned(), false, true),
        ("for_managers".to_owned(), false, true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(tools[0]["title"], "Do as the name says");
    let managers = tools[3]["description"].as_str().unwrap();
    assert!(managers.ends_with("Only a session that is registered as a manager may call it."), "{managers}");
    client.leave().await;
}

#[tokio::test]
async fn a_signal_that_comes_with_the_first_answer_ends_the_server_well() {
    let ended = until_terminated(|| async {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        std::future::pending().await
    });
    timeout(LIMIT, ended).await.expect("it ends").unwrap();
}
