//! Somebody who is told things over HTTP.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// Listens on a port of its own, and answers as it is told to.
#[derive(Clone)]
pub struct Webhook {
    port: u16,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    requests: Vec<Told>,
    refusing: bool,
    holding: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: String,
}

impl Webhook {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let webhook = Self { port: listener.local_addr().expect("its address").port(), heard: Arc::default() };
        let heard = Arc::clone(&webhook.heard);
        let tasks = TaskTracker::new();
        let served = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(serve(stream, Arc::clone(&heard)));
            }
        });
        webhook
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Whether it takes nothing from now on.
    pub fn refuse(&self, refusing: bool) {
        self.heard.lock().unwrap().refusing = refusing;
    }

    /// Whether it leaves whoever tells it something without an answer.
    pub fn hold(&self, holding: bool) {
        self.heard.lock().unwrap().holding = holding;
    }

    /// What it has taken so far, or refused.
    pub fn told(&self) -> Vec<Told> {
        self.heard.lock().unwrap().requests.clone()
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, heard: Arc<Mutex<Heard>>) {
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    let told = loop {
        let Ok(n @ 1..) = stream.read(&mut chunk).await else { return };
        read.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse().ok());
        if body.len() < head.lines().find_map(length).unwrap_or(0) {
            continue;
        }
        let mut words = head.split_whitespace().map(String::from);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        break Told { method, path, head: head.into(), body: body.into() };
    };
    heard.lock().unwrap().requests.push(told);
    while heard.lock().unwrap().holding {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let status = {
        let heard = heard.lock().unwrap();
        if heard.refusing { "503 Service Unavailable" } else { "204 No Content" }
    };
    let _ = stream
        .write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes())
        .await;
}
