//! From a table to a store: rows, definition, manifest; then read back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::content::{Content, Reader};
use super::copy::{self, Column};
use super::manifest::{self, Export, ROWS, TABLE, VERSION};
use super::{Exported, Proof, definition, find, report};
use crate::hex::hex;
use crate::kinds::Context;
use crate::kinds::backup::config::Compression;
use crate::kinds::backup::crypt::Lock;
use crate::kinds::backup::manifest::{Stored, Verified};
use crate::kinds::backup::naming::{self, MANIFEST, VERIFIED};
use crate::kinds::backup::pipeline::{self, Outlet, Poured};
use crate::kinds::backup::read::{self, Source};
use crate::kinds::backup::survey::Server;
use crate::kinds::retention::partitions::facts::Going;
use crate::pg::{Session, explain};
use crate::store::{Key, Store, Upload};
use crate::testpoint;

const COMPRESSION: Compression = Compression::Zstd(1);
/// How long the store is waited for when an upload is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// # Errors
/// The export is not in the store, or is not what was read.
pub async fn write(
    cx: &Context,
    session: &Session,
    going: &Going,
    store: &Arc<Store>,
    server: &Server,
) -> Result<Exported> {
    let (job, partition) = (cx.job.as_str(), going.leaf.plain());
    let began = Instant::now();
    // The database's time, as it passes.
    let now = || -> DateTime<Utc> { cx.now + TimeDelta::from_std(began.elapsed()).unwrap_or_default() };
    let there = find::look(store, job, &partition).await?;
    if let Err(error) = clear(cx, store).await {
        // It is in nobody's way.
        tracing::info!("what exports left unfinished stays: {}", explain(&error));
    }
    let all = manifest::folder(job, &partition);
    let id = naming::id(cx.now, None, &there.taken);
    let folder = all.join(&id);
    let columns = copy::columns(session, going.oid).await?;
    let constraints = definition::constraints(session, going).await?;
    let table = definition::written(going, &columns, &constraints, ROWS)?;

    let parts = store.parts(going.bytes.unwrap_or_default());
    let upload = store.begin(&folder.join(ROWS), parts).await.context("begin the upload")?;
    let poured = tokio::select! {
        poured = pour(cx, session, going, &columns, &upload, parts.size, store) => poured,
        reason = cx.stop.requested_at_last() => {
            give_up(upload).await;
            return Ok(Exported::Stopped(reason));
        }
    };
    let (poured, content) = match poured {
        Ok(poured) => poured,
        Err(error) => {
            give_up(upload).await;
            return Err(error.context("export it"));
        }
    };
    upload.complete(poured.stored).await.context("complete the upload")?;
    testpoint::reach("export.rows").await;
    let export = Export {
        export_version: VERSION,
        id: id.clone(),
        job: cx.job.to_string(),
        database: server.database.clone(),
        database_oid: server.database_oid,
        system_identifier: server.system_identifier.clone(),
        server_version: server.version.clone(),
        pgtend_version: env!("CARGO_PKG_VERSION").into(),
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        table: going.table.plain(),
        partition,
        partition_oid: going.oid,
        bound: going.bound.clone(),
        from: going.from,
        to: going.to,
        started_at: cx.now,
        finished_at: now(),
        columns,
        content,
        compression: COMPRESSION.to_string(),
        objects: vec![
            Stored { name: ROWS.into(), size: poured.stored, sha256: poured.sha256, raw_size: poured.raw },
            Stored {
                name: TABLE.into(),
                size: table.len() as u64,
                sha256: hex(&Sha256::digest(table.as_bytes())),
                raw_size: table.len() as u64,
            },
        ],
    };
    store.put(&folder.join(TABLE), table.into()).await.context("store its definition")?;
    store.put(&folder.join(MANIFEST), export.bytes().into()).await.context("store the manifest")?;
    testpoint::reach("export.written").await;
    let read = tokio::select! {
        read = read_back(store, &folder, &export) => read,
        reason = cx.stop.requested_at_last() => return Ok(Exported::Stopped(reason)),
    };
    let verified = Verified {
        id,
        at: now(),
        good: read.is_ok(),
        how: "size, digest, decompression, every row".into(),
        error: read.as_ref().err().map(explain),
        intact: false,
    };
    let written = store.put(&folder.join(VERIFIED), verified.bytes().into()).await;
    read.context("it was exported, and the export could not be read back as it was written")?;
    written.context("it was exported and read back, and that could not be written beside it")?;
    testpoint::reach("export.verified").await;
    let place = format!("{}/{folder}", store.place());
    report(cx, going, &place, &export);
    Ok(Exported::Good(Proof { place, content }))
}

