//! Objects that somebody else has put into a store, by the addresses that he knows them by.
//!
//! An address is read in one way or not at all. Deleting what is not there succeeds, at S3 without a word, so that an
//! address that was misread would let its row go and leave the object behind for ever.

use std::path::Path;

use super::{directory, s3};
use crate::hex;

/// The longest key there is, in bytes.
const LONGEST: usize = 1024;

/// An object of a store: its whole key in a bucket, or its path below a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Located(String);

impl Located {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One of our own making.
    pub(super) fn new(key: String) -> Self {
        Self(key)
    }
}

/// What addresses of a store's objects look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// What comes before a key as it is: `s3://bucket/`, `/var/lib/app/files/`.
    literal: Vec<String>,
    /// What comes before a key that is percent-encoded, scheme and host in small letters: `https://bucket.host/`.
    urls: Vec<String>,
    /// What each key begins with: empty, or with a slash at its end.
    prefix: String,
    /// Keys are paths, in which an empty segment is nothing.
    paths: bool,
    /// The store for people, `s3://bucket/prefix`.
    place: String,
}

impl Addresses {
    pub fn of_bucket(settings: &s3::Settings, place: String) -> Self {
        let s3::Settings { bucket, prefix, region, endpoint, .. } = settings;
        // What has no name of its own, such as an access point, is in no address.
        let named = !bucket.starts_with("arn:");
        let hosts = match endpoint {
            Some(endpoint) => split_url(endpoint).into_iter().collect(),
            None => amazon(region.as_deref()),
        };
        let urls = hosts.into_iter().filter(|_| named).flat_map(|(scheme, host, base)| {
            let base = base.trim_end_matches('/');
            [format!("{scheme}://{host}{base}/{bucket}/"), format!("{scheme}://{bucket}.{host}{base}/")]
        });
        Self {
            literal: named.then(|| format!("s3://{bucket}/")).into_iter().collect(),
            urls: urls.collect(),
            prefix: prefix.clone(),
            paths: false,
            place,
        }
    }

    pub fn of_directory(settings: &directory::Settings, place: String) -> Self {
        let root = std::path::absolute(&settings.path).ok();
        let root = root.as_deref().and_then(Path::to_str).map(|root| format!("{}/", root.trim_end_matches('/')));
        Self {
            urls: root.iter().map(|root| format!("file://{}", encoded(root, PATH))).collect(),
            literal: root.into_iter().collect(),
            prefix: String::new(),
            paths: true,
            place,
        }
    }

    /// The object at an address.
    ///
    /// # Errors
    /// It is none of this store, or it is not certain which; why, after "such as …:".
    pub fn locate(&self, address: &str) -> Result<Located, String> {
        if address.trim() != address {
            return Err("white space begins or ends it".into());
        }
        let key = if let Some(key) = self.literal.iter().find_map(|begin| address.strip_prefix(begin.as_str())) {
            literally(key)?
        } else if let Some((scheme, host, path)) = split_url(address) {
            let whole = format!("{scheme}://{host}{path}");
            let Some(key) = self.urls.iter().find_map(|begin| whole.strip_prefix(begin.as_str())) else {
                return Err(self.outside());
            };
            decoded(key)?
        } else if begins_as_uri(address) {
            return Err(self.outside());
        } else if address.starts_with('/') {
            return Err(if self.paths { self.outside() } else { "a slash begins it".into() });
        } else {
            literally(address)?
        };
        self.is_one(&key)?;
        Ok(Located(key))
    }

