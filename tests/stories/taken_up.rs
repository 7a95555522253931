//! What a daemon has begun and not brought to its end is taken up by whichever daemon sees it next.

use crate::support::{Clock, Cluster, Daemon, Database, Pgtend, newest_major, runs, wait_for_runs};

/// A chore that holds still until the gate is open.
const GATED: &str = "[jobs.chore]\nschedule = '0 * * * *'\n[jobs.chore.sql]\nstatements = ['''DO $$ BEGIN
  WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$''']\n";

async fn at(time: &str) -> (Clock, Database) {
    let clock = Clock::at(time);
    let db = Cluster::by(&clock, newest_major()).database().await;
    db.add_gate().await;
    (clock, db)
}

/// A daemon in the midst of the chore of ten o'clock.
async fn at_work(program: &Pgtend, clock: &Clock, db: &Database) -> Daemon {
    let daemon = program.daemon().ready().await;
    clock.set("2027-06-10T10:00:00Z");
    db.wait_for_busy("pgtend/chore", 1).await;
    daemon
}

#[tokio::test]
async fn what_a_stop_has_cut_short_is_done_by_the_next_daemon() {
    let (clock, db) = at("2027-06-10T09:59:00Z").await;
    let program = Pgtend::tending(&db, GATED).by(&clock);
    let daemon = at_work(&program, &clock, &db).await;
    daemon.stop().await.exits(0);
    assert_eq!(runs(&db, "chore").await, ["10 10:00 schedule cancelled"]);

    db.open_gate().await;
    let daemon = program.daemon().ready().await;
    let both = ["10 10:00 schedule cancelled", "10 10:00 catch_up succeeded #2"];
    wait_for_runs(&db, &daemon, "chore", &both).await;
    daemon.wait_for_log("taken up again: its daemon was stopped").await;
    daemon.stop().await.exits(0);
    // It is done: nobody begins it a third time.
    let daemon = program.daemon().ready().await;
    clock.set("2027-06-10T11:00:00Z");
    wait_for_runs(&db, &daemon, "chore", &[&both[..], &["10 11:00 schedule succeeded"]].concat()).await;
}

#[tokio::test]
async fn what_a_kill_has_cut_short_is_done_by_the_next_daemon() {
    let (clock, db) = at("2027-06-10T09:59:00Z").await;
    let program = Pgtend::tending(&db, GATED).by(&clock);
    let daemon = at_work(&program, &clock, &db).await;
    drop(daemon);

    db.open_gate().await;
    let daemon = program.daemon().ready().await;
    let both = ["10 10:00 schedule failed", "10 10:00 catch_up succeeded #2"];
    wait_for_runs(&db, &daemon, "chore", &both).await;
    assert_eq!(db.runs("chore").await[0].details["daemon_died"], true);
}

#[tokio::test]
async fn a_daemon_that_lives_does_what_the_stop_of_another_has_cut_short() {
    let (clock, db) = at("2027-06-10T09:59:00Z").await;
    let program = || Pgtend::tending(&db, GATED).by(&clock).env("PGTEND_HURRY", "30");
    let (one, other) = (program(), program());
    let first = at_work(&one, &clock, &db).await;
    // It comes when that run is at work, and leaves it alone.
    let second = other.daemon().ready().await;
    second.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
    first.stop().await.exits(0);
    db.open_gate().await;
    let both = ["10 10:00 schedule cancelled", "10 10:00 catch_up succeeded #2"];
    wait_for_runs(&db, &second, "chore", &both).await;
}

#[tokio::test]
async fn a_try_that_its_daemon_did_not_live_to_make_is_made_by_the_next() {
    let (clock, db) = at("2027-06-10T09:59:00Z").await;
    db.execute("create sequence public.tries").await;
    let job = "[jobs.chore]\nschedule = '0 * * * *'\nretry = { attempts = 2, wait = '10m' }\n\
               [jobs.chore.sql]\nstatements = [\"SELECT 1 / (nextval('public.tries') / 2)\"]\n";
    let program = Pgtend::tending(&db, job).by(&clock);
    let daemon = program.daemon().ready().await;
    clock.set("2027-06-10T10:00:00Z");
    wait_for_runs(&db, &daemon, "chore", &["10 10:00 schedule failed"]).await;
    daemon.stop().await.exits(0);

    clock.set("2027-06-10T10:12:00Z");
    let daemon = program.daemon().ready().await;
    wait_for_runs(&db, &daemon, "chore", &["10 10:00 schedule failed", "10 10:00 catch_up succeeded #2"]).await;
}

#[tokio::test]
async fn what_somebody_has_run_by_hand_since_is_not_taken_up() {
    let (clock, db) = at("2027-06-10T09:59:00Z").await;
    let program = Pgtend::tending(&db, GATED).by(&clock);
    let daemon = at_work(&program, &clock, &db).await;
    daemon.stop().await.exits(0);
    db.open_gate().await;
    program.run(["run", "chore"]).await.exits(0);

    let daemon = program.daemon().ready().await;
    clock.set("2027-06-10T11:00:00Z");
    let expected = ["10 10:00 schedule cancelled", "- cli succeeded", "10 11:00 schedule succeeded"];
    wait_for_runs(&db, &daemon, "chore", &expected).await;
}
