//! A backup is proven by having it again. Whatever comes of that, nothing of it stays on the server.

mod left;
mod looking;
mod proven;
mod refused;
mod roles;

use serde_json::Value;

use crate::backup::{self, Setting};
use crate::support::{Database, Pgtend};

/// A name of a job that no other story has, so that its scratch databases are told from theirs.
pub fn job(db: &Database) -> String {
    let number = db.name().split('_').next().expect("a number");
    format!("p{}-{number}", db.cluster().major())
}

/// The job `nightly` of `db`, and the one that restores its backups on the server of `server`. `backup` and `test` are further
/// lines of their tables.
pub fn setting(db: &Database, server: &Database, backup: &str, test: &str) -> Setting {
    setting_as(db, &server.url(), backup, test)
}

pub fn setting_as(db: &Database, server: &str, backup: &str, test: &str) -> Setting {
    let jobs = backup::jobs(db, &format!("to = [{{ store = \"local\" }}]\n{backup}"));
    let jobs = jobs.replace("[jobs.nightly]\n", "[jobs.nightly]\ndatabase = \"main\"\n");
    let program = Pgtend::tending(
        db,
        &format!(
            "{jobs}[databases.scratch]\nurl = \"{server}\"\n[jobs.{0}.restore_test]\nbackup = \"nightly\"\nserver = \"scratch\"\n{test}\n",
            job(db)
        ),
    );
    let store = program.folder().join("store");
    Setting { program, store }
}

/// Runs the test once, to an exit status.
pub async fn prove(setting: &Setting, db: &Database, code: i32) -> Value {
    setting.program.run(["run", &job(db), "--json"]).await.exits(code).json().remove(0)
}

/// The scratch databases of the story on a server, and whatever is called like them.
pub async fn scratches(db: &Database, server: &Database) -> Vec<String> {
    server
        .column(&format!(
            "select datname::text from pg_database where starts_with(datname::text, 'pgtend_restore_test_{}_') order by 1",
            job(db)
        ))
        .await
}

pub fn error(run: &Value) -> &str {
    run["error"].as_str().unwrap_or_else(|| panic!("no error in {run}"))
}
