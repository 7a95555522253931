//! PostgreSQL: connections as libpq users expect them, sessions with our settings, quoted names, row work in batches.

pub mod batch;
pub mod blockers;
pub mod catalog;
pub mod connect;
pub mod conninfo;
mod conntext;
pub mod ddl;
pub mod exclusion;
pub mod fence;
pub mod ident;
mod keywords;
pub mod libpq;
pub mod others;
pub mod ours;
mod passfile;
pub mod pattern;
pub mod pg_cron;
pub mod pooler;
mod refusal;
pub mod session;
pub mod settings;
pub mod split;
mod tls;
pub mod waits;
pub mod words;

pub use connect::{Canceller, Link, connect};
pub use conninfo::Conninfo;
pub use fence::Fence;
pub use ident::{Ident, TableName};
pub use passfile::readable_by_others;
pub use pattern::Pattern;
pub use pooler::TransactionPooler;
pub use refusal::ConnectError;
pub use session::{Access, Database, Session, Sessions};
pub use settings::Limits;
pub use words::explain;
