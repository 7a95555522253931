//! `pgtend check`: what would go wrong, where it is written, and what mends it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::future;
use serde_json::json;

use super::{DONE, FAILED, output};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Definition, Origin};
use crate::engine::schedule::{TIMES_LOOKED_AT, Times};
use crate::engine::{Engine, Shared, history};
use crate::kinds::{Lasting, StoreUse, never};
use crate::pg::pg_cron::{self, CronJob};
use crate::pg::{Limits, TransactionPooler, explain, ours};
use crate::run::{Finding, Severity};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only what can be seen without a database
    #[arg(long)]
    offline: bool,
    /// One JSON object a finding, a line each
    #[arg(long)]
    pub json: bool,
}

const LIMITS: Limits = Limits::new(Duration::from_secs(30), Duration::from_secs(1));

/// A finding and what it is about.
struct Found<'a> {
    finding: Finding,
    origin: &'a Origin,
    database: Option<&'a str>,
    job: Option<&'a Definition>,
}

/// Whether a store serves those who use it; nothing where nobody does.
async fn try_store(engine: &Engine, config: &Config, name: &str) -> Vec<Finding> {
    let uses = config.jobs.iter().flat_map(|job| job.spec.stores()).filter(|one| one.store == name);
    let (foreign, own): (Vec<StoreUse>, Vec<StoreUse>) = uses.partition(|one| one.foreign);
    let Some(store) = engine.stores.get(name) else { return Vec::new() };
    let mut findings = Vec::new();
    if !own.is_empty() {
        findings.extend(store.probe(own.iter().any(|one| one.deletes)).await);
    }
    if !foreign.is_empty() {
        findings.extend(store.probe_removal().await);
    }
    findings
}

/// # Errors
/// A connection pool cannot be made.
pub async fn check(config: &Config, args: &CheckArgs) -> Result<u8> {
    let mut found: Vec<Found<'_>> = Vec::new();
    for warning in &config.warnings {
        let finding = Finding::warning(warning.message.clone(), warning.mend.clone());
        found.push(Found { finding, origin: &warning.origin, database: None, job: None });
    }
    for job in &config.jobs {
        let about = |finding| Found { finding, origin: &job.origin, database: Some(&job.database), job: Some(job) };
        let now = Clock::default().host();
        let found_of = never_in_its_window(job, now).into_iter().chain(runs_too_rarely(job, now));
        found.extend(found_of.map(|finding| about(as_it_matters(finding, job.enabled))));
    }
    for (name, store) in &config.stores {
        let uses = || config.jobs.iter().flat_map(|job| job.spec.stores()).filter(|one| one.store == *name);
        if uses().any(|one| one.foreign) && uses().any(|one| !one.foreign) {
            let finding = Finding::warning(
                format!("store {name} has backups in it as well as objects of rows, and a row may name a backup"),
                "make two stores of it, each with a prefix or a directory of its own",
            );
            found.push(Found { finding, origin: &store.origin, database: None, job: None });
        }
    }
    if !args.offline {
        let engine = Engine::new(config, Arc::new(Shared::default()))?;
        // At once: each may be one that is long in not answering.
        let tried = future::join_all(config.stores.keys().map(|name| try_store(&engine, config, name))).await;
        for ((name, store), findings) in config.stores.iter().zip(tried) {
            let mut users = config.jobs.iter().filter(|job| job.spec.stores().iter().any(|one| one.store == *name));
            let enabled = users.any(|job| job.enabled);
            let about = |finding| Found { finding, origin: &store.origin, database: None, job: None };
            found.extend(findings.into_iter().map(|finding| about(as_it_matters(finding, enabled))));
        }
        for (name, database) in &config.databases {
            let findings = match look_at(&engine, name).await {
                Ok(findings) => findings,
                Err(error) => vec![match error.downcast_ref::<TransactionPooler>() {
                    Some(pooler) => Finding::error(pooler.why(), TransactionPooler::MEND),
                    None => Finding::error(
                        explain(&error),
                        "see that the server runs and that this host may connect to it (url, password, pg_hba.conf)",
                    ),
                }],
            };
            let reachable = findings.iter().all(|finding| finding.severity != Severity::Error);
            found.extend(findings.into_iter().map(|finding| Found {
                finding,
                origin: &database.origin,
                database: Some(name),
                job: None,
            }));
            let jobs = || config.jobs.iter().filter(|job| job.database == *name && reachable);
            let others = if reachable { jobs_of_pg_cron(&engine, name).await } else { Ok(Vec::new()) };
            let others = others.unwrap_or_else(|error| {
                let message = format!("the jobs of pg_cron cannot be read: {}", explain(&error));
                let finding = Finding::warning(message, "see by hand that none does what a job here does");
                found.push(Found { finding, origin: &database.origin, database: Some(name), job: None });
                Vec::new()
            });
            for job in jobs() {
                let doubled = others
                    .iter()
                    .filter(|other| job.enabled && job.spec.is_done_by(&other.sql))
                    .map(CronJob::done_twice);
                let about = |finding| Found { finding, origin: &job.origin, database: Some(name), job: Some(job) };
                found.extend(doubled.map(about));
            }
            for job in jobs() {
                let findings = match look_at_job(&engine, job).await {
                    Ok(findings) => findings,
                    Err(error) => vec![Finding::error(explain(&error), "mend that, then check again")],
                };
                let about = |finding| Found { finding, origin: &job.origin, database: Some(name), job: Some(job) };
                found.extend(findings.into_iter().map(|finding| about(as_it_matters(finding, job.enabled))));
            }
        }
    }
    for one in &found {
        print(one, args.json);
    }
    let errors = count(&found, Severity::Error);
    if !args.json {
        let (jobs, databases) = (config.jobs.len(), config.databases.len());
        let how = if args.offline { ", seen without a database" } else { "" };
        let warnings = count(&found, Severity::Warning);
        let (jobs, databases) = (output::counted(jobs, "job"), output::counted(databases, "database"));
        let (errors, warnings) = (output::counted(errors, "error"), output::counted(warnings, "warning"));
        output::line(&format!("{jobs} in {databases}{how}: {errors}, {warnings}"));
    }
    Ok(if errors > 0 { FAILED } else { DONE })
}

