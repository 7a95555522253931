//! Partitions that are written to a store before they go: what is there afterwards, whatever happens in between.

mod interrupted;
mod whole;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::backup::{files, json};
use crate::support::{Database, Pgtend, majors, on_each_major};

/// Months of 2020 that are old by any policy, and the current one; three rows in each.
pub fn months(n: u32) -> String {
    let months: String = (1..=n)
        .map(|m| {
            format!(
                "CREATE TABLE events_{m} PARTITION OF events FOR VALUES FROM ({m}) TO ({});
                 INSERT INTO events SELECT {m}, n, repeat('note ' || n, 20) FROM generate_series(1, 3) n;",
                m + 1
            )
        })
        .collect();
    format!(
        "CREATE TABLE events (at bigint NOT NULL, id bigint, note text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
         {months}
         CREATE TABLE events_now PARTITION OF events FOR VALUES FROM (1000000000) TO (4000000000);
         CREATE TABLE saved AS SELECT * FROM events;"
    )
}

/// A job that exports to a directory beside the config.
pub fn exporting(db: &Database, keys: &str) -> Pgtend {
    Pgtend::tending(
        db,
        &format!(
            "[stores.offsite.directory]\npath = \"store\"\n[jobs.retention]\ntimeout = \"2m\"\n[jobs.retention.retention]\n\
             tables = [{{ table = \"events\", keep = \"1 year\", key_format = \"epoch\", max_partitions = 100, export = \"offsite\"{keys} }}]\n"
        ),
    )
}

pub async fn run(program: &Pgtend, code: i32) -> Value {
    program.run(["run", "retention", "--json"]).await.exits(code).json().remove(0)
}

pub fn store(program: &Pgtend) -> PathBuf {
    program.folder().join("store")
}

/// The folders of the exports that are complete, as `public.events_1/2026-11-21T020000Z`.
pub fn exports(store: &Path) -> Vec<String> {
    let all = files(store);
    let folder =
        |file: &String| Some(file.strip_suffix("/manifest.json")?.strip_prefix("retention/exports/")?.to_owned());
    let mut found: Vec<String> = all.iter().filter_map(folder).collect();
    // Of two in one second the first has no number.
    found.sort();
    found
}

/// Loads an export by hand, as its `table.sql` says, into a database of its own.
pub fn load(db: &Database, store: &Path, export: &str) {
    let folder = store.join("retention/exports").join(export);
    let manifest = json(&folder.join("manifest.json"));
    assert_eq!(json(&folder.join("verified.json"))["good"], true, "{export}");
    let rows = zstd::decode_all(&std::fs::read(folder.join("rows.copy.zst")).unwrap()[..]).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("rows.copy"), rows).unwrap();
    let table = std::fs::read_to_string(folder.join("table.sql")).unwrap();
    let copy = table.lines().find_map(|line| line.strip_prefix("--   ")).expect("how to load it");
    std::fs::write(scratch.path().join("load.sql"), format!("{table}\n{copy}\n")).unwrap();
    let psql = majors::installation(db.cluster().major()).program("psql");
    let loaded = Command::new(psql)
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "load.sql", &db.url()])
        .current_dir(scratch.path())
        .output()
        .expect("run psql");
    assert!(loaded.status.success(), "{manifest}\n{table}\n{}", String::from_utf8_lossy(&loaded.stderr));
}

/// All that was there before is in the table or in the exports, row for row.
pub async fn nothing_is_lost(db: &Database, store: &Path) {
    db.execute("CREATE TABLE IF NOT EXISTS found AS SELECT * FROM saved LIMIT 0").await;
    db.execute("TRUNCATE found; INSERT INTO found SELECT * FROM events").await;
    for export in exports(store) {
        let name = export.split('/').next().expect("a partition").to_owned();
        load(db, store, &export);
        db.execute(&format!("INSERT INTO found SELECT * FROM {name}; DROP TABLE {name}")).await;
    }
    let missing = "(SELECT * FROM saved EXCEPT ALL SELECT * FROM found) AS missing";
    let more = "(SELECT * FROM found EXCEPT ALL SELECT * FROM saved) AS more";
    assert_eq!((db.count(missing).await, db.count(more).await), (0, 0));
}
