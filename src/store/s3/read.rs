//! What is there: an object's head, and its bytes.

use std::sync::Arc;

use anyhow::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::client::Link;
use super::failure::{Failure, words};
use super::patience::{rest, try_often};

/// What a store says of an object without giving it.
pub struct Head {
    pub size: u64,
    /// Its ETag where that may be an MD5.
    pub digest: Option<String>,
    /// What we called the upload that it came by.
    pub upload: Option<String>,
}

/// Where in an object's metadata the name of the upload is.
pub const UPLOAD: &str = "pgtend-upload";

/// An ETag without its quotes; nothing where it is not the MD5 of what was sent.
pub fn digest(etag: Option<&str>, sse: Option<&ServerSideEncryption>) -> Option<String> {
    let encrypted = sse.is_some_and(|sse| sse.as_str().starts_with("aws:kms"));
    let etag = etag?.trim_matches('"');
    let (md5, parts) = etag.split_once('-').unwrap_or((etag, "1"));
    let looks_like_md5 = md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
    (!encrypted && looks_like_md5 && parts.parse::<u32>().is_ok()).then(|| etag.to_ascii_lowercase())
}

/// # Errors
/// The store refuses. That there is no such object is an answer.
pub async fn head(link: &Link, name: &str) -> Result<Option<Head>> {
    let client = link.client().await?;
    Ok(try_often(link.settings.attempts, || head_once(&client, link, name)).await?)
}

/// # Errors
/// The store refuses, or cannot be asked just now.
pub async fn head_once(client: &Client, link: &Link, name: &str) -> Result<Option<Head>, Failure> {
    match client.head_object().bucket(&link.settings.bucket).key(name).send().await {
        Ok(head) => Ok(Some(Head {
            size: head.content_length().and_then(|size| size.try_into().ok()).unwrap_or(0),
            digest: digest(head.e_tag(), head.server_side_encryption()),
            upload: head.metadata().and_then(|metadata| metadata.get(UPLOAD)).cloned(),
        })),
        Err(error) => match Failure::new("HeadObject", &link.place(name), &error) {
            // A bucket that is not there looks the same: its answer has no body that could say so.
            failure if failure.is_absent() => Ok(None),
            failure => Err(failure),
        },
    }
}

/// The bytes of an object. Goes on where it was after the connection was lost, as long as the object is the same.
///
/// # Errors
/// There is no such object, or the store refuses.
pub async fn get(link: Arc<Link>, name: String) -> Result<BoxStream<'static, Result<Bytes>>> {
    let first = open(&link, &name, None).await?;
    let size = first.content_length().and_then(|size| size.try_into().ok()).unwrap_or(0);
    let reading = Reading {
        etag: first.e_tag().map(ToOwned::to_owned),
        body: Some(first.body),
        link,
        name,
        size,
        at: 0,
        cuts: 0,
    };
    Ok(stream::try_unfold(reading, Reading::next).boxed())
}

struct Reading {
    link: Arc<Link>,
    name: String,
    etag: Option<String>,
    /// Nothing after the connection was lost.
    body: Option<ByteStream>,
    /// Bytes, as the first answer had it.
    size: u64,
    at: u64,
    /// How often in a row the connection was lost without a byte.
    cuts: u32,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => open(&self.link, &self.name, Some((self.at, self.etag.as_deref()))).await?.body,
            };
            let lost = match body.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => {
                    self.body = Some(body);
                    continue;
                }
                Some(Ok(bytes)) => {
                    self.at += bytes.len() as u64;
                    if self.at > self.size {
                        return Err(self.failure(format!("it gave more than the {} bytes it has", self.size)).into());
                    }
                    self.cuts = 0;
                    self.body = Some(body);
                    return Ok(Some((bytes, self)));
                }
                None if self.at == self.size => return Ok(None),
                None => self.failure(format!("it ended after {} of {} bytes", self.at, self.size)),
                Some(Err(error)) => {
                    self.failure(format!("lost after {} of {} bytes: {}", self.at, self.size, words(&error)))
                }
            };
            self.cuts += 1;
            if self.cuts >= self.link.settings.attempts {
                return Err(lost.after(self.cuts).into());
            }
            rest(self.cuts, &lost).await;
        }
    }

    fn failure(&self, words: String) -> Failure {
        Failure::said("GetObject", &self.link.place(&self.name), words)
    }
}

/// Opens an object at its beginning, or at a byte of the object that has that ETag.
async fn open(link: &Link, name: &str, from: Option<(u64, Option<&str>)>) -> Result<GetObjectOutput> {
    let client = link.client().await?;
    let object = link.place(name);
    let opened = try_often(link.settings.attempts, || async {
        let mut request = client.get_object().bucket(&link.settings.bucket).key(name);
        if let Some((at, etag)) = from {
            request = request.range(format!("bytes={at}-")).set_if_match(etag.map(ToOwned::to_owned));
        }
        let output = request.send().await.map_err(|error| match Failure::new("GetObject", &object, &error) {
            failure if failure.status == Some(412) => {
                Failure::said("GetObject", &object, "the object was replaced while it was read")
            }
            failure => failure,
        })?;
        match (from, output.content_range()) {
            (Some((at, _)), Some(range)) if !range.starts_with(&format!("bytes {at}-")) => {
                Err(Failure::said("GetObject", &object, format!("asked for bytes from {at}, got {range}")))
            }
            (Some((at, _)), None) if at > 0 => {
                Err(Failure::said("GetObject", &object, "the store cannot give a part of an object"))
            }
            _ => Ok(output),
        }
    });
    Ok(opened.await?)
}
