//! The gauges of the catalog: how far the partitions reach, and what lies in default partitions.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

use super::policy::Partitions;
use super::{rows, runway, survey};
use crate::pg::Session;
use crate::run::{Gauge, GaugeName};

/// After this long no more default partitions are counted, so that the other gauges do not come too late to count.
const PATIENCE: Duration = Duration::from_secs(8);

/// The gauges of every table of which something can be said; for the others there are none, so that nothing is alerted on
/// or trusted that nobody knows.
///
/// # Errors
/// The catalog cannot be read.
pub async fn observe(session: &Session, config: &Partitions, zone: Tz, now: DateTime<Utc>) -> Result<Vec<Gauge>> {
    let mut gauges = Vec::new();
    let began = Instant::now();
    for (policy, surveyed) in config.policies().zip(survey::survey(session, &config.names()).await?) {
        let Ok(facts) = surveyed else { continue };
        let table = facts.table.plain();
        if let Some(runway) = runway::runway(&facts, policy, zone, now) {
            gauges.push(Gauge { name: GaugeName::PartitionHorizon, table: table.clone(), value: runway.timestamp() });
        }
        let Some(default) = facts.default.as_ref() else { continue };
        // An empty one costs nothing to know.
        let counted = if default.has_rows == Some(false) || began.elapsed() < PATIENCE {
            rows::count(session, &facts, default).await?
        } else {
            None
        };
        if let Some(rows) = counted {
            #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
            gauges.push(Gauge { name: GaugeName::DefaultPartitionRows, table, value: rows.number() as f64 });
        }
    }
    Ok(gauges)
}
