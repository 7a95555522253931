//! From a dump in the stores to a backup: complete, globals, manifest, and read back.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::future;
use serde_json::{Value, json};

use super::config::Backup;
use super::crypt::{AGE, Lock};
use super::dump::{Dumped, Live, Watch};
use super::manifest::{Filters, Manifest, VERSION, Verified};
use super::naming::{self, MANIFEST};
use super::plan::{self, Dump};
use super::verify::{verdict, verify, write_down};
use super::words;
use crate::kinds::{Applied, Context};
use crate::pg::explain;
use crate::store::Key;
use crate::testpoint;

/// # Errors
/// There is no good backup in any store.
pub async fn publish(
    backup: &Backup,
    cx: &Context,
    dump: &Dump,
    live: &mut [Live<'_>],
    dumped: Dumped,
    watch: Watch,
) -> Result<Applied> {
    testpoint::reach_in("backup.dumped", cx.job.as_str()).await;
    let folder = naming::folder(cx.job.as_str()).join(&dump.id);
    let manifest = manifest(backup, cx, dump, &dumped, watch);
    let (complete, globals) = (&manifest, dumped.globals.as_deref());
    let mut verified: Vec<Option<Verified>> = Vec::new();
    future::join_all(
        live.iter_mut().filter(|live| live.is_well()).map(|live| put(cx, &folder, live, complete, globals)),
    )
    .await;
    testpoint::reach_in("backup.complete", cx.job.as_str()).await;
    report(cx, live, &manifest, &vec![None; live.len()]);
    cx.report.lock().progress = Some("reading it back".into());
    let lock = Lock::of(&manifest, backup.identity_file()).await.map_err(|error| explain(&error));
    for live in &mut *live {
        let well = live.is_well();
        verified.push(if well { read_back(dump, &folder, live, &manifest, &lock, watch).await } else { None });
    }
    cx.report.lock().progress = None;
    report(cx, live, &manifest, &verified);
    warn(backup, cx, dump, live, &manifest);
    let failed: Vec<String> = live
        .iter()
        .filter_map(|live| Some(format!("{}: {}", live.target.place, explain(live.failed.as_ref()?))))
        .collect();
    match (failed.is_empty(), live.iter().any(Live::is_well)) {
        (true, _) => Ok(Applied::Done),
        (false, true) => Ok(Applied::Partly(failed.join("; "))),
        (false, false) => Err(anyhow::anyhow!("{}", failed.join("; "))),
    }
}

fn manifest(backup: &Backup, cx: &Context, dump: &Dump, dumped: &Dumped, watch: Watch) -> Manifest {
    let server = &dump.server;
    let plain = |tables: &[crate::pg::TableName]| tables.iter().map(crate::pg::TableName::plain).collect();
    let names = |schemas: &[crate::pg::Ident]| schemas.iter().map(|schema| schema.as_str().to_owned()).collect();
    Manifest {
        manifest_version: VERSION,
        id: dump.id.clone(),
        job: cx.job.to_string(),
        database: server.database.clone(),
        database_oid: server.database_oid,
        system_identifier: server.system_identifier.clone(),
        timeline: server.timeline,
        standby: server.standby,
        server_version: server.version.clone(),
        server_version_num: server.version_num,
        pg_dump_version: dump.tools.version.clone(),
        pgtend_version: env!("CARGO_PKG_VERSION").into(),
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        started_at: cx.now,
        finished_at: watch.time(),
        format: backup.format(),
        compression: backup.compression.to_string(),
        encryption: backup.is_encrypted().then(|| AGE.to_owned()),
        recipients: backup.recipients(),
        options: dumped.options.clone(),
        filters: Filters {
            schemas: names(&backup.schemas),
            exclude_schemas: names(&backup.exclude_schemas),
            tables: plain(&backup.tables),
            exclude_tables: plain(&backup.exclude_tables),
            exclude_table_data: plain(&backup.exclude_table_data),
        },
        extensions: server.extensions.clone(),
        locale: Some(server.locale.clone()),
        database_size: Some(server.size),
        role_passwords: dumped.globals.as_ref().map(|_| server.reads_passwords),
        row_counts: dumped.rows.clone(),
        objects: dumped.objects.clone(),
    }
}

/// The manifest last: with it the backup exists.
async fn put(cx: &Context, folder: &Key, live: &mut Live<'_>, manifest: &Manifest, globals: Option<&[u8]>) {
    let Some(upload) = live.upload.take() else { return };
    let size = manifest.dump().map_or(0, |dump| dump.size);
    let store = &live.store;
    let putting = async {
        upload.complete(size).await.context("complete the upload")?;
        if let (Some(globals), Some(object)) = (globals, manifest.objects.get(1)) {
            store.put(&folder.join(&object.name), globals.to_vec().into()).await.context("store the globals")?;
        }
        testpoint::reach_in("backup.completed", cx.job.as_str()).await;
        store.put(&folder.join(MANIFEST), manifest.bytes().into()).await.context("store the manifest")
    };
    live.failed = putting.await.err();
}

/// Reads the backup back from the store, and writes down how it was.
async fn read_back(
    dump: &Dump,
    folder: &Key,
    live: &mut Live<'_>,
    manifest: &Manifest,
    lock: &Result<Lock, String>,
    watch: Watch,
) -> Option<Verified> {
    let read = match lock {
        Ok(lock) => verify(&live.store, folder, manifest, lock, Some(&dump.tools), &Arc::default()).await,
        Err(why) => Err(anyhow::anyhow!("{why}")),
    };
    // A store that cannot be read just now says nothing of the backup.
    let verified = verdict(&manifest.id, watch.time(), &read);
    let written = match &verified {
        Some(verified) => write_down(&live.store, folder, verified).await,
        None => Ok(()),
    };
    live.failed = match (read, written) {
        (Err(error), _) => Some(error.context("the backup was written, and could not be verified")),
        (Ok(_), Err(error)) => Some(error.context("the backup is good, and that could not be written beside it")),
        (Ok(_), Ok(())) => None,
    };
    verified.filter(|_| live.is_well())
}

/// The fields of the report; the gauges are read from them, whoever runs the daemon by then.
fn report(cx: &Context, live: &[Live<'_>], manifest: &Manifest, verified: &[Option<Verified>]) {
    let Some(dump) = manifest.dump() else { return };
    let targets: Vec<Value> = live
        .iter()
        .zip(verified)
        .map(|(live, verified)| {
            let target = live.target;
            json!({
                "store": target.store, "place": target.place, "backup": manifest.id, "bytes": manifest.size(),
                "verified_at": verified.as_ref().map(|verified| verified.at),
                "verified": verified.as_ref().map(|verified| &verified.how),
                "size_ratio": plan::ratio(dump.size, &target.sizes),
                "backups": target.backups + usize::from(live.is_well()),
                "error": live.failed.as_ref().map(explain),
            })
        })
        .collect();
    let mut report = cx.report.lock();
    let fields = &mut report.fields;
    fields.insert("backup".into(), json!(manifest.id));
    fields.insert("bytes".into(), json!(manifest.size()));
    fields.insert("raw_bytes".into(), json!(manifest.objects.iter().map(|object| object.raw_size).sum::<u64>()));
    fields.insert("ratio".into(), json!(ratio(dump.raw_size, dump.size)));
    fields.insert("pg_dump".into(), json!(manifest.pg_dump_version));
    if let Some(rows) = &manifest.row_counts {
        fields.insert("tables_counted".into(), json!(rows.len()));
        fields.insert("rows_counted".into(), json!(rows.values().sum::<u64>()));
    }
    fields.insert("targets".into(), json!(targets));
}

/// How many times smaller it was packed; two digits after the point.
fn ratio(raw: u64, stored: u64) -> f64 {
    (raw as f64 / stored.max(1) as f64 * 100.0).round() / 100.0
}

fn warn(backup: &Backup, cx: &Context, dump: &Dump, live: &[Live<'_>], manifest: &Manifest) {
    if backup.globals && !dump.server.reads_passwords {
        cx.report.warn(
            "globals.sql has the roles without their passwords: the role may not read pg_authid, which takes a superuser or pg_read_all_data",
        );
    }
    let Some(stored) = manifest.dump() else { return };
    for live in live.iter().filter(|live| live.is_well()) {
        if let Some(ratio) = plan::ratio(stored.size, &live.target.sizes).filter(|ratio| *ratio < 0.5) {
            cx.report.warn(format!(
                "{}: the dump has {}, {:.0}% of what is usual here: look whether what should be in the database is",
                live.target.place,
                words::size(stored.size),
                ratio * 100.0
            ));
        }
    }
}
