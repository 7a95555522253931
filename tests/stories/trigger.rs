//! `pgtend trigger`: from a machine that has only the database in common with the daemon.

use crate::support::{Cluster, Database, GATED, Pgtend, newest_major, on_each_major, wait_until};

const JOBS: &str = r#"
[jobs.hello.sql]
statements = ["insert into ran values ('hello')"]
[jobs.off]
enabled = false
[jobs.off.sql]
statements = ["insert into ran values ('off')"]
[jobs.broken.sql]
statements = ["select 1/0"]
"#;

/// A daemon's program, and that of somebody else: another folder, config and name of the database.
fn here_and_there(db: &Database, jobs: &str) -> (Pgtend, Pgtend) {
    let there = Pgtend::new(&format!("[databases.production]\nurl = \"{}\"\n{jobs}", db.url()));
    (Pgtend::tending(db, jobs), there)
}

#[tokio::test]
async fn the_daemon_runs_it_and_the_outcome_comes_back() {
    on_each_major(async |db| {
        db.execute("create table ran (job text)").await;
        let (here, there) = here_and_there(&db, JOBS);
        let daemon = here.daemon().ready().await;

        let output = there.run(["trigger", "hello", "--wait"]).await.exits(0);
        let run = &db.wait_for_ended("hello", 1).await[0];
        assert_eq!((run.trigger.as_str(), i64::from(run.pid)), ("notify", i64::from(daemon.pid())));
        assert!(output.stdout.contains("taken by") && output.stdout.contains("hello: succeeded"), "{}", output.stdout);

        let output = there.run(["trigger", "broken", "--wait"]).await.exits(1);
        assert!(output.stdout.contains("broken: failed: ") && output.stdout.contains("22012"), "{}", output.stdout);

        // Off its schedule, a job is still there to be asked for.
        there.run(["trigger", "off", "--wait"]).await.exits(0);
        assert_eq!(db.column::<String>("select job from ran").await, ["hello", "off"]);

        let output = there.run(["trigger", "nothing"]).await.exits(2);
        assert!(output.stderr.contains("no job \"nothing\""), "{}", output.stderr);
    })
    .await;
}

#[tokio::test]
async fn without_wait_it_is_over_once_a_daemon_has_it() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let (here, there) = here_and_there(&db, GATED);
    let daemon = here.daemon().ready().await;
    let output = there.run(["trigger", "gated"]).await.exits(0);
    assert!(output.stdout.contains(&format!("(pid {})", daemon.pid())), "{}", output.stdout);
    db.wait_for_busy("pgtend/gated", 1).await;

    // It runs already: nothing was done for the second.
    let output = there.run(["trigger", "gated", "--wait"]).await.exits(3);
    assert!(output.stdout.contains("gated: skipped: it has been running here"), "{}", output.stdout);
    db.open_gate().await;
    assert_eq!(db.wait_for_ended("gated", 1).await.len(), 1);
}

#[tokio::test]
async fn where_no_daemon_listens_the_request_is_withdrawn() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    let (here, there) = here_and_there(&db, JOBS);
    // Nobody has ever been here: there is not even a place to ask.
    let output = there.run(["trigger", "hello"]).await.exits(1);
    assert!(output.stderr.contains("no daemon has ever run"), "{}", output.stderr);
    assert!(db.scalar::<bool>("select to_regnamespace('pgtend') is null").await);

    here.daemon().ready().await.stop().await.exits(0);
    let output = there.run(["trigger", "hello", "--wait"]).await.exits(1);
    assert!(output.stderr.contains("no daemon took the request within 10 s"), "{}", output.stderr);
    assert_eq!(db.count("pgtend.request").await, 0);

    // A daemon that comes later answers only who still asks.
    let daemon = here.daemon().ready().await;
    there.run(["trigger", "off", "--wait"]).await.exits(0);
    assert_eq!(db.runs("hello").await, []);
    daemon.stop().await.exits(0);
}

/// One asks first and the daemon comes while it waits.
#[tokio::test]
async fn a_daemon_that_comes_in_time_takes_what_was_asked_before() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    let (here, there) = here_and_there(&db, JOBS);
    here.daemon().ready().await.stop().await.exits(0);
    let asking = there.start(["trigger", "hello", "--wait"]);
    let asked = "the request to be there";
    asking.wait_until(asked, async || db.count("pgtend.request").await == 1).await;
    let daemon = here.daemon();
    asking.wait().await.exits(0);
    assert_eq!(db.outcomes("hello").await, ["succeeded"]);
    drop(daemon);
}

