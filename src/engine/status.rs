//! How each job stands, for `status`, the status page, `/api/status` and the table that SIGUSR2 logs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::history::{Standing, seconds};
use super::schedule::{delay, missed};
use crate::config::Definition;
use crate::run::{JobName, Outcome, Trigger};

/// One job, as people and programs are told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    pub job: JobName,
    pub kind: &'static str,
    pub database: String,
    pub enabled: bool,
    /// Nothing: only by hand, or after another job.
    pub schedule: Option<String>,
    pub timezone: String,
    pub running_since: Option<DateTime<Utc>>,
    pub running_on: Option<String>,
    pub last_started_at: Option<DateTime<Utc>>,
    pub last_finished_at: Option<DateTime<Utc>>,
    pub last_outcome: Option<Outcome>,
    pub last_trigger: Option<Trigger>,
    pub last_error: Option<String>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub next_run_at: Option<DateTime<Utc>>,
    /// How long ago the newest due time was that no daemon has begun; 0 where all were.
    pub lag_seconds: f64,
    pub consecutive_failures: i64,
    /// Whether the last run went badly and will be tried again by itself.
    #[serde(skip)]
    pub tried_again: bool,
}

impl JobStatus {
    pub fn new(job: &Definition, standing: &Standing, now: DateTime<Utc>) -> Self {
        let last = standing.last_due_at.max(standing.last_started_at);
        let schedule = job.schedule.as_ref().filter(|_| job.enabled);
        let delay = delay(job);
        let owed = schedule.zip(last).and_then(|(cron, last)| missed(cron, job.timezone, last, now - delay));
        Self {
            job: job.name.clone(),
            kind: job.spec.kind(),
            database: job.database.clone(),
            enabled: job.enabled,
            schedule: job.schedule.as_ref().map(ToString::to_string),
            timezone: job.timezone.name().into(),
            running_since: standing.running_since,
            running_on: standing.running_on.clone(),
            last_started_at: standing.last_started_at,
            last_finished_at: standing.last_finished_at,
            last_outcome: standing.last_outcome,
            last_trigger: standing.last_trigger,
            last_error: standing.last_error.clone(),
            last_success_at: standing.last_success_at,
            next_run_at: schedule.and_then(|cron| Some(cron.next_after(now - delay, job.timezone)? + delay)),
            lag_seconds: owed.map(|due| seconds(now - due)).unwrap_or_default(),
            consecutive_failures: standing.consecutive_failures,
            tried_again: standing.last_outcome.zip(standing.last_trigger).is_some_and(|(outcome, trigger)| {
                job.tries_again(outcome, trigger, u32::try_from(standing.last_attempt).unwrap_or_default())
            }),
        }
    }

    /// All of `jobs`, those without history included.
    pub fn all<'a>(
        jobs: impl IntoIterator<Item = &'a Definition>,
        standings: &HashMap<JobName, Standing>,
        now: DateTime<Utc>,
    ) -> Vec<Self> {
        let none = Standing::default();
        jobs.into_iter().map(|job| Self::new(job, standings.get(&job.name).unwrap_or(&none), now)).collect()
    }
}
