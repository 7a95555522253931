//! One request, with patience. Addresses are secrets: no error shows one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::{Address, NotifyConfig};
use crate::testpoint;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The rests between tries; after the last, it has failed.
const RESTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::ZERO];

#[derive(Clone)]
pub struct Sender(Client);

impl Sender {
    /// # Errors
    /// TLS cannot be set up on this host.
    pub fn new() -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        // Named here, since a second provider in the program would make rustls's own choice panic.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(PATIENCE)
            .user_agent(concat!("pgtend/", env!("CARGO_PKG_VERSION")))
            // A webhook that has moved is for somebody to look at: what is sent is not for whoever answers there.
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self(client.build().context("set up a client of HTTP")?))
    }

    /// # Errors
    /// It was not taken, however often it was tried.
    pub async fn post(&self, target: &NotifyConfig, body: &Value) -> Result<()> {
        let mut request = self.0.post(target.address.expose()).json(body);
        if let Some(token) = &target.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        send(request).await
    }

    /// Tells a dead man's switch that all is well.
    ///
    /// # Errors
    /// As for [`Sender::post`].
    pub async fn ping(&self, address: &Address) -> Result<()> {
        send(self.0.get(address.expose())).await
    }
}

async fn send(request: RequestBuilder) -> Result<()> {
    let mut last = Ok(());
    for rest in RESTS {
        let Some(once) = request.try_clone() else { bail!("the request cannot be repeated") };
        last = match once.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => Err(anyhow::anyhow!("the answer was {}", answer.status())),
            Err(error) => Err(anyhow::Error::new(error.without_url())),
        };
        tokio::time::sleep(testpoint::patience(rest)).await;
    }
    last
}
