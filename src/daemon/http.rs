//! What the daemon serves: metrics, health, status, and runs asked for with the token.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::Board;
use super::page::{self, Shown, View, Visitor};
use super::visit::{self, Seal};
use crate::engine::{JobStatus, Shared};
use crate::run::JobName;
use crate::testpoint;

/// A run asked for over HTTP; the answer says which jobs were rung, or why none was.
pub struct Wanted {
    pub job: String,
    pub answer: oneshot::Sender<Result<Vec<JobName>, String>>,
}

/// So many connections there are at once: one a browser, a scraper, a probe.
const AT_ONCE: usize = 128;
/// How long whoever has connected may take to say what they want, also of the next thing they want.
const WISH: Duration = Duration::from_secs(30);
/// How long they may stay.
const VISIT: Duration = Duration::from_secs(600);
/// A daemon that has not beaten for so long, which it does each second, is stuck.
const STILL: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Web {
    pub shared: Arc<Shared>,
    pub board: Arc<Board>,
    pub wanted: mpsc::Sender<Wanted>,
    pub host: String,
    pub seal: Seal,
}

/// Serves until told to end.
pub async fn serve(listener: TcpListener, web: Web, ending: CancellationToken) {
    let router = Router::new()
        .route("/", get(index))
        .route("/style.css", get(async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE)))
        .route("/refresh.js", get(async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], page::SCRIPT)))
        .route("/icon.svg", get(async || ([(header::CONTENT_TYPE, "image/svg+xml")], page::ICON)))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/jobs/{name}/run", post(run_from_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/api/status", get(status))
        .route("/api/jobs/{name}/run", post(run))
        .with_state(web);
    let (places, connections) = (Arc::new(Semaphore::new(AT_ONCE)), TaskTracker::new());
    loop {
        // Who comes when all places are taken waits at the door, and takes no descriptor of ours.
        let coming = async { (Arc::clone(&places).acquire_owned().await, listener.accept().await) };
        let (place, came) = tokio::select! {
            () = ending.cancelled() => break,
            came = coming => came,
        };
        match came {
            Ok((stream, _)) => {
                let (router, ending) = (router.clone(), ending.clone());
                connections.spawn(async move {
                    let _place = place;
                    converse(stream, router, &ending).await;
                });
            }
            Err(error) => {
                tracing::warn!("a connection to the HTTP server could not be taken: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// One connection, to its end. Whoever is slow to say what they want is not waited for, nor does anybody stay for ever.
async fn converse(stream: TcpStream, router: Router, ending: &CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(testpoint::patience(WISH));
    let mut conversation = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = async { tokio::select! { () = ending.cancelled() => {} () = tokio::time::sleep(VISIT) => {} } } => {
            conversation.as_mut().graceful_shutdown();
            timeout(WISH, conversation).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the HTTP server ended: {error}");
    }
}

/// 200 as long as the daemon's loop beats: what is seen to here is the process, not its databases.
async fn health(State(web): State<Web>) -> Response {
    let still = web.board.read().beaten.map(|at| at.elapsed()).filter(|still| *still > testpoint::patience(STILL));
    match still {
        None => "ok\n".into_response(),
        Some(still) => {
            let why = format!("the daemon has stood still for {} s\n", still.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
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

async fn index(State(web): State<Web>, headers: HeaderMap) -> Response {
    let now = web.shared.clock.host();
    let statuses = web.board.jobs(&web.shared.running(), &web.host, now);
    let view = {
        let facts = web.board.read();
        let shown = |status: JobStatus| Shown {
            past: facts.pasts.get(&status.job).cloned().unwrap_or_default(),
            observed: facts.observed.get(&status.job).cloned().unwrap_or_default(),
            status,
        };
        View {
            host: web.host.clone(),
            now,
            databases: facts.databases.clone(),
            jobs: statuses.into_iter().map(shown).collect(),
            visitor: web.seal.visitor(facts.token.as_ref(), &headers),
        }
    };
    // Nothing of anybody else's, and nobody else's frame.
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(page::render(&view))).into_response()
}

#[derive(Deserialize)]
struct SignIn {
    token: SecretString,
}

async fn sign_in(State(web): State<Web>, headers: HeaderMap, Form(given): Form<SignIn>) -> Response {
    if let Err(code) = visit::from_our_page(&headers) {
        return code.into_response();
    }
    let cookie = match &web.board.read().token {
        Some(token) if visit::is_right(token, given.token.expose_secret()) => web.seal.cookie(token),
        _ => return (StatusCode::UNAUTHORIZED, "that is not the token\n").into_response(),
    };
    back_with(cookie)
}

async fn sign_out(headers: HeaderMap) -> Response {
    match visit::from_our_page(&headers) {
        Ok(()) => back_with(visit::no_cookie()),
        Err(code) => code.into_response(),
    }
}

fn back_with(cookie: Option<HeaderValue>) -> Response {
    let mut answer = Redirect::to("/").into_response();
    answer.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    answer
}

/// The button of a job.
async fn run_from_page(State(web): State<Web>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if let Err(code) = visit::from_our_page(&headers) {
        return code.into_response();
    }
    if web.seal.visitor(web.board.read().token.as_ref(), &headers) != Visitor::Operator {
        return (StatusCode::UNAUTHORIZED, "sign in first\n").into_response();
    }
    match ring(&web, name).await {
        Ok(jobs) => Redirect::to(&jobs.first().map_or("/".into(), |job| format!("/#job-{job}"))).into_response(),
        Err((code, why)) => (code, format!("{why}\n")).into_response(),
    }
}

async fn run(State(web): State<Web>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    let allowed = match (&web.board.read().token, given) {
        (None, _) => {
            Err((StatusCode::FORBIDDEN, "nothing can be triggered over HTTP: the config has no [http] token_file"))
        }
        (Some(_), None) => Err((StatusCode::UNAUTHORIZED, "a bearer token is needed")),
        (Some(token), Some(given)) if visit::is_right(token, given) => Ok(()),
        (Some(_), Some(_)) => Err((StatusCode::UNAUTHORIZED, "that is not the token")),
    };
    if let Err((code, why)) = allowed {
        return (code, Json(json!({ "error": why }))).into_response();
    }
    match ring(&web, name).await {
        Ok(jobs) => (StatusCode::ACCEPTED, Json(json!({ "accepted": jobs }))).into_response(),
        Err((code, why)) => (code, Json(json!({ "error": why }))).into_response(),
    }
}

/// The token of an `Authorization`. The name of a scheme has no case (RFC 9110, 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

/// Asks the daemon's loop for a run.
async fn ring(web: &Web, job: String) -> Result<Vec<JobName>, (StatusCode, String)> {
    let ending = || (StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending".to_owned());
    let (answer, asked) = oneshot::channel();
    web.wanted.send(Wanted { job, answer }).await.map_err(|_| ending())?;
    asked.await.map_err(|_| ending())?.map_err(|why| (StatusCode::NOT_FOUND, why))
}
