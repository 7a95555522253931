//! Which backups a command is about: those of a job, in a store. What is not said is no guess where there are several.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cli::{Usage, are};
use crate::config::{Config, Definition};
use crate::kinds::Spec;
use crate::kinds::backup::Backup;
use crate::kinds::backup::choose::{certain, choose};
use crate::kinds::backup::config::Compression;
use crate::kinds::backup::crypt::Lock;
use crate::kinds::backup::manifest::Stored;
use crate::kinds::backup::naming;
use crate::kinds::backup::read::{Progress, Source};
use crate::kinds::backup::shelf::{self, Kept};
use crate::store::{Key, Store};

/// Where to look.
#[derive(Debug, Clone, Default, Args)]
pub struct Where {
    /// The job that made them, where there are several
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    /// The store, where the job has several
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The database, as the config names it, where the job has several
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
}

/// With what an encrypted backup is opened.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyArgs {
    /// The secret key of an encrypted backup, as age-keygen writes it [default: the job's identity_file]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// A job's backups in one store.
pub struct Place<'a> {
    pub job: &'a Arc<Definition>,
    pub backup: &'a Backup,
    /// As the config names it.
    pub store: &'a str,
}

impl Place<'_> {
    /// # Errors
    /// The store's settings cannot be used.
    pub fn open(&self, config: &Config) -> Result<Store> {
        let settings =
            config.stores.get(self.store).with_context(|| format!("no store {:?} in the config", self.store))?;
        Store::new(self.store, &settings.settings)
    }

    /// `job nightly in store offsite`
    pub fn said(&self) -> String {
        format!("job {} in store {}", self.job.name, self.store)
    }

    pub fn folder(&self, id: &str) -> Key {
        naming::folder(self.job.name.as_str()).join(id)
    }
}

impl Where {
    /// All that it means.
    ///
    /// # Errors
    /// There is nothing of that name; [`Usage`] with what there is.
    pub fn all<'a>(&self, config: &'a Config) -> Result<Vec<Place<'a>>> {
        let jobs = self.jobs(config)?;
        let places = jobs
            .iter()
            .flat_map(|(job, backup)| backup.to.iter().map(|to| Place { job, backup, store: &to.get_ref().store }));
        let places: Vec<Place<'a>> = places.collect();
        let Some(store) = &self.store else { return Ok(places) };
        let known: BTreeSet<&str> = places.iter().map(|place| place.store).collect();
        if !known.contains(store.as_str()) {
            let known: Vec<_> = known.into_iter().collect();
            return Err(Usage(format!("no backups go to a store {store:?}; there {}", are(&known))).into());
        }
        Ok(places.into_iter().filter(|place| place.store == store).collect())
    }

    /// The one that it means.
    ///
    /// # Errors
    /// [`Usage`] where it means none, or several, with the choices.
    pub fn one<'a>(&self, config: &'a Config) -> Result<Place<'a>> {
        let mut places = self.all(config)?;
        let distinct = |of: &dyn Fn(&Place<'a>) -> String| {
            places.iter().map(of).collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>()
        };
        let which = |what: &str, option: &str, choices: &[String]| {
            Usage(format!(
                "which {what} is meant? there are several; say {option} {}",
                choices.join(&format!(", or {option} "))
            ))
        };
        let definitions = distinct(&|place| place.job.name.definition().to_owned());
        if definitions.len() > 1 {
            return Err(which("job", "--job", &definitions).into());
        }
        let databases = distinct(&|place| place.job.database.clone());
        if databases.len() > 1 {
            return Err(which("database", "--database", &databases).into());
        }
        let stores = distinct(&|place| place.store.to_owned());
        if stores.len() > 1 {
            return Err(which("store", "--store", &stores).into());
        }
        places.pop().context("a job has a store")
    }

    fn jobs<'a>(&self, config: &'a Config) -> Result<Vec<(&'a Arc<Definition>, &'a Backup)>> {
        let all: Vec<_> = config
            .jobs
            .iter()
            .filter_map(|job| match &job.spec {
                Spec::Backup(backup) => Some((job, backup)),
                _ => None,
            })
            .collect();
        let named = |job: &Definition| {
            self.job.as_deref().is_none_or(|name| job.name.as_str() == name || job.name.definition() == name)
        };
        let mut jobs: Vec<_> = all.iter().copied().filter(|(job, _)| named(job)).collect();
        if jobs.is_empty() {
            let known: BTreeSet<&str> = all.iter().map(|(job, _)| job.name.definition()).collect();
            let known: Vec<_> = known.into_iter().collect();
            let other = self.job.as_deref().map(|name| (name, config.instances(name)));
            return Err(Usage(match other {
                None => "no job of the config makes backups".into(),
                Some((name, others)) if !others.is_empty() => {
                    let kind = others[0].spec.kind();
                    format!("job {name:?} makes no backups, its kind is {kind}; of kind backup there {}", are(&known))
                }
                Some((name, _)) => format!("no job {name:?} makes backups; of kind backup there {}", are(&known)),
            })
            .into());
        }
        if let Some(database) = &self.database {
            let known: BTreeSet<&str> = jobs.iter().map(|(job, _)| job.database.as_str()).collect();
            if !known.contains(database.as_str()) {
                let known: Vec<_> = known.into_iter().collect();
                return Err(
                    Usage(format!("there is no backup job for database {database:?}; there {}", are(&known))).into()
                );
            }
            jobs.retain(|(job, _)| job.database == *database);
        }
        Ok(jobs)
    }
}

/// A backup, and where it is.
pub struct Found<'a> {
    pub place: Place<'a>,
    pub store: Store,
    pub kept: Kept,
    pub folder: Key,
    pub lock: Lock,
}

impl Found<'_> {
    /// One of its objects.
    pub fn source<'a>(&'a self, object: &'a Stored, compression: Compression, progress: &Arc<Progress>) -> Source<'a> {
        let key = self.folder.join(&object.name);
        let lock = self.lock.clone();
        Source { store: &self.store, key, object, compression, lock, progress: Arc::clone(progress) }
    }
}

/// What `latest` is where there are backups of several databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// The newest of all, which is told.
    Told,
    Refused,
}

/// Finds the backup that is meant, an id or `latest`, and says what should be known of the choice.
///
/// # Errors
/// There is none such, the store cannot be asked, or the file of the key cannot be used.
pub async fn find<'a>(
    config: &'a Config,
    place: &Where,
    which: &str,
    guess: Guess,
    key: &KeyArgs,
) -> Result<Found<'a>> {
    let place = place.one(config)?;
    let store = place.open(config)?;
    let shelf = shelf::look(&store, place.job.name.as_str()).await?;
    if guess == Guess::Refused {
        certain(&shelf, which).map_err(|why| anyhow::anyhow!("{}: {why}", place.said()))?;
    }
    let chosen = choose(&shelf, which).map_err(|why| anyhow::anyhow!("{}: {why}", place.said()))?;
    for note in &chosen.notes {
        tracing::warn!("{}: {note}", place.said());
    }
    let (kept, folder) = (chosen.kept.clone(), place.folder(&chosen.kept.manifest.id));
    let identity_file = key.identity.as_deref().or(place.backup.identity_file());
    let lock = Lock::of(&kept.manifest, identity_file).await;
    let lock = lock.with_context(|| format!("{} of {}", kept.manifest.id, place.said()))?;
    Ok(Found { place, store, kept, folder, lock })
}
