//! One process that uses a ledger: tests start it as another user, or beside themselves; `bench` measures.
//!
//! `ledger_probe read|append|hold|open|bench|dispatch LEDGER [N]`

use std::io::Read;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::audit::Actor;
use conveyor_model::delivery::Stage;
use conveyor_model::delivery::Transport;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::SessionId;
use conveyor_model::limits;
use conveyor_store::AuditRow;
use conveyor_store::Clock;
use conveyor_store::Ledger;
use conveyor_store::Location;
use conveyor_store::Mode;
use conveyor_store::OpenGate;
use conveyor_store::SystemClock;
use conveyor_store::audit;
use conveyor_store::deliveries;
use conveyor_store::deliveries::Change;
use conveyor_store::deliveries::NewDelivery;
use conveyor_store::events;
use conveyor_store::events::NewEvent;
use conveyor_store::follows;
use conveyor_store::sessions;
use conveyor_store::sessions::Role;
use conveyor_store::sessions::Session;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [verb, ledger, rest @ ..] = args.as_slice() else { return ExitCode::from(2) };
    let n = rest.first().and_then(|n| n.parse().ok()).unwrap_or(1);
    let Ok(location) = ledger.parse::<Location>() else { return ExitCode::from(2) };
    let done = match verb.as_str() {
        "read" => read(&location).await,
        "append" => append(&location, n).await,
        "hold" => hold(&location).await,
        "bench" => bench(&location, n).await,
        "dispatch" => dispatch(&location, n).await,
        "open" => open_and_ask(&location).await,
        _ => Err(Error::usage("no such verb")),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", serde_json::json!(error));
            ExitCode::FAILURE
        }
    }
}

async fn open(location: &Location, mode: Mode) -> Result<Option<Ledger>> {
    Ledger::open(location, mode, Arc::new(SystemClock), Arc::new(OpenGate)).await
}

async fn writer(location: &Location) -> Result<Ledger> {
    open(location, Mode::Write).await?.ok_or_else(|| Error::ledger("not made"))
}

/// Says how many rows the chain has, `none` without a ledger.
async fn read(location: &Location) -> Result<String> {
    let Some(ledger) = open(location, Mode::Read).await? else { return Ok("none".to_owned()) };
    let head = audit::head(&mut *ledger.read().await?).await?;
    Ok(format!("{} sound={}", head.seq, ledger.read_is_sound()))
}

/// Appends rows, each in a transaction of its own.
async fn append(location: &Location, n: i64) -> Result<String> {
    let ledger = writer(location).await?;
    for _ in 0..n {
        let mut tx = ledger.write(&Actor::Operator).await?;
        tx.audit(AuditRow::new("probed", format!("by process {}", std::process::id()))).await?;
        tx.commit().await?;
    }
    ledger.close().await;
    Ok(n.to_string())
}

/// Holds the write lock until standard input ends, and says when it has it.
async fn hold(location: &Location) -> Result<String> {
    let ledger = writer(location).await?;
    let tx = ledger.write(&Actor::Operator).await?;
    println!("held");
    let told = std::io::stdout().flush().and_then(|()| std::io::stdin().read_to_end(&mut Vec::new()));
    told.map_err(|error| Error::environment(error.to_string()))?;
    tx.roll_back().await;
    Ok("released".to_owned())
}

/// How long opening to read and twenty small queries take.
async fn open_and_ask(location: &Location) -> Result<String> {
    let begun = Instant::now();
    let ledger = open(location, Mode::Read).await?.ok_or_else(|| Error::not_found("no ledger"))?;
    let mut db = ledger.read().await?;
    for _ in 0..20 {
        sessions::list(&mut db, &sessions::Wanted::default(), 1).await?;
    }
    Ok(format!("{:.2} ms", begun.elapsed().as_secs_f64() * 1e3))
}

