//! What alerts go by: read from the history, which outlives a restart and is the same for every daemon. Stores are not
//! asked each minute.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};

use crate::kinds::Context;
use crate::pg::ours;
use crate::run::{Gauge, GaugeName};

/// # Errors
/// The history cannot be read.
pub async fn observe(cx: &Context, stores: &[&str]) -> Result<Vec<Gauge>> {
    let session = cx.session().await?;
    if !ours::is_there(&session, "run").await? {
        session.close().await;
        return Ok(Vec::new());
    }
    let rows = session
        .query(include_str!("gauges.sql"), &[&cx.job.as_str(), &stores])
        .await
        .context("read what the history says of backups")?;
    let standby = session.is_standby;
    session.close().await;
    let mut gauges = Vec::new();
    for row in rows {
        let store: String = row.get("store");
        if standby && row.get::<_, Option<DateTime<Utc>>>("last_success_at").is_none() {
            // What runs there is in no history: nothing is known, which is not "never".
            continue;
        }
        let at = |column: &str| row.get::<_, Option<DateTime<Utc>>>(column).map(|at| at.timestamp() as f64);
        let number = |column: &str| row.get::<_, Option<f64>>(column);
        let mut say = |name, value: Option<f64>| {
            gauges.extend(value.map(|value| Gauge { name, table: store.clone(), value }));
        };
        // "Never" is 0: a series that is missing pages nobody.
        say(GaugeName::BackupLastSuccess, Some(at("last_success_at").unwrap_or(0.0)));
        say(GaugeName::BackupVerified, Some(at("verified_at").unwrap_or(0.0)));
        say(GaugeName::BackupSize, number("bytes"));
        say(GaugeName::BackupSizeRatio, number("size_ratio"));
        say(GaugeName::Backups, number("backups"));
    }
    Ok(gauges)
}
