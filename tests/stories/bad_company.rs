//! What makes other schedulers fall silent: a slow run, a bad job, a missing role or database, a run that never ended.

use crate::support::{Cluster, Daemon, Database, Pgtend, newest_major, on_each_major, runs};

fn job(name: &str, keys: &str, statement: &str) -> String {
    format!("[jobs.{name}]\n{keys}\n[jobs.{name}.sql]\nstatements = [\"{statement}\"]\n")
}

const EACH_SECOND: &str = "schedule = '* * * * * *'";

async fn wait_for_good_runs(db: &Database, daemon: &Daemon, job: &str, number: usize) {
    let good = async || runs(db, job).await.iter().filter(|run| run.ends_with("schedule succeeded")).count();
    daemon.wait_until(&format!("{number} good runs of {job}"), async || good().await >= number).await;
}

/// pg_cron queues what comes due while a run is under way: 59 runs after one slow one.
#[tokio::test]
async fn what_comes_due_during_a_slow_run_is_not_queued() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table gate (); create table public.done (at timestamptz default clock_timestamp())").await;
    // As slow as the story wants: it waits for the gate, which is locked.
    let jobs = job(
        "slow",
        &format!("{EACH_SECOND}\nlock_timeout = '1m'"),
        "INSERT INTO public.done DEFAULT VALUES; SELECT pg_advisory_xact_lock(1)",
    );
    let holder = db.client().await;
    holder.batch_execute("select pg_advisory_lock(1)").await.unwrap();
    let program = Pgtend::tending(&db, &jobs);
    let daemon = program.daemon().ready().await;

    let overlapped = [("job", "slow"), ("outcome", "skipped")];
    daemon
        .wait_until("three due times passed over", async || {
            daemon.metric("pgtend_job_runs_total", &overlapped).await >= Some(3.0)
        })
        .await;
    let line = daemon.wait_for_log("it has been running here since").await;
    assert!(line.contains("skipped") && line.contains("slow"), "{line}");
    assert_eq!(runs(&db, "slow").await.len(), 1);
    let skipped = daemon.log().lines().filter(|line| line.contains("it has been running here since")).count();

    holder.batch_execute("select pg_advisory_unlock(1)").await.unwrap();
    wait_for_good_runs(&db, &daemon, "slow", 3).await;
    daemon.stop().await.exits(0);
    // None of them was for a time that went by during the slow one.
    let made_up = "select count(*) from pgtend.run r, (select min(id) as id from pgtend.run) first join pgtend.run slow using (id)
         where r.id <> slow.id and r.due_at < slow.finished_at - interval '1 s'";
    assert_eq!(db.scalar::<i64>(made_up).await, 0, "after {skipped} skipped");
    let overlapping =
        "select count(*) from pgtend.run a join pgtend.run b on a.id < b.id where b.started_at < a.finished_at";
    assert_eq!(db.scalar::<i64>(overlapping).await, 0);
}

/// pg_timetable counts such rows, and starts nothing any more.
#[tokio::test]
async fn a_run_that_never_ended_in_the_history_blocks_nobody() {
    on_each_major(async |db| {
        let jobs = job("chore", EACH_SECOND, "SELECT 1") + &job("by-hand", "", "SELECT 1");
        let program = Pgtend::tending(&db, &jobs);
        program.run(["run", "by-hand"]).await.exits(0);
        db.execute(
            "insert into pgtend.run (job, kind, trigger, host, pid, due_at, started_at)
             select job, 'sql', 'schedule', 'gone.example', 4711, now() - interval '1 day', now() - interval '1 day'
             from unnest(array['chore', 'by-hand']) as job",
        )
        .await;

        // Whoever runs the job next closes what is open, and says whose it was.
        program.run(["run", "by-hand"]).await.exits(0);
        assert_eq!(runs(&db, "by-hand").await[1].split_once("schedule ").unwrap().1, "failed");
        let daemon = program.daemon().ready().await;
        wait_for_good_runs(&db, &daemon, "chore", 1).await;
        let errors = "select error from pgtend.run where host = 'gone.example' and finished_at is not null";
        let errors = db.column::<String>(errors).await;
        assert_eq!(errors.len(), 2);
        assert!(errors.iter().all(|error| error.contains("4711") && error.contains("gone.example")), "{errors:?}");
    })
    .await;
}

