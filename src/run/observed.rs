//! What can be seen of a job's work at this moment: for metrics, and for the status page.

use chrono::{DateTime, Utc};

use super::Gauge;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    pub gauges: Vec<Gauge>,
    pub timelines: Vec<Timeline>,
}

impl From<Vec<Gauge>> for Observed {
    fn from(gauges: Vec<Gauge>) -> Self {
        Self { gauges, timelines: Vec::new() }
    }
}

/// The partitions of a table, as stretches of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    pub table: String,
    /// In the order of time.
    pub partitions: Vec<Stretch>,
    /// The end of the unbroken run of partitions from now; nothing where it never ends.
    pub until: Option<DateTime<Utc>>,
    /// What takes the rows that no partition is there for.
    pub default: Option<String>,
    /// What lies before is past its keep.
    pub kept_from: Option<DateTime<Utc>>,
}

/// What a partition holds: from its beginning to just before its end, either of which may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

impl Stretch {
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}
