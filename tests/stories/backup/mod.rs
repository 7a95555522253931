//! Backups, with the real `pg_dump` of each major, in a store that is a directory.

mod beside_others;
mod buckets;
mod clock_back;
mod counted;
mod dying;
mod edges;
mod judged;
mod kept;
mod killed;
mod looking;
pub mod restored;
pub mod secrets;
mod standby;
mod stores;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Database, Pgtend, majors};

/// A job with a store beside the config. `backup` are further lines of its table, `common` of the job's.
pub struct Setting {
    pub program: Pgtend,
    pub store: PathBuf,
}

/// The folder of this major's programs.
pub fn bin(db: &Database) -> PathBuf {
    majors::installation(db.cluster().major()).program("pg_dump").parent().expect("a folder").into()
}

/// The job `nightly`, to the store `local`.
pub fn jobs(db: &Database, backup: &str) -> String {
    format!(
        "[stores.local.directory]\npath = \"store\"\n[jobs.nightly]\nlock_timeout = \"1s\"\n[jobs.nightly.backup]\npg_bin = \"{}\"\n{backup}\n",
        bin(db).display()
    )
}

pub fn setting(db: &Database, backup: &str) -> Setting {
    let to = if backup.contains("to =") { "" } else { "to = [{ store = \"local\" }]\n" };
    let program = Pgtend::tending(db, &jobs(db, &format!("{to}{backup}")));
    let store = program.folder().join("store");
    Setting { program, store }
}

impl Setting {
    /// Runs the job once, to an exit status.
    pub async fn run(&self, code: i32) -> Value {
        let output = self.program.run(["run", "nightly", "--json"]).await.exits(code);
        output.json().remove(0)
    }

    /// The ids of the backups in the store, by their manifests, the oldest first.
    pub fn backups(&self) -> Vec<String> {
        backups(&self.store)
    }

    /// The folder of a backup.
    pub fn folder(&self, id: &str) -> PathBuf {
        self.store.join("nightly").join(id)
    }

    /// All files of the store, relative to it.
    pub fn files(&self) -> Vec<String> {
        files(&self.store)
    }

    pub fn manifest(&self, id: &str) -> Value {
        json(&self.folder(id).join("manifest.json"))
    }
}

pub fn backups(store: &Path) -> Vec<String> {
    let id = |file: String| Some(file.strip_suffix("/manifest.json")?.rsplit('/').next()?.to_owned());
    let mut ids: Vec<String> = files(store).into_iter().filter_map(id).collect();
    // Of two in one second the first has no number.
    ids.sort();
    ids
}

pub fn files(store: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(store).expect("inside").display().to_string());
            }
        }
    }
    found.sort();
    found
}

pub fn json(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A table of so many rows that are hard to pack: a thousand of them make a quarter of a megabyte.
pub async fn fill(db: &Database, rows: u32) {
    db.execute(&format!(
        "create table if not exists filling (id bigint generated always as identity primary key, word text);
         insert into filling (word)
         select (select string_agg(md5(random()::text || n || k), '') from generate_series(1, 8) k) from generate_series(1, {rows}) n"
    ))
    .await;
}

/// Runs a line of shell, as the manual gives it, with this major's programs.
pub fn shell(db: &Database, line: &str, folder: &Path) {
    let path = format!("{}:/usr/bin:/bin", bin(db).display());
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-ec", line]).current_dir(folder).env("PATH", path).env("URL", db.url());
    let output = shell.output().expect("run a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{said}", output.status);
}

/// Puts other programs before this major's own: name, and the body of a script in which `real` is the one that it stands for.
pub fn replace_programs(setting: &Setting, db: &Database, programs: &[(&str, &str)]) {
    let real = bin(db);
    for name in ["pg_dump", "pg_dumpall", "pg_restore", "psql"] {
        let body = programs.iter().find(|(replaced, _)| *replaced == name).map_or("real \"$@\"", |(_, body)| body);
        let text = format!("#!/bin/sh\nreal() {{ exec {}/{name} \"$@\"; }}\n{body}\n", real.display());
        setting.program.script(&format!("programs/{name}"), &text);
    }
    let config = fs::read_to_string(setting.program.config()).unwrap();
    let ours = setting.program.folder().join("programs");
    setting.program.configure(&config.replace(&real.display().to_string(), &ours.display().to_string()));
}

/// The children of a process that run this program.
pub fn children(pid: u32, program: &str) -> Vec<u32> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    fs::read_dir("/proc")
        .expect("read /proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| {
            let Some(stat) = stat(*child) else { return false };
            let Some((name, rest)) = stat.rsplit_once(')') else { return false };
            let fields: Vec<&str> = rest.split_whitespace().collect();
            // A zombie has ended, and only waits to be seen.
            name.ends_with(&format!("({program}")) && fields[0] != "Z" && fields[1] == pid.to_string()
        })
        .collect()
}

/// Sends a signal to a process that a program of ours has started.
pub fn signal(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: takes two numbers; at worst nobody is there.
    unsafe { libc::kill(pid, signal) };
}
