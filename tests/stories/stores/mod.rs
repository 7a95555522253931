//! Where backups are kept: every store keeps the same contract, and what goes wrong on the way to it comes out right, or is
//! told.

mod aborting;
mod checking;
mod completing;
mod contract;
mod directory;
mod reading;
mod refused;
mod uploading;

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use pgtend::store::{Key, Parts, Store};

const MIB: usize = 1 << 20;
/// The least an S3 store takes.
const PART: usize = 5 * MIB;
const PARTS: Parts = Parts { size: PART, most: 10_000 };

fn key(text: &str) -> Key {
    Key::parse(text).unwrap_or_else(|| panic!("{text:?} is no key"))
}

/// Bytes that are different everywhere.
fn bytes(length: usize) -> Bytes {
    let mut seed = length as u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Uploads an object, all parts at once, the last one first.
async fn upload(store: &Store, key: &Key, parts: Parts, whole: &Bytes) -> Result<()> {
    let upload = store.begin(key, parts).await?;
    let pieces = (1..).zip((0..whole.len()).step_by(parts.size)).map(|(number, start)| {
        let piece = whole.slice(start..whole.len().min(start + parts.size));
        upload.part(number, piece)
    });
    let sent = futures_util::future::try_join_all(pieces.collect::<Vec<_>>().into_iter().rev()).await;
    match sent {
        Ok(_) => upload.complete(whole.len() as u64).await,
        Err(error) => {
            upload.abort(std::time::Duration::from_secs(60)).await?;
            Err(error)
        }
    }
}

async fn read(store: &Store, key: &Key) -> Result<Bytes> {
    let chunks: Vec<Bytes> = store.get(key).await?.try_collect().await?;
    Ok(chunks.concat().into())
}

/// What an error says, all of it.
fn said(result: Result<impl Sized>) -> String {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => format!("{error:#}"),
    }
}
