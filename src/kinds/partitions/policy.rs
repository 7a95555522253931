//! The config of `partitions`: which tables, how wide a partition, how many of them ahead.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::every::Every;
use super::facts::DefaultRows;
use super::format::KeyFormat;
use super::name::Pattern;
use crate::kinds::retention::policy::Policies;
use crate::kinds::{Says, Word};
use crate::period::Period;
use crate::pg::{Ident, TableName};
use crate::run::Finding;
use crate::zone;

/// More periods than this of one table are a slip of the hand: the server plans queries over all of them.
pub const MAX_PERIODS: u32 = 10_000;

/// Makes partitions before anyone needs them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partitions {
    /// The partitioned tables.
    #[schemars(with = "Vec<PartitionTable>")]
    pub tables: Vec<Spanned<PartitionTable>>,
    /// Tables of the database that say how long retention jobs keep rows.
    #[serde(skip)]
    pub policies_of_others: Vec<Policies>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionTable {
    /// A table partitioned by RANGE or LIST. Without a schema it is in `public`.
    pub table: TableName,
    /// How wide a partition is: whole hours, days, weeks, months, quarters or years. Weeks begin on Monday; periods of n
    /// months count from January, other odd ones from 1970-01-01 in the time zone.
    #[serde(default = "a_month")]
    pub every: Period,
    /// How many whole periods after the current one have a partition.
    #[serde(default = "twelve")]
    pub ahead: u32,
    /// How many whole periods before the current one have a partition.
    #[serde(default)]
    pub behind: u32,
    /// The names of new partitions, with `{table}`, `%Y`, `%m`, `%d` and `%H`. By default it follows the period:
    /// `{table}_%Y`, `{table}_%Y_%m`, `{table}_%Y_%m_%d`, `{table}_%Y_%m_%d_%H`. Existing ones are known by their bounds.
    pub name: Option<Pattern>,
    /// In which time zone periods begin. Default: the job's.
    #[serde(default, deserialize_with = "zone::optional")]
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Tz>,
    /// How a key that is text or an integer says its time: `"%Y_%m"`, `"%Y-%m"`, `"%Y%m"`, `"%Y-%m-%d"`, `"epoch"`,
    /// `"epoch_ms"`; of a key of type uuid: `"uuidv7"`.
    pub key_format: Option<KeyFormat>,
    /// Where new partitions are stored. Default: where the parent says.
    pub tablespace: Option<Ident>,
    /// What to do when the default partition holds rows of a new period: take them into it, or say so and leave it.
    #[serde(default)]
    pub default_rows: DefaultRows,
    /// How many rows are moved at most; more is refused, with the count and how to do it by hand.
    #[serde(default = "ten_thousand")]
    pub default_rows_max: u64,
    /// How long retention jobs keep its rows, by the calendar of which zone.
    #[serde(skip)]
    pub kept: Vec<(Period, Tz)>,
}

fn a_month() -> Period {
    Period { months: 1, ..Period::default() }
}

const fn twelve() -> u32 {
    12
}

const fn ten_thousand() -> u64 {
    10_000
}

impl PartitionTable {
    /// One that is only looked at, by somebody who makes none: as wide as any key can tell.
    pub fn looked_at(table: TableName) -> Self {
        Self {
            table,
            every: Period { months: 12, ..Period::default() },
            ahead: 0,
            behind: 0,
            name: None,
            timezone: None,
            key_format: None,
            tablespace: None,
            default_rows: DefaultRows::Refuse,
            default_rows_max: 0,
            kept: Vec::new(),
        }
    }

    /// The width of a partition.
    ///
    /// # Errors
    /// `every` is none that partitions can have; the error says what is supported.
    pub fn every(&self) -> Result<Every, String> {
        Every::try_from(self.every)
    }

    /// The zone periods begin in, where the job's is `job`.
    pub fn zone(&self, job: Tz) -> Tz {
        self.timezone.unwrap_or(job)
    }

