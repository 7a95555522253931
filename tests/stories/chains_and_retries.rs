//! What a run brings about: another try, the jobs that come after it, or nothing, because its window is closed.

use crate::support::{Clock, Cluster, Daemon, Database, GATED, Pgtend, newest_major, runs, wait_for_runs};

fn job(name: &str, keys: &str, statement: &str) -> String {
    format!("[jobs.{name}]\n{keys}\n[jobs.{name}.sql]\nstatements = [\"{statement}\"]\n")
}

async fn at(time: &str, jobs: &str) -> (Clock, Database, Pgtend, Daemon) {
    let clock = Clock::at(time);
    let db = Cluster::by(&clock, newest_major()).database().await;
    let program = Pgtend::tending(&db, jobs).by(&clock);
    let daemon = program.daemon().ready().await;
    (clock, db, program, daemon)
}

#[tokio::test]
async fn a_scheduled_run_that_fails_is_tried_again_until_it_succeeds_or_has_no_tries_left() {
    const KEYS: &str = "schedule = '0 * * * *'\nretry = { attempts = 3, wait = '50ms' }";
    // A sequence is not rolled back: the third look at it is the first that does not divide by zero.
    let jobs = job("recovers", KEYS, "SELECT 1 / (nextval('public.tries') / 3)")
        + &job("hopeless", KEYS, "SELECT 1 / 0")
        + &job("untried", "schedule = '0 * * * *'", "SELECT 1 / 0");
    let (clock, db, program, daemon) = at("2027-06-10T09:50:00Z", &jobs).await;
    db.execute("create sequence public.tries").await;

    clock.set("2027-06-10T10:00:00Z");
    let recovers = ["10 10:00 schedule failed", "10 10:00 schedule failed #2", "10 10:00 schedule succeeded #3"];
    let hopeless = ["10 10:00 schedule failed", "10 10:00 schedule failed #2", "10 10:00 schedule failed #3"];
    wait_for_runs(&db, &daemon, "recovers", &recovers).await;
    wait_for_runs(&db, &daemon, "hopeless", &hopeless).await;

    // By hand it is tried once, whoever asked.
    program.run(["run", "hopeless"]).await.exits(1);
    program.run(["trigger", "hopeless", "--wait"]).await.exits(1);
    clock.set("2027-06-10T11:00:00Z");
    let recovers = [&recovers[..], &["10 11:00 schedule succeeded"]].concat();
    wait_for_runs(&db, &daemon, "recovers", &recovers).await;
    let later = [
        "- cli failed",
        "- notify failed",
        "10 11:00 schedule failed",
        "10 11:00 schedule failed #2",
        "10 11:00 schedule failed #3",
    ];
    wait_for_runs(&db, &daemon, "hopeless", &[&hopeless[..], &later].concat()).await;
    wait_for_runs(&db, &daemon, "untried", &["10 10:00 schedule failed", "10 11:00 schedule failed"]).await;
}

#[tokio::test]
async fn a_caught_up_run_that_fails_is_tried_again_too() {
    let jobs = job(
        "recovers",
        "schedule = '0 * * * *'\nretry = { attempts = 2, wait = '50ms' }",
        "SELECT 1 / (nextval('public.tries') / 2)",
    );
    let (clock, db, _program, daemon) = at("2027-06-10T09:50:00Z", &jobs).await;
    db.execute("create sequence public.tries").await;
    clock.set("2027-06-10T12:30:00Z");
    wait_for_runs(&db, &daemon, "recovers", &["10 12:00 catch_up failed", "10 12:00 catch_up succeeded #2"]).await;
}

