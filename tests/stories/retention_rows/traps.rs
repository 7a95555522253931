//! What happens between the look at a row and its end, and settings under which SQL means something else.

use super::*;
use crate::support::wait_until;

/// Two minutes under each lock, so that a story has time for what happens while the program waits.
async fn patient(db: &Database) {
    db.execute(&format!("ALTER DATABASE \"{}\" SET deadlock_timeout = '4min'", db.name())).await;
}

/// The reference is not yet committed when the batch looks, and locks the row; once it is, the row is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_others_come_to_refer_to_while_its_batch_waits_stays() {
    on_each_major(async |db| {
        patient(&db).await;
        for (on_delete, index) in [("CASCADE", true), ("SET NULL", true), ("CASCADE", false)] {
            db.execute("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS queue, log").await;
            db.execute(&log(60)).await;
            if !index {
                db.execute("DROP INDEX log_created_at").await;
            }
            db.execute(&format!("CREATE TABLE queue (message bigint REFERENCES log ON DELETE {on_delete})")).await;
            let mut application = db.client().await;
            let insert = application.transaction().await.unwrap();
            insert.batch_execute("INSERT INTO queue VALUES (50)").await.unwrap();
            let jobs = keeping(TO_ARCHIVE).replace("timeout", "lock_timeout = '2min'\ntimeout");
            let program = Pgtend::tending(&db, &jobs);
            let running = program.start(["run", "old", "--json"]);
            // Longer than the first pass would.
            let waiting =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                AND application_name = 'pgtend/old' AND query_start < clock_timestamp() - interval '200 ms'";
            wait_until("the batch to wait for the row", async || db.scalar::<i64>(waiting).await == 1).await;
            insert.commit().await.unwrap();
            let record = running.wait().await.exits(0).json().remove(0);
            assert_eq!(record["details"]["rows_archived"], 29, "{record}");
            assert_eq!((places(&db).await, db.count("queue WHERE message = 50").await), ((31, 29), 1), "{on_delete}");
        }
    })
    .await;
}

/// The key's own operator says whether a row is referred to, not the one that the search path leads to.
#[tokio::test]
async fn an_operator_of_somebody_elses_does_not_say_who_refers_to_whom() {
    on_each_major(async |db| {
        db.execute(
            "CREATE SCHEMA archive; CREATE TABLE log (name varchar(9) PRIMARY KEY, created_at timestamptz);
             CREATE TABLE queue (log varchar(9) REFERENCES log ON DELETE CASCADE);
             INSERT INTO log SELECT 'row ' || n, now() - interval '40 days' FROM generate_series(1, 3) n;
             INSERT INTO queue VALUES ('row 2');
             CREATE FUNCTION never(varchar, varchar) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
             CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = never)",
        )
        .await;
        assert_eq!(run(&Pgtend::tending(&db, &keeping(TO_ARCHIVE)), 1).await["details"]["rows_archived"], 2);
        assert_eq!((places(&db).await, db.count("queue").await), ((1, 2), 1));
    })
    .await;
}

#[tokio::test]
async fn an_archive_that_somebody_else_makes_meanwhile_must_fit_too() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        let (program, hold) = Pgtend::tending(&db, &keeping(TO_ARCHIVE)).holding("retention.rows");
        let running = program.start(["run", "old", "--json"]);
        hold.reached().await;
        // An INSERT would take each row, and cut its time down to a day.
        db.execute("CREATE TABLE archive.log (LIKE log); ALTER TABLE archive.log ALTER created_at TYPE date").await;
        hold.go_on();
        let record = running.wait().await.exits(1).json().remove(0);
        let error = record["details"]["failures"][0]["error"].as_str().unwrap();
        assert!(error.contains("is date in archive.log"), "{error}");
        assert_eq!(places(&db).await, (60, 0));
    })
    .await;
}

