//! A bucket that speaks the S3 protocol: AWS, or one of the many that are nearly the same.
//!
//! What differs between them is not relied upon: checksums in trailers, `If-None-Match`, parts of different sizes, ETags
//! that are no MD5, the code of an error that a repeated request gets.

mod client;
mod failure;
mod list;
mod parts;
mod patience;
mod read;
mod stall;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use self::client::Link;
pub use self::upload::Upload;
use super::{Deleted, Key, Located, Object, Parts};

/// No part but the last may be smaller.
pub const SMALLEST_PART: u64 = 5 << 20;
pub const LARGEST_PART: u64 = 5 << 30;

/// `[stores.NAME.s3]`; without `credentials_file` and `profile`, credentials come from the chain of the AWS SDK:
/// environment, profile, web identity, container, IMDS.
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
    /// A file of profiles, as ~/.aws/credentials is one; default: the chain.
    pub credentials_file: Option<PathBuf>,
    /// The profile to take from there, or from ~/.aws.
    pub profile: Option<String>,
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
            credentials_file: None,
            profile: None,
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
    link: Arc<Link>,
}

impl S3 {
    /// # Errors
    /// The file of certificates holds none.
    pub fn new(settings: &Settings) -> Result<Self> {
        let ca = match &settings.ca_file {
            Some(path) => Some(certificates(path).with_context(|| format!("ca_file {}", path.display()))?),
            None => None,
        };
        Ok(Self { link: Arc::new(Link::new(settings.clone(), ca)) })
    }

    pub fn place(&self) -> String {
        let Settings { bucket, prefix, .. } = &self.link.settings;
        format!("s3://{bucket}/{prefix}").trim_end_matches('/').into()
    }

    pub fn parts(&self, expected: u64) -> Parts {
        parts::choose(expected, self.link.settings.part_size, self.link.settings.max_parts)
    }

    pub fn parts_in_flight(&self) -> usize {
        self.link.settings.parts_in_flight
    }

    /// # Errors
    /// There are no credentials. What else the store may refuse it does at the first part.
    pub async fn begin(&self, key: &Key, parts: Parts) -> Result<Upload> {
        self.link.client().await?;
        Ok(Upload::new(Arc::clone(&self.link), self.link.name(key), parts))
    }

    /// # Errors
    /// The store refuses.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<()> {
        upload::put(&self.link, &self.link.name(key), bytes).await
    }

    /// # Errors
    /// There is no such object, or the store refuses.
    pub async fn get(&self, key: &Key) -> Result<BoxStream<'static, Result<Bytes>>> {
        read::get(Arc::clone(&self.link), self.link.name(key)).await
    }

    /// # Errors
    /// The store refuses.
    pub async fn size(&self, key: &Key) -> Result<Option<u64>> {
        Ok(read::head(&self.link, &self.link.name(key)).await?.map(|head| head.size))
    }

    /// # Errors
    /// The store refuses.
    pub async fn list(&self, under: &Key) -> Result<Vec<Object>> {
        list::objects(&self.link, under).await
    }

    /// # Errors
    /// The store cannot be asked.
    pub async fn delete(&self, key: &Key) -> Result<Deleted> {
        list::delete(&self.link, &self.link.name(key)).await
    }

    /// # Errors
    /// The store cannot be asked.
    pub async fn remove(&self, object: &Located) -> Result<Deleted> {
        list::remove(&self.link, object.as_str()).await
    }

    /// A store that does not list uploads has none that could be ended.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn sweep(&self, under: &Key, before: DateTime<Utc>, of: &(dyn Fn(&str) -> bool + Sync)) -> Result<usize> {
        list::sweep(&self.link, under, before, of).await
    }
}
