//! Looking without touching: what `plan` and `check` are given instead of a run.

use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::Engine;
use crate::clock::{Clock, Reading};
use crate::config::Definition;
use crate::kinds::{Context, Ended, Mode, Reporter, Stop};
use crate::pg::{Access, Database, Sessions};
use crate::run::Report;

impl Engine {
    /// What the job would do now, or as of `at`; the sessions it gets can only read.
    ///
    /// # Errors
    /// The database cannot be reached, or the plan cannot be made.
    pub async fn rehearse(&self, job: &Definition, at: Option<DateTime<Utc>>) -> Result<(Ended, Report)> {
        let cx = self.read_only(job, at).await?;
        let ended = job.spec.drive(&cx, Mode::Rehearse).await?;
        Ok((ended, cx.report.snapshot()))
    }

    /// A context for looking: read-only sessions, no lock, no history.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn read_only(&self, job: &Definition, at: Option<DateTime<Utc>>) -> Result<Context> {
        self.looking(job, self.database(&job.database)?, at).await
    }

    /// The same for the gauges, over a connection that no run has.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn observing(&self, job: &Definition) -> Result<Context> {
        self.looking(job, self.observed(&job.database)?, None).await
    }

    async fn looking(&self, job: &Definition, database: &Arc<Database>, at: Option<DateTime<Utc>>) -> Result<Context> {
        database.refuse_transaction_pooler().await?;
        let deadline = Instant::now() + job.timeout;
        let pg = Sessions::new(Arc::clone(database), job.name.as_str(), Access::ReadOnly, job.lock_timeout, deadline);
        let session = pg.open().await?;
        let clock = at.map_or(self.shared.clock, Clock::Fixed);
        let Reading { now, apart } = clock.database(&session).await?;
        session.close().await;
        let (_, stop) = Stop::pair();
        let report = Reporter::default();
        let (timezone, timeout, lock_timeout) = (job.timezone, job.timeout, job.lock_timeout);
        let stores = Arc::clone(&self.stores);
        let kept = Arc::default();
        let (job, run) = (job.name.clone(), None);
        Ok(Context { job, run, now, apart, timezone, pg, stores, stop, report, deadline, timeout, lock_timeout, kept })
    }
}
