//! Finding out whether a pooler in transaction mode stands between us and the server.
//!
//! Behind one, a session advisory lock is no lock: two clients are told that they have it, and a dead client's stays.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Link;

/// How long the look may take: a pooler keeps whoever asks for one session too many waiting for minutes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two connections, one of them inside a transaction: if they share a server process, or one changes its own, somebody
/// hands them out by the transaction.
///
/// # Errors
/// It is so; or the server does not answer.
pub async fn refuse_transaction_mode(first: &Link, second: &Link, name: &str) -> Result<()> {
    let mixes = tokio::time::timeout(PATIENCE, mixes(&first.client, &second.client)).await.with_context(|| {
        format!(
            "database {name} did not answer two sessions at once within {} s; if a pooler stands in between, its pool is \
             too small: pgtend needs a session for each lock, one for each run, and one to listen",
            PATIENCE.as_secs()
        )
    })??;
    if mixes { Err(TransactionPooler { database: name.into() }.into()) } else { Ok(()) }
}

/// A pooler that hands out its sessions by the transaction, or by the statement.
#[derive(Debug, thiserror::Error)]
#[error("{}; {}", self.why(), Self::MEND)]
pub struct TransactionPooler {
    database: String,
}

impl TransactionPooler {
    pub const MEND: &str = "give pgtend's url the server's own port, or one that the pooler serves in session mode";

    pub fn why(&self) -> String {
        format!(
            "database {} is reached through a pooler in transaction (or statement) mode, where a session lock holds \
             nothing: two daemons would both be told that they have it",
            self.database
        )
    }
}

/// Simple queries, since such a pooler also mixes up prepared statements.
async fn mixes(first: &Client, second: &Client) -> Result<bool> {
    let own = backend(first).await?;
    if changes(first, &own).await? {
        return Ok(true);
    }
    // The role's own limit may be shorter than our next question takes.
    match second.batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '60s'").await {
        // A pooler in statement mode takes no transactions.
        Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => return Ok(true),
        begun => begun?,
    }
    let other = backend(second).await?;
    // Where there is but one server process, the first would now wait for the second: it is not asked.
    let mixes = own == other || changes(first, &own).await?;
    second.batch_execute("ROLLBACK").await?;
    Ok(mixes)
}

/// Whether another server process than `own` comes to answer. Several looks: a pooler may go by turns.
async fn changes(client: &Client, own: &str) -> Result<bool> {
    for _ in 0..3 {
        if backend(client).await? != own {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn backend(client: &Client) -> Result<String> {
    for message in client.simple_query("SELECT pg_catalog.pg_backend_pid()").await? {
        if let SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).unwrap_or_default().to_owned());
        }
    }
    bail!("the server gave no answer to pg_backend_pid()")
}
