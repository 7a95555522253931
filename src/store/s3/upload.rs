//! An object on its way into the bucket.
//!
//! What is smaller than one part is put as a whole. Otherwise the upload is begun with the first part, and the parts are
//! named to the store at the end. Whatever the answer to that was, the object's head says whether it is there.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::sync::OnceCell;

use super::Sse;
use super::client::Link;
use super::failure::Failure;
use super::list::abort;
use super::patience::{rest, try_often};
use super::read::{Head, UPLOAD, digest, head, head_once};
use crate::hex::hex;
use crate::store::Parts;
use crate::store::ledger::Ledger;

/// How long the leavings of an upload that failed are tried to be cleared away, before they are left to a sweep.
const CLEARING: Duration = Duration::from_secs(10);

type Sum = [u8; 16];

#[derive(Debug)]
pub struct Upload {
    link: Arc<Link>,
    /// The object's whole name in the bucket.
    name: String,
    parts: Parts,
    mark: String,
    /// As the store calls it, once it was begun there.
    id: OnceCell<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: Ledger<Sent>,
    /// The only part, shorter than a whole one: it is put as an object at the end.
    small: Option<Bytes>,
}

#[derive(Debug, Clone)]
struct Sent {
    etag: String,
    md5: Sum,
}

impl Upload {
    pub fn new(link: Arc<Link>, name: String, parts: Parts) -> Self {
        Self { link, name, parts, mark: mark(), id: OnceCell::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// The store did not take it, after all tries.
    pub async fn part(&self, number: u32, bytes: Bytes) -> Result<()> {
        let length = bytes.len();
        let fits = self.state().sent.fits(self.parts, number, length);
        fits.with_context(|| self.link.place(&self.name))?;
        if number == 1 && length < self.parts.size {
            let mut state = self.state();
            state.sent.take(self.parts, number, length, Sent { etag: String::new(), md5: [0; 16] })?;
            state.small = Some(bytes);
            return Ok(());
        }
        let id = self.id.get_or_try_init(|| self.create()).await?;
        let md5 = sum(&bytes).await?;
        let etag = self.send(id, number, bytes, md5).await?;
        self.state().sent.take(self.parts, number, length, Sent { etag, md5 })
    }

    async fn create(&self) -> Result<String> {
        let Link { settings, .. } = &*self.link;
        let client = self.link.client().await?;
        let place = self.link.place(&self.name);
        let (sse, key) = encryption(settings.sse.as_ref());
        let id = try_often(settings.attempts, || async {
            let request = client
                .create_multipart_upload()
                .bucket(&settings.bucket)
                .key(&self.name)
                .metadata(UPLOAD, &self.mark)
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(key.clone())
                .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from));
            let created =
                request.send().await.map_err(|error| Failure::new("CreateMultipartUpload", &place, &error))?;
            created
                .upload_id
                .ok_or_else(|| Failure::said("CreateMultipartUpload", &place, "the answer names no upload"))
        });
        Ok(id.await?)
    }

    async fn send(&self, id: &str, number: u32, bytes: Bytes, md5: Sum) -> Result<String> {
        let Link { settings, .. } = &*self.link;
        let client = self.link.client().await?;
        let place = format!("{}, part {number}", self.link.place(&self.name));
        let etag = try_often(settings.attempts, || async {
            let request = client
                .upload_part()
                .bucket(&settings.bucket)
                .key(&self.name)
                .upload_id(id)
                .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                .content_md5(base64(md5))
                .body(ByteStream::from(bytes.clone()));
            let sent = request.send().await.map_err(|error| Failure::new("UploadPart", &place, &error))?;
            let told = digest(sent.e_tag(), sent.server_side_encryption());
            must_be(settings.check_etags, told, &hex(&md5))
                .map_err(|words| Failure::said("UploadPart", &place, words).that_may_pass())?;
            sent.e_tag.ok_or_else(|| Failure::said("UploadPart", &place, "the answer has no ETag"))
        });
        Ok(etag.await?)
    }

    /// # Errors
    /// The object is not there, or not what was sent. Its parts are cleared away then, as far as the store lets itself be
    /// asked.
    pub async fn complete(self, size: u64) -> Result<()> {
        let finished = self.finish(size).await;
        if finished.is_err() {
            let _ = self.abort(CLEARING).await;
        }
        finished
    }

    async fn finish(&self, size: u64) -> Result<()> {
        let (sent, small) = {
            let mut state = self.state();
            state.sent.whole(size).with_context(|| self.link.place(&self.name))?;
            let sent: Vec<(u32, Sent)> = state.sent.iter().map(|(number, sent)| (number, sent.clone())).collect();
            (sent, state.small.take())
        };
        match self.id.get() {
            Some(id) => self.join(id, sent, size).await,
            None => put_marked(&self.link, &self.name, small.unwrap_or_default(), &self.mark).await,
        }
    }

