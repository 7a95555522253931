//! In the middle of a VACUUM.

use super::{run, tidying, times, with_dead};
use crate::support::{Database, Pgtend, on_each_major, wait_until};

/// A table whose VACUUM takes longer than any story, as long as the database says so.
async fn slow(db: &Database) -> Pgtend {
    with_dead(db, "t", 900).await;
    db.execute("insert into t select generate_series(1, 50000)").await;
    for setting in ["vacuum_cost_delay = '100ms'", "vacuum_cost_limit = 1"] {
        db.execute(&format!("alter database \"{}\" set {setting}", db.name())).await;
    }
    let program = tidying(db, "vacuum", "");
    let text = std::fs::read_to_string(program.config()).unwrap();
    // So that only a cancel at once can end it.
    program.configure(&format!("shutdown_timeout = '10m'\n{text}"));
    program
}

async fn vacuuming(db: &Database) -> bool {
    db.scalar("select exists (select from pg_stat_progress_vacuum where datname = current_database() and relid = 't'::regclass)").await
}

/// With its old pace the next run does it.
async fn next_run_does_it(db: &Database, program: &Pgtend) {
    db.execute(&format!("alter database \"{}\" reset all", db.name())).await;
    assert_eq!(times(db, "t").await, (0, 0));
    assert_eq!(run(program).await["tables_vacuumed"], 1);
    assert_eq!(times(db, "t").await, (1, 0));
}

#[tokio::test]
async fn a_vacuum_is_cancelled_at_once_and_said_to_be() {
    on_each_major(async |db| {
        let program = slow(&db).await;
        let daemon = program.daemon().ready().await;
        daemon.signal(libc::SIGUSR1);
        daemon.wait_until("the VACUUM to be at work", async || vacuuming(&db).await).await;
        daemon.stop().await.exits(0);
        assert!(!vacuuming(&db).await, "it outlived its daemon");
        let ended = &db.runs("tidy").await[0];
        assert_eq!(ended.outcome, "cancelled", "{ended:?}");
        assert!(ended.error.contains("asked to stop"), "{}", ended.error);
        assert!(ended.details["left_for_next_time"].as_str().unwrap().contains("public.t"), "{}", ended.details);
        next_run_does_it(&db, &program).await;
    })
    .await;
}

#[tokio::test]
async fn a_vacuum_dies_with_its_daemon_and_the_next_run_does_it() {
    on_each_major(async |db| {
        let program = slow(&db).await;
        let process = program.start(["run", "tidy"]);
        process.wait_until("the VACUUM to be at work", async || vacuuming(&db).await).await;
        drop(process);
        wait_until("the server to notice", async || !vacuuming(&db).await).await;
        next_run_does_it(&db, &program).await;
        assert_eq!(db.outcomes("tidy").await, ["failed", "succeeded"]);
    })
    .await;
}

#[tokio::test]
async fn a_vacuum_ends_with_the_jobs_time() {
    on_each_major(async |db| {
        let program = slow(&db).await;
        let text = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&text.replace("lock_timeout", "timeout = '1s'\nlock_timeout"));
        super::fails(&program, "timed_out").await;
        assert!(!vacuuming(&db).await);
        program.configure(&text);
        next_run_does_it(&db, &program).await;
    })
    .await;
}