#[tokio::test]
async fn of_several_databases_each_has_its_own_run() {
    let cluster = Cluster::shared(newest_major());
    let (one, two) = (cluster.database().await, cluster.database().await);
    let databases =
        format!("[databases.tenant-one]\nurl = \"{}\"\n[databases.tenant-two]\nurl = \"{}\"\n", one.url(), two.url());
    let jobs = "[jobs.all]\ndatabases = [\"tenant-*\"]\n[jobs.all.sql]\nstatements = [\"select 1\"]\n";
    let here = Pgtend::new(&format!("{databases}{jobs}[http]\nlisten = \"{{listen}}\"\n"));
    let there = Pgtend::new(&format!("{databases}{jobs}"));
    let daemon = here.daemon().ready().await;

    let output = there.run(["trigger", "all@tenant-two", "--wait"]).await.exits(0);
    assert!(output.stdout.contains("all@tenant-two: succeeded"), "{}", output.stdout);
    assert_eq!(two.outcomes("all@tenant-two").await, ["succeeded"]);
    assert_eq!(one.runs("all@tenant-one").await, []);

    there.run(["trigger", "all", "--database", "tenant-one", "--wait"]).await.exits(0);
    there.run(["trigger", "all", "--wait"]).await.exits(0);
    assert_eq!(one.outcomes("all@tenant-one").await, ["succeeded", "succeeded"]);
    assert_eq!(two.outcomes("all@tenant-two").await, ["succeeded", "succeeded"]);
    there.run(["trigger", "all@tenant-three"]).await.exits(2);
    daemon.stop().await.exits(0);
}

/// A run is asked for in each at once, not in one after the other has ended.
#[tokio::test]
async fn several_databases_are_asked_at_the_same_time() {
    let cluster = Cluster::shared(newest_major());
    let (one, two) = (cluster.database().await, cluster.database().await);
    one.add_gate().await;
    two.add_gate().await;
    let config = format!(
        "[databases.one]\nurl = \"{}\"\n[databases.two]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n\
         [jobs.gated]\ndatabases = [\"*\"]\n{GATED}",
        one.url(),
        two.url()
    );
    let here = Pgtend::new(&config);
    let daemon = here.daemon().ready().await;
    let asking = here.start(["trigger", "gated", "--wait"]);
    one.wait_for_busy("pgtend/gated%", 1).await;
    two.wait_for_busy("pgtend/gated%", 1).await;
    one.open_gate().await;
    two.open_gate().await;
    asking.wait().await.exits(0);
    daemon.stop().await.exits(0);
}

/// A daemon that dies answers nobody; the next one closes the record of its run, and that is the answer.
#[tokio::test]
async fn whoever_waits_for_a_daemon_that_dies_is_told_in_the_end() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let (here, there) = here_and_there(&db, GATED);
    let daemon = here.daemon().ready().await;
    let asking = there.start(["trigger", "gated", "--wait"]);
    db.wait_for_busy("pgtend/gated", 1).await;
    drop(daemon);
    db.wait_until_unlocked().await;
    let next = here.daemon().ready().await;
    let output = asking.wait().await.exits(1);
    assert!(output.stdout.contains("gated: failed: the daemon that ran this"), "{}", output.stdout);
    next.stop().await.exits(0);
}

/// A daemon that is ending has nobody left who would run it.
#[tokio::test]
async fn a_daemon_that_is_ending_leaves_requests_to_others() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    db.add_gate().await;
    let (here, there) = here_and_there(&db, &format!("{JOBS}{GATED}"));
    // Work that does not come to its end, so that the daemon does not either.
    let (here, hold) = here.holding("runner.begun@gated");
    let config = std::fs::read_to_string(here.config()).unwrap();
    here.configure(&format!("shutdown_timeout = \"10m\"\n{config}"));
    let ending = here.daemon().ready().await;
    there.run(["trigger", "gated"]).await.exits(0);
    hold.reached().await;
    ending.signal(libc::SIGTERM);
    ending.wait_for_log("stopping, within").await;
    let asking = there.start(["trigger", "hello", "--wait"]);
    let asked = "select count(*) = 1 from pgtend.request where job = 'hello'";
    asking.wait_until("the request to be there", async || db.scalar::<bool>(asked).await).await;
    let other = Pgtend::tending(&db, JOBS).daemon().ready().await;
    asking.wait().await.exits(0);
    assert_eq!(db.runs("hello").await[0].pid, i32::try_from(other.pid()).unwrap());
    hold.go_on();
    ending.wait().await.exits(0);
}

