//! The config of `backup`: what is dumped, how it is packed, where it goes, and what is kept there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Error, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::crypt::PublicKey;
use super::pipeline::Packing;
use super::words::Size;
use crate::period::Span;
use crate::pg::{Ident, TableName};
use crate::run::Finding;

/// Dumps the database to stores, and reads each dump back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The stores that it goes to, each with what is kept there.
    #[schemars(with = "Vec<To>")]
    pub to: Vec<Spanned<To>>,
    /// The format of the dump: "custom" (the default), for pg_restore; "plain", for psql; or "directory", made by several
    /// workers at once.
    #[schemars(with = "Option<Format>")]
    pub format: Option<Spanned<Format>>,
    /// With "directory": how many workers dump tables at once, each over a connection of its own, and restore them. Default: 2.
    #[schemars(with = "Option<u16>")]
    pub jobs: Option<Spanned<u16>>,
    /// With "directory": the folder that the dump is written to before it is stored, in a folder of its own that goes
    /// afterwards. It is made where it is missing. Default: the folder for temporary files (TMPDIR, or /tmp).
    #[schemars(with = "Option<PathBuf>")]
    pub spool: Option<Spanned<PathBuf>>,
    /// With "directory": what a dump may take there at most, such as "50 GB". One that grows larger is given up. Default:
    /// half of what is free there when it begins.
    #[schemars(with = "Option<String>")]
    pub spool_max: Option<Spanned<Size>>,
    /// "zstd:1" to "zstd:19", "gzip:1" to "gzip:9", or "none". Default: "zstd:1".
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub compression: Compression,
    /// Only these schemas. Such a dump has neither extensions nor large objects.
    #[serde(default)]
    pub schemas: Vec<Ident>,
    /// All schemas but these.
    #[serde(default)]
    pub exclude_schemas: Vec<Ident>,
    /// Only these tables, their partitions included. Such a dump lacks what the tables need: sequences, types, functions.
    #[serde(default)]
    pub tables: Vec<TableName>,
    /// All tables but these and their partitions.
    #[serde(default)]
    pub exclude_tables: Vec<TableName>,
    /// Tables that are dumped without their rows, and their partitions likewise.
    #[serde(default)]
    pub exclude_table_data: Vec<TableName>,
    /// Whether roles and tablespaces, which are in no dump of a database, are dumped beside it. Default: true.
    #[serde(default = "yes")]
    pub globals: bool,
    /// The folder of pg_dump and pg_restore. Default: the installation that fits the server, in the usual places, then
    /// the PATH.
    pub pg_bin: Option<PathBuf>,
    /// How long the dump waits for a table that is locked, before it gives up. Default: 5m.
    #[serde(default = "five_minutes")]
    pub lock_wait: Span,
    /// The public keys of age ("age1…") to which backups are encrypted: each of their secret keys opens them, and nothing
    /// else does. Default: not encrypted.
    #[schemars(with = "Option<Vec<String>>")]
    pub encrypt_to: Option<Spanned<Vec<Spanned<String>>>>,
    /// A file with a secret key, as age-keygen writes it, to read encrypted backups back with. Without it only size and
    /// digest of what is stored are seen.
    #[schemars(with = "Option<PathBuf>")]
    pub identity_file: Option<Spanned<PathBuf>>,
    /// Whether the rows of each table are counted in the snapshot that is dumped, for `restore_test` to compare. It reads
    /// every table once more. Default: false.
    #[serde(default)]
    pub row_counts: bool,
}

fn yes() -> bool {
    true
}

fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}

/// A store that backups go to.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// The name under `[stores]`.
    pub store: String,
    /// What is kept there. Without it nothing is ever deleted.
    #[schemars(with = "Option<Keep>")]
    pub keep: Option<Spanned<Keep>>,
}

/// Which backups are kept; each that one of these rules asks for is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// So many of the newest.
    pub last: Option<u32>,
    /// Those begun within so many days (of 24 hours) before the newest.
    pub days: Option<u32>,
    /// The newest of each day, for so many days that have one.
    pub daily: Option<u32>,
    /// The newest of each week (Monday to Sunday), for so many weeks that have one.
    pub weekly: Option<u32>,
    /// The newest of each month, for so many months that have one.
    pub monthly: Option<u32>,
    /// The newest of each year, for so many years that have one.
    pub yearly: Option<u32>,
}

/// The format of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Custom,
    Plain,
    Directory,
}

impl Format {
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Custom => "custom",
            Format::Plain => "plain",
            Format::Directory => "directory",
        }
    }
}

/// How a dump is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Zstd(u8),
    Gzip(u8),
}

