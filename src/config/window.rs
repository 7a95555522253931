//! The hours in which batched work may go on: `"22:00-06:00"`.

/// From and to as wall-clock times of the job's zone; it may span midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: chrono::NaiveTime,
    pub to: chrono::NaiveTime,
}
