//! A bucket that speaks the S3 protocol.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Deleted, Key, Object, Parts};

/// `[stores.NAME.s3]`; credentials come from the chain of the AWS SDK: environment, profile, web identity, container, IMDS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub bucket: String,
    /// What every key begins with.
    #[serde(default)]
    pub prefix: String,
    /// The region; default: as the AWS SDK finds it.
    pub region: Option<String>,
    /// `https://host[:port]` of a store that is not AWS.
    pub endpoint: Option<String>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    #[serde(default)]
    pub path_style: bool,
    /// How many parts an upload may have: 10,000 at AWS, fewer elsewhere.
    pub max_parts: Option<u32>,
    /// Server-side encryption: `AES256`, `aws:kms`.
    pub sse: Option<String>,
    /// `STANDARD_IA` and the like.
    pub storage_class: Option<String>,
}

#[derive(Debug)]
pub struct S3 {
    bucket: String,
}

#[derive(Debug)]
pub struct Upload {}

#[allow(clippy::unused_async)]
impl S3 {
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self { bucket: settings.bucket.clone() })
    }
    pub fn place(&self) -> String {
        format!("s3://{}", self.bucket)
    }
    pub fn parts(&self, _: u64) -> Parts {
        Parts { size: 8 << 20, most: 10_000 }
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
