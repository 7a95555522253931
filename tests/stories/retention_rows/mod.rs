//! Retention of rows: deleted, or moved to an archive. At every moment each row is in one place.

mod archives;
mod conservation;
mod held;
mod refused;
mod traps;

use serde_json::Value;

use crate::support::{Database, Pgtend, on_each_major};

/// A log with rows of so many days ago, one each; the odd ones are notes, the even ones are not.
fn log(days: u32) -> String {
    format!(
        "CREATE SCHEMA archive;
         CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, size int,
             twice int GENERATED ALWAYS AS (size * 2) STORED, note varchar(40) DEFAULT 'none', created_at timestamptz);
         CREATE INDEX log_created_at ON log (created_at);
         INSERT INTO log (kind, size, created_at)
             SELECT CASE WHEN n % 2 = 1 THEN 'note' ELSE 'other' END, n, now() - n * interval '1 day' - interval '1 hour'
             FROM generate_series(0, {days} - 1) n;"
    )
}

/// A job over the log.
fn keeping(keys: &str) -> String {
    format!("[jobs.old]\ntimeout = '5m'\n[jobs.old.retention]\ntables = [{{ table = 'log', {keys} }}]\n")
}

const TO_ARCHIVE: &str = "keep = '30 days', column = 'created_at', action = 'archive', to = 'archive.log'";

/// Runs the job; its record.
async fn run(program: &Pgtend, exit: i32) -> Value {
    program.run(["run", "old", "--json"]).await.exits(exit).json().pop().expect("a record")
}

/// The lines of a plan, as `action target: reason`.
async fn plan(program: &Pgtend) -> Vec<String> {
    let lines = program.run(["plan", "old", "--json"]).await.exits(0).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .iter()
        .map(|line| format!("{} {}: {}", text(&line["action"]), text(&line["target"]), text(&line["reason"])))
        .collect()
}

/// How many rows are in the log and in its archive.
async fn places(db: &Database) -> (i64, i64) {
    let archived = db.scalar::<bool>("SELECT to_regclass('archive.log') IS NOT NULL").await;
    (db.count("log").await, if archived { db.count("archive.log").await } else { 0 })
}

#[tokio::test]
async fn rows_older_than_their_keep_go_and_no_others() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        db.execute("INSERT INTO log (kind, created_at) VALUES ('timeless', NULL)").await;
        let program =
            Pgtend::tending(&db, &keeping("keep = '30 days', column = 'created_at', where = \"kind = 'note'\""));
        program.run(["check"]).await.exits(0);
        let planned = plan(&program).await;
        assert!(planned[0].starts_with("delete_rows public.log: 15 rows are of before"), "{planned:?}");
        assert_eq!(places(&db).await.0, 61, "a plan changes nothing");
        let output = program.run(["run", "old", "--json"]).await.exits(0);
        let details = &output.json()[0]["details"];
        assert_eq!(details["rows_deleted"], 15);
        // What has no time never goes, and is seen without alarming anybody.
        assert_eq!((&details["rows_without_time"]["public.log"], details.get("warnings")), (&1.into(), None));
        assert!(output.stderr.contains("left alone: 1 row without a time: NULL is never old"), "{}", output.stderr);
        assert_eq!(db.count("log WHERE kind = 'note' AND created_at < now() - interval '30 days'").await, 0);
        assert_eq!(places(&db).await.0, 61 - 15);
        assert_eq!(run(&program, 0).await["details"].get("rows_deleted"), None, "the second run finds nothing");
    })
    .await;
}

/// Calendar months of the policy's own zone.
#[tokio::test]
async fn what_is_old_is_told_by_the_calendar_of_its_zone() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE log (created_at timestamp);
             INSERT INTO log VALUES ('2026-02-28 12:59'), ('2026-02-28 13:01')",
        )
        .await;
        let program =
            Pgtend::tending(&db, &keeping("keep = '1 month', column = 'created_at', timezone = 'Europe/Berlin'"));
        let at = ["plan", "old", "--json", "--at", "2026-03-31T11:00:00Z"];
        let line = program.run(at).await.exits(0).json().remove(0);
        // A month before 13:00 on 31 March, by the clock in Berlin, is 13:00 on 28 February.
        assert_eq!(line["detail"]["rows"], 1, "{line}");
        assert_eq!(line["detail"]["cutoff"], "2026-02-28 13:00:00", "{line}");
    })
    .await;
}

#[tokio::test]
async fn the_row_of_another_table_says_how_old_a_row_is() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE \"Suites\" (id int PRIMARY KEY, \"Made at\" timestamptz);
             CREATE TABLE log (id int PRIMARY KEY, suite int REFERENCES \"Suites\");
             INSERT INTO \"Suites\" VALUES (1, now() - interval '40 days'), (2, now()), (3, NULL);
             INSERT INTO log SELECT n, n % 4 FROM generate_series(4, 23) n WHERE n % 4 > 0;
             INSERT INTO log VALUES (100, NULL)",
        )
        .await;
        let keys = "keep = '30 days', age_from = { table = '\"Suites\"', key = 'suite', column = '\"Made at\"' }";
        let program = Pgtend::tending(&db, &keeping(keys));
        program.run(["check"]).await.exits(0);
        assert_eq!(run(&program, 0).await["details"]["rows_deleted"], 5);
        assert_eq!(
            db.column::<Option<i32>>("SELECT DISTINCT suite FROM log ORDER BY 1").await,
            [Some(2), Some(3), None]
        );
        assert_eq!(run(&program, 0).await["details"].get("rows_deleted"), None);
        assert_eq!(db.count("\"Suites\"").await, 3);
    })
    .await;
}

#[tokio::test]
async fn a_table_on_hold_keeps_its_rows_also_where_the_hold_came_after_the_plan() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        let (program, hold) =
            Pgtend::tending(&db, &keeping("keep = '30 days', column = 'created_at'")).holding("retention.rows");
        let running = program.start(["run", "old", "--json"]);
        hold.reached().await;
        db.execute("INSERT INTO pgtend.hold VALUES ('log', 'a lawsuit')").await;
        hold.go_on();
        let record = running.wait().await.exits(0).json().remove(0);
        assert!(record["details"]["warnings"][0].as_str().unwrap().contains("held: a lawsuit"), "{record}");
        assert_eq!(db.count("log").await, 60);
        let program = Pgtend::tending(&db, &keeping("keep = '30 days', column = 'created_at'"));
        assert_eq!(plan(&program).await, ["keep public.log: held: a lawsuit"]);
        db.execute("UPDATE pgtend.hold SET until = now() - interval '1 second'").await;
        assert_eq!(run(&program, 0).await["details"]["rows_deleted"], 30);
    })
    .await;
}
