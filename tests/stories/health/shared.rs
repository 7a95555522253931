//! One daemon reads, all show it, and a scrape asks no database.

use super::{job, of, readings, run, watching};
use crate::support::{Cluster, Pgtend, newest_major};

const KEYS: &str = "collect = ['table_sizes', 'wraparound', 'replication_slots']";

#[tokio::test]
async fn a_daemon_that_never_runs_the_job_shows_what_another_has_read() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t (n int); insert into t select generate_series(1, 20000)").await;
    let program = watching(&db, KEYS);
    run(&program, 0).await;
    let read = readings(&db).await;
    let size = of(&read, "table_size_bytes", "public.t").unwrap();
    let daemon = program.daemon().ready().await;
    let table = [("job", "watch"), ("kind", "health"), ("database", "main"), ("table", "public.t")];
    daemon.wait_for_metric("pgtend_table_size_bytes", &table, size).await;
    daemon.wait_for_metric("pgtend_xid_age", &[("job", "watch")], of(&read, "xid_age", "").unwrap()).await;
    let at: f64 = db.scalar("select trunc(extract(epoch from taken_at))::float8 from pgtend.reading").await;
    daemon.wait_for_metric("pgtend_health_reading_timestamp_seconds", &[("job", "watch")], at).await;
    let text = daemon.http_get("/metrics").await.body;
    let line = text.lines().find(|line| line.starts_with("pgtend_xid_age{")).unwrap();
    assert!(line.starts_with("pgtend_xid_age{database=\"main\",job=\"watch\",kind=\"health\"} "), "{line}");
    assert_eq!(daemon.metric("pgtend_job_runs_total", &[("job", "watch")]).await, Some(0.0), "it ran nothing itself");
}

#[tokio::test]
async fn what_was_read_is_shown_while_the_database_is_gone() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    db.execute("create table t (n int); insert into t select generate_series(1, 20000)").await;
    let program = watching(&db, KEYS).env("PGTEND_HURRY", "20");
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    db.wait_for_ended("watch", 1).await;
    let size = of(&readings(&db).await, "table_size_bytes", "public.t").unwrap();
    let table = [("table", "public.t")];
    daemon.wait_for_metric("pgtend_table_size_bytes", &table, size).await;
    cluster.stop();
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
    assert_eq!(daemon.metric("pgtend_table_size_bytes", &table).await, Some(size));
    cluster.start();
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
    // What is gone from the next reading is gone from the metrics.
    db.execute("drop table t").await;
    daemon.signal(libc::SIGUSR1);
    db.wait_for_ended("watch", 2).await;
    daemon
        .wait_until("the table to be gone", async || daemon.metric("pgtend_table_size_bytes", &table).await.is_none())
        .await;
}

/// The reading itself is replicated; how far behind it is only the standby knows.
#[tokio::test]
async fn a_standby_shows_the_primarys_readings_and_its_own_lag() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    db.execute("create table t (n int); insert into t select generate_series(1, 20000)").await;
    let standby = cluster.standby();
    // It takes connections before it follows.
    let follows = "select count(*) from pg_stat_replication where state = 'streaming'";
    crate::support::wait_until("the standby to follow", async || db.scalar::<i64>(follows).await == 1).await;
    let program = watching(&db, KEYS);
    run(&program, 0).await;
    let read = readings(&db).await;
    assert_eq!(super::labels(&read, "standby_lag_bytes"), ["walreceiver"], "{read:?}");
    let there = crate::support::Database::named(standby.clone(), db.name());
    let other = Pgtend::tending(&there, &job(KEYS)).env("PGTEND_HURRY", "20");
    let daemon = other.daemon().ready().await;
    let size = of(&read, "table_size_bytes", "public.t").unwrap();
    daemon.wait_for_metric("pgtend_table_size_bytes", &[("table", "public.t")], size).await;
    daemon.wait_for_metric("pgtend_replay_lag_bytes", &[("job", "watch")], 0.0).await;
    let record = other.run(["run", "watch", "--json"]).await.json().remove(0);
    assert_eq!(record["details"]["skipped"], "standby", "{record}");
}