/// What waits for a place among the runs when its daemon is to end waits for another daemon.
#[tokio::test]
async fn what_was_taken_and_not_begun_is_put_back_for_others() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    db.add_gate().await;
    let (here, there) = here_and_there(&db, &format!("{JOBS}{GATED}"));
    let here = here.env("PGTEND_HURRY", "20");
    let config = std::fs::read_to_string(here.config()).unwrap();
    here.configure(&format!("max_runs = 1\n{config}"));
    let ending = here.daemon().ready().await;
    there.run(["trigger", "gated"]).await.exits(0);
    db.wait_for_busy("pgtend/gated", 1).await;
    let asking = there.start(["trigger", "hello", "--wait"]);
    let taken = "select max(taken_at)::text from pgtend.request where job = 'hello'";
    let is_taken = async || db.scalar::<Option<String>>(taken).await.is_some();
    asking.wait_until("the request to be taken", is_taken).await;
    // Whoever waits sees that somebody still means to run it.
    let first = db.scalar::<Option<String>>(taken).await;
    let again = async || db.scalar::<Option<String>>(taken).await > first;
    asking.wait_until("the daemon to say that it is still there", again).await;
    let other = Pgtend::tending(&db, JOBS).daemon().ready().await;
    ending.stop().await.exits(0);
    asking.wait().await.exits(0);
    assert_eq!(db.runs("hello").await[0].pid, i32::try_from(other.pid()).unwrap());
}

/// A reload ends the watching by the old config; what was just taken by that is run by the new one.
#[tokio::test]
async fn a_reload_loses_nothing_that_was_just_taken() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    let (here, there) = here_and_there(&db, JOBS);
    let (here, hold) = here.holding("daemon.taken");
    let daemon = here.daemon().ready().await;
    let asking = there.start(["trigger", "hello", "--wait"]);
    hold.reached().await;
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("config reloaded").await;
    hold.go_on();
    asking.wait().await.exits(0);
    assert_eq!(db.outcomes("hello").await, ["succeeded"]);
    daemon.stop().await.exits(0);
}

/// The job has left this daemon's config; another one may have it still.
#[tokio::test]
async fn what_a_reload_has_no_job_for_is_put_back_for_others() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    let (here, there) = here_and_there(&db, JOBS);
    let (here, hold) = here.holding("daemon.taken");
    let daemon = here.daemon().ready().await;
    let asking = there.start(["trigger", "hello", "--wait"]);
    hold.reached().await;
    here.configure_tending(&db, "[jobs.else.sql]\nstatements = ['select 1']\n");
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("config reloaded").await;
    let other = Pgtend::tending(&db, JOBS).daemon().ready().await;
    hold.go_on();
    asking.wait().await.exits(0);
    assert_eq!(db.runs("hello").await[0].pid, i32::try_from(other.pid()).unwrap());
    daemon.stop().await.exits(0);
}

/// One that dies before the run has begun leaves nothing that another daemon could close.
#[tokio::test]
async fn whoever_waits_for_a_daemon_that_dies_before_the_run_has_begun_is_told() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table ran (job text)").await;
    let (here, there) = here_and_there(&db, JOBS);
    let (here, hold) = here.holding("daemon.taken");
    let daemon = here.daemon().ready().await;
    let there = there.env("PGTEND_HURRY", "20");
    let asking = there.start(["trigger", "hello", "--wait"]);
    hold.reached().await;
    drop(daemon);
    wait_until("the daemon to be gone", async || db.backends("pgtend").await.is_empty()).await;
    let output = asking.wait().await.exits(1);
    assert!(output.stdout.contains("hello: taken by"), "{}", output.stdout);
    assert!(output.stderr.contains("has neither begun the run nor waits to begin it"), "{}", output.stderr);
    assert_eq!(db.runs("hello").await, []);
}
