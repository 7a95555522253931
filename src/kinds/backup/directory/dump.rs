//! `pg_dump` with several workers, into a spool; looked at while it grows, and seen to be whole before anything of it is
//! stored.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures_util::future;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::spawn_blocking;

use super::order::{self, Entry, order};
use super::pack::{Contents, files_in};
use super::spool::Need;
use super::{Spool, Spooling};
use crate::kinds::Context;
use crate::kinds::backup::child::{Pipe, Program};
use crate::kinds::backup::config::Backup;
use crate::kinds::backup::pg_dump::Tools;
use crate::kinds::backup::plan::Dump;
use crate::kinds::backup::pour::explained;
use crate::kinds::backup::words;
use crate::pg::libpq::LibpqEnv;
use crate::testpoint;

/// A dump that lies in the spool, all of it.
pub struct Spooled {
    pub contents: Contents,
    /// It goes with this.
    pub spool: Spool,
}

/// What the dump will take in the spool, as far as one can tell.
pub fn need(backup: &Backup, dump: &Dump) -> Option<Need> {
    match dump.last_raw {
        Some(bytes) => Some(Need { bytes, why: "the last one had as much before it was packed" }),
        // Of chosen tables the database says nothing.
        None if !backup.is_whole() => None,
        None => Some(Need { bytes: dump.server.size, why: "the database has as much on its server" }),
    }
}

/// # Errors
/// There is too little room, `pg_dump` ended badly, or grew over its limit. Nothing is left in the spool then.
pub async fn dump(
    backup: &Backup,
    spooling: &Spooling,
    cx: &Context,
    dump: &Dump,
    env: &LibpqEnv,
    options: &[&str],
) -> Result<Spooled> {
    let spool = Spool::make(spooling, cx.job.as_str(), need(backup, dump)).await?;
    // After that has swept away what a dead run left there: it is free again.
    let most = spooling.limit()?;
    testpoint::reach_in("backup.begun", cx.job.as_str()).await;
    let folder = spool.dump();
    let (file, conninfo) = (format!("--file={}", folder.display()), format!("--dbname={}", env.conninfo));
    let args = options.iter().copied().chain([file.as_str(), conninfo.as_str()]);
    let mut program = Program::start(&dump.tools.program("pg_dump"), args, env.variables(), Pipe::None)?;
    let (give_up, size) = (program.give_up.clone(), AtomicU64::new(0));
    let ended = {
        let mut grown = None;
        let finished = program.finished();
        tokio::pin!(finished);
        let ending = async {
            let why = tokio::select! {
                bytes = spool.outgrown(most, &size) => Some(bytes),
                _ = cx.stop.requested_at_last() => None,
                never = tell(cx, dump, &size) => match never {},
            };
            give_up.notify_one();
            why
        };
        let ended = tokio::select! {
            ended = &mut finished => ended,
            why = ending => {
                grown = why;
                finished.await
            }
        };
        match grown {
            Some(bytes) => Err(outgrown(spooling, most, bytes)),
            None => ended.map_err(|error| explained(error, dump)),
        }
    };
    cx.report.lock().progress = None;
    ended?;
    let contents = contents(&dump.tools, &folder, cx).await.context("pg_dump ended well, but its dump is not whole")?;
    let bytes = contents.size();
    if bytes > most {
        // All that it has grown to in its last moment.
        return Err(outgrown(spooling, most, bytes));
    }
    testpoint::reach_in("backup.spooled", cx.job.as_str()).await;
    Ok(Spooled { contents, spool })
}

fn outgrown(spooling: &Spooling, most: u64, bytes: u64) -> anyhow::Error {
    let (most, bytes) = (words::size(most), words::size(bytes));
    let raise = if spooling.most.is_some() { "raise" } else { "set" };
    anyhow!(
        "the dump was given up: it had grown to {bytes} in {}, and may take {most} there; {raise} `spool_max` if the disk has \
         the room",
        spooling.folder.display()
    )
}

/// Reads the table of contents, and looks whether all that it names is there.
async fn contents(tools: &Tools, folder: &Path, cx: &Context) -> Result<Contents> {
    let entries = entries(tools, folder).await?;
    let modified = u64::try_from(cx.now.timestamp()).unwrap_or_default();
    let folder = folder.to_owned();
    let looking = move || {
        let files: BTreeMap<String, u64> = files_in(&folder)?;
        let files = order(files, &entries, |list| Ok(fs::read_to_string(folder.join(list))?))?;
        Ok(Contents { folder, files, modified })
    };
    spawn_blocking(looking).await.context("look at its files")?
}

/// The entries of the table of contents that have data, as `pg_restore` reads it.
async fn entries(tools: &Tools, folder: &Path) -> Result<Vec<Entry>> {
    let folder = folder.display().to_string();
    let args = ["--list", "--format=directory", folder.as_str()];
    let mut pg_restore = Program::start(&tools.program("pg_restore"), args, [], Pipe::Out)?;
    let mut lines = BufReader::new(pg_restore.stdout()?).split(b'\n');
    let reading = async {
        let mut entries = Vec::new();
        while let Some(line) = lines.next_segment().await? {
            entries.extend(order::entry(&String::from_utf8_lossy(&line)));
        }
        anyhow::Ok(entries)
    };
    let (entries, ended) = future::join(reading, pg_restore.finished()).await;
    ended.context("read its table of contents")?;
    entries.context("read from pg_restore")
}

/// How far it is, for whoever looks, and each minute for logs.
async fn tell(cx: &Context, dump: &Dump, size: &AtomicU64) -> std::convert::Infallible {
    let mut minute = tokio::time::interval(testpoint::patience(Duration::from_secs(60)));
    let mut second = tokio::time::interval(Duration::from_secs(1));
    minute.tick().await;
    loop {
        let for_logs = tokio::select! {
            _ = minute.tick() => true,
            _ = second.tick() => false,
        };
        let bytes = size.load(Ordering::Relaxed);
        let of = words::part(bytes, dump.last_raw);
        let line = format!("{of} dumped into the spool, nothing stored yet");
        if for_logs {
            tracing::info!(job = %cx.job, spooled_bytes = bytes, "dumping: {line}");
        }
        cx.report.lock().progress = Some(line);
    }
}
