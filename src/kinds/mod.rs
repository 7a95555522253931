//! What a job can be. A kind decides ([`Kind::plan`]) and acts ([`Kind::apply`]); it never schedules, locks, times out,
//! records, or knows whether it is a rehearsal.
//!
//! A new kind is one file here, and the lines that the compiler then asks for: a variant of [`Spec`] and its name in
//! [`kinds!`](self). Parsing, validation, locking, rehearsal, history, metrics, CLI and schema follow by themselves.

pub mod backup;
pub mod command;
pub mod context;
pub mod drive;
pub mod expire;
mod group;
pub mod health;
pub mod never;
pub mod partitions;
pub mod refresh;
pub mod restore_test;
pub mod retention;
pub mod rows;
pub mod sql;
pub mod summarize;
pub mod vacuum;
pub mod verify_chain;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::{Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

pub use context::{Context, Reporter, Stop, StopReason, Stopper};
pub use drive::{Ended, Mode};

use self::partitions::format::KeyFormat;
use crate::period::Period;
use crate::pg::pg_cron::mentions;
use crate::pg::{Conninfo, TableName};
use crate::run::{Counted, Finding, JobName, Observed, Plan, Step};

/// How a running job of this kind is stopped on SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStyle {
    /// It looks at [`Context::stop`] often enough: a batch, a partition.
    AtSafePoint,
    /// It has no safe point near: its statement is cancelled at once.
    AtOnce,
}

/// How an action went, where it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Done,
    /// A lock was not had in time; try again after the others. The text names who holds it.
    Locked(String),
    /// Another action of the plan, which is tried again, has to come first. The text names it.
    NotYet(String),
    /// All that could be done was; the text says what was not, and why, and counts as a failure.
    Partly(String),
    /// Ended at a safe point because [`Context::stop`] asked for it; the next run goes on.
    Stopped(StopReason),
}

/// What there is to observe of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observes {
    Nothing,
    /// What it has done. Of one that is switched off nobody waits for more.
    WhileEnabled,
    /// How things are, which is worth knowing also where nobody sees to them.
    Always,
}

/// Until when the work of a run lasts: the job has to run again before then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// Which bytes of the kind's table it is about.
    pub span: std::ops::Range<usize>,
    /// `the partitions of public.events`
    pub what: String,
    pub until: DateTime<Utc>,
    /// What in the kind's table makes it last longer.
    pub mend: &'static str,
}

/// What a job says of a table, for other jobs that tend it.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// The job that says it; the config knows its name.
    pub by: String,
    pub table: TableName,
    pub says: Says,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    /// How its partitions are made: how the key says time, and the zone in which periods begin.
    Periods { key_format: Option<KeyFormat>, timezone: Tz },
    /// How long its rows are kept, by the calendar of that zone; or some of them, by a condition.
    Kept { keep: Period, timezone: Tz, some: bool },
    /// Its rows, or some of them, are counted and deleted when they are older than that.
    Counted { older_than: Period, timezone: Tz, some: bool },
    /// It says itself how long the rows of other tables are kept.
    Policies(Box<retention::policy::Policies>),
}

/// A store that a job names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUse {
    pub store: String,
    /// Which bytes of the kind's table name it.
    pub span: std::ops::Range<usize>,
    /// Whether it deletes objects there, such as a backup with `keep`.
    pub deletes: bool,
    /// Whether the objects there are somebody else's, so that it does nothing but delete them.
    pub foreign: bool,
}

/// What else the config has, for a kind that builds on other jobs and databases.
pub struct Around {
    /// All databases by name; nothing where one is wrong, which has been said.
    pub databases: BTreeMap<String, Option<Conninfo>>,
    pub jobs: Vec<Peer>,
    /// Whether no job can be missing because its file could not be read.
    pub complete: bool,
}

/// A job of the config.
pub struct Peer {
    pub name: String,
    /// Its name, database and work in each of its databases; none where it is wrong, which has been said.
    pub instances: Vec<(JobName, String, Spec)>,
}

impl Peer {
    pub fn makes_backups(&self) -> bool {
        matches!(self.instances.first(), Some((_, _, Spec::Backup(_))))
    }
}

/// The code of a kind of job. `self` is what the config says in the table named after the kind.
pub trait Kind: DeserializeOwned + Send + Sync {
    type Action: Send + Sync;

