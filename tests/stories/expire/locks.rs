//! Others at work on the same rows, the same table, the same server: nobody waits for us, and nothing that lives is lost.

use pgtend::kinds::StopReason;
use pgtend::pg::batch::{Access, Cutoff, Deletion, Form};
use pgtend::pg::{Ident, TableName};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_extended_while_the_job_runs_lives() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}", ended(100))).await;
        let application = db.session().await;
        application
            .client
            .batch_execute("BEGIN; UPDATE sessions SET expires_at = 'infinity' WHERE id = 42")
            .await
            .unwrap();
        let job = db.job(EXPIRE_SESSIONS);
        let run = async { job.run().await };
        let extended = async {
            // The job has done the others, and has begun to wait for this one.
            until(&db, "SELECT count(*) FROM sessions", 1).await;
            application.client.batch_execute("COMMIT").await.unwrap();
        };
        let ((ended, report), ()) = tokio::join!(run, extended);
        assert_eq!(ended.outcome(), Outcome::Succeeded);
        assert_eq!(report.total(Counted::RowsDeleted), 99);
        assert_eq!(db.number("SELECT id::bigint FROM sessions").await, 42);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_stays_locked_is_reported_with_who_holds_it() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}", ended(100))).await;
        let application = db.session().await;
        application.client.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 42 FOR UPDATE").await.unwrap();
        let pid: i32 = application.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let job =
            db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(3));
        let (ended, report) = job.run().await;
        assert_eq!(ended.outcome(), Outcome::TimedOut);
        assert_eq!(report.total(Counted::RowsDeleted), 99);
        let failure = &report.failures[0];
        assert_eq!(failure.target, "public.sessions");
        assert!(failure.error.contains(&format!("pid {pid} (postgres, test)")), "{}", failure.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_locked_by_several_or_by_a_prepared_transaction_is_reported_too() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(3))).await;
    let (one, two) = (db.session().await, db.session().await);
    for link in [&one, &two] {
        link.client.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 1 FOR SHARE").await.unwrap();
    }
    let job =
        db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(3));
    let (_, report) = job.run().await;
    assert_eq!(report.failures[0].error.matches("pid ").count(), 2, "{}", report.failures[0].error);
    two.client.batch_execute("ROLLBACK").await.unwrap();
    one.client
        .batch_execute("ROLLBACK; BEGIN; SELECT FROM sessions WHERE id = 1 FOR UPDATE; PREPARE TRANSACTION 'lost'")
        .await
        .unwrap();
    let job =
        db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(3));
    let (_, report) = job.run().await;
    assert!(report.failures[0].error.contains("prepared transaction 'lost'"), "{}", report.failures[0].error);
    one.client.batch_execute("ROLLBACK PREPARED 'lost'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_locked_rows_with_one_time_than_a_batch_takes_do_not_hide_the_others() {
    let db = Scratch::new(SESSIONS).await;
    db.sql
        .client
        .batch_execute("INSERT INTO sessions SELECT n, '2026-01-01Z' FROM generate_series(1, 50) n")
        .await
        .unwrap();
    let application = db.session().await;
    application.client.batch_execute("BEGIN; SELECT FROM sessions WHERE id <= 10 FOR UPDATE").await.unwrap();
    let config = "tables = [{ table = 'sessions' }]\nbatch = { rows = 5 }";
    let job = db.job_at("postgres", config, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(3));
    let (_, report) = job.run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 40);
    assert!(report.failures[0].error.contains("10 rows"), "{}", report.failures[0].error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked_is_reported() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(3))).await;
    let application = db.session().await;
    application.client.batch_execute("BEGIN; LOCK TABLE sessions IN SHARE MODE").await.unwrap();
    let job =
        db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(3));
    let (_, report) = job.run().await;
    assert!(report.failures[0].error.contains("the table is locked by pid"), "{}", report.failures[0].error);
}

