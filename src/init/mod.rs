//! `pgtend init`: a config proposed for a database, with the reasons. Reads only.
//!
//! | step | where |
//! |---|---|
//! | the catalog -> facts, in one read-only transaction | `look` |
//! | facts -> what is proposed, how certain that is, and why; pure | `propose` |
//! | that as TOML, with the reasons as comments; pure | `print` |
//!
//! What is switched on in the proposal is what the catalog proves and what loses nothing; of rows only sessions that have ended
//! are deleted, where everything speaks for it. All else is there as a comment, for somebody who knows the application.

pub mod draft;
pub mod facts;
mod look;
pub mod print;
pub mod propose;

pub use look::look;
pub use print::print;
pub use propose::{Way, propose};