    /// Has the store make one object of the parts.
    async fn join(&self, id: &str, sent: Vec<(u32, Sent)>, size: u64) -> Result<()> {
        let Link { settings, .. } = &*self.link;
        let client = self.link.client().await?;
        let place = self.link.place(&self.name);
        let mut all = Md5::new();
        for (_, Sent { md5, .. }) in &sent {
            all.update(md5);
        }
        let expected = Expected { size, mark: &self.mark, digest: format!("{}-{}", hex(&all.finalize()), sent.len()) };
        let completed = sent.into_iter().map(|(number, Sent { etag, .. })| {
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            CompletedPart::builder().part_number(number).e_tag(etag).build()
        });
        let completed = CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build();
        let mut tries = 0;
        loop {
            let request = client
                .complete_multipart_upload()
                .bucket(&settings.bucket)
                .key(&self.name)
                .upload_id(id)
                .multipart_upload(completed.clone());
            let failure = match request.send().await {
                Ok(_) => return expected.check(&self.link, &self.name, "CompleteMultipartUpload").await,
                Err(error) => Failure::new("CompleteMultipartUpload", &place, &error),
            };
            tries += 1;
            // The answer to an earlier try may have been lost, or this one's: then the object is there, and the upload is
            // not any more, which each store says in its own way. And some answer what cannot be read.
            if let Ok(Some(found)) = head_once(&client, &self.link, &self.name).await
                && expected.is(&found)
            {
                return expected.right(settings.check_etags, &found).map_err(|words| anyhow!("{place}: {words}"));
            }
            if !failure.passing || tries >= settings.attempts {
                return Err(failure.after(tries).into());
            }
            rest(tries, &failure).await;
        }
    }

    /// # Errors
    /// The store still has parts of it.
    pub async fn abort(self, patience: Duration) -> Result<()> {
        let Some(id) = self.id.get() else { return Ok(()) };
        match tokio::time::timeout(patience, abort(&self.link, &self.name, id)).await {
            Ok(aborted) => aborted.map(drop),
            Err(_) => Err(anyhow!(
                "the upload to {} was given up, and the store did not answer to that within {} s; a later run ends it",
                self.link.place(&self.name),
                patience.as_secs()
            )),
        }
    }
}

/// Puts an object as a whole.
///
/// # Errors
/// The store refuses.
pub async fn put(link: &Link, name: &str, bytes: Bytes) -> Result<()> {
    put_marked(link, name, bytes, &mark()).await
}

async fn put_marked(link: &Link, name: &str, bytes: Bytes, mark: &str) -> Result<()> {
    let settings = &link.settings;
    let client = link.client().await?;
    let place = link.place(name);
    let (sse, key) = encryption(settings.sse.as_ref());
    let md5 = sum(&bytes).await?;
    try_often(settings.attempts, || async {
        let request = client
            .put_object()
            .bucket(&settings.bucket)
            .key(name)
            .metadata(UPLOAD, mark)
            .content_md5(base64(md5))
            .set_server_side_encryption(sse.clone())
            .set_ssekms_key_id(key.clone())
            .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
            .body(ByteStream::from(bytes.clone()));
        let put = request.send().await.map_err(|error| Failure::new("PutObject", &place, &error))?;
        let told = digest(put.e_tag(), put.server_side_encryption());
        must_be(settings.check_etags, told, &hex(&md5))
            .map_err(|words| Failure::said("PutObject", &place, words).that_may_pass())
    })
    .await?;
    let expected = Expected { size: bytes.len() as u64, mark, digest: hex(&md5) };
    expected.check(link, name, "PutObject").await
}

/// What the store must say of an object of ours.
struct Expected<'a> {
    size: u64,
    mark: &'a str,
    digest: String,
}

impl Expected<'_> {
    /// Asks the store; an object that is not there yet may come.
    async fn check(&self, link: &Link, name: &str, operation: &'static str) -> Result<()> {
        let place = link.place(name);
        let checked = try_often(link.settings.attempts, || async {
            let found = match head(link, name).await {
                Ok(found) => found,
                Err(error) => {
                    return Err(Failure::said(operation, &place, format!("it said that it was done; {error:#}")));
                }
            };
            match found {
                Some(found) => self
                    .right(link.settings.check_etags, &found)
                    .map_err(|words| Failure::said(operation, &place, words)),
                None => {
                    let words = "the store said that it was done, and the object is not there";
                    Err(Failure::said(operation, &place, words).that_may_pass())
                }
            }
        });
        Ok(checked.await?)
    }

    /// Whether this is the object, and not one that was there before.
    fn is(&self, found: &Head) -> bool {
        match &found.upload {
            Some(mark) => mark == self.mark,
            // A store that keeps no metadata.
            None => found.digest.as_ref() == Some(&self.digest),
        }
    }

    fn right(&self, check_etags: bool, found: &Head) -> Result<(), String> {
        if found.size != self.size {
            return Err(format!("the object has {} bytes there, and {} were sent", found.size, self.size));
        }
        must_be(check_etags, found.digest.clone(), &self.digest)
    }
}

/// Compares a digest that the store told with ours, where it told one of the same form.
fn must_be(check: bool, told: Option<String>, ours: &str) -> Result<(), String> {
    match told.filter(|_| check) {
        Some(told) if told.len() == ours.len() && told != ours => Err(format!(
            "what arrived has the MD5 {told}, and what was sent has {ours}; if the store's ETags are no MD5, write \
             check_etags = false"
        )),
        _ => Ok(()),
    }
}

fn encryption(sse: Option<&Sse>) -> (Option<ServerSideEncryption>, Option<String>) {
    match sse {
        None => (None, None),
        Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
        Some(Sse::Kms { key }) => (Some(ServerSideEncryption::AwsKms), key.clone()),
    }
}

/// A name that no other upload has.
fn mark() -> String {
    let lot = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", lot(), lot())
}

/// The MD5 of a part; worked out where it keeps nobody waiting.
async fn sum(bytes: &Bytes) -> Result<Sum> {
    let bytes = bytes.clone();
    tokio::task::spawn_blocking(move || Md5::digest(&bytes).into()).await.context("the thread that works out digests")
}

fn base64(sum: Sum) -> String {
    aws_smithy_types::base64::encode(sum)
}
