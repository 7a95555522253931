//! What is known of views before a plan is made, and what a plan has them done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pg::{Ident, TableName};
pub use crate::run::Refusal;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What the config names and is no materialized view that we could look at.
    pub refused: Vec<(TableName, Refusal)>,
    pub views: Vec<View>,
    /// Entries of `exclude` that name one view, which is not there; by their place in it.
    pub idle: Vec<usize>,
    /// Which materialized views the query of each reads, be it through plain views; of all that the database has.
    pub reads: BTreeMap<u32, BTreeSet<u32>>,
    /// The names of all there are.
    pub names: BTreeMap<u32, TableName>,
    pub database: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub oid: u32,
    pub name: TableName,
    pub owner: Ident,
    /// As whom it is refreshed: its owner, if we may.
    pub role: Result<Ident, Refusal>,
    pub populated: bool,
    pub index: Index,
    /// Whether its owner may make temporary tables, which CONCURRENTLY does.
    pub temporary: bool,
    /// By the server's statistics.
    pub dead: i64,
    pub living: i64,
    /// The file it lies in, which a plain refresh replaces.
    pub file: Option<u32>,
    /// Where the config wants to know.
    pub change: Option<Change>,
}

/// An index by which CONCURRENTLY tells the rows of a view apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    Usable(String),
    /// The nearest to one, if any.
    Lacking(Option<Near>),
}

/// An index that will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    pub name: String,
    /// None where it is one of expressions.
    pub columns: Vec<Ident>,
    pub unique: bool,
    pub valid: bool,
    pub partial: bool,
}

/// What tells whether a view would be the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of all that the view is made from, as it is now.
    pub digest: String,
    /// What no counter tells.
    pub doubts: Vec<String>,
    pub remembered: Option<Memory>,
}

/// What the last run that refreshed the view wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub digest: Option<String>,
    pub file: Option<u32>,
    pub at: String,
}

/// How a view is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Concurrently,
    /// Readers of it wait.
    Plainly,
    /// The first time: there is nothing yet to be read.
    First,
}

#[derive(Debug, Clone)]
pub enum Action {
    Refuse { oid: Option<u32>, name: TableName, why: String, ledger: Ledger },
    Refresh(Box<Going>),
    Vacuum(Box<Sweep>),
}

/// A view that is to be refreshed.
#[derive(Debug, Clone)]
pub struct Going {
    pub oid: u32,
    pub name: TableName,
    pub role: Ident,
    pub how: How,
    pub why: String,
    /// The statement after which readers would not have to wait.
    pub help: Option<String>,
    /// Views of this plan that it is made from: those first.
    pub after: Vec<(u32, TableName)>,
    /// Whether to note what it was made from.
    pub noted: bool,
    pub ledger: Ledger,
}

/// A view with dead rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    pub oid: u32,
    pub name: TableName,
    pub role: Ident,
    pub dead: i64,
    pub living: i64,
}

/// What has become of the views of one plan so far: whether each is as new as it should be.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<u32, bool>>>);

impl Ledger {
    pub fn note(&self, view: u32, refreshed: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(view, refreshed);
    }

    pub fn get(&self, view: u32) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&view).copied()
    }
}
