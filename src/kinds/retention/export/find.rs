//! The exports that are in a store already.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use super::manifest::{self, Export, ROWS, TABLE};
use crate::kinds::backup::manifest::Verified;
use crate::kinds::backup::naming::{self, MANIFEST, VERIFIED};
use crate::kinds::backup::shelf::small;
use crate::kinds::backup::survey::Server;
use crate::kinds::retention::partitions::facts::Going;
use crate::pg::explain;
use crate::store::{Key, Store};

/// What lies in the folder of a partition.
#[derive(Debug, Default)]
pub struct Folder {
    /// All ids that are taken, by whatever lies there.
    pub taken: BTreeSet<String>,
    /// Ids with a manifest.
    complete: BTreeSet<String>,
}

/// # Errors
/// The store cannot be asked.
pub async fn look(store: &Store, job: &str, partition: &str) -> Result<Folder> {
    let folder = manifest::folder(job, partition);
    let mut found = Folder::default();
    for object in store.list(&folder).await.context("list the exports")? {
        let segments = object.key.segments();
        let [.., id, name] = segments.as_slice() else { continue };
        if object.key != folder.join(id).join(name) || naming::read(id).is_none() {
            continue;
        }
        found.taken.insert(id.clone());
        if name == MANIFEST {
            found.complete.insert(id.clone());
        }
    }
    Ok(found)
}

/// Objects of exports that were begun before `before` and did not come to their end, of any partition of the job: the one that
/// comes after may be gone by then.
///
/// # Errors
/// The store cannot be asked.
pub async fn leavings(store: &Store, job: &str, before: DateTime<Utc>) -> Result<Vec<Key>> {
    let above = manifest::exports(job);
    let mut complete = BTreeSet::new();
    let mut objects = Vec::new();
    for object in store.list(&above).await.context("list the exports")? {
        let segments = object.key.segments();
        let [.., partition, id, name] = segments.as_slice() else { continue };
        let folder = above.join(partition).join(id);
        if object.key != folder.join(name) || !is_over(id, before) {
            continue;
        }
        if name == MANIFEST {
            complete.insert(folder);
        } else if [ROWS, TABLE, VERIFIED].contains(&name.as_str()) {
            objects.push((folder, object.key));
        }
    }
    objects.retain(|(folder, _)| !complete.contains(folder));
    Ok(objects.into_iter().map(|(_, key)| key).collect())
}

/// Whether an id is that of an export that was begun before.
pub fn is_over(id: &str, before: DateTime<Utc>) -> bool {
    naming::read(id).is_some_and(|id| id.began < before)
}

/// An export that is whole.
#[derive(Debug, Clone)]
pub struct Kept {
    pub export: Export,
    pub folder: Key,
    /// How it was when it was read back.
    pub verified: Option<Verified>,
}

impl Kept {
    /// What a person calls it: `public.events_1/2026-11-21T020000Z`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.export.partition, self.export.id)
    }
}

/// All exports of a job, in the order in which they were made; and the folders whose manifest cannot be read, and why.
///
/// # Errors
/// The store cannot be asked.
pub async fn all(store: &Store, job: &str) -> Result<(Vec<Kept>, Vec<(String, String)>)> {
    let above = manifest::exports(job);
    let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
    for object in store.list(&above).await.context("list the exports")? {
        let segments = object.key.segments();
        let [.., partition, id, name] = segments.as_slice() else { continue };
        let folder = above.join(partition).join(id);
        if name != MANIFEST || object.key != folder.join(MANIFEST) {
            continue;
        }
        let Some(bytes) = small(store, &object.key).await? else { continue };
        match Export::parse(&bytes) {
            Ok(export) => {
                let verified = small(store, &folder.join(VERIFIED)).await?;
                let verified = verified.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                kept.push(Kept { export, folder, verified });
            }
            Err(error) => unreadable.push((format!("{partition}/{id}"), explain(&error))),
        }
    }
    kept.sort_by(|a, b| (a.export.started_at, &a.export.partition).cmp(&(b.export.started_at, &b.export.partition)));
    Ok((kept, unreadable))
}

/// The newest export of this very partition that was read back and was good; with its place, for people.
///
/// # Errors
/// The store cannot be asked.
pub async fn newest(store: &Store, job: &str, server: &Server, going: &Going) -> Result<Option<(String, Export)>> {
    let partition = going.leaf.plain();
    let folder = manifest::folder(job, &partition);
    for id in look(store, job, &partition).await?.complete.iter().rev() {
        let folder = folder.join(id);
        let Some(bytes) = small(store, &folder.join(MANIFEST)).await? else { continue };
        // What cannot be read is none of ours, or not to be relied on: there will be a new one.
        let Ok(export) = Export::parse(&bytes) else { continue };
        let verified = small(store, &folder.join(VERIFIED)).await?;
        let verified: Option<Verified> = verified.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if verified.is_some_and(|verified| verified.good && verified.id == export.id)
            && export.id == *id
            && export.identity() == server.identity()
            && export.partition_oid == going.oid
            && export.bound == going.bound
        {
            return Ok(Some((format!("{}/{folder}", store.place()), export)));
        }
    }
    Ok(None)
}
