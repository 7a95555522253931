//! Rows that are past their time, of whichever kind of job: looked for, counted, and taken out in batches.
//!
//! | step | where |
//! |---|---|
//! | which rows of which table, and what becomes of them | [`Wanted`] |
//! | the catalog and bounded counts -> facts | `survey` |
//! | facts -> actions and notes; pure | `plan` |
//! | facts -> what would go wrong; pure | `check` |
//! | one leaf, batch by batch | [`apply`], on `pg::batch` |

pub mod check;
pub mod plan;
pub mod survey;

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use chrono::{DateTime, Utc};
use tokio_postgres::error::SqlState;

use self::plan::Follower;
pub use self::plan::{Action, TableFacts};
pub use self::survey::Depth;
use super::{Applied, Context, StopReason};
use crate::pg::batch::{self, Batch};
use crate::pg::{Ident, Session, TableName, blockers, catalog, explain};
use crate::run::{Counted, Plan};

/// Which rows of a table are past their time, as a kind's config says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub table: TableName,
    /// What says how old a row is.
    pub time: Time,
    /// More that must hold: the operator's SQL.
    pub condition: Option<String>,
    /// Rows of before this are past their time.
    pub before: DateTime<Utc>,
    pub words: Words,
}

/// What says how old a row is: of type `timestamptz`, `timestamp` or `date`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Time {
    Column(Ident),
    /// The operator's SQL.
    Expression(String),
}

impl Time {
    pub const fn column(&self) -> Option<&Ident> {
        match self {
            Time::Column(column) => Some(column),
            Time::Expression(_) => None,
        }
    }

    pub fn sql(&self) -> String {
        match self {
            Time::Column(column) => column.to_string(),
            Time::Expression(sql) => batch::parenthesized(sql),
        }
    }

    /// What it is called in messages.
    pub fn said(&self) -> String {
        match self {
            Time::Column(column) => format!("column {column}"),
            Time::Expression(_) => "expression".into(),
        }
    }
}

/// What is said of a row that is past its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// It says itself when it ends.
    Ended,
    /// It is older than a policy keeps it.
    Old,
}

impl Words {
    /// `3 rows … 2026-06-15`
    pub const fn before(self) -> &'static str {
        match self {
            Words::Ended => "ended before",
            Words::Old => "are of before",
        }
    }

    /// `no row … 2026-06-15`
    pub const fn none_before(self) -> &'static str {
        match self {
            Words::Ended => "ended before",
            Words::Old => "is of before",
        }
    }

    /// `2 rows … stay`
    pub const fn past(self) -> &'static str {
        match self {
            Words::Ended => "that ended",
            Words::Old => "that are old",
        }
    }

    /// Of rows without a time.
    pub const fn never(self) -> &'static str {
        match self {
            Words::Ended => "NULL never ends",
            Words::Old => "NULL is never old",
        }
    }
}

/// The facts of each table, in the order asked for. One that cannot be looked at spoils no other.
///
/// # Errors
/// The server cannot be asked any more.
pub async fn survey(session: &Session, cx: &Context, all: &[Wanted]) -> Result<Vec<TableFacts>> {
    let mut tables = Vec::with_capacity(all.len());
    for wanted in all {
        match survey::table(session, cx, wanted, Depth::Due).await {
            Ok(facts) => tables.push(facts),
            Err(error) if is_locked(&error) => {
                tables.push(TableFacts::locked(wanted, who_locks(session, &wanted.table).await?));
            }
            // Without a connection there are no others.
            Err(error) if session.is_closed() || cx.stop.requested().is_some() => return Err(error),
            Err(error) => tables.push(TableFacts::refused(wanted, explain(&error), "")),
        }
    }
    Ok(tables)
}

/// What there is to do now.
///
/// # Errors
/// The server cannot be asked.
pub async fn plan(cx: &Context, all: &[Wanted]) -> Result<Plan<Action>> {
    let session = cx.session().await?;
    let tables = survey(&session, cx, all).await?;
    session.close().await;
    Ok(plan::decide(tables))
}

