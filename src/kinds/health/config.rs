//! The config of `health`: what is read, how much of it keeps a name of its own, and what makes a finding of a reading.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::kinds::partitions::policy::PartitionTable;
use crate::kinds::{Says, Word};
use crate::period::Span;
use crate::run::Finding;

/// More names than this are a slip of the hand: each is a time series, of each gauge, in each daemon.
const MOST: u32 = 10_000;

/// Reads how the database is: what is large, slow, old, waiting or in the way. Changes nothing but its own reading.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is read. Default: all of it.
    #[serde(default = "all")]
    #[schemars(with = "Vec<Collector>")]
    pub collect: Vec<Spanned<Collector>>,
    /// So many tables, and schemas, have sizes of their own, the largest; the others are one sum, `other`. The same for
    /// partitioned tables, of which those count whose partitions end first.
    #[serde(default = "hundred")]
    #[schemars(with = "u32")]
    pub tables: Spanned<u32>,
    /// So many indexes are told apart: half of them those that are scanned least, unused ones before all, the others the largest.
    #[serde(default = "hundred")]
    #[schemars(with = "u32")]
    pub indexes: Spanned<u32>,
    /// So many statements are told apart: those slowest on average, and those that took most time in all.
    #[serde(default = "ten")]
    #[schemars(with = "u32")]
    pub queries: Spanned<u32>,
    /// From where on a reading is a finding.
    #[serde(default)]
    pub warn: Warn,
    /// What partition jobs of the same database say of keys.
    #[serde(skip)]
    pub keys: Vec<Word>,
}

/// What is read together, and fails alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Collector {
    TableSizes,
    IndexUsage,
    SlowQueries,
    Wraparound,
    ReplicationSlots,
    LongTransactions,
    WalArchiving,
    Partitions,
}

impl Collector {
    pub const ALL: [Collector; 8] = [
        Collector::TableSizes,
        Collector::IndexUsage,
        Collector::SlowQueries,
        Collector::Wraparound,
        Collector::ReplicationSlots,
        Collector::LongTransactions,
        Collector::WalArchiving,
        Collector::Partitions,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Collector::TableSizes => "table_sizes",
            Collector::IndexUsage => "index_usage",
            Collector::SlowQueries => "slow_queries",
            Collector::Wraparound => "wraparound",
            Collector::ReplicationSlots => "replication_slots",
            Collector::LongTransactions => "long_transactions",
            Collector::WalArchiving => "wal_archiving",
            Collector::Partitions => "partitions",
        }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// From where on a reading is a finding: a line of the plan, and a warning of the run.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Warn {
    /// Dead rows of a table beside its living ones, where they are 10,000 or more.
    pub dead_ratio: f64,
    /// The size of an index that nobody uses.
    pub unused_index: Size,
    /// How long a statement takes on average.
    pub query_mean: Span,
    /// The age of the oldest transaction id, or multixact, beside the one at which autovacuum comes whatever happens.
    pub wraparound_ratio: f64,
    /// The WAL that a replication slot keeps.
    pub slot_retained: Size,
    /// How far a standby is behind.
    pub standby_lag: Size,
    /// How long a transaction has been open.
    pub transaction: Span,
    /// How long ago a transaction was prepared.
    pub prepared_transaction: Span,
    /// Whether it is a finding that no WAL is archived at all: `archive_mode` is off, or there is neither `archive_command` nor
    /// `archive_library`.
    pub archive_off: bool,
    /// How long a WAL segment has been waiting to be archived.
    pub archive_waiting: Span,
    /// How soon the partitions of a table end.
    pub partition_horizon: Span,
}

impl Default for Warn {
    fn default() -> Self {
        let seconds = |seconds| Span(std::time::Duration::from_secs(seconds));
        Self {
            dead_ratio: 0.5,
            unused_index: Size(100_000_000),
            query_mean: seconds(1),
            wraparound_ratio: 1.5,
            slot_retained: Size(10_000_000_000),
            standby_lag: Size(1_000_000_000),
            transaction: seconds(3600),
            prepared_transaction: seconds(15 * 60),
            archive_off: false,
            archive_waiting: seconds(10 * 60),
            partition_horizon: seconds(7 * 24 * 3600),
        }
    }
}