#[tokio::test]
async fn a_job_runs_after_the_ones_before_it_and_never_after_a_failure() {
    let done = |name: &str, keys: &str| job(name, keys, &format!("INSERT INTO public.done VALUES ('{name}')"));
    let jobs = done("first", "")
        + &done("second", "after = ['first']")
        + &done("third", "after = ['second']")
        + &job("broken", "", "SELECT 1 / 0")
        + &done("after-broken", "after = ['broken']")
        + &done("left", "")
        + &done("right", "")
        + &done("after-both", "after = ['left', 'right']");
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table public.done (job text, n serial)").await;
    let program = Pgtend::tending(&db, &jobs);
    let daemon = program.daemon().ready().await;
    let trigger = async |job: &str, code: i32| program.run(["trigger", job, "--wait"]).await.exits(code);

    trigger("broken", 1).await;
    trigger("left", 0).await;
    trigger("left", 0).await;
    trigger("first", 0).await;
    wait_for_runs(&db, &daemon, "third", &["- after succeeded"]).await;
    // A run of another process starts nothing here: whoever ran a job sees to what comes after it.
    program.run(["run", "right"]).await.exits(0);
    assert_eq!(runs(&db, "after-both").await, [""; 0]);
    trigger("right", 0).await;
    wait_for_runs(&db, &daemon, "after-both", &["- after succeeded"]).await;

    // Both have to succeed anew for the next.
    trigger("right", 0).await;
    trigger("first", 0).await;
    wait_for_runs(&db, &daemon, "third", &["- after succeeded", "- after succeeded"]).await;
    daemon.stop().await.exits(0);
    let order = "left left first second third right right after-both right first second third";
    let order: Vec<&str> = order.split(' ').collect();
    assert_eq!(db.column::<String>("select job from public.done order by n").await, order);
    assert_eq!(runs(&db, "after-broken").await, [""; 0]);
}

#[tokio::test]
async fn a_job_follows_several_whichever_daemons_ran_them_and_whether_they_still_live() {
    const RTMIN: libc::c_int = 34;
    let jobs = job("left", "signal = 'RTMIN'", "SELECT 1")
        + &job("right", "signal = 'RTMIN+1'", "SELECT 1")
        + &job("both", "after = ['left', 'right']", "SELECT 1");
    let db = Cluster::shared(newest_major()).database().await;
    let programs = [(); 2].map(|()| Pgtend::tending(&db, &jobs));
    let (one, other) = (programs[0].daemon().ready().await, programs[1].daemon().ready().await);

    one.signal(RTMIN);
    db.wait_for_ended("left", 1).await;
    other.signal(RTMIN + 1);
    wait_for_runs(&db, &other, "both", &["- after succeeded"]).await;

    // The daemon that ran the first is gone when the second has succeeded.
    one.signal(RTMIN);
    db.wait_for_ended("left", 2).await;
    one.stop().await.exits(0);
    other.stop().await.exits(0);
    let one = programs[0].daemon().ready().await;
    one.signal(RTMIN + 1);
    wait_for_runs(&db, &one, "both", &["- after succeeded", "- after succeeded"]).await;
    // One of them alone is not enough.
    one.signal(RTMIN + 1);
    db.wait_for_ended("right", 3).await;
    one.stop().await.exits(0);
    assert_eq!(runs(&db, "both").await.len(), 2);
}

#[tokio::test]
async fn a_job_that_is_at_work_when_it_should_follow_runs_once_more() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let jobs = job("first", "", "SELECT 1")
        + &GATED.replace("[jobs.gated.sql]", "[jobs.gated]\nafter = ['first']\n[jobs.gated.sql]");
    let program = Pgtend::tending(&db, &jobs).env("PGTEND_HURRY", "20");
    let daemon = program.daemon().ready().await;
    let first = async || program.run(["trigger", "first", "--wait"]).await.exits(0);
    let skipped = async |times: f64| {
        let labels = [("job", "gated"), ("outcome", "skipped")];
        daemon.wait_for_metric("pgtend_job_runs_total", &labels, times).await;
    };

    // However often, while it is at work: once more.
    first().await;
    db.wait_for_busy("pgtend/gated", 1).await;
    first().await;
    skipped(1.0).await;
    first().await;
    skipped(2.0).await;
    db.open_gate().await;
    let twice = ["- after succeeded", "- after succeeded"];
    wait_for_runs(&db, &daemon, "gated", &twice).await;

    // So too where another process is at it.
    db.execute("delete from gate").await;
    let by_hand = program.start(["run", "gated"]);
    db.wait_for_busy("pgtend/gated", 1).await;
    first().await;
    skipped(3.0).await;
    db.open_gate().await;
    by_hand.wait().await.exits(0);
    let more = [&twice[..], &["- cli succeeded", "- after succeeded"]].concat();
    wait_for_runs(&db, &daemon, "gated", &more).await;
    daemon.stop().await.exits(0);
    assert_eq!(runs(&db, "gated").await, more);
}

