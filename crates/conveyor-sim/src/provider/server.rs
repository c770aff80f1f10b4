//! The HTTP side of the provider.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::post;
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use serde_json::json;
use tokio::sync::oneshot;

use super::Received;
use super::Shared;
use super::sse;
use crate::directive::Action;
use crate::directive::Failure;
use crate::directive::Round;

/// Requests hold the whole conversation.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// Serves until told to stop. Streams that are still open then are cut, as a killed provider cuts them.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let app = Router::new()
        .route("/v1/responses", post(responses))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(shared);
    tokio::select! {
        _ = axum::serve(listener, app).into_future() => {}
        _ = stopped => {}
    }
}

/// One request of a model's turn.
async fn responses(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    answer(shared.answer(&Received::read(&headers, body)))
}

/// The answer as Codex is to see it.
fn answer(round: Round) -> Response {
    let id = sse::id("resp");
    let frames = match round.action {
        Action::Call(call) => vec![sse::call(&call), sse::completed(&id)],
        Action::Say(text) => {
            let mut frames = sse::message(&text);
            frames.push(sse::completed(&id));
            frames
        }
        Action::Fail(failure) => match refusal(failure, &id) {
            Refusal::Status(status, body) => return (status, Json(body)).into_response(),
            Refusal::Frames(frames) => frames,
        },
    };
    stream_of(&id, round.delay, frames)
}

/// How a failure reaches Codex.
enum Refusal {
    /// As an HTTP status.
    Status(StatusCode, Value),
    /// Inside a stream.
    Frames(Vec<String>),
}

/// The failure on the wire.
fn refusal(failure: Failure, id: &str) -> Refusal {
    let error = |kind: &str, message: &str| json!({ "error": { "type": kind, "message": message } });
    match failure {
        Failure::Unauthorized => Refusal::Status(StatusCode::UNAUTHORIZED, error("auth", "bad key")),
        Failure::TooManyRequests => {
            Refusal::Status(StatusCode::TOO_MANY_REQUESTS, error("slow_down", "slow down"))
        }
        Failure::ServerError => Refusal::Status(StatusCode::INTERNAL_SERVER_ERROR, error("server", "broken")),
        Failure::UsageLimit => {
            let resets_at = std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs() + 3_600);
            let body = json!({ "type": "usage_limit_reached", "resets_at": resets_at, "plan_type": "plus" });
            Refusal::Status(StatusCode::TOO_MANY_REQUESTS, json!({ "error": body }))
        }
        Failure::Dropped => Refusal::Frames(Vec::new()),
        Failure::ContextFull => {
            Refusal::Frames(vec![sse::failed(id, "context_length_exceeded", "the context is full")])
        }
    }
}

/// The event stream: the first frame at once, the others after the delay.
fn stream_of(id: &str, delay: Duration, frames: Vec<String>) -> Response {
    let created = stream::once(std::future::ready(sse::created(id)));
    let later = stream::once(tokio::time::sleep(delay)).flat_map(move |()| stream::iter(frames.clone()));
    let body = Body::from_stream(created.chain(later).map(Ok::<_, Infallible>));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CONNECTION, "close")];
    (headers, body).into_response()
}
