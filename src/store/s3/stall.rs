//! A request of which no byte has moved for a while is cut, so that it can be tried again.
//!
//! What counts is that bytes move, not how fast: a limit on the time or the rate of a whole request would forbid backups over
//! a slow line.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Result;
use aws_sdk_s3::config::{HttpClient, RuntimeComponents};
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How much of a body is handed on at once; that it was taken is what is seen of its moving.
const PIECE: usize = 64 << 10;

/// The HTTP client: rustls with ring, the host's certificates and those of `ca_file`, proxies from the environment.
#[derive(Debug)]
pub struct Watched {
    tls: TlsContext,
    patience: Duration,
    /// By their time-outs: those of the instance's credentials are short.
    connectors: Mutex<HashMap<[Option<Duration>; 2], SharedHttpConnector>>,
}

impl Watched {
    /// # Errors
    /// The certificates cannot be used.
    pub fn new(ca: Option<&[u8]>, patience: Duration) -> Result<Self> {
        let mut trusted = TrustStore::default();
        if let Some(pem) = ca {
            trusted.add_pem_certificate(pem);
        }
        let tls = TlsContext::builder().with_trust_store(trusted).build()?;
        Ok(Self { tls, patience, connectors: Mutex::default() })
    }
}

impl HttpClient for Watched {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry([settings.connect_timeout(), settings.read_timeout()]).or_insert_with(|| {
            let inner = SharedHttpConnector::new(
                Connector::builder()
                    .connector_settings(settings.clone())
                    .proxy_config(ProxyConfig::from_env())
                    .tls_provider(Provider::Rustls(CryptoMode::Ring))
                    .tls_context(self.tls.clone())
                    .build(),
            );
            SharedHttpConnector::new(WatchedConnector { inner, patience: self.patience })
        });
        connector.clone()
    }
}

#[derive(Debug)]
struct WatchedConnector {
    inner: SharedHttpConnector,
    patience: Duration,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let patience = self.patience;
        let moved = Arc::new(Mutex::new(Instant::now()));
        let body = Sent { body: request.take_body(), piece: Bytes::new(), moved: Arc::clone(&moved) };
        *request.body_mut() = SdkBody::from_body_1_x(body);
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let still = async {
                loop {
                    let last = *moved.lock().unwrap_or_else(PoisonError::into_inner);
                    if last.elapsed() >= patience {
                        break;
                    }
                    sleep_until(last + patience).await;
                }
            };
            let response = tokio::select! {
                response = answer => response?,
                () = still => return Err(ConnectorError::timeout(Box::new(stalled(patience)))),
            };
            Ok(response.map(|body| SdkBody::from_body_1_x(Received { body, patience, since: None })))
        })
    }
}

fn stalled(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no byte has moved for {} s", patience.as_secs_f32()))
}

/// The body of a request, which notes when a piece of it was taken.
struct Sent {
    body: SdkBody,
    piece: Bytes,
    moved: Arc<Mutex<Instant>>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = aws_sdk_s3::error::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.piece.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.piece = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let length = self.piece.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.piece.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.piece.len() as u64;
        let hint = Body::size_hint(&self.body);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

/// The body of an answer, which ends in an error when nothing comes of it for too long.
struct Received {
    body: SdkBody,
    patience: Duration,
    /// Since when something is waited for.
    since: Option<Pin<Box<Sleep>>>,
}

impl Body for Received {
    type Data = Bytes;
    type Error = aws_sdk_s3::error::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.since = None;
            return Poll::Ready(frame);
        }
        let patience = self.patience;
        let waiting = self.since.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(stalled(patience)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

#[cfg(test)]
#[path = "stall_tests.rs"]
mod tests;
