//! Where backups are kept, and objects that rows stand for: buckets that speak the S3 protocol, and directories.
//!
//! An object is there whole or not at all: it is uploaded in parts and appears with [`Upload::complete`]. What a run that
//! was killed has left behind is nobody's object, and [`Store::sweep`] clears it away.

pub mod address;
pub mod directory;
pub mod key;
mod ledger;
mod probe;
pub mod s3;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;

use self::address::Addresses;
pub use self::address::Located;
pub use self::key::Key;

/// A store as the config says it: exactly one table, `s3` or `directory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    S3(Box<s3::Settings>),
    Directory(directory::Settings),
}

impl Settings {
    /// No request is tried more often, whatever else is said.
    pub fn try_at_most(&mut self, attempts: u32) {
        if let Settings::S3(settings) = self {
            settings.attempts = settings.attempts.min(attempts);
        }
    }
}

/// The stores of a config, by name.
pub type Stores = BTreeMap<String, Arc<Store>>;

/// A place for objects.
#[derive(Debug)]
pub struct Store {
    /// As the config calls it.
    pub name: String,
    kind: Kind,
    addresses: Addresses,
}

#[derive(Debug)]
enum Kind {
    S3(s3::S3),
    Directory(directory::Directory),
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: Key,
    /// Bytes.
    pub size: u64,
}

/// What came of deleting an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    Gone,
    /// It was not there.
    Absent,
    /// The store does not let it go; in its words.
    Refused(String),
}

/// How an object is cut into parts. All but the last are of one size, as some stores insist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Bytes.
    pub size: usize,
    pub most: u32,
}

/// An object on its way. It is not there before [`Upload::complete`]; an upload that is dropped without either end is left
/// for [`Store::sweep`].
#[derive(Debug)]
pub struct Upload {
    pub key: Key,
    /// The name of its store.
    store: String,
    kind: UploadKind,
}

#[derive(Debug)]
enum UploadKind {
    S3(s3::Upload),
    Directory(directory::Upload),
}

impl Store {
    /// # Errors
    /// The settings cannot be used, such as a certificate that is none.
    pub fn new(name: impl Into<String>, settings: &Settings) -> Result<Self> {
        let (kind, addresses) = match settings {
            Settings::S3(settings) => {
                let s3 = s3::S3::new(settings)?;
                let addresses = Addresses::of_bucket(settings, s3.place());
                (Kind::S3(s3), addresses)
            }
            Settings::Directory(settings) => {
                let directory = directory::Directory::new(settings);
                let addresses = Addresses::of_directory(settings, directory.place());
                (Kind::Directory(directory), addresses)
            }
        };
        Ok(Self { name: name.into(), kind, addresses })
    }

    /// The parts of an object of about `expected` bytes: as small as they may be, and so large that it fits into as many
    /// as the store takes.
    pub fn parts(&self, expected: u64) -> Parts {
        match &self.kind {
            Kind::S3(s3) => s3.parts(expected),
            Kind::Directory(directory) => directory.parts(expected),
        }
    }

    /// How many parts are to be on their way at once.
    pub fn parts_in_flight(&self) -> usize {
        match &self.kind {
            Kind::S3(s3) => s3.parts_in_flight(),
            Kind::Directory(_) => 2,
        }
    }

