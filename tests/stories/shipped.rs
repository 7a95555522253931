//! What is shipped is read by the program that will read it, and does what its comments say.

use std::fs;

use serde_json::Value;

use crate::shipped_partitions::{STORES, shipped};
use crate::support::{Database, Pgtend, on_each_major};

#[tokio::test]
async fn every_job_file_is_accepted() {
    let files = glob::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/*.toml")).expect("a pattern");
    let files: Vec<_> = files.map(|file| file.expect("a readable file")).collect();
    assert!(!files.is_empty(), "no job files");
    for file in files {
        let program = Pgtend::new(&format!(
            "include = [\"jobs/*.toml\"]\n[databases.main]\nurl = \"postgresql:///app\"\n{STORES}"
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
