//! The record of runs, in schema `pgtend` of each job's database.
//!
//! A history that cannot be written never fails a job; it is logged and counted.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::lock;
use super::shared::KnownSince;
use crate::pg::ours;
use crate::run::{JobName, Outcome, RunId, RunRecord, Trigger};

/// A run about to begin.
#[derive(Debug, Clone)]
pub struct Beginning<'a> {
    pub job: &'a JobName,
    pub kind: &'a str,
    pub trigger: Trigger,
    pub host: &'a str,
    pub attempt: i32,
    pub due_at: Option<DateTime<Utc>>,
    pub request: Option<&'a str>,
    pub started_at: DateTime<Utc>,
}

/// How a job stands, by its history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Whether the history was read.
    pub known: bool,
    pub last_started_at: Option<DateTime<Utc>>,
    pub last_finished_at: Option<DateTime<Utc>>,
    pub last_outcome: Option<Outcome>,
    pub last_error: Option<String>,
    pub last_trigger: Option<Trigger>,
    pub last_attempt: i32,
    /// The due time of the newest run, where it had one.
    pub last_run_due_at: Option<DateTime<Utc>>,
    /// The newest run did not end, its daemon did.
    pub last_died: bool,
    pub last_success_at: Option<DateTime<Utc>>,
    /// Up to when the last success has done what was due.
    pub succeeded_until: Option<DateTime<Utc>>,
    /// Of the oldest run that is remembered, whatever became of it.
    pub first_started_at: Option<DateTime<Utc>>,
    /// The newest due time that any daemon has begun.
    pub last_due_at: Option<DateTime<Utc>>,
    pub running_since: Option<DateTime<Utc>>,
    pub running_on: Option<String>,
    pub consecutive_failures: i64,
    /// Since when the daemon that asks knows the job by its schedule; nothing where it is no daemon that asks.
    pub known_since: Option<KnownSince>,
}

impl Standing {
    /// Up to when nothing is owed: until `done`, or where there is no such time, until the daemon came to know the job; in
    /// any case until a reload gave the job its schedule.
    pub fn settled(&self, done: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let known = self.known_since;
        done.max(known.filter(|known| known.changed || done.is_none()).map(|known| known.at))
    }
}

/// Makes what is missing of schema `pgtend`.
///
/// # Errors
/// The role may not create it; the text gives the GRANT to run.
pub async fn ensure(client: &Client) -> Result<()> {
    if !exists(client).await? {
        return make(client, &[include_str!("schema.sql"), include_str!("later.sql")]).await;
    }
    // A history that an older version made, or an administrator for a role that may make nothing. It is whole without this
    // one: jobs that need it say so.
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM pg_catalog.pg_class c
                     WHERE c.relnamespace = n.oid AND c.relname IN ('reading', 'notice')) < 2
                    AND has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE')
             FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pgtend'",
            &[],
        )
        .await
        .context("look for the tables that came later")?;
    if row.get(0) { make(client, &[include_str!("later.sql")]).await } else { Ok(()) }
}

async fn make(client: &Client, parts: &[&str]) -> Result<()> {
    // Two daemons that start together must not both create: IF NOT EXISTS does not protect from each other.
    let statement = format!(
        "BEGIN; SET LOCAL client_min_messages = warning; SELECT pg_catalog.pg_advisory_xact_lock({}); {} COMMIT",
        lock::key(&JobName("pgtend schema".into())),
        parts.join("\n")
    );
    let made = client.batch_execute(&statement).await;
    if made.is_err() {
        // The multi-statement message ends with its error inside the transaction.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    match made {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let said = match no_room(client).await? {
                Some(NoRoom { message, mend }) => format!("{message}; run: {mend}"),
                None => "create schema pgtend".into(),
            };
            Err(error).context(said)
        }
        other => other.context("create schema pgtend"),
    }
}

/// Why the role cannot make the history, and the statement that mends it.
pub struct NoRoom {
    pub message: String,
    pub mend: String,
}

/// What keeps the role from making the history where it is missing; nothing where it may.
///
/// # Errors
/// The server does not answer.
pub async fn no_room(client: &Client) -> Result<Option<NoRoom>> {
    let row = client
        .query_one(
            "SELECT pg_catalog.quote_ident(CURRENT_USER), ours.oid IS NOT NULL,
                    CASE WHEN ours.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                         ELSE has_schema_privilege(ours.oid, 'USAGE') AND has_schema_privilege(ours.oid, 'CREATE') END
             FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_namespace AS ours ON ours.nspname = 'pgtend'",
            &[],
        )
        .await
        .context("look for room for schema pgtend")?;
    let (role, is_there, may): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if may {
        return Ok(None);
    }
    Ok(Some(if is_there {
        NoRoom {
            message: format!(
                "the tables of the history are missing in schema pgtend, and role {role} may not create them"
            ),
            mend: format!("GRANT USAGE, CREATE ON SCHEMA pgtend TO {role}"),
        }
    } else {
        NoRoom {
            message: format!("schema pgtend, for the history, is missing, and role {role} may not create it"),
            mend: format!("CREATE SCHEMA pgtend AUTHORIZATION {role}"),
        }
    }))
}

