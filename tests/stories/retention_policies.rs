//! Policies that stand in a table of the database: each row by itself, and told when it was carried out.

use serde_json::Value;

use crate::support::{Database, Pgtend, on_each_major};

const JOB: &str = r#"
[jobs.old]
timeout = "1m"
[jobs.old.retention.policies]
table = "policies"
to = "archive"
except = [{ table = "results", age_from = { table = "suites", key = "suite", column = "created_at" } }]
"#;

/// Three tables with sixty rows of as many days ago, one with months, and a table of policies without a row.
async fn prepare(db: &Database) {
    db.execute(
        "CREATE SCHEMA archive;
         CREATE TABLE policies (table_name varchar(255) NOT NULL, retention_days int NOT NULL, archive_enabled bool DEFAULT true,
             delete_enabled bool DEFAULT false, last_run_at timestamptz);
         CREATE TABLE outputs (id int, created_at timestamptz); CREATE TABLE history (LIKE outputs);
         CREATE TABLE suites (id int PRIMARY KEY, created_at timestamptz); CREATE TABLE results (id int, suite int REFERENCES suites);
         INSERT INTO outputs SELECT n, now() - n * interval '1 day' - interval '1 hour' FROM generate_series(0, 59) n;
         INSERT INTO history SELECT * FROM outputs; INSERT INTO suites SELECT * FROM outputs; INSERT INTO results SELECT id, id FROM suites;
         CREATE TABLE months (id int, created_at timestamptz) PARTITION BY RANGE (created_at)",
    )
    .await;
    let months = "SELECT format('CREATE TABLE months_%s PARTITION OF months FOR VALUES FROM (%L) TO (%L)', n,
                      (month - n * interval '1 month') AT TIME ZONE 'UTC', (month - (n - 1) * interval '1 month') AT TIME ZONE 'UTC')
                  FROM generate_series(0, 5) n, date_trunc('month', now() AT TIME ZONE 'UTC') AS month";
    let statements: Vec<String> = db.column(months).await;
    db.execute(&statements.join("; ")).await;
}

async fn policy(db: &Database, rows: &str) {
    db.execute(&format!(
        "DELETE FROM policies; INSERT INTO policies (table_name, retention_days, archive_enabled, delete_enabled) VALUES {rows}"
    ))
    .await;
}

async fn run(program: &Pgtend, exit: i32) -> Value {
    program.run(["run", "old", "--json"]).await.exits(exit).json().pop().expect("a record")
}

/// The names of the policies that have been told that they were carried out.
async fn recorded(db: &Database) -> Vec<String> {
    db.column("SELECT table_name::text FROM policies WHERE last_run_at > now() - interval '1 hour' ORDER BY 1").await
}

