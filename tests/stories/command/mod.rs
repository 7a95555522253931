//! Programs of a team's own: the kind `command`.

mod ended;
mod given;
mod said;

use std::fs;

use serde_json::Value;

use crate::support::{Cluster, Database, Pgtend, newest_major, wait_for};

/// A program whose job `own` runs a shell script beside its config.
fn scripted(db: &Database, script: &str, keys: &str) -> Pgtend {
    let program = Pgtend::tending(db, &format!("[jobs.own.command]\ncommand = ['bin/own', 'one']\n{keys}\n"));
    program.script("bin/own", &format!("#!/bin/sh\n{script}\n"));
    program
}

async fn a_database() -> Database {
    Cluster::shared(newest_major()).database().await
}

/// Runs the job; the record.
async fn run(program: &Pgtend, code: i32) -> Value {
    program.run(["run", "own", "--json"]).await.exits(code).json().remove(0)
}

/// The lines of a file of a script's, once there are so many; process ids, for the most part.
async fn lines(program: &Pgtend, name: &str, count: usize) -> Vec<String> {
    let file = program.folder().join(name);
    wait_for(&format!("{count} lines in {}", file.display()), async || {
        let lines: Vec<String> = fs::read_to_string(&file).ok()?.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

/// Whether a process is there and has not ended: one that nobody has waited for counts as gone.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program stands in parentheses, and may hold anything.
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

fn end(pid: &str) {
    let pid = pid.parse().expect("a process id");
    assert!(pid > 1);
    // SAFETY: a system call without memory.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}
