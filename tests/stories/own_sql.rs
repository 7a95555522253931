//! Chores of a team's own: the kind `sql`.

use serde_json::{Value, json};

use crate::support::{Cluster, Database, Pgtend, newest_major, on_each_major};

/// Runs a job with this table `[jobs.own.sql]`, and gives what `run --json` says of it.
async fn run(db: &Database, sql: &str, code: i32) -> Value {
    let program = Pgtend::tending(db, &format!("[jobs.own.sql]\n{sql}\n"));
    program.run(["run", "own", "--json"]).await.exits(code).json().remove(0)
}

#[tokio::test]
async fn in_one_transaction_all_statements_happen_or_none() {
    on_each_major(async |db| {
        db.execute("create table t (n int)").await;
        let done = run(&db, r#"statements = ["insert into t values (1), (2)", "update t set n = n + 1"]"#, 0).await;
        assert_eq!(done["outcome"], "succeeded");
        assert_eq!(done["details"]["rows_affected"], 4);
        assert_eq!(done["details"]["statements"], 2);

        let failed = run(&db, r#"statements = ["delete from t", "select 1/0", "delete from t"]"#, 1).await;
        assert_eq!(failed["outcome"], "failed");
        let error = failed["error"].as_str().unwrap();
        for word in ["statement 2", "undone", "division by zero", "22012"] {
            assert!(error.contains(word), "{word} is not in {error}");
        }
        assert_eq!(failed["details"]["rows_affected"], Value::Null, "what was undone affected nothing");
        assert_eq!(db.count("t").await, 2);
    })
    .await;
}

/// What PostgreSQL checks at the commit fails there.
#[tokio::test]
async fn a_commit_that_fails_is_a_failure() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t (n int unique deferrable initially deferred)").await;
    let failed = run(&db, r#"statements = ["insert into t values (1)", "insert into t values (1)"]"#, 1).await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("t_n_key") && error.contains("23505"), "{error}");
    assert_eq!(db.count("t").await, 0);
}

#[tokio::test]
async fn one_by_one_what_went_well_stays_and_the_first_failure_ends_it() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t (n int)").await;
    let sql = r#"
        transaction = false
        statements = ["insert into t values (1)", "insert into t values (1/0)", "insert into t values (3)", "select 4"]
    "#;
    let partial = run(&db, sql, 1).await;
    assert_eq!(partial["outcome"], "partial");
    let failures = partial["details"]["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["target"], "statement 2");
    assert!(failures[0]["error"].as_str().unwrap().contains("division by zero"), "{failures:?}");
    let warnings = partial["details"]["warnings"].as_array().unwrap();
    for (warning, statement) in warnings.iter().zip(["statement 3", "statement 4"]) {
        let warning = warning.as_str().unwrap();
        assert!(warning.starts_with(statement) && warning.contains("not run"), "{warning}");
    }
    assert_eq!(warnings.len(), 2);
    assert_eq!(partial["details"]["rows_affected"], 1);
    assert_eq!(db.column::<i32>("select n from t").await, [1]);
}

#[tokio::test]
async fn vacuum_needs_to_be_on_its_own_and_the_error_says_so() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t ()").await;
    let failed = run(&db, r#"statements = ["vacuum t"]"#, 1).await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("VACUUM cannot run inside a transaction block"), "{error}");
    assert!(error.contains("25001") && error.contains("`transaction = false`"), "{error}");
    assert_eq!(run(&db, "transaction = false\nstatements = [\"vacuum t\"]", 0).await["outcome"], "succeeded");
}

#[tokio::test]
async fn a_set_holds_for_the_statements_after_it_and_no_longer() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t (zone text)").await;
    let insert = "insert into t select current_setting('TimeZone')";
    for transaction in [true, false] {
        let sql = format!(
            r#"transaction = {transaction}
            statements = ["set timezone = 'Asia/Tokyo'", "{insert}"]"#
        );
        run(&db, &sql, 0).await;
    }
    assert_eq!(db.column::<String>("select zone from t").await, ["Asia/Tokyo", "Asia/Tokyo"]);

    // In a daemon, the next job may get the same connection.
    db.execute("truncate t").await;
    let jobs = format!(
        r#"
        [jobs.first.sql]
        statements = ["set timezone = 'Asia/Tokyo'"]
        [jobs.second]
        after = ["first"]
        [jobs.second.sql]
        statements = ["{insert}"]
    "#
    );
    let program = Pgtend::tending(&db, &jobs);
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "first"]).await.exits(0);
    db.wait_for_ended("second", 1).await;
    assert_eq!(db.column::<String>("select zone from t").await, ["UTC"]);
    daemon.stop().await.exits(0);
}

