//! One bucket, in memory; or, for more than that holds, in files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use md5::{Digest as _, Md5};
use pgtend::clock::Clock;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

#[derive(Debug, Clone)]
pub struct Stored {
    pub bytes: Bytes,
    pub etag: String,
    pub metadata: Metadata,
    pub storage_class: Option<String>,
    pub sse: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Begun {
    pub key: String,
    pub initiated: SystemTime,
    pub parts: BTreeMap<i32, (Bytes, String)>,
    metadata: Metadata,
    storage_class: Option<String>,
    sse: Option<String>,
}

/// What the bucket insists on, and what is in it.
#[derive(Debug)]
pub struct State {
    pub bucket: String,
    pub max_parts: i32,
    pub lists_uploads: bool,
    pub page: usize,
    pub objects: BTreeMap<String, Stored>,
    pub uploads: BTreeMap<String, Begun>,
    next: u64,
    /// Where the bytes of objects and parts are kept, if not in memory.
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct Bucket(pub Arc<Mutex<State>>);

const LEAST: usize = 5 << 20;

impl Bucket {
    pub fn new(bucket: &str, folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Mutex::new(State {
            bucket: bucket.into(),
            max_parts: 10_000,
            lists_uploads: true,
            page: 1000,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            next: 1,
            folder,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, bucket: &str) -> S3Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.bucket == bucket {
            Ok(state)
        } else {
            Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"))
        }
    }
}

impl State {
    /// Parts behind one another, where this bucket keeps them.
    fn kept(&self, parts: &[&Bytes]) -> Bytes {
        match (&self.folder, parts) {
            (Some(folder), _) if parts.iter().any(|part| !part.is_empty()) => mapped(folder, parts),
            (_, [one]) => (*one).clone(),
            _ => parts.iter().flat_map(|part| part.iter().copied()).collect(),
        }
    }
}

/// In a file that has no name any more, and goes with whoever holds the bytes last.
fn mapped(folder: &Path, parts: &[&Bytes]) -> Bytes {
    let mut file = tempfile::tempfile_in(folder).expect("make a file");
    for part in parts {
        file.write_all(part).expect("write a part");
    }
    // SAFETY: nobody else can open the file, so that nobody cuts it short.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("map the file");
    Bytes::from_owner(map)
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn hex(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn received(body: Option<StreamingBlob>, content_md5: Option<&str>) -> S3Result<(Bytes, [u8; 16])> {
    let chunks: Vec<Bytes> = match body {
        Some(body) => body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?,
        None => Vec::new(),
    };
    let bytes = Bytes::from(chunks.concat());
    let sum = md5(&bytes);
    match content_md5 {
        Some(told) if told != aws_smithy_types::base64::encode(sum) => Err(s3_error!(BadDigest)),
        // What is kept for years must not go unproven.
        None => Err(s3_error!(InvalidRequest, "Missing required header for this request: Content-MD5")),
        _ => Ok((bytes, sum)),
    }
}

/// An ETag that is no MD5 where the key is not the store's own.
fn etag(md5: String, sse: Option<&str>) -> String {
    if sse.is_some_and(|sse| sse.starts_with("aws:kms")) { md5.chars().rev().collect() } else { md5 }
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let (bytes, sum) = received(input.body, input.content_md5.as_deref()).await?;
        let sse = input.server_side_encryption.map(|sse| sse.as_str().to_owned());
        let etag = etag(hex(&sum), sse.as_deref());
        let mut state = self.of(&input.bucket)?;
        let stored = Stored {
            bytes: state.kept(&[&bytes]),
            etag: etag.clone(),
            metadata: input.metadata.unwrap_or_default(),
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            sse: sse.clone(),
        };
        state.objects.insert(input.key, stored);
        drop(state);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            server_side_encryption: sse.map(ServerSideEncryption::from),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let mut state = self.of(&input.bucket)?;
        let id = format!("upload-{}", state.next);
        state.next += 1;
        let begun = Begun {
            key: input.key.clone(),
            initiated: Clock::default().host().into(),
            parts: BTreeMap::new(),
            metadata: input.metadata.unwrap_or_default(),
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            sse: input.server_side_encryption.map(|sse| sse.as_str().to_owned()),
        };
        state.uploads.insert(id.clone(), begun);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let (bytes, sum) = received(input.body, input.content_md5.as_deref()).await?;
        let mut state = self.of(&input.bucket)?;
        if !(1..=state.max_parts).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and the limit"));
        }
        let bytes = state.kept(&[&bytes]);
        let upload = state.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let etag = etag(hex(&sum), upload.sse.as_deref());
        let sse = upload.sse.clone();
        upload.parts.insert(input.part_number, (bytes, etag.clone()));
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            server_side_encryption: sse.map(ServerSideEncryption::from),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let mut state = self.of(&input.bucket)?;
        let upload = state.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?.clone();
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if named.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let (mut parts, mut sums) = (Vec::new(), Vec::new());
        let last = named.len() - 1;
        let first = named[0].part_number.and_then(|number| upload.parts.get(&number)).map_or(0, |part| part.0.len());
        for (i, part) in named.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            let (content, etag) = upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().map(ETag::value) != Some(etag.as_str()) {
                return Err(s3_error!(InvalidPart));
            }
            if i < last && content.len() < LEAST {
                return Err(s3_error!(EntityTooSmall));
            }
            // As R2 insists.
            if i < last && content.len() != first {
                return Err(s3_error!(InvalidPart, "All non-trailing parts must have the same length."));
            }
            parts.push(content);
            sums.extend(md5(content));
        }
        let etag = etag(hex(&md5(&sums)), upload.sse.as_deref());
        let etag = format!("{etag}-{}", named.len());
        let stored = Stored {
            bytes: state.kept(&parts),
            etag: etag.clone(),
            metadata: upload.metadata,
            storage_class: upload.storage_class,
            sse: upload.sse,
        };
        state.objects.insert(upload.key, stored);
        state.uploads.remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut state = self.of(&req.input.bucket)?;
        state.uploads.remove(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let stored = self.of(&input.bucket)?.objects.get(&input.key).cloned().ok_or_else(|| s3_error!(NoSuchKey))?;
        if let Some(ETagCondition::ETag(wanted)) = input.if_match
            && wanted.value() != stored.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let size = stored.bytes.len() as u64;
        let range = input.range.map(|range| range.check(size)).transpose().map_err(|_| s3_error!(InvalidRange))?;
        let content_range = range.as_ref().map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1));
        let bytes = match &range {
            Some(range) => stored.bytes.slice(
                usize::try_from(range.start).expect("in memory")..usize::try_from(range.end).expect("in memory"),
            ),
            None => stored.bytes,
        };
        let partial = range.is_some();
        let length = bytes.len();
        let body = futures_util::stream::once(async move { Ok::<_, std::io::Error>(bytes) });
        let mut response = S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(Box::pin(body))),
            content_length: i64::try_from(length).ok(),
            content_range,
            e_tag: Some(ETag::Strong(stored.etag)),
            metadata: Some(stored.metadata),
            ..Default::default()
        });
        if partial {
            response.status = Some(hyper::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let stored = self.of(&input.bucket)?.objects.get(&input.key).cloned().ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(stored.bytes.len()).ok(),
            e_tag: Some(ETag::Strong(stored.etag)),
            metadata: Some(stored.metadata),
            server_side_encryption: stored.sse.map(ServerSideEncryption::from),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.of(&req.input.bucket)?.objects.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let state = self.of(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.unwrap_or_default();
        let encoded = input.encoding_type.is_some();
        let found: Vec<_> = state
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix) && **key > after)
            .take(state.page + 1)
            .collect();
        let page = &found[..found.len().min(state.page)];
        let next = page.last().filter(|_| found.len() > page.len()).map(|(key, _)| (*key).clone());
        let contents = page.iter().map(|(key, stored)| Object {
            key: Some(if encoded { url_encoded(key) } else { (*key).clone() }),
            size: i64::try_from(stored.bytes.len()).ok(),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            ..Default::default()
        });
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents.collect()),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        let state = self.of(&input.bucket)?;
        if !state.lists_uploads {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        let prefix = input.prefix.unwrap_or_default();
        let encoded = input.encoding_type.is_some();
        let mut found: Vec<_> = state
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(&prefix))
            .map(|(id, upload)| (&upload.key, id, upload))
            .collect();
        found.sort_by_key(|(key, id, _)| (*key, *id));
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        found.retain(|(key, id, _)| (*key, *id) > (&after.0, &after.1));
        let page = &found[..found.len().min(state.page)];
        let next = page.last().filter(|_| found.len() > page.len());
        let spelled = |key: &str| if encoded { url_encoded(key) } else { key.to_owned() };
        let uploads = page.iter().map(|(key, id, upload)| MultipartUpload {
            key: Some(spelled(key)),
            upload_id: Some((*id).clone()),
            initiated: Some(upload.initiated.into()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            is_truncated: Some(next.is_some()),
            next_key_marker: next.map(|(key, _, _)| spelled(key)),
            next_upload_id_marker: next.map(|(_, id, _)| (*id).clone()),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }
}

/// As S3 spells keys in lists: everything but letters, digits and a few signs, with `+` for a space.
fn url_encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
            b' ' => "+".into(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
