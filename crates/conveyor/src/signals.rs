//! Ctrl-C and SIGTERM: the first asks the verb to end, the second ends it.

use conveyor_engine::Plane;
use conveyor_engine::deliver;
use conveyor_engine::verb::Answer;
use conveyor_engine::verb::Answering;
use conveyor_model::Error;
use conveyor_model::Result;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// Runs a verb until it ends or a signal ends it.
///
/// A verb that promised to end by itself (`Plane::ends_gracefully`) is given the time for that; any other is dropped,
/// which rolls back an open transaction, and gives back what it has leased: the recovery table tells how that stands.
pub(crate) async fn until_stopped(plane: &Plane, mut answering: Answering<'_>) -> Result<Answer> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return answering.await;
    };
    tokio::select! {
        answer = &mut answering => return answer,
        () = either(&mut interrupt, &mut terminate) => plane.ask_to_stop(),
    }
    if plane.ends_gracefully() {
        tokio::select! {
            answer = &mut answering => return answer,
            () = either(&mut interrupt, &mut terminate) => {}
        }
    }
    drop(answering);
    if let Err(error) = deliver::give_back_all(plane).await {
        tracing::warn!(%error, "what was leased is given back when its lease has run out");
    }
    Err(Error::interrupted("stopped by a signal before the end")
        .hint("see what was accepted: conveyor commands --state pending --state attempted"))
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
