//! What signals make a daemon do, besides ending it and reloading it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Cluster, Pgtend, newest_major, wait_for};

/// As users of `kill` and systemd count it, whichever libc either side is built with.
const RTMIN: libc::c_int = 34;
const RTMAX: libc::c_int = 64;

const JOBS: &str = r#"
[jobs.one]
signal = "RTMIN+3"
[jobs.one.sql]
statements = ["select 1"]

[jobs.two]
signal = "RTMIN"
[jobs.two.sql]
statements = ["select 2"]

[jobs.off]
enabled = false
signal = "RTMIN+30"
[jobs.off.sql]
statements = ["select 3"]
"#;

#[tokio::test]
async fn sigusr1_runs_every_enabled_job() {
    let db = Cluster::shared(newest_major()).database().await;
    let daemon = Pgtend::tending(&db, JOBS);
    let daemon = daemon.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    for job in ["one", "two"] {
        let runs = db.wait_for_ended(job, 1).await;
        assert_eq!((runs[0].trigger.as_str(), runs[0].outcome.as_str()), ("signal", "succeeded"));
    }
    // Once more, so that a run of `off` that was only slow to come would be there by now.
    daemon.signal(libc::SIGUSR1);
    db.wait_for_ended("one", 2).await;
    db.wait_for_ended("two", 2).await;
    assert_eq!(db.runs("off").await, []);
}

#[tokio::test]
async fn a_real_time_signal_runs_the_job_that_names_it() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon().ready().await;
    daemon.signal(RTMIN + 3);
    assert_eq!(db.wait_for_ended("one", 1).await[0].trigger, "signal");
    assert_eq!(db.runs("two").await, []);
    daemon.signal(RTMIN);
    db.wait_for_ended("two", 1).await;
    // Somebody meant this job and no other: that it is off its schedule does not matter.
    daemon.signal(RTMAX);
    db.wait_for_ended("off", 1).await;
    assert_eq!(db.outcomes("one").await, ["succeeded"]);
}

#[tokio::test]
async fn a_real_time_signal_of_no_job_is_told_and_changes_nothing() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon().ready().await;
    for number in (RTMIN..=RTMAX).filter(|number| ![RTMIN, RTMIN + 3, RTMAX].contains(number)) {
        daemon.signal(number);
        daemon.wait_for_log(&format!("SIGRTMIN+{}: no job", number - RTMIN)).await;
    }
    for job in ["one", "two", "off"] {
        assert_eq!(db.runs(job).await, [], "{job}");
    }
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn sigusr2_logs_how_each_job_stands() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    // Whoever asks is answered, however little is logged otherwise.
    let daemon = program.daemon_with(["--log-format", "json", "--log-level", "warn"]).ready().await;
    daemon.signal(RTMIN + 3);
    db.wait_for_ended("one", 1).await;
    let counted = ("outcome", "succeeded");
    daemon.wait_for_metric("pgtend_job_runs_total", &[("job", "one"), counted], 1.0).await;
    daemon
        .wait_until("the board to know the run", async || {
            let status: serde_json::Value = serde_json::from_str(&daemon.http_get("/api/status").await.body).unwrap();
            status["jobs"][1]["last_outcome"] == "succeeded" || status["jobs"][0]["last_outcome"] == "succeeded"
        })
        .await;
    daemon.signal(libc::SIGUSR2);
    let mut lines = daemon
        .wait_for("a line for each job", async || {
            let lines: Vec<serde_json::Value> =
                daemon.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let lines: Vec<_> = lines.into_iter().filter(|line| line["message"] == "status").collect();
            (lines.len() == 3).then_some(lines)
        })
        .await;
    lines.sort_by_key(|line| line["job"].to_string());
    let told: Vec<_> =
        lines.iter().map(|line| (line["job"].as_str().unwrap(), line["last_outcome"].as_str())).collect();
    assert_eq!(told, [("off", None), ("one", Some("succeeded")), ("two", None)]);
}

/// The config is a pipe, so that the daemon stands still before it knows a single job.
#[tokio::test]
async fn signals_are_caught_before_the_config_is_read() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let (pipe, config) = (program.config(), fs::read_to_string(program.config()).unwrap());
    fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut daemon = program.daemon();
    let nonblocking = || File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).ok();
    let mut writer = wait_for("the daemon to open its config", async || nonblocking()).await;
    for number in [libc::SIGUSR1, libc::SIGUSR2].into_iter().chain(RTMIN..=RTMAX) {
        daemon.signal(number);
    }
    writer.write_all(config.as_bytes()).unwrap();
    drop(writer);
    // Nor was any of them lost.
    for job in ["one", "two", "off"] {
        db.wait_for_ended(job, 1).await;
    }
    assert!(daemon.runs());
    let daemon = daemon.ready().await;
    daemon.stop().await.exits(0);
}

/// From the moment that the daemon catches them, which is the first thing it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_signals_does_not_end_a_daemon_that_starts() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon_with(["--log-level", "error"]);
    wait_for("the last real-time signal to be caught", async || caught(daemon.pid(), RTMAX).then_some(())).await;
    // A thread of its own, since the story's own is busy asking whether the daemon is ready.
    let (over, pid) = (AtomicBool::new(false), libc::pid_t::try_from(daemon.pid()).unwrap());
    let daemon = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for number in RTMIN + 4..RTMAX {
                    // SAFETY: the process is our child, and is not waited for before this thread ends.
                    let _ = unsafe { libc::kill(pid, number) };
                }
                // They are queued without bound: faster than they are taken, nothing else would ever have its turn.
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Also where the daemon never gets ready: the scope waits for the storm.
        let _calm = Calm(&over);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(daemon.ready()))
    });
    daemon.stop().await.exits(0);
}

/// Ends a storm when it is dropped.
struct Calm<'a>(&'a AtomicBool);

impl Drop for Calm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the process has a handler for the signal: `SigCgt` of proc(5).
fn caught(pid: u32, signal: libc::c_int) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
    u64::from_str_radix(mask, 16).unwrap_or_default() >> (signal - 1) & 1 == 1
}