    /// Begins an object. One of the same key is replaced when this one is complete.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn begin(&self, key: &Key, parts: Parts) -> Result<Upload> {
        let kind = match &self.kind {
            Kind::S3(s3) => s3.begin(key, parts).await.map(UploadKind::S3),
            Kind::Directory(directory) => directory.begin(key, parts).await.map(UploadKind::Directory),
        };
        Ok(Upload { key: key.clone(), store: self.name.clone(), kind: kind.with_context(|| self.said())? })
    }

    /// A small object, whole or not at all.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<()> {
        match &self.kind {
            Kind::S3(s3) => s3.put(key, bytes).await,
            Kind::Directory(directory) => directory.put(key, bytes).await,
        }
        .with_context(|| self.said())
    }

    /// The bytes of an object, from its beginning to its end. A connection that is lost is made again, and goes on where it
    /// was.
    ///
    /// # Errors
    /// There is no such object, or the store refuses. Later errors are in the stream.
    pub async fn get(&self, key: &Key) -> Result<BoxStream<'static, Result<Bytes>>> {
        match &self.kind {
            Kind::S3(s3) => s3.get(key).await,
            Kind::Directory(directory) => directory.get(key).await,
        }
        .with_context(|| self.said())
    }

    /// The size of an object in bytes; nothing where there is none.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>> {
        match &self.kind {
            Kind::S3(s3) => s3.size(key).await,
            Kind::Directory(directory) => directory.size(key).await,
        }
        .with_context(|| self.said())
    }

    /// All objects whose key begins with the segments of `under`, by key. `pg/app` is not under `pg/ap`.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn list(&self, under: &Key) -> Result<Vec<Object>> {
        match &self.kind {
            Kind::S3(s3) => s3.list(under).await,
            Kind::Directory(directory) => directory.list(under).await,
        }
        .with_context(|| self.said())
    }

    /// # Errors
    /// The store cannot be asked. That it refuses is an answer.
    pub async fn delete(&self, key: &Key) -> Result<Deleted> {
        match &self.kind {
            Kind::S3(s3) => s3.delete(key).await,
            Kind::Directory(directory) => directory.delete(key).await,
        }
        .with_context(|| self.said())
    }

    /// The object at an address that somebody else has written down.
    ///
    /// # Errors
    /// It is none of this store, or it is not certain which; why, in words.
    pub fn locate(&self, address: &str) -> Result<Located, String> {
        self.addresses.locate(address)
    }

    /// The ways in which the address of an object is usually written.
    pub fn spelled(&self, object: &Located) -> Vec<String> {
        self.addresses.spelled(object)
    }

    /// Deletes an object of somebody else's, whatever it is called. That it was not there is seen only where the store says
    /// so: a bucket does not.
    ///
    /// # Errors
    /// The store cannot be asked. That it refuses is an answer.
    pub async fn remove(&self, object: &Located) -> Result<Deleted> {
        match &self.kind {
            Kind::S3(s3) => s3.remove(object).await,
            Kind::Directory(directory) => directory.remove(object).await,
        }
        .with_context(|| self.said())
    }

    /// Ends uploads under `under` that were begun before `before` and not completed; how many.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn sweep(&self, under: &Key, before: DateTime<Utc>) -> Result<usize> {
        self.sweep_some(under, before, |_| true).await
    }

    /// The same, of those alone whose folder, the last segment but one of the object's key, has such a name.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn sweep_some(
        &self,
        under: &Key,
        before: DateTime<Utc>,
        of: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<usize> {
        match &self.kind {
            Kind::S3(s3) => s3.sweep(under, before, &of).await,
            Kind::Directory(directory) => directory.sweep(under, before, of).await,
        }
        .with_context(|| self.said())
    }

    /// Where it is, for people: `s3://bucket/prefix`, `/var/backups/pgtend`.
    pub fn place(&self) -> String {
        match &self.kind {
            Kind::S3(s3) => s3.place(),
            Kind::Directory(directory) => directory.place(),
        }
    }

    /// How its errors begin.
    fn said(&self) -> String {
        said(&self.name)
    }
}

impl Upload {
    /// Sends one part, counted from 1. Several may be on their way at once.
    ///
    /// # Errors
    /// The store did not take it, after all tries.
    pub async fn part(&self, number: u32, bytes: Bytes) -> Result<()> {
        match &self.kind {
            UploadKind::S3(upload) => upload.part(number, bytes).await,
            UploadKind::Directory(upload) => upload.part(number, bytes).await,
        }
        .with_context(|| said(&self.store))
    }

    /// Makes the object appear, and makes sure that it did, with so many bytes.
    ///
    /// # Errors
    /// It is not there, or not of that size.
    pub async fn complete(self, size: u64) -> Result<()> {
        match self.kind {
            UploadKind::S3(upload) => upload.complete(size).await,
            UploadKind::Directory(upload) => upload.complete(size).await,
        }
        .with_context(|| said(&self.store))
    }

    /// Gives it up, and waits no longer than `patience` for the store to say so.
    ///
    /// # Errors
    /// The store still has parts of it; a later sweep takes them.
    pub async fn abort(self, patience: Duration) -> Result<()> {
        match self.kind {
            UploadKind::S3(upload) => upload.abort(patience).await,
            UploadKind::Directory(upload) => upload.abort(patience).await,
        }
        .with_context(|| said(&self.store))
    }
}

fn said(store: &str) -> String {
    format!("store {store}")
}
