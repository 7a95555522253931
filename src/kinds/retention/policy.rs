//! The config of `retention`: how long the rows of which tables are kept, and what becomes of them then.

use std::time::Duration;

use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::kinds::partitions::format::KeyFormat;
use crate::kinds::{Says, Word};
use crate::period::{Period, Span};
use crate::pg::batch::Batch;
use crate::pg::{Ident, TableName};
use crate::zone;

/// Lets go of what is older than its keep.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The tables, each with how long its rows are kept.
    #[serde(default)]
    #[schemars(with = "Vec<RetentionTable>")]
    pub tables: Vec<Spanned<RetentionTable>>,
    /// A table of the database that says how long the rows of others are kept; alone or beside `tables`.
    #[schemars(with = "Option<Policies>")]
    pub policies: Option<Spanned<Policies>>,
    /// How large the batches are where rows are deleted or moved, and how gentle.
    #[serde(default)]
    pub batch: Batch,
    /// What jobs of the database say of tables, itself among them.
    #[serde(skip)]
    pub heard: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionTable {
    /// A table, partitioned or plain. Without a schema it is in `public`.
    pub table: TableName,
    /// How long it keeps its rows; months and days are those of the calendar in `timezone`.
    pub keep: Period,
    /// What becomes of what is older. A partition is dropped (`drop`, the default), detached and left as a table of its own
    /// (`detach`), or detached and moved to schema `to` (`archive`). Rows of a table without partitions are deleted
    /// (`delete`, the default), or moved to table `to` (`archive`).
    pub action: Option<Action>,
    /// Of a table without partitions: the column with the time of a row, of type `timestamptz`; or `timestamp`, read as
    /// the wall clock of `timezone`; or `date`. NULL is never old.
    pub column: Option<Ident>,
    /// Where `archive` moves to: a schema for partitions, a table with its schema for rows. The table is made when it is
    /// missing.
    pub to: Option<String>,
    /// The store to which a partition is written, and from which it is read back, before it goes.
    pub export: Option<String>,
    /// So many partitions that have begun are always kept, however old they are.
    #[serde(default = "one")]
    pub keep_at_least: u32,
    /// No more partitions than this go in one run; the oldest first.
    #[serde(default = "two_dozen")]
    pub max_partitions: u32,
    /// Of a table without partitions: an SQL condition that a row must meet besides.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// Of a table without partitions: the row of another table that says how old a row is, instead of `column`.
    pub age_from: Option<AgeFrom>,
    /// Of a table that refuses DELETE by a trigger: partitions go only after an export.
    pub immutable: Option<Immutable>,
    /// Of a partitioned table: a column with the real time of a row, where the application fills in the key. A partition
    /// stays as long as one of its rows is newer by it.
    pub newest: Option<Ident>,
    /// How long a plain DETACH may take, while it looks for rows that refer to the partition and others wait.
    #[serde(default = "five_seconds")]
    pub detach_timeout: Span,
    /// How a key that is text, an integer or a uuid says its time. Default: that of the `partitions` job that names the
    /// table.
    pub key_format: Option<KeyFormat>,
    /// The time zone of the calendar. Default: that of the `partitions` job that names the table, else the job's.
    #[serde(default, deserialize_with = "zone::optional")]
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Tz>,
}

/// What becomes of what is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Drop,
    Detach,
    Archive,
    Delete,
}

impl Action {
    pub const fn word(self) -> &'static str {
        match self {
            Action::Drop => "drop",
            Action::Detach => "detach",
            Action::Archive => "archive",
            Action::Delete => "delete",
        }
    }
}

/// The row that says how old a row is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgeFrom {
    /// The table of that row.
    pub table: TableName,
    /// The column that refers to it, by its primary key.
    pub key: Ident,
    /// The column there with the time.
    pub column: Ident,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Immutable {
    DropAfterExport,
}

