//! `vacuum` and `analyze`: each table by itself, the neediest first, and nothing said to be done that was not.

mod company;
mod refused;
mod stopped;
mod tables;

use serde_json::Value;

use crate::support::{Database, Pgtend, wait_until};

/// The job `tidy`, of a kind, without the tables of the history.
fn tidying(db: &Database, kind: &str, keys: &str) -> Pgtend {
    Pgtend::tending(
        db,
        &format!("[jobs.tidy]\nlock_timeout = '50ms'\n[jobs.tidy.{kind}]\nexclude = ['pgtend.*']\n{keys}\n"),
    )
}

/// Runs it to its good end: the details of its record.
async fn run(program: &Pgtend) -> Value {
    let mut record = program.run(["run", "tidy", "--json"]).await.exits(0).json().remove(0);
    assert_eq!(record["outcome"], "succeeded", "{record}");
    record["details"].take()
}

/// Runs it to an end that is not so good: the record.
async fn fails(program: &Pgtend, outcome: &str) -> Value {
    let record = program.run(["run", "tidy", "--json"]).await.exits(1).json().remove(0);
    assert_eq!(record["outcome"], outcome, "{record}");
    record
}

/// The statements of its plan, without quotes, in order.
async fn statements(program: &Pgtend) -> Vec<String> {
    let lines = program.run(["plan", "tidy", "--json"]).await.exits(0).json();
    lines.iter().filter_map(|line| line["sql"].as_str()).map(|sql| sql.replace('"', "")).collect()
}

/// Makes a table of 1,000 rows with some of them dead, which autovacuum leaves alone.
async fn with_dead(db: &Database, table: &str, dead: i64) {
    db.execute(&format!(
        "create table {table} (n int) with (autovacuum_enabled = off); insert into {table} select generate_series(1, 1000)"
    ))
    .await;
    kill_rows(db, table, dead).await;
}

async fn kill_rows(db: &Database, table: &str, dead: i64) {
    db.execute(&format!("delete from {table} where n <= {dead}")).await;
    // Sessions write down what they did as they end.
    let counted = format!("select pg_stat_get_dead_tuples('{table}'::regclass)");
    wait_until("the dead rows to be counted", async || db.scalar::<i64>(&counted).await == dead).await;
}

/// How often a table was vacuumed and analyzed by hand.
async fn times(db: &Database, table: &str) -> (i64, i64) {
    let of = |what: &str| format!("select pg_stat_get_{what}_count('{table}'::regclass)");
    (db.scalar(&of("vacuum")).await, db.scalar(&of("analyze")).await)
}