    /// Where the shortest keep of a retention begins: what lies before it is not made, or it would go again at once.
    pub fn kept_from(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.kept.iter().filter_map(|(keep, zone)| keep.before(now, *zone)).max()
    }

    pub fn pattern(&self, every: Every) -> Pattern {
        self.name.clone().unwrap_or_else(|| Pattern::of(every))
    }

    fn mistakes(&self) -> Vec<(String, String)> {
        let name = self.table.plain();
        let mut found = Vec::new();
        let mut mistake = |message: String, mend: &str| found.push((message, mend.to_string()));
        match self.every() {
            Err(why) => mistake(format!("every of {name}: {why}"), "write it like \"1 month\""),
            Ok(every) => {
                if let Some(why) = self.name.as_ref().and_then(|pattern| pattern.mistake(every)) {
                    mistake(
                        format!("name of {name}: {why}"),
                        &format!("write \"{}\", or leave it out", Pattern::of(every)),
                    );
                }
                if let Some(why) = self.key_format.as_ref().and_then(|format| format.too_coarse(every)) {
                    mistake(format!("key_format of {name}: {why}"), "make the periods longer, or the format finer");
                }
            }
        }
        // `ahead = 0` is allowed: somebody may trigger the job from where the first row of a period comes from, and
        // `check` says that the schedule does not reach.
        for (key, periods) in [("ahead", self.ahead), ("behind", self.behind)] {
            if periods > MAX_PERIODS {
                mistake(
                    format!("{key} of {name} is {periods}: more than {MAX_PERIODS} partitions of a table are not made"),
                    "make fewer, or longer periods",
                );
            }
        }
        if self.default_rows_max == 0 {
            mistake(
                format!("default_rows_max of {name} is 0: no row could be moved"),
                "write default_rows = \"refuse\" if that is meant",
            );
        }
        found
    }
}

impl Partitions {
    pub fn policies(&self) -> impl Iterator<Item = &PartitionTable> {
        self.tables.iter().map(Spanned::get_ref)
    }

    /// The names of the tables, in the order of the config.
    pub fn names(&self) -> Vec<TableName> {
        self.policies().map(|policy| policy.table.clone()).collect()
    }

    /// How the tables are partitioned, for jobs that let partitions go.
    pub fn words(&self, zone: Tz) -> Vec<Word> {
        let says = |table: &PartitionTable| Word {
            by: String::new(),
            table: table.table.clone(),
            says: Says::Periods { key_format: table.key_format.clone(), timezone: table.zone(zone) },
        };
        self.policies().map(says).collect()
    }

    /// Takes note of how long rows are kept.
    pub fn hear(&mut self, words: &[Word]) {
        for table in self.tables.iter_mut().map(Spanned::get_mut) {
            let of_it = words.iter().filter(|word| word.table == table.table);
            table.kept = of_it
                .filter_map(|word| match &word.says {
                    Says::Kept { keep, timezone, .. } => Some((*keep, *timezone)),
                    _ => None,
                })
                .collect();
        }
        self.policies_of_others = words
            .iter()
            .filter_map(|word| match &word.says {
                Says::Policies(policies) => Some((**policies).clone()),
                _ => None,
            })
            .collect();
    }

    /// What the config cannot mean; for `Kind::validate`.
    pub fn mistakes(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.tables.is_empty() {
            found.push(Finding::error(
                "partitions.tables is empty",
                "name at least one: { table = \"public.events\", every = \"1 month\", ahead = 12 }",
            ));
        }
        let mut seen = BTreeSet::new();
        for entry in &self.tables {
            let table = entry.get_ref();
            let mut mistake =
                |message: String, mend: String| found.push(Finding::error(message, mend).at(entry.span()));
            for (message, mend) in table.mistakes() {
                mistake(message, mend);
            }
            if !seen.insert(&table.table) {
                mistake(
                    format!("{} stands twice in partitions.tables", table.table.plain()),
                    "one table has one width of partitions: remove one of the two".into(),
                );
            }
        }
        found
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
