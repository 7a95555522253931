//! The shipped jobs of the kind `partitions`, each on the database of its application: what an insert meets before a run
//! and after it, and every trap of those databases that partitions have a part in.

mod code_review;
mod lucy;
mod lucy_keys;
mod lukhas;
mod lukhas_company;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Database, Output, Pgtend};

/// The stores that job files name, as directories beside the config.
pub const STORES: &str = "[stores.offsite.directory]\npath = \"offsite\"\n[stores.local.directory]\npath = \"local\"\n\
                          [stores.artifacts.directory]\npath = \"artifacts\"\n";

/// The server that they restore on, which is not the one to look after.
pub fn scratch(url: &str) -> String {
    format!("[databases.scratch]\nurl = \"{url}\"\n[defaults]\ndatabase = \"main\"\n")
}

/// A job file as it is shipped, and what it names: stores, and a server to restore on, which is the story's.
pub fn shipped(file: &str) -> String {
    format!("{}\n{STORES}{}", alone(file), scratch("{url}"))
}

/// A job file as it is shipped.
pub fn alone(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// With something of it changed, as its comments invite to; it must be there.
pub fn changed(file: &str, from: &str, to: &str) -> String {
    let text = shipped(file);
    assert!(text.contains(from), "{file} does not hold {from:?}");
    text.replace(from, to)
}

/// A job of a program, and the database it works on.
pub struct Job {
    pub program: Pgtend,
    name: &'static str,
}

/// Never more than these: nothing is ever dropped or detached.
const HARMLESS: [&str; 4] = ["create_partition", "keep", "move_default_rows", "warn"];

impl Job {
    pub fn new(db: &Database, name: &'static str, config: &str) -> Self {
        Self { program: Pgtend::tending(db, config), name }
    }

    /// The lines of its plan, all of them harmless.
    pub async fn plan(&self) -> Vec<Value> {
        let lines = self.program.run(["plan", self.name, "--json"]).await.exits(0).json();
        let harmful = lines.iter().find(|line| !HARMLESS.contains(&text(&line["action"])));
        assert_eq!(harmful, None);
        lines
    }

    /// What its plan says besides.
    pub async fn notes(&self) -> String {
        unquoted(&self.plan().await.iter().map(ToString::to_string).collect::<String>())
    }

    /// The names of the partitions it would make.
    pub async fn creates(&self) -> Vec<String> {
        let lines = self.plan().await.into_iter();
        lines.filter(|line| line["action"] == "create_partition").map(|line| text(&line["target"]).into()).collect()
    }

    /// Runs it; it makes so many partitions, and there is nothing to do afterwards, for another run neither.
    pub async fn makes(&self, count: usize) {
        assert_eq!(self.creates().await.len(), count, "planned");
        for expected in [count, 0] {
            let record = self.run().await.exits(0).json().pop().expect("a record");
            assert_eq!(record["outcome"], "succeeded", "{record}");
            let made = record["details"]["partitions_created"].as_u64().unwrap_or_default();
            assert_eq!(made, expected as u64, "{record}");
        }
        assert_eq!(self.creates().await, [""; 0]);
    }

    pub async fn run(&self) -> Output {
        self.program.run(["run", self.name, "--json"]).await
    }

    /// Runs it, in vain: what it says.
    pub async fn fails(&self) -> String {
        let record = self.run().await.exits(1).json().pop().expect("a record");
        let failures = record["details"]["failures"].to_string();
        unquoted(&format!("{} {failures}", text(&record["error"])))
    }

    /// What `check` finds.
    pub async fn check(&self) -> String {
        unquoted(&self.program.run(["check"]).await.stdout)
    }
}

/// Without the quotes around names, and the marks before them in JSON.
pub fn unquoted(words: &str) -> String {
    words.replace(['\\', '"'], "")
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What becomes of these statements: the SQLSTATE, or nothing if all is well.
pub async fn sqlstate(db: &Database, sql: &str) -> String {
    match db.client().await.batch_execute(sql).await {
        Ok(()) => String::new(),
        Err(error) => error.code().unwrap_or_else(|| panic!("{error:?}\nin: {sql}")).code().into(),
    }
}

/// No partition for the row.
pub const NO_PARTITION: &str = "23514";

/// The middle of the month so many after the current one, as SQL: far from any zone's beginning of a month.
pub fn mid(months: i32) -> String {
    format!(
        "((date_trunc('month', now() AT TIME ZONE 'UTC') + interval '{months} months 14 days 12 hours') AT TIME ZONE 'UTC')"
    )
}

/// `2027_01` of the month so many after the current one.
pub async fn month(db: &Database, months: i32) -> String {
    db.scalar(&format!("SELECT to_char({} AT TIME ZONE 'UTC', 'YYYY_MM')", mid(months))).await
}

/// The partitions of a table by name, the default one among them.
pub async fn partitions(db: &Database, table: &str) -> Vec<String> {
    db.column(&format!(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass ORDER BY 1"
    ))
    .await
}

/// Everything a partition was and held, to see afterwards that it is as it was. Of any size: no row is kept.
pub async fn fingerprint(db: &Database, table: &str) -> String {
    db.scalar(&format!(
        "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t"
    ))
    .await
}
