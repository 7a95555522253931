//! What others do to the table between two batches.

use serde_json::Value;

use crate::support::{Database, Pgtend, on_each_major};

const JOB: &str = "[jobs.old]\ntimeout = '5m'\n[jobs.old.expire]\ntables = [{ table = 'sessions' }]\n";

/// So many sessions that ended one after the other, some fifty to a block.
async fn sessions(db: &Database, count: u32, index: &str) {
    db.execute(&format!(
        "CREATE TABLE sessions (id int, expires_at timestamptz, note text); {index}
         INSERT INTO sessions SELECT n, now() - interval '1 day' + n * interval '1 s', repeat('x', 100) FROM generate_series(1, {count}) n; ANALYZE sessions"
    ))
    .await;
}

/// The record of a run in which somebody does something after its first batch.
async fn after_the_first_batch(db: &Database, exit: i32, meanwhile: impl AsyncFnOnce()) -> Value {
    let (program, at) = Pgtend::tending(db, JOB).holding("batch.committed");
    let running = program.start(["run", "old", "--json"]);
    at.reached().await;
    meanwhile().await;
    at.go_on();
    running.wait().await.exits(exit).json().remove(0)
}

/// Block ranges are deleted whole where there is no such trigger, and then what is kept is not seen.
#[tokio::test]
async fn a_trigger_that_comes_after_the_plan_keeps_no_row_unseen() {
    on_each_major(async |db| {
        sessions(&db, 20_000, "").await;
        let record = after_the_first_batch(&db, 1, async || {
            db.execute(
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF old.id % 1000 = 0 THEN RETURN NULL; END IF; RETURN old; END $$;
                 CREATE TRIGGER keep BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep()",
            )
            .await;
        })
        .await;
        let left = db.count("sessions").await;
        assert!(left > 5 && left == db.count("sessions WHERE id % 1000 = 0").await, "{left} left: {record}");
        assert_eq!(record["details"]["rows_deleted"], 20_000 - left, "{record}");
        let failures = record["details"]["failures"].to_string();
        assert!(failures.contains(&format!("{left} rows that are due")), "{record}");
        assert!(failures.contains("a BEFORE DELETE trigger kept them"), "{record}");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_an_update_puts_behind_the_work_goes_with_the_same_run_where_there_is_an_index() {
    on_each_major(async |db| {
        sessions(&db, 300, "CREATE INDEX ON sessions (expires_at);").await;
        let mut client = db.client().await;
        let update = client.transaction().await.unwrap();
        // It is the oldest, and its block is full: the new row is in the last one.
        update.batch_execute("UPDATE sessions SET note = note || 'y' WHERE id = 1").await.unwrap();
        let record = after_the_first_batch(&db, 0, async || update.commit().await.unwrap()).await;
        assert_eq!((db.count("sessions").await, &record["details"]["rows_deleted"]), (0, &300.into()), "{record}");
    })
    .await;
}
