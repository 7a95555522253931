//! When a backup was last proven, for alerts: read from the history, as the gauges of `backup` are.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use crate::kinds::Context;
use crate::pg::ours;
use crate::run::{Gauge, GaugeName};

/// # Errors
/// The history cannot be read.
pub async fn observe(cx: &Context, stores: &[String]) -> Result<Vec<Gauge>> {
    let session = cx.session().await?;
    if !ours::is_there(&session, "run").await? {
        session.close().await;
        return Ok(Vec::new());
    }
    let rows = session.query(include_str!("gauges.sql"), &[&cx.job.as_str(), &stores]).await;
    let rows = rows.context("read what the history says of restore tests")?;
    session.close().await;
    let mut gauges = Vec::new();
    for row in rows {
        let table: String = row.get("store");
        // "Never" is 0: a series that is missing pages nobody.
        let at = row.get::<_, Option<DateTime<Utc>>>("tested_at").map_or(0.0, |at| at.timestamp() as f64);
        gauges.push(Gauge { name: GaugeName::BackupRestoreTested, table: table.clone(), value: at });
        if let Some(value) = row.get::<_, Option<f64>>("duration") {
            gauges.push(Gauge { name: GaugeName::BackupRestoreDuration, table, value });
        }
    }
    Ok(gauges)
}
