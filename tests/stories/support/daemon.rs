//! `pgtend daemon`: its HTTP, and through [`Process`] its log and its signals.

use std::ops::{Deref, DerefMut};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::{Output, Process};

/// A running daemon. Dropping it is a kill -9.
pub struct Daemon {
    process: Process,
    port: u16,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Daemon {
    pub fn new(process: Process, port: u16) -> Self {
        Self { process, port }
    }

    /// Waits until `/readyz` is 200: every database reached.
    pub async fn ready(self) -> Self {
        let ready = async || self.try_http("GET", "/readyz", "").await.is_some_and(|answer| answer.status == 200);
        self.wait_until("the daemon says that it is ready", ready).await;
        self
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn http_get(&self, path: &str) -> Response {
        self.http("GET", path, "").await
    }

    /// Headers are whole lines: `Authorization: Bearer x`.
    pub async fn http_post(&self, path: &str, headers: &[&str]) -> Response {
        self.http("POST", path, &headers.iter().map(|header| format!("{header}\r\n")).collect::<String>()).await
    }

    /// As a browser sends a form.
    pub async fn http_form(&self, path: &str, form: &str, headers: &[&str]) -> Response {
        let form_is = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", form.len());
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.http("POST", path, &format!("{form_is}{headers}\r\n{form}")).await
    }

    /// The value of a metric with at least these labels, now. Of several such, the sum.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sum(&self.http_get("/metrics").await.body, name, labels)
    }

    /// Waits until the metric has the value.
    pub async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} to be {value}");
        self.wait_until(&what, async || self.metric(name, labels).await == Some(value)).await;
    }

    /// SIGTERM, and the end.
    pub async fn stop(self) -> Output {
        self.signal(libc::SIGTERM);
        self.wait().await
    }

    /// Waits for the end.
    pub async fn wait(self) -> Output {
        self.process.wait().await
    }

    async fn http(&self, method: &str, path: &str, headers: &str) -> Response {
        let what = format!("an answer to {method} {path}");
        self.wait_for(&what, async || self.try_http(method, path, headers).await).await
    }

    /// HTTP/1.0, so that the answer ends with the connection and comes in one piece. Nothing when nobody listens yet.
    async fn try_http(&self, method: &str, path: &str, headers: &str) -> Option<Response> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let length = if method == "POST" && !headers.contains("Content-Length") { "Content-Length: 0\r\n" } else { "" };
        let request = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n{length}{headers}\r\n", self.port);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some(Response { status, headers: head.into(), body: body.into() })
    }
}

impl Deref for Daemon {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Reads the text format of Prometheus, as far as tests need it.
pub fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut found = None;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (metric, set) = series.split_once('{').unwrap_or((series, "}"));
        let has = |(label, value): &(&str, &str)| {
            let pair = format!("{label}=\"{value}\"");
            set.starts_with(&pair) || set.contains(&format!(",{pair}"))
        };
        if metric == name && labels.iter().all(has) {
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a value: {line}"));
            found = Some(found.unwrap_or(0.0) + value);
        }
    }
    found
}
