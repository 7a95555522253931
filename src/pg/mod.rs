//! PostgreSQL: connections as libpq users expect them, sessions with our settings, quoted names, row work in batches.

pub mod batch;
pub mod blockers;
pub mod catalog;
pub mod connect;
pub mod conninfo;
pub mod ident;
pub mod session;

pub use connect::{Canceller, Link, connect};
pub use conninfo::Conninfo;
pub use ident::{Ident, TableName};
pub use session::{Access, Database, Session, Sessions};
