//! From the pipe of `pg_dump` to the stores: pack, encrypt, cut into parts, digest, send to all of them at once.
//!
//! ```text
//! pipe -> packing, encrypting, a thread -> parts -+-> digest, a thread
//!                                                 +-> first store, several parts at once
//!                                                 +-> second store …
//! ```
//!
//! A part exists once, whoever is busy with it. There are never more of them than the busiest store wants at once, and one
//! being filled: a slow store slows the dump and fills no memory.

pub mod compress;
mod gzip;
mod parts;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::compress::Packer;
use self::parts::Cutter;
use super::config::Compression;
use super::crypt::{PublicKey, Sealer};
use crate::hex::hex;
use crate::store::Upload;
use crate::testpoint;

/// What the rest takes: the packer, the pipe, blocks on their way to it.
pub const OVERHEAD: u64 = 32 << 20;
/// Read from the pipe at once.
const CHUNK: usize = 256 << 10;
/// So much of the end is kept, to look for the marker of a plain dump.
const TAIL: usize = 1024;

/// What the dump takes at most, in bytes, with parts of this size, so many of them on their way at once.
pub fn memory(part_size: usize, in_flight: usize) -> u64 {
    (in_flight as u64 + 1) * part_size as u64 + OVERHEAD
}

/// What becomes of the bytes before they are stored.
#[derive(Debug, Clone)]
pub struct Packing {
    pub compression: Compression,
    /// To whom they are encrypted; without any they are not.
    pub keys: Vec<PublicKey>,
}

impl From<Compression> for Packing {
    fn from(compression: Compression) -> Self {
        Self { compression, keys: Vec::new() }
    }
}

impl Packing {
    fn writer<W: Write>(&self, inner: W) -> io::Result<Packer<Sealer<W>>> {
        Packer::new(self.compression, Sealer::new(&self.keys, inner)?)
    }

    /// Packs what is small.
    ///
    /// # Errors
    /// No thread or no memory for it.
    pub fn packed(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut writer = self.writer(Vec::new())?;
        writer.write_all(bytes)?;
        writer.finish()?.finish()
    }
}

/// Where the parts go.
#[derive(Debug, Clone, Copy)]
pub struct Outlet<'a> {
    pub upload: &'a Upload,
    pub in_flight: usize,
}

/// How far it is; read by whoever tells people.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes from `pg_dump`.
    pub raw: AtomicU64,
    /// Bytes of finished parts.
    pub stored: AtomicU64,
}

/// What has gone through.
#[derive(Debug)]
pub struct Poured {
    pub raw: u64,
    pub stored: u64,
    /// Of what is stored, in hexadecimal digits.
    pub sha256: String,
    /// The first bytes, and the last, before packing.
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
}

/// A part, and the right to be there.
#[derive(Clone)]
struct Part {
    number: u32,
    bytes: Bytes,
    _place: Arc<OwnedSemaphorePermit>,
}

