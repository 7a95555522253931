//! What the stories stand on: throwaway servers, the real program, and ways to wait for a condition.
//!
//! | where | what |
//! |---|---|
//! | [`majors`] | which PostgreSQL installations there are to test on |
//! | [`cluster`] | a server of one's own, or the one all stories of a major share; standbys |
//! | [`database`] | a fresh database for each story |
//! | [`program`] | `pgtend` with a config, an environment and a clock; what it printed |
//! | [`proxy`] | a wire that is cut at a chosen message |
//! | [`daemon`] | `pgtend daemon`: its log, its HTTP, signals |
//! | [`runs`] | the history, and jobs that a story holds and lets go on |
//! | [`clock`] | a wall clock that servers and programs share, and that a story sets |
//! | [`past`] | the history, in a form that a story can compare |
//! | [`wait`] | polling a condition, with a limit and a panic that says what was waited for |
//! | [`pgbouncer`] | a pooler before a database |
//! | [`s3`] | a store that speaks the S3 protocol and can be told to go wrong |
//! | [`moto`] | another such store, made by others |
//! | [`keeper`] | the folder and the child processes of this test run, and their end |
//!
//! A story never sleeps for luck and never asserts how long something took.

#![allow(dead_code, unused_imports, reason = "each story uses the part it needs")]

pub mod clock;
pub mod cluster;
pub mod daemon;
pub mod database;
pub mod keeper;
pub mod majors;
pub mod moto;
pub mod past;
pub mod pgbouncer;
pub mod process;
pub mod program;
pub mod proxy;
pub mod runs;
pub mod s3;
pub mod wait;
pub mod webhook;

pub use clock::Clock;
pub use cluster::Cluster;
pub use daemon::Daemon;
pub use database::{Database, on_each_major, on_newest_or_all};
pub use keeper::is_by_hand;
pub use majors::{majors, majors_for_long, newest_major};
pub use past::{runs, wait_for_runs};
pub use pgbouncer::PgBouncer;
pub use process::{Output, Process};
pub use program::{Pgtend, free_port};
pub use proxy::{Cut, Proxy};
pub use runs::{GATED, Hold, Run};
pub use s3::S3Server;
pub use wait::{wait_for, wait_until};
pub use webhook::Webhook;
