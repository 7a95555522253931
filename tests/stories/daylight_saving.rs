//! The two nights of the year on which the clock on the wall jumps, lived through by program and server.

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{Clock, Cluster, Daemon, Database, Pgtend, newest_major, wait_for_runs};

/// Berlin keeps the summer: its clocks jump at 01:00 UTC.
const JOBS: &str = r#"
[defaults]
timezone = "Europe/Berlin"

[jobs.half-past]
schedule = "30 2 * * *"
[jobs.half-past.sql]
statements = ["SELECT 1"]

[jobs.list]
schedule = "15,45 2 * * *"
[jobs.list.sql]
statements = ["SELECT 1"]

[jobs.step]
schedule = "*/30 2 * * *"
[jobs.step.sql]
statements = ["SELECT 1"]

[jobs.hourly]
schedule = "0 * * * *"
[jobs.hourly.sql]
statements = ["SELECT 1"]

# Not of Berlin: tells when the daemon has seen a quarter of an hour, whatever that is on the walls there.
[jobs.witness]
timezone = "UTC"
schedule = "*/15 * * * *"
[jobs.witness.sql]
statements = ["SELECT 1"]
"#;

struct Night {
    /// Its date in UTC; the walls of Berlin change at 01:00.
    date: &'static str,
    clock: Clock,
    daemon: Daemon,
    db: Database,
    _program: Pgtend,
}

impl Night {
    /// Ten minutes before its first quarter.
    async fn begin(date: &'static str) -> Self {
        let midnight: DateTime<Utc> = format!("{date}T00:00:00Z").parse().expect("a date");
        let clock = Clock::at(&(midnight - TimeDelta::minutes(10)).to_rfc3339());
        let db = Cluster::by(&clock, newest_major()).database().await;
        let program = Pgtend::tending(&db, JOBS).by(&clock);
        let daemon = program.daemon().ready().await;
        Self { date, clock, daemon, db, _program: program }
    }

    /// Goes from one quarter of an hour to the next, until the witness has run at each.
    async fn pass(&self, quarters: &[&str]) {
        let mut expected = Vec::new();
        for quarter in quarters {
            self.clock.set(&format!("{}T{quarter}:00Z", self.date));
            expected.push(format!("{} {quarter} schedule succeeded", &self.date[8..]));
            let expected: Vec<_> = expected.iter().map(String::as_str).collect();
            wait_for_runs(&self.db, &self.daemon, "witness", &expected).await;
        }
    }

    /// The job ran at these times, all of them on schedule, and at no others.
    async fn ran(&self, job: &str, due: &[&str]) {
        let expected: Vec<_> = due.iter().map(|due| format!("{} {due} schedule succeeded", &self.date[8..])).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        wait_for_runs(&self.db, &self.daemon, job, &expected).await;
    }
}

/// Every quarter until well after the change; at the last nothing but the witness runs, so that all else is over.
const QUARTERS: [&str; 10] = ["00:00", "00:15", "00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "02:00", "02:15"];

/// 02:00 becomes 03:00: no time between the two is ever shown.
#[tokio::test]
async fn what_the_spring_night_skips_runs_once_right_after_the_gap() {
    let night = Night::begin("2027-03-28").await;
    night.pass(&QUARTERS).await;
    night.ran("half-past", &["01:00"]).await;
    night.ran("list", &["01:00"]).await;
    night.ran("step", &["01:00"]).await;
    night.ran("hourly", &["00:00", "01:00", "02:00"]).await;
}

/// 03:00 becomes 02:00: every time between the two is shown twice, from 00:00 and from 01:00 UTC.
#[tokio::test]
async fn what_the_autumn_night_repeats_runs_once_and_an_hourly_job_each_hour() {
    let night = Night::begin("2027-10-31").await;
    night.pass(&QUARTERS).await;
    night.ran("half-past", &["00:30"]).await;
    night.ran("list", &["00:15", "00:45"]).await;
    night.ran("step", &["00:00", "00:30"]).await;
    night.ran("hourly", &["00:00", "01:00", "02:00"]).await;
}
