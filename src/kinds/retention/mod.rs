//! `retention`: lets go of what is older than its keep.
//!
//! | step | where |
//! |---|---|
//! | the config's table; what of it cannot be meant | `policy`, `mistakes` |
//! | policies that stand in a table of the database; what its rows mean; pure | `policies`, `reading` |
//! | what must be left alone | `holds`; for other jobs' sake: `neighbours` |
//! | a partition that is written to a store before it goes | `export` |
//! | partitioned tables: a partition goes when its whole range is over | `partitions` |
//! | tables without partitions: rows are deleted, or moved to an archive table | `rows`, on `kinds::rows` |

pub mod export;
pub mod holds;
mod mistakes;
mod neighbours;
pub mod partitions;
pub mod policies;
pub mod policy;
pub mod reading;
pub mod rows;

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use chrono_tz::Tz;

use self::holds::Holds;
use self::policies::{Record, Tally};
use self::policy::{Retention, RetentionTable};
use super::rows::plan::Refusal;
use super::{Applied, Context, Kind, StoreUse, Word};
use crate::pg::TableName;
use crate::pg::pg_cron::{self, CronJob};
use crate::pg::{Session, catalog};
use crate::run::{Counted, Finding, Plan, Step};

/// One policy, of the config or of a table of policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub policy: RetentionTable,
    /// The zone of its calendar.
    pub zone: Tz,
    /// Where in the kind's table it stands.
    pub span: Range<usize>,
    /// The name in the row it comes from, where it comes from one.
    pub row: Option<String>,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub struct Action {
    what: What,
    /// Of a policy that stands in a table: how its work goes.
    tally: Option<Arc<Tally>>,
}

#[derive(Debug)]
enum What {
    /// Fails when it is applied, so that what cannot be done is never called done.
    Refuse {
        target: String,
        why: String,
    },
    Rows(super::rows::Action),
    Partition(Box<partitions::Action>),
    /// A policy is told that it was carried out.
    Record(Record),
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

    const TAKES_OLD: bool = true;
    const COUNTS: &[Counted] = &[
        Counted::PartitionsDropped,
        Counted::PartitionsDetached,
        Counted::PartitionsArchived,
        Counted::RowsDeleted,
        Counted::RowsArchived,
        Counted::LockTimeouts,
    ];

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn tends(&self) -> Vec<&TableName> {
        self.tables.iter().map(|entry| &entry.get_ref().table).collect()
    }

    fn takes(&self) -> Vec<&TableName> {
        self.tends()
    }

    fn stores(&self) -> Vec<StoreUse> {
        let use_of = |entry: &toml::Spanned<RetentionTable>| {
            let store = entry.get_ref().export.clone()?;
            Some(StoreUse { store, span: entry.span(), deletes: false, foreign: false })
        };
        self.tables.iter().filter_map(use_of).collect()
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
        let holds = match holds::read(&session).await? {
            Ok(holds) => holds,
            // Holds fail closed: who cannot read them touches nothing.
            Err(refusal) => {
                session.close().await;
                plan.actions = self.names().map(|target| refuse(target, refusal.clone())).collect();
                return Ok(plan);
            }
        };
        let (targets, read) = self.all_targets(&session, cx).await?;
        let (targets, contradicted) = self.without_contradictions(targets, cx);
        let contradicted = contradicted.iter().map(|(target, refusal)| (target.policy.table.plain(), refusal));
        plan.actions.extend(contradicted.map(|(target, refusal)| refuse(target, refusal.sentence())));
        plan.actions.extend(read.refusals.iter().map(|(target, refusal)| refuse(target.clone(), refusal.sentence())));
        plan.notes.extend(read.notes);
        let records = if read.records { self.records(&targets, &holds, cx) } else { Vec::new() };
        let tally = |table: &str| {
            let tally = records.iter().find(|record| record.table.plain() == table)?.tally.clone();
            tally.expect_one();
            Some(tally)
        };
        let sorted = sort(&session, targets).await?;
        let rows = rows::plan(&session, cx, &sorted.plain, &holds).await?;
        plan.actions.extend(
            rows.actions
                .into_iter()
                .map(|(table, action)| Action { tally: tally(&table.plain()), what: What::Rows(action) }),
        );
        plan.notes.extend(rows.notes);
        plan.in_order += rows.in_order;
        // One after the other: there may be but one connection.
        session.close().await;
        let partitions = Box::pin(partitions::plan(cx, &sorted.partitioned, &holds)).await?;
        plan.actions.extend(
            partitions
                .actions
                .into_iter()
                .map(|action| Action { tally: tally(&action.label()), what: What::Partition(Box::new(action)) }),
        );
        plan.notes.extend(partitions.notes);
        plan.in_order += partitions.in_order;
        plan.actions.extend(records.into_iter().map(|record| Action { what: What::Record(record), tally: None }));
        Ok(plan)
    }

    fn step(&self, action: &Action) -> Step {
        match &action.what {
            What::Refuse { target, why } => Step { action: "refuse", ..Step::warn(target, why) },
            What::Rows(action) => action.step(),
            What::Partition(action) => action.step(),
            What::Record(record) => record.step(),
        }
    }

