//! What Prometheus is given.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::backup::bin;
use crate::support::{Cluster, Daemon, Database, Pgtend, newest_major};

/// Every metric of the interface that the kinds of this version can move, with its labels beside `job`, `kind` and
/// `database`; `None` where it has not even those.
const DOCUMENTED: &[(&str, Option<&str>)] = &[
    ("pgtend_job_runs_total", Some("outcome")),
    ("pgtend_job_duration_seconds_bucket", Some("le")),
    ("pgtend_job_duration_seconds_sum", Some("")),
    ("pgtend_job_duration_seconds_count", Some("")),
    ("pgtend_job_running", Some("")),
    ("pgtend_job_last_run_timestamp_seconds", Some("")),
    ("pgtend_job_last_success_timestamp_seconds", Some("")),
    ("pgtend_job_next_run_timestamp_seconds", Some("")),
    ("pgtend_job_success_due_timestamp_seconds", Some("")),
    ("pgtend_job_consecutive_failures", Some("")),
    ("pgtend_rows_deleted_total", Some("table")),
    ("pgtend_rows_archived_total", Some("table")),
    ("pgtend_rows_summarized_total", Some("table")),
    ("pgtend_partitions_created_total", Some("table")),
    ("pgtend_partitions_detached_total", Some("table")),
    ("pgtend_partitions_dropped_total", Some("table")),
    ("pgtend_partitions_archived_total", Some("table")),
    ("pgtend_partition_horizon_timestamp_seconds", Some("table")),
    ("pgtend_default_partition_rows", Some("table")),
    ("pgtend_objects_deleted_total", Some("table")),
    ("pgtend_objects_failed_total", Some("table")),
    ("pgtend_tables_vacuumed_total", Some("table")),
    ("pgtend_tables_analyzed_total", Some("table")),
    ("pgtend_lock_timeouts_total", Some("table")),
    ("pgtend_view_refresh_duration_seconds", Some("view")),
    ("pgtend_backup_last_success_timestamp_seconds", Some("store")),
    ("pgtend_backup_verified_timestamp_seconds", Some("store")),
    ("pgtend_backup_size_bytes", Some("store")),
    ("pgtend_backups", Some("store")),
    ("pgtend_backup_restore_tested_timestamp_seconds", Some("store")),
    ("pgtend_health_reading_timestamp_seconds", Some("")),
    ("pgtend_health_collected", Some("collector")),
    ("pgtend_health_findings", Some("collector")),
    ("pgtend_table_size_bytes", Some("table")),
    ("pgtend_table_heap_bytes", Some("table")),
    ("pgtend_table_index_bytes", Some("table")),
    ("pgtend_table_toast_bytes", Some("table")),
    ("pgtend_table_live_tuples", Some("table")),
    ("pgtend_table_dead_tuples", Some("table")),
    ("pgtend_schema_size_bytes", Some("schema")),
    ("pgtend_index_scans", Some("index")),
    ("pgtend_index_tuples_read", Some("index")),
    ("pgtend_index_tuples_fetched", Some("index")),
    ("pgtend_index_size_bytes", Some("index")),
    ("pgtend_unused_indexes", Some("")),
    ("pgtend_unused_index_bytes", Some("")),
    ("pgtend_invalid_indexes", Some("")),
    ("pgtend_query_mean_seconds", Some("queryid")),
    ("pgtend_query_exec_seconds", Some("queryid")),
    ("pgtend_query_calls", Some("queryid")),
    ("pgtend_query_min_seconds", Some("queryid")),
    ("pgtend_query_max_seconds", Some("queryid")),
    ("pgtend_query_stddev_seconds", Some("queryid")),
    ("pgtend_xid_age", Some("")),
    ("pgtend_xid_age_ratio", Some("")),
    ("pgtend_multixact_age", Some("")),
    ("pgtend_multixact_age_ratio", Some("")),
    ("pgtend_replication_slot_retained_bytes", Some("slot")),
    ("pgtend_replication_slot_active", Some("slot")),
    ("pgtend_replication_slot_wal_status", Some("slot")),
    ("pgtend_standby_lag_bytes", Some("standby")),
    ("pgtend_replay_lag_bytes", Some("")),
    ("pgtend_replay_lag_seconds", Some("")),
    ("pgtend_oldest_transaction_seconds", Some("")),
    ("pgtend_oldest_prepared_transaction_seconds", Some("")),
    ("pgtend_prepared_transactions", Some("")),
    ("pgtend_oldest_snapshot_xid_age", Some("holder")),
    ("pgtend_wal_archive_enabled", Some("")),
    ("pgtend_wal_archive_last_success_timestamp_seconds", Some("")),
    ("pgtend_wal_archive_failures", Some("")),
    ("pgtend_wal_archive_waiting_segments", Some("")),
    ("pgtend_wal_archive_oldest_waiting_seconds", Some("")),
    ("pgtend_build_info", None),
    ("pgtend_up", None),
    ("pgtend_config_last_reload_success", None),
];

