//! Rows that are counted in the very snapshot that is dumped.

use std::collections::BTreeMap;

use super::restored::odd_database;
use super::shell;
use super::{Setting, setting};
use crate::support::{on_each_major, wait_until};

/// What the manifest says.
fn counted(setting: &Setting, id: &str) -> BTreeMap<String, i64> {
    let manifest = setting.manifest(id);
    let counts = manifest["row_counts"].as_object().unwrap_or_else(|| panic!("no counts in {manifest}"));
    counts.iter().map(|(table, rows)| (table.clone(), rows.as_i64().expect("a number"))).collect()
}

#[tokio::test]
async fn rows_written_while_a_dump_is_made_are_neither_dumped_nor_counted() {
    on_each_major(async |db| {
        odd_database(&db).await;
        db.execute(
            "create table child () inherits (empty_one); insert into child values (1), (2);
             create table left_out (n int); insert into left_out values (1);
             create table without_rows (n int); insert into without_rows values (1);
             create schema aside; create table aside.t (n int)",
        )
        .await;
        let mut setting = setting(
            &db,
            "row_counts = true\nexclude_schemas = [\"aside\", \"pgtend\"]\nexclude_tables = [\"left_out\"]\n\
             exclude_table_data = [\"without_rows\"]",
        );
        let (program, hold) = setting.program.holding("backup.begun");
        setting.program = program;
        let process = setting.program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        // Between the snapshot and pg_dump.
        db.execute("insert into events (at, what) values ('2026-01-05', 'late'); delete from child where a = 1; insert into empty_one values (7)").await;
        // Which no snapshot would hide.
        let truncated = db.client().await.batch_execute("set lock_timeout = '100ms'; truncate child").await;
        assert!(truncated.is_err(), "a TRUNCATE waits for the dump");
        hold.go_on();
        let run = process.wait().await.exits(0).json().remove(0);
        let id = run["details"]["backup"].as_str().expect("an id");
        let counted = counted(&setting, id);
        let expect = [
            ("\"Größe \"\"und\"\" Maß\".\"Ελληνικά table\"", 501),
            ("public.child", 2),
            ("public.empty_one", 0),
            ("public.events_2026_01", 155),
            ("public.events_rest", 145),
        ];
        assert_eq!(counted, expect.map(|(table, rows)| (table.to_owned(), rows)).into());
        assert_eq!((&run["details"]["tables_counted"], &run["details"]["rows_counted"]), (&5.into(), &803.into()), "{run}");
        let scratch = db.cluster().database().await;
        shell(&scratch, "zstd -dc app.dump.zst | pg_restore --exit-on-error --dbname \"$URL\"", &setting.folder(id));
        for (table, rows) in counted {
            assert_eq!(scratch.count(&format!("only {table}")).await, rows, "{table}");
        }
    })
    .await;
}

/// Whichever comes to it first, the counting or `pg_dump`: its list of tables is older than the drop.
#[tokio::test]
async fn a_table_that_is_dropped_before_it_is_locked_is_told_and_not_counted() {
    on_each_major(async |db| {
        for not_counted in ["", "exclude_table_data = [\"going\"]"] {
            db.execute("create table if not exists staying as select 1 as n; create table going as select 2 as n")
                .await;
            let setting = setting(&db, &format!("exclude_schemas = [\"pgtend\"]\nrow_counts = true\n{not_counted}"));
            let client = db.client().await;
            client.batch_execute("begin; drop table going").await.unwrap();
            let run = setting.program.start(["run", "nightly", "--json"]);
            let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
                           where d.datname = current_database() and l.locktype = 'relation' and not l.granted";
            wait_until("somebody to wait for the table", async || db.scalar::<i64>(waiting).await > 0).await;
            client.batch_execute("commit").await.unwrap();
            let run = run.wait().await.exits(1).json().remove(0);
            let error = run["error"].as_str().unwrap_or_default();
            assert!(run["outcome"] == "failed" && error.contains("going"), "{run}");
            assert_eq!(setting.files(), Vec::<String>::new());

            let run = setting.run(0).await;
            let id = run["details"]["backup"].as_str().expect("an id");
            assert_eq!(counted(&setting, id), [("public.staying".to_owned(), 1)].into());
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_stays_locked_ends_a_run_that_counts_in_its_time() {
    on_each_major(async |db| {
        db.execute("create table busy (n int)").await;
        let setting = setting(&db, "row_counts = true\nlock_wait = \"300ms\"");
        let client = db.client().await;
        client.batch_execute("begin; lock table busy in access exclusive mode").await.unwrap();
        let run = setting.run(1).await;
        assert!(run["error"].as_str().unwrap().contains("row_counts"), "{run}");
        assert_eq!(setting.files(), Vec::<String>::new());
    })
    .await;
}
