//! The directory format: a dump that several workers make at once, in a folder, and that becomes one tar in the stores.
//!
//! The tar is in the order in which `pg_restore` reads it, its table of contents first. So it is what PostgreSQL calls an
//! archive of format `tar` as well: it is read back, and restored, as a stream, and has to be unpacked only for several
//! workers.
//!
//! | step | where |
//! |---|---|
//! | the folder, its limit, and its end | `spool`, `sweep` |
//! | `pg_dump` with its workers | `dump` |
//! | from the folder to a tar, and back | `order`, `pack`, `unpack` |

pub mod dump;
pub mod order;
pub mod pack;
pub mod spool;
mod sweep;
pub mod unpack;

use std::path::PathBuf;

use anyhow::Result;

pub use self::spool::Spool;
use super::config::{Backup, Format};
use crate::run::Finding;

/// Workers where the config does not say.
const JOBS: u16 = 2;
/// More of them only wait for each other.
const MOST_JOBS: u16 = 64;

/// Where dumps lie for a while, and who works on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooling {
    pub folder: PathBuf,
    /// Bytes that a dump may take there; where the config does not say, half of what is free when it begins.
    pub most: Option<u64>,
    pub jobs: u16,
}

impl Spooling {
    /// How many bytes a dump that begins now may take. It asks the file system where the config does not say.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn limit(&self) -> Result<u64> {
        self.most.map_or_else(|| Ok(half_of(spool::free(&self.folder)?)), Ok)
    }
}

/// What a dump may take of what is free, where nobody has said: others need room too.
const fn half_of(free: u64) -> u64 {
    free / 2
}

impl Backup {
    /// How dumps of the directory format are made; nothing where the format is another one.
    pub fn spooling(&self) -> Option<Spooling> {
        // A folder of its own in it is closed to others, and gone with the run.
        let folder = self.spool.as_ref().map_or_else(std::env::temp_dir, |folder| folder.get_ref().clone());
        let most = self.spool_max.as_ref().map(|most| most.get_ref().0);
        let jobs = self.jobs.as_ref().map_or(JOBS, |jobs| *jobs.get_ref());
        (self.format() == Format::Directory).then_some(Spooling { folder, most, jobs })
    }

    pub(super) fn mistaken_spool(&self) -> Vec<Finding> {
        let spans = [
            ("jobs", self.jobs.as_ref().map(toml::Spanned::span)),
            ("spool", self.spool.as_ref().map(toml::Spanned::span)),
            ("spool_max", self.spool_max.as_ref().map(toml::Spanned::span)),
        ];
        if self.format() != Format::Directory {
            let idle = spans.into_iter().filter_map(|(key, span)| {
                let message = format!("`{key}` is for `format = \"directory\"` alone");
                Some(Finding::error(message, "set that format, or leave it out").at(span?))
            });
            return idle.collect();
        }
        let mut found = Vec::new();
        if let Some(jobs) = self.jobs.as_ref().filter(|jobs| !(1..=MOST_JOBS).contains(jobs.get_ref())) {
            let message = format!("`jobs` is {}, and has to be 1 to {MOST_JOBS}", jobs.get_ref());
            found.push(Finding::error(message, "each of them is a connection and a core at work").at(jobs.span()));
        }
        if let Some(most) = self.spool_max.as_ref().filter(|most| most.get_ref().0 == 0) {
            found
                .push(Finding::error("a `spool_max` of nothing holds no dump", "write \"50 GB\", say").at(most.span()));
        }
        found
    }
}
