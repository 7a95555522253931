//! `pgtend status` and `pgtend history`: what the databases know of the jobs. Nothing is written, nothing is locked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio_postgres::Client;

use super::{DONE, FAILED, Usage, output};
use crate::config::Config;
use crate::engine::{Engine, JobStatus, Shared, history};
use crate::period::human;
use crate::pg::{Limits, explain};
use crate::run::RunRecord;

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only this job's runs
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// How many, over all databases
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    /// One JSON object a run, a line each
    #[arg(long)]
    json: bool,
}

/// What `reading` finds in a database; nothing where it has no history. One that is out of reach, or does not let the role
/// read its history, is reported, and keeps no other from being read.
async fn read<'a, T: Default>(
    engine: &Engine,
    name: &'a str,
    unreached: &mut HashSet<&'a str>,
    reading: impl AsyncFnOnce(&Client) -> Result<T>,
) -> T {
    let connect = async {
        let limits = Limits::new(Duration::from_secs(30), Duration::from_secs(1));
        let (link, _) = engine.database(name)?.connect("pgtend/status", limits).await?;
        if history::exists(&link.client).await? { reading(&link.client).await } else { Ok(T::default()) }
    };
    connect.await.unwrap_or_else(|error| {
        eprintln!("database {name}: {}", explain(&error));
        unreached.insert(name);
        T::default()
    })
}

/// # Errors
/// A connection pool cannot be made.
pub async fn status(config: &Config, json: bool) -> Result<u8> {
    let engine = Engine::new(config, Arc::new(Shared::default()))?;
    let mut unreached = HashSet::new();
    let mut standings = HashMap::new();
    for name in config.databases.keys() {
        let names: Vec<_> = config.jobs.iter().filter(|job| job.database == *name).map(|job| &job.name).collect();
        let reading = async |client: &Client| history::standings(client, &names).await;
        standings.extend(read(&engine, name, &mut unreached, reading).await);
    }
    let code = if unreached.is_empty() { DONE } else { FAILED };
    // Where the database was read and has no history, nothing has ever run.
    for job in config.jobs.iter().filter(|job| !unreached.contains(job.database.as_str())) {
        standings.entry(job.name.clone()).or_default().known = true;
    }
    let all = JobStatus::all(config.jobs.iter().map(AsRef::as_ref), &standings, engine.shared.clock.host());
    if json {
        all.iter().for_each(output::json);
        return Ok(code);
    }
    let rows = all.iter().map(|job| {
        let outcome = match (job.running_since, job.last_outcome) {
            (Some(_), _) => format!("running on {}", job.running_on.as_deref().unwrap_or("-")),
            (None, Some(outcome)) if job.consecutive_failures > 1 => {
                format!("{outcome} ({} times)", job.consecutive_failures)
            }
            (None, Some(outcome)) => outcome.to_string(),
            (None, None) if unreached.contains(job.database.as_str()) => "unknown".into(),
            (None, None) => "never run".into(),
        };
        let next = match (job.enabled, job.next_run_at) {
            (false, _) => "disabled".into(),
            (true, None) => "by hand".into(),
            (true, at) => output::stamp(at),
        };
        let lag = if job.lag_seconds > 0.0 { human(Duration::from_secs_f64(job.lag_seconds)) } else { "-".into() };
        vec![
            job.job.to_string(),
            job.kind.into(),
            output::stamp(job.last_started_at),
            outcome,
            output::stamp(job.last_success_at),
            next,
            lag,
        ]
    });
    output::table(&["JOB", "KIND", "LAST RUN", "OUTCOME", "LAST SUCCESS", "NEXT RUN", "LAG"], rows.collect());
    for job in all.iter().filter(|job| job.consecutive_failures > 0) {
        if let Some(error) = &job.last_error {
            output::line(&format!("{}: {}", job.job, output::brief(error)));
        }
    }
    Ok(code)
}

/// # Errors
/// A connection pool cannot be made.
pub async fn history(config: &Config, args: &HistoryArgs) -> Result<u8> {
    let engine = Engine::new(config, Arc::new(Shared::default()))?;
    let mut unreached = HashSet::new();
    let mut runs: Vec<RunRecord> = Vec::new();
    for name in config.databases.keys() {
        let reading = async |client: &Client| history::recent(client, name, args.job.as_deref(), args.limit).await;
        runs.extend(read(&engine, name, &mut unreached, reading).await);
    }
    let code = if unreached.is_empty() { DONE } else { FAILED };
    // A job that has left the config still has its past; a name that is in neither is a slip of the hand.
    if let Some(job) = &args.job
        && runs.is_empty()
        && config.instances(job).is_empty()
        && code == DONE
    {
        return Err(Usage(format!("no job {job:?}, neither in the config nor in the history")).into());
    }
    runs.sort_by_key(|run| std::cmp::Reverse((run.started_at, run.id.map(|id| id.0))));
    runs.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    if args.json {
        runs.iter().for_each(output::json);
        return Ok(code);
    }
    let rows = runs.iter().map(|run| {
        let outcome = run.outcome.map_or_else(|| "running".into(), |outcome| outcome.to_string());
        let took = run.duration_seconds.map_or_else(|| "-".into(), |s| human(Duration::from_secs_f64(s.max(0.0))));
        let what = run.error.clone().unwrap_or_else(|| super::run::details(&run.details));
        vec![
            output::stamp(Some(run.started_at)),
            run.job.to_string(),
            run.trigger.to_string(),
            outcome,
            took,
            output::brief(&what),
        ]
    });
    // Whoever asks about one job wants to know all of it; among many, the lines are what matters.
    let whole =
        |run: &RunRecord| run.error.clone().filter(|error| args.job.is_some() && output::brief(error) != *error);
    let below: Vec<_> = runs.iter().map(whole).collect();
    output::table_with(&["STARTED", "JOB", "TRIGGER", "OUTCOME", "TOOK", "DETAILS"], rows.collect(), &below);
    Ok(code)
}
