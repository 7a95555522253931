//! Dumps of the directory format: made by several workers, by way of a spool of which nothing stays.

mod by_hand;
mod commands;
mod dying;
mod limits;
mod proven;

use std::fs;
use std::path::{Path, PathBuf};

use tokio_postgres::Client;

use crate::backup::{self, Setting};
use crate::support::{Database, Process, wait_until};

/// Further lines of a job's table.
pub const DIRECTORY: &str = "format = \"directory\"\nspool = \"spool\"\nspool_max = \"1 GB\"\n";

/// The job `nightly`, in the directory format.
pub fn setting(db: &Database, backup: &str) -> Setting {
    backup::setting(db, &format!("{DIRECTORY}{backup}"))
}

pub fn spool(setting: &Setting) -> PathBuf {
    setting.program.folder().join("spool")
}

/// What there is in the spool.
pub fn spooled(setting: &Setting) -> Vec<String> {
    names(&spool(setting))
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Tables `held_1` and so on, each with a long value, and `other`, which is smaller and so the last to be dumped.
pub async fn tables(db: &Database, count: u32) {
    for n in 1..=count {
        db.execute(&format!(
            "create table held_{n} (v text); alter table held_{n} alter v set storage external;
             insert into held_{n} select 'short' from generate_series(1, 2000);
             insert into held_{n} values (repeat('long', 5000))"
        ))
        .await;
    }
    db.execute("create table other (n int); insert into other values (1)").await;
    db.execute("vacuum analyze").await;
}

/// Keeps whoever reads the long values of these tables waiting, and nobody else, for as long as it lives.
pub async fn hold(db: &Database, tables: &[&str]) -> Client {
    let client = db.client().await;
    client.batch_execute("begin").await.unwrap();
    for table in tables {
        let index: String = db
            .scalar(&format!(
                "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.reltoastrelid = i.indrelid
                 where c.oid = '{table}'::regclass"
            ))
            .await;
        client.batch_execute(&format!("reindex index {index}")).await.unwrap();
    }
    client
}

/// Waits until so many workers of the dump wait for what is held.
pub async fn workers_wait(db: &Database, count: i64) {
    wait_until("the workers to wait", async || {
        let waiting: i64 = db
            .scalar(
                "select count(*) from pg_stat_activity where application_name = 'pgtend/nightly (dump)'
                 and datname = current_database() and wait_event_type = 'Lock' and query ~ '^COPY'",
            )
            .await;
        waiting == count
    })
    .await;
}

/// All processes of `pg_dump` that write to a spool.
pub fn dumps(spool: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("read /proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let spool = format!("--file={}/", spool.display());
        String::from_utf8_lossy(&arguments).split('\0').any(|argument| argument.starts_with(&spool))
    })
    .collect()
}

/// A run whose workers are at work, held in `held_1`.
pub async fn at_work(db: &Database, setting: &Setting) -> (Process, Client) {
    let held = hold(db, &["held_1"]).await;
    let process = setting.program.start(["run", "nightly", "--json"]);
    workers_wait(db, 1).await;
    (process, held)
}
