//! The hours in which batched work may go on: `"22:00-06:00"`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// From and to as wall-clock times of the job's zone; it may span midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: chrono::NaiveTime,
    pub to: chrono::NaiveTime,
}
impl Window {
    pub fn is_open(&self, _at: DateTime<Utc>, _zone: Tz) -> bool {
        true
    }
    pub fn closes_after(&self, _at: DateTime<Utc>, _zone: Tz) -> Option<DateTime<Utc>> {
        None
    }
}
impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}
