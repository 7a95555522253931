//! Files -> [`Config`]: every mistake reported at once, each with its file and line, before anything is touched.
//!
//! | step | where |
//! |---|---|
//! | which files | `files` |
//! | text -> tree, `${VAR}` filled in | `tree` |
//! | tree -> types; every mistake, not the first | `read`, `tree_de`, `fault` |
//! | the keys as they are written | `written` |
//! | where backups are kept | `stores` |
//! | whom to tell | `notify` |
//! | names that refer to each other -> one [`Definition`] a job and database | `jobs`, `instances`, `after` |
//! | jobs about the same table hear of each other | `neighbours` |

mod after;
mod definition;
mod errors;
mod fault;
mod files;
mod instances;
mod jobs;
mod load;
mod neighbours;
mod notify;
mod read;
mod schema;
mod stores;
#[cfg(test)]
mod tests;
mod tree;
mod tree_de;
mod window;
mod written;

pub use definition::{
    Address, Config, DatabaseConfig, Definition, HttpConfig, NotifyConfig, NotifyFormat, NotifyOn, Origin, Retry,
    Source, StoreConfig, Warning,
};
pub use errors::{ConfigError, ConfigErrors};
pub use files::{NoConfig, locate};
pub use load::{load, load_with};
pub use schema::schema;
pub use window::{Window, WindowError};
