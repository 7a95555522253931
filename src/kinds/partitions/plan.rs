//! What to make, what to refuse, and what to say about the rest. Pure: facts in, a plan out.
//!
//! Two steps, because names must be looked up in between: [`wanted`] for each table, then one query for all
//! [`candidates`], then [`decide`].

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::facts::{Action, Create, Leftover, TableFacts};
use super::policy::PartitionTable;
use super::runway::Runway;
use crate::pg::TableName;
use crate::run::{Plan, Step};

/// What is to be made for one table, before the names are settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub table: TableName,
    pub oid: u32,
    pub references: Vec<u32>,
    pub leftovers: Vec<Leftover>,
    /// Why nothing can be made.
    pub refusal: Option<String>,
    pub creates: Vec<Nameless>,
    pub notes: Vec<Step>,
    /// Nothing where the key is not understood.
    pub runway: Option<Runway>,
}

/// A partition to make, and the names it may have, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Nameless {
    /// With the first of `names`.
    pub create: Create,
    pub names: Vec<TableName>,
}

/// What a table wants. `zone` is the job's; the policy may name its own. Nothing is made that ends at or before
/// `not_before`, the cutoff of a retention of the same table.
pub fn wanted(
    facts: &TableFacts,
    policy: &PartitionTable,
    zone: Tz,
    now: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
) -> Wanted {
    let _ = (facts, policy, zone, now, not_before);
    todo!()
}

/// The names to look up.
pub fn candidates(wanted: &[Wanted]) -> Vec<TableName> {
    let _ = wanted;
    todo!()
}

/// The plan for all tables; `taken` are those of the [`candidates`] that some relation has.
pub fn decide(wanted: Vec<Wanted>, taken: &HashSet<TableName>) -> Plan<Action> {
    let _ = (wanted, taken);
    todo!()
}

impl Action {
    /// The line of the plan.
    pub fn step(&self) -> Step {
        todo!()
    }
}