/// Reads `source` to its end, and sends it to all of `outlets`. How each of them fared is in the second answer; the first
/// fails where none is left, or the source cannot be read. Dropping it ends all that it began.
///
/// # Errors
/// See above.
pub async fn pour(
    mut source: impl AsyncRead + Unpin,
    packing: impl Into<Packing>,
    part_size: usize,
    outlets: &[Outlet<'_>],
    progress: &Arc<Progress>,
    job: &str,
) -> (Result<Poured>, Vec<Result<()>>) {
    let (raw, to_pack) = mpsc::channel::<Bytes>(4);
    let (packed, parts) = mpsc::channel::<Part>(1);
    let (to_digest, digested) = std::sync::mpsc::channel::<Part>();
    let (handle, counter) = (Handle::current(), Arc::clone(progress));
    let places = outlets.iter().map(|outlet| outlet.in_flight).max().unwrap_or(1);
    let places = Arc::new(Semaphore::new(places));
    let how = packing.into();
    let packing = thread("pack", move || pack(to_pack, packed, &places, &handle, &how, part_size, &counter));
    let digesting = thread("digest", move || {
        let mut digest = Sha256::new();
        for part in digested {
            digest.update(&part.bytes);
        }
        hex(&digest.finalize())
    });
    let reading = read(&mut source, raw, progress, job);
    let (read, outcomes) = future::join(reading, deliver(parts, to_digest, outlets)).await;
    let stored = async { packing?.await.context("the packing was not finished")?.context("pack the dump") }.await;
    let sha256 = async { digesting?.await.context("the digest was not finished") }.await;
    let poured = match (read, stored) {
        (Err(error), _) => Err(error),
        // Nobody takes it: why is each store's own to say.
        (_, Err(_)) if outcomes.iter().all(Result::is_err) => Err(anyhow!("no store takes it any more")),
        (_, Err(error)) => Err(error),
        (Ok((raw, head, tail)), Ok(stored)) => sha256.map(|sha256| Poured { raw, stored, sha256, head, tail }),
    };
    (poured, outcomes)
}

/// Work for as long as the dump takes, on a thread whose name `top -H` shows. Whoever drops the answer does not end it:
/// it ends with its input.
///
/// # Errors
/// No thread can be started.
pub fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>> {
    let (answer, answered) = oneshot::channel();
    let work = move || drop(answer.send(work()));
    std::thread::Builder::new().name(name.into()).spawn(work).with_context(|| format!("start the thread {name}"))?;
    Ok(answered)
}

/// Gives the number of bytes, the first of them and the last.
async fn read(
    source: &mut (impl AsyncRead + Unpin),
    to_pack: mpsc::Sender<Bytes>,
    progress: &Progress,
    job: &str,
) -> Result<(u64, Vec<u8>, Vec<u8>)> {
    let (mut total, mut head, mut tail) = (0, Vec::new(), Vec::new());
    loop {
        let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
        // A pipe gives 64 KiB at most; a few of them make a chunk worth handing on.
        while chunk.len() < CHUNK && source.read_buf(&mut chunk).await.context("read what is to be stored")? > 0 {}
        if chunk.is_empty() {
            return Ok((total, head, tail));
        }
        if total == 0 {
            testpoint::reach_in("backup.dumping", job).await;
            head = chunk[..chunk.len().min(16)].to_vec();
        }
        if total < 4 << 20 && total + chunk.len() as u64 >= 4 << 20 {
            testpoint::reach_in("backup.middle", job).await;
        }
        total += chunk.len() as u64;
        testpoint::reach_nth("backup.chunk", total / CHUNK as u64, job).await;
        progress.raw.store(total, Ordering::Relaxed);
        tail.extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        if to_pack.send(chunk.freeze()).await.is_err() {
            // Why is known to those who take it.
            return Ok((total, head, tail));
        }
    }
}

/// Gives the bytes of all parts.
fn pack(
    mut raw: mpsc::Receiver<Bytes>,
    parts: mpsc::Sender<Part>,
    places: &Arc<Semaphore>,
    handle: &Handle,
    packing: &Packing,
    part_size: usize,
    progress: &Progress,
) -> io::Result<u64> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let cutter = Cutter::new(part_size, |number, bytes: Vec<u8>| {
        let place = handle.block_on(Arc::clone(places).acquire_owned()).map_err(|_| gone())?;
        progress.stored.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let part = Part { number, bytes: bytes.into(), _place: Arc::new(place) };
        parts.blocking_send(part).map_err(|_| gone())
    });
    let mut writer = packing.writer(cutter)?;
    while let Some(chunk) = raw.blocking_recv() {
        writer.write_all(&chunk)?;
    }
    writer.finish()?.finish()?.finish()
}

/// Sends each part to the digest and to all stores; one that fails gets no more.
async fn deliver(
    mut parts: mpsc::Receiver<Part>,
    to_digest: std::sync::mpsc::Sender<Part>,
    outlets: &[Outlet<'_>],
) -> Vec<Result<()>> {
    let (senders, sending): (Vec<_>, Vec<_>) = outlets
        .iter()
        .map(|outlet| {
            let (sender, receiver) = mpsc::unbounded_channel::<Part>();
            (sender, send_all(*outlet, receiver))
        })
        .unzip();
    let handing_out = async move {
        while let Some(part) = parts.recv().await {
            let _ = to_digest.send(part.clone());
            let mut taken = false;
            for sender in &senders {
                taken |= sender.send(part.clone()).is_ok();
            }
            if !taken {
                return;
            }
        }
    };
    future::join(handing_out, future::join_all(sending)).await.1
}

async fn send_all(Outlet { upload, in_flight }: Outlet<'_>, parts: mpsc::UnboundedReceiver<Part>) -> Result<()> {
    stream::unfold(parts, async |mut parts| parts.recv().await.map(|part| (part, parts)))
        .map(Ok)
        .try_for_each_concurrent(in_flight, async |part: Part| upload.part(part.number, part.bytes).await)
        .await
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
