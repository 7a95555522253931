//! What there is to tell of a job, by how it stands and by what was told last. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::config::{NotifyFormat, NotifyOn};
use crate::engine::JobStatus;
use crate::period::human;
use crate::run::{JobName, Outcome};

/// What of an error is sent; the history has all of it.
const LETTERS: usize = 1_000;

pub const WELL: &str = "well";
const FAILING: &str = "failing";
const OVERDUE: &str = "overdue";

/// Something to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub job: JobName,
    pub event: NotifyOn,
    /// What has been told then.
    pub state: &'static str,
    before: String,
    kind: &'static str,
    database: String,
    outcome: Option<Outcome>,
    error: Option<String>,
    consecutive_failures: i64,
    last_success_at: Option<DateTime<Utc>>,
    lag: Duration,
    at: DateTime<Utc>,
}

/// Nothing where nothing has changed since `told`.
pub fn notice(job: &JobStatus, told: &str, now: DateTime<Utc>) -> Option<Notice> {
    let lag = Duration::try_from_secs_f64(job.lag_seconds).unwrap_or_default();
    let bad =
        job.last_outcome.is_some_and(|last| matches!(last, Outcome::Failed | Outcome::Partial | Outcome::TimedOut));
    let state = if job.is_overdue() {
        OVERDUE
    } else if job.consecutive_failures > 0 && bad {
        FAILING
    } else if job.last_outcome.is_some_and(|last| last == Outcome::Succeeded) || told == OVERDUE {
        WELL
    } else {
        // Cancelled by a stop, or never run: no news.
        return None;
    };
    if state == FAILING && job.tried_again {
        // As long as it will be tried again, it has not failed.
        return None;
    }
    let event = match (told, state) {
        (before, after) if before == after => return None,
        (_, FAILING) => NotifyOn::Failure,
        (_, OVERDUE) => NotifyOn::Overdue,
        _ => NotifyOn::Recovery,
    };
    Some(Notice {
        job: job.job.clone(),
        event,
        state,
        before: told.into(),
        kind: job.kind,
        database: job.database.clone(),
        outcome: job.last_outcome,
        error: job.last_error.as_ref().filter(|_| bad).map(|error| error.chars().take(LETTERS).collect()),
        consecutive_failures: job.consecutive_failures,
        last_success_at: job.last_success_at,
        lag,
        at: now,
    })
}

impl Notice {
    /// What was told before, by which this is news.
    pub fn before(&self) -> &str {
        &self.before
    }

    fn sentence(&self) -> String {
        let (job, database) = (&self.job, &self.database);
        match self.event {
            NotifyOn::Failure => {
                let outcome = self.outcome.map_or("failed", Outcome::as_str).replace('_', " ");
                let error = self.error.as_deref().unwrap_or("no error was recorded");
                format!("{job} ({}, database {database}) {outcome}: {error}", self.kind)
            }
            NotifyOn::Overdue => {
                format!(
                    "{job} ({}, database {database}) was due {} ago, and no daemon has begun it",
                    self.kind,
                    human(self.lag)
                )
            }
            NotifyOn::Recovery => format!("{job} ({}, database {database}) goes well again", self.kind),
        }
    }

