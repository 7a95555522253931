//! What a database says of itself, before anything is made of it: the words that `look`, `propose` and `print` share.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::kinds::partitions::facts::TableFacts;
use crate::kinds::refresh::facts::View;
use crate::pg::catalog::OnDelete;
use crate::pg::pg_cron::CronJob;
use crate::pg::{Ident, TableName};

#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub server: Server,
    /// Plain and partitioned ones, no partitions; by name.
    pub tables: Vec<Table>,
    pub partitioned: Vec<Partitioned>,
    pub views: Vec<View>,
    pub policies: Vec<PolicyTable>,
    /// Nothing where there is no pg_cron.
    pub cron: Option<Cron>,
}

#[derive(Debug, Clone)]
pub struct Server {
    /// `15.18`
    pub version: String,
    pub database: String,
    pub role: String,
    pub standby: bool,
    /// That of a session that asks for none; nothing where it is no zone of the tz database.
    pub time_zone: Option<Tz>,
    /// Since when the counters count.
    pub counted_since: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
    pub extensions: BTreeSet<String>,
    /// Whether there is a schema called archive.
    pub has_archive: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            version: String::new(),
            database: String::new(),
            role: String::new(),
            standby: false,
            time_zone: None,
            counted_since: None,
            now: DateTime::UNIX_EPOCH,
            extensions: BTreeSet::new(),
            has_archive: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub oid: u32,
    pub name: TableName,
    pub partitioned: bool,
    /// Partitions, or children by inheritance.
    pub has_children: bool,
    pub owner: Ident,
    pub columns: Vec<Column>,
    pub primary_key: Vec<Ident>,
    /// Other keys that are unique, each by its columns.
    pub unique: Vec<Vec<Ident>>,
    /// The columns that an index of all rows begins with.
    pub indexed: BTreeSet<Ident>,
    pub referenced_by: Vec<Reference>,
    pub references: Vec<Outgoing>,
    pub row_security: bool,
    /// Whatever a DELETE sets off, on the table or on what is under it.
    pub triggers: Vec<String>,
    /// As the last VACUUM or ANALYZE has estimated them; nothing before the first.
    pub rows: Option<f64>,
    /// Without indexes and what is stored apart.
    pub bytes: i64,
    pub counters: Counters,
    /// What deleting rows asks for and the role that looks has not.
    pub lacking: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Ident,
    /// `timestamp with time zone`, without a modifier; of a domain what it is made of.
    pub type_name: String,
    pub not_null: bool,
    /// The server gives a value where none is given.
    pub given: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
}

/// A foreign key that points at a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub table: TableName,
    pub on_delete: OnDelete,
}

/// A foreign key of a table's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub columns: Vec<Ident>,
    pub to: u32,
}

#[derive(Debug, Clone)]
pub struct Partitioned {
    /// It is a partition of another.
    pub is_partition: bool,
    pub facts: TableFacts,
}

/// A table that says how long others keep their rows.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyTable {
    pub table: TableName,
    pub columns: PolicyColumns,
    /// What it holds; why that cannot be read.
    pub held: Result<Vec<HeldPolicy>, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyColumns {
    pub table_name: Ident,
    pub retention_days: Ident,
    pub archive_enabled: Option<Ident>,
    pub delete_enabled: Option<Ident>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPolicy {
    pub table: String,
    pub days: Option<i64>,
    pub archive: Option<bool>,
    pub delete: Option<bool>,
}

/// What pg_cron runs in this database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cron {
    /// As far as the role may see them.
    pub jobs: Vec<CronJob>,
    /// Why that may not be all.
    pub hidden: Option<String>,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.as_str() == name)
    }

    pub fn plain(&self) -> String {
        self.name.plain()
    }
}

impl Column {
    pub fn is_time(&self) -> bool {
        matches!(self.type_name.as_str(), "timestamp with time zone" | "timestamp without time zone" | "date")
    }

    pub fn is_whole(&self) -> bool {
        matches!(self.type_name.as_str(), "integer" | "bigint")
    }
}
