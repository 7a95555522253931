//! From a ring to a record: lock, run, history, metrics. Knows no kind of job.

pub mod after;
pub mod history;
mod hours;
pub mod lock;
pub mod metrics;
mod record;
mod rehearse;
pub mod request;
pub mod runner;
pub mod schedule;
mod shared;
pub mod status;
pub mod take_up;
mod verdict;

pub use runner::{Ending, Engine, Ring, labels};
pub use shared::Shared;
pub use status::JobStatus;
