//! What was read, before anything is made of it: the words that survey and plan share. No behaviour.

use chrono::{DateTime, Utc};

use crate::run::Gauge;

/// What a collector found; nothing where it was not asked, words where it could not be read.
pub type Read<T> = Option<Result<T, String>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub relations: Read<Relations>,
    pub queries: Read<Queries>,
    pub wraparound: Read<Wraparound>,
    pub replication: Read<Replication>,
    pub transactions: Read<Transactions>,
    pub archiving: Read<Archiving>,
    /// Ends of partitions, and rows of default partitions.
    pub partitions: Read<Vec<Gauge>>,
    pub now: DateTime<Utc>,
    /// The session's role, quoted where needed: who a GRANT is for.
    pub role: String,
}

/// Tables and indexes; of a partition tree one for the whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relations {
    pub tables: Vec<Table>,
    pub indexes: Vec<Index>,
    /// Relations that were locked, whose size is that of the last VACUUM or ANALYZE.
    pub locked: u64,
    /// Since when scans are counted.
    pub counted_since: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub schema: String,
    /// As people write it: `public.events`.
    pub name: String,
    pub heap: i64,
    pub indexes: i64,
    pub toast: i64,
    pub live: i64,
    pub dead: i64,
}

impl Table {
    pub const fn size(&self) -> i64 {
        self.heap + self.indexes + self.toast
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    pub name: String,
    pub bytes: i64,
    pub scans: i64,
    /// Its entries that scans have returned.
    pub read: i64,
    /// Living rows of the table that plain scans of it have fetched.
    pub fetched: i64,
    /// A constraint, a foreign key or the replica identity stands on it.
    pub needed: bool,
    /// How many of it (itself, or its parts) were never finished.
    pub invalid: i64,
}

impl Index {
    /// Nobody has scanned it, and nothing stands on it.
    pub const fn is_unused(&self) -> bool {
        self.scans == 0 && !self.needed && self.invalid == 0
    }
}

/// What `pg_stat_statements` knows.
#[derive(Debug, Clone, PartialEq)]
pub enum Queries {
    /// It is not there: what is missing, and what to do.
    Absent {
        why: String,
        mend: String,
    },
    Of(Vec<Query>),
}

/// How often a statement was executed, and how long that took: planning is not counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    pub id: i64,
    pub calls: i64,
    /// All calls together.
    pub seconds: f64,
    /// The quickest and the slowest.
    pub min: f64,
    pub max: f64,
    /// Of the population of all calls.
    pub stddev: f64,
}

impl Query {
    #[allow(clippy::cast_precision_loss, reason = "a mean is no exact number")]
    pub fn mean(&self) -> f64 {
        if self.calls > 0 { self.seconds / self.calls as f64 } else { 0.0 }
    }

    /// Several as if they were one statement, of no id.
    #[allow(clippy::cast_precision_loss, reason = "a deviation is no exact number")]
    pub fn together(queries: &[&Query]) -> Self {
        let called = || queries.iter().filter(|query| query.calls > 0);
        let mut sum = Self {
            calls: called().map(|query| query.calls).sum(),
            seconds: queries.iter().map(|query| query.seconds).sum(),
            min: called().map(|query| query.min).reduce(f64::min).unwrap_or_default(),
            max: called().map(|query| query.max).fold(0.0, f64::max),
            ..Self::default()
        };
        if sum.calls > 0 {
            let mean = sum.mean();
            // Within each of them, and between them.
            let variance = |query: &Query| query.calls as f64 * (query.stddev.powi(2) + (query.mean() - mean).powi(2));
            sum.stddev = (called().map(|query| variance(query)).sum::<f64>() / sum.calls as f64).sqrt();
        }
        sum
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Wraparound {
    pub xid: Age,
    pub multixact: Age,
}

/// How near the end of a kind of numbers is.
#[derive(Debug, Clone, PartialEq)]
pub struct Age {
    pub age: i64,
    /// At which age autovacuum comes, whatever is set otherwise.
    pub freeze_max: i64,
    /// The table that is oldest, and its own age.
    pub oldest: Option<(String, i64)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replication {
    pub slots: Vec<Slot>,
    pub standbys: Vec<Standby>,
    /// Standbys are connected, and the role may not see how far they are.
    pub hidden: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub name: String,
    /// Nothing where it keeps none.
    pub retained: Option<i64>,
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; nothing where it keeps none.
    pub wal_status: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Standby {
    pub name: String,
    pub lag: i64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transactions {
    /// The role may not see other roles' transactions.
    pub hidden: bool,
    pub holders: Vec<Holder>,
}

/// Somebody in whose sight dead rows stay, or who has been at it for long.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub what: Holds,
    /// `pid 4711 (app, psql), idle in transaction`; never a query.
    pub words: String,
    pub seconds: Option<f64>,
    /// How many transactions ago its snapshot was taken.
    pub xids: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    Transaction,
    Prepared,
    Slot,
    Standby,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Archiving {
    pub enabled: bool,
    /// There is neither a command nor a library that would archive anything.
    pub idle: bool,
    pub last_archived_at: Option<DateTime<Utc>>,
    pub failures: i64,
    /// The last attempt failed: which segment, when.
    pub failing: Option<(String, DateTime<Utc>)>,
    /// Nothing where the role may not look.
    pub waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waiting {
    pub segments: i64,
    pub oldest_seconds: Option<f64>,
}
