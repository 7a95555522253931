//! SIGHUP: the config is read again, whole or not at all.

use serde_json::Value;

use crate::support::{Cluster, Daemon, Database, GATED, Pgtend, free_port, newest_major};

const KEPT: &str = "[jobs.kept.sql]\nstatements = [\"select 1\"]\n";
const GONE: &str = "[jobs.gone]\nschedule = \"@yearly\"\n[jobs.gone.sql]\nstatements = [\"select 2\"]\n";

/// Everything that stands still once a job is gone.
const GAUGES: [&str; 5] = [
    "pgtend_job_running",
    "pgtend_job_last_run_timestamp_seconds",
    "pgtend_job_last_success_timestamp_seconds",
    "pgtend_job_next_run_timestamp_seconds",
    "pgtend_job_consecutive_failures",
];

async fn reload(daemon: &Daemon, how: &str) {
    let before = daemon.log().matches(how).count();
    daemon.signal(libc::SIGHUP);
    daemon.wait_until(&format!("{how:?} in the log"), async || daemon.log().matches(how).count() > before).await;
}

async fn status(daemon: &Daemon, job: &str) -> Value {
    let status: Value = serde_json::from_str(&daemon.http_get("/api/status").await.body).unwrap();
    let jobs = status["jobs"].as_array().unwrap();
    jobs.iter().find(|one| one["job"] == job).cloned().unwrap_or_default()
}

async fn start(jobs: &str) -> (Database, Pgtend, Daemon) {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, jobs);
    let daemon = program.daemon().ready().await;
    (db, program, daemon)
}

#[tokio::test]
async fn jobs_come_and_go_and_change_their_schedule() {
    let (db, program, daemon) = start(&format!("{KEPT}{GONE}")).await;
    daemon.signal(libc::SIGUSR1);
    db.wait_for_ended("gone", 1).await;
    db.wait_for_ended("kept", 1).await;
    for gauge in GAUGES {
        daemon.wait_until(gauge, async || daemon.metric(gauge, &[("job", "gone")]).await.is_some()).await;
    }
    assert_eq!(status(&daemon, "kept").await["next_run_at"], Value::Null);

    let hourly = KEPT.replace("[jobs.kept.sql]", "[jobs.kept]\nschedule = \"@hourly\"\n[jobs.kept.sql]");
    let new = "[jobs.new.sql]\nstatements = [\"select 3\"]\n";
    program.configure_tending(&db, &format!("{hourly}{new}"));
    reload(&daemon, "config reloaded").await;
    for gauge in GAUGES {
        assert_eq!(daemon.metric(gauge, &[("job", "gone")]).await, None, "{gauge}");
    }
    assert_eq!(daemon.metric("pgtend_job_runs_total", &[("job", "new")]).await, Some(0.0));
    assert!(daemon.metric("pgtend_job_next_run_timestamp_seconds", &[("job", "kept")]).await.is_some());
    assert!(status(&daemon, "kept").await["next_run_at"].is_string());
    assert_eq!(status(&daemon, "gone").await, Value::Null);

    daemon.signal(libc::SIGUSR1);
    db.wait_for_ended("new", 1).await;
    db.wait_for_ended("kept", 2).await;
    assert_eq!(db.outcomes("gone").await, ["succeeded"]);
}

/// The new schedule is not only shown: it rings.
#[tokio::test]
async fn a_job_that_got_a_schedule_rings_by_it() {
    let (db, program, daemon) = start(KEPT).await;
    program.configure_tending(
        &db,
        &KEPT.replace("[jobs.kept.sql]", "[jobs.kept]\nschedule = \"* * * * * *\"\n[jobs.kept.sql]"),
    );
    reload(&daemon, "config reloaded").await;
    assert_eq!(db.wait_for_ended("kept", 1).await[0].trigger, "schedule");
}

