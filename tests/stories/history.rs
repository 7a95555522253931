//! The history: what is done when it cannot be kept, and what is kept of it.

use crate::support::{Cluster, Pgtend, majors, newest_major};

const CHORE: &str = "[jobs.chore.sql]\nstatements = ['INSERT INTO done VALUES (1)']\n";

/// Stories that make roles have a server of their own.
#[tokio::test]
async fn a_history_that_cannot_be_written_fails_no_job() {
    // No way into the schema, no way into the tables, no schema and no right to make one.
    for kept_out in [
        "create schema pgtend",
        "create schema pgtend; create table pgtend.run (); create table pgtend.hold (); create table pgtend.request ();
         grant usage on schema pgtend to tender",
        "select 1",
    ] {
        let db = Cluster::own(newest_major()).database().await;
        db.execute(&format!(
            "create role tender login; create table done (n int); grant insert on done to tender; {kept_out}"
        ))
        .await;
        let config =
            format!("[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n{CHORE}", db.url_as("tender"));
        let program = Pgtend::new(&config);
        let run = program.run(["run", "chore", "--json"]).await.exits(0);
        assert_eq!(run.json()[0]["outcome"], "succeeded", "{kept_out}");
        assert!(run.stderr.contains("the run goes on without a record"), "{}", run.stderr);

        let daemon = program.daemon().ready().await;
        let errors = async || daemon.metric("pgtend_history_write_errors_total", &[]).await.unwrap();
        daemon.signal(libc::SIGUSR1);
        daemon.wait_for_metric("pgtend_job_runs_total", &[("outcome", "succeeded")], 1.0).await;
        assert!(errors().await >= 1.0, "{kept_out}");
        daemon.wait_for_log("the run goes on without a record").await;
        let before = errors().await;
        daemon.wait_until("the first to have let go", async || db.is_let_go("chore").await).await;
        daemon.signal(libc::SIGUSR1);
        daemon.wait_for_metric("pgtend_job_runs_total", &[("outcome", "succeeded")], 2.0).await;
        assert!(errors().await > before, "each is counted: {kept_out}");
        // The server is there, whatever it refuses.
        assert_eq!(daemon.metric("pgtend_up", &[]).await, Some(1.0), "{}", daemon.log());
        assert_eq!(daemon.http_get("/readyz").await.status, 200);
        assert!(!daemon.log().contains("out of reach"), "{}", daemon.log());
        assert_eq!(db.count("done").await, 3);
    }
}

/// An administrator who gives the role a schema, and no right to make others, has given it all it needs.
#[tokio::test]
async fn the_history_is_made_in_a_schema_that_is_there_already() {
    for major in majors() {
        let db = Cluster::own(major).database().await;
        db.execute("create role tender login; create table done (n int); grant insert on done to tender").await;
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{CHORE}", db.url_as("tender")));
        let mend = async || {
            let findings = program.run(["check", "--json"]).await.exits(1).json();
            assert_eq!(findings.len(), 1, "{findings:?}");
            findings[0]["mend"].as_str().unwrap().to_owned()
        };
        assert_eq!(mend().await, "CREATE SCHEMA pgtend AUTHORIZATION tender");
        db.execute("create schema pgtend").await;
        // What the finding says mends it.
        db.execute(&mend().await).await;
        program.run(["check"]).await.exits(0);
        let run = program.run(["run", "chore"]).await.exits(0);
        assert!(!run.stderr.contains("without a record"), "{}", run.stderr);
        assert_eq!(db.count("pgtend.run").await, 1);
    }
}

#[tokio::test]
async fn pruning_keeps_each_jobs_newest_run_and_newest_success() {
    for major in majors() {
        let db = Cluster::shared(major).database().await;
        db.execute("create table done (n int)").await;
        let jobs = format!("[history]\nkeep = '30 days'\n{CHORE}");
        let program = Pgtend::tending(&db, &jobs);
        program.run(["run", "chore"]).await.exits(0);
        // Days ago: of `chore` a run of today is newer than all, of the others there is nothing but the old.
        db.execute(
            "insert into pgtend.run (job, kind, trigger, host, pid, started_at, finished_at, outcome)
             select job, 'sql', 'schedule', 'elsewhere', days, now() - days * interval '1 day', now() - days * interval '1 day', outcome
             from (values ('chore', 29, 'failed'), ('chore', 31, 'succeeded'), ('chore', 32, 'failed'),
                          ('failing', 40, 'failed'), ('failing', 41, 'failed'), ('failing', 50, 'succeeded'),
                          ('failing', 51, 'succeeded'),
                          ('gone', 400, 'succeeded'), ('gone', 401, 'timed_out')) as old (job, days, outcome);
             insert into pgtend.run (job, kind, trigger, host, pid, started_at) values
                 ('at-work', 'sql', 'schedule', 'elsewhere', 60, now() - interval '60 days');
             insert into pgtend.request (job, requested_at, taken_at) values
                 ('old', now() - interval '31 days', now()), ('new', now() - interval '29 days', now())",
        )
        .await;
        // A good thousand, so that one statement is not enough.
        db.execute(
            "insert into pgtend.run (job, kind, trigger, host, pid, started_at, finished_at, outcome)
             select 'chore', 'sql', 'schedule', 'elsewhere', 0, t, t, 'succeeded'
             from generate_series(now() - interval '90 days', now() - interval '60 days', interval '20 minutes') t",
        )
        .await;
        let daemon = program.daemon().ready().await;
        daemon.wait_for_log("old history pruned").await;
        let left: Vec<String> =
            db.column("select job || ' ' || pid from pgtend.run where host = 'elsewhere' order by job, pid").await;
        assert_eq!(left, ["at-work 60", "chore 29", "failing 40", "failing 50", "gone 400"]);
        assert_eq!(db.outcomes("chore").await, ["succeeded", "failed"]);
        assert_eq!(db.column::<String>("select job from pgtend.request").await, ["new"]);
    }
}

