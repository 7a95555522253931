//! Who holds the lock that was not had.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

/// Names the sessions that stand in the way of deleting from a table: those that hold a lock on the whole of it, and those
/// that have the rows at `ctids` locked. Asked after the wait, on the same session, so that it needs no second connection.
///
/// # Errors
/// The server cannot be asked.
pub async fn of_rows(client: &Client, from: &str, oid: u32, ctids: &[String]) -> Result<String> {
    // A row's xmax is the transaction that locked it, or a group of them, which only PostgreSQL can tell.
    let holders = client
        .query(
            &format!("SELECT DISTINCT xmax::text FROM {from} WHERE ctid = ANY ($1::text[]::tid[]) AND xmax <> 0"),
            &[&ctids],
        )
        .await
        .map(|rows| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>())
        // The table itself may be what is locked.
        .unwrap_or_default();
    let mut transactions = holders.clone();
    for holder in &holders {
        // Refused where it is a transaction and no group.
        if let Ok(members) =
            client.query("SELECT xid::text FROM pg_catalog.pg_get_multixact_members($1::text::xid)", &[holder]).await
        {
            transactions.extend(members.iter().map(|row| row.get::<_, String>(0)));
        }
    }
    named(client, &transactions, oid).await
}

/// Names the sessions that hold a lock on a table that lets nobody read or write it.
///
/// # Errors
/// The server cannot be asked.
pub async fn of_table(client: &Client, oid: u32) -> Result<String> {
    named(client, &[], oid).await
}

async fn named(client: &Client, transactions: &[String], oid: u32) -> Result<String> {
    let rows =
        client.query(include_str!("blockers.sql"), &[&transactions, &oid]).await.context("ask who holds the lock")?;
    let said: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(if said.is_empty() { "whoever held it has let go since".into() } else { said.join("; ") })
}
