//! pgtend tends PostgreSQL databases: jobs from a config, run on schedule, one at a time, recorded and measured.
//!
//! The map, in the order of a run's path:
//!
//! | where | what |
//! |---|---|
//! | [`config`] | files -> [`config::Config`]: what each job does and when, every mistake with file and line |
//! | [`cron`] | wall-clock schedules in a time zone, across daylight saving; pure |
//! | [`engine`] | ring -> lock -> run -> history and metrics; knows no kind of job |
//! | [`init`] | a config proposed for a database: what it is, what would tend it, and why |
//! | [`kinds`] | what a job can be; plans, then applies; knows no engine |
//! | [`store`] | where backups are kept: S3, directories |
//! | [`pg`] | connections as libpq users expect them, quoted names, the one batch engine for row work |
//! | [`daemon`] | wiring: signals, reload, drain, HTTP |
//! | [`cli`] | one file a command |
//! | [`run`], [`clock`], [`period`] | the words everything else is said in |
//! | `near`, `zone`, `hex` | what somebody probably meant, zones by their names, digits of bytes |
//!
//! Who may import whom: `main -> cli -> daemon -> engine -> kinds -> pg, store -> run, clock, period`. Two walls are held by a
//! test (`tests/stories/walls.rs`): a `plan.rs` does no I/O, and kinds cannot see engine, daemon, cli or config.
//!
//! What never happens: an identifier in SQL that did not go through [`pg::ident`], a value that is not a parameter,
//! the time asked anywhere but in [`clock`], a secret in a log line, an error told by its text instead of its SQLSTATE.

pub mod cli;
pub mod clock;
pub mod config;
pub mod cron;
pub mod daemon;
pub mod engine;
mod hex;
pub mod init;
pub mod kinds;
mod near;
pub mod period;
pub mod pg;
pub mod run;
pub mod store;
pub mod testpoint;
mod zone;