/// Whether the history is there, whole.
///
/// # Errors
/// The server does not answer, or what is there is not ours: a [`ours::Stranger`].
pub async fn exists(client: &Client) -> Result<bool> {
    let row = client
        .query_one(
            // By the catalog: to_regclass fails where the role may not use the schema.
            "SELECT count(*) = 3 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = 'pgtend' AND c.relname IN ('run', 'hold', 'request')",
            &[],
        )
        .await
        .context("look for schema pgtend")?;
    if let Some(stranger) = ours::stranger(client).await.context("look whose schema pgtend is")? {
        return Err(stranger.into());
    }
    Ok(row.get(0))
}

/// Closes what earlier runs of the job left open, and writes the row of the new one. The caller holds the job's lock.
/// Nothing comes back where this due time, or this request, is in the history already: also by another attempt, unless
/// that was an earlier one and ended badly. The attempts of a daemon that could not reach the database left no row.
///
/// # Errors
/// The history cannot be written.
pub async fn begin(client: &Client, run: &Beginning<'_>) -> Result<Option<RunId>> {
    client
        .execute(
            "UPDATE pgtend.run
             SET finished_at = $2, outcome = 'failed', details = details || pg_catalog.jsonb_build_object('daemon_died', true),
                 error = format('the daemon that ran this (pid %s on %s) died or lost its connection before the end', pid, host)
             WHERE job = $1 AND finished_at IS NULL",
            &[&run.job.as_str(), &run.started_at],
        )
        .await
        .context("close the runs that a dead daemon left open")?;
    let row = client
        .query_opt(
            "INSERT INTO pgtend.run (job, kind, trigger, host, pid, attempt, due_at, request_id, started_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8::text::uuid, $9
             WHERE NOT EXISTS (SELECT FROM pgtend.run r
                               WHERE r.job = $1 AND r.due_at = $7 AND (r.attempt >= $6 OR r.outcome = 'succeeded'))
             ON CONFLICT DO NOTHING RETURNING id",
            &[
                &run.job.as_str(),
                &run.kind,
                &run.trigger.as_str(),
                &run.host,
                &i32::try_from(std::process::id()).unwrap_or(i32::MAX),
                &run.attempt,
                &run.due_at,
                &run.request,
                &run.started_at,
            ],
        )
        .await
        .context("write the beginning of the run to the history")?;
    Ok(row.map(|row| RunId(row.get(0))))
}

/// # Errors
/// The history cannot be written.
pub async fn finish(
    client: &Client,
    id: RunId,
    at: DateTime<Utc>,
    outcome: Outcome,
    error: Option<&str>,
    details: &Value,
) -> Result<()> {
    let write = async |error: Option<&str>, details: &Value| {
        let sql = "UPDATE pgtend.run SET finished_at = $2, outcome = $3, error = $4, details = $5 WHERE id = $1";
        client.execute(sql, &[&id.0, &at, &outcome.as_str(), &error, &details]).await
    };
    let mut written = write(error, details).await;
    // A program may have said what the database's encoding lacks. How the run ended must not be lost with it.
    if written.as_ref().is_err_and(|error| error.code() == Some(&SqlState::UNTRANSLATABLE_CHARACTER)) {
        written = write(error.map(ascii).as_deref(), &in_ascii(details)).await;
    }
    written.context("write the end of the run to the history")?;
    Ok(())
}

fn ascii(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii() && letter != '\0' { letter } else { '?' }).collect()
}

fn in_ascii(value: &Value) -> Value {
    match value {
        Value::String(text) => ascii(text).into(),
        Value::Array(items) => items.iter().map(in_ascii).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (ascii(name), in_ascii(value))).collect())
        }
        other => other.clone(),
    }
}

/// Closes the runs of `jobs` whose daemon is gone, without asking for their locks.
///
/// # Errors
/// The history cannot be written.
pub async fn close_dead(client: &Client, jobs: &[&JobName], at: DateTime<Utc>) -> Result<Vec<(RunId, JobName)>> {
    let names: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
    let keys: Vec<i64> = jobs.iter().map(|job| lock::key(job)).collect();
    let rows = client
        .query(include_str!("close_dead.sql"), &[&names, &keys, &at])
        .await
        .context("close runs of dead daemons")?;
    Ok(rows.iter().map(|row| (RunId(row.get(0)), JobName(row.get(1)))).collect())
}

/// How each of `jobs` stands.
///
/// # Errors
/// The history cannot be read.
pub async fn standings(client: &Client, jobs: &[&JobName]) -> Result<HashMap<JobName, Standing>> {
    let names: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
    let rows = client.query(include_str!("standing.sql"), &[&names]).await.context("read the history")?;
    Ok(rows.iter().map(|row| (JobName(row.get("job")), standing(row))).collect())
}

