//! What is known of a partitioned table and its partitions before anything is decided, and what is decided: the words that
//! survey, plan and apply share. No behaviour beyond spelling.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::mark::Mark;
use crate::kinds::partitions::facts as catalog;
use crate::kinds::partitions::rows::Count;
use crate::kinds::retention::export::Proof;
use crate::kinds::retention::policy::{self, RetentionTable};
use crate::pg::catalog::Reference;
use crate::pg::{Ident, TableName};
pub use crate::run::Refusal;

/// A partitioned table of the config.
#[derive(Debug, Clone)]
pub struct TableFacts {
    pub parent: catalog::TableFacts,
    pub policy: RetentionTable,
    pub zone: Tz,
    /// `server_version_num`.
    pub server: i32,
    /// The table, and those it is itself a partition of: a hold on one of them holds all of it.
    pub lineage: Vec<TableName>,
    /// Foreign keys that point at the whole table.
    pub references: Vec<Reference>,
    /// By oid, those that may have to go.
    pub leaves: HashMap<u32, LeafFacts>,
    /// Tables with our mark that were partitions of it and are attached to nothing.
    pub detached: Vec<Detached>,
    /// Rows in the default partition; nothing where there is none, or they cannot be counted.
    pub default_rows: Option<Count>,
    /// Why nothing of it can go, as far as the catalog tells.
    pub obstacles: Vec<Refusal>,
    /// Why nothing of it may go, by what the database's `never` names; also not what was begun before.
    pub never: Option<Refusal>,
}

/// What becomes of a partition that is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Drop,
    /// Left as a table of its own.
    Detach,
    /// Left as a table of its own in this schema.
    Archive(Ident),
}

impl Fate {
    /// # Errors
    /// What the policy asks for is none for partitions.
    pub fn of(policy: &RetentionTable) -> Result<Self, Refusal> {
        let table = policy.table.plain();
        if policy.condition.is_some() || policy.age_from.is_some() {
            return Err(Refusal::new(
                format!("{table} is partitioned, and where and age_from are about single rows"),
                "remove them: a partition goes whole, by its bounds",
            ));
        }
        match (policy.action, &policy.to) {
            (None | Some(policy::Action::Drop), _) => Ok(Fate::Drop),
            (Some(policy::Action::Detach), _) => Ok(Fate::Detach),
            (Some(policy::Action::Archive), Some(to)) => to.parse().map(Fate::Archive).map_err(|_| {
                Refusal::new(
                    format!("{table} is partitioned, and its partitions move to a schema: {to:?} is none"),
                    "write to = \"archive\"",
                )
            }),
            (Some(policy::Action::Archive), None) => {
                Err(Refusal::new(format!("{table} is archived, and to does not say where to"), "add to = \"archive\""))
            }
            (Some(policy::Action::Delete), _) => Err(Refusal::new(
                format!("{table} is partitioned, and its partitions go whole"),
                "leave action out, or write \"drop\", \"detach\" or \"archive\"",
            )),
        }
    }

    /// As in the config.
    pub const fn word(&self) -> &'static str {
        match self {
            Fate::Drop => "drop",
            Fate::Detach => "detach",
            Fate::Archive(_) => "archive",
        }
    }
}

/// A partition that may have to go, and all that is under it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeafFacts {
    pub kind: char,
    pub owner: Ident,
    /// Whether the session's role may act as the owner.
    pub may_act: bool,
    /// Whether the owner has the right on its rows that a lock asks for.
    pub may_lock: bool,
    /// As `pg_get_expr` gives it: `FOR VALUES FROM ('2025-01-01 00:00:00+00') TO …`.
    pub bound: String,
    pub bytes: Option<u64>,
    /// By the planner's statistics.
    pub rows: Option<u64>,
    /// Itself and what it is partitioned into.
    pub tree: Vec<TableName>,
    pub comment: Option<String>,
    /// Enabled BEFORE DELETE triggers in the tree.
    pub delete_triggers: Vec<String>,
    /// What keeps it from being dropped: views and other objects that depend on it.
    pub dependents: Vec<String>,
    /// Foreign keys that point at it.
    pub references: Vec<Reference>,
    /// Rows that refer to rows of it, and lie in no partition that may have to go as well.
    pub referring: Vec<Referring>,
    pub newest: Newest,
    /// Whether something has its name in the schema it would move to.
    pub name_taken: bool,
}

/// Rows that refer to a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referring {
    pub table: TableName,
    pub constraint: String,
    /// Up to [`Referring::MOST`].
    pub rows: u64,
}

impl Referring {
    /// More than so many are not counted.
    pub const MOST: u64 = 1_000;
}

impl fmt::Display for Referring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = match self.rows {
            1 => "1 row".into(),
            n if n > Self::MOST => format!("more than {} rows", Self::MOST),
            n => format!("{n} rows"),
        };
        let verb = if self.rows == 1 { "refers" } else { "refer" };
        write!(f, "{rows} of {} {verb} to it (constraint {})", self.table.plain(), self.constraint)
    }
}

