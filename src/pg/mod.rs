//! PostgreSQL: connections as libpq users expect them, sessions with our settings, quoted names, row work in batches.

pub mod connect;
pub mod conninfo;
mod conntext;
pub mod ident;
mod keywords;
mod passfile;
mod refusal;
pub mod session;
mod tls;

pub use connect::{Canceller, Link, connect};
pub use conninfo::Conninfo;
pub use ident::{Ident, TableName};
pub use refusal::ConnectError;
pub use session::{Access, Database, Session, Sessions};
