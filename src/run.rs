//! The words: what a run is called, why it began, how it ended, what it reports. No behaviour beyond spelling.
//!
//! Each word is spelled one way everywhere: in the history column, the metric label, the log field and the JSON.

mod observed;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use observed::{Observed, Stretch, Timeline};

/// A job in one database: `JOB`, or `JOB@DATABASE` where the job names several. This is what locks, history and metrics
/// know a job by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobName(pub String);

impl JobName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the config, without the database.
    pub fn definition(&self) -> &str {
        self.0.split('@').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// Reads the word back, from the history for instance.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

mod gauge;

pub use gauge::{Gauge, GaugeName};

words! {
    /// What made a run begin.
    Trigger {
        Schedule = "schedule",
        /// A scheduled time went by while no daemon ran, or none had the database.
        CatchUp = "catch_up",
        After = "after",
        Signal = "signal",
        Cli = "cli",
        Http = "http",
        /// `pgtend trigger`, through the database.
        Notify = "notify",
    }
}

words! {
    /// How a run ended.
    Outcome {
        Succeeded = "succeeded",
        /// Some targets failed, the others were done.
        Partial = "partial",
        Failed = "failed",
        Skipped = "skipped",
        Cancelled = "cancelled",
        TimedOut = "timed_out",
    }
}

impl Outcome {
    /// Whether somebody should look: everything but done and nothing to do.
    pub fn is_bad(self) -> bool {
        !matches!(self, Outcome::Succeeded | Outcome::Skipped)
    }
}

words! {
    /// Why a run was skipped.
    Skip {
        /// The same job still runs in this daemon.
        Overlap = "overlap",
        /// The lock is held elsewhere.
        Held = "held",
        /// Another daemon has run this due time or request.
        Done = "done",
        /// The server is a standby and the job writes.
        Standby = "standby",
        /// The daemon is shutting down.
        Shutdown = "shutdown",
        /// The job's window is closed.
        Window = "window",
        /// The config was read again while it waited for its turn; it is rung anew, by what the config says now.
        Reload = "reload",
    }
}

/// The row of a run in `pgtend.run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One line of a plan: what would be done, to what, and why. Also what is kept or worth a warning, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// `delete_rows`, `execute`, `keep`, `warn` …
    pub action: &'static str,
    pub target: String,
    pub reason: String,
    pub detail: Value,
    /// The statement, where one says it.
    pub sql: Option<String>,
}

impl Step {
    pub fn warn(target: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            action: "warn",
            target: target.into(),
            reason: reason.into(),
            detail: Value::Object(Map::new()),
            sql: None,
        }
    }

    pub fn keep(target: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { action: "keep", ..Self::warn(target, reason) }
    }

    /// Kept because somebody has said so. It stands in the details of each run.
    pub fn held(target: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { detail: json!({ "held": true }), ..Self::keep(target, reason) }
    }

    /// Rows that are kept because nothing says how old they are, and how many. It stands in the details of each run.
    pub fn without_time(target: impl Into<String>, reason: impl Into<String>, rows: Option<u64>, exact: bool) -> Self {
        let detail = json!({ "rows": rows, "exact": exact, "without_time": true });
        Self { detail, ..Self::keep(target, reason) }
    }

    fn says(&self, what: &str) -> bool {
        self.detail.get(what) == Some(&Value::Bool(true))
    }
}

/// What a kind decided: actions to apply in this order, and notes on what it leaves alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<A> {
    pub actions: Vec<A>,
    pub notes: Vec<Step>,
    /// How many targets were looked at and are as they should be: they are done, as those are that an action was for.
    pub in_order: usize,
}

impl<A> Default for Plan<A> {
    fn default() -> Self {
        Self { actions: Vec::new(), notes: Vec::new(), in_order: 0 }
    }
}

/// What is counted by table; each is a metric `pgtend_<name>_total{table}` and a total in the report's details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    PartitionsCreated,
    PartitionsDropped,
    PartitionsDetached,
    PartitionsArchived,
    RowsDeleted,
    RowsArchived,
    RowsSummarized,
    ObjectsDeleted,
    /// Rows that stay because their object could not be deleted, or is none that may be.
    ObjectsFailed,
    TablesVacuumed,
    TablesAnalyzed,
    LockTimeouts,
}

impl Counted {
    pub const ALL: &[Counted] = &[
        Counted::PartitionsCreated,
        Counted::PartitionsDropped,
        Counted::PartitionsDetached,
        Counted::PartitionsArchived,
        Counted::RowsDeleted,
        Counted::RowsArchived,
        Counted::RowsSummarized,
        Counted::ObjectsDeleted,
        Counted::ObjectsFailed,
        Counted::TablesVacuumed,
        Counted::TablesAnalyzed,
        Counted::LockTimeouts,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Counted::PartitionsCreated => "partitions_created",
            Counted::PartitionsDropped => "partitions_dropped",
            Counted::PartitionsDetached => "partitions_detached",
            Counted::PartitionsArchived => "partitions_archived",
            Counted::RowsDeleted => "rows_deleted",
            Counted::RowsArchived => "rows_archived",
            Counted::RowsSummarized => "rows_summarized",
            Counted::ObjectsDeleted => "objects_deleted",
            Counted::ObjectsFailed => "objects_failed",
            Counted::TablesVacuumed => "tables_vacuumed",
            Counted::TablesAnalyzed => "tables_analyzed",
            Counted::LockTimeouts => "lock_timeouts",
        }
    }
}

