//! What was told of each job, in the job's database: so that one daemon of several tells it, and tells it once.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use super::state::Notice;
use crate::engine::lock;
use crate::pg::ours;
use crate::run::JobName;

/// By job; nothing where there is no place for it, or none that we may use.
///
/// # Errors
/// The server does not answer.
pub async fn all(client: &Client) -> Result<Option<HashMap<JobName, String>>> {
    let usable = client
        .query_one(
            "SELECT coalesce((SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                     AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                                     AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
                                     AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
                              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                              WHERE n.nspname = 'pgtend' AND c.relname = 'notice'), false)",
            &[],
        )
        .await?;
    if !usable.get::<_, bool>(0) || ours::stranger(client).await?.is_some() {
        return Ok(None);
    }
    let rows = client.query("SELECT job, state FROM pgtend.notice", &[]).await.context("read pgtend.notice")?;
    Ok(Some(rows.iter().map(|row| (JobName(row.get(0)), row.get(1))).collect()))
}

/// The right to tell something, which no other daemon has meanwhile. Given up undone, it is nobody's news yet; it ends with
/// its connection at the latest.
#[must_use = "it is to be given up"]
pub struct Claim<'a> {
    client: &'a Client,
    notice: &'a Notice,
}

/// Nothing where somebody else tells it, or has.
///
/// # Errors
/// The server does not answer.
pub async fn claim<'a>(client: &'a Client, notice: &'a Notice) -> Result<Option<Claim<'a>>> {
    let had = client
        .query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&lock::notice_key(&notice.job)])
        .await
        .context("ask for the right to tell")?;
    if !had.get::<_, bool>(0) {
        return Ok(None);
    }
    let state = client
        .query_opt("SELECT state FROM pgtend.notice WHERE job = $1", &[&notice.job.as_str()])
        .await
        .context("read pgtend.notice")?;
    let state = state.map_or(super::state::WELL.to_owned(), |row| row.get(0));
    let claim = Claim { client, notice };
    if state == notice.before() {
        return Ok(Some(claim));
    }
    claim.give_up().await?;
    Ok(None)
}

impl Claim<'_> {
    /// # Errors
    /// It cannot be written down, so that it will be told once more.
    pub async fn done(self) -> Result<()> {
        self.client
            .execute(
                "INSERT INTO pgtend.notice (job, state, told_at) VALUES ($1, $2, pg_catalog.clock_timestamp())
                 ON CONFLICT (job) DO UPDATE SET state = excluded.state, told_at = excluded.told_at",
                &[&self.notice.job.as_str(), &self.notice.state],
            )
            .await
            .context("write pgtend.notice")?;
        self.give_up().await
    }

    /// # Errors
    /// The server does not answer.
    pub async fn give_up(self) -> Result<()> {
        let key = lock::notice_key(&self.notice.job);
        self.client.execute("SELECT pg_catalog.pg_advisory_unlock($1)", &[&key]).await.context("let others tell")?;
        Ok(())
    }
}
