//! The kind `retention` on partitioned tables: what goes, what stays, and beside whom.

mod beside;
mod by_hand;
pub mod dying;
mod fates;
mod held;
mod odd;
mod patience;
mod references;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use pgtend::kinds::drive::drive;
use pgtend::kinds::retention::policy::Retention;
use pgtend::kinds::{Applied, Context, Ended, Kind, Mode, Reporter, Stop};
use pgtend::pg::{Access, Conninfo, Database as Tended, Sessions};
use pgtend::run::{Finding, JobName, Outcome, Report, Step};
use tokio::time::Instant;

use crate::support::Database;

/// When these stories take place, unless they are about the program.
pub const NOW: &str = "2026-06-15T12:00:00Z";

/// What the daemon makes before it runs anything.
pub const SCHEMA: &str = include_str!("../../../src/engine/schema.sql");

/// A job in a database, at [`NOW`].
pub struct Job {
    pub kind: Retention,
    pub cx: Context,
}

pub fn job(db: &Database, tables: &str) -> Job {
    job_as(db, "postgres", tables, Duration::from_secs(30))
}

pub fn job_as(db: &Database, role: &str, tables: &str, timeout: Duration) -> Job {
    let kind: Retention = toml::from_str(&format!("tables = [{tables}]")).unwrap();
    let conninfo = Conninfo::parse(&db.url_as(role), None).unwrap();
    let database = Arc::new(Tended::new("main", conninfo, 4).unwrap());
    let deadline = Instant::now() + timeout;
    let lock_timeout = Duration::from_millis(300);
    let (stopper, stop) = Stop::pair();
    // Nobody stops these runs; the other end going away is no reason to.
    drop(stopper);
    let cx = Context {
        job: JobName("retention".into()),
        run: None,
        now: NOW.parse().unwrap(),
        timezone: chrono_tz::Tz::UTC,
        pg: Sessions::new(database, "retention", Access::ReadWrite, lock_timeout, deadline),
        stop,
        report: Reporter::default(),
        deadline,
        lock_timeout,
        apart: None,
        timeout: std::time::Duration::from_secs(3600),
        kept: Arc::default(),
        stores: Arc::default(),
    };
    Job { kind, cx }
}

impl Job {
    pub async fn run(&self) -> (Ended, Report) {
        let ended = drive(&self.kind, &self.cx, Mode::Apply).await.unwrap_or_else(|error| panic!("{error:#}"));
        (ended, self.cx.report.snapshot())
    }

    pub async fn plan(&self) -> Vec<Step> {
        drive(&self.kind, &self.cx, Mode::Rehearse).await.unwrap_or_else(|error| panic!("{error:#}")).steps
    }

    pub async fn check(&self) -> Vec<Finding> {
        self.kind.check(&self.cx).await.unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// Runs a job to a good end.
pub async fn succeed(db: &Database, tables: &str) -> Report {
    let (ended, report) = job(db, tables).run().await;
    assert_eq!((ended.outcome(), &report.failures[..]), (Outcome::Succeeded, &[][..]), "{report:#?}");
    report
}

/// Runs a job that fails, wholly or in part: the failures, as `TARGET: ERROR`.
pub async fn fail(db: &Database, tables: &str) -> Vec<String> {
    let (_, report) = job(db, tables).run().await;
    assert!(!report.failures.is_empty(), "{report:#?}");
    report.failures.iter().map(|failure| format!("{}: {}", failure.target, failure.error)).collect()
}

/// What a plan would do, as `ACTION TARGET`, without what it keeps and warns of.
pub async fn planned(db: &Database, tables: &str) -> Vec<String> {
    let steps = job(db, tables).plan().await;
    let steps = steps.iter().filter(|step| !["keep", "warn"].contains(&step.action));
    steps.map(|step| format!("{} {}", step.action, step.target)).collect()
}

/// `events` with a partition for each of these months of 2026, and a row on the second of each.
pub fn events(months: std::ops::RangeInclusive<u32>) -> String {
    let months: String = months
        .map(|m| {
            format!(
                "CREATE TABLE events_{m} PARTITION OF events FOR VALUES FROM ('2026-{m:02}-01Z') TO ('2026-{:02}-01Z');
                 INSERT INTO events (at) VALUES ('2026-{m:02}-02Z');",
                m + 1
            )
        })
        .collect();
    format!(
        "CREATE TABLE events (id serial, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);{months}"
    )
}

/// The tables of schema public and of schema old whose names are like this, and whether each is a partition.
pub async fn tables(db: &Database, like: &str) -> Vec<String> {
    db.column(&format!(
        "SELECT relnamespace::regnamespace || '.' || relname || CASE WHEN relispartition THEN ' attached' ELSE '' END
         FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE '{like}' AND relnamespace::regnamespace::text IN ('public', 'old') ORDER BY 1"
    ))
    .await
}

/// The partitions of `events` that are attached.
pub async fn attached(db: &Database) -> Vec<String> {
    db.column("SELECT c.relname::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'events'::regclass ORDER BY 1").await
}

pub async fn pending(db: &Database) -> i64 {
    db.count("pg_inherits i WHERE (to_jsonb(i) ->> 'inhdetachpending')::boolean").await
}

pub async fn comment(db: &Database, table: &str) -> Option<String> {
    db.scalar(&format!("SELECT obj_description('{table}'::regclass, 'pg_class')")).await
}

/// `pid 42` of a client.
pub async fn pid(client: &tokio_postgres::Client) -> String {
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    format!("pid {pid} ")
}