const TWO_TABLES: &str = "tables = [{ table = 'sessions' }, { table = 'other' }]";

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nobody_may_read_is_tried_until_the_time_is_over_and_spoils_no_other() {
    let db =
        Scratch::new(&format!("{SESSIONS}{} CREATE TABLE other AS SELECT expires_at FROM sessions;", ended(3))).await;
    let application = db.session().await;
    application.client.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let pid: i32 = application.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let job = db.job_at("postgres", TWO_TABLES, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(3));
    let (ended, report) = job.run().await;
    assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Partial, 3));
    let error = &report.failures[0].error;
    assert!(error.contains("lock was not had") && error.contains(&format!("pid {pid}")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_could_not_even_be_looked_at_is_done_once_it_is_free() {
    let db =
        Scratch::new(&format!("{SESSIONS}{} CREATE TABLE other AS SELECT expires_at FROM sessions;", ended(3))).await;
    let application = db.session().await;
    application.client.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let job = db.job(TWO_TABLES);
    let release = async {
        until_async(async || job.cx.report.snapshot().total(Counted::LockTimeouts) > 0).await;
        application.client.batch_execute("COMMIT").await.unwrap();
    };
    let ((ended, report), ()) = tokio::join!(job.run(), release);
    assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Succeeded, 6));
}

/// Waits for a condition that no SQL tells.
async fn until_async(condition: impl AsyncFn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(std::time::Instant::now() < limit, "it did not come about in a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_at_a_batch_and_the_next_run_finishes() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}{LIVING}", ended(1_000))).await;
        // The first batch commits; then the job rests for an hour, until it is stopped.
        let config = "tables = [{ table = 'sessions' }]\nbatch = { rows = 100, pause = '1h' }";
        let job = db.job_at("postgres", config, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(7_200));
        let stop = async {
            until(&db, "SELECT count(*) FROM sessions WHERE id > 0", 900).await;
            job.stopper.stop(StopReason::Shutdown);
        };
        let ((ended, report), ()) = tokio::join!(job.run(), stop);
        assert_eq!(ended.outcome(), Outcome::Cancelled);
        assert_eq!(report.total(Counted::RowsDeleted), 100);
        assert!(report.left_for_next_time.unwrap().contains("public.sessions (of 1000 rows)"));
        assert_eq!(db.job(EXPIRE_SESSIONS).run().await.1.total(Counted::RowsDeleted), 900);
        assert_eq!(db.number("SELECT count(*) FROM sessions").await, 4);
    }
}

/// With room for one connection only, so that the new one has to wait until the old one is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_lost_on_the_way_is_replaced() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(100))).await;
    let job = db.job(&format!("{EXPIRE_SESSIONS}\nbatch = {{ rows = 10, pause = '200ms' }}"));
    let run = async { job.run().await };
    let lost = async {
        until(&db, "SELECT least(count(*), 90) FROM sessions", 90).await;
        until(&db, "SELECT (count(*) < 90)::int::bigint FROM sessions", 1).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'pgtend/sessions'";
        assert_eq!(db.number(end).await, 1);
    };
    let ((ended, report), ()) = tokio::join!(run, lost);
    assert_eq!(ended.outcome(), Outcome::Succeeded, "{report:?}");
    assert_eq!(report.total(Counted::RowsDeleted), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_waits_for_a_replica_that_is_behind_and_then_goes_on() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(300))).await;
    let standby = db.standby().await;
    until(&db, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1).await;
    standby.client.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    db.sql.client.batch_execute("CREATE TABLE behind ()").await.unwrap();
    until(&db, "SELECT count(*) FROM pg_stat_replication WHERE replay_lag > '300 ms'", 1).await;
    let job = db.job("tables = [{ table = 'sessions' }]\nbatch = { rows = 100, max_replica_lag = '200ms' }");
    let resume = async {
        // It has asked twice, and deleted nothing in between.
        let asks = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgtend/sessions'
                    AND datname = current_database() AND query LIKE '%pg_stat_replication%'";
        until(&db, asks, 1).await;
        let first: String =
            db.sql.client.query_one(&asks.replace("count(*)", "max(query_start)::text"), &[]).await.unwrap().get(0);
        until(&db, &format!("{asks} AND query_start > '{first}'"), 1).await;
        assert_eq!(db.number("SELECT count(*) FROM sessions").await, 300);
        standby.client.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    };
    let ((_, report), ()) = tokio::join!(job.run(), resume);
    assert_eq!(report.total(Counted::RowsDeleted), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_the_role_may_not_see_are_said_once_and_not_waited_for() {
    let db =
        Scratch::new(&format!("{SESSIONS}{} CREATE ROLE blind LOGIN; GRANT ALL ON sessions TO blind;", ended(300)))
            .await;
    db.standby().await;
    until(&db, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1).await;
    let job = db.job_as("blind", "tables = [{ table = 'sessions' }]\nbatch = { rows = 100 }");
    let (_, report) = job.run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 300);
    assert!(report.warnings[0].contains("GRANT pg_monitor"), "{:?}", report.warnings);
}

