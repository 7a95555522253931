//! Opening a connection.

use std::future::Future;
use std::pin::Pin;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::Conninfo;

/// A connection of one's own, outside any pool. Dropping the client closes it.
pub struct Link {
    pub client: Client,
    /// Notifications and notices; the sender is dropped when the connection ends.
    pub messages: mpsc::UnboundedReceiver<AsyncMessage>,
}

/// Cancels what a session's server process is running.
#[derive(Clone)]
pub struct Canceller {
    token: tokio_postgres::CancelToken,
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

impl Canceller {
    /// # Errors
    /// The server cannot be reached.
    pub async fn cancel(&self) -> Result<()> {
        self.token.cancel_query(NoTls).await.context("cancel the running statement")
    }
}

impl Conninfo {
    pub fn canceller(&self, client: &Client) -> Canceller {
        Canceller { token: client.cancel_token() }
    }
}

/// # Errors
/// No host of `info` takes the connection.
pub async fn connect(info: &Conninfo, application_name: &str) -> Result<Link> {
    let mut config = info.config.clone();
    config.application_name(application_name);
    let (client, mut connection) =
        config.connect(NoTls).await.with_context(|| format!("connect to {}", info.target()))?;
    let (sender, messages) = mpsc::unbounded_channel();
    #[allow(clippy::disallowed_methods, reason = "it ends with its client")]
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if sender.send(message).is_err() {
                continue;
            }
        }
    });
    Ok(Link { client, messages })
}

/// How the pool connects.
#[derive(Clone)]
pub struct Connector(pub Conninfo);

impl deadpool_postgres::Connect for Connector {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, tokio::task::JoinHandle<()>), tokio_postgres::Error>> + Send + '_>>
    {
        Box::pin(async move {
            let (client, connection) = self.0.config.connect(NoTls).await?;
            #[allow(clippy::disallowed_methods, reason = "it ends with its client")]
            let task = tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok((client, task))
        })
    }
}
