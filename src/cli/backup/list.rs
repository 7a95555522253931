//! `pgtend backup list`: the backups in the stores.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use futures_util::future;
use serde_json::{Value, json};

use super::exports;
use super::places::{Place, Where};
use crate::cli::{DONE, FAILED, output};
use crate::config::Config;
use crate::kinds::backup::manifest::{Manifest, Verified};
use crate::kinds::backup::shelf::{self, Kept, Shelf};
use crate::kinds::backup::words;
use crate::period::human;
use crate::pg::explain;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this job's
    #[arg(value_name = "JOB", conflicts_with = "job")]
    named: Option<String>,
    #[command(flatten)]
    place: Where,
    /// One JSON object a backup, a line each
    #[arg(long)]
    json: bool,
}

/// # Errors
/// There is no such job or store.
pub async fn list(config: &Config, args: &ListArgs) -> Result<u8> {
    let place = Where { job: args.named.clone().or_else(|| args.place.job.clone()), ..args.place.clone() };
    let with_exports = exports::any(config, &place);
    let places = match (gone(config, &place), place.all(config)) {
        (Some(gone), _) => vec![gone],
        // There is something to show all the same.
        (None, Err(_)) if with_exports => Vec::new(),
        (None, places) => places?.iter().map(Listed::of).collect(),
    };
    let looked = future::join_all(places.iter().map(async |place| look(config, place).await)).await;
    let mut code = DONE;
    let mut found: Vec<(&Listed, &str, &Kept)> = Vec::new();
    for (place, looked) in places.iter().zip(&looked) {
        match looked {
            Ok((at, shelf)) => {
                for (id, why) in &shelf.unreadable {
                    eprintln!("{}: {id} cannot be read: {why}", place.said());
                    code = FAILED;
                }
                found.extend(shelf.kept.iter().map(|kept| (place, at.as_str(), kept)));
            }
            Err(error) => {
                eprintln!("{}: {}", place.said(), explain(error));
                code = FAILED;
            }
        }
    }
    found.sort_by_key(|(place, _, kept)| {
        let manifest = &kept.manifest;
        (std::cmp::Reverse((manifest.started_at, manifest.id.clone())), place.job.clone(), place.store.clone())
    });
    if args.json {
        for (place, at, kept) in &found {
            output::json(&for_programs(place, at, kept));
        }
    } else if found.is_empty() {
        // What could not be looked at may have some.
        if code == DONE && (!places.is_empty() || !with_exports) {
            output::line("no backups");
        }
    } else {
        let header = ["BACKUP", "JOB", "STORE", "DATABASE", "SIZE", "RAW", "TAKEN", "TOOK", "VERIFIED", "RESTORED"];
        output::table(&header, found.iter().map(|(place, _, kept)| for_people(place, kept)).collect());
    }
    Ok(code.max(exports::list(config, &place, args.json).await?))
}

/// A job's place in a store, whether or not the config still has the job.
struct Listed {
    job: String,
    store: String,
}

impl Listed {
    fn of(place: &Place<'_>) -> Self {
        Self { job: place.job.name.to_string(), store: place.store.to_owned() }
    }

    fn said(&self) -> String {
        format!("job {} in store {}", self.job, self.store)
    }
}

/// What is asked for of a job that the config has no more, in a store that it has: its backups are still there, and no `keep`
/// deletes them.
fn gone(config: &Config, wanted: &Where) -> Option<Listed> {
    let (job, store) = (wanted.job.as_ref()?, wanted.store.as_ref()?);
    let definition = job.split('@').next().unwrap_or(job);
    let is_gone = config.instances(definition).is_empty() && config.stores.contains_key(store);
    is_gone.then(|| Listed { job: job.clone(), store: store.clone() })
}

async fn look(config: &Config, place: &Listed) -> Result<(String, Shelf)> {
    let settings =
        config.stores.get(&place.store).with_context(|| format!("no store {:?} in the config", place.store))?;
    let store = Store::new(&place.store, &settings.settings)?;
    Ok((store.place(), shelf::look(&store, &place.job).await?))
}

fn for_people(place: &Listed, kept: &Kept) -> Vec<String> {
    let manifest = &kept.manifest;
    vec![
        manifest.id.clone(),
        manifest.job.clone(),
        place.store.clone(),
        manifest.database.clone(),
        words::size(manifest.size()),
        words::size(raw_size(manifest)),
        output::stamp(Some(manifest.started_at)),
        human(took(manifest)),
        seen(kept.verified.as_ref()),
        output::stamp(kept.restored.as_ref().map(|restored| restored.at)),
    ]
}

/// How it was when it was last read back.
pub(super) fn seen(verified: Option<&Verified>) -> String {
    match verified {
        None => "not verified".into(),
        Some(verified) if verified.good => output::stamp(Some(verified.at)),
        Some(verified) => format!("DAMAGED: {}", output::brief(verified.error.as_deref().unwrap_or("-"))),
    }
}

/// The manifest as it is, and what follows from it.
fn for_programs(place: &Listed, at: &str, kept: &Kept) -> Value {
    let manifest = &kept.manifest;
    let state = match &kept.verified {
        None => "unverified",
        Some(verified) if verified.good => "verified",
        Some(_) => "damaged",
    };
    let mut object = json!(manifest);
    let more = json!({
        "store": place.store, "place": at, "size": manifest.size(), "raw_size": raw_size(manifest),
        "duration_seconds": took(manifest).as_secs_f64(), "state": state, "verified": kept.verified, "restored": kept.restored,
    });
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn raw_size(manifest: &Manifest) -> u64 {
    manifest.objects.iter().map(|object| object.raw_size).sum()
}

fn took(manifest: &Manifest) -> Duration {
    (manifest.finished_at - manifest.started_at).to_std().unwrap_or_default()
}
