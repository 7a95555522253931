//! What the history says of when a run was due, and which jobs are never due.

use chrono::{TimeZone as _, Utc};

use crate::support::{Cluster, Pgtend, newest_major};

/// Jitter spreads the load; what a run is called by is the time in the schedule, the same on every daemon.
#[tokio::test]
async fn a_run_is_recorded_as_due_before_its_jitter() {
    let db = Cluster::shared(newest_major()).database().await;
    // The name decides the share of the jitter that it waits: one that waits is asked for, and found by trying.
    let jobs = r#"
        [jobs.late]
        schedule = "0 0 1 * *"
        jitter = "20m"
        [jobs.late.sql]
        statements = ["insert into ran select clock_timestamp()"]
    "#;
    db.execute("create table ran (at timestamptz)").await;
    let program = Pgtend::tending(&db, jobs).with_clock("@2026-03-31 23:59:50");
    let daemon = program.daemon().ready().await;
    let next = daemon
        .wait_for("the next run", async || {
            daemon.metric("pgtend_job_next_run_timestamp_seconds", &[("job", "late")]).await
        })
        .await;
    let due = Utc.with_ymd_and_hms(2026, 4, 1, 0, 0, 0).unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "a time stamp in seconds")]
    let rings = Utc.timestamp_opt(next as i64, 0).unwrap();
    assert!(rings > due && rings < due + chrono::TimeDelta::minutes(20), "{rings}");

    // Its schedule's time has come, its own has not.
    program.set_clock("@2026-04-01 00:00:00");
    daemon
        .wait_until("a beat at that time", async || {
            let page = daemon.http_get("/").await.body;
            page.contains("2026-04-01 00:00:0")
        })
        .await;
    assert_eq!(db.runs("late").await, []);
    program.set_clock(&rings.format("@%Y-%m-%d %H:%M:%S").to_string());
    let run = &db.wait_for_ended("late", 1).await[0];
    assert_eq!((run.trigger.as_str(), run.due_at), ("schedule", Some(due)));
    assert!(run.started_at >= rings, "{}", run.started_at);
}

#[tokio::test]
async fn a_disabled_job_is_not_due() {
    let db = Cluster::shared(newest_major()).database().await;
    let jobs = r#"
        [jobs.on]
        schedule = "* * * * * *"
        [jobs.on.sql]
        statements = ["select 1"]
        [jobs.off]
        schedule = "* * * * * *"
        enabled = false
        [jobs.off.sql]
        statements = ["select 1"]
    "#;
    let program = Pgtend::tending(&db, jobs);
    let daemon = program.daemon().ready().await;
    db.wait_for_ended("on", 2).await;
    assert_eq!(db.runs("off").await, []);
    assert_eq!(daemon.metric("pgtend_job_next_run_timestamp_seconds", &[("job", "off")]).await, None);
    // By hand it runs like any other.
    program.run(["run", "off"]).await.exits(0);
    assert_eq!(db.outcomes("off").await, ["succeeded"]);
}
