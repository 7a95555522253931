//! What is not done, and what is said of it: rows that others refer to, archives that do not fit, policies that mean nothing.

use super::*;

#[tokio::test]
async fn an_archive_that_does_not_fit_is_an_error_before_anything_moves() {
    on_each_major(async |db| {
        for (archive, expect) in [
            (
                "CREATE TABLE archive.log (id bigint, kind text, size int, twice int, created_at timestamptz)",
                "has no column \"note\"",
            ),
            (
                "CREATE TABLE archive.log (LIKE log); ALTER TABLE archive.log ALTER size TYPE bigint USING 1",
                "is bigint in archive.log",
            ),
            (
                "CREATE TABLE archive.log (LIKE log); ALTER TABLE archive.log ADD why text NOT NULL",
                "cannot be NULL, has no default",
            ),
            ("CREATE VIEW archive.log AS SELECT * FROM log", "archive.log is a view"),
            ("CREATE UNLOGGED TABLE archive.log (LIKE log)", "archive.log is not logged"),
            (
                "CREATE TABLE archive.log (LIKE log) PARTITION BY RANGE (created_at);
                 CREATE UNLOGGED TABLE archive.old PARTITION OF archive.log DEFAULT",
                "archive.old is not logged",
            ),
            ("CREATE TABLE archive.log () INHERITS (log)", "have a table in common"),
            (
                "ALTER TABLE log ALTER id DROP IDENTITY;
                 CREATE TABLE archive.log (LIKE log INCLUDING GENERATED) PARTITION BY RANGE (created_at);
                 ALTER TABLE archive.log ATTACH PARTITION log DEFAULT",
                "have a table in common",
            ),
            (
                "CREATE TABLE archive.log (LIKE log, FOREIGN KEY (id) REFERENCES log ON DELETE CASCADE)",
                "constraint log_id_fkey",
            ),
        ] {
            db.execute("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS log").await;
            db.execute(&log(60)).await;
            db.execute(archive).await;
            let program = Pgtend::tending(&db, &keeping(TO_ARCHIVE));
            let said = program.run(["check"]).await.exits(1);
            assert!(said.stdout.contains(expect), "{}", said.stdout);
            assert!(plan(&program).await[0].starts_with("refuse public.log: "), "{archive}");
            let error = run(&program, 1).await["details"]["failures"][0]["error"].to_string();
            assert!(error.replace("\\\"", "\"").contains(expect), "{error}");
            assert_eq!(db.count("log").await, 60, "{archive}");
        }
    })
    .await;
}

/// message_queue of an application, say: its rows would be deleted unseen with the messages they belong to.
#[tokio::test]
async fn rows_that_others_refer_to_stay_and_the_run_says_so_whatever_the_key_would_do() {
    on_each_major(async |db| {
        for on_delete in ["CASCADE", "SET NULL", "NO ACTION"] {
            db.execute("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS queue, log").await;
            db.execute(&log(60)).await;
            db.execute(&format!(
                "CREATE TABLE queue (id int PRIMARY KEY, message bigint REFERENCES log ON DELETE {on_delete}, created_at timestamptz);
                 INSERT INTO queue SELECT n, n, now() - interval '45 days' FROM generate_series(50, 54) n"
            ))
            .await;
            let program = Pgtend::tending(&db, &keeping(TO_ARCHIVE));
            let planned = plan(&program).await;
            assert!(planned[0].starts_with("archive_rows public.log: 25 rows"), "{planned:?}");
            assert!(planned[1].starts_with("refuse public.log: rows that are old stay, because rows of public.queue"), "{planned:?}");
            let record = run(&program, 1).await;
            assert_eq!((&record["outcome"], &record["details"]["rows_archived"]), (&"partial".into(), &25.into()));
            let error = record["details"]["failures"][0]["error"].as_str().unwrap();
            assert!(error.starts_with("5 rows that are old stay") && error.contains(on_delete), "{error}");
            assert_eq!((places(&db).await, db.count("queue WHERE message IS NOT NULL").await), ((35, 25), 5));

            // With the queue in the same job, named after it: it goes first, and nothing stands in the way.
            let both = "[jobs.old.retention]\ntables = [{ table = 'log', keep = '30 days', column = 'created_at', action = 'archive', to = 'archive.log' },
                 { table = 'queue', keep = '30 days', column = 'created_at', action = 'archive', to = 'archive.queue' }]\n";
            let record = run(&Pgtend::tending(&db, both), 0).await;
            assert_eq!(record["details"]["rows_archived"], 10);
            assert_eq!((places(&db).await, db.count("archive.queue WHERE message IS NOT NULL").await), ((30, 30), 5));
        }
    })
    .await;
}

