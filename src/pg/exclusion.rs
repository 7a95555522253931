//! Dumps and the schema changes that a dump does not survive keep out of each other's way, in one database and across all
//! daemons and jobs.
//!
//! `pg_dump` notes which tables there are and locks them a moment later; one that was dropped in between fails it, and one
//! that it has locked makes DETACH and DROP wait, with every reader behind them. So a dump holds one advisory key shared,
//! and DETACH, FINALIZE, DROP and SET SCHEMA of ours take it alone, by trying: who does not get it comes back later.

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

/// The key. Advisory keys are per database; see the manual, 13.3.5 "Advisory Locks".
pub fn key() -> i64 {
    advisory_key("dumps and schema changes")
}

/// An advisory key of pgtend's for what `words` say; the same in every version.
pub fn advisory_key(words: &str) -> i64 {
    let digest = Sha256::digest(format!("pgtend\0{words}").as_bytes());
    i64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
}

/// For how long the key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Until the transaction ends.
    Transaction,
    /// Until the session is closed: for DETACH CONCURRENTLY, which takes several transactions of its own.
    Session,
}

/// Takes the key alone, without waiting. The answer is who has it, if it was not had.
///
/// # Errors
/// The server cannot be asked.
pub async fn alone(client: &Client, long: For) -> Result<Option<String>> {
    let sql = match long {
        For::Transaction => "SELECT pg_catalog.pg_try_advisory_xact_lock($1)",
        For::Session => "SELECT pg_catalog.pg_try_advisory_lock($1)",
    };
    let key = key();
    let had: bool = client.query_one(sql, &[&key]).await.context("make sure that no dump is running")?.get(0);
    Ok(if had { None } else { Some(holder(client, key).await) })
}

/// Who holds an advisory key, in words. Only for people: an empty answer is no error.
pub async fn holder(client: &Client, key: i64) -> String {
    let row = client
        .query_opt(
            "SELECT format('held by pid %s (%s%s) since %s', a.pid, a.application_name,
                           coalesce(', ' || host(a.client_addr), ''), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SSOF'))
             FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
               AND l.classid::bigint = (($1::bigint >> 32) & 4294967295) AND l.objid::bigint = ($1::bigint & 4294967295)
             ORDER BY a.backend_start LIMIT 1",
            &[&key],
        )
        .await;
    match row {
        Ok(Some(row)) => row.get(0),
        _ => "held by a session that has just ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_same_in_every_version() {
        // Two versions of the daemon side by side must exclude each other.
        assert_eq!(key(), 6_967_320_981_967_411_622);
    }
}
