//! One dump, from its beginning to its manifests. Nothing is complete before `pg_dump` has ended well and its archive was
//! seen to the end; the manifest is written last; on any other end the uploads are taken back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future;
use tokio::io::AsyncReadExt as _;

use super::child::{Pipe, Program};
use super::company;
use super::config::Backup;
use super::counts::{self, Rows};
use super::manifest::Stored;
use super::pg_dump;
use super::plan::{Dump, Target};
use super::verify::{GLOBALS_END, ends_with};
use super::{naming, pour, publish, words};
use crate::hex::hex;
use crate::kinds::{Applied, Context};
use crate::pg::libpq::LibpqEnv;
use crate::pg::{Link, application_name, explain};
use crate::store::{Deleted, Parts, Store, Upload};

/// How long a store is waited for when an upload is given up, within the time that a run has to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Roles and tablespaces: kilobytes, and never so much.
const GLOBALS_MOST: u64 = 64 << 20;

/// A store that the dump goes to, for as long as nothing has gone wrong there.
pub struct Live<'a> {
    pub target: &'a Target,
    pub store: Arc<Store>,
    pub upload: Option<Upload>,
    pub failed: Option<anyhow::Error>,
}

impl Live<'_> {
    pub fn fail(&mut self, error: anyhow::Error) {
        self.failed.get_or_insert(error);
    }

    pub fn is_well(&self) -> bool {
        self.failed.is_none()
    }
}

/// What is known once the dump is in the stores, but not yet a backup.
pub struct Dumped {
    pub objects: Vec<Stored>,
    pub globals: Option<Vec<u8>>,
    pub options: Vec<String>,
    pub rows: Option<Rows>,
}

/// The database's time, which the manifests go by, as it passes.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    now: DateTime<Utc>,
    began: Instant,
}

impl Watch {
    pub fn time(&self) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
    }
}

/// # Errors
/// There is no backup in any store.
pub async fn apply(backup: &Backup, cx: &Context, dump: &Dump) -> Result<Applied> {
    let watch = Watch { now: cx.now, began: Instant::now() };
    let mut live = Vec::new();
    for target in &dump.targets {
        let store = Arc::clone(cx.stores.get(&target.store).with_context(|| format!("no store {:?}", target.store))?);
        let failed = target.trouble.as_ref().map(|trouble| anyhow!("{trouble}"));
        live.push(Live { target, store, upload: None, failed });
    }
    let (beside, conninfo) = company::connect(cx, dump.server.version_num).await?;
    if let Some(reason) = company::keep_out_changes(cx, &beside.client, backup.lock_wait.0).await? {
        return Ok(Applied::Stopped(reason));
    }
    let name = application_name(cx.job.as_str(), " (dump)");
    let (for_libpq, major) = (name.clone(), dump.tools.major);
    let env = tokio::task::spawn_blocking(move || conninfo.for_libpq(&for_libpq, Some(major)));
    let env = env.await.context("look up how to connect")??;
    let dumped = tokio::select! {
        dumped = begin_and_pour(backup, cx, dump, &mut live, &env) => dumped,
        () = too_late(cx) => Err(anyhow!("it did not end when it was told to")),
        never = guard(&beside, cx) => match never {},
    };
    let dumped = match dumped {
        Ok(dumped) if cx.stop.requested().is_none() => dumped,
        other => {
            company::end_backend(&beside.client, &name).await;
            take_back(&mut live).await;
            // Also where it just came to its end: what is not yet complete is not worth the time that is not there.
            return match (cx.stop.requested(), other) {
                (Some(reason), _) => Ok(Applied::Stopped(reason)),
                (None, Err(error)) => Err(nowhere(error, &live, dump)),
                (None, Ok(_)) => unreachable!("a dump that went well and is not stopped goes on"),
            };
        }
    };
    // From here on the database is not needed, nor kept waiting.
    drop(beside);
    let published = tokio::select! {
        published = publish::publish(backup, cx, dump, &mut live, dumped, watch) => published,
        reason = cx.stop.requested_at_last() => Ok(Applied::Stopped(reason)),
    };
    take_back(&mut live).await;
    published
}

/// Comes back when the run was told to end a while ago, so that what can end by itself has done so.
async fn too_late(cx: &Context) {
    cx.stop.requested_at_last().await;
    tokio::time::sleep(Duration::from_millis(1800)).await;
}

/// Keeps the connection that keeps schema changes out, or says once that it is lost.
async fn guard(beside: &Link, cx: &Context) -> std::convert::Infallible {
    company::keep_awake(&beside.client).await;
    tracing::warn!(job = %cx.job, "the connection that keeps schema changes by pgtend away from the dump was lost; the dump goes on");
    future::pending().await
}

