//! Who holds the lock that was not had.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use super::others;

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

/// A lock that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    ShareUpdateExclusive,
    ShareRowExclusive,
    /// Readers alone go on beside it.
    Exclusive,
    AccessExclusive,
}

impl Wanted {
    /// What cannot be held by others beside it; the manual, 13.3.1 "Table-Level Locks".
    const fn conflicts(self) -> &'static [&'static str] {
        const ALL: &[&str] = &[
            "AccessShareLock",
            "RowShareLock",
            "RowExclusiveLock",
            "ShareUpdateExclusiveLock",
            "ShareLock",
            "ShareRowExclusiveLock",
            "ExclusiveLock",
            "AccessExclusiveLock",
        ];
        match self {
            Wanted::AccessExclusive => ALL,
            Wanted::Exclusive => ALL.split_at(1).1,
            Wanted::ShareRowExclusive => ALL.split_at(2).1,
            Wanted::ShareUpdateExclusive => ALL.split_at(3).1,
        }
    }
}

/// Names the sessions that hold a lock on one of the tables beside which the wanted one cannot be had. Partitions of a
/// table are not looked at unless they are named.
///
/// # Errors
/// The server cannot be asked.
pub async fn of_tables(client: &Client, wanted: &[(u32, Wanted)]) -> Result<String> {
    let said = holders(client, wanted).await?;
    Ok(if said.is_empty() { "whoever held it has let go since".into() } else { said.join("; ") })
}

/// Names the sessions that write to a table, or keep others from it; none where there are none.
///
/// # Errors
/// The server cannot be asked.
pub async fn of_writers(client: &Client, oid: u32) -> Result<Option<String>> {
    let said = holders(client, &[(oid, Wanted::ShareRowExclusive)]).await?;
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

async fn holders(client: &Client, wanted: &[(u32, Wanted)]) -> Result<Vec<String>> {
    let pairs = wanted.iter().flat_map(|(oid, lock)| lock.conflicts().iter().map(move |mode| (*oid, *mode)));
    let (oids, modes): (Vec<u32>, Vec<&str>) = pairs.unzip();
    let rows = client
        .query(include_str!("blockers_of_tables.sql"), &[&oids, &modes])
        .await
        .context("ask who holds the lock")?;
    Ok(rows.iter().map(others::said).collect())
}

async fn named(client: &Client, transactions: &[String], oid: u32) -> Result<String> {
    let rows =
        client.query(include_str!("blockers.sql"), &[&transactions, &oid]).await.context("ask who holds the lock")?;
    let said: Vec<String> = rows.iter().map(others::said).collect();
    Ok(if said.is_empty() { "whoever held it has let go since".into() } else { said.join("; ") })
}
