//! A backup put into a database that is empty, or not there yet.
//!
//! | step | where |
//! |---|---|
//! | whether the target may be filled, and making it | `target` |
//! | its roles, before anything that belongs to them | `roles` |
//! | from the store through `pg_restore` or `psql` | `pour` |

pub mod pour;
pub mod roles;
pub mod target;

pub use pour::pour;
pub use target::Target;