const JOBS: &str = r#"
[jobs.sessions]
schedule = "@yearly"
[jobs.sessions.expire]
tables = [{ table = "public.sessions", column = "expires_at" }]

[stores.files.directory]
path = "files"
[jobs.files.expire]
tables = [{ table = "public.files", objects = { column = "path", store = "files" } }]

[jobs.blocked]
lock_timeout = "50ms"
[jobs.blocked.sql]
statements = ["lock table busy in access exclusive mode"]

[jobs.broken.sql]
statements = ["select 1/0"]

[jobs.views.refresh]
views = ["counted"]

[jobs.tidy.vacuum]
tables = ["sessions"]
analyze = true

[jobs.watch.health]

[jobs.months.partitions]
tables = [{ table = "events", every = "1 month", ahead = 1, timezone = "UTC" }]

[jobs.old.retention]
tables = [
    { table = "events", keep = "1 year" },
    { table = "calls", keep = "1 year", action = "archive", to = "attic" },
    { table = "visits", keep = "1 year", action = "detach" },
    { table = "letters", keep = "1 year", column = "at", action = "archive", to = "attic.letters" },
]

[jobs.errors.summarize]
table = "errors"
into = "errors_a_day"
older_than = "90 days"
time = "at"
date = "day"
by = []
count = "n"

[stores.local.directory]
path = "store"
[jobs.nightly]
[jobs.nightly.backup]
pg_bin = "{pg_bin}"
to = [{ store = "local" }]
[jobs.prove]
[jobs.prove.restore_test]
backup = "nightly"
server = "main"
"#;

