//! What the catalog says of partitions: how far they reach, what they hold, and what lies in default partitions.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::time::Instant;

use super::cover::Cover;
use super::facts::TableFacts;
use super::key::{FIRST, Key, LAST};
use super::policy::{PartitionTable, Partitions};
use super::runway::{self, Runway};
use super::{rows, survey};
use crate::pg::Session;
use crate::run::{Gauge, GaugeName, Observed, Stretch, Timeline};

/// After this long no more default partitions are counted, so that the other gauges do not come too late to count.
const PATIENCE: Duration = Duration::from_secs(8);

/// The gauges of every table of which something can be said; for the others there are none, so that nothing is alerted on
/// or trusted that nobody knows.
///
/// # Errors
/// The catalog cannot be read.
pub async fn observe(session: &Session, config: &Partitions, zone: Tz, now: DateTime<Utc>) -> Result<Observed> {
    let Observed { mut gauges, mut timelines } = Observed::default();
    let began = Instant::now();
    for (policy, surveyed) in config.policies().zip(survey::survey(session, &config.names()).await?) {
        let Ok(facts) = surveyed else { continue };
        let table = facts.table.plain();
        if let Some(runway) = runway::runway(&facts, policy, zone, now) {
            gauges.push(Gauge { name: GaugeName::PartitionHorizon, table: table.clone(), value: runway.timestamp() });
            timelines.extend(timeline(&facts, policy, zone, runway));
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
    Ok(Observed { gauges, timelines })
}

fn timeline(facts: &TableFacts, policy: &PartitionTable, zone: Tz, runway: Runway) -> Option<Timeline> {
    let key = Key::of(&facts.key, policy.key_format.as_ref(), policy.every().ok()?).ok()?;
    let (line, zone) = (key.line(), policy.zone(zone));
    let end = |at| (at != FIRST && at != LAST).then(|| line.instant(at, zone));
    let stretches = Cover::of(facts, &key).stretches;
    Some(Timeline {
        table: facts.table.plain(),
        partitions: stretches.iter().map(|stretch| Stretch { from: end(stretch.from), to: end(stretch.to) }).collect(),
        until: runway.until,
        default: runway.default.map(|default| default.plain()),
        kept_from: policy.kept_from(runway.now),
    })
}
