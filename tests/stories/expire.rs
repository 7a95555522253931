//! Rows whose time is over go; every other row stays.

use std::time::Duration;

use pgtend::kinds::StopReason;
use pgtend::pg::batch::{Access, Cutoff, Deletion, Form};
use pgtend::pg::{Ident, TableName};
use pgtend::run::{Counted, Outcome};

use crate::scratch::Scratch;

const SESSIONS: &str = "CREATE TABLE sessions (id int PRIMARY KEY, expires_at timestamptz, note text);
    CREATE INDEX sessions_expires_at ON sessions (expires_at);";
const EXPIRE_SESSIONS: &str = "tables = [{ table = 'sessions' }]";

/// `count` sessions that ended one after the other up to a second before noon of 15 June 2026, which is now.
fn ended(count: u32) -> String {
    format!(
        "INSERT INTO sessions SELECT n, '2026-06-15 12:00Z'::timestamptz - n * interval '1 s' FROM generate_series(1, {count}) n;"
    )
}

/// Sessions that live: one ends now, one later, one never.
const LIVING: &str = "INSERT INTO sessions VALUES (-1, '2026-06-15 12:00Z'), (-2, '2026-06-15 12:00:01Z'), (-3, 'infinity'), (-4, NULL);";

#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_go_and_living_ones_stay() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}{LIVING}", ended(2_000))).await;
        db.sql.client.batch_execute("INSERT INTO sessions VALUES (0, '-infinity')").await.unwrap();
        let plan = db.job(EXPIRE_SESSIONS).actions().await;
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].detail["rows"], 2_001);
        assert_eq!(
            plan[0].detail["access"],
            if index.is_empty() { "index sessions_expires_at" } else { "block ranges" }
        );

        let (ended, report) = db.job(EXPIRE_SESSIONS).run().await;
        assert_eq!(ended.outcome(), Outcome::Succeeded);
        assert_eq!(report.total(Counted::RowsDeleted), 2_001);
        assert_eq!(report.counts.keys().next().unwrap().1, "public.sessions");
        assert_eq!(db.number("SELECT sum(id) FROM sessions").await, -10);
        assert_eq!(db.job(EXPIRE_SESSIONS).actions().await, [], "a second run has nothing to do");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_extended_while_the_job_runs_lives() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}", ended(100))).await;
        let application = db.session().await;
        application
            .client
            .batch_execute("BEGIN; UPDATE sessions SET expires_at = 'infinity' WHERE id = 42")
            .await
            .unwrap();
        let job = db.job(EXPIRE_SESSIONS);
        let run = async { job.run().await };
        let extended = async {
            // The job has done the others, and has begun to wait for this one.
            until(&db, "SELECT count(*) FROM sessions", 1).await;
            application.client.batch_execute("COMMIT").await.unwrap();
        };
        let ((ended, report), ()) = tokio::join!(run, extended);
        assert_eq!(ended.outcome(), Outcome::Succeeded);
        assert_eq!(report.total(Counted::RowsDeleted), 99);
        assert_eq!(db.number("SELECT id::bigint FROM sessions").await, 42);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_stays_locked_is_reported_with_who_holds_it() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}", ended(100))).await;
        let application = db.session().await;
        application.client.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 42 FOR UPDATE").await.unwrap();
        let pid: i32 = application.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let job =
            db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(1));
        let (ended, report) = job.run().await;
        assert_eq!(ended.outcome(), Outcome::TimedOut);
        assert_eq!(report.total(Counted::RowsDeleted), 99);
        let failure = &report.failures[0];
        assert_eq!(failure.target, "public.sessions");
        assert!(failure.error.contains(&format!("pid {pid} (postgres, test)")), "{}", failure.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_locked_by_several_or_by_a_prepared_transaction_is_reported_too() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(3))).await;
    let (one, two) = (db.session().await, db.session().await);
    for link in [&one, &two] {
        link.client.batch_execute("BEGIN; SELECT FROM sessions WHERE id = 1 FOR SHARE").await.unwrap();
    }
    let job =
        db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_millis(700));
    let (_, report) = job.run().await;
    assert_eq!(report.failures[0].error.matches("pid ").count(), 2, "{}", report.failures[0].error);
    two.client.batch_execute("ROLLBACK").await.unwrap();
    one.client
        .batch_execute("ROLLBACK; BEGIN; SELECT FROM sessions WHERE id = 1 FOR UPDATE; PREPARE TRANSACTION 'lost'")
        .await
        .unwrap();
    let job =
        db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_millis(700));
    let (_, report) = job.run().await;
    assert!(report.failures[0].error.contains("prepared transaction 'lost'"), "{}", report.failures[0].error);
    one.client.batch_execute("ROLLBACK PREPARED 'lost'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_locked_rows_with_one_time_than_a_batch_takes_do_not_hide_the_others() {
    let db = Scratch::new(SESSIONS).await;
    db.sql
        .client
        .batch_execute("INSERT INTO sessions SELECT n, '2026-01-01Z' FROM generate_series(1, 50) n")
        .await
        .unwrap();
    let application = db.session().await;
    application.client.batch_execute("BEGIN; SELECT FROM sessions WHERE id <= 10 FOR UPDATE").await.unwrap();
    let config = "tables = [{ table = 'sessions' }]\nbatch = { rows = 5 }";
    let job = db.job_at("postgres", config, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_millis(700));
    let (_, report) = job.run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 40);
    assert!(report.failures[0].error.contains("10 rows"), "{}", report.failures[0].error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked_is_reported() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(3))).await;
    let application = db.session().await;
    application.client.batch_execute("BEGIN; LOCK TABLE sessions IN SHARE MODE").await.unwrap();
    let job =
        db.job_at("postgres", EXPIRE_SESSIONS, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_millis(700));
    let (_, report) = job.run().await;
    assert!(report.failures[0].error.contains("the table is locked by pid"), "{}", report.failures[0].error);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_neighbours_of_a_partition_keep_their_rows() {
    let db = Scratch::new(
        "CREATE TABLE sessions (id int, kind text, expires_at timestamptz) PARTITION BY LIST (kind);
         CREATE TABLE sessions_a PARTITION OF sessions FOR VALUES IN ('a');
         CREATE TABLE sessions_b PARTITION OF sessions FOR VALUES IN ('b') PARTITION BY RANGE (id);
         CREATE TABLE sessions_b_1 PARTITION OF sessions_b DEFAULT;
         CREATE INDEX ON sessions (expires_at);
         INSERT INTO sessions SELECT n, 'a', '2026-01-01Z' FROM generate_series(1, 30) n;
         INSERT INTO sessions SELECT n, 'b', CASE WHEN n % 10 = 0 THEN '2026-01-01Z'::timestamptz ELSE 'infinity' END FROM generate_series(1, 30) n;",
    )
    .await;
    let job = db.job(EXPIRE_SESSIONS);
    let targets: Vec<_> = job.actions().await.into_iter().map(|step| step.target).collect();
    assert_eq!(targets, ["public.sessions_a", "public.sessions_b_1"]);
    let (_, report) = job.run().await;
    assert_eq!(
        report.counts.iter().map(|((_, table), n)| (table.as_str(), *n)).collect::<Vec<_>>(),
        [("public.sessions", 33)]
    );
    assert_eq!(db.number("SELECT count(*) FROM sessions WHERE kind = 'b' AND id % 10 <> 0").await, 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_by_inheritance_are_tables_of_their_own() {
    let db = Scratch::new(&format!(
        "{SESSIONS}CREATE TABLE sessions_old () INHERITS (sessions); {} INSERT INTO sessions_old SELECT * FROM sessions WHERE id > 7;",
        ended(10)
    ))
    .await;
    let steps = db.job(EXPIRE_SESSIONS).actions().await;
    let rows: Vec<_> = steps.iter().map(|step| (step.target.as_str(), step.detail["rows"].as_u64().unwrap())).collect();
    assert_eq!(rows, [("public.sessions", 10), ("public.sessions_old", 3)]);
    let (_, report) = db.job(EXPIRE_SESSIONS).run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 13);
    assert_eq!(db.number("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_an_index_is_read_once_and_not_once_a_batch() {
    let db = Scratch::new(&format!("{SESSIONS}DROP INDEX sessions_expires_at;{}{LIVING}", ended(20_000))).await;
    db.sql.client.batch_execute("SELECT pg_stat_reset()").await.unwrap();
    let config = "tables = [{ table = 'sessions' }]\nbatch = { rows = 500, pause = '1ms' }";
    let (_, report) = db.job(config).run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 20_000);
    until(&db, "SELECT n_tup_del FROM pg_stat_user_tables", 20_000).await;
    let read = db.number("SELECT seq_tup_read FROM pg_stat_user_tables").await;
    // Once to count for the plan, once to delete, and the ends of ranges twice; forty batches would read 800,000.
    assert!(read < 70_000, "{read} rows were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_that_postgresql_takes_will_do() {
    let long = "ω".repeat(31) + "x";
    for (table, column) in
        [("Sessions", "Expires At"), ("se\"ss'ions", "ex\"pires;--"), ("συνεδρίες", "λήγει"), (long.as_str(), "select")]
    {
        let (quoted, time) = (table.replace('"', "\"\""), column.replace('"', "\"\""));
        let db = Scratch::new(&format!(
            "CREATE SCHEMA \"My Schema\"; CREATE TABLE \"My Schema\".\"{quoted}\" (\"{time}\" timestamptz);
             INSERT INTO \"My Schema\".\"{quoted}\" VALUES ('2026-01-01Z'), ('infinity')"
        ))
        .await;
        let config = format!("tables = [{{ table = '''\"My Schema\".\"{quoted}\"''', column = '''\"{time}\"''' }}]");
        let (ended, report) = db.job(&config).run().await;
        assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Succeeded, 1), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_from_which_row_security_hides_rows_fails_and_deletes_nothing() {
    let db = Scratch::new(&format!(
        "{SESSIONS}{} CREATE ROLE hidden LOGIN; GRANT ALL ON sessions TO hidden; ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;",
        ended(3)
    ))
    .await;
    let job = db.job_as("hidden", EXPIRE_SESSIONS);
    let (ended, report) = job.run().await;
    assert_eq!(ended.outcome(), Outcome::Failed);
    let error = &report.failures[0].error;
    assert!(error.contains("row security hides rows of public.sessions from role \"hidden\""), "{error}");
    assert!(job.check().await.contains("error: row security hides"));
    // Its owner sees all of it, and a role that was given BYPASSRLS too.
    db.sql.client.batch_execute("ALTER ROLE hidden BYPASSRLS").await.unwrap();
    assert_eq!(db.job_as("hidden", EXPIRE_SESSIONS).run().await.1.total(Counted::RowsDeleted), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_is_named_with_its_grant_and_spoils_no_other_table() {
    let db = Scratch::new(&format!(
        "{SESSIONS}{} CREATE TABLE other (expires_at timestamptz); INSERT INTO other VALUES ('2026-01-01Z');
         CREATE ROLE poor LOGIN; GRANT SELECT, DELETE ON sessions TO poor; GRANT ALL ON other TO poor;",
        ended(3)
    ))
    .await;
    let job = db.job_as("poor", "tables = [{ table = 'sessions' }, { table = 'missing' }, { table = 'other' }]");
    let (ended, report) = job.run().await;
    assert_eq!(ended.outcome(), Outcome::Partial);
    assert_eq!(report.total(Counted::RowsDeleted), 1);
    let error = &report.failures[0].error;
    assert!(error.contains("role \"poor\" lacks UPDATE on public.sessions"), "{error}");
    assert!(error.contains("GRANT UPDATE ON \"public\".\"sessions\" TO \"poor\";"), "{error}");
    assert!(report.failures[1].error.contains("there is no table public.missing"), "{:?}", report.failures);
    assert!(job.check().await.contains("GRANT UPDATE ON \"public\".\"sessions\" TO \"poor\";"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_keeps_rows_is_found_out() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!(
            "{SESSIONS}{index}{} CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF old.id <= 3 THEN RETURN NULL; END IF; RETURN old; END $$;
             CREATE TRIGGER keep BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep();",
            ended(100)
        ))
        .await;
        let job = db.job(EXPIRE_SESSIONS);
        let (ended, report) = job.run().await;
        assert_eq!(ended.outcome(), Outcome::Failed);
        assert_eq!(report.total(Counted::RowsDeleted), 97);
        assert!(report.failures[0].error.contains("3 rows that are due"), "{:?}", report.failures);
        assert!(job.check().await.contains("BEFORE DELETE triggers (keep)"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_others_refer_to_stays_and_does_not_stop_the_rest() {
    let db = Scratch::new(&format!(
        "{SESSIONS}{} CREATE TABLE device (session int REFERENCES sessions); INSERT INTO device VALUES (5), (5), (7);",
        ended(10)
    ))
    .await;
    let job = db.job(EXPIRE_SESSIONS);
    let (ended, report) = job.run().await;
    assert_eq!(ended.outcome(), Outcome::Succeeded);
    assert_eq!(report.total(Counted::RowsDeleted), 8);
    let warnings = report.warnings.join("\n");
    assert!(warnings.contains("2 rows that ended stay, because rows of public.device refer to them"), "{warnings}");
    let check = job.check().await;
    assert!(check.contains("CREATE INDEX CONCURRENTLY ON \"public\".\"device\" (\"session\");"), "{check}");
    assert_eq!(db.job(EXPIRE_SESSIONS).actions().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_go_with_others_are_named_and_counted() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!(
            "{SESSIONS}{index}{} {LIVING}
             CREATE TABLE device (session int REFERENCES sessions ON DELETE CASCADE); CREATE INDEX ON device (session);
             CREATE TABLE login (session int REFERENCES sessions ON DELETE SET NULL); CREATE INDEX ON login (session);
             INSERT INTO device VALUES (5), (5), (7), (-1); INSERT INTO login VALUES (1), (2);",
            ended(10)
        ))
        .await;
        let (_, report) = db.job(EXPIRE_SESSIONS).run().await;
        let warnings = report.warnings.join("\n");
        assert!(
            warnings.contains("rows of public.device that refer to deleted rows are deleted with them"),
            "{warnings}"
        );
        let counted = serde_json::json!({ "public.device": 3, "public.login": 2 });
        assert_eq!(report.details()["rows_of_referencing_tables"], counted);
        assert_eq!(db.number("SELECT count(*) FROM device").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nobody_may_read_now_is_reported_and_spoils_no_other() {
    let db =
        Scratch::new(&format!("{SESSIONS}{} CREATE TABLE other AS SELECT expires_at FROM sessions;", ended(3))).await;
    let application = db.session().await;
    application.client.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let pid: i32 = application.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let (ended, report) = db.job("tables = [{ table = 'sessions' }, { table = 'other' }]").run().await;
    assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Partial, 3));
    let error = &report.failures[0].error;
    assert!(error.contains(&format!("public.sessions is locked by pid {pid}")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_that_cannot_be_looked_into_is_named_with_its_grant() {
    let db = Scratch::new(&format!(
        "{SESSIONS}{} CREATE TABLE device (session int REFERENCES sessions); INSERT INTO device VALUES (5);
         CREATE ROLE narrow LOGIN; GRANT ALL ON sessions TO narrow;",
        ended(10)
    ))
    .await;
    let job = db.job_as("narrow", EXPIRE_SESSIONS);
    let (_, report) = job.run().await;
    let error = &report.failures[0].error;
    assert!(error.contains("rows of table device still refer") && error.contains("device_session_fkey"), "{error}");
    assert!(job.check().await.contains("GRANT SELECT ON \"public\".\"device\""));
    db.sql.client.batch_execute("GRANT SELECT ON device TO narrow").await.unwrap();
    assert_eq!(db.job_as("narrow", EXPIRE_SESSIONS).run().await.1.total(Counted::RowsDeleted), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_time_are_counted_and_kept() {
    let db = Scratch::new(&format!("{SESSIONS}{LIVING}")).await;
    let plan = db.job(EXPIRE_SESSIONS).plan().await;
    assert!(
        plan.iter().any(|step| step.action == "keep" && step.reason == "1 row without a time: NULL never ends"),
        "{plan:?}"
    );
    assert!(
        db.job(EXPIRE_SESSIONS).check().await.contains("1 row have no time")
            || db.job(EXPIRE_SESSIONS).check().await.contains("1 row")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_where_and_expression_say_which_rows() {
    let db = Scratch::new(
        "CREATE TABLE message (id int, state text, created_at timestamp, ttl int);
         INSERT INTO message VALUES (1, 'read', '2026-06-14 11:00', 3600), (2, 'new', '2026-06-14 11:00', 3600),
             (3, 'read', '2026-06-15 11:30', 3600), (4, 'read', '2026-06-15 06:00', 3600), (5, 'read', '2026-06-14 11:00', NULL);",
    )
    .await;
    let config =
        "tables = [{ table = 'message', expression = \"created_at + ttl * interval '1 second' -- when it ends\",
        where = \"message.state = 'read' -- or else\", grace = '12h' }]";
    let (ended, report) = db.job(config).run().await;
    assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Succeeded, 1), "{report:?}");
    assert_eq!(db.number("SELECT count(*) FROM message WHERE id = 1").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_the_expression_is_used() {
    let db = Scratch::new(
        "CREATE TABLE key (made timestamptz, days int);
         CREATE INDEX key_ends ON key ((made AT TIME ZONE 'UTC' + days * interval '1 day')) WHERE days IS NOT NULL;
         INSERT INTO key SELECT '2026-01-01Z', 1 FROM generate_series(1, 10);",
    )
    .await;
    let config = "tables = [{ table = 'key', expression = \"made AT TIME ZONE 'UTC' + days * interval '1 day'\", where = 'days IS NOT NULL' }]";
    assert_eq!(db.job(config).actions().await[0].detail["access"], "index key_ends");
    assert_eq!(db.job(config).run().await.1.total(Counted::RowsDeleted), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_without_a_zone_are_read_in_the_zone_of_the_job() {
    let db = Scratch::new(
        "CREATE TABLE t (id int, expires_at timestamp); CREATE INDEX ON t (expires_at); CREATE TABLE d (id int, expires_at date);
         INSERT INTO t VALUES (1, '2026-06-15 13:59:59'), (2, '2026-06-15 14:00'); CREATE INDEX ON d (expires_at);
         INSERT INTO d VALUES (1, '2026-06-15'), (2, '2026-06-16');",
    )
    .await;
    let config = "tables = [{ table = 't' }, { table = 'd' }]";
    // Noon in UTC is two in the afternoon in Berlin.
    let job =
        db.job_at("postgres", config, "2026-06-15T12:00:00Z", chrono_tz::Tz::Europe__Berlin, Duration::from_secs(60));
    assert!(job.actions().await.iter().all(|step| step.detail["access"].as_str().unwrap().starts_with("index")));
    assert_eq!(job.run().await.1.total(Counted::RowsDeleted), 2);
    assert_eq!(db.number("SELECT (SELECT id FROM t)::bigint + (SELECT id FROM d)").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_at_a_batch_and_the_next_run_finishes() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}{LIVING}", ended(1_000))).await;
        // The first batch commits; then the job rests for an hour, until it is stopped.
        let config = "tables = [{ table = 'sessions' }]\nbatch = { rows = 100, pause = '1h' }";
        let job = db.job_at("postgres", config, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(7_200));
        let stop = async {
            until(&db, "SELECT count(*) FROM sessions WHERE id > 0", 900).await;
            job.stopper.stop(StopReason::Shutdown);
        };
        let ((ended, report), ()) = tokio::join!(job.run(), stop);
        assert_eq!(ended.outcome(), Outcome::Cancelled);
        assert_eq!(report.total(Counted::RowsDeleted), 100);
        assert!(report.left_for_next_time.unwrap().contains("public.sessions"));
        assert_eq!(db.job(EXPIRE_SESSIONS).run().await.1.total(Counted::RowsDeleted), 900);
        assert_eq!(db.number("SELECT count(*) FROM sessions").await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_with_a_table_and_how_to_mend_it() {
    let db = Scratch::new(
        "CREATE TABLE \"Sessions\" (expires_at timestamptz); CREATE VIEW v AS SELECT 1 AS expires_at;
         CREATE TABLE t (expires int, at timestamptz);",
    )
    .await;
    let check = db
        .job(
            "tables = [{ table = 'sessions' }, { table = 'v' }, { table = 't' }, { table = 't', column = 'expires' },
             { table = 't', column = 'at' }, { table = 't', column = 'at', where = 'nonsense' },
             { table = 't', column = 'at', where = '1' }, { table = 't', expression = 'at < $1' }]",
        )
        .check()
        .await;
    let expect = r#"
error: there is no table public.sessions -> is it table = 'public."Sessions"'?
error: public.v is a view, and rows are deleted from tables only -> name the table that has the rows
error: public.t has no column "expires_at" -> name it with column; the nearest is "expires"
error: column "expires" of public.t: it is of type int4, and must be timestamptz, timestamp or date -> make one with expression, such as to_timestamp(expires_at_seconds)
warning: public.t has no index by which rows that ended are found, so each run reads all of it -> CREATE INDEX CONCURRENTLY ON "public"."t" ("at");
error: where of public.t: PostgreSQL says: column "nonsense" does not exist -> correct it
error: where of public.t: it is of type int4, and must be boolean -> write a condition
error: expression of public.t: it has a parameter -> write the value itself
"#;
    assert_eq!(check, expect[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_waits_for_a_replica_that_is_behind_and_then_goes_on() {
    let db = Scratch::new(&format!("{SESSIONS}{}", ended(300))).await;
    let standby = db.standby().await;
    until(&db, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1).await;
    standby.client.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    db.sql.client.batch_execute("CREATE TABLE behind ()").await.unwrap();
    until(&db, "SELECT count(*) FROM pg_stat_replication WHERE replay_lag > '300 ms'", 1).await;
    let job = db.job("tables = [{ table = 'sessions' }]\nbatch = { rows = 100, max_replica_lag = '200ms' }");
    let resume = async {
        // It has asked twice, and deleted nothing in between.
        let asks = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgtend/sessions'
                    AND datname = current_database() AND query LIKE '%pg_stat_replication%'";
        until(&db, asks, 1).await;
        let first: String =
            db.sql.client.query_one(&asks.replace("count(*)", "max(query_start)::text"), &[]).await.unwrap().get(0);
        until(&db, &format!("{asks} AND query_start > '{first}'"), 1).await;
        assert_eq!(db.number("SELECT count(*) FROM sessions").await, 300);
        standby.client.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    };
    let ((_, report), ()) = tokio::join!(job.run(), resume);
    assert_eq!(report.total(Counted::RowsDeleted), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_the_role_may_not_see_are_said_once_and_not_waited_for() {
    let db =
        Scratch::new(&format!("{SESSIONS}{} CREATE ROLE blind LOGIN; GRANT ALL ON sessions TO blind;", ended(300)))
            .await;
    db.standby().await;
    until(&db, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 1).await;
    let job = db.job_as("blind", "tables = [{ table = 'sessions' }]\nbatch = { rows = 100 }");
    let (_, report) = job.run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 300);
    assert!(report.warnings[0].contains("GRANT pg_monitor"), "{:?}", report.warnings);
}

/// Waits until a query gives a number.
async fn until(db: &Scratch, sql: &str, number: i64) {
    let link = db.session().await;
    let asked = tokio::time::Instant::now();
    loop {
        let is: i64 = link.client.query_one(sql, &[]).await.unwrap().get(0);
        if is == number {
            return;
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "{sql} gives {is} and never {number}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_part_of_a_table_goes_block_by_block_and_a_small_one_by_the_index() {
    let db = Scratch::new(&format!(
        "{SESSIONS} INSERT INTO sessions SELECT n, '2026-06-15 12:00Z'::timestamptz + (n * 7919 % 100000 - 50000) * interval '1 s', 'x'
         FROM generate_series(1, 100000) n; ANALYZE sessions;"
    ))
    .await;
    assert_eq!(db.job(EXPIRE_SESSIONS).actions().await[0].detail["access"], "block ranges");
    assert!(!db.job(EXPIRE_SESSIONS).check().await.contains("no index"));
    let late = "tables = [{ table = 'sessions', grace = '13h' }]";
    assert_eq!(db.job(late).actions().await[0].detail["access"], "index sessions_expires_at");
    assert_eq!(db.job(late).run().await.1.total(Counted::RowsDeleted), 3_200);
    assert_eq!(db.job(EXPIRE_SESSIONS).run().await.1.total(Counted::RowsDeleted), 46_800);
    assert_eq!(db.number("SELECT count(*) FROM sessions WHERE expires_at >= '2026-06-15 12:00Z'").await, 50_000);
}

/// Each form of a batch, on servers of any age, by an index and by blocks: stopped where it waits for a row that is being
/// extended, and let go on.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_way_a_batch_waits_for_a_row_that_is_extended_the_row_lives() {
    let due = |leaf: &str| Deletion {
        leaf: TableName::new("public", leaf).unwrap(),
        oid: 0,
        alias: Ident::new("sessions").unwrap(),
        time: "expires_at".into(),
        time_type: "timestamptz",
        cutoff: Cutoff::Instant("2026-06-15T12:00:00Z".parse().unwrap()),
        conditions: vec![],
        refused_by: vec![],
        followed_by: vec![],
        access: Access::Blocks,
        guarded: false,
    };
    let deletion = due("sessions");
    let cases = [
        ("by index, eager", deletion.by_index(Form::Eager), "-infinity", None),
        ("by index, waiting", deletion.by_index(Form::Waiting), "-infinity", None),
        ("by blocks, eager", deletion.by_blocks(150_000, Form::Eager), "(0,0)", Some("(9,0)")),
        ("by blocks, waiting", deletion.by_blocks(150_000, Form::Waiting), "(0,0)", Some("(9,0)")),
        ("by blocks on 13, eager", deletion.by_blocks(130_000, Form::Eager), "(0,0)", Some("(9,0)")),
        ("by blocks on 13, waiting", deletion.by_blocks(130_000, Form::Waiting), "(0,0)", Some("(9,0)")),
        ("whole blocks", deletion.whole_blocks(), "(0,0)", Some("(9,0)")),
    ];
    for (name, sql, from, to) in cases {
        let db = Scratch::new(&format!("{SESSIONS}{}", ended(10))).await;
        let (application, batch) = (db.session().await, db.session().await);
        let pid: i32 = batch.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        application
            .client
            .batch_execute("BEGIN; UPDATE sessions SET expires_at = 'infinity' WHERE id = 5")
            .await
            .unwrap();
        let cutoff = chrono::DateTime::parse_from_rfc3339("2026-06-15T12:00:00Z").unwrap().to_utc();
        let run = async {
            let none: Vec<String> = vec![];
            match to {
                None => batch.client.query_one(&sql, &[&cutoff, &from, &100i64, &none]).await,
                Some(to) if name == "whole blocks" => batch.client.query_one(&sql, &[&cutoff, &from, &to]).await,
                Some(to) => batch.client.query_one(&sql, &[&cutoff, &from, &100i64, &to]).await,
            }
        };
        let extend = async {
            let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'");
            until(&db, &waits, 1).await;
            application.client.batch_execute("COMMIT").await.unwrap();
        };
        let (row, ()) = tokio::join!(run, extend);
        assert_eq!(row.unwrap().get::<_, i64>(1), 9, "{name}");
        assert_eq!(db.number("SELECT id::bigint FROM sessions").await, 5, "{name}");
    }
}
