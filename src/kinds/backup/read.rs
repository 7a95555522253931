//! An object of a backup on its way out of a store: digested, unpacked, and handed on while it comes. What it was handed on
//! to must wait for the verdict, which is known only at its end.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::config::Compression;
use super::manifest::Stored;
use super::pipeline::compress::unpacked;
use super::pipeline::hex;
use crate::store::{Key, Store};
use crate::testpoint;

const CHUNK: usize = 256 << 10;
const TAIL: usize = 1024;
/// An object of so many bytes is read to its end also when that is of no use any more: it may show why.
const SMALL: u64 = 256 << 20;

/// What is in the store is not what was written there; in words that follow the object's name. A store that could not be
/// read is another error: of the object nothing is known then.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub String);

/// Whether the error shows a backup to be damaged.
pub fn is_damage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Damage>().is_some()
}

/// How far it is; read by whoever tells people.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes from the store.
    pub read: AtomicU64,
}

/// An object, and how it was packed.
#[derive(Clone)]
pub struct Source<'a> {
    pub store: &'a Store,
    pub key: Key,
    pub object: &'a Stored,
    pub compression: Compression,
    pub progress: Arc<Progress>,
}

/// What came out of an object.
struct Came {
    size: u64,
    raw_size: u64,
    sha256: String,
    tail: Vec<u8>,
    unpacked: io::Result<()>,
}

/// Hands the object to `using`, unpacked, and says by its digest whether it is what was written; its last bytes are the
/// answer. Where `using` fails before it has taken all of a large one, the rest is not read: what it says is the reason.
///
/// # Errors
/// The store cannot be read, `using` failed, or there is [`Damage`].
pub async fn read(
    source: Source<'_>,
    using: impl AsyncFnOnce(&mut mpsc::Receiver<Bytes>) -> Result<()>,
) -> Result<Vec<u8>> {
    // Boxed: the whole path from a command to a store is a large thing to carry about.
    Box::pin(read_through(source, using)).await
}

async fn read_through(
    source: Source<'_>,
    using: impl AsyncFnOnce(&mut mpsc::Receiver<Bytes>) -> Result<()>,
) -> Result<Vec<u8>> {
    let Source { store, key, object, compression, progress } = source;
    let mut stored = match store.get(&key).await {
        Ok(stored) => stored,
        Err(error) => match store.size(&key).await {
            Ok(None) => return Err(Damage("it is not there".into()).into()),
            _ => return Err(error),
        },
    };
    let (packed, to_unpack) = mpsc::channel::<Result<Bytes>>(4);
    let (out, mut raw) = mpsc::channel::<Bytes>(4);
    let unpacking = spawn_blocking(move || unpack(to_unpack, &out, compression));
    let fetching = async move {
        while let Some(chunk) = stored.next().await {
            testpoint::reach("backup.reading").await;
            let failed = chunk.is_err();
            if let Ok(bytes) = &chunk {
                progress.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            if packed.send(chunk).await.is_err() || failed {
                return;
            }
        }
    };
    let using = async {
        let used = using(&mut raw).await;
        // Of all that there is, the digest has more to say of why it failed.
        let early = used.is_err() && object.size > SMALL && !(raw.is_closed() && raw.is_empty());
        // Also where not all of it was wanted.
        while !early && raw.recv().await.is_some() {}
        (used, early)
    };
    let (used, early) = {
        tokio::pin!(fetching);
        tokio::pin!(using);
        tokio::select! {
            (used, early) = &mut using => {
                if !early {
                    fetching.await;
                }
                (used, early)
            }
            () = &mut fetching => using.await,
        }
    };
    if early {
        // The thread ends by itself: nothing comes any more.
        return used.map(|()| Vec::new());
    }
    let came = unpacking.await.context("the unpacking was not finished")??;
    came.is(object)?;
    came.unpacked.map_err(|error| Damage(format!("it cannot be unpacked: {error}")))?;
    used?;
    if came.raw_size != object.raw_size {
        let words = format!("unpacked it has {} bytes, and {} were packed", came.raw_size, object.raw_size);
        bail!(Damage(words));
    }
    Ok(came.tail)
}

impl Came {
    /// From the outside in: the first of these that is wrong is the cause of the others.
    fn is(&self, object: &Stored) -> Result<(), Damage> {
        if self.size != object.size {
            return Err(Damage(format!("it has {} bytes, and {} were written", self.size, object.size)));
        }
        if self.sha256 != object.sha256 {
            return Err(Damage(format!(
                "its SHA-256 is {}, and of what was written it was {}: the store has changed it",
                self.sha256, object.sha256
            )));
        }
        Ok(())
    }
}

/// Fails only where the store could not be read: what it read may still be wrong.
fn unpack(packed: mpsc::Receiver<Result<Bytes>>, out: &mpsc::Sender<Bytes>, compression: Compression) -> Result<Came> {
    let digested = Digested { packed, chunk: Bytes::new(), digest: Sha256::new(), size: 0, failed: None };
    let shared = Shared(Arc::new(Mutex::new(digested)));
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
    let mut digested = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
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
struct Shared(Arc<Mutex<Digested>>);

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut this = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
