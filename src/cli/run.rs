//! `pgtend run`: jobs now, in the foreground.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::{exit_code, jobs, output, terminal, worst};
use crate::config::{Config, Definition};
use crate::engine::{Ending, Engine, Ring, Shared};
use crate::period::human;
use crate::run::{RunRecord, Trigger};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The jobs, as the config names them
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Only in this database
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// One JSON object a job, a line each
    #[arg(long)]
    pub json: bool,
}

/// # Errors
/// There is no such job.
pub async fn run(config: &Config, args: &RunArgs) -> Result<u8> {
    let chosen = jobs(config, &args.jobs, args.database.as_deref())?;
    let engine = Engine::new(config, Arc::new(Shared::default()))?;
    let ending = Ending::default();
    let listening = tokio_util::task::AbortOnDropHandle::new(listen(&ending, config.shutdown_timeout)?);
    let mut records = Vec::new();
    for job in &chosen {
        let spinner = (!args.json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = terminal::show(ProgressBar::new_spinner().with_style(style).with_message(title(job)));
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        let ring = Ring::by_hand(job, Trigger::Cli);
        let record = match &spinner {
            Some(spinner) => tokio::select! {
                record = engine.run(&ring, &ending) => record,
                never = show(&engine, job, spinner) => match never {},
            },
            None => engine.run(&ring, &ending).await,
        };
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        if args.json {
            output::json(&for_programs(&record));
        }
        records.push(record);
    }
    drop(listening);
    if !args.json {
        let rows = records.iter().map(for_people).collect();
        output::table(&["JOB", "KIND", "DATABASE", "OUTCOME", "TOOK", "DETAILS"], rows);
    }
    let codes: Vec<u8> = records.iter().map(|record| exit_code(record.outcome, record.skip())).collect();
    Ok(worst(&codes))
}

fn title(job: &Definition) -> String {
    format!("{} ({})", job.name, job.spec.kind())
}

/// Says how far the run is, where it does.
async fn show(engine: &Engine, job: &Definition, spinner: &ProgressBar) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let progress = engine.shared.progress(&job.name).map(|progress| format!(": {progress}"));
        spinner.set_message(format!("{}{}", title(job), progress.unwrap_or_default()));
    }
}

/// The first signal lets the run come to a safe point, and makes it after the time that the daemon would give it; the
/// second ends the process.
fn listen(ending: &Ending, limit: Duration) -> Result<tokio::task::JoinHandle<()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ending = ending.clone();
    #[allow(clippy::disallowed_methods, reason = "the caller ends it")]
    Ok(tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        tracing::warn!("stopping at the next safe point; once more to end at once");
        ending.soft.cancel();
        tokio::select! {
            _ = interrupt.recv() => std::process::exit(1),
            _ = terminate.recv() => std::process::exit(1),
            () = tokio::time::sleep(limit) => ending.hard.cancel(),
        }
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        std::process::exit(1);
    }))
}

/// The object that the interface promises.
fn for_programs(record: &RunRecord) -> serde_json::Value {
    serde_json::json!({
        "job": record.job,
        "kind": record.kind,
        "database": record.database,
        "trigger": record.trigger,
        "outcome": record.outcome,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "duration_seconds": record.duration_seconds,
        "error": record.error,
        "details": record.details,
    })
}

fn for_people(record: &RunRecord) -> Vec<String> {
    let took = Duration::try_from_secs_f64(record.duration_seconds.unwrap_or_default()).unwrap_or_default();
    vec![
        record.job.to_string(),
        record.kind.clone(),
        record.database.clone(),
        record.outcome.map_or_else(|| "running".into(), |outcome| outcome.to_string()),
        human(took),
        output::brief(&record.error.clone().unwrap_or_else(|| details(&record.details))),
    ]
}

/// `rows_deleted 41, statements 2`: the plain fields of the details.
pub fn details(details: &serde_json::Value) -> String {
    let Some(fields) = details.as_object() else { return String::new() };
    let plain = fields.iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(text) if name == "reason" => Some(text.clone()),
        serde_json::Value::String(text) => Some(format!("{name} {text}")),
        serde_json::Value::Number(n) => Some(format!("{name} {n}")),
        serde_json::Value::Array(list) if !list.is_empty() => Some(format!("{} {name}", list.len())),
        _ => None,
    });
    plain.collect::<Vec<_>>().join(", ")
}
