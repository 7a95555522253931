//! The other scheduler: what pg_cron runs in a database, so that nobody's table is tended twice.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use super::TableName;
use crate::run::Finding;

/// A job of pg_cron.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronJob {
    pub id: i64,
    /// Empty where it has none.
    pub name: String,
    pub schedule: String,
    /// What it runs, with the bodies of the functions that it calls. Never shown: there may be a password in it.
    pub sql: String,
}

impl CronJob {
    /// `3 "nightly" (0 1 * * *)`
    pub fn words(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {:?}", self.name) };
        format!("{}{name} ({})", self.id, self.schedule)
    }

    /// Two schedulers at one table wait for each other at best.
    pub fn done_twice(&self) -> Finding {
        Finding::warning(
            format!("pg_cron works on the same in this database, by its job {}", self.words()),
            format!("if it does what this job does: SELECT cron.unschedule({});", self.id),
        )
    }
}

/// The active jobs of pg_cron that run in this database, as far as its policy shows them to our role; none where there
/// is no pg_cron, and `None` where our role may not look.
///
/// # Errors
/// The catalog cannot be read.
pub async fn jobs(client: &Client) -> Result<Option<Vec<CronJob>>> {
    let readable = client
        .query_opt(
            // By the catalog: `to_regclass` fails where the role may not use the schema.
            // A view of that name, or a table of anybody's, may have functions in it that would run as our role.
            "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
             WHERE n.nspname = 'cron' AND c.relname = 'job' AND c.relkind = 'r'
               AND (o.rolsuper OR o.rolname = current_user)",
            &[],
        )
        .await?;
    match readable.map(|row| row.get(0)) {
        None => return Ok(Some(Vec::new())),
        Some(false) => return Ok(None),
        Some(true) => {}
    }
    // Its own policy shows each role its own jobs; with row_security off that would be an error.
    // For this transaction alone: whoever gives up waiting for the answer leaves no session behind that hides rows.
    client.batch_execute("BEGIN READ ONLY; SET LOCAL row_security = on").await?;
    let rows = client.query(include_str!("pg_cron.sql"), &[]).await;
    client.batch_execute("ROLLBACK").await?;
    let job =
        |row: &tokio_postgres::Row| CronJob { id: row.get(0), name: row.get(1), schedule: row.get(2), sql: row.get(3) };
    Ok(Some(rows.context("read the jobs of pg_cron")?.iter().map(job).collect()))
}

/// Whether SQL names a table, with or without its schema.
pub fn mentions(sql: &str, table: &TableName) -> bool {
    says(sql, table.name.as_str())
}

/// Whether words stand in SQL, whatever their case, and not as a part of a longer name.
pub fn says(sql: &str, words: &str) -> bool {
    let (sql, words) = (sql.to_lowercase(), words.to_lowercase());
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    sql.match_indices(&words)
        .any(|(at, found)| !inside(sql[..at].chars().next_back()) && !inside(sql[at + found.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_by_its_whole_name_in_any_case() {
        let events = TableName::new("public", "events").unwrap();
        for sql in ["delete from public.events where true", "VACUUM \"Events\"", "events", "INSERT INTO Events(id)"] {
            assert!(mentions(sql, &events), "{sql}");
        }
        for sql in ["delete from old_events", "events_2026", "eventsé", "", "select 1"] {
            assert!(!mentions(sql, &events), "{sql}");
        }
        assert!(says("Refresh Materialized View v", "refresh materialized view"));
    }
}
