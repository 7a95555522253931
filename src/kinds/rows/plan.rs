//! What to delete, what to refuse, and what to say about the rest. Pure: facts in, a plan out.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::json;

use super::fit::Making;
use super::objects::ObjectsOf;
use super::share::nearly_all;
use super::{Wanted, Words};
use crate::pg::batch::{self, Access, Cutoff, Deletion, Progress};
use crate::pg::catalog::{Leaf, OnDelete, Reference};
use crate::pg::{Ident, TableName};
pub use crate::run::Refusal;
use crate::run::{Plan, Step};

/// What was found out about one table of the config.
#[derive(Debug, Clone, PartialEq)]
pub struct TableFacts {
    pub wanted: Wanted,
    /// Why nothing of it can be done.
    pub refusal: Option<Refusal>,
    /// Who had it locked, so that it could not be looked at.
    pub locked: Option<String>,
    pub leaves: Vec<LeafFacts>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeafFacts {
    pub leaf: Leaf,
    pub refusal: Option<Refusal>,
    /// Nothing where the leaf is refused, or has its rows elsewhere.
    pub work: Option<Work>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub deletion: Deletion,
    /// The index that finds due rows, whether or not this deletion goes by it.
    pub index: Option<String>,
    pub due: Count,
    /// How many are due by the planner's statistics, which go on where the counting ends.
    pub estimated: Option<u64>,
    /// Rows that are due and stay, by constraint and referencing table.
    pub kept: Vec<(Reference, Count)>,
    /// Rows without a time.
    pub nulls: Count,
    /// Rows that are due and stay, by the column that they have no value of and that is needed where they should go.
    pub without: Vec<(Ident, Count)>,
    pub objects: Option<ObjectFacts>,
}

/// What is known of the objects that rows stand for, without asking their store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Whether an index finds rows by an address.
    pub indexed: bool,
    /// How many addresses were looked at.
    pub looked_at: usize,
    pub foreign: Option<Foreign>,
}

/// Addresses that are none of the store, or could be read in two ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub rows: usize,
    /// One of them, and what is wrong with it.
    pub address: String,
    pub why: String,
}

impl ObjectFacts {
    /// `of`: what rows were looked at.
    pub fn said_foreign(&self, of: &str) -> Option<String> {
        let Foreign { rows, address, why } = self.foreign.as_ref()?;
        let looked_at = self.looked_at;
        Some(format!(
            "{rows} of {looked_at} {of} name objects that are not to be touched, such as {address:?}: {why}; \
             such rows stay, and a run fails for them"
        ))
    }
}

/// A number of rows, as far as it could be had in little time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Exactly(u64),
    MoreThan(u64),
    /// By the planner's statistics.
    About(u64),
    Unknown,
}

impl Count {
    pub const fn is_exact(self) -> bool {
        matches!(self, Count::Exactly(_))
    }

    pub const fn number(self) -> Option<u64> {
        match self {
            Count::Exactly(n) | Count::MoreThan(n) | Count::About(n) => Some(n),
            Count::Unknown => None,
        }
    }

    /// Whether there may be any.
    pub const fn any(self) -> bool {
        !matches!(self, Count::Exactly(0))
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Count::Exactly(1) => f.write_str("1 row"),
            Count::Exactly(n) => write!(f, "{n} rows"),
            Count::MoreThan(n) => write!(f, "more than {n} rows"),
            Count::About(n) => write!(f, "about {n} rows"),
            Count::Unknown => f.write_str("an unknown number of rows"),
        }
    }
}

#[derive(Debug)]
pub enum Action {
    Delete(Box<Delete>),
    /// Fails when it is applied, so that what cannot be done is never called done.
    Refuse {
        target: String,
        why: String,
    },
    /// Rows that were to move and stay, since others refer to them: fails unless these have gone by then.
    Referred(Box<Referred>),
    /// It was locked when the plan was made: it is looked at again when its turn comes, and then done whole.
    Wait {
        wanted: Box<Wanted>,
        by: String,
    },
}