fn count(found: &[Found<'_>], severity: Severity) -> usize {
    found.iter().filter(|one| one.finding.severity == severity).count()
}

/// A schedule none of whose times lies in the job's window: it would be skipped for ever.
fn never_in_its_window(job: &Definition, now: DateTime<Utc>) -> Option<Finding> {
    let (times, window) = (Times::of(job)?, job.window?);
    if times.next_after(now).is_some() {
        return None;
    }
    let schedule = times.cron;
    let jitter = if times.delay.is_zero() { "" } else { ", with its jitter," };
    let message =
        format!("it would never run: no time of its schedule ({schedule}){jitter} lies in its window, {window}");
    Some(Finding::error(message, "schedule it for a time within the window, or widen that"))
}

/// What comes to its end between two runs of the schedule.
fn runs_too_rarely(job: &Definition, now: DateTime<Utc>) -> Vec<Finding> {
    let Some(times) = Times::of(job) else { return Vec::new() };
    let runs = std::iter::successors(times.next_after(now), |at| times.next_after(*at));
    let times: Vec<_> = runs.take(TIMES_LOOKED_AT).collect();
    let mut found: Vec<Finding> = Vec::new();
    for (at, next) in times.iter().zip(times.iter().skip(1)) {
        for Lasting { span, what, until, mend } in job.spec.lasts(*at, job.timezone) {
            let told = found.iter().any(|finding| finding.span.as_ref() == Some(&span));
            if until < *next && !told {
                let message = format!(
                    "a run at {} makes {what} last until {}, and the next run is at {}",
                    at.format("%Y-%m-%d %H:%M:%SZ"),
                    until.format("%Y-%m-%d %H:%M:%SZ"),
                    next.format("%Y-%m-%d %H:%M:%SZ"),
                );
                found.push(Finding::warning(message, format!("{mend}, or run it more often")).at(span));
            }
        }
    }
    found
}

/// What would keep a job from its work keeps nobody from theirs as long as the job is switched off.
fn as_it_matters(finding: Finding, enabled: bool) -> Finding {
    if enabled || finding.severity != Severity::Error {
        return finding;
    }
    Finding { severity: Severity::Warning, message: format!("once it is enabled: {}", finding.message), ..finding }
}

async fn look_at_job(engine: &Engine, job: &Definition) -> Result<Vec<Finding>> {
    job.spec.check(&engine.read_only(job, None).await?).await
}

/// The database itself: the way in, the server, the clocks, and whether there is room for the history.
async fn look_at(engine: &Engine, name: &str) -> Result<Vec<Finding>> {
    let database = engine.database(name)?;
    let (link, facts) = database.connect("pgtend/check", LIMITS).await?;
    let mut findings = Vec::new();
    if facts.is_standby {
        let mend = "add target_session_attrs=read-write, and the primary's host, to the url";
        findings.push(Finding::warning(
            format!("database {name} is on a standby: jobs that write are skipped there"),
            mend,
        ));
    }
    let skew = engine.shared.clock.skew(&link.client).await?;
    if skew.is_too_much() {
        findings.push(Finding::error(skew.to_string(), "set the wrong one right (chronyc tracking, timedatectl)"));
    }
    findings.extend(never::unknown(&link.client, &database.never).await?);
    if let Some(stranger) = ours::stranger(&link.client).await? {
        findings.push(Finding::error(format!("database {name}: {}", stranger.why()), stranger.mend()));
    } else if history::exists(&link.client).await? {
        let row = link
            .client
            .query_one(
                "SELECT pg_catalog.quote_ident(CURRENT_USER),
                        has_schema_privilege('pgtend', 'USAGE')
                        AND has_table_privilege('pgtend.run', 'SELECT')
                        AND has_table_privilege('pgtend.run', 'INSERT')
                        AND has_table_privilege('pgtend.run', 'UPDATE')
                        AND has_table_privilege('pgtend.run', 'DELETE')
                        AND has_table_privilege('pgtend.request', 'SELECT')
                        AND has_table_privilege('pgtend.request', 'UPDATE')
                        AND has_table_privilege('pgtend.hold', 'SELECT')",
                &[],
            )
            .await?;
        if !row.get::<_, bool>(1) {
            let role: String = row.get(0);
            let mend =
                format!("GRANT USAGE ON SCHEMA pgtend TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA pgtend TO {role}");
            findings.push(Finding::error(
                format!("role {role} may not write the history in schema pgtend of {name}"),
                mend,
            ));
        }
    } else if !facts.is_standby
        && let Some(history::NoRoom { message, mend }) = history::no_room(&link.client).await?
    {
        findings.push(Finding::error(format!("database {name}: {message}"), mend));
    }
    Ok(findings)
}

async fn jobs_of_pg_cron(engine: &Engine, name: &str) -> Result<Vec<CronJob>> {
    let (link, _) = engine.database(name)?.connect("pgtend/check", LIMITS).await?;
    // As the extension comes, few roles may look: that is nothing to warn of at each check.
    Ok(pg_cron::jobs(&link.client).await?.unwrap_or_default())
}

fn print(one: &Found<'_>, json: bool) {
    let (file, line) = one.origin.place(one.finding.span.as_ref());
    let Finding { severity, message, mend, .. } = &one.finding;
    if json {
        output::json(&json!({
            "severity": severity, "job": one.job.map(|job| &job.name), "database": one.database,
            "file": file, "line": line, "message": message, "mend": mend,
        }));
    } else {
        let job = one.job.map(|job| format!("job {}: ", job.name)).unwrap_or_default();
        let mend = if mend.is_empty() { String::new() } else { format!("\n    {mend}") };
        output::line(&format!("{}:{line}: {severity}: {job}{message}{mend}", file.display()));
    }
}

/// The mistakes of a config that cannot be used, for programs.
pub fn print_config_errors(errors: &ConfigErrors) {
    for error in &errors.0 {
        output::json(&json!({
            "severity": Severity::Error, "job": null, "database": null,
            "file": error.path, "line": error.line, "message": error.message, "mend": null,
        }));
    }
}