/// Does one action.
///
/// # Errors
/// What PostgreSQL refuses. What went before stays gone.
pub async fn apply(cx: &Context, settings: &Batch, action: &Action) -> Result<Applied> {
    match action {
        Action::Refuse { why, .. } => Err(anyhow!("{why}")),
        Action::Delete(delete) => take(cx, settings, delete).await,
        Action::Wait { wanted, .. } => look_again(cx, settings, wanted).await,
    }
}

async fn take(cx: &Context, settings: &Batch, delete: &plan::Delete) -> Result<Applied> {
    let host = Run { cx, table: delete.table.plain(), followers: &delete.followers };
    Ok(match batch::delete(&host, &cx.pg, &delete.deletion, settings, &delete.progress).await? {
        batch::Ended::Done => Applied::Done,
        batch::Ended::Locked(by) => Applied::Locked(by),
        batch::Ended::Stopped(reason) => Applied::Stopped(reason),
    })
}

/// The whole of a table that was locked when the plan was made. Every leaf has its turn, whatever came of the others.
async fn look_again(cx: &Context, settings: &Batch, wanted: &Wanted) -> Result<Applied> {
    let session = cx.session().await?;
    let facts = match survey::table(&session, cx, wanted, Depth::Due).await {
        Err(error) if is_locked(&error) => return Ok(Applied::Locked(who_locks(&session, &wanted.table).await?)),
        other => other?,
    };
    session.close().await;
    let plan = plan::decide(vec![facts]);
    for note in plan.notes.iter().filter(|note| note.action == "warn") {
        cx.report.warn(format!("{}: {}", note.target, note.reason));
    }
    let (mut locked, mut failed) = (None, Vec::new());
    for action in &plan.actions {
        let done = match action {
            Action::Delete(delete) => take(cx, settings, delete).await,
            Action::Refuse { why, .. } => Err(anyhow!("{why}")),
            Action::Wait { by, .. } => Ok(Applied::Locked(by.clone())),
        };
        match done {
            Ok(Applied::Done) => {}
            Ok(Applied::Partly(why)) => failed.push(format!("{}: {why}", action.step().target)),
            Ok(Applied::Locked(by)) => locked = Some(by),
            Ok(stopped @ Applied::Stopped(_)) => return Ok(stopped),
            Err(error) => failed.push(format!("{}: {}", action.step().target, explain(&error))),
        }
    }
    match (failed.is_empty(), locked) {
        (false, _) => Err(anyhow!("{}", failed.join("; "))),
        (true, Some(by)) => Ok(Applied::Locked(by)),
        (true, None) => Ok(Applied::Done),
    }
}

async fn who_locks(session: &Session, table: &TableName) -> Result<String> {
    let oid = catalog::relation(session, table).await?.map_or(0, |relation| relation.oid);
    blockers::of_table(session, oid).await
}

fn is_locked(error: &anyhow::Error) -> bool {
    let codes =
        error.chain().filter_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).filter_map(|e| e.code());
    codes.into_iter().any(|code| *code == SqlState::LOCK_NOT_AVAILABLE)
}

/// The run, as the batch engine sees it. What is counted goes under the name in the config, so that metrics do not grow
/// a label for each partition.
struct Run<'a> {
    cx: &'a Context,
    table: String,
    followers: &'a [Follower],
}

impl batch::Host for Run<'_> {
    type Reason = StopReason;

    fn requested(&self) -> Option<StopReason> {
        self.cx.stop.requested()
    }

    fn pause(&self, length: Duration) -> impl Future<Output = Option<StopReason>> + Send {
        self.cx.pause(length)
    }

    fn deleted(&self, rows: u64, followers: &[u64]) {
        self.cx.report.count(Counted::RowsDeleted, &self.table, rows);
        let mut report = self.cx.report.lock();
        for (follower, n) in self.followers.iter().zip(followers).filter(|(_, n)| **n > 0) {
            let field = report.fields.entry("rows_of_referencing_tables").or_insert_with(|| serde_json::json!({}));
            if let Some(by_table) = field.as_object_mut() {
                let so_far = by_table.get(&follower.table).and_then(serde_json::Value::as_u64).unwrap_or_default();
                by_table.insert(follower.table.clone(), (so_far + n).into());
            }
        }
    }

    fn warn(&self, text: String) {
        self.cx.report.warn(text);
    }
}
