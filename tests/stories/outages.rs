//! Servers that are not there yet, go away, come back, or fall silent.

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{Cluster, Daemon, Database, GATED, Pgtend, majors, newest_major, wait_until};

const EACH_MINUTE: &str = "[jobs.chore]\nschedule = '* * * * *'\n[jobs.chore.sql]\nstatements = ['SELECT 1']\n";

async fn status(daemon: &Daemon, path: &str) -> u16 {
    daemon.http_get(path).await.status
}

#[tokio::test]
async fn a_daemon_waits_for_a_server_that_comes_later() {
    for major in majors() {
        let cluster = Cluster::stopped(major, &[]);
        let db = Database::named(cluster.clone(), "postgres");
        let program = Pgtend::tending(&db, "[jobs.chore.sql]\nstatements = ['SELECT 1']\n");
        let mut daemon = program.daemon();
        daemon.wait_for_log("out of reach, trying again until it comes back").await;
        assert_eq!(status(&daemon, "/healthz").await, 200);
        let missing = daemon.http_get("/readyz").await;
        assert_eq!(missing.status, 503);
        assert!(missing.body.starts_with("main: "), "it says which, and why: {}", missing.body);
        daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
        assert!(daemon.runs());

        cluster.start();
        let daemon = daemon.ready().await;
        daemon.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
        program.run(["trigger", "chore", "--wait"]).await.exits(0);
        assert_eq!(db.outcomes("chore").await, ["succeeded"]);
    }
}

/// What a server that went away leaves of a run, and that the daemon needs nobody's help afterwards.
async fn outlives(cluster: Cluster, outage: impl AsyncFnOnce(&Cluster, &Daemon)) {
    let db = cluster.database().await;
    db.add_gate().await;
    let program = Pgtend::tending(&db, GATED);
    let mut daemon = program.daemon().ready().await;
    program.run(["trigger", "gated"]).await.exits(0);
    db.wait_for_busy("pgtend/gated", 1).await;

    outage(&cluster, &daemon).await;
    assert!(daemon.runs());
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
    assert_eq!(status(&daemon, "/readyz").await, 200);

    // The run knew that its lock was gone; the record was closed by itself, or by whoever came next.
    daemon.wait_for_metric("pgtend_job_runs_total", &[("job", "gated"), ("outcome", "failed")], 1.0).await;
    db.open_gate().await;
    program.run(["trigger", "gated", "--wait"]).await.exits(0);
    let runs = db.runs("gated").await;
    assert_eq!((runs[0].outcome.as_str(), runs[1].outcome.as_str()), ("failed", "succeeded"), "{runs:#?}");
    // Of its lock or of its statement, whichever it heard of first.
    assert!(["lost", "57P01"].iter().any(|words| runs[0].error.contains(words)), "{}", runs[0].error);
    assert_eq!(db.count("done").await, 1);
}

#[tokio::test]
async fn a_daemon_outlives_a_restart_of_its_server() {
    for major in majors() {
        outlives(Cluster::own(major), async |cluster, daemon| {
            cluster.stop();
            daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
            assert_eq!((status(daemon, "/healthz").await, status(daemon, "/readyz").await), (200, 503));
            cluster.start();
        })
        .await;
    }
}

