//! A directory as a store.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Deleted, Key, Object, Parts};

/// `[stores.NAME.directory]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where it is; relative to the file of the config. It is made when it is missing.
    pub path: PathBuf,
}

#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

#[derive(Debug)]
pub struct Upload {}

#[allow(clippy::unused_async)]
impl Directory {
    pub fn new(settings: &Settings) -> Self {
        Self { path: settings.path.clone() }
    }
    pub fn place(&self) -> String {
        self.path.display().to_string()
    }
    pub fn parts(&self, _: u64) -> Parts {
        Parts { size: 8 << 20, most: u32::MAX }
    }
    pub async fn begin(&self, _: &Key, _: Parts) -> Result<Upload> {
        bail!("not written")
    }
    pub async fn put(&self, _: &Key, _: Bytes) -> Result<()> {
        bail!("not written")
    }
    pub async fn get(&self, _: &Key) -> Result<BoxStream<'static, Result<Bytes>>> {
        bail!("not written")
    }
    pub async fn size(&self, _: &Key) -> Result<Option<u64>> {
        bail!("not written")
    }
    pub async fn list(&self, _: &Key) -> Result<Vec<Object>> {
        bail!("not written")
    }
    pub async fn delete(&self, _: &Key) -> Result<Deleted> {
        bail!("not written")
    }
    pub async fn sweep(&self, _: &Key, _: DateTime<Utc>) -> Result<usize> {
        bail!("not written")
    }
}

#[allow(clippy::unused_async)]
impl Upload {
    pub async fn part(&self, _: u32, _: Bytes) -> Result<()> {
        bail!("not written")
    }
    pub async fn complete(self, _: u64) -> Result<()> {
        bail!("not written")
    }
    pub async fn abort(self, _: Duration) -> Result<()> {
        bail!("not written")
    }
}