/// A dropped role or database ends the launcher of pg_cron, and one bad job keeps all others waiting.
#[tokio::test]
async fn a_job_that_cannot_run_keeps_no_other_from_running() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    db.execute("create role dropped login superuser").await;
    let other = cluster.database().await;
    let jobs = job("good", &format!("database = 'main'\n{EACH_SECOND}"), "SELECT 1")
        + &job("fails", &format!("database = 'main'\n{EACH_SECOND}"), "SELECT 1 / 0")
        + &job("no-table", &format!("database = 'main'\n{EACH_SECOND}"), "DELETE FROM nowhere.nothing")
        + &job("no-role", &format!("database = 'roleless'\n{EACH_SECOND}"), "SELECT 1")
        + &job("no-database", &format!("database = 'absent'\n{EACH_SECOND}"), "SELECT 1")
        + &job("no-server", &format!("database = 'unreachable'\n{EACH_SECOND}"), "SELECT 1");
    let absent = Database::named(cluster.clone(), "absent");
    let databases = format!(
        "[databases.absent]\nurl = \"{}\"\n[databases.roleless]\nurl = \"{}\"\n[databases.unreachable]\nurl = \"{}\"\n",
        absent.url(),
        other.url_as("dropped"),
        "postgresql://postgres@/app?host=/nonexistent"
    );
    let program = Pgtend::tending(&db, &(databases + &jobs));
    let daemon = program.daemon();
    wait_for_good_runs(&other, &daemon, "no-role", 1).await;
    other.execute("reassign owned by dropped to postgres").await;
    db.execute("drop role dropped").await;

    let failed = async |job: &str| {
        let labels = [("job", job), ("outcome", "failed")];
        daemon
            .wait_until(&format!("{job} failed"), async || {
                daemon.metric("pgtend_job_runs_total", &labels).await >= Some(2.0)
            })
            .await;
    };
    for job in ["fails", "no-table", "no-role", "no-database", "no-server"] {
        failed(job).await;
    }
    let so_far = runs(&db, "good").await.len();
    wait_for_good_runs(&db, &daemon, "good", so_far + 2).await;
    let outcomes = "select count(*) from pgtend.run where job = 'good' and outcome <> 'succeeded'";
    assert_eq!(db.scalar::<i64>(outcomes).await, 0);

    // What was missing comes back, and so does the job, without a restart.
    db.execute("create role dropped login superuser").await;
    db.execute("create database absent").await;
    let again = runs(&other, "no-role").await.len();
    wait_for_good_runs(&other, &daemon, "no-role", again + 1).await;
    wait_for_good_runs(&absent, &daemon, "no-database", 1).await;
    daemon.stop().await.exits(0);
}

/// TimescaleDB's jobs and pg_cron's start late, or not at all, when there are more of them than workers.
#[tokio::test]
async fn more_jobs_than_places_all_get_their_turn() {
    let db = Cluster::shared(newest_major()).database().await;
    let names: Vec<String> = (1..=12).map(|n| format!("job-{n}")).collect();
    let jobs: String = names.iter().map(|name| job(name, EACH_SECOND, "SELECT pg_sleep(0.05)")).collect();
    let program = Pgtend::new(&format!(
        "[databases.main]\nurl = \"{}\"\nmax_connections = 2\n[http]\nlisten = \"{{listen}}\"\n{jobs}",
        db.url()
    ));
    let daemon = program.daemon().ready().await;
    for name in &names {
        wait_for_good_runs(&db, &daemon, name, 2).await;
    }
    daemon.stop().await.exits(0);
}

/// In schema public of an older server everybody may create, and PostgreSQL prefers a function that fits the arguments
/// better to its own.
#[tokio::test]
async fn a_function_of_somebody_elses_is_not_taken_for_the_servers() {
    on_each_major(async |db| {
        let program = Pgtend::tending(&db, &job("chore", "", "select 1"));
        program.run(["run", "chore"]).await.exits(0);
        db.execute(
            "create function public.format(text, integer, text) returns text language sql as $$ select 'not ours' $$;
             insert into pgtend.run (job, kind, trigger, host, pid, started_at) values ('chore', 'sql', 'cli', 'gone', 1, now())",
        )
        .await;
        program.run(["run", "chore"]).await.exits(0);
        let runs = db.runs("chore").await;
        assert!(runs[1].error.contains("died"), "{}", runs[1].error);
    })
    .await;
}
