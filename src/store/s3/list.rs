//! What is in the bucket, and what leaves it.

use anyhow::Result;
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};

use super::client::Link;
use super::failure::Failure;
use super::patience::try_often;
use super::read::head;
use crate::store::{Deleted, Key, Object};

/// Refusals to delete that are an answer: of permissions, of locks, of versions that stay.
const KEPT: &[&str] = &["AccessDenied", "Forbidden", "MethodNotAllowed", "ObjectLocked", "InvalidRequest"];

/// How often a deletion is tried while others wait for it.
const HURRIED: u32 = 3;

/// All objects at or below `under`.
///
/// # Errors
/// The store refuses.
pub async fn objects(link: &Link, under: &Key) -> Result<Vec<Object>> {
    let client = link.client().await?;
    let name = link.name(under);
    let place = link.place(&name);
    let mut found = Vec::new();
    if let Some(head) = head(link, &name).await? {
        found.push(Object { key: under.clone(), size: head.size });
    }
    let mut token: Option<String> = None;
    loop {
        let page = try_often(link.settings.attempts, || async {
            let request = client
                .list_objects_v2()
                .bucket(&link.settings.bucket)
                .prefix(format!("{name}/"))
                // In XML not every character that a key may have can be said.
                .encoding_type(EncodingType::Url)
                .set_continuation_token(token.clone());
            request.send().await.map_err(|error| Failure::new("ListObjectsV2", &place, &error))
        })
        .await?;
        let encoded = page.encoding_type().is_some();
        for object in page.contents() {
            let Some(key) = object.key().and_then(|name| key(link, name, encoded)) else { continue };
            found.push(Object { key, size: object.size().and_then(|size| size.try_into().ok()).unwrap_or(0) });
        }
        match page.next_continuation_token {
            Some(next) if token.as_ref() != Some(&next) => token = Some(next),
            None if page.is_truncated != Some(true) => break,
            _ => {
                let words = "the store says that there is more, and does not say from where";
                return Err(Failure::said("ListObjectsV2", &place, words).into());
            }
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Our key for a name in the bucket; nothing where it is not one of ours.
fn key(link: &Link, name: &str, encoded: bool) -> Option<Key> {
    let name = if encoded { decoded(name)? } else { name.to_owned() };
    Key::parse(name.strip_prefix(&link.settings.prefix)?)
}

fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// # Errors
/// The store cannot be asked.
pub async fn delete(link: &Link, name: &str) -> Result<Deleted> {
    let client = link.client().await?;
    // The protocol says the same of what was there and of what was not.
    if head(link, name).await?.is_none() {
        return Ok(Deleted::Absent);
    }
    let deleted = try_often(link.settings.attempts, || async {
        let request = client.delete_object().bucket(&link.settings.bucket).key(name);
        request.send().await.map_err(|error| Failure::new("DeleteObject", &link.place(name), &error))
    });
    match deleted.await {
        Ok(_) => Ok(Deleted::Gone),
        Err(failure) if failure.is_absent() => Ok(Deleted::Absent),
        Err(failure) if failure.is(KEPT) => Ok(Deleted::Refused(failure.to_string())),
        Err(failure) => Err(failure.into()),
    }
}

/// Deletes what may be there, without looking first: whoever may delete need not be allowed to read. The rows that stand for
/// objects are locked meanwhile, so that it is not tried as often as there is time.
///
/// # Errors
/// The store cannot be asked.
pub async fn remove(link: &Link, name: &str) -> Result<Deleted> {
    let client = link.client().await?;
    let deleted = try_often(link.settings.attempts.min(HURRIED), || async {
        let request = client.delete_object().bucket(&link.settings.bucket).key(name);
        request.send().await.map_err(|error| Failure::new("DeleteObject", &link.place(name), &error))
    });
    match deleted.await {
        Ok(_) => Ok(Deleted::Gone),
        // Said by the store, and not by somebody who knows nothing of objects, such as a proxy.
        Err(failure) if failure.is(&["NoSuchKey"]) => Ok(Deleted::Absent),
        Err(failure) if failure.is(KEPT) => Ok(Deleted::Refused(failure.to_string())),
        Err(failure) => Err(failure.into()),
    }
}

/// # Errors
/// The store refuses.
pub async fn sweep(
    link: &Link,
    under: &Key,
    before: DateTime<Utc>,
    of: &(dyn Fn(&str) -> bool + Sync),
) -> Result<usize> {
    let client = link.client().await?;
    let place = link.place(&link.name(under));
    let mut stale: Vec<(String, String)> = Vec::new();
    let mut marker: Option<(String, String)> = None;
    loop {
        let page = try_often(link.settings.attempts, || async {
            let (key, id) = marker.clone().unzip();
            let request = client
                .list_multipart_uploads()
                .bucket(&link.settings.bucket)
                .prefix(link.name(under))
                .encoding_type(EncodingType::Url)
                .set_key_marker(key)
                .set_upload_id_marker(id);
            request.send().await.map_err(|error| Failure::new("ListMultipartUploads", &place, &error))
        })
        .await;
        let page = match page {
            Err(failure) if failure.status == Some(501) || failure.is(&["NotImplemented", "MethodNotAllowed"]) => {
                tracing::info!("{failure}: uploads of runs that were killed are left to the bucket's own rules");
                return Ok(0);
            }
            page => page?,
        };
        let encoded = page.encoding_type().is_some();
        for upload in page.uploads() {
            let (Some(name), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), upload.initiated()) else {
                continue;
            };
            let Some(key) = key(link, name, encoded).filter(|key| key.is_under(under)) else { continue };
            let is_meant = key.segments().iter().nth_back(1).is_some_and(|folder| of(folder));
            if is_meant && begun.secs() < before.timestamp() {
                stale.push((link.name(&key), id.to_owned()));
            }
        }
        let next_key = page.next_key_marker.and_then(|name| if encoded { decoded(&name) } else { Some(name) });
        let next = next_key.zip(page.next_upload_id_marker);
        if page.is_truncated != Some(true) || next.is_none() || next == marker {
            break;
        }
        marker = next;
    }
    let mut swept = 0;
    for (name, id) in stale {
        swept += usize::from(abort(link, &name, &id).await?);
    }
    Ok(swept)
}

/// Ends an upload; whether there was one.
///
/// # Errors
/// The store still has it.
pub async fn abort(link: &Link, name: &str, id: &str) -> Result<bool> {
    let client = link.client().await?;
    let aborted = try_often(link.settings.attempts, || async {
        let request = client.abort_multipart_upload().bucket(&link.settings.bucket).key(name).upload_id(id);
        request.send().await.map_err(|error| Failure::new("AbortMultipartUpload", &link.place(name), &error))
    });
    match aborted.await {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_absent() || failure.is(&["NoSuchUpload"]) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}