/// A target that could not be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    pub target: String,
    pub error: String,
}

/// What a run has to say. The counters of the metrics come from here and from nowhere else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub counts: BTreeMap<(Counted, String), u64>,
    /// Fields of the kind's own, such as `rows_affected`.
    pub fields: Map<String, Value>,
    pub warnings: Vec<String>,
    pub failures: Vec<Failure>,
    /// Why the work ended before its end without being wrong: a window that closed, for instance.
    pub left_for_next_time: Option<String>,
    /// How far it is, for whoever looks while it runs.
    pub progress: Option<String>,
}

impl Report {
    pub fn count(&mut self, what: Counted, table: &str, n: u64) {
        *self.counts.entry((what, table.into())).or_default() += n;
    }

    pub fn total(&self, what: Counted) -> u64 {
        self.counts.iter().filter(|((counted, _), _)| *counted == what).map(|(_, n)| n).sum()
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    pub fn fail(&mut self, target: impl Into<String>, error: impl Into<String>) {
        self.failures.push(Failure { target: target.into(), error: error.into() });
    }

    /// What a plan has noted of a target that it leaves alone, where that is to stand in the details; whether it is.
    pub fn left_alone(&mut self, note: &Step) -> bool {
        if note.says("held") {
            let held = self.fields.entry("held").or_insert_with(|| json!([]));
            if let Some(names) = held.as_array_mut()
                && !names.iter().any(|name| *name == *note.target)
            {
                names.push(note.target.clone().into());
            }
            return true;
        }
        let is_it = note.says("without_time");
        if is_it {
            self.fields.entry("rows_without_time").or_insert_with(|| json!({}))[&note.target] =
                note.detail["rows"].clone();
        }
        is_it
    }

    /// The object that the history and `run --json` call `details`.
    pub fn details(&self) -> Value {
        let mut details = self.fields.clone();
        let mut tables: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for ((what, table), n) in &self.counts {
            tables.entry(table).or_default().insert(what.as_str().into(), (*n).into());
            details.insert(what.as_str().into(), self.total(*what).into());
        }
        if !tables.is_empty() {
            details.insert("tables".into(), serde_json::json!(tables));
        }
        if !self.warnings.is_empty() {
            details.insert("warnings".into(), self.warnings.clone().into());
        }
        if !self.failures.is_empty() {
            details.insert("failures".into(), serde_json::json!(self.failures));
        }
        if let Some(why) = &self.left_for_next_time {
            details.insert("left_for_next_time".into(), why.clone().into());
        }
        Value::Object(details)
    }
}

/// A run as the history has it and `run --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    pub id: Option<RunId>,
    pub job: JobName,
    pub kind: String,
    pub database: String,
    pub trigger: Trigger,
    pub host: String,
    pub pid: i32,
    pub attempt: i32,
    pub due_at: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
    /// Nothing while the run is in progress.
    pub finished_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
    pub outcome: Option<Outcome>,
    pub error: Option<String>,
    pub details: Value,
}

impl RunRecord {
    /// Why it was skipped, if it was.
    pub fn skip(&self) -> Option<Skip> {
        self.details.get("skipped").and_then(Value::as_str).and_then(Skip::parse)
    }
}

/// Something `check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Which bytes of the job's file it is about.
    pub span: Option<std::ops::Range<usize>>,
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

words! {
    /// An error fails `check`, a warning does not.
    Severity { Error = "error", Warning = "warning", Ok = "ok" }
}

impl Finding {
    pub fn error(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span: None, message: message.into(), mend: mend.into() }
    }

    pub fn warning(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, mend) }
    }

    #[must_use]
    pub fn at(mut self, span: std::ops::Range<usize>) -> Self {
        self.span = Some(span);
        self
    }
}

/// Why something is not done, and what would change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub mend: String,
}

impl Refusal {
    pub fn new(why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { why: why.into(), mend: mend.into() }
    }

    pub fn sentence(&self) -> String {
        if self.mend.is_empty() { self.why.clone() } else { format!("{}; {}", self.why, self.mend) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_alone_stands_in_the_details_once_and_is_no_warning() {
        let mut report = Report::default();
        for _ in 0..2 {
            assert!(report.left_alone(&Step::held("public.log", "held: an audit")));
            assert!(report.left_alone(&Step::without_time("public.log", "2 rows without a time", Some(2), true)));
        }
        assert!(report.left_alone(&Step::held("public.other", "held: an audit")));
        assert!(!report.left_alone(&Step::keep("public.log", "the first after the cutoff")));
        assert!(!report.left_alone(&Step::warn("public.log", "it holds rows")));
        let expected = json!({ "held": ["public.log", "public.other"], "rows_without_time": { "public.log": 2 } });
        assert_eq!(report.details(), expected);
    }
}