/// How fast pull deliveries reach an inbox: batches as the dispatcher makes them.
async fn dispatch(location: &Location, count: i64) -> Result<String> {
    let ledger = writer(location).await?;
    let (session, _) = followed(&ledger).await?;
    let mut tx = ledger.write(&Actor::Operator).await?;
    for _ in 0..count {
        let id = DeliveryId::new(SystemClock.uuid_v7());
        let token = conveyor_model::wire::token(SystemClock.random());
        let host = "here".to_owned();
        let new = NewDelivery {
            target: Some(session.id.clone()),
            ..NewDelivery::new(id, token, "notify_manager", Transport::Pull, host)
        };
        deliveries::insert(&mut tx, new, AuditRow::new("delivery_enqueued", "for the bench")).await?;
    }
    tx.commit().await?;
    let begun = Instant::now();
    let mut moved = 0;
    loop {
        let mut tx = ledger.write(&Actor::Conveyor).await?;
        let due = deliveries::open_for(&mut tx, &session.id, limits::DISPATCH_BATCH).await?;
        let batch: Vec<_> = due.into_iter().map(|delivery| (delivery.id, delivery.state)).collect();
        let change = Change { into_inbox: true, ..Change::default() };
        let told = |_: &DeliveryId| AuditRow::new("delivery_in_inbox", "it lies in the inbox");
        moved += deliveries::move_batch(&mut tx, &batch, Stage::Recorded, &change, told).await?.len();
        tx.commit().await?;
        if batch.is_empty() {
            return Ok(format!("{moved} deliveries in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3));
        }
    }
}

/// How fast events are stored: batches of 5,000 lines, each in a transaction as ingest makes it.
async fn bench(location: &Location, rows: i64) -> Result<String> {
    const BATCH: i64 = 5_000;
    let ledger = writer(location).await?;
    let (session, follow) = followed(&ledger).await?;
    let mut position = follow.position;
    let begun = Instant::now();
    for _ in 0..rows / BATCH {
        let lines: Vec<NewEvent> = (0..BATCH).map(|line| event(position + 313 * line)).collect();
        let mut tx = ledger.write(&Actor::Conveyor).await?;
        let seen = follows::Follow { position, ..follow.clone() };
        position += 313 * BATCH;
        follows::advance(&mut tx, &seen, &follows::Follow { position, ..seen.clone() }).await?;
        let seq = tx.audit(AuditRow::new("events_ingested", "a batch")).await?;
        let place = events::Place {
            session_number: session.number,
            follow_number: follow.number,
            generation: 0,
            seq,
        };
        events::insert(&mut tx, place, &lines).await?;
        tx.commit().await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    ledger.close().await;
    Ok(format!("{rows} events in {seconds:.3} s: {:.0} a second", rows as f64 / seconds))
}

async fn followed(ledger: &Ledger) -> Result<(Session, follows::Follow)> {
    let mut tx = ledger.write(&Actor::Operator).await?;
    let id = SessionId::new(SystemClock.uuid_v7());
    let name = format!("bench-{}", SystemClock.random() as u32).parse()?;
    let session = Session::new(id, name, Role::Worker, "here".to_owned(), "/".to_owned(), tx.now());
    let session =
        sessions::insert(&mut tx, session, AuditRow::new("session_registered", "for the bench")).await?;
    let follow = follows::begin(&mut tx, session.id.as_str(), "/rollout", 1, 1).await?;
    tx.commit().await?;
    Ok((session, follow))
}

/// An event of the size that rollouts have on the average: most lines' text is cut or short.
fn event(byte_offset: i64) -> NewEvent {
    NewEvent {
        byte_offset,
        byte_len: 313,
        ordinal: None,
        at: Timestamp::from_millis(1_795_358_967_172 + byte_offset),
        at_original: None,
        record_type: "response_item".to_owned(),
        subtype: Some("message".to_owned()),
        subtype_alias: None,
        turn_id: Some("0197a1d0-0000-7000-8000-000000000001".to_owned()),
        call_id: None,
        text: Some("The tests pass; the next step is the migration of the table. ".repeat(2)),
        text_cut: false,
    }
}
