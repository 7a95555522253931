//! Runs asked for through the database, so that `pgtend trigger` reaches a daemon wherever it runs.
//!
//! A request is a row, and a notification that there is one. Daemons that listen act at once; others find it when they
//! look. The row is taken by exactly one of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use tokio_postgres::Client;

use super::lock;
use crate::run::{JobName, Outcome, Skip};

/// The channel of the notifications.
pub const CHANNEL: &str = "pgtend";

/// How often a daemon in which a request waits for its turn says so.
pub const SIGN: Duration = Duration::from_secs(30);

/// A request of which nothing was heard for so long, and no run has begun, has nobody any more who would begin it: longer
/// than a daemon takes between two signs, or from the last one to the beginning of the run.
pub const SILENCE: Duration = Duration::from_secs(180);

/// A request that this daemon has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub id: String,
    pub job: JobName,
}

/// How a request stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub taken_by: Option<String>,
    /// When it was taken, or when its daemon has last said that it waits for its turn.
    pub taken_at: Option<DateTime<Utc>>,
    /// The run is in the history.
    pub has_begun: bool,
    /// The run is in the history and has not ended, and somebody holds the job's lock.
    pub is_at_work: bool,
    /// Its daemon has said so itself: the run is over, and has let go of all that it held.
    pub is_closed: bool,
    pub outcome: Option<Outcome>,
    /// Why it was skipped, if it was.
    pub skip: Option<Skip>,
    pub error: Option<String>,
}

/// Asks whatever daemon there is to run `job`; gives the request's id.
///
/// # Errors
/// The request cannot be written.
pub async fn ask(client: &Client, job: &JobName) -> Result<String> {
    let row = client
        .query_one(
            "WITH asked AS (INSERT INTO pgtend.request (job) VALUES ($1) RETURNING id)
             SELECT id::text, pg_catalog.pg_notify($2, id::text) FROM asked",
            &[&job.as_str(), &CHANNEL],
        )
        .await
        .context("write the request")?;
    Ok(row.get(0))
}

/// Withdraws a request that nobody took, so that no daemon runs it when nobody expects it any more. False where one has
/// taken it after all.
///
/// # Errors
/// The request cannot be written.
pub async fn withdraw(client: &Client, id: &str) -> Result<bool> {
    let n = client
        .execute("DELETE FROM pgtend.request WHERE id = $1::text::uuid AND taken_at IS NULL", &[&id])
        .await
        .context("withdraw the request")?;
    Ok(n == 1)
}

/// How the request for a run of `job` stands. A daemon that died says nothing, and the next one closes the record.
///
/// # Errors
/// The request cannot be read, or is gone.
pub async fn answer(client: &Client, id: &str, job: &JobName) -> Result<Answer> {
    let row =
        client.query_one(include_str!("answer.sql"), &[&id, &lock::key(job)]).await.context("read the request")?;
    let word = |column: &str| row.get::<_, Option<String>>(column);
    Ok(Answer {
        taken_by: row.get("taken_by"),
        taken_at: row.get("taken_at"),
        has_begun: row.get("has_begun"),
        is_at_work: row.get("is_at_work"),
        is_closed: row.get("is_closed"),
        outcome: word("outcome").and_then(|word| Outcome::parse(&word)),
        skip: word("skipped").and_then(|word| Skip::parse(&word)),
        error: row.get("error"),
    })
}

/// Takes the open requests for `jobs`. Those older than a minute were given up by whoever asked, and stay.
///
/// # Errors
/// The requests cannot be read or written.
pub async fn take(client: &Client, jobs: &[&JobName], taker: &str) -> Result<Vec<Request>> {
    let names: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
    let rows = client
        .query(
            "UPDATE pgtend.request SET taken_at = pg_catalog.clock_timestamp(), taken_by = $2
             WHERE id IN (SELECT q.id FROM pgtend.request q
                          WHERE q.taken_at IS NULL AND q.job = ANY($1::text[])
                            AND q.requested_at > pg_catalog.clock_timestamp() - interval '1 minute'
                          ORDER BY q.requested_at LIMIT 100 FOR UPDATE SKIP LOCKED)
             RETURNING id::text, job",
            &[&names, &taker],
        )
        .await
        .context("take the requests")?;
    Ok(rows.iter().map(|row| Request { id: row.get(0), job: JobName(row.get(1)) }).collect())
}

/// Gives back what `taker` has taken and not begun: other daemons hear of it as if it had just been asked for.
///
/// # Errors
/// The requests cannot be written.
pub async fn put_back(client: &Client, ids: &[&str], taker: &str) -> Result<()> {
    client
        .query(
            "WITH back AS (UPDATE pgtend.request SET taken_at = NULL, taken_by = NULL, requested_at = pg_catalog.clock_timestamp()
                           WHERE id = ANY($1::text[]::uuid[]) AND taken_by = $2 AND finished_at IS NULL RETURNING id)
             SELECT pg_catalog.pg_notify($3, id::text) FROM back",
            &[&ids, &taker, &CHANNEL],
        )
        .await
        .context("put the requests back")?;
    Ok(())
}

/// Says that the request still waits for its turn with `taker`.
///
/// # Errors
/// The request cannot be written.
pub async fn still_waits(client: &Client, id: &str, taker: &str) -> Result<()> {
    client
        .execute(
            "UPDATE pgtend.request SET taken_at = pg_catalog.clock_timestamp() WHERE id = $1::text::uuid AND taken_by = $2",
            &[&id, &taker],
        )
        .await
        .context("say that the request still waits")?;
    Ok(())
}

/// Says how the request ended.
///
/// # Errors
/// The request cannot be written.
pub async fn close(
    client: &Client,
    id: &str,
    at: DateTime<Utc>,
    outcome: Outcome,
    skip: Option<Skip>,
    error: Option<&str>,
) -> Result<()> {
    client
        .execute(
            "UPDATE pgtend.request SET finished_at = $2, outcome = $3, skipped = $4, error = $5 WHERE id = $1::text::uuid",
            &[&id, &at, &outcome.as_str(), &skip.map(Skip::as_str), &error],
        )
        .await
        .context("close the request")?;
    Ok(())
}
