//! `pgtend backup`: what is in the stores, and how it is had again. The database that was dumped is asked nothing.

mod another;
mod fetched;
mod filled;
mod listed;
mod restored;
mod roles;
mod secrets;
mod verified;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::backup::{Setting, bin, json};
use crate::support::s3::S3Server;
use crate::support::{Cluster, Database, Pgtend};

/// The job `nightly`, to the directory `local` and the bucket `offsite`, in this order.
pub fn two_stores(db: &Database, server: &S3Server, backup: &str) -> Setting {
    let config = format!(
        "[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n[stores.local.directory]\npath = \"store\"\n{}\
         [jobs.nightly.backup]\nto = [{{ store = \"local\" }}, {{ store = \"offsite\" }}]\npg_bin = \"{}\"\n{backup}\n",
        db.url(),
        server.config("offsite"),
        bin(db).display()
    );
    let mut program = Pgtend::new(&config);
    for (name, value) in server.env() {
        program = program.env(name, value);
    }
    let store = program.folder().join("store");
    Setting { program, store }
}

/// Runs the job, and gives the id of its backup.
pub async fn back_up(setting: &Setting) -> String {
    setting.run(0).await["details"]["backup"].as_str().expect("an id").to_owned()
}

/// From here on the database that was dumped cannot be reached.
pub fn cut_off(setting: &Setting, db: &Database) {
    let config = fs::read_to_string(setting.program.config()).unwrap();
    assert!(config.contains(&db.url()));
    setting.program.configure(&config.replace(&db.url(), "postgresql://nobody@127.0.0.1:1/nothing"));
}

/// The stored dump of a backup in the directory.
pub fn dump_file(setting: &Setting, id: &str) -> PathBuf {
    let name = setting.manifest(id)["objects"][0]["name"].as_str().expect("a name").to_owned();
    setting.folder(id).join(name)
}

/// Flips a bit in the middle of the dump; gives what was there.
pub fn flip(setting: &Setting, id: &str) -> Vec<u8> {
    let file = dump_file(setting, id);
    let bytes = fs::read(&file).unwrap();
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&file, flipped).unwrap();
    bytes
}

/// Changes a manifest behind everybody's back.
pub fn change_manifest(setting: &Setting, id: &str, change: impl FnOnce(&mut Value)) {
    let file = setting.folder(id).join("manifest.json");
    let mut manifest = json(&file);
    change(&mut manifest);
    fs::write(&file, manifest.to_string()).unwrap();
}

/// How to get to a database of any name; there may be none.
pub fn into(cluster: &Cluster, name: &str) -> String {
    let quoted = name.replace('\\', r"\\").replace('\'', r"\'");
    format!("{} dbname='{quoted}'", cluster.conninfo(""))
}

pub async fn exists(cluster: &Cluster, name: &str) -> bool {
    let client = Database::named(cluster.clone(), "postgres").client().await;
    client.query_opt("select from pg_database where datname = $1", &[&name]).await.unwrap().is_some()
}
