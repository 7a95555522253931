//! What remains of a run: its row in the history, the answer to whoever asked for it, and one log line.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::lock::JobLock;
use super::runner::{Engine, Ring, labels};
use super::verdict::Verdict;
use super::{history, request};
use crate::config::Definition;
use crate::pg::{Limits, explain};
use crate::run::{Outcome, Report, RunId, RunRecord, Skip};
use crate::testpoint;

/// Of a connection that is made to write down how a run ended.
const LIMITS: Limits = Limits::new(Duration::from_secs(10), Duration::from_secs(5));

impl Engine {
    /// Writes the end of the run; over a new connection where the lock's is gone.
    pub(super) async fn finish(&self, ring: &Ring, lock: &JobLock, record: &RunRecord) {
        let (Some(id), Some(outcome), Some(at)) = (record.id, record.outcome, record.finished_at) else { return };
        let write = async |client: &tokio_postgres::Client| {
            let written = history::finish(client, id, at, outcome, record.error.as_deref(), &record.details);
            tokio::time::timeout(testpoint::patience(Duration::from_secs(10)), written)
                .await
                .context("no answer from the server in 10 s")?
        };
        if write(lock.client()).await.is_ok() {
            return;
        }
        let again = async {
            let (link, _) = self.database(&ring.job.database)?.connect("pgtend", LIMITS).await?;
            write(&link.client).await
        };
        if let Err(error) = again.await {
            self.history_failed(&ring.job, &error);
        }
    }

    pub(super) fn history_failed(&self, job: &Definition, error: &anyhow::Error) {
        self.shared.metrics.history_write_failed();
        tracing::error!(job = %job.name, database = %job.database, "the run goes on without a record: {}", explain(error));
    }

    pub(super) async fn answer(&self, ring: &Ring, id: &str, record: &RunRecord) {
        let why = record.error.as_deref().or_else(|| record.details.get("reason").and_then(serde_json::Value::as_str));
        let write = async {
            let (link, _) = self.database(&ring.job.database)?.connect("pgtend", LIMITS).await?;
            let at = record.finished_at.unwrap_or_else(|| self.shared.clock.host());
            let outcome = record.outcome.unwrap_or(Outcome::Failed);
            request::close(&link.client, id, at, outcome, record.skip(), why).await
        };
        let write = tokio::time::timeout(testpoint::patience(Duration::from_secs(10)), write);
        if let Err(error) = write.await.context("no answer from the server in 10 s").flatten() {
            tracing::warn!(job = %ring.job.name, "whoever asked for this run was not told how it ended: {}", explain(&error));
        }
    }

    /// Gives back requests that this daemon has taken and does not begin, so that another one may.
    pub async fn put_back(&self, database: &str, ids: &[&str]) {
        let taker = self.name();
        let write = async {
            let (link, _) = self.database(database)?.connect("pgtend", LIMITS).await?;
            request::put_back(&link.client, ids, &taker).await
        };
        let write = tokio::time::timeout(testpoint::patience(Duration::from_secs(10)), write);
        match write.await.context("no answer from the server in 10 s").flatten() {
            Ok(()) => tracing::info!(
                database,
                requests = ids.len(),
                "what was asked for and not begun is left to other daemons"
            ),
            Err(error) => tracing::warn!(
                database,
                "what was asked for is not run, and no other daemon was told: {}",
                explain(&error)
            ),
        }
    }

    /// Shows whoever has asked for a run that it still waits for its turn. Never ends.
    pub(super) async fn show_waiting(&self, ring: &Ring) -> Infallible {
        let Some(id) = &ring.request else { return std::future::pending().await };
        let taker = self.name();
        loop {
            tokio::time::sleep(testpoint::patience(request::SIGN)).await;
            let say = async {
                let (link, _) = self.database(&ring.job.database)?.connect("pgtend", LIMITS).await?;
                request::still_waits(&link.client, id, &taker).await
            };
            if let Err(error) = say.await {
                tracing::debug!(job = %ring.job.name, "whoever asked for this run was not told that it waits: {}", explain(&error));
            }
        }
    }

    pub(super) fn skipped(&self, ring: &Ring, started_at: DateTime<Utc>, skip: Skip, why: String) -> RunRecord {
        self.shared.metrics.ended(labels(&ring.job), Outcome::Skipped);
        let mut report = Report::default();
        report.fields.insert("skipped".into(), json!(skip));
        report.fields.insert("reason".into(), json!(why));
        self.record(ring, started_at, None, &Verdict { outcome: Outcome::Skipped, error: None, report })
    }

    pub(super) fn stopped_before(&self, ring: &Ring, started_at: DateTime<Utc>) -> RunRecord {
        self.skipped(ring, started_at, Skip::Shutdown, "it was asked to stop before it began".into())
    }

    pub(super) fn record(
        &self,
        ring: &Ring,
        started_at: DateTime<Utc>,
        id: Option<RunId>,
        result: &Verdict,
    ) -> RunRecord {
        let finished_at = self.shared.clock.host();
        RunRecord {
            id,
            job: ring.job.name.clone(),
            kind: ring.job.spec.kind().into(),
            database: ring.job.database.clone(),
            trigger: ring.trigger,
            host: self.host.clone(),
            pid: i32::try_from(std::process::id()).unwrap_or(i32::MAX),
            attempt: i32::try_from(ring.attempt).unwrap_or(i32::MAX),
            due_at: ring.due_at,
            started_at,
            finished_at: Some(finished_at),
            duration_seconds: Some(history::seconds(finished_at - started_at)),
            outcome: Some(result.outcome),
            error: result.error.clone(),
            details: result.report.details(),
        }
    }

    /// The one line that a run leaves in the log.
    pub(super) fn log(&self, ring: &Ring, record: &RunRecord) {
        let outcome = record.outcome.unwrap_or(Outcome::Failed);
        let seconds = record.duration_seconds.unwrap_or_default();
        let (job, kind, database, trigger) = (&record.job, &record.kind, &record.database, record.trigger);
        let attempt = ring.attempt;
        match (&record.error, record.details.get("reason").and_then(serde_json::Value::as_str)) {
            (Some(error), _) if outcome.is_bad() => {
                tracing::error!(%job, kind, database, %trigger, attempt, %outcome, seconds, details = %record.details, "{error}");
            }
            (_, Some(reason)) => tracing::info!(%job, kind, database, %trigger, %outcome, "{reason}"),
            _ => tracing::info!(%job, kind, database, %trigger, %outcome, seconds, details = %record.details, "done"),
        }
    }
}
