//! What the daemon serves: metrics, health, status, and runs asked for with the token.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::page;
use crate::engine::Shared;
use crate::run::JobName;

/// A run asked for over HTTP; the answer says which jobs were rung, or why none was.
pub struct Wanted {
    pub job: String,
    pub answer: oneshot::Sender<Result<Vec<JobName>, String>>,
}

#[derive(Clone)]
pub struct Web {
    pub shared: Arc<Shared>,
    pub board: Arc<Board>,
    pub wanted: mpsc::Sender<Wanted>,
    pub host: String,
}

/// Serves until told to end.
pub async fn serve(listener: TcpListener, web: Web, ending: CancellationToken) {
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/api/status", get(status))
        .route("/api/jobs/{name}/run", post(run))
        .with_state(web);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ending.cancelled_owned()).await {
        tracing::error!("the HTTP server has ended: {error}");
    }
}

async fn metrics(State(web): State<Web>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], web.shared.metrics.text()).into_response()
}

/// 200 when every database can be reached, otherwise 503 with those that cannot.
async fn ready(State(web): State<Web>) -> Response {
    let missing: Vec<String> = {
        let facts = web.board.read();
        let down = facts.databases.iter().filter(|(_, reach)| !reach.up);
        down.map(|(name, reach)| format!("{name}: {}\n", reach.error.as_deref().unwrap_or("out of reach"))).collect()
    };
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.concat()).into_response()
}

async fn status(State(web): State<Web>) -> Response {
    let jobs = web.board.jobs(&web.shared.running(), &web.host, web.shared.clock.host());
    let databases = web.board.read().databases.clone();
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "host": web.host, "databases": databases, "jobs": jobs }))
        .into_response()
}

async fn index(State(web): State<Web>) -> Html<String> {
    let now = web.shared.clock.host();
    let jobs = web.board.jobs(&web.shared.running(), &web.host, now);
    let databases = web.board.read().databases.clone();
    Html(page::render(&jobs, &databases, now))
}

async fn run(State(web): State<Web>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let allowed = match (&web.board.read().token, given) {
        (None, _) => {
            Err((StatusCode::FORBIDDEN, "nothing can be triggered over HTTP: the config has no [http] token_file"))
        }
        (Some(_), None) => Err((StatusCode::UNAUTHORIZED, "a bearer token is needed")),
        // Digests, so that the time of the comparison tells nothing of the token.
        (Some(token), Some(given)) if Sha256::digest(token.expose_secret()) == Sha256::digest(given) => Ok(()),
        (Some(_), Some(_)) => Err((StatusCode::UNAUTHORIZED, "that is not the token")),
    };
    if let Err((code, why)) = allowed {
        return (code, Json(json!({ "error": why }))).into_response();
    }
    let (answer, asked) = oneshot::channel();
    if web.wanted.send(Wanted { job: name, answer }).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "the daemon is ending" }))).into_response();
    }
    match asked.await {
        Ok(Ok(jobs)) => (StatusCode::ACCEPTED, Json(json!({ "accepted": jobs }))).into_response(),
        Ok(Err(why)) => (StatusCode::NOT_FOUND, Json(json!({ "error": why }))).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "the daemon is ending" }))).into_response(),
    }
}