    fn label(&self, action: &Action) -> String {
        match &action.what {
            What::Refuse { target, .. } => target.clone(),
            What::Rows(action) => action.label(),
            What::Partition(action) => action.label(),
            What::Record(record) => record.policies.plain(),
        }
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        let applied = match &action.what {
            What::Refuse { why, .. } => Err(anyhow!("{why}")),
            What::Rows(action) => rows::apply(cx, &self.batch, action).await,
            What::Partition(action) => Box::pin(partitions::apply(cx, &self.batch, action)).await,
            What::Record(record) => record.apply(cx).await,
        };
        if let Some(tally) = &action.tally {
            tally.note(&applied);
        }
        applied
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let mut found = Vec::new();
        if let Err(refusal) = holds::read(&session).await? {
            // What to do begins with a GRANT, where it is for a role to be given something.
            let (why, mend) = match refusal.find("GRANT ") {
                Some(at) => (refusal[..at].trim_end_matches([' ', ';', ':']), &refusal[at..]),
                None => (refusal.as_str(), "until then nothing is touched"),
            };
            found.push(Finding::error(why, mend));
        }
        let (targets, read) = self.all_targets(&session, cx).await?;
        found.extend(self.done_twice(&session, &targets).await);
        let (targets, contradicted) = self.without_contradictions(targets, cx);
        let contradicted = contradicted.into_iter();
        found.extend(contradicted.map(|(target, Refusal { why, mend })| Finding::error(why, mend).at(target.span)));
        let span = self.policies.as_ref().map_or(0..0, toml::Spanned::span);
        let refused = read.refusals.into_iter().map(|(_, Refusal { why, mend })| Finding::error(why, mend));
        let warned = read.notes.into_iter().filter(|note| note.action == "warn");
        let warned =
            warned.map(|note| Finding::warning(format!("{}: {}", note.target, note.reason), "see that it is meant"));
        found.extend(refused.chain(warned).map(|finding| finding.at(span.clone())));
        let sorted = sort(&session, targets).await?;
        found.extend(rows::check(&session, cx, &sorted.plain).await?);
        session.close().await;
        found.extend(Box::pin(partitions::check(cx, &sorted.partitioned)).await?);
        Ok(found)
    }
}

fn refuse(target: String, why: String) -> Action {
    Action { what: What::Refuse { target, why }, tally: None }
}

impl Retention {
    /// What the config names.
    fn names(&self) -> impl Iterator<Item = String> {
        let tables = self.tables.iter().map(|entry| entry.get_ref().table.plain());
        tables.chain(self.policies.iter().map(|policies| policies.get_ref().table.plain()))
    }

    /// The policies of the config, and those of the table that it names.
    async fn all_targets(&self, session: &Session, cx: &Context) -> Result<(Vec<Target>, policies::Read)> {
        let mut targets = self.targets(cx);
        let Some(policies) = &self.policies else { return Ok((targets, policies::Read::default())) };
        let also: Vec<_> = targets.iter().map(|target| target.policy.table.clone()).collect();
        let mut read = policies::read(session, cx, policies.get_ref(), policies.span(), &also).await?;
        targets.append(&mut read.targets);
        Ok((targets, read))
    }

    /// The targets, but for those that contradict what another job says of their table.
    fn without_contradictions(&self, targets: Vec<Target>, cx: &Context) -> (Vec<Target>, Vec<(Target, Refusal)>) {
        let (mut free, mut contradicted) = (Vec::new(), Vec::new());
        for target in targets {
            match neighbours::contradiction(&target.policy, target.zone, cx.job.as_str(), &self.heard, cx.now) {
                None => free.push(target),
                Some(refusal) => contradicted.push((target, refusal)),
            }
        }
        (free, contradicted)
    }

    /// Jobs of pg_cron that are about tables which only a row of a table of policies names; of those of the config, and of
    /// what cannot be read, `check` itself tells.
    async fn done_twice(&self, session: &Session, targets: &[Target]) -> Vec<Finding> {
        let Some(policies) = &self.policies else { return Vec::new() };
        let others = pg_cron::jobs(session).await.ok().flatten().unwrap_or_default();
        let names = |other: &&CronJob| {
            !self.is_done_by(&other.sql)
                && targets.iter().any(|target| pg_cron::mentions(&other.sql, &target.policy.table))
        };
        others.iter().filter(names).map(|other| other.done_twice().at(policies.span())).collect()
    }

    /// What is to be written of policies that are carried out; one that a hold keeps from it is not.
    fn records(&self, targets: &[Target], holds: &Holds, cx: &Context) -> Vec<Record> {
        let Some(policies) = self.policies.as_ref().map(toml::Spanned::get_ref) else { return Vec::new() };
        let free = targets.iter().filter(|target| holds.on(&target.policy.table, cx.now).is_none());
        free.filter_map(|target| {
            Some(Record {
                policies: policies.table.clone(),
                columns: (policies.table_name.clone(), policies.last_run_at.clone()),
                row: target.row.clone()?,
                table: target.policy.table.clone(),
                tally: Arc::default(),
            })
        })
        .collect()
    }

    /// The policies of the config.
    fn targets(&self, cx: &Context) -> Vec<Target> {
        let target = |entry: &toml::Spanned<RetentionTable>| Target {
            policy: entry.get_ref().clone(),
            zone: entry.get_ref().zone(cx.timezone),
            span: entry.span(),
            row: None,
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
    Some(Step::held(target.policy.table.plain(), hold.sentence()))
}