#[tokio::test]
async fn each_policy_is_carried_out_as_its_flags_say_and_told_so() {
    on_each_major(async |db| {
        prepare(&db).await;
        policy(
            &db,
            "('outputs', 30, true, false), ('history', 20, false, true), ('suites', 1, false, false), ('results', 50, true, true),
             ('months', 40, false, true)",
        )
        .await;
        let program = Pgtend::tending(&db, JOB);
        program.run(["check"]).await.exits(0);
        let plan = program.run(["plan", "old"]).await.exits(0).stdout;
        assert!(plan.contains("public.policies neither archives nor deletes it"), "{plan}");
        assert_eq!(recorded(&db).await, [""; 0], "a plan changes nothing");

        let details = run(&program, 0).await["details"].clone();
        assert_eq!((&details["rows_archived"], &details["rows_deleted"]), (&40.into(), &40.into()), "{details}");
        assert!(details["partitions_dropped"].as_u64().unwrap() >= 3, "{details}");
        for (table, left, archived) in [("outputs", 30, 30), ("results", 50, 10)] {
            assert_eq!((db.count(table).await, db.count(&format!("archive.{table}")).await), (left, archived), "{table}");
        }
        assert_eq!((db.count("history").await, db.count("suites").await), (20, 60));
        assert_eq!(recorded(&db).await, ["history", "months", "outputs", "results"], "and not of what nothing was to be done to");

        // Now that there is an archive.outputs, the name still means the live table; and with nothing to do it is recorded.
        db.execute("UPDATE policies SET last_run_at = NULL").await;
        assert_eq!(run(&program, 0).await["details"].get("rows_archived"), None);
        assert_eq!(recorded(&db).await, ["history", "months", "outputs", "results"]);
        assert_eq!(db.count("archive.outputs").await, 30);
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_meant_is_named_and_the_others_are_carried_out() {
    on_each_major(async |db| {
        prepare(&db).await;
        db.execute("CREATE SCHEMA other; CREATE TABLE other.suites (LIKE suites); CREATE VIEW seen AS SELECT * FROM history").await;
        policy(
            &db,
            "('outputs', 30, false, true), ('nil', 30, false, true), ('suites', 30, false, true), ('seen', 30, false, true),
             ('history', 30, false, true), ('public.history', 10, false, true), ('results', 0, false, true), ('months_1', 30, false, true)",
        )
        .await;
        let program = Pgtend::tending(&db, JOB);
        let said = program.run(["check"]).await.exits(1).stdout;
        let record = run(&program, 1).await;
        assert_eq!((&record["outcome"], &record["details"]["rows_deleted"]), (&"partial".into(), &30.into()), "{record}");
        let failures: Vec<String> =
            record["details"]["failures"].as_array().unwrap().iter().map(|f| f["error"].as_str().unwrap().to_owned()).collect();
        for expect in [
            "public.policies: nil: there is no such table",
            "public.policies: suites: it may be any of other.suites, public.suites",
            "public.policies: seen: public.seen is a view",
            "public.policies: history: public.history has more than one row",
            "public.policies: public.history: public.history has more than one row",
            "public.policies: results: \"retention_days\" is 0",
            "public.policies: months_1: public.months_1 is a partition of public.months",
        ] {
            assert!(failures.iter().any(|failure| failure.contains(expect)), "{expect}: {failures:#?}");
            let first = expect.split(": ").nth(2).unwrap();
            assert!(said.contains(first.split('"').next().unwrap()), "{expect}: {said}");
        }
        assert_eq!(failures.len(), 7, "{failures:#?}");
        assert_eq!((db.count("history").await, db.count("results").await), (60, 60));
        assert_eq!(recorded(&db).await, ["outputs"]);
    })
    .await;
}

#[tokio::test]
async fn what_failed_or_was_locked_is_not_recorded_as_carried_out() {
    on_each_major(async |db| {
        prepare(&db).await;
        policy(&db, "('outputs', 30, false, true), ('history', 30, false, true)").await;
        db.execute(
            "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
             CREATE TRIGGER never BEFORE DELETE ON history FOR EACH ROW EXECUTE FUNCTION never()",
        )
        .await;
        let program = Pgtend::tending(&db, JOB);
        run(&program, 1).await;
        assert_eq!(recorded(&db).await, ["outputs"]);

        db.execute("UPDATE policies SET last_run_at = NULL; DROP TRIGGER never ON history").await;
        let mut application = db.client().await;
        let busy = application.transaction().await.unwrap();
        busy.batch_execute("LOCK TABLE history IN SHARE MODE").await.unwrap();
        let short = Pgtend::tending(&db, &JOB.replace("1m", "3s"));
        run(&short, 1).await;
        assert_eq!(recorded(&db).await, ["outputs"]);
        busy.rollback().await.unwrap();
        run(&program, 0).await;
        assert_eq!(recorded(&db).await, ["history", "outputs"]);
    })
    .await;
}

#[tokio::test]
async fn a_table_of_policies_that_cannot_be_read_is_one_failure_with_its_mend() {
    on_each_major(async |db| {
        for (change, expect) in [
            ("DROP TABLE policies", "there is no table public.policies"),
            ("ALTER TABLE policies RENAME retention_days TO days_kept", "has no column \"retention_days\""),
            ("ALTER TABLE policies ALTER archive_enabled DROP DEFAULT, ALTER archive_enabled TYPE text", "must be boolean"),
        ] {
            db.execute("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS policies, outputs, history, results, suites, months").await;
            prepare(&db).await;
            db.execute(change).await;
            let program = Pgtend::tending(&db, JOB);
            assert!(program.run(["check"]).await.exits(1).stdout.contains(expect), "{change}");
            let record = run(&program, 1).await;
            let error = record["details"]["failures"][0]["error"].as_str().unwrap();
            assert!(error.contains(expect), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_write_the_time_is_told_the_grant_and_does_the_work() {
    on_each_major(async |db| {
        prepare(&db).await;
        policy(&db, "('outputs', 30, false, true)").await;
        let name = db.name().to_owned();
        db.execute(&format!(
            "CREATE ROLE \"{name}_tends\" LOGIN; GRANT CREATE ON DATABASE \"{name}\" TO \"{name}_tends\";
             GRANT SELECT, UPDATE, DELETE ON outputs TO \"{name}_tends\"; GRANT SELECT ON policies TO \"{name}_tends\""
        ))
        .await;
        let url = db.url_as(&format!("{name}_tends"));
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{JOB}"));
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["rows_deleted"], 30);
        assert!(record["details"]["warnings"].to_string().contains("GRANT UPDATE"), "{record}");
        db.execute(&format!("GRANT UPDATE (last_run_at) ON policies TO \"{name}_tends\"")).await;
        run(&program, 0).await;
        assert_eq!(recorded(&db).await, ["outputs"]);
    })
    .await;
}

/// A partition goes whole, with the rows that `where` would have kept, and by its bounds, not by another column.
#[tokio::test]
async fn an_exception_about_single_rows_of_a_partitioned_table_is_refused_and_not_passed_over() {
    on_each_major(async |db| {
        prepare(&db).await;
        db.execute("ALTER TABLE months ADD closed_at timestamptz").await;
        let partitions = "pg_inherits WHERE inhparent = 'months'::regclass";
        policy(&db, "('months', 40, false, true)").await;
        let with = |exception: &str| {
            let jobs = JOB.replace("except = [", &format!("except = [{{ table = 'months', {exception} }}, "));
            Pgtend::tending(&db, &jobs)
        };
        for (exception, expect) in [
            ("where = 'id <> 59'", "where and age_from are about single rows"),
            ("age_from = { table = 'suites', key = 'id', column = 'created_at' }", "about single rows"),
            ("column = 'closed_at'", "is not its key"),
        ] {
            let record = run(&with(exception), 1).await;
            let failures = record["details"]["failures"].to_string();
            assert!(failures.contains(expect), "{failures}");
            assert_eq!(db.count(partitions).await, 6, "{exception}");
        }
        run(&with("column = 'created_at'"), 0).await;
        assert!(db.count(partitions).await < 6);
    })
    .await;
}