/// The statement that `check`, the run's error and the README give is all that an administrator has to do.
#[tokio::test]
async fn a_schema_that_was_made_for_the_role_is_enough() {
    let db = Cluster::own(newest_major()).database().await;
    db.execute("create role tender login; create table done (n int); grant insert on done to tender").await;
    let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{CHORE}", db.url_as("tender")));
    let mend = "CREATE SCHEMA pgtend AUTHORIZATION tender";
    assert!(program.run(["check"]).await.exits(1).stdout.contains(mend));
    db.execute(mend).await;
    program.run(["check"]).await.exits(0);
    program.run(["run", "chore"]).await.exits(0);
    assert_eq!(db.outcomes("chore").await, ["succeeded"]);
}

/// The gauges are read each minute for every job; one that has never run must not cost a walk through all that others did.
#[tokio::test]
async fn how_jobs_stand_is_found_without_reading_the_history_through() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table done (n int)").await;
    Pgtend::tending(&db, CHORE).run(["run", "chore"]).await.exits(0);
    db.execute(
        "insert into pgtend.run (job, kind, trigger, host, pid, due_at, started_at, finished_at, outcome)
         select 'job' || n % 10, 'sql', 'schedule', 'elsewhere', 0, t, t, t, 'succeeded'
         from generate_series(1, 30000) n, lateral (select now() - n * interval '10 seconds' as t) at;
         analyze pgtend.run",
    )
    .await;
    let client = db.client().await;
    let standing = include_str!("../../src/engine/standing.sql");
    client.batch_execute(&format!("prepare standing(text[]) as {standing}")).await.unwrap();
    let asked =
        "explain (analyze, costs off, timing off, summary off) execute standing('{job1, chore, never, neither}')";
    let plan: Vec<String> = client.query(asked, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let removed = plan.iter().filter_map(|line| line.split_once("Rows Removed by Filter: "));
    let removed: u64 = removed.map(|(_, n)| n.parse::<u64>().unwrap()).sum();
    assert!(removed < 1000, "{}", plan.join("\n"));
}

#[tokio::test]
async fn a_host_whose_clock_runs_ahead_forgets_nothing() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table done (n int)").await;
    let jobs = format!("[history]\nkeep = '30 days'\n{CHORE}");
    let program = Pgtend::tending(&db, &jobs);
    program.run(["run", "chore"]).await.exits(0);
    // Days ago; those of 40 are for the daemon to show that it has been there.
    db.execute(
        "insert into pgtend.run (job, kind, trigger, host, pid, started_at, finished_at, outcome)
         select 'chore', 'sql', 'cli', 'h', 1, now() - n * interval '1 day', now() - n * interval '1 day', 'failed'
         from unnest(array[10, 40]) n",
    )
    .await;
    let now: chrono::DateTime<chrono::Utc> = db.scalar("select now()").await;
    let ahead = crate::support::Clock::at(&(now + chrono::TimeDelta::days(60)).to_rfc3339());
    let program = program.by(&ahead);
    let daemon = program.daemon();
    daemon.wait_for_log("old history pruned").await;
    let left: i64 = db.scalar("select count(*) from pgtend.run where started_at > now() - interval '11 days'").await;
    assert_eq!((left, db.count("pgtend.run").await), (2, 2));
}

#[tokio::test]
async fn a_history_that_may_not_be_read_hides_no_other() {
    let cluster = Cluster::own(newest_major());
    let (open, closed) = (cluster.database().await, cluster.database().await);
    open.execute("create role tender login; create schema pgtend authorization tender").await;
    closed
        .execute(
            "create schema pgtend; create table pgtend.run (); create table pgtend.hold (); create table pgtend.request ()",
        )
        .await;
    let (at_closed, at_open) = (closed.url_as("tender"), open.url_as("tender"));
    let program = Pgtend::new(&format!(
        "[databases.closed]\nurl = \"{at_closed}\"\n[databases.open]\nurl = \"{at_open}\"\n\
         [jobs.chore]\ndatabases = ['*']\nsql = {{ statements = ['SELECT 1'] }}\n"
    ));
    program.run(["run", "chore@open"]).await.exits(0);
    for command in ["status", "history"] {
        let output = program.run([command]).await.exits(1);
        let line = output.stdout.lines().find(|line| line.contains("chore@open"));
        assert!(line.is_some_and(|line| line.contains("succeeded")), "{}", output.stdout);
        assert!(
            output.stderr.contains("database closed: read the history: ERROR: permission denied"),
            "{}",
            output.stderr
        );
    }
    let stdout = program.run(["status"]).await.exits(1).stdout;
    let line = stdout.lines().find(|line| line.contains("chore@closed")).unwrap();
    assert!(line.contains("unknown"), "{stdout}");
}
