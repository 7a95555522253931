//! Reads a backup back from its store: the digest of what is stored, the checksums of the packing, and the whole archive
//! through `pg_restore`. Its table of contents alone would prove nothing: that stands at the beginning, and is whole in a
//! dump that was cut in half.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use super::child::{Pipe, Program, complains};
use super::config::{Compression, Format};
use super::crypt::Lock;
use super::directory::unpack::beside;
use super::manifest::{Manifest, Stored, Verified};
use super::naming::{self, VERIFIED};
use super::pg_dump::Tools;
use super::read::{Progress, Source, Unfit, is_damage, is_unfit, read};
use crate::pg::explain;
use crate::store::{Key, Store};

/// How the plain dump of a database ends, and that of the globals.
pub const DUMP_END: &str = "-- PostgreSQL database dump complete";
pub const GLOBALS_END: &str = "-- PostgreSQL database cluster dump complete";

/// Reads all objects of a backup. The answer is what was done, in words. `tools` are needed for a dump that `pg_restore`
/// opens. Of what is encrypted, without an identity, only size and digest can be seen.
///
/// # Errors
/// The store cannot be read; or what is there is not what was written, or of no use, which [`is_damage`] tells.
pub async fn verify(
    store: &Store,
    folder: &Key,
    manifest: &Manifest,
    lock: &Lock,
    tools: Option<&Tools>,
    progress: &Arc<Progress>,
) -> Result<String> {
    let (dump, compression) = dump_of(manifest)?;
    for object in &manifest.objects {
        let key = folder.join(&object.name);
        let source = Source { store, key, object, compression, lock: lock.clone(), progress: Arc::clone(progress) };
        let end = if lock.is_closed() {
            End::Unseen
        } else if object.name != dump.name {
            End::Marker(GLOBALS_END)
        } else if manifest.format == Format::Plain {
            End::Marker(DUMP_END)
        } else {
            End::Restore(tools.context("there is no pg_restore to read it with")?, manifest.format)
        };
        read_back(source, end).await.map_err(|error| about(&object.name, error))?;
    }
    let decryption = match lock {
        Lock::None => "",
        Lock::With(..) => " decryption,",
        Lock::Closed => return Ok("size, digest; not decrypted, for want of an identity".into()),
    };
    Ok(match (manifest.format, tools) {
        (Format::Plain, _) | (_, None) => format!("size, digest,{decryption} decompression, end marker"),
        (_, Some(tools)) => format!("size, digest,{decryption} decompression, pg_restore {}", tools.version),
    })
}

/// The dump among the objects of a manifest, and how they are packed.
///
/// # Errors
/// The manifest does not fit together.
pub fn dump_of(manifest: &Manifest) -> Result<(&Stored, Compression)> {
    let compression: Compression = manifest.compression.parse().map_err(|error: String| anyhow!(error))?;
    let name = naming::dump(manifest.format, compression, manifest.encryption.is_some());
    match manifest.dump().filter(|object| object.name == name) {
        Some(dump) => Ok((dump, compression)),
        None => bail!("the manifest names no {name}"),
    }
}

/// The roles and tablespaces among the objects of a manifest.
///
/// # Errors
/// They were not dumped.
pub fn globals_of(manifest: &Manifest, compression: Compression) -> Result<&Stored> {
    let name = naming::globals(compression, manifest.encryption.is_some());
    let globals = manifest.objects.iter().find(|object| object.name == name);
    globals.context("the backup has no roles: its job has `globals = false`")
}

/// What `pg_restore` is told of an archive that it reads as a stream. A directory is in the stores as what it calls a tar.
pub const fn stream_format(format: Format) -> &'static str {
    match format {
        Format::Directory => "--format=tar",
        Format::Custom | Format::Plain => "--format=custom",
    }
}

/// Says which object it is about, and leaves damage what it is.
pub fn about(object: &str, error: anyhow::Error) -> anyhow::Error {
    error.context(format!("read back {object}"))
}

/// What a reading has shown, for `verified.json`; nothing where the store could not be read, which proves nothing.
pub fn verdict(id: &str, at: DateTime<Utc>, read: &Result<String>) -> Option<Verified> {
    let good = match read {
        Ok(_) => true,
        Err(error) if is_damage(error) => false,
        Err(_) => return None,
    };
    let how = read.as_ref().ok().cloned().unwrap_or_default();
    let intact = read.as_ref().is_err_and(is_unfit);
    Some(Verified { id: id.into(), at, good, how, error: read.as_ref().err().map(explain), intact })
}

/// Writes beside the backup how it was.
///
/// # Errors
/// The store refuses.
pub async fn write_down(store: &Store, folder: &Key, verified: &Verified) -> Result<()> {
    store.put(&folder.join(VERIFIED), verified.bytes().into()).await
}

/// What shows that a dump is whole.
#[derive(Debug, Clone, Copy)]
enum End<'a> {
    Restore(&'a Tools, Format),
    Marker(&'static str),
    /// Nothing: it cannot be opened.
    Unseen,
}

async fn read_back(source: Source<'_>, end: End<'_>) -> Result<()> {
    let tail = read(source, async |raw| match end {
        End::Restore(tools, Format::Directory) => {
            beside(raw, async |raw| restore(tools, Format::Directory, raw).await).await
        }
        End::Restore(tools, format) => restore(tools, format, raw).await,
        End::Marker(_) | End::Unseen => Ok(()),
    })
    .await?;
    match end {
        End::Marker(marker) if !ends_with(&tail, marker) => {
            Err(Unfit(format!("it does not end with {marker:?}")).into())
        }
        _ => Ok(()),
    }
}

/// Whether the marker stands in the last lines: newer versions write a line after it.
pub fn ends_with(tail: &[u8], marker: &str) -> bool {
    String::from_utf8_lossy(tail).lines().rev().take(10).any(|line| line == marker)
}

/// Feeds an archive to `pg_restore`, which reads it to its end and writes it nowhere.
async fn restore(tools: &Tools, format: Format, raw: &mut mpsc::Receiver<Bytes>) -> Result<()> {
    let args = [stream_format(format), "--file=/dev/null"];
    let mut pg_restore = Program::start(&tools.program("pg_restore"), args, [], Pipe::In)?;
    let mut stdin = pg_restore.stdin()?;
    let feeding = async move {
        let mut takes = true;
        while let Some(chunk) = raw.recv().await {
            // One that ended early says why; the rest is read for the digest.
            takes = takes && stdin.write_all(&chunk).await.is_ok();
        }
        let _ = stdin.shutdown().await;
    };
    let ended = future::join(feeding, pg_restore.finished()).await.1;
    // One that was killed, or had no memory, says nothing of what it was given.
    ended.map_err(|error| if complains(&error) { Unfit(explain(&error)).into() } else { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_may_have_a_line_after_it() {
        assert!(ends_with(b"x\n--\n-- PostgreSQL database dump complete\n--\n\n", DUMP_END));
        assert!(ends_with(b"-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n", DUMP_END));
        assert!(!ends_with(b"COPY x FROM stdin;\n-- PostgreSQL database dump comp", DUMP_END));
        assert!(!ends_with(b"", DUMP_END));
    }
}