/// What is left of a table is in other blocks after VACUUM FULL, CLUSTER or pg_repack.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_written_anew_meanwhile_is_gone_through_again() {
    on_each_major(async |db| {
        for anew in ["VACUUM FULL log", "CLUSTER log USING backwards"] {
            db.execute("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS log").await;
            db.execute(&log(0)).await;
            db.execute(
                "DROP INDEX log_created_at; CREATE INDEX backwards ON log (size); INSERT INTO log (kind, size, created_at)
                     SELECT 'note', -n, now() - interval '40 days' FROM generate_series(1, 1000) n",
            )
            .await;
            let jobs = format!("{}batch = {{ rows = 100, pause = '0s' }}\n", keeping(TO_ARCHIVE));
            let (program, hold) = Pgtend::tending(&db, &jobs).holding("batch.committed");
            let running = program.start(["run", "old", "--json"]);
            hold.reached().await;
            db.execute(anew).await;
            hold.go_on();
            let record = running.wait().await.exits(0).json().remove(0);
            assert_eq!(record["details"]["rows_archived"], 1_000, "{anew}: {record}");
            assert_eq!(places(&db).await, (0, 1_000));
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_takes_the_name_of_the_one_that_was_planned_for_is_not_touched() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        let (program, hold) =
            Pgtend::tending(&db, &keeping("keep = '30 days', column = 'created_at'")).holding("retention.rows");
        let running = program.start(["run", "old", "--json"]);
        hold.reached().await;
        db.execute(
            "ALTER TABLE log RENAME TO elder; CREATE TABLE log (LIKE elder); INSERT INTO log SELECT * FROM elder",
        )
        .await;
        hold.go_on();
        let record = running.wait().await.exits(1).json().remove(0);
        let error = record["details"]["failures"][0]["error"].as_str().unwrap();
        assert!(error.contains("public.log is not the table any more"), "{error}");
        assert_eq!((db.count("log").await, db.count("elder").await), (60, 60));
    })
    .await;
}

/// Somebody's bulk loads go by such a role; under it no foreign key is looked at, and no trigger is asked.
#[tokio::test]
async fn a_role_whose_triggers_are_off_has_them_on_here_or_does_nothing() {
    on_each_major(async |db| {
        let name = db.name().to_owned();
        db.execute(&log(60)).await;
        db.execute(&format!(
            "CREATE TABLE queue (message bigint REFERENCES log ON DELETE CASCADE); INSERT INTO queue VALUES (50);
             CREATE ROLE \"{name} loads\" LOGIN; GRANT CREATE ON DATABASE \"{name}\" TO \"{name} loads\";
             GRANT SELECT, UPDATE, DELETE ON log, queue TO \"{name} loads\";
             ALTER DATABASE \"{name}\" SET session_replication_role = replica"
        ))
        .await;
        let jobs = keeping("keep = '30 days', column = 'created_at'");
        let url = db.url_as(&format!("{name} loads").replace(' ', "%20"));
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{jobs}"));
        let said = program.run(["run", "old"]).await;
        assert_ne!(said.code(), 0);
        assert!(said.stderr.contains("ALTER ROLE … RESET session_replication_role"), "{}", said.stderr);
        assert_eq!((db.count("log").await, db.count("queue").await), (60, 1));
        run(&Pgtend::tending(&db, &jobs), 0).await;
        assert_eq!((db.count("log").await, db.count("queue").await), (30, 0), "no row refers to none");
    })
    .await;
}

/// The first would be taken for the condition that it is not: what is `b` would go, however young.
#[tokio::test]
async fn a_condition_with_a_parenthesis_too_many_is_refused() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        for condition in ["kind = 'note') OR (kind = 'other'", "(kind = 'note'"] {
            let keys = format!("keep = '30 days', column = 'created_at', where = \"{condition}\"");
            let program = Pgtend::tending(&db, &keeping(&keys));
            let said = program.run(["check"]).await.exits(1).stdout;
            assert!(said.contains("where of public.log: a parenthesis in it"), "{said}");
            run(&program, 1).await;
            assert_eq!(db.count("log").await, 60);
        }
        let keys = "keep = '30 days', column = 'created_at', where = \"kind = ')' OR kind = 'note' -- (\"";
        assert_eq!(run(&Pgtend::tending(&db, &keeping(keys)), 0).await["details"]["rows_deleted"], 15);
    })
    .await;
}

/// In SQL of ours a row's place has a name too.
#[tokio::test]
async fn a_column_may_be_called_what_something_in_our_sql_is_called() {
    on_each_major(async |db| {
        for name in ["tid", "ends", "matching", "locked", "gone", "kept_0", "key_0", "pgtend child"] {
            db.execute(&format!(
                "DROP SCHEMA IF EXISTS archive CASCADE; CREATE SCHEMA archive; DROP TABLE IF EXISTS log;
                 CREATE TABLE log (\"{name}\" timestamptz, n int);
                 INSERT INTO log SELECT now() - interval '40 days' - n * interval '1 hour', n FROM generate_series(1, 300) n;
                 CREATE INDEX ON log (\"{name}\"); ANALYZE log"
            ))
            .await;
            for keys in ["", ", action = 'archive', to = 'archive.log'"] {
                let keys = format!("keep = '30 days', column = '\"{name}\"', where = \"n % 2 = {}\"{keys}", i32::from(keys.is_empty()));
                let jobs = format!("{}batch = {{ rows = 20, pause = '0s' }}\n", keeping(&keys));
                run(&Pgtend::tending(&db, &jobs), 0).await;
            }
            assert_eq!(places(&db).await, (0, 150), "{name}");
        }
    })
    .await;
}
