//! `partitions`: makes partitions before anyone needs them.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `policy` |
//! | the catalog -> facts, in a number of queries that does not grow with the tables | `survey`, `bound`, `mark`, `rows` |
//! | time <-> key values: timestamps, dates, text and integers by format, uuidv7 | `key` |
//! | periods of a zone: hour to year | `every` |
//! | facts, policy, now -> actions and notes; pure | `plan` |
//! | one partition, one transaction: create apart, attach | `create`, `apart`, `written` |
//! | rows of the new period in the default partition | `default_rows` |
//! | what would go wrong; the runway | `check`, `runway` |

pub mod apart;
pub mod bound;
pub mod create;
pub mod default_rows;
pub mod every;
pub mod facts;
pub mod format;
pub mod mark;
pub mod name;
pub mod plan;
pub mod policy;
pub mod rows;
pub mod runway;
pub mod survey;
pub mod written;

use anyhow::{Result, bail};

use self::facts::{Action, TableFacts};
use self::plan::Wanted;
use self::policy::Partitions;
use self::survey::{Refusal, Surveyed};
use super::{Applied, Context, Kind};
use crate::pg::{Session, TableName};
use crate::run::{Finding, Gauge, GaugeName, Plan, Step};

impl Kind for Partitions {
    type Action = Action;

    const OBSERVES: bool = true;

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    async fn observe(&self, cx: &Context) -> Result<Vec<Gauge>> {
        let session = cx.session().await?;
        let mut gauges = Vec::new();
        for (entry, surveyed) in self.tables.iter().zip(self.survey(&session).await?) {
            // A table that is no place for partitions is the business of `plan` and `check`.
            let Ok(facts) = surveyed else { continue };
            let gauge = |name, value| Gauge { name, table: facts.table.plain(), value };
            if let Some(runway) = runway::runway(&facts, entry.get_ref(), cx.timezone, cx.now) {
                gauges.push(gauge(GaugeName::PartitionHorizon, runway.timestamp()));
            }
            if let Some(default) = &facts.default
                && let Some(count) = rows::count(&session, &facts, default).await?
            {
                #[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
                gauges.push(gauge(GaugeName::DefaultPartitionRows, count.number() as f64));
            }
        }
        session.close().await;
        Ok(gauges)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let mut wanted = Vec::with_capacity(self.tables.len());
        for (entry, surveyed) in self.tables.iter().zip(self.survey(&session).await?) {
            wanted.push(match surveyed {
                Ok(facts) => plan::wanted(&facts, entry.get_ref(), cx.timezone, cx.now, None),
                Err(refusal) => refused(refusal),
            });
        }
        let taken = survey::taken(&session, &plan::candidates(&wanted)).await?;
        session.close().await;
        Ok(plan::decide(wanted, &taken))
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            Action::RemoveLeftover { leftover, .. } => create::remove_leftover(cx, leftover).await,
            Action::Create(create) => create::create(cx, create).await,
            Action::Refuse { why, .. } => bail!("{why}"),
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let mut found = Vec::new();
        for (entry, surveyed) in self.tables.iter().zip(self.survey(&session).await?) {
            match surveyed {
                Ok(facts) => found
                    .extend(facts.obstacles.into_iter().map(|why| Finding::error(why, "see above").at(entry.span()))),
                Err(refusal) => found.push(Finding::error(refusal.why, refusal.mend).at(entry.span())),
            }
        }
        session.close().await;
        Ok(found)
    }
}

impl Partitions {
    /// What the catalog says of each table, in the order of the config.
    async fn survey(&self, session: &Session) -> Result<Vec<Surveyed>> {
        let names: Vec<TableName> = self.tables.iter().map(|entry| entry.get_ref().table.clone()).collect();
        let mut surveyed = survey::survey(session, &names).await?;
        let mut placed: Vec<(&mut TableFacts, _)> = surveyed
            .iter_mut()
            .zip(&self.tables)
            .filter_map(|(surveyed, entry)| Some((surveyed.as_mut().ok()?, entry.get_ref().tablespace.as_ref()?)))
            .collect();
        let wanted: Vec<_> = placed.iter().map(|(facts, tablespace)| (&**facts, *tablespace)).collect();
        let obstacles = survey::tablespaces(session, &wanted).await?;
        for ((facts, _), obstacle) in placed.iter_mut().zip(obstacles) {
            facts.obstacles.extend(obstacle);
        }
        Ok(surveyed)
    }
}

/// A table about which there is nothing to know but why not.
fn refused(refusal: Refusal) -> Wanted {
    Wanted {
        table: refusal.table,
        oid: 0,
        references: Vec::new(),
        leftovers: Vec::new(),
        refusal: Some(format!("{}: {}", refusal.why, refusal.mend)),
        creates: Vec::new(),
        notes: Vec::new(),
        runway: None,
    }
}
