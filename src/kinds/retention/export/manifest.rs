//! What an export says of itself, and where it lies:
//! `JOB/exports/public.test_runs_2023_01/2026-11-21T020000Z/` with `rows.copy.zst`, `table.sql`, and, written last,
//! `manifest.json`; then `verified.json`, once it has been read back.

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::content::Content;
use super::copy::Column;
use crate::kinds::backup::manifest::{Identity, Stored};
use crate::kinds::backup::naming;
use crate::store::Key;

/// The manifest's own version; one that is larger is of a newer pgtend, and is left alone.
pub const VERSION: u32 = 1;
pub const TABLE: &str = "table.sql";
pub const ROWS: &str = "rows.copy.zst";

/// `manifest.json`, written last and never changed. Fields that a newer version adds are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    pub export_version: u32,
    pub id: String,
    pub job: String,
    pub database: String,
    pub database_oid: u32,
    pub system_identifier: String,
    pub server_version: String,
    pub pgtend_version: String,
    pub host: String,
    /// The partitioned table, as the config writes names.
    pub table: String,
    pub partition: String,
    pub partition_oid: u32,
    /// As `pg_get_expr` gives it.
    pub bound: String,
    pub from: Option<DateTime<Utc>>,
    /// Not included.
    pub to: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    /// In the order in which the rows have them.
    pub columns: Vec<Column>,
    pub content: Content,
    /// `zstd:1`
    pub compression: String,
    /// The rows first.
    pub objects: Vec<Stored>,
}

impl Export {
    /// # Errors
    /// It is no manifest of an export, or that of a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            export_version: u32,
        }
        let Version { export_version } = serde_json::from_slice(bytes).context("it is no manifest of an export")?;
        if export_version > VERSION {
            bail!("it was written by a newer version of pgtend (export version {export_version})");
        }
        serde_json::from_slice(bytes).context("it is no manifest of an export")
    }

    /// For a store: JSON that people can read too.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    pub fn identity(&self) -> Identity {
        Identity { system_identifier: self.system_identifier.clone(), database_oid: self.database_oid }
    }

    /// Bytes of all its objects, as stored.
    pub fn size(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
}

/// The folder of all exports of a job.
pub fn exports(job: &str) -> Key {
    naming::folder(job).join("exports")
}

/// The folder of the exports of one partition.
pub fn folder(job: &str, partition: &str) -> Key {
    exports(job).join(partition)
}
