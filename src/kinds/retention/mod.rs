//! `retention`: lets go of what is older than its keep.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `policy` |
//! | policies that stand in a table of the database | `policies` |
//! | what must be left alone | `holds` |
//! | partitioned tables: a partition goes when its whole range is over | `partitions` |
//! | tables without partitions: rows are deleted, or moved to an archive table | `rows`, on `kinds::rows` |

pub mod holds;
pub mod partitions;
pub mod policies;
pub mod policy;
pub mod rows;

use std::ops::Range;

use anyhow::{Result, anyhow};
use chrono_tz::Tz;

use self::holds::Holds;
use self::policy::{Retention, RetentionTable};
use super::{Applied, Context, Kind, Word};
use crate::pg::{Session, catalog};
use crate::run::{Finding, Plan, Step};

/// One policy, of the config or of a table of policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub policy: RetentionTable,
    /// The zone of its calendar.
    pub zone: Tz,
    /// Where in the kind's table it stands.
    pub span: Range<usize>,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Fails when it is applied, so that what cannot be done is never called done.
    Refuse {
        target: String,
        why: String,
    },
    Rows(super::rows::Action),
    Partition(Box<partitions::Action>),
}

/// The targets, by what they are in the catalog.
#[derive(Debug, Default)]
struct Sorted {
    partitioned: Vec<Target>,
    /// Everything else: what is no table either is refused there.
    plain: Vec<Target>,
}

impl Kind for Retention {
    type Action = Action;

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn says(&self, zone: Tz) -> Vec<Word> {
        self.words(zone)
    }

    fn heed(&mut self, words: &[Word]) {
        self.hear(words);
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let mut plan = Plan::default();
        match holds::read(&session).await? {
            // Holds fail closed: who cannot read them touches nothing.
            Err(refusal) => {
                for entry in &self.tables {
                    let target = entry.get_ref().table.plain();
                    plan.actions.push(Action::Refuse { target, why: refusal.clone() });
                }
                session.close().await;
            }
            Ok(holds) => {
                let sorted = sort(&session, self.targets(cx)).await?;
                let rows = rows::plan(&session, cx, &sorted.plain, &holds).await?;
                plan.actions.extend(rows.actions.into_iter().map(Action::Rows));
                plan.notes.extend(rows.notes);
                // One after the other: there may be but one connection.
                session.close().await;
                let partitions = Box::pin(partitions::plan(cx, &sorted.partitioned, &holds)).await?;
                plan.actions.extend(partitions.actions.into_iter().map(|action| Action::Partition(Box::new(action))));
                plan.notes.extend(partitions.notes);
            }
        }
        Ok(plan)
    }

    fn step(&self, action: &Action) -> Step {
        match action {
            Action::Refuse { target, why } => Step { action: "refuse", ..Step::warn(target, why) },
            Action::Rows(action) => action.step(),
            Action::Partition(action) => action.step(),
        }
    }

    fn label(&self, action: &Action) -> String {
        match action {
            Action::Refuse { target, .. } => target.clone(),
            Action::Rows(action) => action.label(),
            Action::Partition(action) => action.label(),
        }
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            Action::Refuse { why, .. } => Err(anyhow!("{why}")),
            Action::Rows(action) => rows::apply(cx, &self.batch, action).await,
            Action::Partition(action) => Box::pin(partitions::apply(cx, &self.batch, action)).await,
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let sorted = sort(&session, self.targets(cx)).await?;
        let mut found = Vec::new();
        if let Err(refusal) = holds::read(&session).await? {
            // What to do begins with a GRANT, where it is for a role to be given something.
            let (why, mend) = match refusal.find("GRANT ") {
                Some(at) => (refusal[..at].trim_end_matches([' ', ';', ':']), &refusal[at..]),
                None => (refusal.as_str(), "until then nothing is touched"),
            };
            found.push(Finding::error(why, mend));
        }
        found.extend(rows::check(&session, cx, &sorted.plain).await?);
        session.close().await;
        found.extend(Box::pin(partitions::check(cx, &sorted.partitioned)).await?);
        Ok(found)
    }
}

impl Retention {
    /// The policies of the config.
    fn targets(&self, cx: &Context) -> Vec<Target> {
        let target = |entry: &toml::Spanned<RetentionTable>| Target {
            policy: entry.get_ref().clone(),
            zone: entry.get_ref().zone(cx.timezone),
            span: entry.span(),
        };
        self.tables.iter().map(target).collect()
    }
}

async fn sort(session: &Session, targets: Vec<Target>) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    for target in targets {
        match catalog::relation(session, &target.policy.table).await? {
            Some(relation) if relation.kind == 'p' => sorted.partitioned.push(target),
            _ => sorted.plain.push(target),
        }
    }
    Ok(sorted)
}

/// So that the words of one hold stand in one place.
fn held(holds: &Holds, cx: &Context, target: &Target) -> Option<Step> {
    let hold = holds.on(&target.policy.table, cx.now)?;
    Some(Step::keep(target.policy.table.plain(), hold.sentence()))
}
