//! `partitions`: makes partitions before anyone needs them.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `policy` |
//! | the catalog -> facts, in a number of queries that does not grow with the tables | `survey`, `bound`, `rows` |
//! | time <-> key values: timestamps, dates, text and integers by format, uuidv7 | `key` |
//! | periods of a zone: hour to year | `every` |
//! | facts, policy, now -> actions and notes; pure | `plan`: all tables; `wanted`: one of them |
//! | one partition, one transaction: create apart, attach | `create`, `apart`, `written` |
//! | rows of the new period in the default partition | `default_rows` |
//! | what a person would write of the partitions there are; pure | `infer` |
//! | what would go wrong; how far the partitions reach | `check`, `runway`, `observe` |

pub mod apart;
pub mod bound;
pub mod check;
pub mod cover;
pub mod create;
pub mod default_rows;
pub mod every;
pub mod facts;
pub mod format;
pub mod infer;
pub mod key;
pub mod name;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod rows;
pub mod runway;
mod steps;
pub mod survey;
pub mod wanted;
pub mod written;

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use self::facts::{Action, TableFacts};
use self::plan::Wanted;
use self::policy::Partitions;
use self::survey::{Refusal, Surveyed};
use super::{Applied, Context, Kind, Lasting, Observes, Word, retention};
use crate::pg::Session;
use crate::pg::TableName;
use crate::run::{Counted, Finding, Observed, Plan, Step};

impl Kind for Partitions {
    type Action = Action;

    const COUNTS: &[Counted] = &[Counted::PartitionsCreated, Counted::LockTimeouts];

    const OBSERVES: Observes = Observes::Always;

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn lasts(&self, at: DateTime<Utc>, zone: Tz) -> Vec<Lasting> {
        check::lasts(self, at, zone)
    }

    fn says(&self, zone: Tz) -> Vec<Word> {
        self.words(zone)
    }

    fn heed(&mut self, words: &[Word]) {
        self.hear(words);
    }

    fn tends(&self) -> Vec<&TableName> {
        self.tables.iter().map(|entry| &entry.get_ref().table).collect()
    }

    async fn observe(&self, cx: &Context) -> Result<Observed> {
        let session = cx.session().await?;
        let observed = observe::observe(&session, self, cx.timezone, cx.now).await?;
        session.close().await;
        Ok(observed)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let cutoffs = self.cutoffs(&session, cx).await?;
        let mut wanted = Vec::with_capacity(self.tables.len());
        for (entry, surveyed) in self.tables.iter().zip(self.survey(&session).await?) {
            wanted.push(match surveyed {
                Ok(facts) => {
                    let policy = entry.get_ref();
                    let of_it = cutoffs.iter().filter(|(table, _)| *table == policy.table).map(|(_, at)| *at);
                    let kept_from = of_it.chain(policy.kept_from(cx.now)).max();
                    plan::wanted(&facts, policy, cx.timezone, cx.now, kept_from)
                }
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

    fn label(&self, action: &Action) -> String {
        match action {
            Action::Refuse { table, .. } => table.plain(),
            Action::Create(create) => create.parent.plain(),
        }
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            Action::Create(create) => create::create(cx, create).await,
            Action::Refuse { why, .. } => bail!("{why}"),
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let found = check::check(&session, self, cx.timezone, cx.now).await?;
        session.close().await;
        Ok(found)
    }
}

impl Partitions {
    /// What tables of policies let go, where partitions are made for times that are over.
    async fn cutoffs(&self, session: &Session, cx: &Context) -> Result<Vec<(TableName, DateTime<Utc>)>> {
        let mut cutoffs = Vec::new();
        if self.policies().all(|table| table.behind == 0) {
            return Ok(cutoffs);
        }
        for policies in &self.policies_of_others {
            let read = retention::policies::read(session, cx, policies, 0..0, &[]).await?;
            for kept in read.targets.into_iter().map(|target| target.policy) {
                let zone = self.policies().find(|table| table.table == kept.table).map(|table| table.zone(cx.timezone));
                let at = zone.and_then(|zone| kept.keep.before(cx.now, zone));
                cutoffs.extend(at.map(|at| (kept.table, at)));
            }
        }
        Ok(cutoffs)
    }

    /// What the catalog says of each table, in the order of the config.
    async fn survey(&self, session: &Session) -> Result<Vec<Surveyed>> {
        let mut surveyed = survey::survey(session, &self.names()).await?;
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
        refusal: Some(format!("{}: {}", refusal.why, refusal.mend)),
        creates: Vec::new(),
        beyond: None,
        notes: Vec::new(),
        runway: None,
    }
}
