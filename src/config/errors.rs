//! What is wrong with a config, all of it at once, each with its place.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::definition::{Origin, Source, Warning};

/// One mistake. `Display` is `file:line:column: message`, and stays so: editors read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ConfigError {
    pub path: PathBuf,
    /// Counted from 1. Nothing when it is about the file as a whole.
    pub line: Option<usize>,
    /// Counted from 1, in characters.
    pub column: Option<usize>,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, "{number}:")?;
        }
        write!(f, " {}", self.message.replace('\n', "\n    "))
    }
}

/// Every mistake of a config, by file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Where mistakes are put down while the reading goes on.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: Vec<ConfigError>,
    pub warnings: Vec<Warning>,
    /// A file could not be understood, so that what seems to be missing may stand there.
    pub unread: bool,
}

impl Problems {
    pub fn at(&mut self, source: &Source, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = (Some(source.line(span.start)), Some(source.column(span.start)));
        self.errors.push(ConfigError { path: source.path.clone(), line, column, message: message.into() });
    }

    pub fn error(&mut self, origin: &Origin, message: impl Into<String>) {
        self.at(&origin.source, &origin.span, message);
    }

    pub fn file(&mut self, path: PathBuf, message: impl Into<String>) {
        self.errors.push(ConfigError { path, line: None, column: None, message: message.into() });
    }

    pub fn warn(&mut self, origin: Origin, message: impl Into<String>, mend: impl Into<String>) {
        self.warnings.push(Warning { origin, message: message.into(), mend: mend.into() });
    }

    /// Nothing when there were no mistakes.
    pub fn errors(mut self) -> Result<Vec<Warning>, ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        self.errors.sort();
        self.errors.dedup();
        Err(ConfigErrors(self.errors))
    }
}

/// A piece of a file.
pub(super) fn origin(source: &Arc<Source>, span: Range<usize>) -> Origin {
    Origin { source: Arc::clone(source), span }
}
