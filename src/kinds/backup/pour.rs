//! From `pg_dump` to the stores: through a pipe, or, in the directory format, by way of the spool.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures_util::future;
use tokio::io::AsyncRead;

use super::child::{Pipe, Program};
use super::config::{Backup, Format};
use super::directory;
use super::dump::Live;
use super::pipeline::{self, Outlet, Poured, Progress};
use super::plan::Dump;
use super::verify::{DUMP_END, ends_with};
use super::words;
use crate::kinds::Context;
use crate::pg::libpq::LibpqEnv;
use crate::testpoint;

/// # Errors
/// `pg_dump` ended badly, or what it wrote is not whole, or no store is left.
pub async fn pour(
    backup: &Backup,
    cx: &Context,
    dump: &Dump,
    live: &mut [Live<'_>],
    env: &LibpqEnv,
    options: &[&str],
) -> Result<Poured> {
    let Some(spooling) = backup.spooling() else {
        testpoint::reach_in("backup.begun", cx.job.as_str()).await;
        let conninfo = format!("--dbname={}", env.conninfo);
        let args = options.iter().copied().chain([conninfo.as_str()]);
        let mut program = Program::start(&dump.tools.program("pg_dump"), args, env.variables(), Pipe::Out)?;
        let stdout = program.stdout()?;
        let poured = into_stores(backup, cx, dump, live, stdout, Some(program), dump.last_raw).await?;
        whole(backup, &poured)?;
        return Ok(poured);
    };
    let spooled = directory::dump::dump(backup, &spooling, cx, dump, env, options).await?;
    let size = spooled.contents.size();
    let tar = spooled.contents.tar()?;
    let poured = into_stores(backup, cx, dump, live, tar, None, Some(size)).await;
    // Before anything is read back, which may want the room.
    spooled.spool.remove().await;
    let poured = poured?;
    if poured.raw != size {
        bail!("the tar of the dump has {} bytes, and should have {size}", poured.raw);
    }
    Ok(poured)
}

/// Pours `source`, what `program` writes, to all stores that are well; `expected` is how much there may be of it.
async fn into_stores(
    backup: &Backup,
    cx: &Context,
    dump: &Dump,
    live: &mut [Live<'_>],
    source: impl AsyncRead + Unpin,
    mut program: Option<Program>,
    expected: Option<u64>,
) -> Result<Poured> {
    let packing = backup.packing()?;
    let progress = Arc::new(Progress::default());
    let outlets: Vec<Outlet<'_>> = live
        .iter()
        .filter_map(|live| Some(Outlet { upload: live.upload.as_ref()?, in_flight: live.target.in_flight }))
        .collect();
    let give_up = program.as_ref().map(|program| Arc::clone(&program.give_up));
    let pouring = async {
        let (poured, outcomes) =
            pipeline::pour(source, packing, dump.part_size, &outlets, &progress, cx.job.as_str()).await;
        if let (Err(_), Some(give_up)) = (&poured, &give_up) {
            give_up.notify_one();
        }
        (poured, outcomes)
    };
    let finishing = async {
        match &mut program {
            Some(program) => program.finished().await,
            None => Ok(()),
        }
    };
    let working = future::join(pouring, finishing);
    let stopping = async {
        cx.stop.requested_at_last().await;
        if let Some(give_up) = &give_up {
            give_up.notify_one();
            future::pending::<()>().await;
        }
    };
    let done = tokio::select! {
        done = working => done,
        // There is no program whose end would be seen.
        () = stopping => bail!("it was told to end"),
        never = tell(cx, expected, &progress) => match never {},
    };
    cx.report.lock().progress = None;
    let ((poured, outcomes), ended) = done;
    let mut outcomes = outcomes.into_iter();
    for live in live.iter_mut().filter(|live| live.upload.is_some()) {
        if let Some(Err(error)) = outcomes.next() {
            let limit = dump.part_size as u64 * u64::from(live.target.most_parts);
            let full = progress.stored.load(Ordering::Relaxed) > limit;
            live.fail(if full { too_large(live, limit) } else { error.context("upload the dump") });
        }
    }
    match (poured, ended) {
        (Ok(poured), Ok(())) => Ok(poured),
        // A store's failure is the reason, and pg_dump was only given up.
        (Err(error), _) if !live.iter().any(Live::is_well) => Err(error),
        (_, Err(error)) => Err(explained(error, dump)),
        (Err(error), Ok(())) => Err(error),
    }
}

fn too_large(live: &Live<'_>, limit: u64) -> anyhow::Error {
    anyhow!(
        "the dump is larger than the {} that {} parts can hold: raise `part_size` of store {}, or `max_parts` if it takes more",
        words::size(limit),
        live.target.most_parts,
        live.target.store
    )
}

/// Why `pg_dump` may have ended badly.
pub fn explained(error: anyhow::Error, dump: &Dump) -> anyhow::Error {
    if dump.server.standby {
        let hint = "on a standby, the replay of changes can cancel a dump: set hot_standby_feedback = on there, or raise \
                    max_standby_streaming_delay, and give the job a `retry`";
        return error.context(hint);
    }
    error
}

/// Whether the archive was seen to its end.
fn whole(backup: &Backup, poured: &Poured) -> Result<()> {
    let is_whole = match backup.format() {
        Format::Plain => ends_with(&poured.tail, DUMP_END),
        _ => poured.head.starts_with(b"PGDMP"),
    };
    if !is_whole {
        bail!("pg_dump ended well, but what it wrote ({}) is no whole dump", words::size(poured.raw));
    }
    Ok(())
}

/// How far it is: each second for whoever looks, each minute for logs.
async fn tell(cx: &Context, expected: Option<u64>, progress: &Progress) -> std::convert::Infallible {
    let mut minute = tokio::time::interval(testpoint::patience(Duration::from_secs(60)));
    let mut second = tokio::time::interval(Duration::from_secs(1));
    minute.tick().await;
    loop {
        let for_logs = tokio::select! {
            _ = minute.tick() => true,
            _ = second.tick() => false,
        };
        let (raw, stored) = (progress.raw.load(Ordering::Relaxed), progress.stored.load(Ordering::Relaxed));
        let line = format!("{} read, {} stored", words::part(raw, expected), words::size(stored));
        if for_logs {
            tracing::info!(job = %cx.job, raw_bytes = raw, stored_bytes = stored, "dumping: {line}");
        }
        cx.report.lock().progress = Some(line);
    }
}
