//! A time-out ends the statement on the server; a lock that is not to be had is tried for until then.

use serde_json::Value;

use crate::support::{Cluster, Database, Pgtend, newest_major, on_each_major};

/// Runs the job `chore` in the foreground; gives what `run --json` says of it.
async fn run(db: &Database, job: &str, exit: i32) -> Value {
    let program = Pgtend::tending(db, &format!("[jobs.chore]\n{job}"));
    program.run(["run", "chore", "--json"]).await.exits(exit).json().remove(0)
}

/// Whether any session of ours is at work or in a transaction.
async fn anything_left(db: &Database) -> Vec<String> {
    db.column(
        "select application_name || ': ' || query from pg_stat_activity \
         where datname = current_database() and application_name like 'pgtend/%' and state <> 'idle'",
    )
    .await
}

#[tokio::test]
async fn a_timeout_ends_the_statement_on_the_server() {
    on_each_major(async |db| {
        let said = run(&db, "timeout = '3s'\nsql = { statements = ['SELECT 1', 'SELECT pg_sleep(3600)'] }", 1).await;
        assert_eq!(said["outcome"], "timed_out", "{said}");
        let error = said["error"].as_str().unwrap();
        assert!(error.contains("the job's timeout was over"), "{error}");
        // By a cancel of ours; the server's own statement_timeout is for the case that we cannot.
        let how = said["details"]["failures"][0]["error"].as_str().unwrap();
        assert!(how.contains("canceling statement due to user request"), "{how}");
        assert_eq!(anything_left(&db).await, [""; 0]);
        let runs = db.runs("chore").await;
        assert_eq!((runs[0].outcome.as_str(), runs[0].error.as_str()), ("timed_out", error));
        assert_eq!(runs[0].details, said["details"]);
    })
    .await;
}

#[tokio::test]
async fn a_timeout_ends_a_statement_that_catches_every_error() {
    on_each_major(async |db| {
        // PL/pgSQL's OTHERS does not catch a cancel; one that names it does, and goes on for a second cancel.
        let stubborn =
            "DO $$ BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(3600); END $$";
        let said = run(&db, &format!("timeout = '3s'\nsql = {{ statements = ['{stubborn}'] }}"), 1).await;
        assert_eq!(said["outcome"], "timed_out", "{said}");
        // Its client is gone by then: the server sees to that within a second.
        db.wait_for_busy("pgtend/chore", 0).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_done_before_a_timeout_stays_done_where_statements_stand_alone() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table done (n int)").await;
    let said = run(
        &db,
        "timeout = '3s'\nsql = { transaction = false, statements = ['INSERT INTO done VALUES (1)', 'SELECT pg_sleep(3600)'] }",
        1,
    )
    .await;
    assert_eq!(said["outcome"], "timed_out", "{said}");
    assert_eq!(said["details"]["statements"], 1, "{said}");
    assert_eq!(db.count("done").await, 1);
}

#[tokio::test]
async fn a_lock_that_is_not_had_is_tried_for_until_the_timeout() {
    on_each_major(async |db| {
        db.execute("create table busy (n int)").await;
        let mut other = db.client().await;
        let held = other.transaction().await.unwrap();
        held.batch_execute("lock table busy in access exclusive mode").await.unwrap();

        let said =
            run(&db, "timeout = '3s'\nlock_timeout = '50ms'\nsql = { statements = ['DELETE FROM busy'] }", 1).await;
        assert_eq!(said["outcome"], "timed_out", "{said}");
        let error = said["error"].as_str().unwrap();
        assert!(error.contains("lock was not had before the job's timeout"), "{error}");
        assert!(error.contains("waited 50 ms for a lock"), "{error}");
        assert!(said["details"]["lock_timeouts"].as_u64().unwrap() > 1, "tried in rounds: {said}");
        assert_eq!(anything_left(&db).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn work_that_was_done_before_a_lock_was_not_had_makes_the_run_partial() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table busy (n int); create table free (n int)").await;
    let mut other = db.client().await;
    let held = other.transaction().await.unwrap();
    held.batch_execute("lock table busy in access exclusive mode").await.unwrap();
    let job = "timeout = '2s'\nlock_timeout = '50ms'\nsql = { transaction = false, statements = ['INSERT INTO free VALUES (1)', 'DELETE FROM busy'] }";
    let said = run(&db, job, 1).await;
    assert_eq!(said["outcome"], "partial", "{said}");
    assert_eq!(said["details"]["failures"][0]["target"], "statement 2", "{said}");
    assert_eq!(db.count("free").await, 1);
}

#[tokio::test]
async fn a_lock_that_is_let_go_in_time_is_had() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table busy as select 1 as n").await;
    let mut other = db.client().await;
    let held = other.transaction().await.unwrap();
    held.batch_execute("lock table busy in access exclusive mode").await.unwrap();
    let program =
        Pgtend::tending(&db, "[jobs.chore]\nlock_timeout = '50ms'\nsql = { statements = ['DELETE FROM busy'] }");
    let run = program.start(["run", "chore", "--json"]);
    run.wait_for_log("lock not had in time, trying again later").await;
    held.rollback().await.unwrap();
    let said = run.wait().await.exits(0).json().remove(0);
    assert_eq!(said["outcome"], "succeeded", "{said}");
    assert_eq!(db.count("busy").await, 0);
}

#[tokio::test]
async fn a_timeout_in_the_middle_of_a_round_forgets_no_lock_that_was_not_had() {
    on_each_major(async |db| {
        let client = db.client().await;
        client.batch_execute("create table free (); create table held_0 ()").await.unwrap();
        for n in 1..12 {
            client.batch_execute(&format!("create table held_{n} ()")).await.unwrap();
        }
        let held = (0..12).map(|n| format!("held_{n}")).collect::<Vec<_>>().join(", ");
        client.batch_execute(&format!("begin; lock table {held} in access exclusive mode")).await.unwrap();
        // A round takes a second or more, so that the time is over within one.
        let program = Pgtend::tending(
            &db,
            "[jobs.tidy]\nlock_timeout = '100ms'\ntimeout = '8s'\n[jobs.tidy.vacuum]\ntables = ['public.*']\n",
        );
        let said = program.run(["run", "tidy", "--json"]).await.exits(1).json().remove(0);
        assert_eq!(said["outcome"], "partial", "{said}");
        let failures = said["details"]["failures"].as_array().unwrap();
        assert_eq!(failures.len(), 12, "{said}");
        assert!(failures.iter().all(|one| one["error"].as_str().unwrap().contains("pid")), "{said}");
    })
    .await;
}
