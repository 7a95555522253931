//! `pgtend trigger`: asks a running daemon, through the database, to run a job.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{DONE, FAILED, exit_code, jobs, output, worst};
use crate::config::{Config, Definition};
use crate::engine::{Engine, Shared, history, request};
use crate::pg::{Limits, explain};
use crate::testpoint;

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
    loop {
        let taker = taken(&link.client, job, &id).await?;
        output::line(&format!("{}: taken by {taker}", job.name));
        if !wait {
            return Ok(DONE);
        }
        if let Some(code) = ended(&link.client, job, &id).await? {
            return Ok(code);
        }
        output::line(&format!("{}: its daemon is ending, and leaves it to another one", job.name));
    }
}

/// Waits until a daemon has the request, and says which.
async fn taken(client: &Client, job: &Definition, id: &str) -> Result<String> {
    let given_up = Instant::now() + PATIENCE;
    loop {
        if let Some(taker) = request::answer(client, id, &job.name).await?.taken_by {
            return Ok(taker);
        }
        if Instant::now() > given_up && request::withdraw(client, id).await? {
            bail!(
                "no daemon took the request within {} s: none runs that reaches database {} and has this job in its config. \
                 `pgtend run {}` runs it here",
                PATIENCE.as_secs(),
                job.database,
                job.name
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for the end of the run, and gives the exit status; nothing where its daemon has put the request back.
async fn ended(client: &Client, job: &Definition, id: &str) -> Result<Option<u8>> {
    let mut pause = Duration::from_millis(100);
    let mut ended = None;
    let (mut sign, mut sign_at) = (None, Instant::now());
    loop {
        let answer = request::answer(client, id, &job.name).await?;
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
            return Ok(Some(exit_code(Some(outcome), answer.skip)));
        }
        let Some(taker) = &answer.taken_by else { return Ok(None) };
        if answer.is_at_work || answer.outcome.is_some() || answer.taken_at != sign {
            (sign, sign_at) = (answer.taken_at, Instant::now());
        }
        if sign_at.elapsed() > testpoint::patience(request::SILENCE) {
            bail!("{}", gone(job, taker, answer.has_begun));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// What is to be said of a daemon of which nothing is heard any more.
fn gone(job: &Definition, taker: &str, has_begun: bool) -> String {
    let Definition { name, database, .. } = job;
    if has_begun {
        return format!(
            "{taker} has begun the run and is gone: nobody holds the job's lock. The next daemon that reaches database \
             {database} closes its record; `pgtend run {name}` runs it here"
        );
    }
    format!(
        "{taker} has taken the request and is gone: it has neither begun the run nor waits to begin it. `pgtend trigger \
         {name}` asks anew, `pgtend run {name}` runs it here"
    )
}
