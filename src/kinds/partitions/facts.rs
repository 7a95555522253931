//! What is known of a partitioned table before anything is decided, and what is decided: the words that survey, plan and
//! apply share. No behaviour.

use chrono::{DateTime, Utc};

use crate::pg::{Ident, TableName};

/// A partitioned table of the config, as the catalog has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TableFacts {
    pub table: TableName,
    pub oid: u32,
    /// The role that owns the parent; its partitions are made as this role.
    pub owner: Ident,
    pub key: KeyFacts,
    /// What it may hold at all, where it is itself a partition of a table with the same first key column.
    pub within: Option<Bound>,
    /// The direct partitions, except the default one; detached ones that are still pending are among them.
    pub partitions: Vec<Partition>,
    pub default: Option<DefaultPartition>,
    /// Partitioned tables of the same config that a foreign key of this one points at: they come first.
    pub references: Vec<u32>,
    /// An enabled BEFORE DELETE trigger on the parent or its default partition, by name: rows cannot be moved by DELETE.
    pub immutable: Option<Ident>,
    /// Why nothing can be created here, as far as the catalog tells: not the owner, no CREATE on the schema …
    pub obstacles: Vec<String>,
}

/// How a table is partitioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    pub strategy: Strategy,
    /// The first key column; nothing where the key begins with an expression.
    pub column: Option<Ident>,
    /// The key, for people: `RANGE (created_at, id)`; an expression is not written out.
    pub definition: String,
    pub columns: usize,
    /// `format_type` of the first key column: `timestamp with time zone`, `character varying(7)` …; of a domain what it is
    /// made of.
    pub type_name: String,
    /// Text keys: whether the key's collation orders by bytes (C, POSIX), as comparing bounds needs.
    pub bytewise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Range,
    List,
    Hash,
}

/// A partition and its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub name: TableName,
    pub oid: u32,
    pub bound: Bound,
    pub detach_pending: bool,
    /// It is partitioned itself.
    pub is_parent: bool,
}

/// A partition bound, read from `pg_get_expr(relpartbound, 0)` in a session with `TimeZone=UTC` and `DateStyle=ISO`.
/// Of a key of several columns only the first is told; `exact` says whether the others are all MINVALUE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Range {
        from: Edge,
        to: Edge,
        exact: bool,
    },
    /// The values as text; `None` is NULL.
    List(Vec<Option<String>>),
    /// A text that is none of these.
    Unread(String),
}

/// One end of a RANGE bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    MinValue,
    /// The value as the server writes it, without quotes.
    Value(String),
    MaxValue,
}

/// The default partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultPartition {
    pub name: TableName,
    pub oid: u32,
    pub is_parent: bool,
    /// Foreign keys that point at rows of it, as `table (constraint)`.
    pub referenced_by: Vec<String>,
    /// Whether it has any row at all; nothing where it may not be read.
    pub has_rows: Option<bool>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Create(Box<Create>),
    /// Nothing can be done for this table; applying it fails with these words, and spoils no other.
    Refuse {
        table: TableName,
        why: String,
    },
}

/// A partition to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    pub parent: TableName,
    pub parent_oid: u32,
    pub owner: Ident,
    pub name: TableName,
    pub bound: NewBound,
    /// What it covers on the time line; `to` is not included.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub tablespace: Option<Ident>,
    pub default: Option<DefaultWork>,
    /// Why: `2026-12 is 12 periods ahead`.
    pub reason: String,
}

/// The bound of a new partition, as text of the key's type: written as quoted literals, never pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBound {
    /// `columns`: of the whole key; those after the first get MINVALUE.
    Range {
        from: String,
        to: String,
        columns: usize,
    },
    List(Vec<String>),
}

/// What to do about rows of the new period that lie in the default partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultWork {
    pub default: DefaultPartition,
    pub mode: DefaultRows,
    pub max_rows: u64,
    /// The trigger that forbids DELETE: the rows are copied out of a detached default instead.
    pub immutable: Option<Ident>,
}

/// `default_rows` of the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DefaultRows {
    #[default]
    Move,
    Refuse,
}