/// A daemon in which everything has happened that can be measured.
async fn after_a_day() -> (Database, Pgtend, Daemon) {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table sessions (id int primary key, expires_at timestamptz); create table busy ()").await;
    db.execute("insert into sessions select n, now() - interval '1 day' from generate_series(1, 41) n").await;
    db.execute(
        "create table files (path text, expires_at timestamptz default '2020-01-01Z');
         insert into files (path) values ('a'), ('b'), ('/elsewhere'), (null)",
    )
    .await;
    db.execute("create materialized view counted as select 41 as sessions").await;
    db.execute(
        "create table events (at timestamptz not null) partition by range (at);
         create table events_2020 partition of events for values from ('2020-01-01Z') to ('2020-02-01Z');
         create table events_default partition of events default;
         create table calls (at timestamptz not null) partition by range (at);
         create table calls_2020 partition of calls for values from ('2020-01-01Z') to ('2020-02-01Z');
         create table calls_2021 partition of calls for values from ('2021-01-01Z') to ('2021-02-01Z');
         create table visits (at timestamptz not null) partition by range (at);
         create table visits_2020 partition of visits for values from ('2020-01-01Z') to ('2020-02-01Z');
         create table visits_2021 partition of visits for values from ('2021-01-01Z') to ('2021-02-01Z');
         create schema attic;
         create table letters (at timestamptz primary key); insert into letters values ('2020-01-01Z');
         create table errors (at timestamptz); create index on errors (at); insert into errors values ('2020-01-01Z');
         create table errors_a_day (day date primary key, n bigint not null)",
    )
    .await;
    let program = Pgtend::tending(&db, &JOBS.replace("{pg_bin}", &bin(&db).display().to_string()));
    for file in ["files/a", "files/b"] {
        program.file(file, "");
    }
    let daemon = program.daemon().ready().await;
    let mut client = db.client().await;
    let held = client.transaction().await.unwrap();
    held.batch_execute("lock table busy").await.unwrap();
    daemon.signal(libc::SIGUSR1);
    let timeouts = async || daemon.metric("pgtend_lock_timeouts_total", &[("job", "blocked")]).await;
    // A run's counters are written at its end, and this one ends only once the lock is free.
    daemon.wait_for_log("waited 50 ms for a lock").await;
    assert_eq!(timeouts().await, None);
    held.rollback().await.unwrap();
    for job in ["sessions", "files", "blocked", "broken", "tidy", "months", "old", "errors"] {
        db.wait_for_ended(job, 1).await;
        let gauge = "pgtend_job_last_run_timestamp_seconds";
        daemon.wait_until(gauge, async || daemon.metric(gauge, &[("job", job)]).await.is_some()).await;
    }
    db.wait_for_ended("views", 1).await;
    db.wait_for_ended("watch", 1).await;
    // What this server has nothing of: statements that are counted, slots, replicas, an archive. The row is all that a daemon
    // goes by.
    db.execute(
        r#"update pgtend.reading set gauges = gauges || '[
               ["pgtend_query_mean_seconds", "-7", 0.5], ["pgtend_query_exec_seconds", "-7", 1], ["pgtend_query_calls", "-7", 2],
               ["pgtend_query_min_seconds", "-7", 0.1], ["pgtend_query_max_seconds", "-7", 0.9],
               ["pgtend_query_stddev_seconds", "-7", 0.4],
               ["pgtend_replication_slot_retained_bytes", "s", 1], ["pgtend_replication_slot_active", "s", 0],
               ["pgtend_replication_slot_wal_status", "s", 0], ["pgtend_standby_lag_bytes", "r", 1],
               ["pgtend_replay_lag_bytes", "", 1], ["pgtend_replay_lag_seconds", "", 1],
               ["pgtend_wal_archive_last_success_timestamp_seconds", "", 1], ["pgtend_wal_archive_failures", "", 0],
               ["pgtend_wal_archive_waiting_segments", "", 0], ["pgtend_wal_archive_oldest_waiting_seconds", "", 0]]'
           where job = 'watch'"#,
    )
    .await;
    let gauge = "pgtend_query_calls";
    daemon.wait_until(gauge, async || daemon.metric(gauge, &[("queryid", "-7")]).await.is_some()).await;
    let (gauge, view) = ("pgtend_view_refresh_duration_seconds", [("job", "views"), ("view", "public.counted")]);
    daemon.wait_until(gauge, async || daemon.metric(gauge, &view).await.is_some()).await;
    // Also of what has never come to a good end: both began together.
    for (job, gauge) in [
        ("nightly", "pgtend_backup_verified_timestamp_seconds"),
        ("prove", "pgtend_backup_restore_tested_timestamp_seconds"),
    ] {
        db.wait_for_ended(job, 1).await;
        daemon.wait_until(gauge, async || daemon.metric(gauge, &[]).await.is_some()).await;
    }
    // A run is in the history, from where the gauges come, a moment before this daemon has counted it.
    daemon.wait_for_metric("pgtend_job_running", &[], 0.0).await;
    (db, program, daemon)
}

#[tokio::test]
async fn every_documented_metric_is_there_with_its_labels() {
    let (_db, _program, daemon) = after_a_day().await;
    let text = daemon.http_get("/metrics").await.body;
    for (name, label) in DOCUMENTED {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        let Some(label) = label else { continue };
        let labels = line.split_once('{').unwrap().1.split_once('}').unwrap().0;
        let labels: BTreeSet<_> = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        let expected = ["job", "kind", "database", label];
        assert_eq!(labels, expected.into_iter().filter(|label| !label.is_empty()).collect(), "{line}");
    }
    assert_eq!(
        crate::support::daemon::sum(&text, "pgtend_build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
        Some(1.0)
    );
}

/// And no other that this version has is undocumented: the page is the promise.
#[tokio::test]
async fn what_is_served_beyond_the_documented_is_known() {
    // The second is there once a restore has come to its end, which may be just now.
    const BESIDES: [&str; 2] = ["pgtend_history_write_errors_total", "pgtend_backup_restore_test_duration_seconds"];
    let (_db, _program, daemon) = after_a_day().await;
    let text = daemon.http_get("/metrics").await.body;
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        let documented = DOCUMENTED.iter().any(|(known, _)| known.starts_with(name));
        assert!(documented || BESIDES.contains(&name) || name.starts_with("process_"), "{name} is documented nowhere");
    }
}

