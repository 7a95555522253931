//! `partitions`: makes partitions before anyone needs them.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `policy` |
//! | the catalog -> facts, in a number of queries that does not grow with the tables | `survey`, `bound`, `mark`, `rows` |
//! | time <-> key values: timestamps, dates, text and integers by format, uuidv7 | `key` |
//! | periods of a zone: hour to year | `every` |
//! | facts, policy, now -> actions and notes; pure | `plan` |
//! | one partition, one transaction: create apart, attach | `create` |
//! | rows of the new period in the default partition | `default_rows` |
//! | what would go wrong; how far the partitions reach | `check`, `runway`, `observe` |

pub mod bound;
pub mod check;
pub mod cover;
pub mod every;
pub mod facts;
pub mod format;
pub mod key;
pub mod mark;
pub mod name;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod rows;
pub mod runway;
mod steps;
pub mod survey;
