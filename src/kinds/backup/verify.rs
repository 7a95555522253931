//! Reads a backup back from its store: the digest of what is stored, the checksums of the packing, and the whole archive
//! through `pg_restore`. Its table of contents alone would prove nothing: that stands at the beginning, and is whole in a
//! dump that was cut in half.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::{StreamExt as _, future};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::child::{Pipe, Program};
use super::config::{Compression, Format};
use super::manifest::{Manifest, Stored};
use super::naming;
use super::pipeline::compress::unpacked;
use super::pipeline::hex;
use crate::store::{Key, Store};

/// How the plain dump of a database ends, and that of the globals.
pub const DUMP_END: &str = "-- PostgreSQL database dump complete";
pub const GLOBALS_END: &str = "-- PostgreSQL database cluster dump complete";

const CHUNK: usize = 256 << 10;
const TAIL: usize = 1024;

/// Reads all objects of a backup. The answer is what was done, in words; `pg_restore` is the program.
///
/// # Errors
/// The store cannot be read, or what is there is not what was written.
pub async fn verify(
    store: &Store,
    folder: &Key,
    manifest: &Manifest,
    pg_restore: &Path,
    version: &str,
) -> Result<String> {
    let compression: Compression = manifest.compression.parse().map_err(|error: String| anyhow!(error))?;
    let dump = naming::dump(manifest.format, compression);
    if manifest.dump().is_none_or(|object| object.name != dump) {
        bail!("the manifest names no {dump}");
    }
    for object in &manifest.objects {
        let end = if object.name != dump {
            End::Marker(GLOBALS_END)
        } else if manifest.format == Format::Plain {
            End::Marker(DUMP_END)
        } else {
            End::Restore(pg_restore)
        };
        read_back(store, &folder.join(&object.name), object, compression, end)
            .await
            .with_context(|| format!("read back {}", object.name))?;
    }
    Ok(match manifest.format {
        Format::Plain => "size, digest, decompression, end marker".into(),
        _ => format!("size, digest, decompression, pg_restore {version}"),
    })
}

/// What shows that a dump is whole.
#[derive(Debug, Clone, Copy)]
enum End<'a> {
    Restore(&'a Path),
    Marker(&'static str),
}

/// What came out of an object.
struct Came {
    size: u64,
    raw_size: u64,
    sha256: String,
    tail: Vec<u8>,
    unpacked: io::Result<()>,
}

async fn read_back(store: &Store, key: &Key, object: &Stored, compression: Compression, end: End<'_>) -> Result<()> {
    let mut stored = store.get(key).await?;
    let (packed, to_unpack) = mpsc::channel::<Result<Bytes>>(4);
    let (out, mut raw) = mpsc::channel::<Bytes>(4);
    let unpacking = spawn_blocking(move || unpack(to_unpack, &out, compression));
    let fetching = async move {
        while let Some(chunk) = stored.next().await {
            let failed = chunk.is_err();
            if packed.send(chunk).await.is_err() || failed {
                return;
            }
        }
    };
    let using = async {
        match end {
            End::Restore(program) => restore(program, &mut raw).await,
            End::Marker(_) => {
                while raw.recv().await.is_some() {}
                Ok(())
            }
        }
    };
    let ((), used) = future::join(fetching, using).await;
    let read = unpacking.await.context("the unpacking was not finished")??;
    // From the outside in: the first of these that is wrong is the cause of the others.
    if read.size != object.size {
        bail!("it has {} bytes, and {} were written", read.size, object.size);
    }
    if read.sha256 != object.sha256 {
        bail!(
            "its SHA-256 is {}, and of what was written it was {}: the store has changed it",
            read.sha256,
            object.sha256
        );
    }
    read.unpacked.context("unpack it")?;
    used?;
    if read.raw_size != object.raw_size {
        bail!("unpacked it has {} bytes, and {} were packed", read.raw_size, object.raw_size);
    }
    match end {
        End::Marker(marker) if !ends_with(&read.tail, marker) => bail!("it does not end with {marker:?}"),
        _ => Ok(()),
    }
}

/// Whether the marker stands in the last lines: newer versions write a line after it.
pub fn ends_with(tail: &[u8], marker: &str) -> bool {
    String::from_utf8_lossy(tail).lines().rev().take(10).any(|line| line == marker)
}

/// Feeds an archive to `pg_restore`, which reads it to its end and writes it nowhere.
async fn restore(program: &Path, raw: &mut mpsc::Receiver<Bytes>) -> Result<()> {
    let args = ["--format=custom", "--file=/dev/null"];
    let mut pg_restore = Program::start(program, args, [], Pipe::In)?;
    let mut stdin = pg_restore.stdin()?;
    let feeding = async move {
        let mut takes = true;
        while let Some(chunk) = raw.recv().await {
            // One that ended early says why; the rest is read for the digest.
            takes = takes && stdin.write_all(&chunk).await.is_ok();
        }
        let _ = stdin.shutdown().await;
    };
    future::join(feeding, pg_restore.finished()).await.1
}

/// Fails only where the store could not be read: what it read may still be wrong.
fn unpack(packed: mpsc::Receiver<Result<Bytes>>, out: &mpsc::Sender<Bytes>, compression: Compression) -> Result<Came> {
    let digested = Digested { packed, chunk: Bytes::new(), digest: Sha256::new(), size: 0, failed: None };
    let shared = Shared(std::sync::Arc::new(std::sync::Mutex::new(digested)));
    let (mut raw_size, mut tail) = (0, Vec::new());
    let unpacked = (|| {
        let mut reader = unpacked(compression, shared.clone())?;
        loop {
            let mut chunk = vec![0; CHUNK];
            let n = reader.read(&mut chunk)?;
            if n == 0 {
                return Ok(());
            }
            chunk.truncate(n);
            raw_size += n as u64;
            tail.extend_from_slice(&chunk[n.saturating_sub(TAIL)..]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            if out.blocking_send(chunk.into()).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    })();
    // The digest is that of all that is stored, whatever the unpacking made of it.
    let mut rest = shared.clone();
    let _ = io::copy(&mut rest, &mut io::sink());
    let mut digested = shared.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = digested.failed.take() {
        return Err(error);
    }
    let sha256 = hex(&std::mem::take(&mut digested.digest).finalize());
    Ok(Came { size: digested.size, raw_size, sha256, tail, unpacked })
}

/// What comes from the store, digested as it is read.
struct Digested {
    packed: mpsc::Receiver<Result<Bytes>>,
    chunk: Bytes,
    digest: Sha256,
    size: u64,
    failed: Option<anyhow::Error>,
}

/// One reader for the unpacking and for what it leaves.
#[derive(Clone)]
struct Shared(std::sync::Arc<std::sync::Mutex<Digested>>);

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut this = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while this.chunk.is_empty() {
            match this.packed.blocking_recv() {
                None => return Ok(0),
                Some(Ok(chunk)) => {
                    this.digest.update(&chunk);
                    this.size += chunk.len() as u64;
                    this.chunk = chunk;
                }
                Some(Err(error)) => {
                    this.failed = Some(error);
                    return Err(io::Error::other("the store could not be read"));
                }
            }
        }
        let n = into.len().min(this.chunk.len());
        into[..n].copy_from_slice(&this.chunk.split_to(n));
        Ok(n)
    }
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
