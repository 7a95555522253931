//! What a store says no with: in its words, whether it may pass, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// `UploadPart`
    operation: &'static str,
    /// `s3://bucket/key`
    object: String,
    pub status: Option<u16>,
    /// As S3 names it: `SlowDown`.
    pub code: Option<String>,
    /// What happened, in the words of the store or of the network.
    words: String,
    request: Option<String>,
    /// Where the bucket is, if that was said.
    region: Option<String>,
    certificate: bool,
    /// Whether the same request may go well a little later.
    pub passing: bool,
    tries: u32,
}

/// Codes of what may pass, besides the statuses that say so.
const PASSING: &[&str] = &[
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    // What arrived was not what was sent.
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
];

impl Failure {
    pub fn new<E>(operation: &'static str, object: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut failure = Self::said(operation, object, String::new());
        if let Some(raw) = error.raw_response() {
            let header = |name| raw.headers().get(name).map(ToOwned::to_owned);
            failure.status = Some(raw.status().as_u16());
            failure.request = header("x-amz-request-id");
            failure.region = header("x-amz-bucket-region").or_else(|| {
                let body = std::str::from_utf8(raw.body().bytes()?).ok()?;
                let (_, rest) = body.split_once("<Region>")?;
                Some(rest.split_once("</Region>")?.0.to_owned())
            });
        }
        match error {
            SdkError::ServiceError(refusal) => {
                failure.code = refusal.err().code().map(ToOwned::to_owned);
                failure.words = refusal.err().message().unwrap_or_default().into();
            }
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => {
                failure.words = words(error);
                failure.certificate = is_about_a_certificate(error);
                failure.passing = !failure.certificate;
            }
            SdkError::ResponseError(_) => {
                failure.words = format!("the answer cannot be read: {}", words(error));
                failure.passing = true;
            }
            _ => failure.words = words(error),
        }
        let code = failure.code.as_deref();
        failure.passing |= failure.status.is_some_and(|status| matches!(status, 408 | 429 | 500 | 502 | 503 | 504))
            || code.is_some_and(|code| PASSING.contains(&code));
        failure
    }

    /// One of our own making, which does not pass.
    pub fn said(operation: &'static str, object: &str, words: impl Into<String>) -> Self {
        Self {
            operation,
            object: object.into(),
            status: None,
            code: None,
            words: words.into(),
            request: None,
            region: None,
            certificate: false,
            passing: false,
            tries: 1,
        }
    }

    #[must_use]
    pub fn that_may_pass(mut self) -> Self {
        self.passing = true;
        self
    }

    /// The last of so many tries.
    #[must_use]
    pub fn after(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    pub fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    pub fn is_absent(&self) -> bool {
        self.status == Some(404) && !self.is(&["NoSuchBucket"])
    }

    fn mend(&self) -> Option<String> {
        if self.certificate {
            return Some("put the certificate of the authority that signed the endpoint's into `ca_file`".into());
        }
        self.status?;
        let moved = matches!(self.status, Some(301 | 307))
            || self.is(&["AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"]);
        if moved {
            return Some(match &self.region {
                Some(region) => format!("write region = {region:?} in the store's table"),
                None => "the bucket is in another region: write its `region` in the store's table".into(),
            });
        }
        let advice = match self.code.as_deref() {
            Some("AccessDenied" | "Forbidden" | "AllAccessDisabled") => return Some(self.grant()),
            None if self.status == Some(403) => return Some(self.grant()),
            Some("NoSuchBucket") => "make the bucket, or correct `bucket`, `endpoint` or `path_style`",
            Some("InvalidAccessKeyId") => "the access key is not known there: see AWS_ACCESS_KEY_ID or the profile",
            Some("SignatureDoesNotMatch") => {
                "the secret key does not belong to the access key, or something on the way changes requests"
            }
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                "the session's credentials have expired: get new ones"
            }
            Some("RequestTimeTooSkewed") => {
                "this host's clock and the store's are too far apart: set the wrong one right"
            }
            Some("EntityTooLarge" | "EntityTooSmall" | "TooManyParts") => {
                "set `part_size` and `max_parts` to what the store takes"
            }
            Some("InvalidStorageClass") => "correct `storage_class`",
            Some("InvalidObjectState") => "the object is in an archive: thaw it first",
            Some("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") => "make room in the store",
            Some(code) if code.starts_with("KMS.") => "see that the key of `kms_key` is there and may be used",
            _ => return None,
        };
        Some(advice.into())
    }

    /// The permission that is missing, as policies name it.
    fn grant(&self) -> String {
        let permission = match self.operation {
            "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" | "PutObject" => "s3:PutObject",
            "AbortMultipartUpload" => "s3:AbortMultipartUpload",
            "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
            "ListObjectsV2" => "s3:ListBucket",
            "DeleteObject" => "s3:DeleteObject",
            _ => "s3:GetObject and s3:ListBucket",
        };
        format!("let these credentials do {permission} there")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.object)?;
        for words in self.code.as_deref().into_iter().chain(Some(self.words.as_str())) {
            if !words.is_empty() {
                write!(f, ": {words}")?;
            }
        }
        let said = [
            self.status.map(|status| format!("HTTP {status}")),
            self.request.as_ref().map(|request| format!("request {request}")),
            (self.tries > 1).then(|| format!("tried {} times", self.tries)),
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        if !said.is_empty() {
            write!(f, " ({})", said.join(", "))?;
        }
        match self.mend() {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

/// An error and what is behind it, each said once.
pub fn words(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if said.last().is_none_or(|last| !last.ends_with(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

fn is_about_a_certificate(error: &(dyn Error + 'static)) -> bool {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return matches!(found, rustls::Error::InvalidCertificate(_));
    }
    // What an I/O error holds is not what it gives as its source.
    let held =
        error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|held| held as &(dyn Error + 'static));
    held.or_else(|| error.source()).is_some_and(is_about_a_certificate)
}
