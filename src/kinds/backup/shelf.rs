//! What a store has of a job's backups. A backup without a manifest does not exist; what lies there without one is leavings.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;

use super::manifest::{Identity, Manifest, Restored, Verified};
use super::naming::{self, MANIFEST, RESTORED, VERIFIED};
use crate::pg::explain;
use crate::store::{Key, Store};

/// Manifests read at once.
const AT_ONCE: usize = 8;
/// A manifest is a few kB, or with the rows of very many tables a few MB; what is larger is none of ours.
const LARGEST: usize = 64 << 20;

/// A backup that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub manifest: Manifest,
    pub verified: Option<Verified>,
    /// When it was last restored, and was whole.
    pub restored: Option<Restored>,
}

impl Kept {
    pub fn is_verified(&self) -> bool {
        self.verified.as_ref().is_some_and(|verified| verified.good)
    }

    /// It was read back, and was not good.
    pub fn is_damaged(&self) -> bool {
        self.verified.as_ref().is_some_and(|verified| !verified.good)
    }

    /// What is stored was what had been written, whatever else was wrong when it was read back.
    pub fn is_intact(&self) -> bool {
        self.verified.as_ref().is_some_and(|verified| verified.good || verified.intact)
    }
}

/// The backups of a job in one store, the oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shelf {
    pub kept: Vec<Kept>,
    /// All ids that are taken, by whatever lies there.
    pub taken: BTreeSet<String>,
    /// Objects of ours in folders without a manifest, and the ids of those.
    pub leavings: Vec<(String, Key)>,
    /// Folders whose manifest cannot be read, and why; nobody touches them.
    pub unreadable: Vec<(String, String)>,
}

impl Shelf {
    /// The backups of this very database, the oldest first.
    pub fn of<'a>(&'a self, identity: &'a Identity) -> impl DoubleEndedIterator<Item = &'a Kept> {
        self.kept.iter().filter(move |kept| kept.manifest.identity() == *identity)
    }
}

/// # Errors
/// The store cannot be asked.
pub async fn look(store: &Store, job: &str) -> Result<Shelf> {
    let folder = naming::folder(job);
    let mut found: BTreeMap<String, Vec<(Key, String)>> = BTreeMap::new();
    for object in store.list(&folder).await.context("list the backups")? {
        let segments = object.key.segments();
        let [.., id, name] = segments.as_slice() else { continue };
        if object.key == folder.join(id).join(name) && naming::read(id).is_some() {
            found.entry(id.clone()).or_default().push((object.key, name.clone()));
        }
    }
    let mut shelf = Shelf { taken: found.keys().cloned().collect(), ..Shelf::default() };
    let mut whole = Vec::new();
    for (id, objects) in found {
        if objects.iter().any(|(_, name)| name == MANIFEST) {
            let beside = |name: &str| objects.iter().any(|(_, there)| there == name);
            whole.push((id, beside(VERIFIED), beside(RESTORED)));
        } else {
            let ours = objects.into_iter().filter(|(_, name)| naming::is_ours(name));
            shelf.leavings.extend(ours.map(|(key, _)| (id.clone(), key)));
        }
    }
    let folder = &folder;
    let read: Vec<(String, Result<Option<Kept>>)> = stream::iter(whole)
        .map(async |(id, verified, restored)| (id.clone(), kept(store, &folder.join(&id), verified, restored).await))
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (id, kept) in read {
        match kept {
            Ok(Some(kept)) if kept.manifest.id == id && kept.manifest.job == job => shelf.kept.push(kept),
            Ok(Some(kept)) => {
                let why = format!("its manifest is that of {} of job {}", kept.manifest.id, kept.manifest.job);
                shelf.unreadable.push((id, why));
            }
            // Deleted meanwhile.
            Ok(None) => {}
            Err(error) => shelf.unreadable.push((id, explain(&error))),
        }
    }
    shelf.kept.sort_by_key(|kept| (kept.manifest.started_at, kept.manifest.id.clone()));
    Ok(shelf)
}

async fn kept(store: &Store, folder: &Key, verified: bool, restored: bool) -> Result<Option<Kept>> {
    let Some(bytes) = small(store, &folder.join(MANIFEST)).await? else { return Ok(None) };
    let manifest = Manifest::parse(&bytes)?;
    let verified = if verified { sidecar(store, &folder.join(VERIFIED)).await? } else { None };
    let restored = if restored { sidecar(store, &folder.join(RESTORED)).await? } else { None };
    Ok(Some(Kept { manifest, verified, restored }))
}

/// What is told beside a manifest. One that cannot be read says nothing; the next verification or test writes it anew.
async fn sidecar<T: DeserializeOwned>(store: &Store, key: &Key) -> Result<Option<T>> {
    Ok(small(store, key).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A small object; nothing where it is not there.
///
/// # Errors
/// The store cannot be asked, or it is not small.
pub async fn small(store: &Store, key: &Key) -> Result<Option<Vec<u8>>> {
    let mut stream = match store.get(key).await {
        Ok(stream) => stream,
        Err(error) => return if store.size(key).await?.is_none() { Ok(None) } else { Err(error) },
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
        anyhow::ensure!(bytes.len() <= LARGEST, "{key} is larger than {LARGEST} bytes, and so nothing of pgtend's");
    }
    Ok(Some(bytes))
}