/// A table of policies.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// The table that holds them, one row a table.
    pub table: TableName,
    /// The column with the time of a row, in the tables that it names.
    #[serde(default = "created_at")]
    pub column: Ident,
    /// The schema that rows and partitions are moved to, to tables of the same names.
    pub to: Option<Ident>,
    /// Its column with the name of a table.
    #[serde(default = "table_name")]
    pub table_name: Ident,
    /// Its column with the days that rows are kept.
    #[serde(default = "retention_days")]
    pub retention_days: Ident,
    /// Its column that says whether rows are moved to `to`.
    #[serde(default = "archive_enabled")]
    pub archive_enabled: Ident,
    /// Its column that says whether rows are deleted, where they are not moved.
    #[serde(default = "delete_enabled")]
    pub delete_enabled: Ident,
    /// Its column that is told when a policy was last carried out.
    #[serde(default = "last_run_at")]
    pub last_run_at: Ident,
    /// What is different for some of the tables it names.
    #[serde(default)]
    pub except: Vec<Exception>,
    /// What `partitions` jobs say of tables.
    #[serde(skip)]
    heard: Vec<Word>,
}

impl Policies {
    /// How the partitions of a table are made, where a job makes them.
    pub fn periods_of(&self, table: &TableName) -> (Option<KeyFormat>, Option<Tz>) {
        let mut of_it = self.heard.iter().filter(|word| word.table == *table);
        let periods = of_it.find_map(|word| match &word.says {
            Says::Periods { key_format, timezone } => Some((key_format.clone(), Some(*timezone))),
            _ => None,
        });
        periods.unwrap_or_default()
    }
}

/// How the age of one table's rows is told, where it is not by the column of the others.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    pub table: TableName,
    pub column: Option<Ident>,
    pub age_from: Option<AgeFrom>,
    /// An SQL condition that a row must meet besides.
    #[serde(rename = "where")]
    pub condition: Option<String>,
}

macro_rules! name {
    ($($function:ident),+) => {
        $(fn $function() -> Ident {
            Ident::new(stringify!($function)).expect("a constant name")
        })+
    };
}
name!(created_at, table_name, retention_days, archive_enabled, delete_enabled, last_run_at);

const fn one() -> u32 {
    1
}

const fn two_dozen() -> u32 {
    24
}

const fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

impl RetentionTable {
    /// A policy with nothing but a keep.
    pub fn new(table: TableName, keep: Period) -> Self {
        Self {
            table,
            keep,
            action: None,
            column: None,
            to: None,
            export: None,
            keep_at_least: one(),
            max_partitions: two_dozen(),
            condition: None,
            age_from: None,
            immutable: None,
            newest: None,
            detach_timeout: five_seconds(),
            key_format: None,
            timezone: None,
        }
    }

    /// The zone of its calendar, where the job's is `job`.
    pub fn zone(&self, job: Tz) -> Tz {
        self.timezone.unwrap_or(job)
    }
}

impl Retention {
    /// How long rows are kept, for jobs that make partitions for them.
    pub fn words(&self, zone: Tz) -> Vec<Word> {
        let says = |table: &RetentionTable| Word {
            by: String::new(),
            table: table.table.clone(),
            says: Says::Kept { keep: table.keep, timezone: table.zone(zone), some: table.condition.is_some() },
        };
        // What it has heard itself is not passed on.
        let policies =
            self.policies.as_ref().map(|policies| Policies { heard: Vec::new(), ..policies.get_ref().clone() });
        let policies = policies.map(|policies| Word {
            by: String::new(),
            table: policies.table.clone(),
            says: Says::Policies(Box::new(policies)),
        });
        self.tables.iter().map(|entry| says(entry.get_ref())).chain(policies).collect()
    }

    /// Reads keys as the partitions of a table are made, where it is not said otherwise.
    pub fn hear(&mut self, words: &[Word]) {
        self.heard = words.to_vec();
        if let Some(policies) = &mut self.policies {
            policies.get_mut().heard = words.to_vec();
        }
        for table in self.tables.iter_mut().map(Spanned::get_mut) {
            for word in words.iter().filter(|word| word.table == table.table) {
                if let Says::Periods { key_format, timezone } = &word.says {
                    table.timezone = table.timezone.or(Some(*timezone));
                    table.key_format = table.key_format.take().or_else(|| key_format.clone());
                }
            }
        }
    }
}
