//! How far the partitions of a table reach: until when an insert of "now" finds one. Pure.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::cover::Cover;
use super::every::Line;
use super::facts::TableFacts;
use super::key::{FIRST, Key, LAST};
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

/// 9999-12-31: what a gauge says of a run without end, which has no number.
const NEVER: f64 = 253_402_214_400.0;

impl Runway {
    /// For `pgtend_partition_horizon_timestamp_seconds`; the end of the year 9999 where the run never ends.
    pub fn timestamp(&self) -> f64 {
        // Seconds of any year a partition may have are exact in an f64.
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        self.until.map_or(NEVER, |until| until.timestamp() as f64)
    }

    /// Whether a row of now finds no partition of its own.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= self.now)
    }

    /// `the first insert would fail at 2026-12-01 00:00:00Z`.
    pub fn sentence(&self) -> String {
        let Some(until) = self.until else { return "its partitions reach without end".into() };
        let until = until.format("%Y-%m-%d %H:%M:%SZ");
        match (&self.default, self.is_over()) {
            (None, false) => format!("the first insert would fail at {until}"),
            (None, true) => "there is no partition for now: inserts fail".into(),
            (Some(default), false) => {
                format!("rows from {until} on would go to the default partition {}", default.plain())
            }
            (Some(default), true) => {
                format!("there is no partition for now: rows go to the default partition {}", default.plain())
            }
        }
    }
}

/// Nothing where the key is not understood, or `every` is none; nor of a partition that is partitioned itself and holds
/// another time than now. `zone` is the job's.
pub fn runway(facts: &TableFacts, policy: &PartitionTable, zone: Tz, now: DateTime<Utc>) -> Option<Runway> {
    let key = Key::of(&facts.key, policy.key_format.as_ref(), policy.every().ok()?).ok()?;
    let (cover, zone) = (Cover::of(facts, &key), policy.zone(zone));
    cover.may_hold(key.line().position(now, zone)).then(|| of(facts, &cover, key.line(), zone, now))
}

/// Bounds that cannot be read count as none: better an alert too many than a run that is shorter than it is said to be.
pub fn of(facts: &TableFacts, cover: &Cover<'_>, line: Line, zone: Tz, now: DateTime<Utc>) -> Runway {
    let here = line.position(now, zone);
    let until = match cover.reach(here) {
        LAST => None,
        end if end == here || end == FIRST => Some(now),
        end => Some(line.instant(end, zone)),
    };
    Runway { until, default: facts.default.as_ref().map(|default| default.name.clone()), now }
}
