//! How a daemon ends when it is told to.

use crate::support::{Cluster, GATED, Pgtend, newest_major, on_each_major};

#[tokio::test]
async fn an_idle_daemon_ends_well_by_either_signal() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, GATED);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let daemon = program.daemon().ready().await;
        daemon.signal(signal);
        let output = daemon.wait().await.exits(0);
        assert!(output.stderr.contains("stopped"), "{}", output.stderr);
    }
}

/// A daemon that still waits for its server is as ready to end as any.
#[tokio::test]
async fn a_daemon_whose_server_never_came_ends_well() {
    let cluster = Cluster::stopped(newest_major(), &[]);
    let db = crate::support::Database::named(cluster, "postgres");
    let daemon = Pgtend::tending(&db, GATED);
    let daemon = daemon.daemon();
    daemon.wait_for_log("out of reach").await;
    assert_eq!(daemon.http_get("/readyz").await.status, 503);
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn the_statement_of_a_running_job_is_cancelled_at_once() {
    on_each_major(async |db| {
        db.add_gate().await;
        // So long that only a cancel at once can end it before the story's patience does.
        let program = Pgtend::tending(&db, GATED);
        let config = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&format!("shutdown_timeout = \"10m\"\n{config}"));
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let daemon = program.daemon().ready().await;
            daemon.signal(libc::SIGUSR1);
            db.wait_for_busy("pgtend/gated", 1).await;
            daemon.signal(signal);
            daemon.wait().await.exits(0);
            assert_eq!(db.busy("pgtend/%").await, 0, "the statement outlived its daemon");
        }
        let runs = db.runs("gated").await;
        assert_eq!(runs.iter().map(|run| run.outcome.as_str()).collect::<Vec<_>>(), ["cancelled", "cancelled"]);
        assert!(runs[0].error.contains("asked to stop"), "{}", runs[0].error);
        assert!(runs[0].details["left_for_next_time"].is_string() || runs[0].finished_at.is_some());
        assert_eq!(db.count("done").await, 0);
        db.wait_until_unlocked().await;
    })
    .await;
}

/// What was asked for before the end and has not begun is not begun any more.
#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_badly() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    // Held at a point that no signal reaches, as work that does not come to its end.
    let (program, hold) = Pgtend::tending(&db, GATED).holding("runner.begun");
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    hold.reached().await;
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_log("stopping, within").await;
    daemon.signal(libc::SIGTERM);
    let output = daemon.wait().await.exits(1);
    assert!(output.stderr.contains("second signal"), "{}", output.stderr);
    assert_eq!(db.outcomes("gated").await, ["open"]);
}

/// Nothing keeps a daemon longer than `shutdown_timeout`, and what it could not end the next one writes down.
#[tokio::test]
async fn a_run_that_cannot_be_ended_does_not_keep_the_daemon() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let (program, hold) = Pgtend::tending(&db, GATED).holding("runner.begun");
    let config = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&format!("shutdown_timeout = \"500ms\"\n{config}"));
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    hold.reached().await;
    let output = daemon.stop().await.exits(0);
    assert!(output.stderr.contains("did not end in time"), "{}", output.stderr);
    let next = program.daemon().ready().await;
    let runs = db.wait_for_ended("gated", 1).await;
    assert_eq!(runs[0].outcome, "failed");
    assert!(runs[0].error.contains("died"), "{}", runs[0].error);
    next.stop().await.exits(0);
}

/// What has not begun keeps nobody, even where the server does not answer.
#[tokio::test]
async fn a_run_that_waits_for_a_silent_server_does_not_keep_the_daemon() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    let program = Pgtend::tending(&db, GATED);
    let config = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&format!("shutdown_timeout = \"10m\"\n{config}"));
    let daemon = program.daemon().ready().await;
    cluster.freeze();
    daemon.signal(libc::SIGUSR1);
    let waits = async || !daemon.http_get("/api/status").await.body.contains("\"running_since\":null");
    daemon.wait_until("the run to wait for a connection", waits).await;
    let output = daemon.stop().await.exits(0);
    assert!(output.stderr.contains("asked to stop before it began"), "{}", output.stderr);
    cluster.thaw();
}

/// Whoever asks for a run meanwhile is told at once, and not left to wait until the connection ends.
#[tokio::test]
async fn a_daemon_that_is_ending_says_so_to_whoever_asks_for_a_run() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let (program, hold) = Pgtend::tending(&db, GATED).holding("runner.begun");
    let token = program.file("token", "s3cr3t-token-of-20\n");
    let config = std::fs::read_to_string(program.config()).unwrap();
    let token = format!("[http]\ntoken_file = \"{}\"", token.display());
    program.configure(&format!("shutdown_timeout = \"10m\"\n{}", config.replace("[http]", &token)));
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    hold.reached().await;
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_log("stopping, within").await;
    let answer = daemon.http_post("/api/jobs/gated/run", &["Authorization: Bearer s3cr3t-token-of-20"]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("the daemon is ending"), "{}", answer.body);
    // The server's database is as near as before.
    assert_eq!(daemon.http_get("/readyz").await.status, 200);
    hold.go_on();
    daemon.wait().await.exits(0);
}
