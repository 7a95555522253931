//! `pgtend trigger`: asks a running daemon, through the database, to run a job.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use tokio::time::Instant;

use super::{DONE, FAILED, exit_code, jobs, output, worst};
use crate::config::{Config, Definition};
use crate::engine::{Engine, Shared, history, request};
use crate::pg::{Limits, explain};

/// How long a daemon has to take the request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it has, once the run is in the history, to let go of the job and to say that it did. One that died never does.
const LETTING_GO: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct TriggerArgs {
    /// The job, as the config names it
    #[arg(value_name = "JOB")]
    job: String,
    /// Only in this database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Wait for the run to end, and exit as `pgtend run` would
    #[arg(long)]
    wait: bool,
}

/// # Errors
/// There is no such job, or a database cannot be reached.
pub async fn trigger(config: &Config, args: &TriggerArgs) -> Result<u8> {
    let engine = Engine::new(config, Arc::new(Shared::default()))?;
    let jobs = jobs(config, std::slice::from_ref(&args.job), args.database.as_deref())?;
    // All at the same time: nobody waits ten seconds a database, nor for one run before the next is asked for.
    let asked = jobs.iter().map(async |job| {
        ask(&engine, job, args.wait).await.unwrap_or_else(|error| {
            eprintln!("{}: {}", job.name, explain(&error));
            FAILED
        })
    });
    let codes = futures_util::future::join_all(asked).await;
    Ok(worst(&codes))
}

async fn ask(engine: &Engine, job: &Definition, wait: bool) -> Result<u8> {
    let limits = Limits::new(Duration::from_secs(30), Duration::from_secs(5));
    let (link, facts) = engine.database(&job.database)?.connect("pgtend/trigger", limits).await?;
    if facts.is_standby {
        bail!("database {} is on a standby, which takes no request; use the primary's address", job.database);
    }
    if !history::exists(&link.client).await? {
        bail!("no daemon has ever run in database {}: schema pgtend is missing there", job.database);
    }
    let id = request::ask(&link.client, &job.name).await?;
    let given_up = Instant::now() + PATIENCE;
    let taker = loop {
        if let Some(taker) = request::answer(&link.client, &id).await?.taken_by {
            break taker;
        }
        if Instant::now() > given_up && request::withdraw(&link.client, &id).await? {
            bail!(
                "no daemon took the request within {} s: none runs that reaches database {} and has this job in its config. \
                 `pgtend run {}` runs it here",
                PATIENCE.as_secs(),
                job.database,
                job.name
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    output::line(&format!("{}: taken by {taker}", job.name));
    if !wait {
        return Ok(DONE);
    }
    let mut pause = Duration::from_millis(100);
    let mut ended = None;
    loop {
        let answer = request::answer(&link.client, &id).await?;
        if answer.outcome.is_some() {
            // What comes after this command may be a run of the same job, which would find it held for another moment.
            pause = Duration::from_millis(50);
            ended = ended.or_else(|| Some(Instant::now()));
        }
        if let Some(outcome) = answer.outcome
            && (answer.is_closed || ended.is_some_and(|at: Instant| at.elapsed() > LETTING_GO))
        {
            let why = answer.error.map(|why| format!(": {why}")).unwrap_or_default();
            output::line(&format!("{}: {outcome}{why}", job.name));
            return Ok(exit_code(Some(outcome), answer.skip));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
