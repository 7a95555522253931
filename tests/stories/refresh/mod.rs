//! Materialized views: made anew in the right order, beside their readers, and as whom they belong to.

mod beside;
mod dying;
mod odd;
mod order;
mod refused;
mod shipped;
mod unchanged;

use serde_json::Value;

use crate::support::{Database, Pgtend};

/// A job `views` with this in its table.
pub fn job(keys: &str) -> String {
    format!("[jobs.views.refresh]\n{keys}\n")
}

pub fn tending(db: &Database, keys: &str) -> Pgtend {
    Pgtend::tending(db, &job(keys))
}

/// Runs the job; its record.
pub async fn run(program: &Pgtend, code: i32) -> Value {
    program.run(["run", "views", "--json"]).await.exits(code).json().remove(0)
}

/// What it would do: `refresh_view public.v`, in its order, without what it says besides.
pub async fn would(program: &Pgtend) -> Vec<String> {
    let lines = program.run(["plan", "views", "--json"]).await.exits(0).json();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| format!("{} {}", word(line, "action"), word(line, "target"))).collect()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A table, and a view on it that can be refreshed concurrently.
pub const COUNTED: &str = "CREATE TABLE t (id int PRIMARY KEY, n int);
    INSERT INTO t SELECT n, n % 3 FROM generate_series(1, 30) n;
    CREATE MATERIALIZED VIEW counted AS SELECT n, count(*) FROM t GROUP BY n;
    CREATE UNIQUE INDEX ON counted (n);";

/// How many rows the view believes the table has.
pub const BELIEVED: &str = "SELECT sum(count)::bigint FROM counted";