#[tokio::test]
async fn the_numbers_are_those_of_the_runs() {
    let (db, _program, daemon) = after_a_day().await;
    let metric = async |name: &str, labels: &[(&str, &str)]| daemon.metric(name, labels).await;
    assert_eq!(
        metric("pgtend_rows_deleted_total", &[("job", "sessions"), ("table", "public.sessions")]).await,
        Some(41.0)
    );
    let files = [("job", "files"), ("table", "public.files")];
    assert_eq!(metric("pgtend_rows_deleted_total", &files).await, Some(3.0));
    assert_eq!(metric("pgtend_objects_deleted_total", &files).await, Some(2.0));
    assert_eq!(metric("pgtend_objects_failed_total", &files).await, Some(1.0));
    assert!(metric("pgtend_lock_timeouts_total", &[("job", "blocked")]).await.unwrap() >= 1.0);
    assert_eq!(metric("pgtend_job_runs_total", &[("job", "broken"), ("outcome", "failed")]).await, Some(1.0));
    assert_eq!(metric("pgtend_job_runs_total", &[("job", "broken"), ("outcome", "succeeded")]).await, Some(0.0));
    assert_eq!(
        metric("pgtend_job_runs_total", &[("job", "sessions"), ("kind", "expire"), ("database", "main")]).await,
        Some(1.0)
    );
    assert_eq!(metric("pgtend_job_duration_seconds_count", &[("job", "sessions")]).await, Some(1.0));
    assert_eq!(metric("pgtend_job_running", &[]).await, Some(0.0));
    assert_eq!(metric("pgtend_job_consecutive_failures", &[("job", "broken")]).await, Some(1.0));
    assert_eq!(metric("pgtend_job_last_success_timestamp_seconds", &[("job", "broken")]).await, Some(0.0));
    #[expect(clippy::cast_precision_loss, reason = "seconds of this era are exact")]
    let finished = db.wait_for_ended("sessions", 1).await[0].finished_at.unwrap().timestamp() as f64;
    assert_eq!(metric("pgtend_job_last_success_timestamp_seconds", &[("job", "sessions")]).await, Some(finished));
    assert_eq!(metric("pgtend_job_next_run_timestamp_seconds", &[("job", "blocked")]).await, None);
}

#[tokio::test]
async fn a_job_shows_that_it_runs() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let program = Pgtend::tending(&db, crate::support::GATED);
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    daemon.wait_for_metric("pgtend_job_running", &[("job", "gated")], 1.0).await;
    db.open_gate().await;
    daemon.wait_for_metric("pgtend_job_running", &[("job", "gated")], 0.0).await;
}

/// What the history says is the same whichever daemon ran the job, and whichever is asked.
#[tokio::test]
async fn a_new_daemon_knows_the_past() {
    let (db, program, daemon) = after_a_day().await;
    let gauges = [
        ("pgtend_job_last_success_timestamp_seconds", "sessions"),
        ("pgtend_job_last_run_timestamp_seconds", "broken"),
        ("pgtend_job_consecutive_failures", "broken"),
    ];
    let mut before = Vec::new();
    for (gauge, job) in gauges {
        before.push(daemon.metric(gauge, &[("job", job)]).await.unwrap());
    }
    daemon.stop().await.exits(0);
    let next = program.daemon().ready().await;
    for ((gauge, job), value) in gauges.iter().zip(before) {
        next.wait_for_metric(gauge, &[("job", job)], value).await;
    }
    assert_eq!(next.metric("pgtend_job_runs_total", &[]).await, Some(0.0), "a counter counts what this process did");
    drop(db);
}

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    let (_db, _program, daemon) = after_a_day().await;
    let text = daemon.http_get("/metrics").await.body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is not installed: run `make deps`");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Who asks Prometheus how long ago the last success was must not be told of half a century.
