//! The session that a run makes its partitions over.

use std::sync::Arc;
use std::time::Duration;

use pgtend::engine::lock::{self, Asked};
use pgtend::pg::{Access, Sessions};

use super::{context, july, make, partition};
use crate::support::{Cluster, majors, on_each_major, wait_until};

const EVENTS: &str = "CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at)";

#[tokio::test]
async fn one_session_serves_all_partitions() {
    for major in majors() {
        let cluster = Cluster::with(major, &[("log_statement", "all")]);
        let db = cluster.database().await;
        db.execute(EVENTS).await;
        let cx = context(&db);
        let august = partition(&cx, "events", "events_2026_08", "2026-08-01", "2026-09-01").await;
        make(&cx, &july(&cx, "events").await).await;
        let asked = |what: &str| {
            let log = cluster.log();
            log.lines().filter(|line| line.contains("LOG:") && line.contains(what)).count()
        };
        let all = || [asked("SET LOCAL statement_timeout"), asked("set_config"), asked("DISCARD")];
        let before = all();
        make(&cx, &august).await;
        // The time that is left is told before making it and before attaching it, and nothing is set up or cleaned.
        assert_eq!(all(), [before[0] + 2, before[1], before[2]], "PostgreSQL {major}");
        assert!(!before.contains(&0), "the log was read: {before:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_lost_between_two_partitions_is_replaced() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let cx = context(&db);
        let august = partition(&cx, "events", "events_2026_08", "2026-08-01", "2026-09-01").await;
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!(db.terminate("pgtend/partitions").await, 1);
        make(&cx, &august).await;
        assert_eq!(db.count("pg_inherits WHERE inhparent = 'events'::regclass").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_session_that_goes_on_sees_that_the_lock_was_lost() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let mut cx = context(&db);
        let database = Arc::clone(cx.pg.database());
        let Asked::Got(lock) = lock::ask(&database, &cx.job).await.unwrap() else { panic!("nobody else has it") };
        cx.pg = Sessions::new(database, "partitions", Access::ReadWrite, Duration::from_millis(300), cx.deadline)
            .within(lock.fence());
        make(&cx, &july(&cx, "events").await).await;
        lock.release().await;
        let mut refusal = String::new();
        wait_until("the session to be refused", async || match cx.kept_session().await {
            Ok(session) => {
                cx.leave(session).await;
                false
            }
            Err(error) => {
                refusal = error.to_string();
                true
            }
        })
        .await;
        assert!(refusal.contains("the job's lock was lost"), "{refusal}");
        assert!(cx.kept.lock().await.is_none());
    })
    .await;
}
