//! What dies in the middle of a run: the daemon, the lock's connection, the code itself.

use crate::support::{Cluster, GATED, Pgtend, newest_major, on_each_major, wait_until};

/// A chore that nothing holds up, beside the one that dies.
const OTHER: &str = "[jobs.other.sql]\nstatements = ['SELECT 1']\n";

#[tokio::test]
async fn a_killed_daemons_statement_dies_with_it_and_the_next_run_finishes_the_work() {
    on_each_major(async |db| {
        db.add_gate().await;
        let program = Pgtend::tending(&db, GATED);
        let daemon = program.daemon().ready().await;
        let pid = daemon.pid();
        program.run(["trigger", "gated"]).await.exits(0);
        db.wait_for_busy("pgtend/gated", 1).await;
        drop(daemon);

        // Nothing lets it through the gate: it ends because nobody is there any more.
        db.wait_for_busy("pgtend/%", 0).await;
        assert_eq!(db.count("done").await, 0);
        assert_eq!(db.outcomes("gated").await, ["open"]);
        db.open_gate().await;
        program.run(["run", "gated"]).await.exits(0);

        let runs = db.runs("gated").await;
        assert_eq!((runs[0].outcome.as_str(), runs[1].outcome.as_str()), ("failed", "succeeded"), "{runs:#?}");
        assert!(runs[0].error.contains(&format!("pid {pid} on {}", runs[0].host)), "{}", runs[0].error);
        assert!(runs[0].finished_at.unwrap() <= runs[1].finished_at.unwrap());
        assert_eq!(db.count("done").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_run_waits_for_the_last_statement_of_a_killed_one() {
    on_each_major(async |db| {
        db.add_gate().await;
        let program = Pgtend::tending(&db, GATED);
        let killed = program.start(["run", "gated"]);
        db.wait_for_busy("pgtend/gated", 1).await;
        let lost = db.backends("pgtend/gated").await;
        drop(killed);
        wait_until("its lock to be free", async || db.is_let_go("gated").await).await;

        // The first run's server process may be at it still; two must never be.
        let next = program.start(["run", "gated"]);
        db.wait_for_ended("gated", 1).await;
        db.wait_for_busy("pgtend/gated", 1).await;
        assert_ne!(db.backends("pgtend/gated").await, lost);
        db.open_gate().await;
        next.wait().await.exits(0);
        assert_eq!(db.outcomes("gated").await, ["failed", "succeeded"]);
    })
    .await;
}

#[tokio::test]
async fn a_daemon_closes_the_records_of_the_dead_and_of_nobody_else() {
    on_each_major(async |db| {
        db.add_gate().await;
        let jobs = format!("{GATED}{OTHER}");
        // One run that was killed at its beginning, one that is alive in another process.
        let (program, held) = Pgtend::tending(&db, &jobs).holding("runner.begun@other");
        let killed = program.start(["run", "other"]);
        held.reached().await;
        let pid = killed.pid();
        let alive = program.start(["run", "gated"]);
        db.wait_for_busy("pgtend/gated", 1).await;
        drop(killed);
        wait_until("the dead one's lock to be free", async || db.backends("pgtend/other (lock)").await.is_empty())
            .await;

        let daemon = program.daemon().ready().await;
        daemon.wait_for_log("closed a run whose daemon had died").await;
        let runs = db.runs("other").await;
        assert_eq!(runs.len(), 1, "closing a record runs nothing: {runs:#?}");
        assert_eq!(runs[0].outcome, "failed");
        assert!(runs[0].error.contains(&format!("pid {pid} on {}", runs[0].host)), "{}", runs[0].error);
        // Both were looked at in the same statement.
        assert_eq!(db.outcomes("gated").await, ["open"]);
        db.open_gate().await;
        alive.wait().await.exits(0);
        assert_eq!(db.outcomes("gated").await, ["succeeded"]);
    })
    .await;
}

#[tokio::test]
async fn work_stops_at_once_when_its_lock_is_lost() {
    on_each_major(async |db| {
        db.add_gate().await;
        let program = Pgtend::tending(&db, GATED);
        let run = program.start(["run", "gated", "--json"]);
        db.wait_for_busy("pgtend/gated", 1).await;
        assert_eq!(db.terminate("pgtend/gated (lock)").await, 1);

        let said = run.wait().await.exits(1).json().remove(0);
        assert_eq!(said["outcome"], "failed", "{said}");
        let error = said["error"].as_str().unwrap();
        assert!(error.contains("the connection that holds the job's lock was lost"), "{error}");
        // The gate is shut: something ended the statement, and at once means that it was not left to the server to notice.
        let how = said["details"]["failures"][0]["error"].as_str().unwrap();
        assert!(how.contains("canceling statement due to user request"), "{how}");
        assert_eq!(db.busy("pgtend/%").await, 0);
        let runs = db.runs("gated").await;
        assert_eq!((runs[0].outcome.as_str(), runs[0].error.as_str()), ("failed", error), "{runs:#?}");
        assert_eq!(db.count("done").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_new_run_waits_for_a_lost_one_that_has_not_noticed() {
    on_each_major(async |db| {
        db.add_gate().await;
        let program = Pgtend::tending(&db, GATED);
        let lost = program.start(["run", "gated", "--json"]);
        db.wait_for_busy("pgtend/gated", 1).await;
        // It can neither notice that its lock is gone nor end what it does; its connections stay open.
        lost.signal(libc::SIGSTOP);
        assert_eq!(db.terminate("pgtend/gated (lock)").await, 1);
        wait_until("its lock to be free", async || db.is_let_go("gated").await).await;

        let next = program.start(["run", "gated", "--json"]);
        wait_until("the new run to wait for the second key", async || db.advisory_locks(false).await == 1).await;
        assert_eq!(db.outcomes("gated").await, ["open"], "the new run has not begun");
        lost.signal(libc::SIGCONT);
        let said = lost.wait().await.exits(1).json().remove(0);
        assert_eq!(said["outcome"], "failed", "{said}");
        db.open_gate().await;
        assert_eq!(next.wait().await.exits(0).json()[0]["outcome"], "succeeded");
        assert_eq!(db.count("done").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_a_failed_run() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, OTHER).panicking("runner.apply");
    let said = program.run(["run", "other", "--json"]).await.exits(1).json().remove(0);
    assert_eq!(said["outcome"], "failed", "{said}");
    let error = said["error"].as_str().unwrap();
    assert!(error.starts_with("pgtend's own code panicked") && error.contains("runner.apply"), "{error}");
    assert_eq!(db.runs("other").await[0].error, error);
}

#[tokio::test]
async fn a_panic_stops_neither_the_daemon_nor_other_jobs_nor_the_next_run() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    db.open_gate().await;
    let program = Pgtend::tending(&db, &format!("{GATED}{OTHER}")).panicking("runner.apply@other");
    let daemon = program.daemon().ready().await;
    for _ in 0..2 {
        // The second time it is not held up by what the first left.
        let said = program.run(["trigger", "other", "--wait"]).await.exits(1);
        assert!(said.stdout.contains("panicked"), "{}", said.stdout);
    }
    assert_eq!(db.outcomes("other").await, ["failed", "failed"]);
    db.wait_until_unlocked().await;
    program.run(["trigger", "gated", "--wait"]).await.exits(0);
    assert_eq!(daemon.metric("pgtend_job_running", &[("job", "other")]).await, Some(0.0));
    let stopped = daemon.stop().await;
    assert!(stopped.status.success(), "{stopped:?}");
}