#[tokio::test]
async fn a_daemon_outlives_a_crash_of_its_server() {
    for major in majors() {
        outlives(Cluster::own(major), async |cluster, daemon| {
            cluster.kill9();
            daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
            cluster.start();
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_waited_for() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    let program = Pgtend::tending(&db, "[jobs.chore.sql]\nstatements = ['SELECT 1']\n");
    let daemon = program.daemon().ready().await;
    let client = db.client().await;
    cluster.freeze();
    // Its sessions end, and no new one begins.
    let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'pgtend%'";
    client.query(ended, &[]).await.unwrap();
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
    assert_eq!((status(&daemon, "/healthz").await, status(&daemon, "/readyz").await), (200, 503));
    cluster.thaw();
    let daemon = daemon.ready().await;
    program.run(["trigger", "chore", "--wait"]).await.exits(0);
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn a_server_that_falls_silent_in_the_middle_of_a_run_is_given_up() {
    for major in majors() {
        // Its own: to drop a database waits for every process of its server, and some of these will be stopped.
        let db = Cluster::own(major).database().await;
        db.add_gate().await;
        let program = Pgtend::tending(&db, GATED).env("PGTEND_HURRY", "20");
        let daemon = program.daemon().ready().await;
        program.run(["trigger", "gated"]).await.exits(0);
        db.wait_for_busy("pgtend/gated", 1).await;

        // As when a firewall has forgotten all connections there are: nothing ends, nothing answers.
        let silent = db.backends("pgtend%").await;
        signal_all(&silent, libc::SIGSTOP);
        daemon.wait_for_log("out of reach").await;
        daemon.wait_for_metric("pgtend_job_runs_total", &[("job", "gated"), ("outcome", "failed")], 1.0).await;
        daemon.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
        // Written over a connection that is not silent.
        let runs = db.runs("gated").await;
        assert_eq!(runs[0].outcome, "failed", "{runs:#?}");
        assert!(runs[0].error.contains("the connection that holds the job's lock was lost"), "{}", runs[0].error);
        // The server has not noticed, so that nobody else can have the lock.
        program.run(["run", "gated"]).await.exits(3);

        signal_all(&silent, libc::SIGCONT);
        db.wait_until_unlocked().await;
        db.open_gate().await;
        program.run(["trigger", "gated", "--wait"]).await.exits(0);
        assert_eq!(db.outcomes("gated").await, ["failed", "succeeded"]);
        assert_eq!(db.count("done").await, 1);
    }
}

/// Signals server processes by their numbers, which the server gave.
fn signal_all(pids: &[i32], signal: libc::c_int) {
    for pid in pids {
        // SAFETY: sends a signal; no memory is involved.
        assert_eq!(
            unsafe { libc::kill(*pid, signal) },
            0,
            "signal {signal} to {pid}: {}",
            std::io::Error::last_os_error()
        );
    }
}

#[tokio::test]
async fn due_times_that_fell_into_an_outage_are_caught_up_once() {
    for major in majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        // Within the five minutes by which the server's clock may differ.
        let start: DateTime<Utc> = db.scalar("select date_trunc('minute', now())").await;
        let minute = |n: i64| start + TimeDelta::minutes(n);
        let program = Pgtend::tending(&db, EACH_MINUTE);
        let program = program.with_clock(&minute(0).format("%Y-%m-%d %H:%M:%S").to_string());
        let strike = |at: DateTime<Utc>| program.set_clock(&at.format("%Y-%m-%d %H:%M:%S").to_string());
        let daemon = program.daemon().ready().await;
        strike(minute(1));
        db.wait_for_ended("chore", 1).await;

        let failed = [("job", "chore"), ("outcome", "failed")];
        cluster.stop();
        strike(minute(2));
        daemon.wait_for_metric("pgtend_job_runs_total", &failed, 1.0).await;
        strike(minute(3));
        daemon.wait_for_metric("pgtend_job_runs_total", &failed, 2.0).await;
        cluster.start();
        let runs = db.wait_for_ended("chore", 2).await;
        assert_eq!(runs[1].due_at, Some(minute(3)), "the newest, and no other: {runs:#?}");

        // Once is once, however often the database comes back.
        let went = daemon.log().matches("within reach again").count();
        cluster.restart();
        wait_until("the daemon to come back again", async || daemon.log().matches("within reach again").count() > went)
            .await;
        strike(minute(4));
        let runs = db.wait_for_ended("chore", 3).await;
        let due: Vec<_> = runs.iter().filter_map(|run| run.due_at).collect();
        assert_eq!(due, [minute(1), minute(3), minute(4)], "{runs:#?}");
        assert!(runs.iter().all(|run| run.outcome == "succeeded"), "{runs:#?}");
    }
}

/// A retry that waited for the server to come back finds that the due time was caught up.
#[tokio::test]
async fn a_due_time_that_was_caught_up_is_not_tried_again() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    let start: DateTime<Utc> = db.scalar("select date_trunc('minute', now())").await;
    let minute = |n: i64| start + TimeDelta::minutes(n);
    let retry = "retry = { attempts = 3, wait = '15s' }\n[jobs.chore.sql]";
    let program = Pgtend::tending(&db, &EACH_MINUTE.replace("[jobs.chore.sql]", retry));
    let program = program.with_clock(&minute(0).format("%Y-%m-%d %H:%M:%S").to_string());
    let strike = |at: DateTime<Utc>| program.set_clock(&at.format("%Y-%m-%d %H:%M:%S").to_string());
    let daemon = program.daemon().ready().await;
    strike(minute(1));
    db.wait_for_ended("chore", 1).await;

    cluster.stop();
    strike(minute(2));
    daemon.wait_for_log("tried again in").await;
    cluster.start();
    db.wait_for_ended("chore", 2).await;
    let skipped = [("job", "chore"), ("outcome", "skipped")];
    daemon.wait_for_metric("pgtend_job_runs_total", &skipped, 1.0).await;
    let due: Vec<_> = db.runs("chore").await.iter().filter_map(|run| run.due_at).collect();
    assert_eq!(due, [minute(1), minute(2)]);
}

#[tokio::test]
async fn due_times_that_went_by_while_no_daemon_ran_are_caught_up_once() {
    let db = Cluster::shared(newest_major()).database().await;
    let start: DateTime<Utc> = db.scalar("select date_trunc('minute', now())").await;
    let text = |n: i64| (start + TimeDelta::minutes(n)).format("%Y-%m-%d %H:%M:%S").to_string();
    let jobs = format!("{EACH_MINUTE}\n{}", EACH_MINUTE.replace("chore", "fresh"));
    let program = Pgtend::tending(&db, EACH_MINUTE).with_clock(&text(0));
    let daemon = program.daemon().ready().await;
    program.set_clock(&text(1));
    db.wait_for_ended("chore", 1).await;
    daemon.stop().await.exits(0);

    program.set_clock(&text(3));
    program.configure_tending(&db, &jobs);
    let daemon = program.daemon().ready().await;
    let runs = db.wait_for_ended("chore", 2).await;
    // The newest, and no other; being served within its minute, it counts as on schedule.
    assert_eq!(runs[1].due_at, Some(start + TimeDelta::minutes(3)));
    program.set_clock(&text(4));
    assert_eq!(db.wait_for_ended("chore", 3).await.len(), 3);
    // A job without history owes nothing.
    let fresh = db.wait_for_ended("fresh", 1).await;
    assert_eq!((fresh[0].trigger.as_str(), fresh[0].due_at), ("schedule", Some(start + TimeDelta::minutes(4))));
    daemon.stop().await.exits(0);
}