    fn is_one(&self, key: &str) -> Result<(), String> {
        if !key.starts_with(&self.prefix) {
            return Err(self.outside());
        }
        if key.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("a segment of it is . or .., which not everybody reads alike".into());
        }
        if key.is_empty() || key.ends_with('/') {
            return Err("it names a folder and no object".into());
        }
        if self.paths && key.split('/').any(str::is_empty) {
            return Err("there are two slashes in a row".into());
        }
        if key.contains('\0') || key.len() > LONGEST {
            return Err(format!("no key has a NUL or more than {LONGEST} bytes"));
        }
        Ok(())
    }

    /// The whole key of one of ours.
    pub(super) fn below_prefix(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn outside(&self) -> String {
        format!("it is not in {}", self.place)
    }

    /// The ways in which an object's address is usually written.
    pub fn spelled(&self, object: &Located) -> Vec<String> {
        let key = &object.0;
        let literal = self.literal.iter().map(|begin| format!("{begin}{key}"));
        let urls = self.urls.iter().flat_map(|begin| {
            [UNRESERVED, COMPONENT, PATH].map(|unchanged| format!("{begin}{}", encoded(key, unchanged)))
        });
        let mut all: Vec<String> = literal.chain(urls).chain([key.clone()]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The endpoints of AWS: scheme, host, and nothing. Of the bucket's own region where it is known: the same name may be
/// another bucket in China, or in one of the United States government's regions.
fn amazon(region: Option<&str>) -> Vec<(String, String, String)> {
    let region = region.unwrap_or_default();
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let mut hosts = Vec::new();
    if !region.is_empty() {
        hosts.extend([
            format!("s3.{region}.{suffix}"),
            format!("s3-{region}.{suffix}"),
            format!("s3.dualstack.{region}.{suffix}"),
        ]);
    }
    if !region.starts_with("cn-") && !region.starts_with("us-gov-") {
        hosts.push("s3.amazonaws.com".into());
    }
    hosts.into_iter().map(|host| ("https".into(), host, String::new())).collect()
}

/// Scheme and host in small letters, without the port that goes without saying, and the rest from its slash on.
fn split_url(text: &str) -> Option<(String, String, String)> {
    let (scheme, rest) = text.split_once("://")?;
    if !is_scheme(scheme) {
        return None;
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let usual = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = host.strip_suffix(usual).unwrap_or(&host).to_owned();
    Some((scheme, host, path.to_owned()))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// `arn:…`, `data:…`, `gs://…`
fn begins_as_uri(address: &str) -> bool {
    address.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// A key that is written as it is; unless it may have been meant to be decoded.
fn literally(key: &str) -> Result<String, String> {
    let encoded = key
        .match_indices('%')
        .map(|(at, _)| &key.as_bytes()[at..])
        .find(|rest| rest.len() >= 3 && rest[1].is_ascii_hexdigit() && rest[2].is_ascii_hexdigit());
    if let Some([percent, high, low, ..]) = encoded {
        let digits: String = [percent, high, low].map(|byte| char::from(*byte)).iter().collect();
        return Err(format!(
            "{digits} in it may stand for itself or for another letter; a URL would say it is the latter"
        ));
    }
    if key.contains("?versionId=") {
        return Err("it names a version of an object".into());
    }
    Ok(key.into())
}

/// A key that is percent-encoded.
fn decoded(key: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let byte = rest.next().zip(rest.next()).and_then(|(high, low)| hex::byte(high, low));
                byte.ok_or("a % in it has no two digits after it")?
            }
            b'+' => return Err("+ in a URL may stand for itself, %2B, or for a space, %20".into()),
            b'?' | b'#' => return Err("more than an object's name is in the URL".into()),
            b'\\' | 0..=b' ' | 0x7f => return Err("something in it belongs into no URL".into()),
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "what it encodes is no UTF-8".into())
}

/// What may stand for itself: by RFC 3986, by JavaScript's encodeURIComponent, and by its encodeURI.
const UNRESERVED: &[u8] = b"-_.~/";
const COMPONENT: &[u8] = b"-_.~/!*'()";
const PATH: &[u8] = b"-_.~/!*'();:@&=$,";

fn encoded(key: &str, unchanged: &[u8]) -> String {
    key.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || unchanged.contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
