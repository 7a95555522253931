//! Times that went by without a run: nobody was there, the machine slept, or somebody set its clock.

use crate::support::{Clock, Cluster, Daemon, Database, Pgtend, newest_major, runs, wait_for_runs};

/// A database and a clock; each daemon has jobs of its own.
async fn at(time: &str) -> (Clock, Database) {
    let clock = Clock::at(time);
    let db = Cluster::by(&clock, newest_major()).database().await;
    (clock, db)
}

fn job(name: &str, keys: &str) -> String {
    format!("[jobs.{name}]\n{keys}\n[jobs.{name}.sql]\nstatements = ['SELECT 1']\n")
}

fn hourly(name: &str) -> String {
    job(name, "schedule = '0 * * * *'")
}

/// Lets the daemon come to a due time of the job, which has run before as in `until_now`, and run it on schedule.
async fn strike(clock: &Clock, db: &Database, daemon: &Daemon, job: &str, until_now: &[&str], hour: &str) {
    clock.set(&format!("2027-06-10T{hour}:00Z"));
    let due = format!("10 {hour} schedule succeeded");
    wait_for_runs(db, daemon, job, &[until_now, &[due.as_str()]].concat()).await;
}

#[tokio::test]
async fn hours_without_a_daemon_are_caught_up_in_one_run() {
    let (clock, db) = at("2027-06-10T09:50:00Z").await;
    let declines = job("declines", "schedule = '0 * * * *'\ncatch_up = false");
    let known = hourly("catches-up") + &declines;
    let program = Pgtend::tending(&db, &known).by(&clock);
    let daemon = program.daemon().ready().await;
    strike(&clock, &db, &daemon, "catches-up", &[], "10:00").await;
    wait_for_runs(&db, &daemon, "declines", &["10 10:00 schedule succeeded"]).await;
    daemon.stop().await.exits(0);

    // Seven due times go by. A job that was never there owes none of them.
    clock.set("2027-06-10T17:20:00Z");
    program.configure_tending(&db, &(known + &hourly("new")));
    let daemon = program.daemon().ready().await;
    let caught_up = ["10 10:00 schedule succeeded", "10 17:00 catch_up succeeded"];
    wait_for_runs(&db, &daemon, "catches-up", &caught_up).await;
    strike(&clock, &db, &daemon, "catches-up", &caught_up, "18:00").await;
    wait_for_runs(&db, &daemon, "declines", &["10 10:00 schedule succeeded", "10 18:00 schedule succeeded"]).await;
    wait_for_runs(&db, &daemon, "new", &["10 18:00 schedule succeeded"]).await;
}

#[tokio::test]
async fn a_run_by_hand_settles_what_was_missed() {
    let (clock, db) = at("2027-06-10T09:50:00Z").await;
    let program = Pgtend::tending(&db, &hourly("chore")).by(&clock);
    let daemon = program.daemon().ready().await;
    strike(&clock, &db, &daemon, "chore", &[], "10:00").await;
    daemon.stop().await.exits(0);

    clock.set("2027-06-10T12:20:00Z");
    program.run(["run", "chore"]).await.exits(0);
    let daemon = program.daemon().ready().await;
    let by_hand = ["10 10:00 schedule succeeded", "- cli succeeded"];
    strike(&clock, &db, &daemon, "chore", &by_hand, "13:00").await;
}

#[tokio::test]
async fn two_daemons_that_start_together_catch_up_once() {
    let (clock, db) = at("2027-06-10T09:50:00Z").await;
    let program = || Pgtend::tending(&db, &hourly("chore")).by(&clock);
    let (one, other) = (program(), program());
    let daemon = one.daemon().ready().await;
    strike(&clock, &db, &daemon, "chore", &[], "10:00").await;
    daemon.stop().await.exits(0);

    clock.set("2027-06-10T17:20:00Z");
    let (one, other) = (one.daemon(), other.daemon());
    let (one, other) = (one.ready().await, other.ready().await);
    let five: chrono::DateTime<chrono::Utc> = "2027-06-10T17:00:00Z".parse().unwrap();
    for daemon in [&one, &other] {
        daemon
            .wait_until("the daemon knows of the run, whoever made it", async || {
                let last = daemon.metric("pgtend_job_last_success_timestamp_seconds", &[("job", "chore")]).await;
                last.is_some_and(|at| at >= five.timestamp() as f64)
            })
            .await;
    }
    let caught_up = ["10 10:00 schedule succeeded", "10 17:00 catch_up succeeded"];
    wait_for_runs(&db, &one, "chore", &caught_up).await;
    strike(&clock, &db, &other, "chore", &caught_up, "18:00").await;
}

