//! How a database is: read in passing, by one daemon for all of them, and nobody waits for it.

mod relations;
mod rights;
mod server;
mod shared;
mod statements;
mod waiting;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Database, Pgtend};

/// A job `watch` that does nothing else, with this in its table.
fn watching(db: &Database, keys: &str) -> Pgtend {
    Pgtend::tending(db, &job(keys))
}

fn job(keys: &str) -> String {
    format!("[jobs.watch]\nlock_timeout = '50ms'\n[jobs.watch.health]\n{keys}\n")
}

/// Runs it, with this exit status: the record.
async fn run(program: &Pgtend, code: i32) -> Value {
    program.run(["run", "watch", "--json"]).await.exits(code).json().remove(0)
}

/// What stands in the table for all daemons: value by name and label.
async fn readings(db: &Database) -> BTreeMap<(String, String), f64> {
    let client = db.client().await;
    let sql = "select g ->> 0, g ->> 1, (g ->> 2)::float8
               from pgtend.reading, jsonb_array_elements(gauges) g where job = 'watch'";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

fn of(readings: &BTreeMap<(String, String), f64>, name: &str, label: &str) -> Option<f64> {
    readings.get(&(format!("pgtend_{name}"), label.to_string())).copied()
}

/// The labels of a gauge.
fn labels(readings: &BTreeMap<(String, String), f64>, name: &str) -> Vec<String> {
    let name = format!("pgtend_{name}");
    readings.keys().filter(|(of, _)| *of == name).map(|(_, label)| label.clone()).collect()
}

/// What the plan warns of, a line each.
async fn warnings(program: &Pgtend) -> String {
    let lines = program.run(["plan", "watch", "--json"]).await.exits(0).json();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let warned = lines.iter().filter(|line| line["action"] == "warn");
    warned.map(|line| format!("{}: {}\n", word(line, "target"), word(line, "reason"))).collect()
}