#[derive(Debug)]
pub struct Delete {
    /// The table that the leaf belongs to.
    pub table: TableName,
    pub counted_as: String,
    pub deletion: Deletion,
    pub words: Words,
    pub due: Count,
    pub followers: Vec<Follower>,
    /// What has to be made before the first row moves.
    pub making: Option<Making>,
    /// Which objects go before the rows.
    pub objects: Option<ObjectsOf>,
    /// How far it has come, for when it is applied a second time.
    pub progress: Progress,
}

/// Rows that are past their time, that `key` points at, and that were to move elsewhere.
#[derive(Debug)]
pub struct Referred {
    pub deletion: Deletion,
    pub key: Reference,
}

impl Referred {
    /// `rows`: how many, in words.
    pub fn sentence(&self, rows: &str) -> String {
        let Reference { constraint, table, on_delete, .. } = &self.key;
        format!(
            "{rows} that are old stay, because rows of {} refer to them (constraint {constraint}, {}): archive those first",
            table.plain(),
            on_delete.sql(),
        )
    }
}

/// A table whose rows go, or change, with ours; in the order of [`Deletion::followed_by`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    pub table: String,
}

impl TableFacts {
    pub fn new(wanted: &Wanted) -> Self {
        Self { wanted: wanted.clone(), refusal: None, locked: None, leaves: Vec::new() }
    }

    pub fn refused(wanted: &Wanted, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { refusal: Some(Refusal { why: why.into(), mend: mend.into() }), ..Self::new(wanted) }
    }

    pub fn locked(wanted: &Wanted, by: String) -> Self {
        Self { locked: Some(by), ..Self::new(wanted) }
    }
}

/// The plan for all tables, in the order of the config.
pub fn decide(tables: Vec<TableFacts>) -> Plan<Action> {
    let mut plan = Plan::default();
    for facts in tables {
        if let Some(refusal) = facts.refusal {
            plan.actions.push(Action::Refuse { target: facts.wanted.table.plain(), why: refusal.sentence() });
            continue;
        }
        if let Some(by) = facts.locked {
            plan.actions.push(Action::Wait { wanted: Box::new(facts.wanted), by });
            continue;
        }
        plan.notes.extend(nearly_all(&facts));
        // None is left of a table that is held.
        plan.in_order += usize::from(facts.leaves.is_empty());
        for leaf in facts.leaves {
            let target = leaf.leaf.name.plain();
            if let Some(refusal) = leaf.refusal {
                plan.actions.push(Action::Refuse { target, why: refusal.sentence() });
                continue;
            }
            let Some(work) = leaf.work else {
                plan.notes.push(Step::warn(target, "its rows are in another server, and are left alone from here"));
                continue;
            };
            notes(&mut plan.notes, facts.wanted.words, &leaf.leaf, &work);
            let referred: Vec<_> = work
                .kept
                .iter()
                .filter(|(_, count)| count.any() && matches!(work.deletion.into, Some(batch::Into::Archive(_))))
                .map(|(key, _)| Referred { deletion: work.deletion.clone(), key: key.clone() })
                .collect();
            let referred = referred.into_iter().map(|referred| Action::Referred(Box::new(referred)));
            // Rows that others refer to are free to go once these have gone, which may be earlier in this very run.
            let freed = facts.wanted.words == Words::Old && work.kept.iter().any(|(_, count)| count.any());
            if !work.due.any() && !freed {
                plan.in_order += 1;
                continue;
            }
            let followers = work.deletion.followed_by.iter().map(|key| Follower { table: key.table.plain() }).collect();
            plan.actions.push(Action::Delete(Box::new(Delete {
                table: facts.wanted.table.clone(),
                counted_as: facts.wanted.counted_as.clone(),
                words: facts.wanted.words,
                deletion: work.deletion,
                due: work.due,
                followers,
                making: facts.wanted.making.clone(),
                objects: facts.wanted.objects.clone(),
                progress: Progress::default(),
            })));
            plan.actions.extend(referred);
        }
    }
    plan
}

