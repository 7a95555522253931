//! What PostgreSQL would refuse, or do besides: said before, and never passed over in silence.

use super::*;

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
async fn a_column_may_be_called_anything() {
    let db = Scratch::new(
        "CREATE TABLE odd (\"ends (at\" timestamptz, \"it's\" timestamptz);
         INSERT INTO odd VALUES ('2026-01-01Z', '2099-01-01Z'), ('2099-01-01Z', '2026-01-01Z'), (NULL, NULL)",
    )
    .await;
    for (column, left) in [("\\\"ends (at\\\"", 2), ("\\\"it's\\\"", 1)] {
        let (ended, report) = db.job(&format!("tables = [{{ table = 'odd', column = \"{column}\" }}]")).run().await;
        assert_eq!(ended.outcome(), Outcome::Succeeded, "{report:?}");
        assert_eq!(db.number("SELECT count(*) FROM odd").await, left);
    }
    // What is written as SQL has to end where it begins.
    let open = r#"tables = [{ table = 'odd', expression = "now() - (interval '1 day'" }]"#;
    assert!(db.job(open).run().await.1.failures[0].error.contains("a parenthesis in it"));
}

/// A condition that asks about another table makes a join of what is read in the order of the index.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_found_behind_a_condition_on_another_table() {
    let db = Scratch::new(
        "CREATE TABLE messages (id int PRIMARY KEY, ended timestamptz); CREATE INDEX by_end ON messages (ended);
         CREATE TABLE queue (message int); CREATE INDEX ON queue (message); ANALYZE;
         INSERT INTO messages SELECT n, '2020-01-01Z' FROM generate_series(1, 20000) n; INSERT INTO queue VALUES (7); ANALYZE;",
    )
    .await;
    let of_neither = "tables = [{ table = 'messages', column = 'ended', \
                      where = 'NOT EXISTS (SELECT FROM queue q WHERE q.message = messages.id)' }]";
    let job = db.job(of_neither);
    assert_eq!(job.check().await, "");
    assert_eq!(job.run().await.1.total(Counted::RowsDeleted), 19_999);
    assert_eq!(db.number("SELECT count(*) FROM messages").await, 1);
}