#[tokio::test]
async fn a_job_that_left_while_it_ran_ends_well_and_leaves_no_gauge() {
    let (db, program, daemon) = start(&format!("{KEPT}{GATED}")).await;
    db.add_gate().await;
    daemon.signal(libc::SIGUSR1);
    db.wait_for_busy("pgtend/gated", 1).await;
    program.configure_tending(&db, KEPT);
    reload(&daemon, "config reloaded").await;
    db.open_gate().await;
    assert_eq!(db.wait_for_ended("gated", 1).await[0].outcome, "succeeded");
    let succeeded = [("job", "gated"), ("outcome", "succeeded")];
    daemon.wait_for_metric("pgtend_job_runs_total", &succeeded, 1.0).await;
    for gauge in GAUGES {
        let gone = async || daemon.metric(gauge, &[("job", "gated")]).await.is_none();
        daemon.wait_until(&format!("{gauge} to be gone"), gone).await;
    }
}

/// With the last job go the gauges that an alert could look at, so that it is the log's to tell.
#[tokio::test]
async fn a_config_whose_jobs_are_all_gone_is_taken_with_a_warning() {
    let (db, program, daemon) = start(&format!("{KEPT}{GONE}")).await;
    program.configure_tending(&db, "");
    reload(&daemon, "config reloaded").await;
    let log = daemon.log();
    for said in ["the new config has no job: all there were are gone", "there is no job: nothing will be done"] {
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains(said)), "{said:?} is not in {log}");
    }
    // From none to none is no news.
    reload(&daemon, "config reloaded").await;
    assert_eq!(daemon.log().matches("all there were are gone").count(), 1);
}

#[tokio::test]
async fn an_invalid_config_is_refused_whole_until_it_is_mended() {
    let (db, program, daemon) = start(KEPT).await;
    assert_eq!(daemon.metric("pgtend_config_last_reload_success", &[]).await, Some(1.0));
    let new = "[jobs.new.sql]\nstatements = [\"select 3\"]\n";
    program.configure_tending(&db, &format!("{KEPT}{new}\n[jobs.bad]\nschedul = \"@daily\"\ntimeout = 5\n"));
    reload(&daemon, "the old one goes on").await;
    daemon.wait_for_metric("pgtend_config_last_reload_success", &[], 0.0).await;
    // Every mistake, each with its place.
    for mistake in ["`schedule`", "`timeout`", "pgtend.toml:"] {
        assert!(daemon.log().contains(mistake), "{mistake} is not in {}", daemon.log());
    }
    assert_eq!(status(&daemon, "new").await, Value::Null);
    daemon.signal(libc::SIGUSR1);
    db.wait_for_ended("kept", 1).await;
    assert_eq!(db.runs("new").await, []);

    // A file that is not there at all is no reason to stop either.
    std::fs::remove_file(program.config()).unwrap();
    reload(&daemon, "the old one goes on").await;

    program.configure_tending(&db, &format!("{KEPT}{new}"));
    reload(&daemon, "config reloaded").await;
    daemon.wait_for_metric("pgtend_config_last_reload_success", &[], 1.0).await;
    assert_eq!(status(&daemon, "new").await["job"], "new");
}

#[tokio::test]
async fn a_new_address_moves_the_server_and_one_that_is_taken_moves_nothing() {
    let (db, program, daemon) = start(KEPT).await;
    // Not one that the system gives to whoever asks: it would be somebody else's as soon as it is free again.
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = std::fs::read_to_string(program.config()).unwrap();
    let old = format!("127.0.0.1:{}", daemon.port());
    let moved = config.replace(&old, &address);

    program.configure(&moved);
    reload(&daemon, "the old one goes on").await;
    assert!(daemon.log().contains(&address));
    assert_eq!(daemon.metric("pgtend_config_last_reload_success", &[]).await, Some(0.0));

    drop(taken);
    // A child that another story has just forked has it too, until it becomes the program that it is to be.
    let is_free = async || tokio::net::TcpStream::connect(&address).await.is_err();
    daemon.wait_until("nobody to listen at the new address", is_free).await;
    reload(&daemon, "config reloaded").await;
    daemon
        .wait_until("nobody to listen at the old address", async || tokio::net::TcpStream::connect(&old).await.is_err())
        .await;
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    program.configure_tending(&db, KEPT);
    reload(&daemon, "config reloaded").await;
    assert_eq!(daemon.metric("pgtend_config_last_reload_success", &[]).await, Some(1.0));

    program.configure(&config.replace(&old, "off"));
    reload(&daemon, "config reloaded").await;
    daemon.wait_until("nobody to listen", async || tokio::net::TcpStream::connect(&old).await.is_err()).await;
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn a_new_token_counts_and_the_old_one_no_more() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, KEPT);
    let file = program.file("token", "first\n");
    let config = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&config.replace("[http]", &format!("[http]\ntoken_file = \"{}\"", file.display())));
    let daemon = program.daemon().ready().await;
    let run = async |token: &str| {
        daemon.http_post("/api/jobs/kept/run", &[&format!("Authorization: Bearer {token}")]).await.status
    };
    assert_eq!((run("first").await, run("second").await), (202, 401));
    program.file("token", "second\n");
    reload(&daemon, "config reloaded").await;
    assert_eq!((run("first").await, run("second").await), (401, 202));
}

