//! An export, back into a table.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, pin_mut};
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::content::Reader;
use super::copy::SETTINGS;
use super::find::Kept;
use super::manifest::{Export, TABLE};
use crate::kinds::backup::config::Compression;
use crate::kinds::backup::crypt::Lock;
use crate::kinds::backup::manifest::Stored;
use crate::kinds::backup::read::{Source, read};
use crate::pg::{Ident, TableName};
use crate::store::Store;

/// Makes the table as it was, and fills it: all of it, or nothing is left. The answer is how many rows it has.
///
/// # Errors
/// There is such a table already, the server refuses, or what is in the store is not what was written.
pub async fn load(client: &Client, store: &Store, kept: &Kept) -> Result<u64> {
    let sql = definition(store, kept).await?;
    client.batch_execute(&format!("BEGIN; {SETTINGS}; SET LOCAL search_path TO pg_catalog")).await?;
    let loaded = fill(client, store, kept, &sql).await;
    let end = if loaded.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = client.batch_execute(end).await;
    let rows = loaded?;
    ended.context("commit")?;
    Ok(rows)
}

fn source<'a>(store: &'a Store, kept: &Kept, object: &'a Stored, compression: Compression) -> Source<'a> {
    let (key, progress) = (kept.folder.join(&object.name), std::sync::Arc::default());
    Source { store, key, object, compression, lock: Lock::None, progress }
}

async fn definition(store: &Store, kept: &Kept) -> Result<String> {
    let Some(object) = kept.export.objects.iter().find(|object| object.name == TABLE) else {
        bail!("the manifest names no {TABLE}");
    };
    let mut sql = Vec::new();
    let taking = async |raw: &mut mpsc::Receiver<Bytes>| {
        while let Some(bytes) = raw.recv().await {
            sql.extend_from_slice(&bytes);
        }
        Ok(())
    };
    read(source(store, kept, object, Compression::None), taking).await.with_context(|| TABLE.to_string())?;
    String::from_utf8(sql).with_context(|| format!("{TABLE} is not in UTF-8"))
}

async fn fill(client: &Client, store: &Store, kept: &Kept, sql: &str) -> Result<u64> {
    let export = &kept.export;
    client.batch_execute(sql).await.with_context(|| format!("make table {}", export.partition))?;
    let Some(object) = export.objects.first() else { bail!("the manifest names no rows") };
    let compression: Compression = export.compression.parse().map_err(|error: String| anyhow::anyhow!(error))?;
    let sink = client.copy_in::<_, Bytes>(&copy(export)?).await.context("begin to fill it")?;
    pin_mut!(sink);
    let mut reader = Reader::default();
    let feeding = async |raw: &mut mpsc::Receiver<Bytes>| {
        while let Some(bytes) = raw.recv().await {
            reader.read(&bytes);
            sink.send(bytes).await.context("fill it")?;
        }
        Ok(())
    };
    read(source(store, kept, object, compression), feeding).await.with_context(|| object.name.clone())?;
    let rows = sink.finish().await.context("fill it")?;
    if reader.content() != Some(export.content) || rows != export.content.rows {
        bail!("{} does not hold the rows that were exported", object.name);
    }
    Ok(rows)
}

fn copy(export: &Export) -> Result<String> {
    let table: TableName = export.partition.parse().context("the manifest names no table")?;
    let names = export.columns.iter().map(|column| Ok(Ident::found(column.name.as_str())?.to_string()));
    Ok(format!("COPY {table} ({}) FROM STDIN", names.collect::<Result<Vec<_>>>()?.join(", ")))
}
