//! Counts that come near the end of their type: what does not fit stays where it is, and says so.

use super::*;
use crate::support::on_newest_or_all;

/// A log of two categories on one day, ten rows of each, and a summary that has this many of the first already.
fn near_the_end(sql: &str, present: &str) -> String {
    format!(
        "DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} ALTER TABLE error_log_summary ALTER count TYPE {sql};
         INSERT INTO error_log (code, category, created_at)
         SELECT 1, category, '2025-05-05 12:00Z' FROM generate_series(1, 10), (VALUES ('db'), ('net')) v(category);
         INSERT INTO error_log_summary (date, category, code, count) VALUES ('2025-05-05', 'db', 1, {present});"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_would_overflow_keeps_its_rows_and_the_others_go_on() {
    on_newest_or_all(async |db| {
        for (sql, fits, full, wider) in [
            ("integer", "2147483637", "2147483638", "bigint"),
            ("smallint", "32757", "32758", "bigint"),
            ("bigint", "9223372036854775797", "9223372036854775798", "numeric"),
            ("numeric(5, 2)", "989", "990", "numeric"),
        ] {
            for index in ["", NO_INDEX] {
                // What just fits is counted.
                db.execute(&format!("{} {index}", near_the_end(sql, fits))).await;
                run(&tending(&db, SUMMARIZE), 0).await;
                assert_eq!(db.count("error_log").await, 0, "{sql}");

                db.execute(&format!("{} {index}", near_the_end(sql, full))).await;
                let program = tending(&db, SUMMARIZE);
                let record = run(&program, 1).await;
                assert_eq!(
                    (&record["outcome"], &record["details"]["rows_summarized"]),
                    (&"partial".into(), &10.into())
                );
                let said = failure(&record);
                assert!(
                    said.starts_with("10 rows of group (\"date\", \"category\", \"code\") = (2025-05-05,db,1) stay"),
                    "{said}"
                );
                let mend = format!("ALTER TABLE \"public\".\"error_log_summary\" ALTER COLUMN \"count\" TYPE {wider};");
                assert!(said.ends_with(&mend), "{said}");
                let counts: Vec<String> = db
                    .column("SELECT concat_ws(' ', category, count::numeric::text) FROM error_log_summary ORDER BY 1")
                    .await;
                assert!(counts[0].starts_with(&format!("db {full}")) && counts[1].starts_with("net 10"), "{counts:?}");
                assert_eq!(db.scalar::<i64>("SELECT count(*) FROM error_log WHERE category = 'db'").await, 10);

                // The next run does not say that all is well; the one after the mend finishes.
                assert_eq!(run(&program, 1).await["outcome"], "failed");
                db.execute(&mend).await;
                run(&program, 0).await;
                assert_eq!(db.count("error_log").await, 0);
                let rest = format!("SELECT (count - {full})::bigint FROM error_log_summary WHERE category = 'db'");
                assert_eq!(db.scalar::<i64>(&rest).await, 10);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_outgrows_its_type_on_the_way_stops_there() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&near_the_end("smallint", "0")).await;
            // Many groups, two of them too large for a smallint, one of which begins from nothing.
            db.execute(&format!(
                "{index} INSERT INTO error_log (code, category, created_at)
                 SELECT CASE WHEN n % 100 = 0 THEN n ELSE 1 END, CASE WHEN n % 2 = 0 THEN 'db' ELSE 'disk' END, '2025-05-05 13:00Z'
                 FROM generate_series(1, 70000) n"
            ))
            .await;
            let record = run(&tending(&db, &format!("{SUMMARIZE}batch = {{ pause = '0s' }}")), 1).await;
            assert_eq!(record["outcome"], "partial", "{record}");
            let said = failure(&record);
            assert!(said.contains('=') && said.contains(" of 1 other groups, stay"), "{said}");
            let (sum, left) = counted(&db).await;
            assert_eq!(sum + left, 70_020);
            assert_eq!(db.scalar::<i64>("SELECT count(DISTINCT (category, code)) FROM error_log").await, 2);
            assert_eq!(db.count("error_log_summary").await, 703);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_a_null_can_be_full_too() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE error_log (code int, category text, created_at timestamptz);
             CREATE TABLE error_log_summary (date date, category text, code int, count smallint, UNIQUE (date, category, code));
             INSERT INTO error_log SELECT 1, c, '2025-05-05 12:00Z' FROM generate_series(1, 10), (VALUES ('a'), (NULL), ('b,(\"')) v(c);
             INSERT INTO error_log_summary VALUES ('2025-05-05', NULL, 1, 32760), ('2025-05-05', 'b,(\"', 1, 32760);",
        )
        .await;
        let program = tending(&db, SUMMARIZE);
        let record = run(&program, 1).await;
        assert_eq!((&record["outcome"], &record["details"]["rows_summarized"]), (&"partial".into(), &10.into()));
        assert!(failure(&record).contains("and 10 rows of 1 other groups, stay"), "{}", failure(&record));
        assert_eq!(counted(&db).await, (65_530, 20));
        // There is room in another row of the group.
        db.execute("INSERT INTO error_log_summary VALUES ('2025-05-05', NULL, 1, 5)").await;
        run(&program, 1).await;
        assert_eq!(counted(&db).await, (65_545, 10));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_large_elsewhere_is_an_error_and_loses_nothing() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{ERRORS} {} ALTER TABLE error_log_summary ALTER id SET DEFAULT nextval('error_log_id_seq');
             SELECT setval('error_log_id_seq', 3000000000);",
            old(10, 10, "db")
        ))
        .await;
        let record = run(&tending(&db, SUMMARIZE), 1).await;
        assert_eq!(record["outcome"], "failed");
        let said = failure(&record);
        assert!(said.contains("such as the count or a serial number") && said.contains("22003"), "{said}");
        assert_eq!(counted(&db).await, (0, 10));
    })
    .await;
}
