//! Where a database is and how to get in, read as libpq reads it.

use std::path::{Path, PathBuf};

/// A parsed connection string. `Debug` and [`Conninfo::target`] never show a secret.
#[derive(Clone)]
pub struct Conninfo {
    pub(super) config: tokio_postgres::Config,
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConninfoError(pub String);

impl Conninfo {
    /// # Errors
    /// The text is no connection string, or asks for something that is not known.
    pub fn parse(text: &str, password_file: Option<&Path>) -> Result<Self, ConninfoError> {
        let config = text.parse().map_err(|e: tokio_postgres::Error| ConninfoError(e.to_string()))?;
        Ok(Self { config, password_file: password_file.map(Into::into) })
    }

    /// Where this leads, for messages: `user@host:port/dbname`, without any secret.
    pub fn target(&self) -> String {
        format!("{:?}/{}", self.config.get_hosts(), self.config.get_dbname().unwrap_or_default())
    }
}

impl std::fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conninfo({})", self.target())
    }
}
