//! Finding out whether a pooler in transaction mode stands between us and the server.
//!
//! Behind one, a session advisory lock is no lock: two clients are told that they have it, and a dead client's stays.

use anyhow::{Result, bail};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Link;

/// Two connections, one of them inside a transaction: if they share a server process, or one changes its own, somebody
/// hands them out by the transaction.
///
/// # Errors
/// It is so; or the server does not answer.
pub async fn refuse_transaction_mode(first: &Link, second: &Link, name: &str) -> Result<()> {
    // Simple queries: such a pooler also mixes up prepared statements.
    let before = backend(&first.client).await?;
    // The role's own limit may be shorter than our next question takes.
    second.client.batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '60s'").await?;
    let other = backend(&second.client).await?;
    let after = backend(&first.client).await?;
    second.client.batch_execute("ROLLBACK").await?;
    if before == other || before != after {
        bail!(
            "database {name} is reached through a pooler in transaction (or statement) mode, where a session lock holds \
             nothing: two daemons would both be told that they have it. Give pgtend's url the server's own port, or one \
             that the pooler serves in session mode"
        );
    }
    Ok(())
}

async fn backend(client: &Client) -> Result<String> {
    for message in client.simple_query("SELECT pg_catalog.pg_backend_pid()").await? {
        if let SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).unwrap_or_default().to_owned());
        }
    }
    bail!("the server gave no answer to pg_backend_pid()")
}