/// A number of bytes: `100 MB`, `10 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (number, unit) = trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
        let unit = match unit.trim() {
            "B" => 1_u64,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(format!("{text:?} is not a size; write it like \"100 MB\" or \"10 GiB\"")),
        };
        let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| format!("{text:?} is not a size that can be counted"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            // A tenth is as much as anybody reads.
            Some((unit, name)) => write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A number of bytes, such as \"100 MB\" or \"10 GiB\"." })
    }
}

fn all() -> Vec<Spanned<Collector>> {
    Collector::ALL.into_iter().map(|collector| Spanned::new(0..0, collector)).collect()
}

fn hundred() -> Spanned<u32> {
    Spanned::new(0..0, 100)
}

fn ten() -> Spanned<u32> {
    Spanned::new(0..0, 10)
}

impl Health {
    pub fn collects(&self, collector: Collector) -> bool {
        self.collect.iter().any(|entry| *entry.get_ref() == collector)
    }

    pub(super) fn mistakes(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.collect.is_empty() {
            found.push(Finding::error("health.collect is empty", "leave it out for all there is, or name some"));
        }
        for (place, entry) in self.collect.iter().enumerate() {
            if self.collect[..place].iter().any(|before| before.get_ref() == entry.get_ref()) {
                let message = format!("{} stands twice in health.collect", entry.get_ref());
                found.push(Finding::error(message, "remove one of the two").at(entry.span()));
            }
        }
        for (key, number) in [("tables", &self.tables), ("indexes", &self.indexes), ("queries", &self.queries)] {
            if *number.get_ref() > MOST {
                let message = format!("{key} = {}: each name is a time series of its own", number.get_ref());
                found.push(Finding::error(message, format!("write {MOST} or less")).at(number.span()));
            }
        }
        for (key, ratio) in [("dead_ratio", self.warn.dead_ratio), ("wraparound_ratio", self.warn.wraparound_ratio)] {
            if !(ratio.is_finite() && ratio > 0.0) {
                found.push(Finding::error(format!("warn.{key} must be more than 0"), "leave it out for the usual"));
            }
        }
        found
    }

    /// How the keys of a table say time, where a partition job of the database says it: as that job's own words.
    pub(super) fn words_on(&self, table: &crate::pg::TableName, policy: &mut PartitionTable) {
        for word in self.keys.iter().filter(|word| word.table == *table) {
            if let Says::Periods { key_format, timezone } = &word.says {
                policy.key_format.clone_from(key_format);
                policy.timezone = Some(*timezone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        for (text, bytes) in [("0 B", 0), ("100 MB", 100_000_000), ("10GiB", 10 << 30), (" 2 kB ", 2_000)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "10", "GB", "1.5 GB", "10 gb", "-1 MB", "99999999999999999999 TB", "99999999999 TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (10_000_000_000, "10.0 GB")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        let check = |config: &str, expect: &str| {
            let said = match toml::from_str::<Health>(config) {
                Err(error) => error.message().to_owned(),
                Ok(health) => health.mistakes().iter().map(|f| format!("{} {}", f.message, f.mend)).collect(),
            };
            let right = if expect.is_empty() { said.is_empty() } else { said.contains(expect) };
            assert!(right, "{config}: {said:?} does not say {expect:?}");
        };
        check("", "");
        check("collect = ['wraparound']\ntables = 0\nwarn = { transaction = '5m', slot_retained = '1 GB' }", "");
        check("collect = []", "health.collect is empty");
        check("collect = ['wraparound', 'wraparound']", "wraparound stands twice");
        check("collect = ['bloat']", "unknown variant `bloat`");
        check("tables = 1000000", "time series");
        check("warn = { dead_ratio = 0.0 }", "warn.dead_ratio must be more than 0");
        check("warn = { slot_retained = '10' }", "is not a size");
        check("warn = { transaction = '30' }", "has no unit");
        check("warn = { dead = 1 }", "unknown field `dead`");
        check("bloat = true", "unknown field `bloat`");
    }

    #[test]
    fn every_collector_is_called_as_the_config_calls_it() {
        for collector in Collector::ALL {
            let read: Collector = serde_json::from_value(collector.as_str().into()).unwrap();
            assert_eq!(read, collector);
        }
    }
}
