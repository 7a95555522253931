//! `pgtend plan`: what each job would do.

use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{DONE, FAILED, jobs, output};
use crate::config::Config;
use crate::engine::{Engine, Shared};
use crate::pg::explain;

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The jobs [default: all]
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// As of this time instead of now
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    at: Option<DateTime<Utc>>,
    /// Only in this database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// One JSON object an action, a line each
    #[arg(long)]
    json: bool,
}

/// # Errors
/// There is no such job.
pub async fn plan(config: &Config, args: &PlanArgs) -> Result<u8> {
    let engine = Engine::new(config, Arc::new(Shared::default()))?;
    let mut code = DONE;
    for job in jobs(config, &args.jobs, args.database.as_deref())? {
        let steps = match engine.rehearse(&job, args.at).await {
            Ok((ended, _)) => ended.steps,
            Err(error) => {
                // One job's trouble keeps no other from being planned.
                eprintln!("{}: {}", job.name, explain(&error));
                code = FAILED;
                continue;
            }
        };
        if args.json {
            for step in &steps {
                output::json(&json!({
                    "job": job.name, "kind": job.spec.kind(), "database": job.database, "action": step.action,
                    "target": step.target, "reason": step.reason, "detail": step.detail, "sql": step.sql,
                }));
            }
            continue;
        }
        let verdict = match steps.iter().filter(|step| !matches!(step.action, "keep" | "warn")).collect::<Vec<_>>() {
            actions if actions.is_empty() => "nothing to do",
            actions if actions.iter().all(|step| step.action == "refuse") => "cannot do what it should",
            _ => "would",
        };
        output::line(&format!("{} ({}, database {}): {verdict}", job.name, job.spec.kind(), job.database));
        if !steps.is_empty() {
            let rows = steps
                .iter()
                .map(|step| vec![format!("  {}", step.action), step.target.clone(), step.reason.clone()])
                .collect();
            output::table(&["  ACTION", "TARGET", "WHY"], rows);
        }
        output::line("");
    }
    Ok(code)
}
