//! Runs that are killed, stopped, or overtaken by somebody who writes.

use super::*;
use crate::retention_partitions::dying::killed;
use crate::support::on_newest_or_all;

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_run_is_killed_the_next_one_finishes_and_every_row_is_kept() {
    on_each_major(async |db| {
        for (point, written) in [
            ("retention.export", 0),
            ("export.rows", 0),
            ("export.written", 1),
            ("export.verified", 1),
            ("retention.detached", 1),
            ("retention.drop", 1),
        ] {
            db.execute("DROP TABLE IF EXISTS events, saved, found, events_1 CASCADE").await;
            db.execute(&months(1)).await;
            let program = killed(&db, exporting(&db, ""), point).await;
            let store = store(&program);
            assert_eq!(exports(&store).len(), written, "at {point}");
            let (here, apart) = (db.count("events").await, db.count("events_1").await);
            assert_eq!(here.max(apart), 3, "in the table or beside it: {here}, {apart}");
            let record = run(&program, 0).await;
            assert_eq!(record["details"]["partitions_dropped"], 1, "{point}: {record}");
            // What had been read back is not written again; what had not cannot be relied on.
            let expected = if point == "export.written" { 2 } else { 1 };
            assert_eq!(exports(&store).len(), expected, "after {point}");
            if expected == 1 {
                nothing_is_lost(&db, &store).await;
            }
            // Whoever is at work there has until its time is over; and then it goes with the next export.
            let unfinished = usize::from(point == "export.rows");
            let loose = files(&store).into_iter().filter(|file| file.ends_with("rows.copy.zst")).count();
            assert_eq!(loose, expected + unfinished, "at {point}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_between_export_and_drop_are_exported_again() {
    on_each_major(async |db| {
        for change in [
            "UPDATE events SET note = 'changed' WHERE id = 1",
            "INSERT INTO events VALUES (1, 99, 'late')",
            "DELETE FROM events WHERE id = 3",
        ] {
            db.execute("DROP TABLE IF EXISTS events, saved, found, events_1 CASCADE").await;
            db.execute(&months(1)).await;
            let (program, hold) = exporting(&db, "").holding("export.verified");
            let running = program.start(["run", "retention", "--json"]);
            hold.reached().await;
            db.execute(change).await;
            db.execute("DROP TABLE saved; CREATE TABLE saved AS SELECT * FROM events").await;
            hold.go_on();
            let record = running.wait().await.exits(0).json().remove(0);
            assert!(record["details"]["warnings"].to_string().contains("is exported again"), "{change}: {record}");
            assert_eq!(record["details"]["partitions_dropped"], 1, "{record}");
            let store = store(&program);
            let all = exports(&store);
            assert_eq!(all.len(), 2, "{all:?}");
            load(&db, &store, &all[1]);
            let differs = "(SELECT * FROM saved EXCEPT ALL SELECT * FROM events_1) AS d";
            assert_eq!((db.count(differs).await, db.count("events_1").await), (0, db.count("saved").await), "{change}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_many_partitions_goes_on_where_it_was_stopped() {
    on_newest_or_all(async |db| {
        db.execute(&months(36)).await;
        let (program, hold) = exporting(&db, "").holding("retention.drop");
        let running = program.start(["run", "retention", "--json"]);
        hold.reached().await;
        running.signal(libc::SIGTERM);
        running.wait_for_log("stop").await;
        hold.go_on();
        let record = running.wait().await.exits(1).json().remove(0);
        assert_eq!(record["outcome"], "cancelled", "{record}");
        let program = program.env("PGTEND_TESTPOINTS", "");
        let before = exports(&store(&program)).len();
        assert!((1..36).contains(&before), "{before}");
        assert_eq!(run(&program, 0).await["outcome"], "succeeded");
        assert_eq!(db.count("events").await, 0);
        assert_eq!(exports(&store(&program)).len(), 36);
        nothing_is_lost(&db, &store(&program)).await;
    })
    .await;
}

/// What goes wrong while the rows are read leaves a transaction that takes no further question.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_while_rows_are_read_is_the_one_that_is_told() {
    on_each_major(async |db| {
        db.execute(&months(1)).await;
        db.execute(
            "DROP ROLE IF EXISTS hidden; CREATE ROLE hidden; GRANT ALL ON SCHEMA public TO hidden;
             ALTER TABLE events OWNER TO hidden; ALTER TABLE events_1 OWNER TO hidden; ALTER TABLE events_now OWNER TO hidden;",
        )
        .await;
        let program = killed(&db, exporting(&db, ""), "retention.detached").await;
        // The next run reads it before it goes on, and may not.
        db.execute(
            "ALTER TABLE events_1 ENABLE ROW LEVEL SECURITY; ALTER TABLE events_1 FORCE ROW LEVEL SECURITY;
             CREATE POLICY few ON events_1 USING (id = 1)",
        )
        .await;
        let record = run(&program, 1).await;
        let error = record["error"].as_str().unwrap();
        assert!(error.contains("row-level security") && !error.contains("25P02"), "{error}");
        assert_eq!(db.count("events_1").await, 3);
        db.execute("DROP TABLE events, saved; DROP TABLE IF EXISTS events_1; DROP OWNED BY hidden; DROP ROLE hidden").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_ours_and_over_is_cleared_away() {
    on_each_major(async |db| {
        db.execute("DROP TABLE IF EXISTS events, saved CASCADE").await;
        db.execute(&months(1)).await;
        let program = exporting(&db, "");
        let exports = store(&program).join("retention/exports");
        let now: String = db.scalar("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24MISS\"Z\"')").await;
        let (old, fresh) = ("2020-01-01T000000Z", now.as_str());
        let plant = |file: String| {
            let path = exports.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        for partition in ["public.events_1", "public.gone"] {
            plant(format!("{partition}/{old}/rows.copy.zst"));
            plant(format!("{partition}/{old}/notes.txt"));
            plant(format!("{partition}/{fresh}/rows.copy.zst"));
            plant(format!("{partition}/{fresh}/.pgtend-upload-1-1"));
            plant(format!("{partition}/mine/rows.copy.zst"));
        }
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["partitions_dropped"], 1, "{record}");
        for partition in ["public.events_1", "public.gone"] {
            let there = |file: String| exports.join(partition).join(file).exists();
            assert!(!there(format!("{old}/rows.copy.zst")), "{partition}");
            assert!(there(format!("{old}/notes.txt")), "{partition}");
            assert!(there(format!("{fresh}/rows.copy.zst")), "{partition}");
            assert!(there(format!("{fresh}/.pgtend-upload-1-1")), "{partition}");
            assert!(there("mine/rows.copy.zst".into()), "{partition}");
        }
    })
    .await;
}
