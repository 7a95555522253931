//! Any number of daemons, any number of people at a prompt: one run of a job at a time, and one for a due time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{Cluster, Daemon, Database, GATED, Pgtend, majors, newest_major, on_each_major, wait_until};

/// Several jobs, so that the daemons meet in more than one order.
const JOBS: [&str; 3] = ["one", "two", "three"];

/// Without catching up, which may answer the same due time once more: rings are counted here.
fn each_second() -> String {
    let job = |name: &str| {
        format!(
            "[jobs.{name}]\nschedule = '* * * * * *'\ncatch_up = false\n[jobs.{name}.sql]\nstatements = [\"INSERT INTO done VALUES ('{name}')\"]\n"
        )
    };
    JOBS.map(job).concat()
}

/// A clock that stands still until it is told to go on: with time itself a slow machine would pass due times over.
struct Seconds(DateTime<Utc>);

impl Seconds {
    async fn of(db: &Database) -> Self {
        // The server's clock cannot be set, and one too far from it is refused.
        Self(db.scalar("select date_trunc('second', now())").await)
    }

    fn text(&self) -> String {
        self.0.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The next due time, for all of them.
    fn strike(&mut self, programs: &[&Pgtend]) -> DateTime<Utc> {
        self.0 += TimeDelta::seconds(1);
        for program in programs {
            program.set_clock(&self.text());
        }
        self.0
    }
}

/// How many rings of a job the daemon has answered, with whatever outcome.
async fn answered(daemon: &Daemon, job: &str) -> f64 {
    daemon.metric("pgtend_job_runs_total", &[("job", job)]).await.unwrap_or_default()
}

/// All that the daemon said `outcome` to.
async fn with_outcome(daemon: &Daemon, outcome: &str) -> f64 {
    daemon.metric("pgtend_job_runs_total", &[("outcome", outcome)]).await.unwrap_or_default()
}

#[tokio::test]
async fn each_due_time_runs_once_however_many_daemons_ring() {
    const SECONDS: usize = 6;
    on_each_major(async |db| {
        db.execute("create table done (job text)").await;
        let mut clock = Seconds::of(&db).await;
        let start = || Pgtend::tending(&db, &each_second()).with_clock(&clock.text());
        let programs = [start(), start(), start()];
        let mut daemons = Vec::new();
        for program in &programs {
            daemons.push(program.daemon().ready().await);
        }
        let mut due = Vec::new();
        for rung in 1..=SECONDS {
            due.push(clock.strike(&programs.each_ref()));
            for (daemon, job) in daemons.iter().flat_map(|daemon| JOBS.map(|job| (daemon, job))) {
                let what = format!("the answer to ring {rung} of {job}");
                daemon.wait_until(&what, async || answered(daemon, job).await == rung as f64).await;
            }
            // The last answer is there a moment before its lock is free.
            db.wait_until_unlocked().await;
        }
        for job in JOBS {
            let runs = db.runs(job).await;
            assert_eq!(runs.iter().filter_map(|run| run.due_at).collect::<Vec<_>>(), due, "{runs:#?}");
            assert!(runs.iter().all(|run| run.outcome == "succeeded" && run.trigger == "schedule"), "{runs:#?}");
            assert_eq!(db.count(&format!("done where job = '{job}'")).await, i64::try_from(SECONDS).unwrap());
        }
        let mut skipped = 0.0;
        for daemon in &daemons {
            assert_eq!(with_outcome(daemon, "failed").await, 0.0);
            skipped += with_outcome(daemon, "skipped").await;
        }
        // Two of three daemons, each time.
        assert_eq!(skipped, (2 * SECONDS * JOBS.len()) as f64);
    })
    .await;
}

#[tokio::test]
async fn another_daemon_takes_over_from_one_that_was_killed() {
    for major in majors() {
        let db = Cluster::shared(major).database().await;
        db.execute("create table done (job text)").await;
        let mut clock = Seconds::of(&db).await;
        let (first, held) = Pgtend::tending(&db, &each_second()).with_clock(&clock.text()).holding("runner.apply@one");
        let second = Pgtend::tending(&db, &each_second()).with_clock(&clock.text());

        let killed = first.daemon().ready().await;
        let before = clock.strike(&[&first, &second]);
        held.reached().await;
        let pid = killed.pid();
        let other = second.daemon().ready().await;
        for job in ["two", "three"] {
            db.wait_for_ended(job, 1).await;
        }
        let during = clock.strike(&[&first, &second]);
        other.wait_until("the other finds the job held", async || answered(&other, "one").await == 1.0).await;
        assert_eq!(db.outcomes("one").await, ["open"]);
        killed.wait_until("its own second ring", async || answered(&killed, "two").await == 2.0).await;
        drop(killed);
        db.wait_until_unlocked().await;
        let after = clock.strike(&[&first, &second]);

        let runs = db.wait_for_ended("one", 2).await;
        assert_eq!(runs.iter().filter_map(|run| run.due_at).collect::<Vec<_>>(), [before, after], "{runs:#?}");
        assert_eq!((runs[0].outcome.as_str(), runs[1].outcome.as_str()), ("failed", "succeeded"), "{runs:#?}");
        assert!(runs[0].error.contains(&format!("pid {pid} on {}", runs[0].host)), "{}", runs[0].error);
        // What nobody held went on meanwhile.
        other.wait_until("the other's third ring", async || answered(&other, "two").await == 2.0).await;
        assert_eq!(
            db.runs("two").await.iter().filter_map(|run| run.due_at).collect::<Vec<_>>(),
            [before, during, after]
        );
    }
}

#[tokio::test]
async fn a_run_finds_the_lock_held_and_does_nothing() {
    on_each_major(async |db| {
        db.add_gate().await;
        let program = Pgtend::tending(&db, GATED);
        let first = program.start(["run", "gated", "--json"]);
        db.wait_for_busy("pgtend/gated", 1).await;
        let pid = db.backends("pgtend/gated (lock)").await[0];

        let second = program.run(["run", "gated", "--json"]).await.exits(3);
        let said = &second.json()[0];
        assert_eq!((said["outcome"].as_str(), said["error"].as_str()), (Some("skipped"), None), "{said}");
        assert_eq!(said["details"]["skipped"], "held", "{said}");
        let reason = said["details"]["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("pid {pid} (pgtend/gated (lock)")), "{reason}");
        assert_eq!(db.outcomes("gated").await, ["open"]);

        db.open_gate().await;
        assert_eq!(first.wait().await.exits(0).json()[0]["outcome"], "succeeded");
        assert_eq!(db.outcomes("gated").await, ["succeeded"]);
        assert_eq!(db.count("done").await, 1);
    })
    .await;
}

/// As `docs/operating.md` looks for it.
#[tokio::test]
async fn the_lock_of_a_job_with_the_longest_name_is_found_by_its_suffix() {
    on_each_major(async |db| {
        db.add_gate().await;
        let long = "j".repeat(63);
        let program = Pgtend::tending(&db, &GATED.replace("gated", &long));
        let run = program.start(["run", &long, "--json"]);
        db.wait_for_busy("pgtend/jjj%", 1).await;
        assert_eq!(db.backends("pgtend/%(lock)").await.len(), 1);
        db.open_gate().await;
        assert_eq!(run.wait().await.exits(0).json()[0]["outcome"], "succeeded");
    })
    .await;
}

#[tokio::test]
async fn a_job_asked_for_while_it_runs_is_not_run_twice() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let program = Pgtend::tending(&db, GATED);
    let daemon = program.daemon().ready().await;
    let first = program.start(["trigger", "gated", "--wait"]);
    db.wait_for_busy("pgtend/gated", 1).await;

    let again = program.run(["trigger", "gated", "--wait"]).await.exits(3);
    assert!(again.stdout.contains("skipped: it has been running here since"), "{}", again.stdout);
    let by_hand = program.run(["run", "gated"]).await.exits(3);
    assert!(by_hand.stdout.contains("its lock is held by pid"), "{}", by_hand.stdout);

    db.open_gate().await;
    first.wait().await.exits(0);
    assert_eq!(db.count("done").await, 1);
    let runs = db.runs("gated").await;
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!((runs[0].outcome.as_str(), runs[0].trigger.as_str()), ("succeeded", "notify"));
    assert_eq!(with_outcome(&daemon, "skipped").await, 1.0);
}

#[tokio::test]
async fn a_request_is_taken_by_one_daemon_and_run_once() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    db.open_gate().await;
    let programs = [Pgtend::tending(&db, GATED), Pgtend::tending(&db, GATED), Pgtend::tending(&db, GATED)];
    let mut daemons = Vec::new();
    for program in &programs {
        daemons.push(program.daemon().ready().await);
    }
    const REQUESTS: i64 = 5;
    for _ in 0..REQUESTS {
        programs[0].run(["trigger", "gated", "--wait"]).await.exits(0);
    }
    assert_eq!(db.count("done").await, REQUESTS);
    assert_eq!(db.count("pgtend.request where outcome = 'succeeded'").await, REQUESTS);
    let twice = "(select request_id from pgtend.run group by request_id having count(*) <> 1) twice";
    assert_eq!(db.count(twice).await, 0);
}

#[tokio::test]
async fn a_request_that_the_history_knows_is_not_run_again() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    db.open_gate().await;
    let program = Pgtend::tending(&db, GATED);
    let _daemon = program.daemon().ready().await;
    program.run(["trigger", "gated", "--wait"]).await.exits(0);
    // As when a daemon took the request back up after it had run.
    db.execute(
        "update pgtend.request set taken_at = null, taken_by = null, finished_at = null, outcome = null;
         select pg_notify('pgtend', '')",
    )
    .await;
    wait_until("the request to be answered", async || db.count("pgtend.request where outcome = 'skipped'").await == 1)
        .await;
    let why: String = db.scalar("select error from pgtend.request").await;
    assert!(why.contains("was run already"), "{why}");
    assert_eq!(db.count("done").await, 1);
}
