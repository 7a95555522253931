//! `pgtend init`: what it proposes for the databases of five applications and for odd ones, that `check` has nothing against
//! it, and that nothing of it deletes what may still be needed.

mod applications;
mod odd;

use std::collections::BTreeSet;

use crate::support::{Database, Pgtend};

/// What is proposed for a database, saved as the config of a program.
pub struct Proposed {
    pub program: Pgtend,
    pub text: String,
    /// What is switched on.
    pub on: toml::Table,
    /// The same with everything switched on: no config yet, since there is more to be said.
    pub all: toml::Table,
}

impl Proposed {
    pub async fn of(db: &Database) -> Self {
        Self::by(db, &db.url()).await
    }

    pub async fn by(db: &Database, url: &str) -> Self {
        let before = fingerprint(db).await;
        let program = Pgtend::new("");
        let output = program.run(["init", "--database-url", url]).await.exits(0);
        assert_eq!(output.stderr, "");
        assert_eq!(fingerprint(db).await, before, "looking changes nothing");
        let text = output.stdout;
        program.configure(&text.replace("127.0.0.1:9934", "{listen}"));
        let read = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        Self { program, on: read(&text), all: read(&all_on(&text)), text }
    }

    /// `check` with a database and without has no error to tell.
    pub async fn is_sound(&self) {
        self.program.run(["check", "--offline"]).await.exits(0);
        self.program.run(["check"]).await.exits(0);
    }

    /// The jobs that are switched on, but for `health`, which every database has once there is that kind.
    pub fn jobs(&self) -> Vec<&str> {
        let jobs = self.on.get("jobs").and_then(toml::Value::as_table).into_iter().flat_map(|jobs| jobs.keys());
        jobs.map(String::as_str).filter(|job| *job != "health").collect()
    }

    /// The tables that a job would tend if all of it was switched on.
    pub fn tables(&self, job: &str, kind: &str) -> BTreeSet<String> {
        tables(&self.all, job, kind)
    }

    /// Those that it does tend.
    pub fn tables_on(&self, job: &str, kind: &str) -> BTreeSet<String> {
        tables(&self.on, job, kind)
    }

    /// Whether the words hold these, wherever lines were folded.
    pub fn says(&self, words: &str) -> bool {
        let lines = self.text.lines().map(|line| line.trim_start().trim_start_matches('#').trim());
        lines.collect::<Vec<_>>().join(" ").contains(words)
    }
}

fn tables(config: &toml::Table, job: &str, kind: &str) -> BTreeSet<String> {
    let Some(kind) = config.get("jobs").and_then(|jobs| jobs.get(job)?.get(kind)) else { return BTreeSet::new() };
    let Some(rows) = kind.get("tables").or_else(|| kind.get("views")) else { return BTreeSet::new() };
    let name = |row: &toml::Value| row.as_str().or_else(|| row["table"].as_str()).expect("a name").to_owned();
    rows.as_array().expect("an array").iter().map(name).collect()
}

fn all_on(text: &str) -> String {
    let on = |line: &str| {
        let rest = line.trim_start();
        let indent = &line[..line.len() - rest.len()];
        match rest.strip_prefix('#') {
            Some(config) if !config.is_empty() && !config.starts_with(' ') => format!("{indent}{config}\n"),
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(on).collect()
}

/// Everything there is in the database: relations, and how many rows were ever written.
async fn fingerprint(db: &Database) -> String {
    let relations = "SELECT coalesce(string_agg(format('%s %s %s', oid, relname, relfilenode), ' ' ORDER BY oid), '') \
                     FROM pg_class WHERE oid >= 16384";
    db.scalar(relations).await
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