#[tokio::test]
async fn a_past_that_nobody_could_read_yet_is_not_known() {
    let db = Database::named(Cluster::stopped(newest_major(), &[]), "postgres");
    let expire = "[jobs.rows]\nschedule = \"@hourly\"\n[jobs.rows.expire]\ntables = [{ table = \"sessions\" }]\n";
    let retention = "[jobs.old.retention]\ntables = [{ table = \"events\", keep = \"1 year\" }]\n";
    let program = Pgtend::tending(&db, &format!("{expire}{retention}"));
    let daemon = program.daemon();
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
    for gauge in ["pgtend_job_last_success_timestamp_seconds", "pgtend_job_consecutive_failures"] {
        assert_eq!(daemon.metric(gauge, &[]).await, None, "{gauge}");
    }
    // Counters are those of this daemon, which has done nothing yet.
    for counter in ["pgtend_rows_deleted_total", "pgtend_lock_timeouts_total"] {
        assert_eq!(daemon.metric(counter, &[("table", "public.sessions")]).await, Some(0.0), "{counter}");
    }
    // The first partition that is dropped counts as one more, and not as one that was always there.
    for what in ["partitions_dropped", "partitions_detached", "partitions_archived", "rows_deleted", "rows_archived"] {
        let counter = format!("pgtend_{what}_total");
        let events = [("kind", "retention"), ("table", "public.events")];
        assert_eq!(daemon.metric(&counter, &events).await, Some(0.0), "{counter}");
    }
    let status: Value = serde_json::from_str(&daemon.http_get("/api/status").await.body).unwrap();
    let by_command = program.run(["status", "--json"]).await.exits(1).json();
    let rows = |jobs: &[Value]| jobs.iter().find(|job| job["job"] == "rows").expect("the job").clone();
    for job in [&rows(status["jobs"].as_array().unwrap()), &rows(&by_command)] {
        assert_eq!((&job["known"], &job["lag_seconds"]), (&false.into(), &Value::Null), "{job}");
    }
    daemon.stop().await.exits(0);

    // One that has no history yet was read: nothing has ever run there.
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, expire);
    let [job] = &program.run(["status", "--json"]).await.exits(0).json()[..] else { panic!("one job") };
    assert_eq!((&job["known"], &job["lag_seconds"]), (&true.into(), &0.0.into()), "{job}");
    let daemon = program.daemon().ready().await;
    daemon.wait_for_metric("pgtend_job_last_success_timestamp_seconds", &[("job", "rows")], 0.0).await;
    daemon.wait_for_metric("pgtend_job_consecutive_failures", &[("job", "rows")], 0.0).await;
}

/// A week without success is much for an hourly job and nothing for a yearly one.
#[tokio::test]
async fn a_job_that_is_overdue_says_so_by_its_own_schedule() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(
        &db,
        "[jobs.yearly]\nschedule = \"@yearly\"\ncatch_up = false\n[jobs.yearly.sql]\nstatements = [\"select 1\"]\n\
         [jobs.by-hand.sql]\nstatements = [\"select 1\"]\n",
    );
    program.run(["run", "yearly"]).await.exits(0);
    db.execute("update pgtend.run set started_at = '2020-05-01Z', finished_at = '2020-05-01Z'").await;
    let daemon = program.daemon().ready().await;
    let (gauge, yearly) = ("pgtend_job_success_due_timestamp_seconds", [("job", "yearly")]);
    let new_year_2021 = 1_609_459_200.0;
    daemon.wait_for_metric(gauge, &yearly, new_year_2021).await;
    assert_eq!(daemon.metric(gauge, &[("job", "by-hand")]).await, None);

    daemon.signal(libc::SIGUSR1);
    let next = "pgtend_job_next_run_timestamp_seconds";
    let new_year = daemon.metric(next, &yearly).await.expect("it has a schedule");
    daemon.wait_for_metric(gauge, &yearly, new_year).await;
}
