//! Rows that stand for objects in a store: an object goes before its row, and never without it.

mod dying;
mod files;
mod gone;
mod looking;
mod others;
mod refused;
mod shipped;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Database, Pgtend, S3Server};

const ARTIFACTS: &str = "DROP TABLE IF EXISTS artifacts;
    CREATE TABLE artifacts (id int PRIMARY KEY, storage_key text, expires_at timestamptz);
    CREATE INDEX artifacts_expires_at ON artifacts (expires_at); CREATE INDEX artifacts_key ON artifacts (storage_key);";
/// Tried without an index on the time too, block by block.
const NO_INDEX: &str = "DROP INDEX artifacts_expires_at;";
const OBJECTS: &str = "{ table = 'artifacts', objects = { column = 'storage_key', store = 'offsite' } }";

/// A job `artifacts` with these tables and keys of the kind, and a bucket as its store.
fn tending(db: &Database, server: &S3Server, keys: &str) -> Pgtend {
    let program = Pgtend::tending(db, &format!("{}{}", server.config("offsite"), job(keys)));
    server.env().into_iter().fold(program, |program, (name, value)| program.env(name, value))
}

fn job(keys: &str) -> String {
    format!("[jobs.artifacts]\ntimeout = \"60s\"\n[jobs.artifacts.expire]\n{keys}\n")
}

fn tables() -> String {
    format!("tables = [{OBJECTS}]")
}

/// One run, with this exit status.
async fn run(program: &Pgtend, status: i32) -> Value {
    program.run(["run", "artifacts", "--json"]).await.exits(status).json().remove(0)
}

/// Rows `1` to `count` that ended, the first one last, each with an object `pg/N` that is there.
async fn ended(db: &Database, server: &S3Server, count: u32) {
    db.execute(&format!(
        "INSERT INTO artifacts SELECT n, 's3://backups/pg/' || n, now() - interval '1 day' - n * interval '1 s' FROM generate_series(1, {count}) n"
    ))
    .await;
    for n in 1..=count {
        server.plant(&format!("pg/{n}"), b"artifact");
    }
}

fn objects(server: &S3Server) -> BTreeSet<String> {
    server.objects().into_keys().collect()
}

async fn rows(db: &Database) -> Vec<i32> {
    db.column("SELECT id FROM artifacts ORDER BY id").await
}

/// Each object that is left has a row.
async fn no_object_is_left_behind(db: &Database, server: &S3Server) {
    let addresses: Vec<String> = db.column("SELECT storage_key FROM artifacts").await;
    for object in objects(server) {
        assert!(addresses.contains(&format!("s3://backups/{object}")), "{object} has no row");
    }
}

/// Why the run's target failed.
fn failure(record: &Value) -> &str {
    record["details"]["failures"][0]["error"].as_str().unwrap_or_else(|| panic!("no failure in {record}"))
}