#[tokio::test]
async fn a_try_does_not_come_when_what_was_due_has_been_done_meanwhile() {
    let clock = Clock::at("2027-06-10T09:50:00Z");
    let db = Cluster::by(&clock, newest_major()).database().await;
    db.execute("create table public.switch as select 0 as n").await;
    let keys = |schedule: &str| format!("schedule = '{schedule}'\nretry = {{ attempts = 2, wait = '50ms' }}");
    let statement = "SELECT 1 / n FROM public.switch";
    let jobs = job("chore", &keys("0 10 * * *"), statement);
    let (program, hold) = Pgtend::tending(&db, &jobs).by(&clock).holding("daemon.try");
    let daemon = program.daemon().ready().await;
    clock.set("2027-06-10T10:00:00Z");
    hold.reached().await;
    wait_for_runs(&db, &daemon, "chore", &["10 10:00 schedule failed"]).await;
    db.execute("update public.switch set n = 1").await;
    program.run(["run", "chore"]).await.exits(0);
    hold.go_on();
    daemon.wait_for_log("not tried again: it has succeeded meanwhile").await;
    daemon.stop().await.exits(0);
    assert_eq!(runs(&db, "chore").await, ["10 10:00 schedule failed", "- cli succeeded"]);

    // A newer due time counts for both.
    db.execute("update public.switch set n = 0").await;
    clock.set("2027-06-10T10:50:00Z");
    let (program, hold) =
        Pgtend::tending(&db, &job("hourly", &keys("0 * * * *"), statement)).by(&clock).holding("daemon.try");
    let daemon = program.daemon().ready().await;
    clock.set("2027-06-10T11:00:00Z");
    hold.reached().await;
    db.execute("update public.switch set n = 1").await;
    clock.set("2027-06-10T12:00:00Z");
    let hourly = ["10 11:00 schedule failed", "10 12:00 schedule succeeded"];
    wait_for_runs(&db, &daemon, "hourly", &hourly).await;
    hold.go_on();
    daemon.wait_for_log("not tried again: a newer due time has come").await;
    daemon.stop().await.exits(0);
    assert_eq!(runs(&db, "hourly").await, hourly);
}

#[tokio::test]
async fn a_run_due_outside_its_window_is_skipped_unless_somebody_asks_for_it() {
    let jobs = job("nightly", "schedule = '0 * * * *'\nwindow = '22:00-06:00'", "SELECT 1");
    let (clock, db, program, daemon) = at("2027-06-10T20:50:00Z", &jobs).await;
    let ten: chrono::DateTime<chrono::Utc> = "2027-06-10T22:00:00Z".parse().unwrap();
    for gauge in ["pgtend_job_next_run_timestamp_seconds", "pgtend_job_success_due_timestamp_seconds"] {
        daemon.wait_for_metric(gauge, &[("job", "nightly")], ten.timestamp() as f64).await;
    }

    clock.set("2027-06-10T21:00:00Z");
    let line = daemon.wait_for_log("its window 22:00-06:00 is closed").await;
    assert!(line.contains("skipped") && line.contains("nightly"), "{line}");
    daemon.wait_for_metric("pgtend_job_runs_total", &[("job", "nightly"), ("outcome", "skipped")], 1.0).await;
    program.run(["run", "nightly"]).await.exits(0);
    program.run(["trigger", "nightly", "--wait"]).await.exits(0);

    clock.set("2027-06-10T22:00:00Z");
    let expected = ["- cli succeeded", "- notify succeeded", "10 22:00 schedule succeeded"];
    wait_for_runs(&db, &daemon, "nightly", &expected).await;
}

