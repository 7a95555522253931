//! `[stores.NAME.s3]`, `[stores.NAME.directory]`: where backups are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::definition::{Source, StoreConfig};
use super::errors::{Problems, origin};
use super::read::read;
use super::tree::Node;
use super::written::{Count, Positive, Text};
use super::{files, jobs};
use crate::period::Span;
use crate::store::{Settings, directory, s3};

/// A store: exactly one table, `s3` or `directory`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreKeys {
    #[schemars(with = "Option<S3Keys>")]
    s3: Option<Spanned<S3Keys>>,
    #[schemars(with = "Option<DirectoryKeys>")]
    directory: Option<Spanned<DirectoryKeys>>,
}

/// A directory of this host, or one that is mounted here.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryKeys {
    /// Where it is; it is made when it is missing. A relative path counts from the config's folder.
    #[schemars(with = "PathBuf")]
    path: Spanned<PathBuf>,
}

/// A bucket that speaks the S3 protocol. Credentials come from where the AWS SDK looks: the environment, ~/.aws, a web
/// identity, the container, the instance.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Keys {
    #[schemars(with = "String")]
    bucket: Text<Bucket>,
    /// What every key begins with. Default: nothing.
    #[schemars(with = "Option<String>")]
    prefix: Option<Text<Prefix>>,
    /// The region. Default: as the AWS SDK finds it; with `endpoint`, us-east-1.
    region: Option<String>,
    /// `https://host` or `https://host:port` of a store that is not AWS.
    #[schemars(with = "Option<String>")]
    endpoint: Option<Text<Endpoint>>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`. Default: false.
    path_style: Option<bool>,
    /// How many parts an object may have: 10,000 at AWS, 1,000 at Scaleway. Default: 10000.
    max_parts: Option<Count<1, 10_000>>,
    /// The least size of a part, such as "16 MiB"; large objects have larger ones. Default: 8 MiB.
    #[schemars(with = "Option<PartSize>")]
    part_size: Option<PartSize>,
    /// How many parts are sent at once. Default: 4.
    parts_in_flight: Option<Count<1, 64>>,
    /// Encryption by the store: `AES256`, or `aws:kms`. Default: as the bucket has it.
    sse: Option<SseKey>,
    /// The key's id or ARN for `aws:kms`. Default: the account's own.
    #[schemars(with = "Option<String>")]
    kms_key: Option<Spanned<String>>,
    /// Such as `STANDARD_IA`. Default: as the store has it.
    #[schemars(with = "Option<String>")]
    storage_class: Option<Spanned<String>>,
    /// Whether an ETag that looks like an MD5 must be the one of what was sent. Default: true.
    check_etags: Option<bool>,
    /// A file with the credentials, of the form of ~/.aws/credentials. A relative path counts from the config's folder.
    credentials_file: Option<PathBuf>,
    /// The profile to take from `credentials_file`, or from ~/.aws. Default: default.
    profile: Option<String>,
    /// Certificates, in PEM, of the authority that signed the endpoint's, in addition to the host's own. A relative path
    /// counts from the config's folder.
    #[schemars(with = "Option<PathBuf>")]
    ca_file: Option<Spanned<PathBuf>>,
    /// How often a request is tried that fails for a reason that may pass. Default: 10.
    attempts: Option<Count<1, 100>>,
    /// A request of which no byte has moved for so long is cut, and tried again. Default: 60s.
    #[schemars(with = "Option<Span>")]
    stall_timeout: Option<Positive<Span>>,
}

#[derive(Deserialize, JsonSchema)]
enum SseKey {
    AES256,
    #[serde(rename = "aws:kms")]
    Kms,
}

struct Bucket(String);

impl FromStr for Bucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("s3://").unwrap_or(text);
        let (name, rest) = name.split_once('/').unwrap_or((name, ""));
        if text.starts_with("arn:") || (text == name && !text.is_empty() && !text.contains(char::is_whitespace)) {
            return Ok(Self(text.into()));
        }
        let prefix = if rest.is_empty() { String::new() } else { format!(", prefix = {rest:?}") };
        Err(if name.is_empty() || name.contains(char::is_whitespace) {
            format!("{text:?} is not the name of a bucket")
        } else {
            format!("{text:?} is not the name of a bucket; write bucket = {name:?}{prefix}")
        })
    }
}

/// Ends with `/`, or is empty.
struct Prefix(String);

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.trim_end_matches('/');
        if plain.starts_with('/') || plain.contains("//") {
            return Err(format!("{text:?} begins with a slash or has two in a row; write it like \"backups/pg\""));
        }
        Ok(Self(if plain.is_empty() { String::new() } else { format!("{plain}/") }))
    }
}

struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match host.map(|host| host.trim_end_matches('/')) {
            Some(host) if host.contains('@') => Err(
                "credentials do not belong in it; put them into a `credentials_file`, or where the AWS SDK looks for \
                     them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .into(),
            ),
            Some(host) if !host.is_empty() && !host.contains(['?', '#', ' ']) => {
                Ok(Self(text.trim_end_matches('/').into()))
            }
            _ => {
                Err(format!("{text:?} is not the address of a store; write it like \"https://objects.internal:9000\""))
            }
        }
    }
}

/// Bytes, written with their unit.
struct PartSize(u64);

impl FromStr for PartSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (number, unit) = trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
        let unit = match unit.trim() {
            "MiB" => 1_u64 << 20,
            "GiB" => 1 << 30,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(format!("{text:?} is not a size; write it like \"16 MiB\"")),
        };
        let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
        match bytes {
            Some(bytes) if (s3::SMALLEST_PART..=s3::LARGEST_PART).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(format!("{text:?} is no size of a part; they have from 5 MiB to 5 GiB")),
        }
    }
}

impl<'de> Deserialize<'de> for PartSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|Text(size)| size)
    }
}

impl JsonSchema for PartSize {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PartSize".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*[0-9]+\s*[MG]i?B\s*$" })
    }
}

/// The stores, and the names of all of them: also of those that something is wrong with.
pub fn stores(
    node: Node,
    main: &Arc<Source>,
    problems: &mut Problems,
) -> (BTreeMap<String, StoreConfig>, BTreeSet<String>) {
    let read = read(node, "stores", &[], main, problems, |node| {
        BTreeMap::<Spanned<String>, Spanned<StoreKeys>>::deserialize(node)
    });
    let mut names: BTreeSet<String> = read.lost.into_iter().collect();
    let written = read.value.unwrap_or_default();
    names.extend(written.keys().map(|name| name.get_ref().clone()));
    let mut stores = BTreeMap::new();
    for (name, keys) in written {
        let place = origin(main, name.span());
        let name = name.into_inner();
        if let Err(message) = jobs::check_name("store", &name) {
            problems.error(&place, message);
        }
        let keys = keys.into_inner();
        let settings = match (keys.s3, keys.directory) {
            (Some(s3), None) => Settings::S3(Box::new(bucket(s3.into_inner(), main, problems))),
            (None, Some(directory)) => Settings::Directory(folder(directory.into_inner(), main, problems)),
            (Some(s3), Some(directory)) => {
                let (first, second) = if s3.span().start < directory.span().start {
                    ("s3", directory.span())
                } else {
                    ("directory", s3.span())
                };
                problems.at(
                    main,
                    &second,
                    format!("the store `{name}` has a table `{first}` already; make two stores of it"),
                );
                continue;
            }
            // Where something was cut out, that has been said.
            (None, None) => {
                if read.clean {
                    let message = format!("the store `{name}` does not say where it is; add [stores.{name}.s3]");
                    problems.error(&place, format!("{message} or [stores.{name}.directory]"));
                }
                continue;
            }
        };
        stores.insert(name, StoreConfig { settings, origin: place });
    }
    (stores, names)
}

fn folder(keys: DirectoryKeys, main: &Source, problems: &mut Problems) -> directory::Settings {
    let span = keys.path.span();
    let path = keys.path.into_inner();
    if path.as_os_str().is_empty() {
        problems.at(main, &span, "`path` is empty");
    }
    directory::Settings { path: files::folder(&main.path).join(path) }
}

fn bucket(keys: S3Keys, main: &Arc<Source>, problems: &mut Problems) -> s3::Settings {
    if let Some(key) = &keys.kms_key
        && !matches!(keys.sse, Some(SseKey::Kms))
    {
        problems.at(main, &key.span(), "`kms_key` is for sse = \"aws:kms\" only");
    }
    if let Some(class) = &keys.storage_class
        && matches!(class.get_ref().as_str(), "GLACIER" | "DEEP_ARCHIVE")
    {
        problems.warn(
            origin(main, class.span()),
            format!(
                "objects of the storage class {} cannot be read until they are thawed, so no backup is verified",
                class.get_ref()
            ),
            "leave the move to a lifecycle rule of the bucket, or take GLACIER_IR",
        );
    }
    let ca_file = keys.ca_file.map(|path| {
        let whole = files::folder(&main.path).join(path.get_ref());
        if let Err(error) = s3::check_ca_file(&whole) {
            problems.at(main, &path.span(), format!("`ca_file`: {error:#}"));
        }
        whole
    });
    let usual = s3::Settings::default();
    s3::Settings {
        bucket: keys.bucket.0.0,
        prefix: keys.prefix.map(|Text(prefix)| prefix.0).unwrap_or_default(),
        region: keys.region,
        endpoint: keys.endpoint.map(|Text(endpoint)| endpoint.0),
        path_style: keys.path_style.unwrap_or(false),
        max_parts: keys.max_parts.map_or(usual.max_parts, |Count(n)| n),
        part_size: keys.part_size.map_or(usual.part_size, |PartSize(bytes)| bytes),
        parts_in_flight: keys.parts_in_flight.map_or(usual.parts_in_flight, |Count(n)| n as usize),
        sse: keys.sse.map(|sse| match sse {
            SseKey::AES256 => s3::Sse::Aes256,
            SseKey::Kms => s3::Sse::Kms { key: keys.kms_key.map(Spanned::into_inner) },
        }),
        storage_class: keys.storage_class.map(Spanned::into_inner),
        check_etags: keys.check_etags.unwrap_or(usual.check_etags),
        credentials_file: keys.credentials_file.map(|path| files::folder(&main.path).join(path)),
        profile: keys.profile,
        ca_file,
        attempts: keys.attempts.map_or(usual.attempts, |Count(n)| n),
        stall_timeout: keys.stall_timeout.map_or(usual.stall_timeout, |Positive(span)| span.0),
    }
}