/// A run, as a mark among those of its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub started_at: DateTime<Utc>,
    /// Nothing while it goes on.
    pub seconds: Option<f64>,
    pub outcome: Option<Outcome>,
}

/// The last two dozen runs of each of `jobs`, oldest first.
///
/// # Errors
/// The history cannot be read.
pub async fn pasts(client: &Client, jobs: &[&JobName]) -> Result<HashMap<JobName, Vec<Past>>> {
    let names: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
    let rows = client.query(include_str!("pasts.sql"), &[&names]).await.context("read the history")?;
    let mut pasts: HashMap<JobName, Vec<Past>> = HashMap::new();
    for row in rows {
        let (started_at, finished_at): (DateTime<Utc>, Option<DateTime<Utc>>) = (row.get(1), row.get(2));
        pasts.entry(JobName(row.get(0))).or_default().push(Past {
            started_at,
            seconds: finished_at.map(|end| seconds(end - started_at)),
            outcome: row.get::<_, Option<String>>(3).and_then(|word| Outcome::parse(&word)),
        });
    }
    Ok(pasts)
}

fn standing(row: &Row) -> Standing {
    let word = |column: &str| row.get::<_, Option<String>>(column);
    Standing {
        known: true,
        last_started_at: row.get("last_started_at"),
        last_finished_at: row.get("last_finished_at"),
        last_outcome: word("last_outcome").and_then(|word| Outcome::parse(&word)),
        last_error: row.get("last_error"),
        last_trigger: word("last_trigger").and_then(|word| Trigger::parse(&word)),
        last_attempt: row.get::<_, Option<i32>>("last_attempt").unwrap_or_default(),
        last_run_due_at: row.get("last_run_due_at"),
        last_died: row.get::<_, Option<bool>>("last_died").unwrap_or_default(),
        last_success_at: row.get("last_success_at"),
        succeeded_until: row.get("succeeded_until"),
        first_started_at: row.get("first_started_at"),
        last_due_at: row.get("last_due_at"),
        running_since: row.get("running_since"),
        running_on: row.get("running_on"),
        consecutive_failures: row.get("consecutive_failures"),
        known_since: None,
    }
}

/// The newest runs, of one job or of all, newest first.
///
/// # Errors
/// The history cannot be read.
pub async fn recent(client: &Client, database: &str, job: Option<&str>, limit: i64) -> Result<Vec<RunRecord>> {
    let rows = client
        .query(
            "SELECT id, job, kind, trigger, host, pid, attempt, due_at, started_at, finished_at, outcome, error, details
             FROM pgtend.run
             WHERE $1::text IS NULL OR job = $1 OR starts_with(job, $1 || '@')
             ORDER BY id DESC LIMIT $2",
            &[&job, &limit],
        )
        .await
        .context("read the history")?;
    Ok(rows
        .iter()
        .map(|row| {
            let started_at: DateTime<Utc> = row.get("started_at");
            let finished_at: Option<DateTime<Utc>> = row.get("finished_at");
            RunRecord {
                id: Some(RunId(row.get("id"))),
                job: JobName(row.get("job")),
                kind: row.get("kind"),
                database: database.into(),
                // A word that a newer version wrote is shown as the nearest we have.
                trigger: Trigger::parse(row.get("trigger")).unwrap_or(Trigger::Schedule),
                host: row.get("host"),
                pid: row.get("pid"),
                attempt: row.get("attempt"),
                due_at: row.get("due_at"),
                started_at,
                finished_at,
                duration_seconds: finished_at.map(|end| seconds(end - started_at)),
                outcome: row.get::<_, Option<String>>("outcome").and_then(|word| Outcome::parse(&word)),
                error: row.get("error"),
                details: row.get("details"),
            }
        })
        .collect())
}

/// Forgets what is older than `before`, a thousand rows at a time; says how many, and whether there is more. It stops after
/// some twenty thousand, a second's work: whoever has a backlog has other things to do as well.
///
/// # Errors
/// The history cannot be written.
pub async fn prune(client: &Client, before: DateTime<Utc>) -> Result<(i64, bool)> {
    const AT_ONCE: i64 = 1000;
    let mut gone = 0;
    for _ in 0..20 {
        let n: i64 = client
            .query_one(include_str!("prune.sql"), &[&before, &AT_ONCE])
            .await
            .context("prune the history")?
            .get(0);
        gone += n;
        if n < AT_ONCE {
            return Ok((gone, false));
        }
    }
    Ok((gone, true))
}

/// Seconds with their fraction; never negative, whatever the clock did meanwhile.
pub fn seconds(span: chrono::TimeDelta) -> f64 {
    span.to_std().unwrap_or_default().as_secs_f64()
}
