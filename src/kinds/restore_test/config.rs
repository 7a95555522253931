//! The config of `restore_test`, and what the rest of the config makes of it.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::kinds::backup::Backup;
use crate::kinds::backup::directory::Spooling;
use crate::kinds::backup::words::Size;
use crate::kinds::{Around, Spec};
use crate::pg::Conninfo;
use crate::run::{Finding, JobName};

/// Restores the newest backup of a job into a scratch database, looks whether all is there, and drops it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreTest {
    /// The job whose backups are tested: JOB, or JOB@DATABASE where it has several databases.
    #[schemars(with = "String")]
    pub backup: Spanned<String>,
    /// The database, as the config names it, on whose server the scratch database is made and dropped. Itself it stays as it
    /// is. Default: the one that the job works in.
    #[schemars(with = "Option<String>")]
    pub server: Option<Spanned<String>>,
    /// The store that is restored from. Default: each store of the backup job, one after the other.
    #[schemars(with = "Option<String>")]
    pub store: Option<Spanned<String>>,
    /// Questions to the restored database. Each must give one row with one boolean column that is true.
    #[serde(default)]
    pub queries: Vec<String>,
    /// What to do about roles of the backup that the server does not have. Default: "auto".
    #[serde(default)]
    pub roles: Roles,
    /// The database that was dumped may be so large at most, such as "50 GB"; a larger one is not restored. Default: no limit.
    #[schemars(with = "Option<String>")]
    pub max_size: Option<Size>,
    /// The folder of pg_restore and psql. Default: that of the backup job, or else as it finds them.
    pub pg_bin: Option<PathBuf>,
    /// What the names above stand for.
    #[serde(skip)]
    #[schemars(skip)]
    pub found: Option<Box<Found>>,
}

/// What to do about owners and grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Roles {
    /// Owners and grants where the server has all roles and the role may give to them; otherwise without, which is said.
    #[default]
    Auto,
    /// Roles that are missing are made for the length of the test, without login and password.
    Make,
    /// Without owners and grants.
    Never,
}

/// What the names of the config stand for.
#[derive(Clone)]
pub struct Found {
    /// The job in the database whose backups they are.
    pub job: JobName,
    /// The database that they are of, as the config names it.
    pub source: Conninfo,
    pub stores: Vec<String>,
    /// What the config calls it.
    pub server_name: String,
    pub server: Conninfo,
    pub pg_bin: Option<PathBuf>,
    /// What opens them where they are encrypted.
    pub identity_file: Option<PathBuf>,
    /// Where those of the directory format are unpacked, to be restored by several workers.
    pub spooling: Option<Spooling>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found({} from {:?} to {})", self.job, self.stores, self.server.target())
    }
}

impl RestoreTest {
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        self.pg_bin = self.pg_bin.take().map(|path| folder.join(path));
    }

    pub(super) fn mistakes(&self) -> Vec<Finding> {
        let empty = self.queries.iter().position(|query| query.trim().is_empty());
        let found = empty.map(|at| {
            Finding::error(
                format!("query {} is empty", at + 1),
                "write one that gives true when all is well, or leave it out",
            )
        });
        found.into_iter().collect()
    }

    /// Looks the names up: which job's backups, from where, to where.
    pub(super) fn look_up(&mut self, database: &str, around: &Around) -> Result<(), Option<Finding>> {
        let (job, source, backup) = self.job(database, around)?;
        // Something is wrong with that database, and has been said.
        let source = around.databases.get(source).and_then(Clone::clone).ok_or(None)?;
        let stores: Vec<String> = backup.to.iter().map(|to| to.get_ref().store.clone()).collect();
        let stores = match &self.store {
            None => stores,
            Some(store) if stores.contains(store.get_ref()) => vec![store.get_ref().clone()],
            Some(store) => {
                let message = format!("no backups of job `{}` go to store `{}`", job.definition(), store.get_ref());
                return Err(Some(Finding::error(message, format!("name one of {}", list(&stores))).at(store.span())));
            }
        };
        let server_name = self.server.as_ref().map_or(database, |server| server.get_ref()).to_owned();
        let server = match around.databases.get(&server_name) {
            Some(server) => server.clone().ok_or(None)?,
            None => {
                let known: Vec<String> = around.databases.keys().cloned().collect();
                let message = format!("there is no database `{server_name}`");
                return Err(Some(self.at_server(Finding::error(message, format!("name one of {}", list(&known))))));
            }
        };
        let pg_bin = self.pg_bin.clone().or_else(|| backup.pg_bin.clone());
        let identity_file = backup.identity_file().map(Path::to_owned);
        if backup.is_encrypted() && identity_file.is_none() {
            let message =
                format!("the backups of job `{}` are encrypted, and it has no `identity_file`", job.definition());
            let mend = "name the file with the secret key there: without it nothing can be restored";
            return Err(Some(Finding::error(message, mend).at(self.backup.span())));
        }
        let spooling = backup.spooling();
        self.found =
            Some(Box::new(Found { job, source, stores, server_name, server, pg_bin, identity_file, spooling }));
        Ok(())
    }

    /// A finding about the server, at the place that names it.
    pub(super) fn at_server(&self, finding: Finding) -> Finding {
        finding.at(self.server.as_ref().map_or_else(|| self.backup.span(), Spanned::span))
    }

    /// What the config calls the server.
    pub(super) fn server_name(&self) -> &str {
        let named = || self.server.as_ref().map_or("", |server| server.get_ref());
        self.found.as_ref().map_or_else(named, |found| &found.server_name)
    }

    fn job<'a>(&self, database: &str, around: &'a Around) -> Result<(JobName, &'a str, &'a Backup), Option<Finding>> {
        let (name, span) = (self.backup.get_ref(), self.backup.span());
        let wrong = |message: String, mend: String| Some(Finding::error(message, mend).at(span.clone()));
        let definition = name.split('@').next().unwrap_or(name);
        let Some(peer) = around.jobs.iter().find(|peer| peer.name == definition) else {
            let backups: Vec<String> =
                around.jobs.iter().filter(|peer| peer.makes_backups()).map(|peer| peer.name.clone()).collect();
            let mend = if backups.is_empty() {
                "there is none that makes backups".into()
            } else {
                format!("name one of {}", list(&backups))
            };
            // It may stand in a file that could not be read.
            return Err(wrong(format!("there is no job `{name}`"), mend).filter(|_| around.complete));
        };
        // Something is wrong with that one, and has been said.
        let Some((_, _, first)) = peer.instances.first() else { return Err(None) };
        let Spec::Backup(backup) = first else {
            let message = format!("job `{definition}` makes no backups, its kind is {}", first.kind());
            return Err(wrong(message, "name a job of kind backup".into()));
        };
        let named = |one: &&(JobName, String, Spec)| one.0.as_str() == name;
        let here = |one: &&(JobName, String, Spec)| name == definition && one.1 == database;
        let instance = match peer.instances.as_slice() {
            [only] if name == definition => Some(only),
            all => all.iter().find(named).or_else(|| all.iter().find(here)),
        };
        match instance {
            Some((job, source, _)) => Ok((job.clone(), source, backup)),
            None => {
                let all: Vec<String> = peer.instances.iter().map(|(name, ..)| name.to_string()).collect();
                Err(wrong(
                    format!("`{name}` is no job in one database, and the backups of one are restored"),
                    format!("name one of {}", list(&all)),
                ))
            }
        }
    }
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
