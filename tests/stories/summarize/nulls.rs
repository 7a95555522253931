//! Groups with a NULL in them: counted like any other, whatever the summary's unique key takes them for.

use super::*;
use crate::support::on_newest_or_all;

/// A log and a summary whose categories may be NULL, and this unique key.
fn tables(unique: &str) -> String {
    format!(
        "CREATE TABLE error_log (code int, category text, created_at timestamptz);
         CREATE TABLE error_log_summary (date date, category text, code int, count int); {unique}"
    )
}

/// Twelve rows of one day, in four groups, three of them with a NULL.
const ROWS: &str = "INSERT INTO error_log SELECT code, category, '2025-05-05 12:00Z' FROM
    (VALUES (1, 'a'), (1, NULL), (NULL, 'a'), (NULL, NULL)) v(code, category), generate_series(1, 3);";

async fn groups(db: &Database) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', coalesce(category, '-'), coalesce(code::text, '-'), sum(count), count(*)) \
               FROM error_log_summary GROUP BY category, code ORDER BY 1";
    db.column(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_with_a_null_has_one_row_by_every_form_of_unique_key() {
    on_newest_or_all(async |db| {
        for (distinct, unique) in [
            (true, "ALTER TABLE error_log_summary ADD UNIQUE (date, category, code);"),
            (true, "CREATE UNIQUE INDEX ON error_log_summary (code, date, category) INCLUDE (count);"),
            (false, "ALTER TABLE error_log_summary ADD UNIQUE NULLS NOT DISTINCT (date, category, code);"),
        ] {
            db.execute(&format!("DROP TABLE IF EXISTS error_log, error_log_summary; {} {ROWS}", tables(unique))).await;
            // In batches smaller than a group, so that rows come to groups that are there already.
            let program = tending(&db, &format!("{SUMMARIZE}batch = {{ rows = 2, pause = '0s' }}"));
            run(&program, 0).await;
            assert_eq!(groups(&db).await, ["- - 3 1", "- 1 3 1", "a - 3 1", "a 1 3 1"], "{unique}");
            db.execute(ROWS).await;
            run(&program, 0).await;
            assert_eq!(groups(&db).await, ["- - 6 1", "- 1 6 1", "a - 6 1", "a 1 6 1"], "{unique}");
            if distinct {
                // Somebody has put more than one row there: one of them is added to, and the sum is right.
                db.execute(&format!("INSERT INTO error_log_summary VALUES ('2025-05-05', NULL, 1, 10); {ROWS}")).await;
                run(&program, 0).await;
                assert_eq!(groups(&db).await, ["- - 9 1", "- 1 19 2", "a - 9 1", "a 1 9 1"], "{unique}");
            }
            // A count that is NULL is none.
            db.execute(&format!("UPDATE error_log_summary SET count = NULL; {ROWS}")).await;
            run(&program, 0).await;
            assert_eq!(db.scalar::<i64>("SELECT sum(count) FROM error_log_summary").await, 12, "{unique}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_that_the_summary_cannot_have_keeps_its_rows_and_fails_the_run() {
    on_each_major(async |db| {
        for index in ["", "CREATE INDEX ON error_log (created_at);"] {
            db.execute(&format!(
                "DROP TABLE IF EXISTS error_log, error_log_summary; {} {index} {ROWS}
                 ALTER TABLE error_log_summary ALTER category SET NOT NULL;",
                tables("ALTER TABLE error_log_summary ADD UNIQUE (date, category, code);")
            ))
            .await;
            let program = tending(&db, SUMMARIZE);
            let check = program.run(["check"]).await.exits(0).stdout;
            assert!(check.contains("6 rows without \"category\" stay"), "{check}");
            let plan = program.run(["plan", "errors"]).await.exits(0).stdout;
            assert!(plan.contains("6 rows without \"category\" stay"), "{plan}");

            let record = run(&program, 1).await;
            assert_eq!((&record["outcome"], &record["details"]["rows_summarized"]), (&"partial".into(), &6.into()));
            let said = failure(&record);
            assert!(said.starts_with("6 rows without \"category\" stay") && said.contains("DROP NOT NULL"), "{said}");
            assert_eq!(groups(&db).await, ["a - 3 1", "a 1 3 1"]);
            // And again, until somebody does something about it.
            let record = run(&program, 1).await;
            assert_eq!((&record["outcome"], record["details"].get("rows_summarized")), (&"failed".into(), None));
            assert_eq!(counted(&db).await, (6, 6));
            db.execute("ALTER TABLE error_log_summary ALTER category DROP NOT NULL").await;
            run(&program, 0).await;
            assert_eq!(counted(&db).await, (12, 0));
        }
    })
    .await;
}