#[tokio::test]
async fn a_machine_that_slept_for_hours_catches_up_once_when_it_wakes() {
    let (clock, db) = at("2027-06-10T09:50:00Z").await;
    let declines = job("declines", "schedule = '0 * * * *'\ncatch_up = false");
    let program = Pgtend::tending(&db, &(hourly("chore") + &declines)).by(&clock);
    let daemon = program.daemon().ready().await;
    // Without history of its own: what this daemon was there to see is missed all the same.
    clock.set("2027-06-10T13:10:00Z");
    let caught_up = ["10 13:00 catch_up succeeded"];
    wait_for_runs(&db, &daemon, "chore", &caught_up).await;
    strike(&clock, &db, &daemon, "chore", &caught_up, "14:00").await;
    wait_for_runs(&db, &daemon, "declines", &["10 14:00 schedule succeeded"]).await;
}

#[tokio::test]
async fn a_job_that_a_reload_moves_or_switches_on_waits_for_its_next_time() {
    let (clock, db) = at("2027-06-10T02:50:00Z").await;
    let jobs = |moved: &str, off: &str| {
        let (moved, off) = (format!("schedule = '{moved}'"), format!("schedule = '0 3 * * *'\nenabled = {off}"));
        job("moved", &moved) + &job("off", &off) + &job("by-hand", "")
    };
    let program = Pgtend::tending(&db, &jobs("0 3 * * *", "true")).by(&clock);
    let daemon = program.daemon().ready().await;
    let reload = async |jobs: &str| {
        let before = daemon.log().matches("config reloaded").count();
        program.configure_tending(&db, jobs);
        daemon.signal(libc::SIGHUP);
        daemon
            .wait_until("the config to be read again", async || {
                daemon.log().matches("config reloaded").count() > before
            })
            .await;
        // Who answers has read the history before.
        program.run(["trigger", "by-hand", "--wait"]).await.exits(0);
    };
    clock.set("2027-06-10T03:00:00Z");
    let first = "10 03:00 schedule succeeded";
    for job in ["moved", "off"] {
        wait_for_runs(&db, &daemon, job, &[first]).await;
    }

    clock.set("2027-06-10T12:00:00Z");
    reload(&jobs("0 5 * * *", "false")).await;
    let five: chrono::DateTime<chrono::Utc> = "2027-06-11T05:00:00Z".parse().unwrap();
    for gauge in ["pgtend_job_next_run_timestamp_seconds", "pgtend_job_success_due_timestamp_seconds"] {
        daemon.wait_for_metric(gauge, &[("job", "moved")], five.timestamp() as f64).await;
    }
    clock.set("2027-06-11T05:00:00Z");
    wait_for_runs(&db, &daemon, "moved", &[first, "11 05:00 schedule succeeded"]).await;

    clock.set("2027-06-11T12:00:00Z");
    reload(&jobs("0 5 * * *", "true")).await;
    clock.set("2027-06-12T03:00:00Z");
    wait_for_runs(&db, &daemon, "off", &[first, "12 03:00 schedule succeeded"]).await;
}

#[tokio::test]
async fn a_clock_set_back_an_hour_repeats_nothing_and_stops_nothing() {
    let (clock, db) = at("2027-06-10T09:50:00Z").await;
    let program = Pgtend::tending(&db, &hourly("chore")).by(&clock);
    let daemon = program.daemon().ready().await;
    strike(&clock, &db, &daemon, "chore", &[], "10:00").await;

    clock.set("2027-06-10T09:10:00Z");
    daemon.wait_for_log("was the clock set back?").await;
    // Jobs that are new to the daemon tell how far it has come since.
    let witness = job("witness", "schedule = '*/20 * * * *'");
    program.configure_tending(&db, &(hourly("chore") + &witness));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("config reloaded").await;
    strike(&clock, &db, &daemon, "witness", &[], "09:20").await;
    strike(&clock, &db, &daemon, "witness", &["10 09:20 schedule succeeded"], "09:40").await;
    let seen = ["10 09:20 schedule succeeded", "10 09:40 schedule succeeded"];
    strike(&clock, &db, &daemon, "witness", &seen, "10:00").await;
    let once = ["10 10:00 schedule succeeded"];
    assert_eq!(runs(&db, "chore").await, once);
    strike(&clock, &db, &daemon, "chore", &once, "11:00").await;
}
