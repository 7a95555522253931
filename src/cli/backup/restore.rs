//! `pgtend backup restore`: a backup put into a database that is empty, or not there yet.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::exports;
use super::places::{self, Found, Guess, KeyArgs, Where};
use super::progress::{shown, unless_ended};
use crate::cli::{DONE, FAILED, Usage, output};
use crate::config::Config;
use crate::kinds::backup::choose::LATEST;
use crate::kinds::backup::config::Format;
use crate::kinds::backup::directory::Spooling;
use crate::kinds::backup::pg_dump::{self, Tools};
use crate::kinds::backup::read::{Progress, Source, is_damage, try_key};
use crate::kinds::backup::restore::{self, Load, Target, roles};
use crate::kinds::backup::{verify, words};
use crate::period::human;
use crate::pg::{Conninfo, explain};

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Its id, as `pgtend backup list` has it
    #[arg(value_name = "BACKUP", default_value = LATEST)]
    pub(super) backup: String,
    /// The database that is filled: made when it is missing, refused when it holds anything
    #[arg(long, value_name = "URL")]
    pub(super) into: String,
    /// A file with the password, for a URL that has none; as ever, PGPASSWORD, PGPASSFILE and ~/.pgpass serve too
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// First make the roles that the backup has and the server has not, with their passwords
    #[arg(long)]
    pub(super) roles: bool,
    /// Workers for a dump of the directory format, which more than one need the job's spool for; with 1 it goes from the
    /// store into the database without [default: the job's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) jobs: Option<u16>,
    #[command(flatten)]
    pub(super) place: Where,
    #[command(flatten)]
    pub(super) key: KeyArgs,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What has been done so far.
#[derive(Default)]
struct Done {
    roles: roles::Made,
    tables: Option<i64>,
}

/// # Errors
/// There is no such backup, or the target is not to be filled: nothing was touched.
pub async fn restore(config: &Config, args: &RestoreArgs) -> Result<u8> {
    if exports::is_export(&args.backup) {
        return Box::pin(exports::restore(config, args)).await;
    }
    let began = Instant::now();
    // A URL that is none is told without its words: a password may stand among them.
    let conninfo = Conninfo::parse(&args.into, args.password_file.as_deref())
        .map_err(|error| Usage(format!("--into: {error}")))?;
    if !conninfo.names_a_database() {
        return Err(Usage(format!(
            "--into: {} is there because the URL names no database: name one",
            conninfo.target()
        ))
        .into());
    }
    let found = places::find(config, &args.place, &args.backup, Guess::Refused, &args.key).await?;
    let manifest = &found.kept.manifest;
    let spooling = spooling(&found, args.jobs)?;
    let (dump, compression) = verify::dump_of(manifest)?;
    let tried = try_key(&found.source(dump, compression, &Arc::default())).await;
    tried.with_context(|| format!("restore {} of {}", manifest.id, found.place.said()))?;
    let tools = pg_dump::look_for_reader(&manifest.pg_dump_version, found.place.backup.pg_bin.as_deref()).await?;
    let mut target = Target::look(&conninfo, manifest).await?;
    if !manifest.filters.schemas.is_empty() || !manifest.filters.tables.is_empty() {
        tracing::warn!(
            "the dump is of chosen schemas or tables: extensions, large objects and what else they need is not in it"
        );
    }
    let mut done = Done::default();
    let restored = unless_ended(fill(&found, args.roles, spooling.as_ref(), &tools, &mut target, &mut done)).await;
    let restored: Result<()> = restored.map_err(|error: anyhow::Error| {
        let damage = is_damage(&error);
        let error = error.context(format!("restore {} of {} into {}", manifest.id, found.place.said(), target.place));
        if damage && target.is_begun() { error.context("what is in the database must not be used") } else { error }
    });
    let took = began.elapsed();
    let left = target.left();
    if args.json {
        output::json(&json!({
            "backup": manifest.id, "job": manifest.job, "store": found.place.store, "database": target.name,
            "target": target.place, "created": target.was_made(),
            "roles_created": done.roles.created, "roles_skipped": done.roles.skipped, "tables": done.tables,
            "bytes": dump.raw_size, "duration_seconds": took.as_secs_f64(),
            "error": restored.as_ref().err().map(explain),
            "left": restored.as_ref().err().and(left.as_ref()),
        }));
    }
    match restored {
        Ok(()) if args.json => Ok(DONE),
        Ok(()) => {
            output::line(&said(&found, &target, &done, dump.raw_size, took));
            Ok(DONE)
        }
        Err(error) => {
            tracing::error!("{}", explain(&error));
            if !done.roles.created.is_empty() {
                eprintln!("these roles were made, and stay: {}", done.roles.created.join(", "));
            }
            if let Some(left) = left {
                eprintln!("{left}");
            }
            Ok(FAILED)
        }
    }
}

