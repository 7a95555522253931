//! Others at work on the log and on the summary: each way in which two steps lose rows or count them twice, done in one.

use super::*;
use crate::support::{on_newest_or_all, wait_until};

/// A config with `n` jobs that count the same log, `errors_0` and so on.
fn several(db: &Database, n: usize, keys: &str) -> Pgtend {
    let jobs: Vec<_> = (0..n).map(|n| job(&format!("errors_{n}"), keys)).collect();
    Pgtend::tending(db, &jobs.concat())
}

/// Runs each of the jobs in a process of its own, all at once, until each has succeeded.
async fn all_at_once(program: &Pgtend, n: usize) {
    let runs: Vec<_> = (0..n).map(|n| program.start(["run".to_owned(), format!("errors_{n}")])).collect();
    for run in runs {
        run.wait().await.exits(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_once_count_ten_rows_as_ten() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} {}", old(10, 10, "db"))).await;
        all_at_once(&several(&db, 2, SUMMARIZE), 2).await;
        assert_eq!(counted(&db).await, (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_at_once_count_two_hundred_thousand_rows_once() {
    on_newest_or_all(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!(
                "DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {index} {}",
                old(200_000, 10_000, "db")
            ))
            .await;
            all_at_once(&several(&db, 3, SUMMARIZE), 3).await;
            assert_eq!(counted(&db).await, (200_000, 0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_is_run_by_one_of_three_processes() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} {}", old(1_000, 10, "db"))).await;
        let (program, hold) =
            tending(&db, &format!("{SUMMARIZE}batch = {{ rows = 100, pause = '0s' }}")).holding("batch.committed");
        let first = program.start(["run", "errors"]);
        hold.reached().await;
        for _ in 0..2 {
            program.run(["run", "errors"]).await.exits(3);
        }
        hold.go_on();
        first.wait().await.exits(0);
        assert_eq!(counted(&db).await, (1_000, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_four_count_ten_rows() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!(
                "DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {index} {}",
                old(10, 10, "db")
            ))
            .await;
            run(&tending(&db, &format!("{SUMMARIZE}batch = {{ rows = 4, pause = '0s' }}")), 0).await;
            assert_eq!(counted(&db).await, (10, 0));
            assert_eq!(db.count("error_log_summary").await, 4, "three codes, one of them on two days");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_and_summary_together_are_always_all_rows_ever_written() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} {}", old(20_000, 1_000, "db"))).await;
        let program = several(&db, 3, &format!("{SUMMARIZE}batch = {{ rows = 200, pause = '0s' }}"));
        let runs: Vec<_> = (0..3).map(|n| program.start(["run".to_owned(), format!("errors_{n}")])).collect();
        let writer = async |category: &str| {
            let client = db.client().await;
            for _ in 0..100 {
                client.batch_execute(&old(10, 3, category)).await.unwrap();
            }
        };
        let reader = async {
            let client = db.client().await;
            // Both in one snapshot: never less, and never more than is there yet.
            let sql = "SELECT (SELECT count(*) FROM error_log) + (SELECT coalesce(sum(count), 0) FROM error_log_summary)::bigint";
            let mut before = 20_000;
            for _ in 0..50 {
                let all: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
                assert!((before..=23_000).contains(&all), "{all} after {before}");
                before = all;
            }
        };
        tokio::join!(writer("db"), writer("net"), writer("disk"), reader);
        // They may have got in each other's way until their time was over.
        for run in runs {
            run.wait().await;
        }
        all_at_once(&several(&db, 1, SUMMARIZE), 1).await;
        assert_eq!(counted(&db).await, (23_000, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_made_young_or_given_another_group_meanwhile_is_what_it_has_become() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!("DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {index} {}", old(10, 10, "db"))).await;
            let application = db.client().await;
            application
                .batch_execute(
                    "BEGIN; UPDATE error_log SET created_at = now() WHERE id = 3; UPDATE error_log SET category = 'net' WHERE id = 4",
                )
                .await
                .unwrap();
            let program = tending(&db, SUMMARIZE);
            let run_ = program.start(["run", "errors"]);
            wait_until("the others to be counted", async || db.count("error_log").await == 2).await;
            application.batch_execute("COMMIT").await.unwrap();
            run_.wait().await.exits(0);
            assert_eq!(counted(&db).await, (9, 1));
            assert_eq!(db.scalar::<i32>("SELECT count FROM error_log_summary WHERE category = 'net'").await, 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_somebody_holds_is_waited_for_and_its_holder_named() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} {}", old(10, 10, "db"))).await;
        let application = db.client().await;
        application.batch_execute("BEGIN; LOCK TABLE error_log_summary IN SHARE MODE").await.unwrap();
        let pid: i32 = application.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let short = job("errors", SUMMARIZE).replace("30s", "6s");
        let record = Pgtend::tending(&db, &short).run(["run", "errors", "--json"]).await.exits(1).json().remove(0);
        assert_eq!(record["outcome"], "timed_out", "{record}");
        let said = failure(&record);
        assert!(said.contains(&format!("public.error_log_summary or a row of it is locked by pid {pid}")), "{said}");
        assert_eq!(counted(&db).await, (0, 10));
        application.batch_execute("COMMIT").await.unwrap();
        run(&tending(&db, SUMMARIZE), 0).await;
        assert_eq!(counted(&db).await, (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_could_not_even_be_looked_at_is_counted_once_it_is_free_and_not_just_deleted() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} {}", old(10, 10, "db"))).await;
        let application = db.client().await;
        application.batch_execute("BEGIN; LOCK TABLE error_log").await.unwrap();
        let program = tending(&db, SUMMARIZE);
        let run_ = program.start(["run", "errors", "--json", "--log-level", "info"]);
        run_.wait_for_log("lock not had in time").await;
        application.batch_execute("COMMIT").await.unwrap();
        run_.wait().await.exits(0);
        assert_eq!(counted(&db).await, (10, 0));
    })
    .await;
}
