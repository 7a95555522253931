//! Exports of partitions, which `pgtend backup list` shows after the backups, and `pgtend backup restore` loads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use futures_util::future;
use serde_json::{Value, json};

use super::list::seen;
use super::places::Where;
use super::restore::RestoreArgs;
use crate::cli::{DONE, FAILED, Usage, output};
use crate::config::{Config, Definition};
use crate::kinds::Spec;
use crate::kinds::backup::words;
use crate::kinds::retention::export::find::{self, Kept};
use crate::kinds::retention::export::load;
use crate::period::human;
use crate::pg::{Conninfo, Limits, connect, explain};
use crate::store::Store;

/// What `pg_stat_activity` calls it.
const NAME: &str = "pgtend/restore";

/// A job's exports in one store.
struct Place<'a> {
    job: &'a Arc<Definition>,
    store: &'a str,
}

/// The places that are meant; none where there are none.
fn places<'a>(config: &'a Config, wanted: &Where) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for job in &config.jobs {
        let Spec::Retention(retention) = &job.spec else { continue };
        let named = |name: &String| job.name.as_str() == name || job.name.definition() == name;
        if !wanted.job.as_ref().is_none_or(named) || wanted.database.as_ref().is_some_and(|name| *name != job.database)
        {
            continue;
        }
        let stores: BTreeSet<&str> =
            retention.tables.iter().filter_map(|table| table.get_ref().export.as_deref()).collect();
        let stores = stores.into_iter().filter(|store| wanted.store.as_ref().is_none_or(|name| name == store));
        places.extend(stores.map(|store| Place { job, store }));
    }
    places
}

impl Place<'_> {
    fn open(&self, config: &Config) -> Result<Store> {
        let settings =
            config.stores.get(self.store).with_context(|| format!("no store {:?} in the config", self.store))?;
        Store::new(self.store, &settings.settings)
    }
}

/// Whether any job that is meant exports partitions.
pub fn any(config: &Config, wanted: &Where) -> bool {
    !places(config, wanted).is_empty()
}

/// Whether a name is that of an export, which has a partition before its stamp.
pub fn is_export(name: &str) -> bool {
    name.contains('/')
}

/// Shows the exports, if there are any.
///
/// # Errors
/// A store's settings cannot be used.
pub async fn list(config: &Config, wanted: &Where, as_json: bool) -> Result<u8> {
    let (mut code, mut lines) = (DONE, Vec::new());
    let places = places(config, wanted);
    let stores = places.iter().map(|place| place.open(config)).collect::<Result<Vec<Store>>>()?;
    let looking = places.iter().zip(&stores).map(|(place, store)| find::all(store, place.job.name.as_str()));
    for ((place, store), looked) in places.iter().zip(&stores).zip(future::join_all(looking).await) {
        match looked {
            Ok((kept, unreadable)) => {
                for (id, why) in unreadable {
                    eprintln!("job {} in store {}: {id} cannot be read: {why}", place.job.name, place.store);
                    code = FAILED;
                }
                for kept in kept.iter().rev() {
                    if as_json {
                        output::json(&for_programs(place, store, kept));
                    } else {
                        lines.push(for_people(place, kept));
                    }
                }
            }
            Err(error) => {
                eprintln!("job {} in store {}: {}", place.job.name, place.store, explain(&error));
                code = FAILED;
            }
        }
    }
    if !lines.is_empty() {
        output::table(&["EXPORT", "JOB", "STORE", "DATABASE", "ROWS", "SIZE", "TAKEN", "VERIFIED"], lines);
    }
    Ok(code)
}

fn for_people(place: &Place<'_>, kept: &Kept) -> Vec<String> {
    let export = &kept.export;
    vec![
        kept.id(),
        export.job.clone(),
        place.store.to_owned(),
        export.database.clone(),
        export.content.rows.to_string(),
        words::size(export.size()),
        output::stamp(Some(export.started_at)),
        seen(kept.verified.as_ref()),
    ]
}

fn for_programs(place: &Place<'_>, store: &Store, kept: &Kept) -> Value {
    let mut object = json!(kept.export);
    if let Some(object) = object.as_object_mut() {
        object.insert("export".into(), kept.id().into());
        object.insert("store".into(), place.store.into());
        object.insert("place".into(), store.place().into());
        object.insert("size".into(), kept.export.size().into());
        object.insert("verified".into(), json!(kept.verified));
    }
    object
}

/// Loads an export into a table of its old name, in a database that is there.
///
/// # Errors
/// There is no such export, or it cannot be loaded: nothing is left of it then.
pub async fn restore(config: &Config, args: &RestoreArgs) -> Result<u8> {
    let began = Instant::now();
    let conninfo = Conninfo::parse(&args.into, args.password_file.as_deref())
        .map_err(|error| Usage(format!("--into: {error}")))?;
    if args.roles {
        return Err(Usage("--roles: an export has no roles".into()).into());
    }
    if args.jobs.is_some() {
        return Err(Usage("--jobs: an export is one table, which one worker loads".into()).into());
    }
    if args.key.identity.is_some() {
        return Err(Usage("--identity: an export is not encrypted".into()).into());
    }
    let mut found = Vec::new();
    for place in places(config, &args.place) {
        let store = place.open(config)?;
        let (kept, _) = find::all(&store, place.job.name.as_str()).await?;
        found.extend(kept.into_iter().filter(|kept| kept.id() == args.backup).map(|kept| (place.store, kept)));
    }
    if found.len() > 1 {
        let stores: Vec<_> = found.iter().map(|(store, _)| (*store).to_owned()).collect();
        return Err(Usage(format!(
            "{} is in several places ({}): say --store, or --job",
            args.backup,
            stores.join(", ")
        ))
        .into());
    }
    let Some((name, kept)) = found.pop() else {
        return Err(anyhow!("there is no export {}; `pgtend backup list` shows those there are", args.backup));
    };
    if let Some(verified) = kept.verified.as_ref().filter(|verified| !verified.good) {
        tracing::warn!(
            "{} was damaged when it was read back: {}",
            args.backup,
            verified.error.as_deref().unwrap_or("-")
        );
    }
    let place = places(config, &args.place).into_iter().find(|place| place.store == name);
    let store = place.context("the store is gone")?.open(config)?;
    // However long the store takes.
    let limits = Limits::new(Duration::MAX, Duration::from_secs(30));
    let (link, _) = connect(&conninfo, NAME, limits).await?;
    let loaded = load::load(&link.client, &store, &kept).await;
    let loaded =
        loaded.with_context(|| format!("load {} into {}: nothing was left there", args.backup, conninfo.target()));
    if args.json {
        output::json(&json!({
            "export": args.backup, "store": name, "target": conninfo.target(), "table": kept.export.partition,
            "rows": loaded.as_ref().ok(), "duration_seconds": began.elapsed().as_secs_f64(),
            "error": loaded.as_ref().err().map(explain),
        }));
    }
    match loaded {
        Ok(rows) if !args.json => {
            let table = &kept.export.partition;
            output::line(&format!(
                "loaded {} into table {table}: {rows} rows, in {}",
                args.backup,
                human(began.elapsed())
            ));
            Ok(DONE)
        }
        Ok(_) => Ok(DONE),
        Err(error) => {
            tracing::error!("{}", explain(&error));
            Ok(FAILED)
        }
    }
}