/// The newest real time in a partition, where the policy asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newest {
    NotAsked,
    /// Nothing in it is newer than the cutoff.
    Old,
    /// This row is.
    Newer(String),
    /// It could not be read in the time there is for a plan.
    Unknown(String),
}

/// A table with our mark that is attached to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Detached {
    pub name: TableName,
    pub oid: u32,
    pub mark: Mark,
    pub leaf: LeafFacts,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Fails when it is applied, so that what cannot be done is never called done.
    Refuse {
        target: String,
        table: String,
        refusal: Refusal,
    },
    /// Writes a partition to a store and reads it back, before it goes.
    Export(Arc<Going>),
    Go(Arc<Going>),
    /// A mark that a dead daemon left on a partition that is to stay.
    Unmark(Box<Unmark>),
    /// Rows that no partition of their own holds.
    Rows(Box<Rows>),
}

/// Old rows of a leaf that does not go.
#[derive(Debug)]
pub struct Rows {
    /// The table of the config.
    pub table: TableName,
    /// It, those above it, and the leaf: for holds.
    pub lineage: Vec<TableName>,
    /// Why they are looked for one by one: `the default partition`.
    pub what: String,
    pub action: crate::kinds::rows::Action,
}

/// A partition that goes, or is on its way.
#[derive(Debug, Clone)]
pub struct Going {
    /// The table of the config.
    pub table: TableName,
    pub parent_oid: u32,
    /// Its owner, as whom partitions are detached.
    pub owner: Ident,
    /// The table and those above it, for holds.
    pub lineage: Vec<TableName>,
    pub leaf: TableName,
    pub oid: u32,
    pub kind: char,
    pub leaf_owner: Ident,
    pub bound: String,
    pub from: Option<DateTime<Utc>>,
    /// Not included.
    pub to: DateTime<Utc>,
    pub bytes: Option<u64>,
    pub rows: Option<u64>,
    pub fate: Fate,
    pub stand: Stand,
    /// Whether its detaching was begun by us; what somebody else has begun is finished, and no more.
    pub ours: bool,
    pub way: Way,
    /// The rule that condemns it: `ends 2025-11-01, before the cutoff 2025-11-29 (keep 1 year)`.
    pub reason: String,
    pub references: Vec<Reference>,
    /// Whether a foreign key points at it, or at all of its table, so that DETACH looks for rows that refer to it.
    pub referenced: bool,
    /// Partitions with rows that refer to it, which go before it.
    pub after: Vec<(u32, TableName)>,
    /// The column of the newest real time, and what no row of the partition may reach.
    pub newest: Option<(Ident, DateTime<Utc>)>,
    pub zone: Tz,
    pub detach_timeout: Duration,
    /// The store it has to be exported to first.
    pub export: Option<String>,
    /// A trigger, or the policy, stands on deleting from it: what was dropped is remembered.
    pub immutable: bool,
    pub ledger: Ledger,
}

impl Going {
    /// The same partition, left as a table of its own: what it is not certain that we have detached.
    #[must_use]
    pub fn kept(&self) -> Self {
        Self { fate: Fate::Detach, ours: false, export: None, ..self.clone() }
    }
}

/// How far it is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    Attached,
    /// Its detaching was begun concurrently, and not finished.
    Pending,
    /// It is a table of its own.
    Detached,
}

/// How a partition is detached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Concurrently,
    /// In a transaction that locks the parent; with the reason.
    Plainly(String),
}

/// A mark to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmark {
    pub table: TableName,
    pub leaf: TableName,
    pub oid: u32,
    pub owner: Ident,
    pub comment: Option<String>,
}

/// What became of the partitions of one plan, so that those that wait for others know.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    became: BTreeMap<u32, Became>,
    /// Those whose detaching is known to have been begun by this run.
    begun: BTreeSet<u32>,
    proofs: BTreeMap<u32, Proof>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// Written to the store, and read back.
    Exported,
    Gone,
    /// It is tried no more in this run.
    Failed,
}

impl Ledger {
    pub fn note(&self, oid: u32, became: Became) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).became.insert(oid, became);
    }

    /// Its detaching was begun, and by nobody but this run.
    pub fn begin(&self, oid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begun.insert(oid);
    }

    pub fn has_begun(&self, oid: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begun.contains(&oid)
    }

    /// It was exported, and this is what it held.
    pub fn prove(&self, oid: u32, proof: Proof) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.became.insert(oid, Became::Exported);
        entries.proofs.insert(oid, proof);
    }

    /// What was exported is no longer what it holds.
    pub fn forget(&self, oid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).proofs.remove(&oid);
    }

    pub fn proof(&self, oid: u32) -> Option<Proof> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).proofs.get(&oid).cloned()
    }

    pub fn of(&self, oid: u32) -> Option<Became> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).became.get(&oid).copied()
    }
}