impl Default for Compression {
    fn default() -> Self {
        Compression::Zstd(1)
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no compression; write \"zstd:1\" to \"zstd:19\", \"gzip:1\" to \"gzip:9\", or \"none\""
            )
        };
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        match (name, level) {
            ("none", None) => Ok(Compression::None),
            ("zstd", level) if (1..=19).contains(&level.unwrap_or(1)) => Ok(Compression::Zstd(level.unwrap_or(1))),
            ("gzip", level) if (1..=9).contains(&level.unwrap_or(6)) => Ok(Compression::Gzip(level.unwrap_or(6))),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
            Compression::Gzip(level) => write!(f, "gzip:{level}"),
        }
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Backup {
    pub fn format(&self) -> Format {
        self.format.as_ref().map_or_else(Format::default, |format| *format.get_ref())
    }

    /// Whether all of the database is in the dump.
    pub fn is_whole(&self) -> bool {
        self.schemas.is_empty() && self.exclude_schemas.is_empty() && self.takes_all_tables()
    }

    /// Whether large objects are in the dump: `pg_dump` leaves them out where schemas or tables are chosen.
    pub fn takes_large_objects(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty()
    }

    fn takes_all_tables(&self) -> bool {
        self.tables.is_empty() && self.exclude_tables.is_empty() && self.exclude_table_data.is_empty()
    }

    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        self.pg_bin = self.pg_bin.take().map(|path| folder.join(path));
        for path in [&mut self.identity_file, &mut self.spool].into_iter().flatten() {
            *path.get_mut() = folder.join(path.get_ref());
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.encrypt_to.is_some()
    }

    pub fn identity_file(&self) -> Option<&Path> {
        self.identity_file.as_ref().map(|file| file.get_ref().as_path())
    }

    /// The public keys, as manifests have them.
    pub fn recipients(&self) -> Vec<String> {
        self.encrypt_to.iter().flat_map(|keys| keys.get_ref()).map(|key| key.get_ref().to_ascii_lowercase()).collect()
    }

    /// The keys to which backups are encrypted; none where they are not.
    ///
    /// # Errors
    /// They are wrong, which the config was refused for: nothing that should be encrypted is ever written as it is.
    pub fn keys(&self) -> Result<Vec<PublicKey>> {
        let keys: Vec<PublicKey> =
            self.recipients().iter().map(|key| key.parse()).collect::<Result<_, String>>().map_err(Error::msg)?;
        ensure!(self.is_encrypted() != keys.is_empty(), "`encrypt_to` is empty");
        Ok(keys)
    }

    /// # Errors
    /// See [`Backup::keys`].
    pub fn packing(&self) -> Result<Packing> {
        Ok(Packing { compression: self.compression, keys: self.keys()? })
    }

    /// What the config cannot mean.
    pub(super) fn mistakes(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.to.is_empty() {
            found.push(Finding::error("`to` is empty: the backup goes nowhere", "name a store of [stores]"));
        }
        for (at, to) in self.to.iter().enumerate() {
            let name = &to.get_ref().store;
            if self.to[..at].iter().any(|other| other.get_ref().store == *name) {
                let finding = Finding::error(format!("store `{name}` is named twice"), "name each store once");
                found.push(finding.at(to.span()));
            }
            let Some(keep) = &to.get_ref().keep else { continue };
            if keep.get_ref().rules().iter().all(|(_, count)| count.unwrap_or(0) == 0) {
                let mend =
                    "give at least one of last, days, daily, weekly, monthly, yearly, or leave `keep` out to keep all";
                found.push(Finding::error("this `keep` keeps nothing", mend).at(keep.span()));
            }
        }
        found.extend(self.mistaken_spool());
        found.extend(self.mistaken_keys());
        found
    }

    fn mistaken_keys(&self) -> Vec<Finding> {
        let absent = |span: std::ops::Range<usize>, key: &str| {
            let words = "this pgtend was built without encryption (cargo feature `encrypt`)";
            Finding::error(words, format!("use one that was built with it, or leave `{key}` out")).at(span)
        };
        if cfg!(not(feature = "encrypt")) {
            let keys = self.encrypt_to.iter().map(|keys| absent(keys.span(), "encrypt_to"));
            return keys.chain(self.identity_file.iter().map(|file| absent(file.span(), "identity_file"))).collect();
        }
        let Some(keys) = &self.encrypt_to else { return Vec::new() };
        let mut found = Vec::new();
        if keys.get_ref().is_empty() {
            let words = "`encrypt_to` is empty: nobody could read the backup";
            found.push(Finding::error(words, "name a public key, or leave it out to not encrypt").at(keys.span()));
        }
        for (at, key) in keys.get_ref().iter().enumerate() {
            let text = key.get_ref();
            if let Err(why) = text.to_ascii_lowercase().parse::<PublicKey>() {
                let mend = "write it as `age-keygen` prints it: \"age1\" and 58 more letters and digits";
                found.push(Finding::error(why, mend).at(key.span()));
            } else if keys.get_ref()[..at].iter().any(|other| other.get_ref().eq_ignore_ascii_case(text)) {
                found.push(Finding::error(format!("{text} is named twice"), "name each key once").at(key.span()));
            }
        }
        found
    }
}

impl Keep {
    /// The rules by their names in the config.
    pub fn rules(&self) -> [(&'static str, Option<u32>); 6] {
        [
            ("last", self.last),
            ("days", self.days),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
