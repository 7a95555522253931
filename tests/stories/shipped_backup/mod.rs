//! The shipped backup jobs, each on the database of its application: what is in the stores after a run, what comes out of
//! it with the tools that the files name, and every trap of those applications that backups have a part in.

mod helix;
mod lukhas;
mod proven;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::backup::{backups, bin, json};
use crate::shipped_partitions::{STORES, alone, scratch, text, unquoted};
use crate::support::{Database, Pgtend};

/// A shipped job, its stores `offsite` and `local` beside the config.
pub struct Job {
    pub program: Pgtend,
    name: &'static str,
}

impl Job {
    pub fn shipped(db: &Database, file: &str, name: &'static str) -> Self {
        Self::with(db, &db.url(), file, name, STORES)
    }

    /// As somebody else, or with other stores.
    pub fn with(db: &Database, url: &str, file: &str, name: &'static str, stores: &str) -> Self {
        let program = Pgtend::new(&config(url, file, &format!("{stores}{}", scratch(&db.url()))));
        Self { program, name }
    }

    /// Runs it to its good end: the details of its record.
    pub async fn run(&self) -> Value {
        let mut record = self.program.run(["run", self.name, "--json"]).await.exits(0).json().pop().expect("a record");
        assert_eq!(record["outcome"], "succeeded", "{record}");
        record["details"].take()
    }

    /// Runs it in vain: its outcome, and why.
    pub async fn fails(&self) -> (String, String) {
        let record = self.program.run(["run", self.name, "--json"]).await.exits(1).json().pop().expect("a record");
        (text(&record["outcome"]).into(), text(&record["error"]).into())
    }

    /// What `check` finds, and whether that is no error.
    pub async fn check(&self) -> (bool, String) {
        let output = self.program.run(["check"]).await;
        (output.status.success(), unquoted(&output.stdout))
    }

    /// The ids of the backups in a store, the oldest first.
    pub fn ids(&self, store: &str) -> Vec<String> {
        backups(&self.program.folder().join(store))
    }

    /// The folder of a backup.
    pub fn folder(&self, store: &str, id: &str) -> PathBuf {
        self.program.folder().join(store).join(self.name).join(id)
    }

    pub fn manifest(&self, store: &str, id: &str) -> Value {
        json(&self.folder(store, id).join("manifest.json"))
    }

    /// From now on the programs are those of `folder`; without one, those that fit the server.
    pub fn use_programs(&self, folder: Option<&Path>) {
        let text = fs::read_to_string(self.program.config()).unwrap();
        let without: String =
            text.lines().filter(|line| !line.starts_with("pg_bin")).map(|l| format!("{l}\n")).collect();
        let table = format!("[jobs.{}.backup]\n", self.name);
        let pg_bin = folder.map(|folder| format!("pg_bin = \"{}\"\n", folder.display())).unwrap_or_default();
        self.program.configure(&without.replace(&table, &format!("{table}{pg_bin}")));
    }
}

fn config(url: &str, file: &str, stores: &str) -> String {
    let listen = "[http]\nlisten = \"{listen}\"\n";
    format!("[databases.main]\nurl = \"{url}\"\n{listen}{}\n{stores}", alone(file))
}

/// A folder of programs whose `pg_dump` is this piece of shell, in which `$REAL` is the true one; the others are true.
pub fn stand_in(job: &Job, db: &Database, script: &str) -> PathBuf {
    let real = bin(db);
    let folder = job.program.folder().join("programs");
    let version = format!("pg_dump (PostgreSQL) {}", db.cluster().version());
    let real_dump = real.join("pg_dump").display().to_string();
    let script = format!("REAL={real_dump}\n[ \"$1\" != --version ] || {{ echo '{version}'; exit; }}\n{script}");
    let pass = |name: &str| format!("exec {} \"$@\"", real.join(name).display());
    for (name, text) in [("pg_dump", script), ("pg_restore", pass("pg_restore")), ("pg_dumpall", pass("pg_dumpall"))] {
        job.program.script(&format!("programs/{name}"), &format!("#!/bin/sh\n{text}\n"));
    }
    folder
}

/// Everything that the application has in the database: rows, sequences, what guards them.
pub async fn contents(db: &Database) -> Vec<String> {
    let ours = "n.nspname !~ '^pg_|^information_schema$' AND n.nspname <> 'pgtend'";
    let tables: Vec<String> = db
        .column(&format!(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND {ours} ORDER BY 1"
        ))
        .await;
    let mut found = Vec::new();
    for table in tables {
        let rows: String = db
            .scalar(&format!(
                // Of any size: no row is kept.
                "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t"
            ))
            .await;
        found.push(format!("{table} {rows}"));
    }
    for sql in [
        "SELECT 'sequence ' || sequencename || ' ' || coalesce(last_value, 0) FROM pg_sequences WHERE schemaname <> 'pgtend'",
        &format!(
            // A CHECK reads otherwise once it was dumped and read again. Constraints of partitions that are those of their
            // table are left out: the server numbers them anew.
            "SELECT conrelid::regclass || ' ' || conname || CASE WHEN contype <> 'c' THEN pg_get_constraintdef(c.oid) ELSE '' END
             FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE {ours} AND conrelid <> 0 AND conparentid = 0"
        ),
        &format!(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}"
        ),
    ] {
        found.extend(db.column::<String>(&format!("SELECT * FROM ({sql}) AS all_of_it (it) ORDER BY 1")).await);
    }
    found
}
