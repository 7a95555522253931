//! A bucket that speaks the S3 protocol.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Deleted, Key, Object, Parts};

/// No part but the last may be smaller.
pub const SMALLEST_PART: u64 = 5 << 20;
pub const LARGEST_PART: u64 = 5 << 30;

/// `[stores.NAME.s3]`; credentials come from the chain of the AWS SDK: environment, profile, web identity, container, IMDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub bucket: String,
    /// What every key begins with: empty, or with a slash at its end.
    pub prefix: String,
    /// The region; default: as the AWS SDK finds it, and with `endpoint` us-east-1.
    pub region: Option<String>,
    /// `https://host[:port]` of a store that is not AWS.
    pub endpoint: Option<String>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    pub path_style: bool,
    /// How many parts an upload may have: 10,000 at AWS, fewer elsewhere.
    pub max_parts: u32,
    /// Bytes that a part has at least.
    pub part_size: u64,
    /// How many parts are to be sent at once.
    pub parts_in_flight: usize,
    /// Server-side encryption.
    pub sse: Option<Sse>,
    /// `STANDARD_IA` and the like.
    pub storage_class: Option<String>,
    /// Whether an ETag that looks like an MD5 must be the one of what was sent.
    pub check_etags: bool,
    /// Certificates in PEM that are trusted besides the host's own.
    pub ca_file: Option<PathBuf>,
    /// How often a request is tried that fails for a reason that may pass.
    pub attempts: u32,
    /// A request of which no byte has moved for so long is cut.
    pub stall_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    Aes256,
    Kms { key: Option<String> },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: false,
            max_parts: 10_000,
            part_size: 8 << 20,
            parts_in_flight: 4,
            sse: None,
            storage_class: None,
            check_etags: true,
            ca_file: None,
            attempts: 10,
            stall_timeout: Duration::from_secs(60),
        }
    }
}

/// # Errors
/// It cannot be read, or there is no certificate in it. The text does not name the file.
pub fn check_ca_file(path: &Path) -> Result<()> {
    certificates(path).map(drop)
}

/// The file's text, once it is known that there are certificates in it.
fn certificates(path: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read(path).context("the file cannot be read")?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| anyhow!("the file is not PEM: {error}"))?;
    if found.is_empty() {
        bail!("there is no certificate in the file; one begins with -----BEGIN CERTIFICATE-----");
    }
    Ok(text)
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
    pub fn parts_in_flight(&self) -> usize {
        4
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
