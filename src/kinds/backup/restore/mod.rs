//! A backup put into a database that is empty, or not there yet.
//!
//! | step | where |
//! |---|---|
//! | from the store into a spool, for several workers | `load` |
//! | whether the target may be filled, and making it | `target` |
//! | its roles, before anything that belongs to them | `roles` |
//! | from the store through `pg_restore` or `psql` | `pour` |

pub mod load;
pub mod pour;
pub mod roles;
pub mod target;

pub use load::{Load, load};
pub use pour::pour;
pub use target::Target;