/// Clears away what exports of this job have left that are over: a database with a job of the same name may share its folder,
/// and be at work, for as long as a run may take.
async fn clear(cx: &Context, store: &Store) -> Result<()> {
    let time = TimeDelta::from_std(cx.timeout).ok().and_then(|time| time.checked_add(&TimeDelta::hours(1)));
    let Some(before) = time.and_then(|time| cx.now.checked_sub_signed(time)) else { return Ok(()) };
    for key in find::leavings(store, cx.job.as_str(), before).await? {
        store.delete(&key).await?;
    }
    let is_over = move |id: &str| find::is_over(id, before);
    store.sweep_some(&manifest::exports(cx.job.as_str()), cx.now, is_over).await?;
    Ok(())
}

/// The rows, on their way to the store; what they come to is found out as they pass.
async fn pour(
    cx: &Context,
    session: &Session,
    going: &Going,
    columns: &[Column],
    upload: &Upload,
    part_size: usize,
    store: &Store,
) -> Result<(Poured, Content)> {
    let rows = copy::begin(session, going, columns).await?;
    let reader = Arc::new(Mutex::new(Reader::default()));
    let passing = Arc::clone(&reader);
    let rows = rows.map(move |bytes| {
        bytes.map_err(std::io::Error::other).inspect(|bytes: &Bytes| {
            passing.lock().unwrap_or_else(PoisonError::into_inner).read(bytes);
        })
    });
    let outlet = Outlet { upload, in_flight: store.parts_in_flight() };
    let progress = Arc::default();
    let source = StreamReader::new(Box::pin(rows));
    let (poured, outcomes) =
        pipeline::pour(source, COMPRESSION, part_size, &[outlet], &progress, cx.job.as_str()).await;
    for outcome in outcomes {
        outcome?;
    }
    let poured = poured?;
    copy::end(session).await?;
    let reader = std::mem::take(&mut *reader.lock().unwrap_or_else(PoisonError::into_inner));
    let Some(content) = reader.content() else { bail!("its last row has no end") };
    Ok((poured, content))
}

async fn give_up(upload: Upload) {
    if let Err(error) = upload.abort(PATIENCE).await {
        tracing::info!("an upload could not be taken back, and is left to the next sweep: {}", explain(&error));
    }
}

/// Every object to its end, and every row.
async fn read_back(store: &Store, folder: &Key, export: &Export) -> Result<()> {
    for object in &export.objects {
        let is_rows = object.name == ROWS;
        let source = Source {
            store,
            key: folder.join(&object.name),
            object,
            compression: if is_rows { COMPRESSION } else { Compression::None },
            lock: Lock::None,
            progress: Arc::default(),
        };
        let mut reader = Reader::default();
        let reading = async |raw: &mut mpsc::Receiver<Bytes>| {
            while let Some(bytes) = raw.recv().await {
                if is_rows {
                    reader.read(&bytes);
                }
            }
            Ok(())
        };
        read::read(source, reading).await.with_context(|| format!("read back {}", object.name))?;
        if is_rows && reader.content() != Some(export.content) {
            bail!("{} does not hold the rows that were read", object.name);
        }
    }
    Ok(())
}
