//! The shipped jobs that let rows and partitions go, each on the database of its application: what is gone after a run,
//! what is where it was moved to, what nobody may touch; and every trap of those databases that they have a part in.

mod autosdlc;
mod helix;
mod lukhas;

use serde_json::Value;

use crate::shipped_partitions::{fingerprint, shipped, text, unquoted};
use crate::support::{Database, Pgtend};

/// A shipped job file, and the database it works on.
pub struct Jobs {
    pub program: Pgtend,
    db: Database,
}

impl Jobs {
    pub fn shipped(db: &Database, file: &str) -> Self {
        Self::of(db, &shipped(file))
    }

    pub fn of(db: &Database, config: &str) -> Self {
        Self { program: Pgtend::tending(db, config), db: db.clone() }
    }

    /// What a job would do: `delete_rows public.sessions`, in its order, without what it says besides.
    pub async fn would(&self, job: &str) -> Vec<String> {
        let lines = self.lines(job).await.into_iter().filter(|line| !is_note(line));
        lines.map(|line| format!("{} {}", text(&line["action"]), text(&line["target"]))).collect()
    }

    /// What its plan says, in words.
    pub async fn words(&self, job: &str) -> String {
        let words =
            |line: Value| format!("{} {}: {}\n", text(&line["action"]), text(&line["target"]), text(&line["reason"]));
        unquoted(&self.lines(job).await.into_iter().map(words).collect::<String>())
    }

    async fn lines(&self, job: &str) -> Vec<Value> {
        self.program.run(["plan", job, "--json"]).await.exits(0).json()
    }

    /// Runs a job to its good end: the details of its record.
    pub async fn run(&self, job: &str) -> Value {
        let mut record = self.program.run(["run", job, "--json"]).await.exits(0).json().pop().expect("a record");
        assert_eq!(record["outcome"], "succeeded", "{record}");
        record["details"].take()
    }

    /// Runs a job, whatever comes of it.
    pub async fn run_or_partial(&self, job: &str) {
        self.program.run(["run", job]).await;
    }

    /// Runs a job that does not do all it should: its outcome, and what it says.
    pub async fn fails(&self, job: &str) -> (String, String) {
        let record = self.program.run(["run", job, "--json"]).await.exits(1).json().pop().expect("a record");
        (text(&record["outcome"]).into(), unquoted(&record.to_string()))
    }

    /// There is nothing to do, and a run does nothing.
    pub async fn is_done(&self, job: &str) {
        assert_eq!(self.would(job).await, [""; 0], "{job}");
        let details = self.run(job).await;
        for count in COUNTS {
            assert_eq!(count_of(&details, count), 0, "{job}: {details}");
        }
    }

    /// What `check` finds; no error.
    pub async fn check(&self) -> String {
        unquoted(&self.program.run(["check"]).await.exits(0).stdout)
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.db.count(table).await
    }

    /// Everything that these tables hold.
    pub async fn fingerprints(&self, tables: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for table in tables {
            found.push(format!("{table} {} {}", self.db.count(table).await, fingerprint(&self.db, table).await));
        }
        found
    }
}

/// What the details of a run count.
const COUNTS: [&str; 6] = [
    "rows_deleted",
    "rows_archived",
    "rows_summarized",
    "partitions_dropped",
    "partitions_detached",
    "partitions_archived",
];

pub fn count_of(details: &Value, field: &str) -> i64 {
    details[field].as_i64().unwrap_or_default()
}

/// What changes no row of the application's but the time in a policy.
fn is_note(line: &Value) -> bool {
    ["keep", "warn", "record_run"].contains(&text(&line["action"]))
}

/// The GRANTs in the comments of a job file.
pub fn grants(config: &str) -> Vec<String> {
    let comments = config.lines().filter_map(|line| line.strip_prefix("#     ")).collect::<Vec<_>>().join("\n");
    let from_grant = comments.split("GRANT ").skip(1);
    from_grant.map(|rest| format!("GRANT {};", rest.split(';').next().unwrap_or_default())).collect()
}

/// The tables of which nothing may go, as a job file's comments have them: the line of the config that says so, and their names.
pub fn never(config: &str) -> (String, Vec<String>) {
    let comments = config.lines().filter_map(|line| line.strip_prefix("#     ")).collect::<Vec<_>>().join("\n");
    let (_, rest) = comments.split_once("\nnever = [").expect("a list of what is never touched");
    let line = format!("never = [{}]\n", rest.split_once(']').expect("the end of the list").0);
    let table: toml::Table = line.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    let names = table["never"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name").to_owned());
    (line, names.collect())
}