async fn begin_and_pour(
    backup: &Backup,
    cx: &Context,
    dump: &Dump,
    live: &mut [Live<'_>],
    env: &LibpqEnv,
) -> Result<Dumped> {
    let globals = if backup.globals { Some(globals(dump, env).await?) } else { None };
    future::join_all(live.iter_mut().map(|live| begin(backup, cx, dump, live))).await;
    if !live.iter().any(Live::is_well) {
        bail!("no store takes it");
    }
    let mut options = pg_dump::arguments(backup, &dump.names);
    let counting = if backup.row_counts { Some(counts::begin(backup, cx, &dump.names).await?) } else { None };
    let snapshot = counting.as_ref().map(|counting| format!("--snapshot={}", counting.snapshot));
    // No option for anybody who makes the dump again: the snapshot is gone by then.
    let args: Vec<&str> = options.iter().chain(&snapshot).map(String::as_str).collect();
    let (poured, rows) = counts::beside(counting, cx, pour::pour(backup, cx, dump, live, env, &args)).await?;
    let mut objects = vec![Stored {
        name: naming::dump(backup.format(), backup.compression, backup.is_encrypted()),
        size: poured.stored,
        sha256: poured.sha256,
        raw_size: poured.raw,
    }];
    let mut packed_globals = None;
    if let Some(globals) = globals {
        let packing = backup.packing()?;
        let raw_size = globals.len() as u64;
        let packed = tokio::task::spawn_blocking(move || packing.packed(&globals));
        let packed = packed.await.context("pack the globals")?.context("pack the globals")?;
        objects.push(Stored {
            name: naming::globals(backup.compression, backup.is_encrypted()),
            size: packed.len() as u64,
            sha256: hex(&<sha2::Sha256 as sha2::Digest>::digest(&packed)),
            raw_size,
        });
        packed_globals = Some(packed);
    }
    options.sort();
    Ok(Dumped { objects, globals: packed_globals, options, rows })
}

/// Roles and tablespaces, as SQL.
async fn globals(dump: &Dump, env: &LibpqEnv) -> Result<Vec<u8>> {
    let args = pg_dump::globals_arguments(&dump.server);
    let conninfo = format!("--dbname={}", env.conninfo);
    let args = args.iter().map(String::as_str).chain([conninfo.as_str()]);
    let mut program = Program::start(&dump.tools.program("pg_dumpall"), args, env.variables(), Pipe::Out)?;
    let mut sql = Vec::new();
    let mut stdout = program.stdout()?.take(GLOBALS_MOST + 1);
    let give_up = Arc::clone(&program.give_up);
    let reading = async {
        let read = stdout.read_to_end(&mut sql).await;
        if stdout.limit() == 0 {
            // Nobody reads on, so that it would wait for ever.
            give_up.notify_one();
        }
        read
    };
    let (read, ended) = future::join(reading, program.finished()).await;
    if sql.len() as u64 > GLOBALS_MOST {
        bail!(
            "the globals are larger than {}: pg_dumpall wrote more than roles and tablespaces take; look at what it writes \
             (pg_dumpall --globals-only), or set `globals = false`",
            words::size(GLOBALS_MOST)
        );
    }
    ended.context("dump roles and tablespaces (`globals`)")?;
    read.context("read from pg_dumpall")?;
    if !ends_with(&sql[sql.len().saturating_sub(1024)..], GLOBALS_END) {
        bail!("dump roles and tablespaces: pg_dumpall did not write its end");
    }
    Ok(sql)
}

/// Clears away what dead runs have left, and begins the upload.
async fn begin(backup: &Backup, cx: &Context, dump: &Dump, live: &mut Live<'_>) {
    if !live.is_well() {
        return;
    }
    if let Err(error) = clear(cx, live).await {
        cx.report.warn(format!(
            "{}: what a dead run has left could not be cleared away: {}",
            live.target.place,
            explain(&error)
        ));
    }
    let name = naming::dump(backup.format(), backup.compression, backup.is_encrypted());
    let key = naming::folder(cx.job.as_str()).join(&dump.id).join(&name);
    let parts = Parts { size: dump.part_size, most: live.target.most_parts };
    match live.store.begin(&key, parts).await {
        Ok(upload) => live.upload = Some(upload),
        Err(error) => live.fail(error.context("begin the upload")),
    }
}

async fn clear(cx: &Context, live: &Live<'_>) -> Result<()> {
    let Target { leavings, stale, .. } = live.target;
    if let Some(warning) = &live.target.warning {
        cx.report.warn(format!("{}: {warning}", live.target.place));
    }
    for key in leavings {
        if let Deleted::Refused(why) = live.store.delete(key).await? {
            bail!("{why}");
        }
    }
    let stale = stale.clone();
    let swept = live.store.sweep_some(&naming::folder(cx.job.as_str()), cx.now, move |id| stale.is(id)).await?;
    if swept > 0 || !leavings.is_empty() {
        tracing::info!(job = %cx.job, store = live.target.store, uploads = swept, objects = leavings.len(), "cleared away what dead runs had left");
    }
    Ok(())
}

/// Takes back what did not become a backup. What cannot be taken back is swept by the next run.
async fn take_back(live: &mut [Live<'_>]) {
    let aborting = live.iter_mut().filter_map(|live| Some((live.target.store.as_str(), live.upload.take()?)));
    future::join_all(aborting.map(async |(store, upload)| {
        if let Err(error) = upload.abort(PATIENCE).await {
            tracing::warn!(store, "an upload that was given up is left for the next run to sweep: {}", explain(&error));
        }
    }))
    .await;
}

/// Why there is no backup at all.
fn nowhere(error: anyhow::Error, live: &[Live<'_>], dump: &Dump) -> anyhow::Error {
    if live.iter().any(Live::is_well) {
        return error.context(format!("dump {}", dump.server.database));
    }
    let why: Vec<_> = live
        .iter()
        .filter_map(|live| Some(format!("{}: {}", live.target.place, explain(live.failed.as_ref()?))))
        .collect();
    anyhow!("{}", why.join("; "))
}