/// Connections are used again; what one job made of its own must not be where the next one works.
#[tokio::test]
async fn a_role_and_a_temporary_table_end_with_their_job() {
    on_each_major(async |db| {
        db.execute("create table seen (pid int, role text, temporary bool)").await;
        let look =
            "INSERT INTO seen SELECT pg_backend_pid(), current_user, to_regclass('pg_temp.left_behind') IS NOT NULL";
        let jobs = format!(
            "[jobs.before.sql]\nstatements = [\"{look}\"]\n\
             [jobs.dresses-up.sql]\nstatements = ['CREATE TEMP TABLE left_behind ()', 'SET ROLE pg_read_all_stats']\n\
             [jobs.later.sql]\nstatements = [\"{look}\"]\n"
        );
        let program = Pgtend::tending(&db, &jobs);
        program.run(["run", "before", "dresses-up", "later"]).await.exits(0);
        let seen: Vec<String> = db
            .column("select count(*) || ' ' || role || ' ' || temporary from seen group by pid, role, temporary")
            .await;
        assert_eq!(seen, ["2 postgres false"], "one connection, and the same on it");
    })
    .await;
}

#[tokio::test]
async fn a_file_stands_beside_the_config_and_is_read_for_each_run() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t (n int)").await;
    let program = Pgtend::tending(&db, "[jobs.own.sql]\nfile = \"sql/own.sql\"\n");
    let path = "sql/own.sql";
    program.file(
        path,
        "-- Two; a semicolon in a comment is none.\ninsert into t values (1);\ninsert into t select length(';');\n",
    );
    // Beside the config, wherever one stands oneself.
    let config = program.config().display().to_string();
    let elsewhere = Pgtend::new("");
    let run = async || elsewhere.run(["--config", &config, "run", "own", "--json"]).await;
    assert_eq!(run().await.exits(0).json()[0]["details"]["statements"], 2);
    program.file(path, "insert into t values (7)");
    assert_eq!(run().await.exits(0).json()[0]["details"]["statements"], 1);
    assert_eq!(db.column::<i32>("select n from t order by n").await, [1, 1, 7]);
    std::fs::remove_file(program.folder().join(path)).unwrap();
    let output = run().await.exits(2);
    assert!(output.stderr.contains("sql/own.sql") && output.stderr.contains("No such file"), "{}", output.stderr);
}

#[tokio::test]
async fn a_lock_that_is_not_had_is_tried_for_until_it_is_free() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (1)").await;
        let mut client = db.client().await;
        let held = client.transaction().await.unwrap();
        held.batch_execute("lock table t").await.unwrap();
        let jobs = "[jobs.own]\nlock_timeout = \"50ms\"\n[jobs.own.sql]\nstatements = [\"select 1\", \"update t set n = 2\"]\n";
        let program = Pgtend::tending(&db, jobs);
        let run = program.start(["run", "own", "--json"]);
        run.wait_for_log("lock not had in time").await;
        held.rollback().await.unwrap();
        let record = run.wait().await.exits(0).json().remove(0);
        assert_eq!(record["outcome"], "succeeded");
        assert!(record["details"]["lock_timeouts"].as_u64().unwrap() >= 1, "{record}");
        assert_eq!(record["details"]["rows_affected"], 2, "{record}");
    })
    .await;
}

