//! How each job stands, for `status`, the status page, `/api/status` and the table that SIGUSR2 logs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::history::{Standing, seconds};
use super::schedule::Times;
use super::take_up::will_be_tried_again;
use crate::config::Definition;
use crate::run::{JobName, Outcome, Trigger};

/// One job, as people and programs are told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    pub job: JobName,
    pub kind: &'static str,
    pub database: String,
    pub enabled: bool,
    /// Whether its history could be read. Where not, nothing of what follows about its runs is known.
    pub known: bool,
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
    /// How long ago the newest due time was that no daemon has begun; 0 where all were. No number, in JSON null, where that is
    /// not known.
    pub lag_seconds: f64,
    pub consecutive_failures: i64,
    /// Whether the last run went badly and will be tried again by itself.
    #[serde(skip)]
    pub tried_again: bool,
}

/// By when the job should have succeeded next: its first due time since it last did, jitter included. In the past, it is
/// overdue, by its own schedule and however it came to be. A job that never succeeded is counted from its first run; one that
/// never ran, from when this daemon came to know it. Nothing without a schedule, or where the job is off.
pub fn success_due(job: &Definition, standing: &Standing, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    owed(Times::of(job).filter(|_| job.enabled)?, standing, now)
}

fn owed(times: Times<'_>, standing: &Standing, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let since = standing.settled(standing.succeeded_until.or(standing.first_started_at));
    Some(times.next_after(since.unwrap_or(now - times.delay))? + times.delay)
}

/// So late, a run is not merely waiting for its turn.
const LATE: f64 = 600.0;

impl JobStatus {
    /// Whether it was due so long ago that somebody should know.
    pub fn is_overdue(&self) -> bool {
        self.lag_seconds > LATE && self.running_since.is_none()
    }

    pub fn new(job: &Definition, standing: &Standing, now: DateTime<Utc>) -> Self {
        let last = standing.settled(standing.last_due_at.max(standing.last_started_at));
        let times = Times::of(job).filter(|_| job.enabled);
        let owed = times.zip(last).and_then(|(times, last)| times.newest_in(last, now - times.delay));
        Self {
            job: job.name.clone(),
            kind: job.spec.kind(),
            database: job.database.clone(),
            enabled: job.enabled,
            known: standing.known,
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
            next_run_at: times.and_then(|times| times.rings_after(now)),
            lag_seconds: if standing.known { owed.map_or(0.0, |due| seconds(now - due)) } else { f64::NAN },
            consecutive_failures: standing.consecutive_failures,
            tried_again: will_be_tried_again(job, standing, now),
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use chrono_tz::Tz;

    use super::super::shared::KnownSince;
    use super::*;
    use crate::config;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-07-{text}Z").parse().unwrap()
    }

    fn since(text: &str, changed: bool) -> Option<KnownSince> {
        Some(KnownSince { at: at(text), changed })
    }

    /// Of a job at three each night, five minutes late by its jitter.
    fn nightly(standing: &Standing, now: &str) -> String {
        let cron = "0 3 * * *".parse().unwrap();
        let times = Times { cron: &cron, zone: Tz::UTC, delay: TimeDelta::minutes(5), window: None };
        owed(times, standing, at(now)).unwrap().format("%dT%H:%M").to_string()
    }

    /// The same, as it stands at the given time.
    fn due(succeeded_until: Option<&str>, first_started_at: Option<&str>, now: &str) -> String {
        let standing = Standing {
            succeeded_until: succeeded_until.map(at),
            first_started_at: first_started_at.map(at),
            ..Standing::default()
        };
        nightly(&standing, now)
    }

    #[test]
    fn success_is_due_at_the_first_time_since_the_last_one() {
        assert_eq!(due(Some("01T03:07:00"), Some("01T03:05:00"), "01T12:00:00"), "02T03:05");
        // However many times went by, and whatever time it is: it has been overdue since the first of them.
        assert_eq!(due(Some("01T03:07:00"), Some("01T03:05:00"), "09T12:00:00"), "02T03:05");
        // By hand, in the middle of the day.
        assert_eq!(due(Some("08T15:00:00"), Some("01T03:05:00"), "09T01:00:00"), "09T03:05");
    }

    #[test]
    fn a_job_that_never_succeeded_is_overdue_from_its_second_time_on() {
        assert_eq!(due(None, Some("01T03:05:00"), "05T12:00:00"), "02T03:05");
    }

    #[test]
    fn a_job_that_never_ran_owes_nothing_to_who_has_just_come() {
        assert_eq!(due(None, None, "05T12:00:00"), "06T03:05");
        assert_eq!(due(None, None, "05T03:04:00"), "05T03:05", "its time has passed, its jitter has not");
    }

    #[test]
    fn a_job_that_never_ran_is_overdue_once_its_time_has_passed_a_daemon_that_knew_it() {
        let standing = Standing { known_since: since("05T12:00:00", false), ..Standing::default() };
        let by = |now| nightly(&standing, now);
        assert_eq!(by("05T13:00:00"), "06T03:05");
        assert_eq!(by("09T13:00:00"), "06T03:05");
    }

    #[test]
    fn what_a_reload_has_moved_owes_nothing_of_the_time_before_and_what_a_start_has_found_does() {
        let ran = |known_since| Standing {
            succeeded_until: Some(at("01T01:00:00")),
            last_due_at: Some(at("01T01:00:00")),
            known_since,
            ..Standing::default()
        };
        assert_eq!(nightly(&ran(since("01T12:00:00", true)), "01T13:00:00"), "02T03:05");
        assert_eq!(nightly(&ran(since("01T12:00:00", false)), "01T13:00:00"), "01T03:05");
        assert_eq!(nightly(&ran(None), "01T13:00:00"), "01T03:05");
    }

    #[test]
    fn a_run_that_ended_before_its_due_time_by_a_clock_that_was_behind_was_that_times_run() {
        // `succeeded_until` is then the due time itself.
        assert_eq!(due(Some("02T03:00:00"), Some("01T03:05:00"), "02T04:00:00"), "03T03:05");
    }

    #[test]
    fn times_outside_of_the_window_are_neither_owed_nor_next() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let text = "[databases.main]\nurl = \"postgresql://a@b/c\"\n[jobs.chore]\nschedule = \"17 * * * *\"\n\
                    window = \"03:00-05:00\"\n[jobs.chore.sql]\nstatements = [\"SELECT 1\"]\n";
        std::fs::write(file.path(), text).unwrap();
        let job = config::load(file.path()).unwrap().jobs.remove(0);
        let standing = Standing {
            known: true,
            last_due_at: Some(at("01T04:17:00")),
            last_started_at: Some(at("01T04:17:01")),
            succeeded_until: Some(at("01T04:17:09")),
            ..Standing::default()
        };
        let status = |now| JobStatus::new(&job, &standing, at(now));
        let day = status("01T17:30:00");
        assert_eq!((day.is_overdue(), day.lag_seconds), (false, 0.0));
        assert_eq!(day.next_run_at, Some(at("02T03:17:00")));
        assert_eq!(success_due(&job, &standing, at("01T17:30:00")), Some(at("02T03:17:00")));
        // What its window has let pass is owed, by day too.
        assert!(status("02T03:30:00").is_overdue());
        assert_eq!(status("02T12:17:00").lag_seconds, 8.0 * 3600.0);

        let unread = JobStatus::new(&job, &Standing::default(), at("02T12:17:00"));
        let told = serde_json::to_value(&unread).unwrap();
        assert_eq!((&told["known"], &told["lag_seconds"]), (&false.into(), &serde_json::Value::Null));
        assert!(!unread.is_overdue());
    }
}