    /// What is sent.
    pub fn body(&self, format: NotifyFormat, host: &str) -> Value {
        match format {
            NotifyFormat::Slack => {
                // What Slack would read as markup or as a name is nothing of the kind here.
                let text = self.sentence().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                json!({ "text": format!("pgtend: {text}") })
            }
            NotifyFormat::Json => json!({
                "event": self.event,
                "job": self.job,
                "kind": self.kind,
                "database": self.database,
                "host": host,
                "at": self.at,
                "outcome": self.outcome,
                "error": self.error,
                "consecutive_failures": self.consecutive_failures,
                "last_success_at": self.last_success_at,
                "lag_seconds": self.lag.as_secs(),
                "text": self.sentence(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job whose last run ended so, `failures` of which in a row went badly, `lag` minutes late.
    fn job(outcome: Option<Outcome>, failures: i64, lag: u32, tried_again: bool) -> JobStatus {
        JobStatus {
            job: JobName("nightly".into()),
            kind: "sql",
            database: "main".into(),
            enabled: true,
            known: true,
            schedule: None,
            timezone: "UTC".into(),
            running_since: None,
            running_on: None,
            last_started_at: None,
            last_finished_at: None,
            last_outcome: outcome,
            last_trigger: None,
            last_error: outcome.filter(|one| one.is_bad()).map(|_| "no <room>".into()),
            last_success_at: None,
            next_run_at: None,
            lag_seconds: f64::from(lag * 60),
            consecutive_failures: failures,
            tried_again,
        }
    }

    fn said(job: &JobStatus, told: &str) -> String {
        notice(job, told, DateTime::UNIX_EPOCH)
            .map_or("nothing".into(), |one| format!("{}: {}", one.event.as_str(), one.sentence()))
    }

    #[test]
    fn what_has_changed_is_told_and_nothing_twice() {
        use Outcome::{Cancelled, Failed, Partial, Succeeded};
        let (well, bad) = (job(Some(Succeeded), 0, 0, false), job(Some(Failed), 3, 0, false));
        assert_eq!(said(&well, WELL), "nothing");
        assert_eq!(said(&bad, WELL), "failure: nightly (sql, database main) failed: no <room>");
        assert_eq!(said(&bad, FAILING), "nothing");
        assert_eq!(said(&well, FAILING), "recovery: nightly (sql, database main) goes well again");
        assert_eq!(
            said(&job(Some(Partial), 1, 0, false), WELL),
            "failure: nightly (sql, database main) partial: no <room>"
        );
        let late = job(Some(Succeeded), 0, 11, false);
        assert_eq!(
            said(&late, WELL),
            "overdue: nightly (sql, database main) was due 11 min ago, and no daemon has begun it"
        );
        assert_eq!(said(&late, OVERDUE), "nothing");
        assert_eq!(said(&well, OVERDUE), "recovery: nightly (sql, database main) goes well again");
        assert_eq!(said(&job(Some(Succeeded), 0, 9, false), WELL), "nothing");
        assert_eq!(
            said(&job(Some(Failed), 1, 11, false), FAILING),
            "overdue: nightly (sql, database main) was due 11 min ago, and no daemon has begun it"
        );
        // Late, then begun and failed: that is another thing to know.
        assert_eq!(said(&bad, OVERDUE), "failure: nightly (sql, database main) failed: no <room>");
        // A stop of the daemon is nobody's failure, and mends none.
        assert_eq!(said(&job(Some(Cancelled), 1, 0, false), WELL), "nothing");
        assert_eq!(said(&job(Some(Cancelled), 2, 0, false), FAILING), "nothing");
        assert_eq!(said(&job(None, 0, 0, false), WELL), "nothing");
    }

    #[test]
    fn what_will_be_tried_again_has_not_failed_yet() {
        assert_eq!(said(&job(Some(Outcome::Failed), 1, 0, true), WELL), "nothing");
        assert_eq!(said(&job(Some(Outcome::Failed), 1, 0, true), FAILING), "nothing");
    }

    #[test]
    fn what_is_sent_has_no_markup_of_others() {
        let notice = notice(&job(Some(Outcome::Failed), 1, 0, false), WELL, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(
            notice.body(NotifyFormat::Slack, "host"),
            json!({ "text": "pgtend: nightly (sql, database main) failed: no &lt;room&gt;" })
        );
        let body = notice.body(NotifyFormat::Json, "host");
        assert_eq!(
            (&body["event"], &body["job"], &body["error"]),
            (&json!("failure"), &json!("nightly"), &json!("no <room>"))
        );
    }
}