#[tokio::test]
async fn rows_that_go_with_deleted_ones_are_named_and_counted() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        db.execute(
            "CREATE TABLE queue (message bigint REFERENCES log ON DELETE CASCADE); CREATE INDEX ON queue (message);
             INSERT INTO queue SELECT n FROM generate_series(50, 54) n",
        )
        .await;
        let program = Pgtend::tending(&db, &keeping("keep = '30 days', column = 'created_at'"));
        let planned = plan(&program).await;
        assert!(planned.iter().any(|line| line.starts_with("warn public.log: rows of public.queue")), "{planned:?}");
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["rows_of_referencing_tables"]["public.queue"], 5, "{record}");
        assert_eq!((db.count("log").await, db.count("queue").await), (30, 0));
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_a_table_without_partitions_has_no_use_for_is_refused() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        for (keys, expect) in [
            ("keep = '30 days'", "nothing says how old its rows are"),
            ("keep = '30 days', column = 'created'", "has no column \"created\""),
            ("keep = '30 days', column = 'kind'", "is of type text"),
            ("keep = '30 days', column = 'created_at', action = 'drop'", "has no partitions that action = \"drop\""),
            ("keep = '30 days', column = 'created_at', action = 'archive', to = 'archive'", "to = \"archive.TABLE\""),
            (
                "keep = '30 days', column = 'created_at', action = 'archive', to = 'attic.log'",
                "CREATE SCHEMA \"attic\"",
            ),
            ("keep = '30 days', column = 'created_at', action = 'archive', to = 'public.log'", "archived to itself"),
            ("keep = '30 days', column = 'created_at', newest = 'created_at'", "remove newest"),
            (
                "keep = '30 days', age_from = { table = 'nil', key = 'id', column = 'x' }",
                "there is no table public.nil",
            ),
            (
                "keep = '30 days', age_from = { table = 'log', key = 'nil', column = 'created_at' }",
                "has no column \"nil\"",
            ),
        ] {
            let program = Pgtend::tending(&db, &keeping(keys));
            let said = program.run(["check"]).await.exits(1);
            assert!(said.stdout.contains(expect), "{keys}: {}", said.stdout);
            let error = run(&program, 1).await["details"]["failures"][0]["error"].as_str().unwrap().to_owned();
            assert!(error.contains(expect), "{keys}: {error}");
        }
        assert_eq!(db.count("log").await, 60);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_cannot_be_tended_spoils_no_other() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        db.execute("CREATE TABLE other (LIKE log); INSERT INTO other SELECT * FROM log").await;
        let jobs = "[jobs.old.retention]\ntables = [{ table = 'nil', keep = '30 days', column = 'created_at' },
             { table = 'log', keep = '30 days', column = 'created_at', action = 'archive', to = 'nil.log' },
             { table = 'other', keep = '30 days', column = 'created_at' }]\n";
        let record = run(&Pgtend::tending(&db, jobs), 1).await;
        assert_eq!((&record["outcome"], &record["details"]["rows_deleted"]), (&"partial".into(), &30.into()));
        assert_eq!(record["details"]["failures"].as_array().unwrap().len(), 2, "{record}");
        assert_eq!((db.count("log").await, db.count("other").await), (60, 30));
    })
    .await;
}