/// What CREATE INDEX CONCURRENTLY has begun stays, and the next try would take it for done.
#[tokio::test]
async fn an_index_that_could_not_be_finished_is_no_success_of_the_next_try() {
    on_each_major(async |db| {
        db.execute("create table t (n int)").await;
        let mut client = db.client().await;
        let held = client.transaction().await.unwrap();
        held.batch_execute("insert into t values (1)").await.unwrap();
        let jobs = "[jobs.own]\nlock_timeout = \"50ms\"\n[jobs.own.sql]\ntransaction = false\n\
                    statements = [\"create index concurrently if not exists t_n on t (n)\"]\n";
        let record = Pgtend::tending(&db, jobs).run(["run", "own", "--json"]).await.exits(1).json().remove(0);
        assert_eq!(record["outcome"], "failed", "{record}");
        let error = record["error"].as_str().unwrap();
        assert!(error.contains("not tried again") && error.contains("indisvalid"), "{error}");
        assert_eq!(
            db.column::<String>(
                "select indexrelid::regclass::text from pg_index where not indisvalid and indrelid = 't'::regclass"
            )
            .await,
            ["t_n"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_is_never_had_ends_with_the_time_limit() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table t (n int)").await;
    let mut client = db.client().await;
    let held = client.transaction().await.unwrap();
    held.batch_execute("lock table t").await.unwrap();
    let jobs =
        "[jobs.own]\nlock_timeout = \"50ms\"\ntimeout = \"1s\"\n[jobs.own.sql]\nstatements = [\"delete from t\"]\n";
    let record = Pgtend::tending(&db, jobs).run(["run", "own", "--json"]).await.exits(1).json().remove(0);
    assert_eq!(record["outcome"], "timed_out", "{record}");
    assert!(record["error"].as_str().unwrap().contains("lock"), "{record}");
}

#[tokio::test]
async fn a_plan_shows_the_statements_and_runs_none() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, "[jobs.own.sql]\nstatements = [\"create table t ()\", \"select 2\"]\n");
    let plan = program.run(["plan", "--json"]).await.exits(0).json();
    let expected = json!({
        "job": "own", "kind": "sql", "database": "main", "action": "execute", "target": "statements 1 to 2",
        "reason": "as the config says, in one transaction", "detail": { "statements": 2, "transaction": true },
        "sql": "create table t ();\nselect 2",
    });
    assert_eq!(plan, [expected]);
    assert!(db.scalar::<bool>("select to_regclass('t') is null").await);
}

/// `EXPLAIN` sees what is missing, and runs nothing. What a statement before it may have made is not missed.
#[tokio::test]
async fn check_finds_what_a_statement_lacks_and_runs_none() {
    on_each_major(async |db| {
        db.execute("create table t (n int)").await;
        let findings = async |statements: &str| {
            let program = Pgtend::tending(&db, &format!("[jobs.own.sql]\nstatements = [{statements}]\n"));
            let output = program.run(["check", "--json"]).await;
            output.json().iter().map(|finding| finding["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let found =
            findings(r#""insert into t values (1)", "delete from t where m = 1", "update gone set n = 1""#).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("statement 2: ") && found[0].contains("42703"), "{found:?}");
        assert!(found[1].starts_with("statement 3: ") && found[1].contains("42P01"), "{found:?}");
        assert!(findings(r#""create temp table made (n int)", "insert into made values (1)""#).await.is_empty());
        assert!(findings(r#""select set_config('search_path', 'x', true)", "delete from y""#).await.is_empty());
        assert_eq!(db.count("t").await, 0);
    })
    .await;
}

/// Queries of ours are never worth compiling; what is the operator's or a view's is as the server has it.
#[tokio::test]
async fn only_what_is_not_ours_is_compiled() {
    on_each_major(async |db| {
        db.execute(&format!(
            "ALTER DATABASE \"{}\" SET jit = on; CREATE TABLE ended (at timestamptz); INSERT INTO ended VALUES ('2020-01-01Z');
             CREATE MATERIALIZED VIEW seen AS SELECT current_setting('jit') AS jit WITH NO DATA",
            db.name()
        ))
        .await;
        let jobs = "[jobs.own.sql]\nstatements = [\"create table own as select current_setting('jit') as jit\"]\n\
                    [jobs.views.refresh]\nviews = [\"seen\"]\n\
                    [jobs.ended.expire]\ntables = [{ table = \"ended\", column = \"at\", where = \"current_setting('jit') = 'off'\" }]\n";
        let records = Pgtend::tending(&db, jobs).run(["run", "own", "views", "ended", "--json"]).await.exits(0).json();
        assert_eq!(records[2]["details"]["rows_deleted"], 1, "{records:?}");
        assert_eq!(db.column::<String>("select jit from own union all select jit from seen").await, ["on", "on"]);
    })
    .await;
}
