//! Whether a store can be used, tried with a small object.

use std::hash::{BuildHasher as _, RandomState};

use anyhow::Result;
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::{Deleted, Key, Kind, Located, Store};
use crate::run::Finding;

const CONTENT: &[u8] = b"Written by `pgtend check`, to see that backups can be. It may be deleted.\n";

impl Store {
    /// Writes, reads and deletes a small object whose name begins with `.pgtend-probe-`. That it cannot be deleted is an
    /// error only where something `deletes`, such as a backup with `keep`.
    pub async fn probe(&self, deletes: bool) -> Vec<Finding> {
        let key = key();
        if let Err(error) = self.put(&key, Bytes::from_static(CONTENT)).await {
            let mend = format!("let it write to {}", self.place());
            return vec![Finding::error(format!("{error:#}"), mend)];
        }
        let mut findings = Vec::new();
        match self.read_back(&key).await {
            Ok(true) => {}
            Ok(false) => findings.push(Finding::error(
                format!("store {}: what was read from {} is not what was written", self.name, self.place()),
                "do not keep backups there",
            )),
            Err(error) => findings.push(Finding::error(
                format!("{error:#}"),
                format!("let it read from {}: what cannot be read is not verified, and not restored", self.place()),
            )),
        }
        let refused = match self.delete(&key).await {
            Ok(Deleted::Gone | Deleted::Absent) => return findings,
            Ok(Deleted::Refused(words)) => format!("store {}: it does not delete: {words}", self.name),
            Err(error) => format!("{error:#}"),
        };
        findings.push(if deletes {
            Finding::error(
                refused,
                format!(
                    "something deletes there, such as a backup with `keep`: let it delete from {}, or take `keep` out",
                    self.place()
                ),
            )
        } else {
            Finding::warning(
                refused,
                format!(
                    "no backup has `keep` for this store, so none is deleted; what was tried with stays there, {key}"
                ),
            )
        });
        findings
    }

    /// Whether objects can be deleted that are somebody else's: nothing is written, since nothing else ever is.
    pub async fn probe_removal(&self) -> Vec<Finding> {
        let refused = match &self.kind {
            Kind::S3(_) => {
                // Of what is not there; it is refused like any other by a store that refuses.
                let object = Located::new(self.addresses.below_prefix(&key().to_string()));
                match self.remove(&object).await {
                    Ok(Deleted::Gone | Deleted::Absent) => return Vec::new(),
                    Ok(Deleted::Refused(words)) => format!("store {}: it does not delete: {words}", self.name),
                    Err(error) => format!("{error:#}"),
                }
            }
            // What may be deleted there is what may be made.
            Kind::Directory(directory) if directory.is_there() => return self.probe(true).await,
            Kind::Directory(_) => {
                let message = format!("store {}: there is no directory {}", self.name, self.place());
                return vec![Finding::error(message, "mount what should be there, or make it")];
            }
        };
        let mend = format!("rows with objects in it cannot go: let this daemon delete from {}", self.place());
        vec![Finding::error(refused, mend)]
    }

    async fn read_back(&self, key: &Key) -> Result<bool> {
        let chunks: Vec<Bytes> = self.get(key).await?.try_collect().await?;
        Ok(chunks.concat() == CONTENT)
    }
}

/// A name that nobody else uses.
fn key() -> Key {
    Key::hidden(&format!("pgtend-probe-{:016x}", RandomState::new().hash_one(std::process::id())))
}
