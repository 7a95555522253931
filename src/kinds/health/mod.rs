//! `health`: reads how the database is, says what somebody should look at, and writes the readings down for all daemons.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `config` |
//! | what the server says, collector by collector | `survey`, `statements`; the words in `facts` |
//! | facts -> gauges, findings, refusals; pure | `plan`: all of it; `sizes`, `server`: each collector |
//! | the row that every daemon reads | `reading` |
//! | rights and settings that would be missing | `check` |

mod check;
pub mod config;
pub mod facts;
pub mod plan;
mod reading;
mod server;
mod sizes;
mod statements;
mod survey;

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use self::config::{Collector, Health};
use self::plan::Action;
use super::{Applied, Context, Kind, Observes, Says, StopStyle, Word};
use crate::pg::Session;
use crate::run::{Finding, Gauge, GaugeName, Observed, Plan, Step};

impl Kind for Health {
    type Action = Action;

    const STOP: StopStyle = StopStyle::AtOnce;
    const OBSERVES: Observes = Observes::WhileEnabled;
    /// A reading is of now: one that takes longer is of no use.
    const TIMEOUT: Duration = Duration::from_secs(300);

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn heed(&mut self, words: &[Word]) {
        self.keys = words.iter().filter(|word| matches!(word.says, Says::Periods { .. })).cloned().collect();
    }

    /// What the last run has read, and when that was; on a standby also how far it is behind, which nobody else can tell.
    async fn observe(&self, cx: &Context) -> Result<Observed> {
        let session = cx.session().await?;
        let mut gauges = Vec::new();
        if let Some((at, read)) = reading::read(cx, &session).await? {
            gauges = read;
            gauges.push(Gauge::of_all(GaugeName::HealthReading, sizes::number(at.timestamp())));
        }
        if session.is_standby && self.collects(Collector::ReplicationSlots) {
            gauges.extend(replay(&session).await?);
        }
        session.close().await;
        Ok(gauges.into())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let facts = survey::survey(self, cx, &session).await?;
        session.close().await;
        Ok(plan::plan(self, &facts))
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            Action::Publish { gauges, collected, findings } => {
                let session = cx.session().await?;
                reading::write(cx, &session, gauges).await?;
                session.close().await;
                let mut report = cx.report.lock();
                report.fields.insert("collected".into(), json!(collected));
                report.fields.insert("gauges".into(), gauges.len().into());
                report.fields.insert("findings".into(), (*findings).into());
                drop(report);
                Ok(Applied::Done)
            }
            Action::Refuse { why, .. } => bail!("{why}"),
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let found = check::check(self, &session).await?;
        session.close().await;
        Ok(found)
    }
}

async fn replay(session: &Session) -> Result<Vec<Gauge>> {
    let row = session.query_opt(include_str!("replay.sql"), &[]).await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let lags = [(GaugeName::ReplayLag, "bytes"), (GaugeName::ReplayDelay, "seconds")];
    // Neither where nothing was ever streamed.
    Ok(lags
        .into_iter()
        .filter_map(|(name, column)| Some(Gauge::of_all(name, row.get::<_, Option<f64>>(column)?)))
        .collect())
}