#[tokio::test]
async fn what_waits_for_its_turn_goes_by_the_new_config_and_within_the_same_limits() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    db.execute("create table seen (job text)").await;
    let note =
        |job: &str, what: &str| format!("[jobs.{job}.sql]\nstatements = [\"insert into seen values ('{what}')\"]\n");
    // One run at a time: each takes a connection for its lock and one to work.
    let config = |jobs: &str| {
        let (url, gated) = (db.url(), GATED);
        format!(
            "[databases.main]\nurl = \"{url}\"\nmax_connections = 2\n[http]\nlisten = \"{{listen}}\"\n{gated}{jobs}"
        )
    };
    let program = Pgtend::new(&config(&format!("{}{}", note("changed", "old"), note("gone", "gone"))));
    let daemon = program.daemon().ready().await;
    let running = async |job: &str| status(&daemon, job).await["running_since"].is_string();
    let (all, gated) = (["gated", "changed", "gone"], ["gated"]);
    // The gated one first, so that the others find its place taken.
    program.run(["trigger", "gated"]).await.exits(0);
    db.wait_for_busy("pgtend/gated", 1).await;
    daemon.signal(libc::SIGUSR1);
    for job in all {
        daemon.wait_until(job, async || running(job).await).await;
    }
    program.configure(&config(&note("changed", "new")));
    reload(&daemon, "config reloaded").await;
    daemon.wait_until("what waited to be rung anew", async || running("changed").await).await;
    assert_eq!(db.count("seen").await, 0, "the place is taken, whichever config it was taken by");
    assert!(running(gated[0]).await);
    db.open_gate().await;
    db.wait_for_ended("changed", 1).await;
    assert_eq!(db.column::<String>("select job from seen").await, ["new"]);
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn what_a_job_that_is_switched_off_has_done_alarms_nobody_and_what_its_tables_need_still_does() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute(
        "create table events (at timestamptz not null) partition by range (at); create materialized view counted as select 1 as one",
    )
    .await;
    let jobs = |enabled: bool| {
        format!(
            "[jobs.months]\nenabled = {enabled}\n[jobs.months.partitions]\ntables = [{{ table = 'events', every = '1 month' }}]\n\
             [jobs.views]\nenabled = {enabled}\n[jobs.views.refresh]\nviews = ['counted']\n"
        )
    };
    let program = Pgtend::tending(&db, &jobs(true)).env("PGTEND_HURRY", "20");
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "views", "--wait"]).await.exits(0);
    let (view, horizon) = ("pgtend_view_refresh_duration_seconds", "pgtend_partition_horizon_timestamp_seconds");
    daemon.wait_until("the gauge of a view", async || daemon.metric(view, &[]).await.is_some()).await;

    program.configure_tending(&db, &jobs(false));
    daemon.signal(libc::SIGHUP);
    daemon.wait_until("that gauge to be gone", async || daemon.metric(view, &[]).await.is_none()).await;
    assert!(daemon.metric(horizon, &[("table", "public.events")]).await.is_some());
}
