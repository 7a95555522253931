//! What is shipped is read by the program that will read it, and does what its comments say.

use std::fs;

use serde_json::Value;

use crate::shipped_partitions::{STORES, fingerprint, scratch, shipped};
use crate::support::{Database, Pgtend, on_each_major};

#[tokio::test]
async fn every_job_file_is_accepted() {
    let files = glob::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/*.toml")).expect("a pattern");
    let files: Vec<_> = files.map(|file| file.expect("a readable file")).collect();
    assert!(!files.is_empty(), "no job files");
    for file in files {
        let program = Pgtend::new(&format!(
            "include = [\"jobs/*.toml\"]\n[databases.main]\nurl = \"postgresql:///app\"\n{STORES}{}",
            scratch("postgresql:///scratch")
        ));
        program.file("jobs/shipped.toml", &fs::read_to_string(&file).unwrap());
        eprintln!("{}", file.display());
        program.run(["check", "--offline"]).await.exits(0);
    }
}

#[tokio::test]
async fn the_lukhas_job_removes_expired_sessions_and_no_others() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "400")]);
        expire_sessions(&db).await;
    })
    .await;
}

#[tokio::test]
async fn the_lukhas_job_needs_no_index_on_expires_at() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "400"), ("expires_at_index", "off")]);
        expire_sessions(&db).await;
    })
    .await;
}

async fn expire_sessions(db: &Database) {
    db.execute("create table living as select id from sessions where expires_at > now() + interval '1 hour'").await;
    let program = Pgtend::tending(db, &shipped("lukhas.toml"));
    program.run(["check"]).await.exits(0);

    let plan = program.run(["plan", "--json"]).await.exits(0).json();
    let deletes = |step: &Value| step["action"] == "delete_rows" && step["target"] == "public.sessions";
    assert!(plan.iter().any(deletes), "{plan:?}");
    assert_eq!(db.count("sessions").await, 400, "a plan changes nothing");

    // Sessions go on expiring while the story is told: gone must be what had expired when the run began.
    let run = program.run(["run", "lukhas-sessions", "--json"]).await.exits(0).json().remove(0);
    assert_eq!(run["outcome"], "succeeded");
    let began = run["started_at"].as_str().expect("a time");
    assert_eq!(db.count(&format!("sessions where expires_at < '{began}'")).await, 0);
    assert_eq!(db.count("living where id not in (select id from sessions)").await, 0);
    assert_eq!(run["details"]["rows_deleted"], 400 - db.count("sessions").await);
}

/// What these jobs are about is reported by their failing, with the numbers, and left as it is.
async fn tells(db: &Database, file: &str, job: &str, words: &str) {
    let program = Pgtend::tending(db, &shipped(file));
    let record = program.run(["run", job, "--json"]).await.exits(1).json().remove(0);
    assert_eq!(record["outcome"], "failed", "{record}");
    assert!(record["error"].as_str().expect("an error").contains(words), "{record}");
}

async fn is_silent(db: &Database, file: &str, job: &str) {
    Pgtend::tending(db, &shipped(file)).run(["run", job]).await.exits(0);
}

#[tokio::test]
async fn stuck_analyses_are_told_and_left_running() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "100")]);
        let (file, job) = ("code-review.toml", "code-review-stuck");
        db.execute("UPDATE production.analysis_sessions SET status = 'failed' WHERE status = 'running'").await;
        // Long ago and at its end, running since lately, not begun: none of these.
        db.execute(
            "INSERT INTO production.analysis_sessions (status, started_at) VALUES
             ('completed', now() - interval '9 days'), ('running', now() - interval '9 hours'), ('running', NULL), ('queued', NULL)",
        )
        .await;
        is_silent(&db, file, job).await;
        let stuck = "INSERT INTO production.analysis_sessions (status, started_at) SELECT 'running', now() - interval '25 hours' FROM generate_series(1, 3)";
        db.execute(stuck).await;
        let before = fingerprint(&db, "production.analysis_sessions").await;
        tells(&db, file, job, "3 sessions of production.analysis_sessions have been running for more than a day").await;
        assert_eq!(fingerprint(&db, "production.analysis_sessions").await, before);
    })
    .await;
}

#[tokio::test]
async fn agents_that_fell_silent_and_tasks_that_are_late_are_told_and_left() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "100")]);
        let (file, job) = ("autosdlc.toml", "autosdlc-stale");
        // An agent that is not active may be silent, a task that is at its end was late, and may have been.
        db.execute(
            "UPDATE agents SET status = 'inactive', last_heartbeat_at = now() - interval '9 days';
             UPDATE tasks SET deadline_at = now() - interval '1 minute', completed_at = now() WHERE status = 'completed';
             UPDATE tasks SET deadline_at = now() - interval '1 minute', completed_at = NULL WHERE status = 'failed';
             UPDATE tasks SET deadline_at = now() + interval '1 hour', completed_at = NULL WHERE status = 'pending'",
        )
        .await;
        is_silent(&db, file, job).await;
        db.execute(
            "UPDATE agents SET status = 'active' WHERE id IN (SELECT id FROM agents LIMIT 2);
             UPDATE tasks SET deadline_at = now() - interval '1 minute' WHERE id IN (SELECT id FROM tasks WHERE status = 'pending' LIMIT 3)",
        )
        .await;
        let before = [fingerprint(&db, "agents").await, fingerprint(&db, "tasks").await];
        tells(&db, file, job, "2 active agents not heard of for an hour, 3 open tasks past their deadline").await;
        assert_eq!([fingerprint(&db, "agents").await, fingerprint(&db, "tasks").await], before);
    })
    .await;
}