    const STOP: StopStyle = StopStyle::AtSafePoint;
    /// Whether a standby, where nothing can be written, is no place for it.
    const WRITES: bool = true;
    /// Whether it takes rows or partitions away by their age, which is refused where the clocks of host and database are
    /// apart: one of them would be wrong about it.
    const TAKES_OLD: bool = false;
    /// Whether actions build on each other, so that after one that failed none is tried that hangs on it.
    const IN_ORDER: bool = false;
    /// What its runs count by the tables that it tends.
    const COUNTS: &[Counted] = &[Counted::LockTimeouts];
    /// How long a run may take where the config does not say.
    const TIMEOUT: Duration = Duration::from_secs(3600);

    /// What the config cannot mean: mistakes to be seen before anything connects, with the bytes they stand at.
    fn validate(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// Paths in the table are relative to the file they stand in, which lies in `folder`.
    fn resolve(&mut self, folder: &Path) {
        let _ = folder;
    }

    /// What lasts only so long after a run at `at`, as far as the config alone tells; `zone` is the job's.
    fn lasts(&self, at: DateTime<Utc>, zone: Tz) -> Vec<Lasting> {
        let _ = (at, zone);
        Vec::new()
    }

    /// What other jobs about the same tables have to go by; `zone` is the job's.
    fn says(&self, zone: Tz) -> Vec<Word> {
        let _ = zone;
        Vec::new()
    }

    /// Hears what the jobs of the same database say, itself among them.
    fn heed(&mut self, words: &[Word]) {
        let _ = words;
    }

    /// The database that it works in where neither the job nor the defaults name one.
    fn home(&self) -> Option<&str> {
        None
    }

    /// Looks up the jobs and databases that it names; `database` is the one it works in. What is wrong with them is a
    /// mistake in the config.
    fn look_around(&mut self, database: &str, around: &Around) -> Vec<Finding> {
        let _ = (database, around);
        Vec::new()
    }

    /// The tables it works on, as far as the config names them.
    fn tends(&self) -> Vec<&TableName> {
        Vec::new()
    }

    /// Of these, the ones from which rows or partitions go, whatever becomes of them.
    fn takes(&self) -> Vec<&TableName> {
        Vec::new()
    }

    /// Whether another scheduler that runs this SQL may be at the same work.
    fn is_done_by(&self, sql: &str) -> bool {
        self.tends().into_iter().any(|table| mentions(sql, table))
    }

    /// The stores it names. Each must be in the config, and is tried by `check`.
    fn stores(&self) -> Vec<StoreUse> {
        Vec::new()
    }

    /// Whether [`Kind::observe`] has anything to say, so that nobody connects for nothing.
    const OBSERVES: Observes = Observes::Nothing;

    /// What the catalog and the history say, read each minute by every daemon, whoever runs the job. Reads only.
    fn observe(&self, cx: &Context) -> impl Future<Output = Result<Observed>> + Send {
        let _ = cx;
        std::future::ready(Ok(Observed::default()))
    }

    /// What there is to do now. Reads only: in a rehearsal the server refuses anything else.
    fn plan(&self, cx: &Context) -> impl Future<Output = Result<Plan<Self::Action>>> + Send;

    /// The line that stands for an action in `plan`, in logs and in failures.
    fn step(&self, action: &Self::Action) -> Step;

    /// Where actions build on each other: whether this one is not to be tried, because that one has failed.
    fn hangs_on(&self, failed: &Self::Action, action: &Self::Action) -> bool {
        let _ = (failed, action);
        true
    }

    /// The `table` label that what happens to an action is counted under; bounded in number by the config.
    fn label(&self, action: &Self::Action) -> String {
        self.step(action).target
    }

    /// Does one action. Called again for the same action when it said [`Applied::Locked`] or [`Applied::NotYet`].
    fn apply(&self, cx: &Context, action: &Self::Action) -> impl Future<Output = Result<Applied>> + Send;

    /// What would go wrong: missing tables, columns, privileges, indexes. Reads only.
    fn check(&self, cx: &Context) -> impl Future<Output = Result<Vec<Finding>>> + Send;
}

/// Declares the kinds: name in the config, variant, type.
macro_rules! kinds {
    ($($name:literal => $variant:ident($type:ty)),+ $(,)?) => {
        /// What a job does, as the config says it.
        #[derive(Debug, Clone)]
        pub enum Spec { $($variant($type)),+ }

        impl Spec {
            /// Every kind there is, as the config names it.
            pub const NAMES: &[&str] = &[$($name),+];

            /// How long a run of each kind may take where the config does not say.
            pub const TIMEOUTS: &[(&str, Duration)] = &[$(($name, <$type as Kind>::TIMEOUT)),+];

            pub const fn kind(&self) -> &'static str {
                match self { $(Spec::$variant(_) => $name),+ }
            }

            /// Reads the table named after a kind.
            ///
            /// # Errors
            /// The table does not fit the kind; the error knows where.
            pub fn parse<'de, D: serde::Deserializer<'de>>(kind: &str, table: D) -> Result<Self, D::Error> {
                match kind {
                    $($name => <$type as serde::Deserialize>::deserialize(table).map(Spec::$variant),)+
                    _ => Err(serde::de::Error::custom(format!("unknown kind of job {kind:?}; known are {}", Self::NAMES.join(", ")))),
                }
            }

            /// The JSON Schema of each kind's table.
            pub fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($name, generator.subschema_for::<$type>())),+]
            }

            pub fn resolve(&mut self, folder: &Path) {
                match self { $(Spec::$variant(kind) => kind.resolve(folder)),+ }
            }

            pub fn validate(&self) -> Vec<Finding> {
                match self { $(Spec::$variant(kind) => kind.validate()),+ }
            }

            pub fn says(&self, zone: Tz) -> Vec<Word> {
                match self { $(Spec::$variant(kind) => kind.says(zone)),+ }
            }

            pub fn heed(&mut self, words: &[Word]) {
                match self { $(Spec::$variant(kind) => kind.heed(words)),+ }
            }

            pub fn home(&self) -> Option<&str> {
                match self { $(Spec::$variant(kind) => kind.home()),+ }
            }

            pub fn look_around(&mut self, database: &str, around: &Around) -> Vec<Finding> {
                match self { $(Spec::$variant(kind) => kind.look_around(database, around)),+ }
            }

            pub fn takes(&self) -> Vec<&TableName> {
                match self { $(Spec::$variant(kind) => kind.takes()),+ }
            }

            pub fn tends(&self) -> Vec<&TableName> {
                match self { $(Spec::$variant(kind) => kind.tends()),+ }
            }

            pub const fn counts(&self) -> &'static [Counted] {
                match self { $(Spec::$variant(_) => <$type as Kind>::COUNTS),+ }
            }

            pub fn is_done_by(&self, sql: &str) -> bool {
                match self { $(Spec::$variant(kind) => kind.is_done_by(sql)),+ }
            }

            pub fn lasts(&self, at: DateTime<Utc>, zone: Tz) -> Vec<Lasting> {
                match self { $(Spec::$variant(kind) => kind.lasts(at, zone)),+ }
            }

            pub fn stores(&self) -> Vec<StoreUse> {
                match self { $(Spec::$variant(kind) => kind.stores()),+ }
            }

            pub const fn stop_style(&self) -> StopStyle {
                match self { $(Spec::$variant(_) => <$type as Kind>::STOP),+ }
            }

            pub const fn timeout(&self) -> Duration {
                match self { $(Spec::$variant(_) => <$type as Kind>::TIMEOUT),+ }
            }

            pub const fn writes(&self) -> bool {
                match self { $(Spec::$variant(_) => <$type as Kind>::WRITES),+ }
            }

            pub const fn takes_old(&self) -> bool {
                match self { $(Spec::$variant(_) => <$type as Kind>::TAKES_OLD),+ }
            }

            pub const fn observes(&self) -> Observes {
                match self { $(Spec::$variant(_) => <$type as Kind>::OBSERVES),+ }
            }

            /// # Errors
            /// The database cannot be asked.
            pub async fn observe(&self, cx: &Context) -> Result<Observed> {
                match self { $(Spec::$variant(kind) => kind.observe(cx).await),+ }
            }

            /// # Errors
            /// The database cannot be asked.
            pub async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
                match self { $(Spec::$variant(kind) => kind.check(cx).await),+ }
            }

            /// Plans, and unless it is a rehearsal applies.
            ///
            /// # Errors
            /// The plan could not be made. What goes wrong after that is in the report.
            pub async fn drive(&self, cx: &Context, mode: Mode) -> Result<Ended> {
                match self { $(Spec::$variant(kind) => Box::pin(drive::drive(kind, cx, mode)).await),+ }
            }
        }
    };
}

kinds! {
    "analyze" => Analyze(vacuum::Analyze),
    "backup" => Backup(backup::Backup),
    "command" => Command(command::Command),
    "expire" => Expire(expire::Expire),
    "health" => Health(health::config::Health),
    "partitions" => Partitions(partitions::policy::Partitions),
    "refresh" => Refresh(refresh::Refresh),
    "restore_test" => RestoreTest(restore_test::RestoreTest),
    "retention" => Retention(retention::policy::Retention),
    "sql" => Sql(sql::Sql),
    "summarize" => Summarize(summarize::Summarize),
    "vacuum" => Vacuum(vacuum::Vacuum),
    "verify_chain" => VerifyChain(verify_chain::VerifyChain),
}