#[tokio::test]
async fn jitter_is_a_job_s_own_and_the_same_on_every_daemon() {
    let daily = |name: &str| job(name, "schedule = '0 10 * * *'\njitter = '1h'", "SELECT 1");
    let jobs = daily("one") + &daily("other");
    let (clock, db, _program, daemon) = at("2027-06-10T09:50:00Z", &jobs).await;
    let second = Pgtend::tending(&db, &jobs).by(&clock);
    let second = second.daemon().ready().await;
    let ten: chrono::DateTime<chrono::Utc> = "2027-06-10T10:00:00Z".parse().unwrap();

    let mut delays = Vec::new();
    for name in ["one", "other"] {
        let job = [("job", name)];
        let next = daemon.metric("pgtend_job_next_run_timestamp_seconds", &job).await.unwrap();
        assert_eq!(second.metric("pgtend_job_next_run_timestamp_seconds", &job).await, Some(next), "{name}");
        delays.push(next - ten.timestamp() as f64);
    }
    assert!(delays.iter().all(|delay| (0.0..3600.0).contains(delay)) && delays[0] != delays[1], "{delays:?}");

    // The delay is no part of the due time.
    clock.set("2027-06-10T11:00:00Z");
    for name in ["one", "other"] {
        daemon
            .wait_until("the run after its jitter", async || {
                runs(&db, name).await.iter().any(|run| run.starts_with("10 10:00"))
            })
            .await;
    }
}

#[tokio::test]
async fn a_run_whose_window_closes_while_it_waits_for_a_place_is_skipped() {
    let (clock, gate) = (Clock::at("2027-06-10T05:58:00Z"), "SELECT 1 WHERE EXISTS (SELECT FROM gate)");
    let db = Cluster::by(&clock, newest_major()).database().await;
    db.add_gate().await;
    let jobs = format!("{GATED}{}", job("nightly", "schedule = '59 5 * * *'\nwindow = '22:00-06:00'", gate));
    let program = Pgtend::new(&format!(
        "max_runs = 1\n[http]\nlisten = \"{{listen}}\"\n[databases.main]\nurl = \"{}\"\n{jobs}",
        db.url()
    ))
    .by(&clock);
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "gated"]).await.exits(0);
    db.wait_for_busy("pgtend/gated", 1).await;

    clock.set("2027-06-10T05:59:00Z");
    let line = daemon.wait_for_log("waits for a place").await;
    assert!(line.contains("nightly") && line.contains("max_runs"), "{line}");
    clock.set("2027-06-10T06:00:00Z");
    db.open_gate().await;
    let line = daemon.wait_for_log("its window 22:00-06:00 is closed").await;
    assert!(line.contains("nightly") && line.contains("skipped"), "{line}");
    daemon.stop().await.exits(0);
    assert_eq!(runs(&db, "nightly").await, [""; 0]);
}

#[tokio::test]
async fn batched_work_ends_with_its_window_and_goes_on_in_the_next() {
    // Thirty seconds of work in eight.
    let jobs = "[jobs.nightly]\nschedule = '52 59 5 * * *'\nwindow = '22:00-06:00'\n\
                [jobs.nightly.expire]\ntables = [{ table = 'sessions' }]\nbatch = { rows = 1, pause = '100ms' }\n";
    let (clock, db, _program, daemon) = at("2027-06-10T05:59:00Z", jobs).await;
    db.execute(
        "create table sessions (id int primary key, expires_at timestamptz not null); create index on sessions (expires_at);
         insert into sessions select n, '2027-01-01' from generate_series(1, 300) as n",
    )
    .await;
    let mut left = 300;
    for (day, runs) in [
        (10, &["10 05:59 schedule succeeded"][..]),
        (11, &["10 05:59 schedule succeeded", "11 05:59 schedule succeeded"]),
    ] {
        clock.set(&format!("2027-06-{day}T05:59:52Z"));
        wait_for_runs(&db, &daemon, "nightly", runs).await;
        let details = db.runs("nightly").await.pop().unwrap().details;
        assert!(details["left_for_next_time"].as_str().is_some_and(|why| why.contains("window closed")), "{details}");
        let now = db.count("sessions").await;
        assert!(now > 0 && now < left, "{now} of {left}");
        left = now;
    }
}
