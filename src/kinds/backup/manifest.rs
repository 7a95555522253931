//! What a backup says of itself, beside its dump: enough to find it, to trust it and to open it without pgtend.

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::Format;
use super::counts::Rows;

/// The manifest's own version; one that is larger is of a newer pgtend, and is left alone.
pub const VERSION: u32 = 1;

/// `manifest.json`, written last and never changed. Fields that a newer version adds are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub manifest_version: u32,
    pub id: String,
    pub job: String,
    /// The database's name on its server, whatever the config calls it.
    pub database: String,
    pub database_oid: u32,
    /// As text: it has more digits than JSON's numbers keep everywhere.
    pub system_identifier: String,
    pub timeline: i32,
    pub standby: bool,
    /// `15.18`
    pub server_version: String,
    pub server_version_num: i32,
    pub pg_dump_version: String,
    pub pgtend_version: String,
    pub host: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub format: Format,
    /// `zstd:1`
    pub compression: String,
    /// With what the objects are encrypted, `age`; nothing where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The public keys to which they are encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The arguments of `pg_dump`, which hold no secret.
    pub options: Vec<String>,
    #[serde(default)]
    pub filters: Filters,
    #[serde(default)]
    pub extensions: Vec<Extension>,
    /// What the database has to be made with to be the same; older manifests do not say it.
    #[serde(default)]
    pub locale: Option<Locale>,
    /// Bytes that it had on the server's disk, indexes included; older manifests do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_size: Option<u64>,
    /// Whether the roles of `globals.sql` have their passwords; nothing where there is no such object.
    pub role_passwords: Option<bool>,
    /// Rows by table in the snapshot that was dumped; nothing where they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_counts: Option<Rows>,
    /// The dump first.
    pub objects: Vec<Stored>,
}

/// The encoding and locale of a database, as `pg_database` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locale {
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c` is libc, `i` ICU, `b` PostgreSQL itself; before 15 there is libc alone.
    pub provider: Option<String>,
    /// What the provider calls it, where that is not libc.
    pub locale: Option<String>,
    pub rules: Option<String>,
}

/// What was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    pub schemas: Vec<String>,
    pub exclude_schemas: Vec<String>,
    pub tables: Vec<String>,
    pub exclude_tables: Vec<String>,
    pub exclude_table_data: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    pub name: String,
    pub version: String,
}

/// An object of a backup, beside its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub name: String,
    /// Bytes as stored.
    pub size: u64,
    /// Of the bytes as stored, in hexadecimal digits.
    pub sha256: String,
    /// Bytes before they were packed.
    pub raw_size: u64,
}

/// `verified.json`: how the backup was when it was last read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub id: String,
    pub at: DateTime<Utc>,
    pub good: bool,
    /// What was done: `digests, decompression, pg_restore 15.18`.
    pub how: String,
    /// What was wrong, where it was not good.
    pub error: Option<String>,
    /// Where it was not good: whether what is stored has the digests that it was written with, all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub intact: bool,
}

/// `restored.json`: the last time that the backup was restored into a scratch database, and was whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    pub id: String,
    pub at: DateTime<Utc>,
    /// The `restore_test` job.
    pub job: String,
    /// Where: `user@host:port/dbname`.
    pub server: String,
    pub server_version_num: i32,
    pub duration_seconds: f64,
    /// How many there were.
    pub tables: i64,
    /// How many tables and rows were held against the manifest; nothing where it has no counts.
    pub tables_compared: Option<usize>,
    pub rows_compared: Option<u64>,
    /// What was asked, and was true.
    pub queries: Vec<String>,
    /// Whether owners and grants were restored too.
    pub owners: bool,
}

/// Which database a backup is of. Names change hands; these do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub system_identifier: String,
    pub database_oid: u32,
}

impl Manifest {
    /// # Errors
    /// It is no manifest, or that of a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            manifest_version: u32,
        }
        let Version { manifest_version } = serde_json::from_slice(bytes).context("it is no manifest of pgtend's")?;
        if manifest_version > VERSION {
            bail!("it was written by a newer version of pgtend (manifest version {manifest_version})");
        }
        serde_json::from_slice(bytes).context("it is no manifest of pgtend's")
    }

    /// For a store: JSON that people can read too.
    pub fn bytes(&self) -> Vec<u8> {
        pretty(self)
    }

    pub fn identity(&self) -> Identity {
        Identity { system_identifier: self.system_identifier.clone(), database_oid: self.database_oid }
    }

    /// The dump itself.
    pub fn dump(&self) -> Option<&Stored> {
        self.objects.first()
    }

    /// Bytes of all its objects, as stored.
    pub fn size(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
}

impl Verified {
    pub fn bytes(&self) -> Vec<u8> {
        pretty(self)
    }
}

impl Restored {
    pub fn bytes(&self) -> Vec<u8> {
        pretty(self)
    }
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeZone;

    use super::*;

    pub fn manifest(id: &str, size: u64) -> Manifest {
        let no_id = || Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        let at = super::super::naming::read(id).map_or_else(no_id, |id| id.began);
        Manifest {
            manifest_version: VERSION,
            id: id.into(),
            job: "nightly".into(),
            database: "app \"Ω\"".into(),
            database_oid: 16_384,
            system_identifier: "7400000000000000001".into(),
            timeline: 1,
            standby: false,
            server_version: "15.18".into(),
            server_version_num: 150_018,
            pg_dump_version: "15.18".into(),
            pgtend_version: "0.1.0".into(),
            host: "h".into(),
            started_at: at,
            finished_at: at,
            format: Format::Custom,
            compression: "zstd:1".into(),
            encryption: None,
            recipients: Vec::new(),
            options: vec!["--format=custom".into()],
            filters: Filters::default(),
            extensions: vec![Extension { name: "pgcrypto".into(), version: "1.3".into() }],
            locale: None,
            database_size: None,
            role_passwords: Some(true),
            row_counts: None,
            objects: vec![Stored { name: "app.dump.zst".into(), size, sha256: "00".into(), raw_size: size * 4 }],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let written = manifest("2026-11-21T020000Z", 10);
        assert_eq!(Manifest::parse(&written.bytes()).unwrap(), written);
    }

    #[test]
    fn a_manifest_says_that_it_is_encrypted_and_one_that_does_not_is_not() {
        let plain = manifest("2026-11-21T020000Z", 10);
        assert!(!String::from_utf8(plain.bytes()).unwrap().contains("encryption"));
        let sealed = Manifest { encryption: Some("age".into()), recipients: vec!["age1x".into()], ..plain };
        assert_eq!(Manifest::parse(&sealed.bytes()).unwrap(), sealed);
    }

    #[test]
    fn what_a_newer_version_adds_is_passed_over_and_what_it_changes_is_left_alone() {
        let mut value = serde_json::to_value(manifest("2026-11-21T020000Z", 10)).unwrap();
        value["colour"] = "blue".into();
        assert!(Manifest::parse(value.to_string().as_bytes()).is_ok());
        value["manifest_version"] = 2.into();
        let error = Manifest::parse(value.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
        for text in ["", "{}", "[1]", "{\"manifest_version\": 1}"] {
            assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