/// What stays and why, and what goes with the rows.
fn notes(notes: &mut Vec<Step>, words: Words, leaf: &Leaf, work: &Work) {
    let target = leaf.name.plain();
    if !work.due.any() && !work.kept.iter().any(|(_, count)| count.any()) {
        let reason = format!("no row {} {}", words.none_before(), work.deletion.cutoff);
        notes.push(Step { detail: json!({ "rows": 0, "exact": true }), ..Step::keep(&target, reason) });
    }
    if work.nulls.any() && work.nulls != Count::Unknown {
        let reason = format!("{} without a time: {}", work.nulls, words.never());
        notes.push(Step::without_time(&target, reason, work.nulls.number(), work.nulls.is_exact()));
    }
    let foreign = work.objects.as_ref().and_then(|objects| objects.said_foreign("rows that are due"));
    for reason in without(work).into_iter().chain(foreign) {
        notes.push(Step::warn(&target, reason));
    }
    let moves = matches!(work.deletion.into, Some(batch::Into::Archive(_)));
    // Of rows that were to move it is an action that speaks, and fails.
    for (key, count) in work.kept.iter().filter(|(_, count)| count.any() && !moves) {
        let reason = format!(
            "{count} {} stay, because rows of {} refer to them (constraint {}, {})",
            words.past(),
            key.table.plain(),
            key.constraint,
            key.on_delete.sql(),
        );
        notes.push(Step { detail: count_detail(*count), ..Step::warn(&target, reason) });
    }
    if work.due.any() && !moves {
        for key in leaf.referenced_by.iter().filter(|key| key.on_delete != OnDelete::Refuse) {
            let what = match key.on_delete {
                OnDelete::Cascade => "are deleted with them",
                OnDelete::SetNull => "lose their reference (it is set to NULL)",
                _ => "get the default as their reference",
            };
            let counted = if work.deletion.followed_by.contains(key) {
                "; the run reports how many"
            } else {
                "; they are not counted, for want of an index on the key or of SELECT on the table"
            };
            notes.push(Step::warn(
                &target,
                format!(
                    "rows of {} that refer to deleted rows {what} (constraint {}, {}){counted}",
                    key.table.plain(),
                    key.constraint,
                    key.on_delete.sql(),
                ),
            ));
        }
    }
}

/// What is to be said of rows that stay for want of a value.
pub fn without(work: &Work) -> Vec<String> {
    let Some(summary) = work.deletion.into.as_ref().and_then(batch::Into::summary) else { return Vec::new() };
    let counts = work.without.iter().filter(|(_, count)| matches!(count, Count::Exactly(1..) | Count::MoreThan(_)));
    counts.map(|(column, count)| summary.said_without(&count.to_string(), column)).collect()
}

/// What is done to rows, in a word.
const fn what(into: Option<&batch::Into>) -> &'static str {
    match into {
        None => "delete_rows",
        Some(batch::Into::Archive(_)) => "archive_rows",
        Some(batch::Into::Summary(_)) => "summarize_rows",
    }
}

fn count_detail(count: Count) -> serde_json::Value {
    json!({ "rows": count.number(), "exact": count.is_exact() })
}

impl Action {
    /// The table of the config, however many leaves it has.
    pub fn label(&self) -> String {
        match self {
            Action::Delete(delete) => delete.counted_as.clone(),
            Action::Wait { wanted, .. } => wanted.counted_as.clone(),
            Action::Referred(referred) => referred.deletion.leaf.plain(),
            Action::Refuse { target, .. } => target.clone(),
        }
    }

