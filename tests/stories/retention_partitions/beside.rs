//! Others at work on the same tables: nobody waits long for us, nobody is failed for our sake, and who is in our way is
//! named. The interleavings are also those of PostgreSQL's own isolation tests of DETACH CONCURRENTLY and of foreign keys
//! between partitioned tables.

use std::process::Stdio;

use pgtend::run::Counted;

use super::dying::said_to_be_ours;
use super::*;
use crate::partitions::beside::Application;
use crate::support::{on_each_major, wait_until};

const READ: &str = "SELECT FROM events LIMIT 1";
const WRITE: &str = "INSERT INTO events (at) VALUES ('2026-06-15Z')";
const TABLES: &str = "{ table = 'events', keep = '4 months' }";
const DEFAULT: &str = "CREATE TABLE events_rest PARTITION OF events DEFAULT;";

async fn for_two_seconds(db: &Database) -> (Ended, Report) {
    job_as(db, "postgres", TABLES, Duration::from_secs(4)).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_keeps_a_partition_and_nobody_else_waits_for_it() {
    on_each_major(async |db| {
        for (isolation, statement) in [("REPEATABLE READ", READ), ("READ COMMITTED", WRITE)] {
            for default in ["", DEFAULT] {
                db.execute(&format!("DROP TABLE IF EXISTS events; {}{default}", events(1..=6))).await;
                let open = db.client().await;
                open.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; {statement}")).await.unwrap();
                let application = Application::at(&db, &[READ, WRITE]).await;
                let passes = statement == WRITE && default.is_empty();
                let (ended, report) = if passes { job(&db, TABLES).run().await } else { for_two_seconds(&db).await };
                if passes {
                    // It keeps no snapshot, so that nobody need wait for its end.
                    assert_eq!(ended.outcome(), Outcome::Succeeded, "{report:#?}");
                    open.batch_execute("COMMIT").await.unwrap();
                    application.end().await;
                    continue;
                }
                assert_eq!(ended.outcome(), Outcome::TimedOut, "{report:#?}");
                let error = &report.failures[0].error;
                assert!(error.contains(&pid(&open).await) && error.contains("its lock was not had"), "{error}");
                application.works().await;
                assert_eq!(db.count("events_1").await, 1);
                // Without a default partition it may have been begun, and then it is finished.
                open.batch_execute("COMMIT").await.unwrap();
                let report = succeed(&db, TABLES).await;
                application.end().await;
                assert_eq!(report.total(Counted::PartitionsDropped), 1);
                assert_eq!(attached(&db).await.iter().filter(|name| *name != "events_rest").count(), 5);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_detach_is_seen_in_the_plan_and_finished_first() {
    on_each_major(async |db| {
        db.execute(&format!("{} COMMENT ON TABLE events_3 IS 'mine'", events(1..=6))).await;
        // Somebody's own, which a time-out has broken off.
        let reader = db.client().await;
        reader.batch_execute(&format!("BEGIN; {READ}")).await.unwrap();
        let hand = db.client().await;
        let detach = "SET lock_timeout = '50ms'";
        hand.batch_execute(detach).await.unwrap();
        assert!(hand.batch_execute("ALTER TABLE events DETACH PARTITION events_3 CONCURRENTLY").await.is_err());
        assert_eq!((pending(&db).await, db.count("events").await), (1, 5));
        assert_eq!(planned(&db, TABLES).await, ["detach_partition public.events_3", "drop_partition public.events_1"]);
        let (_, report) = for_two_seconds(&db).await;
        assert_eq!(report.failures.len(), 2, "{report:#?}");
        assert!(report.failures[0].error.contains("its detaching is pending and is to be finished"), "{report:#?}");
        assert!(report.failures[0].error.contains(&pid(&reader).await), "{report:#?}");
        assert!(
            report.failures[1].error.contains("the detaching of public.events_3 is to be finished first"),
            "{report:#?}"
        );
        reader.batch_execute("COMMIT").await.unwrap();
        succeed(&db, TABLES).await;
        assert_eq!((pending(&db).await, db.count("events_3").await), (0, 1), "it is not ours to drop");
        assert_eq!(tables(&db, "events\\_%").await[..2], ["public.events_2 attached", "public.events_3"]);
        assert!(comment(&db, "events_3").await.unwrap().starts_with("mine\n\nWas a partition of public.events"));
        assert_eq!(planned(&db, "{ table = 'events', keep = '3 months' }").await, ["drop_partition public.events_2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_the_middle_sees_the_rows_to_its_end_and_writers_go_elsewhere() {
    // detach-partition-concurrently-1 and -2: repeatable read, read committed, and a prepared statement.
    on_each_major(async |db| {
        db.execute(&events(1..=6)).await;
        let (steady, committed) = (db.client().await, db.client().await);
        steady
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; PREPARE all_ AS SELECT count(*) FROM events")
            .await
            .unwrap();
        let count = async |client: &tokio_postgres::Client| -> i64 {
            let rows = client.simple_query("EXECUTE all_").await.unwrap();
            let tokio_postgres::SimpleQueryMessage::Row(row) = &rows[1] else { panic!("{rows:?}") };
            row.get(0).unwrap().parse().unwrap()
        };
        assert_eq!(count(&steady).await, 6);
        committed.batch_execute(&format!("BEGIN; {READ}")).await.unwrap();
        let run = async { job(&db, TABLES).run().await };
        let others = async {
            wait_until("the detaching to be pending", async || pending(&db).await == 1).await;
            assert_eq!(count(&steady).await, 6, "its snapshot has it");
            let next: i64 = committed.query_one("SELECT count(*) FROM events", &[]).await.unwrap().get(0);
            assert_eq!(next, 5, "its next one has not");
            assert!(
                committed.batch_execute("SAVEPOINT a; INSERT INTO events (at) VALUES ('2026-01-03Z')").await.is_err()
            );
            committed
                .batch_execute("ROLLBACK TO a; INSERT INTO events (at) VALUES ('2026-06-03Z'); COMMIT")
                .await
                .unwrap();
            assert_eq!(count(&steady).await, 6);
            steady.batch_execute("COMMIT").await.unwrap();
        };
        let ((ended, report), ()) = tokio::join!(run, others);
        assert_eq!((ended.outcome(), report.total(Counted::PartitionsDropped)), (Outcome::Succeeded, 1), "{report:#?}");
        assert_eq!(db.count("events").await, 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detach_whose_session_is_ended_or_cancelled_is_gone_on_with() {
    // detach-partition-concurrently-3 and -4: cancelled and terminated while it waits.
    on_each_major(async |db| {
        for how in ["pg_cancel_backend", "pg_terminate_backend"] {
            db.execute(&format!("DROP TABLE IF EXISTS events; {}", events(1..=6))).await;
            let reader = db.client().await;
            reader.batch_execute(&format!("BEGIN; {READ}")).await.unwrap();
            let run = async { job(&db, TABLES).run().await };
            let others = async {
                said_to_be_ours(&db, "events_1").await;
                let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgtend/retention' AND query LIKE '%CONCURRENTLY' AND state = 'active'";
                let ended: i64 = crate::support::wait_for("it to wait and be ended", async || {
                    let n: i64 = db.scalar(&format!("SELECT count({how}(pid)) FROM ({waits}) AS w")).await;
                    (n > 0).then_some(n)
                })
                .await;
                assert_eq!(ended, 1);
                wait_until("another try", async || pending(&db).await == 1).await;
                reader.batch_execute("COMMIT").await.unwrap();
            };
            let ((ended, report), ()) = tokio::join!(run, others);
            assert_eq!((ended.outcome(), report.total(Counted::PartitionsDropped)), (Outcome::Succeeded, 1), "{how}: {report:#?}");
            assert_eq!((db.count("events").await, tables(&db, "events\\_1").await.len()), (5, 0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_go_from_a_partition_to_its_table_are_no_victims() {
    on_each_major(async |db| {
        // With a default partition, since the lock on the parent is what such a reader meets.
        db.execute(&format!("{}{DEFAULT}", events(1..=6))).await;
        let application = Application::at(
            &db,
            &[
                "SELECT FROM events_2; SELECT FROM events",
                "BEGIN; SELECT FROM events_3; SELECT FROM events; COMMIT",
                WRITE,
            ],
        )
        .await;
        let reader = db.client().await;
        reader.batch_execute("BEGIN; SELECT FROM events_1").await.unwrap();
        let run = async { job(&db, TABLES).run().await };
        let others = async {
            wait_until("a try", async || {
                db.count("pg_locks WHERE NOT granted AND relation = 'events_1'::regclass").await > 0
            })
            .await;
            // It waits for the table while we wait for its partition, and is not the one to give way.
            reader.batch_execute("SELECT FROM events").await.unwrap();
            reader.batch_execute("COMMIT").await.unwrap();
        };
        let ((ended, report), ()) = tokio::join!(run, others);
        assert_eq!((ended.outcome(), report.total(Counted::PartitionsDropped)), (Outcome::Succeeded, 1), "{report:#?}");
        application.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_are_safe_from_a_detach_in_any_order() {
    // fk-partitioned-1 and -2: the referring row is inserted before, between and after.
    on_each_major(async |db| {
        let pair = "DROP TABLE IF EXISTS child, parent;
            CREATE TABLE parent (a int, at date, PRIMARY KEY (a, at)) PARTITION BY RANGE (at);
            CREATE TABLE parent_1 PARTITION OF parent FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
            CREATE TABLE parent_6 PARTITION OF parent FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
            INSERT INTO parent VALUES (1, '2026-01-02');
            CREATE TABLE child (a int, at date, FOREIGN KEY (a, at) REFERENCES parent);";
        let tables_ = "{ table = 'parent', keep = '4 months' }";
        let insert = "INSERT INTO child VALUES (1, '2026-01-02')";
        for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            for commits in [true, false] {
                db.execute(pair).await;
                let writer = db.client().await;
                writer.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; {insert}")).await.unwrap();
                let job = job_as(&db, "postgres", tables_, Duration::from_secs(20));
                let run = async { job.run().await };
                let end = async {
                    wait_until("a try that gave way", async || {
                        job.cx.report.snapshot().total(Counted::LockTimeouts) > 0
                    })
                    .await;
                    writer.batch_execute(if commits { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
                };
                let ((_, report), ()) = tokio::join!(run, end);
                let dropped = report.total(Counted::PartitionsDropped);
                assert_eq!((dropped, db.count("child").await), if commits { (0, 1) } else { (1, 0) }, "{report:#?}");
                assert_eq!(report.failures.iter().any(|f| f.error.contains("refers to it")), commits, "{report:#?}");
                // And one that comes afterwards finds no parent.
                let late = db.client().await.batch_execute(insert).await;
                assert_eq!(late.is_ok(), commits);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_dump_goes_on_and_is_named() {
    on_each_major(async |db| {
        for default in ["", DEFAULT] {
            db.execute(&format!("DROP TABLE IF EXISTS events; {}{default} INSERT INTO events (at) SELECT '2026-06-15Z' FROM generate_series(1, 100000)", events(1..=6))).await;
            let mut dump = db.cluster().program("pg_dump");
            dump.args(["--dbname", &db.conninfo()]).stdout(Stdio::piped());
            // Nobody reads what it writes, so it stands still in the middle, with all its locks.
            let dump = dump.spawn().unwrap();
            let locked = "pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'pg_dump' AND a.query LIKE 'COPY%' AND l.relation = 'events'::regclass";
            wait_until("the dump to have its locks", async || db.count(locked).await > 0).await;
            let pid: i32 = db.scalar(&format!("SELECT pid FROM {locked} LIMIT 1")).await;
            let (ended, report) = for_two_seconds(&db).await;
            assert_eq!(ended.outcome(), Outcome::TimedOut);
            assert!(report.failures[0].error.contains(&format!("pid {pid} (postgres, pg_dump)")), "{report:#?}");
            assert_eq!(db.count(locked).await, 1, "the dump still runs");
            let output = tokio::task::spawn_blocking(move || dump.wait_with_output().unwrap()).await.unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text.lines().filter(|line| line.contains("\t2026-0")).count(), 100_006);
            succeed(&db, TABLES).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_ours_keeps_schema_changes_away_by_its_key_alone() {
    on_each_major(async |db| {
        let key = pgtend::pg::exclusion::key();
        for (default, action) in [("", ""), (DEFAULT, ""), ("", ", action = 'detach'"), (DEFAULT, ", action = 'archive', to = 'old'")] {
            db.execute(&format!("DROP TABLE IF EXISTS events, events_1; DROP SCHEMA IF EXISTS old CASCADE; CREATE SCHEMA old; {}{default}", events(1..=6))).await;
            let dump = db.client().await;
            dump.execute("SELECT pg_advisory_lock_shared($1)", &[&key]).await.unwrap();
            let tables_ = format!("{{ table = 'events', keep = '4 months'{action} }}");
            let (ended, report) = job_as(&db, "postgres", &tables_, Duration::from_secs(3)).run().await;
            assert_eq!(ended.outcome(), Outcome::TimedOut);
            let error = &report.failures[0].error;
            assert!(error.contains("a dump, or another schema change of pgtend's, is at work") && error.contains(&format!("held by {}", pid(&dump).await.trim())), "{error}");
            assert_eq!((attached(&db).await.len(), comment(&db, "events_1").await), (if default.is_empty() { 6 } else { 7 }, None));
            dump.execute("SELECT pg_advisory_unlock_shared($1)", &[&key]).await.unwrap();
            succeed(&db, &tables_).await;
            assert_eq!(db.advisory_locks(true).await, 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_name_the_same_table_drop_each_partition_once() {
    on_each_major(async |db| {
        for default in ["", DEFAULT] {
            db.execute(&format!("DROP TABLE IF EXISTS events; {}{default}", events(1..=6))).await;
            let all = "{ table = 'events', keep = '1 month' }";
            let (one, two, three) = (job(&db, all), job(&db, all), job(&db, all));
            let done = tokio::join!(Box::pin(one.run()), Box::pin(two.run()), Box::pin(three.run()));
            let dropped: u64 =
                [&done.0, &done.1, &done.2].iter().map(|(_, report)| report.total(Counted::PartitionsDropped)).sum();
            for (ended, report) in [&done.0, &done.1, &done.2] {
                assert_eq!(ended.outcome(), Outcome::Succeeded, "{report:#?}");
            }
            assert_eq!((dropped, db.count("events").await), (4, 2));
        }
    })
    .await;
}