/// Each form of a batch, on servers of any age, by an index and by blocks: stopped where it waits for a row that is being
/// extended, and let go on.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_way_a_batch_waits_for_a_row_that_is_extended_the_row_lives() {
    let due = |leaf: &str| Deletion {
        leaf: TableName::new("public", leaf).unwrap(),
        oid: 0,
        alias: Ident::new("sessions").unwrap(),
        time: "expires_at".into(),
        time_type: "timestamptz",
        cutoff: Cutoff::Instant("2026-06-15T12:00:00Z".parse().unwrap()),
        conditions: vec![],
        refused_by: vec![],
        followed_by: vec![],
        access: Access::Blocks,
        guarded: false,
        into: None,
        objects: None,
    };
    let deletion = due("sessions");
    let cases = [
        ("by index, eager", deletion.by_index(Form::Eager), "-infinity", None),
        ("by index, waiting", deletion.by_index(Form::Waiting), "-infinity", None),
        ("by blocks, eager", deletion.by_blocks(150_000, Form::Eager), "(0,0)", Some("(9,0)")),
        ("by blocks, waiting", deletion.by_blocks(150_000, Form::Waiting), "(0,0)", Some("(9,0)")),
        ("by blocks on 13, eager", deletion.by_blocks(130_000, Form::Eager), "(0,0)", Some("(9,0)")),
        ("by blocks on 13, waiting", deletion.by_blocks(130_000, Form::Waiting), "(0,0)", Some("(9,0)")),
        ("whole blocks", deletion.whole_blocks(), "(0,0)", Some("(9,0)")),
    ];
    for (name, sql, from, to) in cases {
        let db = Scratch::new(&format!("{SESSIONS}{}", ended(10))).await;
        let (application, batch) = (db.session().await, db.session().await);
        let pid: i32 = batch.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        application
            .client
            .batch_execute("BEGIN; UPDATE sessions SET expires_at = 'infinity' WHERE id = 5")
            .await
            .unwrap();
        let cutoff = chrono::DateTime::parse_from_rfc3339("2026-06-15T12:00:00Z").unwrap().to_utc();
        let run = async {
            let none: Vec<String> = vec![];
            match to {
                None => batch.client.query_one(&sql, &[&cutoff, &from, &100i64, &none]).await,
                Some(to) if name == "whole blocks" => batch.client.query_one(&sql, &[&cutoff, &from, &to]).await,
                Some(to) => batch.client.query_one(&sql, &[&cutoff, &from, &100i64, &to]).await,
            }
        };
        let extend = async {
            let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'");
            until(&db, &waits, 1).await;
            application.client.batch_execute("COMMIT").await.unwrap();
        };
        let (row, ()) = tokio::join!(run, extend);
        assert_eq!(row.unwrap().get::<_, i64>(1), 9, "{name}");
        assert_eq!(db.number("SELECT id::bigint FROM sessions").await, 5, "{name}");
    }
}