    /// The tables it works on: that of the config, and the leaf.
    pub fn tables(&self) -> Vec<TableName> {
        match self {
            Action::Delete(delete) => vec![delete.table.clone(), delete.deletion.leaf.clone()],
            Action::Referred(referred) => vec![referred.deletion.leaf.clone()],
            Action::Wait { wanted, .. } => vec![wanted.table.clone()],
            Action::Refuse { .. } => Vec::new(),
        }
    }

    pub fn step(&self) -> Step {
        match self {
            Action::Refuse { target, why } => Step { action: "refuse", ..Step::warn(target, why) },
            Action::Referred(referred) => {
                Step { action: "refuse", ..Step::warn(referred.deletion.leaf.plain(), referred.sentence("rows")) }
            }
            Action::Wait { wanted, by } => Step {
                action: what(wanted.into.as_ref()),
                ..Step::warn(
                    wanted.table.plain(),
                    format!("looked at again when its turn comes, being locked now: {by}"),
                )
            },
            Action::Delete(delete) => {
                let Delete { deletion, due, words, .. } = &**delete;
                let access = match &deletion.access {
                    Access::Index(name) => format!("index {name}"),
                    Access::Blocks => "block ranges".into(),
                };
                let mut detail = count_detail(*due);
                detail["cutoff"] = deletion.cutoff.to_string().into();
                detail["access"] = access.into();
                if let Some(into) = &deletion.into {
                    detail["into"] = into.table().plain().into();
                }
                let mut reason = match due {
                    Count::Exactly(0) => {
                        format!("those of before {} that nobody refers to any more by then", deletion.cutoff)
                    }
                    due => format!("{due} {} {}", words.before(), deletion.cutoff),
                };
                if let Some(ObjectsOf { column, store }) = &delete.objects {
                    detail["objects"] = json!({ "column": column.as_str(), "store": store });
                    reason = format!("{reason}; their objects in store {store} go first, by column {column}");
                }
                if let Some(making) = &delete.making {
                    detail["made"] = making.to.plain().into();
                    reason = format!("{reason}; {}", making.said());
                }
                Step {
                    action: what(deletion.into.as_ref()),
                    target: deletion.leaf.plain(),
                    reason,
                    detail,
                    sql: Some(deletion.in_short()),
                }
            }
        }
    }
}

/// The cutoff in the words of a column: an instant, or for a column without a time zone what the clock on the wall shows.
pub fn cutoff(at: DateTime<Utc>, sql_type: &str, zone: Tz) -> Cutoff {
    if sql_type == "timestamptz" { Cutoff::Instant(at) } else { Cutoff::Wall(wall_clock(at, zone)) }
}

/// What the clock on the wall shows at `at`; in the first pass through an hour that is shown twice, the start of that hour,
/// since a row that says half past may mean the second half past, and would be deleted too early.
///
/// At the very end of an hour that is skipped, the start of it: nobody could see which of the two it shows.
fn wall_clock(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    let moment = TimeDelta::microseconds(1);
    let without_jump = (at - moment).with_timezone(&zone).naive_local() + moment;
    if without_jump < at.with_timezone(&zone).naive_local() {
        return without_jump;
    }
    let shown = at.with_timezone(&zone).naive_local();
    let LocalResult::Ambiguous(first, second) = zone.from_local_datetime(&shown) else { return shown };
    if at >= second.to_utc() {
        return shown;
    }
    // The clock jumps back somewhere between the two; what it shows then is where the hour starts.
    let (mut before, mut after) = (first.to_utc(), second.to_utc());
    let offset = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local() - at.naive_utc();
    let old = offset(before);
    while after - before > TimeDelta::seconds(1) {
        let middle = before + (after - before) / 2;
        if offset(middle) == old { before = middle } else { after = middle }
    }
    let start = DateTime::from_timestamp(after.timestamp(), 0).unwrap_or(after);
    start.with_timezone(&zone).naive_local()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub mod tests;
