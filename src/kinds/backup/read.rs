//! An object of a backup on its way out of a store: digested, unpacked, and handed on while it comes. What it was handed on
//! to must wait for the verdict, which is known only at its end.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::config::Compression;
use super::crypt::{self, Lock, WrongKey};
use super::manifest::Stored;
use super::pipeline::compress::unpacked;
use crate::hex::hex;
use crate::pg::explain;
use crate::store::{Key, Store};
use crate::testpoint;

const CHUNK: usize = 256 << 10;
const TAIL: usize = 1024;
/// The header of an encrypted object has about a hundred bytes a key.
const HEAD: usize = 64 << 10;
/// An object of so many bytes is read to its end also when that is of no use any more: it may show why.
const SMALL: u64 = 256 << 20;

/// What is in the store is not what was written there; in words that follow the object's name. A store that could not be
/// read is another error: of the object nothing is known then.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub String);

/// What is in the store is what was written there, and that is of no use; in words that follow the object's name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

/// Whether the error shows a backup to be of no use.
pub fn is_damage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Damage>().is_some() || is_unfit(error)
}

/// Whether it does so, though the bytes are those that were written.
pub fn is_unfit(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unfit>().is_some()
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
    pub lock: Lock,
    pub progress: Arc<Progress>,
}

/// What came out of an object.
struct Came {
    size: u64,
    /// Nothing where it could not be opened.
    raw_size: Option<u64>,
    sha256: String,
    tail: Vec<u8>,
    unpacked: io::Result<()>,
}

/// Hands the object to `using`, unpacked, and says by its digest whether it is what was written; its last bytes are the
/// answer. What is encrypted, with nothing to open it, is digested only. Where `using` fails before it has taken all of a large one, the rest is not read: what it says is the reason.
///
/// # Errors
/// The store cannot be read, `using` failed, or there is [`Damage`]; [`Unfit`] only where the digest is right.
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
    let Source { store, key, object, compression, lock, progress } = source;
    let mut stored = get(store, &key).await?;
    let (packed, to_unpack) = mpsc::channel::<Result<Bytes>>(4);
    let (out, mut raw) = mpsc::channel::<Bytes>(4);
    let opening = lock.clone();
    let unpacking = spawn_blocking(move || unpack(to_unpack, &out, compression, &opening));
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
        // The thread ends by itself: nothing comes any more. What the digest would have been is not known.
        let unknown = |error: anyhow::Error| if is_unfit(&error) { Damage(explain(&error)).into() } else { error };
        return used.map(|()| Vec::new()).map_err(unknown);
    }
    let came = unpacking.await.context("the unpacking was not finished")??;
    came.is(object)?;
    if let Err(error) = came.unpacked {
        // What is stored is what was written, and no less good for a key that is another one's.
        if error.get_ref().is_some_and(|inner| inner.is::<WrongKey>()) {
            return Err(lock.wrong_key());
        }
        bail!(Unfit(format!("it cannot be unpacked: {error}")));
    }
    used?;
    if let Some(raw_size) = came.raw_size.filter(|size| *size != object.raw_size) {
        bail!(Unfit(format!("unpacked it has {raw_size} bytes, and {} were packed", object.raw_size)));
    }
    Ok(came.tail)
}

/// Reads the beginning of an encrypted object, and says whether it can be opened: before a file is written, or a database
/// made. What is damaged there is told by [`read`].
///
/// # Errors
/// It is encrypted and there is nothing to open it with, or only the wrong keys; or the store cannot be read.
pub async fn try_key(source: &Source<'_>) -> Result<()> {
    let identities = match &source.lock {
        Lock::None => return Ok(()),
        Lock::Closed => return Err(source.lock.wrong_key()),
        Lock::With(identities, _) => identities,
    };
    let mut stored = get(source.store, &source.key).await?;
    let mut head = Vec::new();
    while head.len() < HEAD {
        let Some(chunk) = stored.next().await else { break };
        head.extend_from_slice(&chunk?);
    }
    if identities.open(&head) == Some(false) { Err(source.lock.wrong_key()) } else { Ok(()) }
}

async fn get(store: &Store, key: &Key) -> Result<BoxStream<'static, Result<Bytes>>> {
    match store.get(key).await {
        Ok(stored) => Ok(stored),
        Err(error) => match store.size(key).await {
            Ok(None) => Err(Damage("it is not there".into()).into()),
            _ => Err(error),
        },
    }
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
fn unpack(
    packed: mpsc::Receiver<Result<Bytes>>,
    out: &mpsc::Sender<Bytes>,
    compression: Compression,
    lock: &Lock,
) -> Result<Came> {
    let digested = Digested { packed, chunk: Bytes::new(), digest: Sha256::new(), size: 0, failed: None };
    let shared = Shared(Arc::new(Mutex::new(digested)));
    let (mut raw_size, mut tail) = (0, Vec::new());
    let unpacked = (|| {
        let mut reader = match lock {
            Lock::None => unpacked(compression, shared.clone())?,
            Lock::With(identities, _) => unpacked(compression, crypt::decrypt(identities, shared.clone())?)?,
            Lock::Closed => return Ok(()),
        };
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
    let raw_size = (!lock.is_closed()).then_some(raw_size);
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