async fn fill(
    found: &Found<'_>,
    with_roles: bool,
    spooling: Option<&Spooling>,
    tools: &Tools,
    target: &mut Target,
    done: &mut Done,
) -> Result<()> {
    let manifest = &found.kept.manifest;
    let (dump, compression) = verify::dump_of(manifest)?;
    let progress = Arc::new(Progress::default());
    let title = format!("restore {}", manifest.id);
    // Before anything is made.
    let loading = load(found.source(dump, compression, &progress), found, spooling, tools, target.version);
    let load = shown(&title, dump.size, &progress, loading).await?;
    if with_roles {
        let object = verify::globals_of(manifest, compression)?;
        let sql =
            roles::read(found.source(object, compression, &progress)).await.with_context(|| object.name.clone())?;
        done.roles = roles::make(target.client(), &sql).await?;
    }
    target.make(manifest).await?;
    let env = target.for_libpq(tools).await?;
    let pouring = restore::pour(load, manifest.format, tools, &env, target.version, &[]);
    shown(&title, dump.size, &progress, pouring).await?;
    // All of it is there, whether or not it can be counted.
    match target.tables().await {
        Ok(tables) => done.tables = Some(tables),
        Err(error) => tracing::warn!("{}", explain(&error)),
    }
    Ok(())
}

/// Where several workers are given the dump; nothing where it goes into the database as it comes.
///
/// # Errors
/// They are asked for, and cannot be had.
fn spooling(found: &Found<'_>, jobs: Option<u16>) -> Result<Option<Spooling>> {
    let (spooling, format) = (found.place.backup.spooling(), found.kept.manifest.format);
    let Some(jobs) = jobs else { return Ok(spooling) };
    if jobs > 1 && format != Format::Directory {
        let said = format!("--jobs: the backup is of format {:?}, which one worker restores", format.as_str());
        return Err(Usage(said).into());
    }
    if jobs > 1 && spooling.is_none() {
        let said = format!(
            "--jobs: job {} is not of format \"directory\" any more, and so has no `spool`, which several workers need",
            found.place.job.name
        );
        return Err(Usage(said).into());
    }
    Ok(spooling.map(|spooling| Spooling { jobs, ..spooling }))
}

async fn load<'a>(
    source: Source<'a>,
    found: &Found<'_>,
    spooling: Option<&Spooling>,
    tools: &Tools,
    version: i32,
) -> Result<Load<'a>> {
    let job = found.place.job.name.as_str();
    let loaded = restore::load(source, found.kept.manifest.format, spooling, tools, version, job).await;
    let hint = "unpack it for several workers, which `--jobs 1` does without";
    loaded.map_err(|error| if is_damage(&error) { error } else { error.context(hint) })
}

fn said(found: &Found<'_>, target: &Target, done: &Done, bytes: u64, took: Duration) -> String {
    let manifest = &found.kept.manifest;
    let made = if target.was_made() { ", which was made" } else { "" };
    let roles = match (done.roles.created.len(), done.roles.skipped.len()) {
        (0, 0) => String::new(),
        (created, skipped) => format!(", {} made, {skipped} there already", output::counted(created, "role")),
    };
    let tables = done.tables.and_then(|tables| usize::try_from(tables).ok());
    let tables = tables.map(|tables| format!("{}, ", output::counted(tables, "table"))).unwrap_or_default();
    format!(
        "restored {} of {} into database {:?}{made}: {tables}{}{roles}, in {}",
        manifest.id,
        found.place.said(),
        target.name,
        words::size(bytes),
        human(took)
    )
}
