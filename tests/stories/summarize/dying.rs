//! Whatever ends a run, wherever: each row is in the log or in the summary, and the next run finishes.

use super::*;
use crate::support::wait_until;

const ROWS: u32 = 1_000;
/// Ten batches, one after the other.
const IN_BATCHES: &str = "batch = { rows = 100, pause = '0s' }\n";

async fn prepare(db: &Database, index: &str) {
    db.execute(&format!("DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {index} {}", old(ROWS, 50, "db")))
        .await;
}

async fn gone(db: &Database, application_name: &str) {
    wait_until(&format!("{application_name} to be gone"), async || db.backends(application_name).await.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_before_or_after_a_batch_has_counted_each_row_once() {
    on_each_major(async |db| {
        for (point, index, first) in
            [("batch.begins", "", 0), ("batch.committed", "", 100), ("batch.committed", NO_INDEX, 100)]
        {
            prepare(&db, index).await;
            let keys = format!("{SUMMARIZE}{IN_BATCHES}");
            let (program, hold) = tending(&db, &keys).holding(point);
            let killed = program.start(["run", "errors"]);
            hold.reached().await;
            assert_eq!(counted(&db).await, (first, i64::from(ROWS) - first), "at {point}");
            drop(killed);
            gone(&db, "pgtend/errors%").await;
            let record = run(&tending(&db, &keys), 0).await;
            assert_eq!(record["details"]["rows_summarized"], i64::from(ROWS) - first);
            assert_eq!(counted(&db).await, (ROWS.into(), 0), "after {point}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_while_the_server_is_at_it_has_counted_each_row_once() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            prepare(&db, index).await;
            let days = "INSERT INTO error_log_summary (date, category, code)
                        SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date, category, code FROM error_log;";
            db.execute(days).await;
            // The batch has deleted, and waits to count.
            let application = db.client().await;
            application.batch_execute("BEGIN; SELECT FROM error_log_summary FOR UPDATE").await.unwrap();
            let jobs = job("errors", SUMMARIZE).replace("timeout", "lock_timeout = '20s'\ntimeout");
            let program = Pgtend::tending(&db, &jobs);
            let killed = program.start(["run", "errors"]);
            wait_until("the batch to wait", async || {
                let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                             AND application_name = 'pgtend/errors' AND wait_event_type = 'Lock'";
                db.scalar::<i64>(waits).await > 0
            })
            .await;
            drop(killed);
            application.batch_execute("COMMIT").await.unwrap();
            // It may come to its end or not; both are whole.
            gone(&db, "pgtend/errors%").await;
            let (sum, left) = counted(&db).await;
            assert_eq!(sum + left, i64::from(ROWS));
            run(&program, 0).await;
            assert_eq!(counted(&db).await, (ROWS.into(), 0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_on_the_way_is_replaced_and_nothing_is_counted_twice() {
    on_each_major(async |db| {
        prepare(&db, "").await;
        let (program, hold) = tending(&db, &format!("{SUMMARIZE}{IN_BATCHES}")).holding("batch.committed");
        let run = program.start(["run", "errors", "--json"]);
        hold.reached().await;
        assert_eq!(db.terminate("pgtend/errors").await, 1);
        hold.go_on();
        let record = run.wait().await.exits(0).json().remove(0);
        assert_eq!(record["details"]["rows_summarized"], ROWS, "{record}");
        assert_eq!(counted(&db).await, (ROWS.into(), 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_at_a_batch_and_the_next_run_finishes() {
    on_each_major(async |db| {
        prepare(&db, "").await;
        // The first batch commits; then the job rests for an hour, until it is stopped.
        let keys = format!("{SUMMARIZE}batch = {{ rows = 100, pause = '1h' }}");
        let program = tending(&db, &keys);
        let resting = program.start(["run", "errors", "--json"]);
        wait_until("the first batch", async || db.count("error_log").await == 900).await;
        resting.signal(libc::SIGTERM);
        let record = resting.wait().await.json().remove(0);
        assert_eq!(record["outcome"], "cancelled", "{record}");
        assert_eq!(counted(&db).await, (100, 900));
        run(&tending(&db, SUMMARIZE), 0).await;
        assert_eq!(counted(&db).await, (ROWS.into(), 0));
    })
    .await;
}
