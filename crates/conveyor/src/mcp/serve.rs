//! The server as a process: from the first message to the end of the input.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use conveyor_engine::Environment;
use conveyor_engine::VERBS;
use conveyor_model::Error;
use conveyor_model::Result;
use rmcp::ServiceExt;
use rmcp::service::QuitReason;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use super::NAME;
use super::ledgers::Ledgers;
use super::server::Server;
use super::stdio;
use crate::log;
use crate::output;
use crate::output::Shown;

/// Serves on standard input and output until the client leaves.
pub(super) fn run(program: &str, db: Option<String>) -> ExitCode {
    if std::io::stdin().is_terminal() {
        crate::output::complain(&format!(
            "{program}: this speaks MCP with an agent's program, not with a person\nhint: {program} mcp install\n"
        ));
    }
    match start(db) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(program, Shown::Text, &error),
    }
}

fn start(db: Option<String>) -> Result<()> {
    log::to_stderr();
    let environment = Environment::capture()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::environment(format!("the runtime cannot start: {error}")))?;
    let done = runtime.block_on(async {
        let (input, output) = stdio::take()
            .map_err(|error| Error::environment(format!("standard input cannot be taken over: {error}")))?;
        until_terminated(|| serve(Ledgers::new(environment, db), VERBS, input, output)).await
    });
    // A thread may still sleep in a read.
    runtime.shutdown_background();
    done
}

/// Serves verbs on any pair of streams until the input ends.
pub(super) async fn serve(
    ledgers: Ledgers,
    verbs: &'static [conveyor_engine::verb::Entry],
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<()> {
    let (input, gone) = stdio::watched(input);
    let server = Arc::new(Server::new(verbs, ledgers, gone));
    let talk = async {
        let running = match Arc::clone(&server).serve(AsyncRwTransport::new(input, output)).await {
            Ok(running) => running,
            // A client that leaves before it said anything, or reads no answer, wants nothing more.
            Err(
                ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::TransportError { .. },
            ) => return Ok(()),
            Err(error) => {
                return Err(Error::environment(format!(
                    "{NAME} and its client do not understand each other: {error}"
                )));
            }
        };
        match running.waiting().await {
            Ok(QuitReason::JoinError(error)) | Err(error) => {
                Err(Error::environment(format!("the server failed: {error}")))
            }
            Ok(_) => Ok(()),
        }
    };
    tokio::select! {
        done = talk => done,
        () = server.ledgers().let_go() => Ok(()),
        () = server.unread() => Ok(()),
    }
}

/// Serves until that ends, or until this process is asked to end: so Codex ends its servers (measured on 0.144 and 0.169).
///
/// It listens before anything is read: whoever has had an answer ends this process well.
pub(super) async fn until_terminated<F: Future<Output = Result<()>>>(
    serve: impl FnOnce() -> F,
) -> Result<()> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::environment(format!("signals cannot be listened to: {error}")))
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        done = serve() => done,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
