//! How far the partitions of a table reach: until when an insert of "now" finds one. Pure.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::facts::TableFacts;
use super::policy::PartitionTable;
use crate::pg::TableName;

/// The unbroken run of partitions from now.
#[derive(Debug, Clone, PartialEq)]
pub struct Runway {
    /// Where it ends; now, if there is no partition for now. Nothing where it never does (MAXVALUE).
    pub until: Option<DateTime<Utc>>,
    /// What takes the rows that come after.
    pub default: Option<TableName>,
    pub now: DateTime<Utc>,
}

impl Runway {
    /// For `pgtend_partition_horizon_timestamp_seconds`; the year 9999 where the run never ends.
    pub fn timestamp(&self) -> f64 {
        todo!()
    }

    /// `the first insert would fail at 2026-12-01 00:00:00Z`.
    pub fn sentence(&self) -> String {
        todo!()
    }
}

/// Nothing where the key is not understood, or `every` is none.
pub fn runway(facts: &TableFacts, policy: &PartitionTable, zone: Tz, now: DateTime<Utc>) -> Option<Runway> {
    let _ = (facts, policy, zone, now);
    todo!()
}
