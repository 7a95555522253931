//! Rows that are past their time, of whichever kind of job: looked for, counted, and taken out in batches.
//!
//! | step | where |
//! |---|---|
//! | which rows of which table, and what becomes of them | [`Wanted`] |
//! | the catalog and bounded counts -> facts | `survey` |
//! | facts -> actions and notes; pure | `plan` |
//! | whether nearly all of a table would go; pure | `share` |
//! | whether an archive takes them, column by column; pure | `fit` |
//! | the archive: looked at, and made where it is missing | `archive` |
//! | objects in a store that go before their rows | `objects` |
//! | facts -> what would go wrong; pure | `check` |
//! | one leaf, batch by batch | [`apply`], on `pg::batch` |

pub mod archive;
pub mod check;
pub mod fit;
pub mod objects;
pub mod plan;
mod share;
pub mod survey;

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio_postgres::error::SqlState;

use self::fit::Making;
use self::objects::ObjectsOf;
use self::plan::Follower;
pub use self::plan::{Action, TableFacts};
pub use self::survey::Depth;
use super::{Applied, Context, StopReason};
use crate::pg::batch::{self, Batch, Deletion, Into, Removed};
use crate::pg::{Ident, Session, TableName, blockers, catalog, ddl, explain};
use crate::run::{Counted, Plan};
use crate::store::{Located, Store};

/// Which rows of a table are past their time, as a kind's config says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub table: TableName,
    /// The name in the config that what happens is counted under.
    pub counted_as: String,
    /// What says how old a row is.
    pub time: Time,
    /// More that must hold: the operator's SQL.
    pub condition: Option<String>,
    /// Rows of before this are past their time.
    pub before: DateTime<Utc>,
    /// Of which zone the wall clock is that a time without one shows.
    pub zone: Tz,
    pub words: Words,
    /// Where the rows go; nothing: they are gone.
    pub into: Option<Into>,
    /// What has to be made for it first.
    pub making: Option<Making>,
    /// The objects that go with them.
    pub objects: Option<ObjectsOf>,
}

/// What says how old a row is: of type `timestamptz`, `timestamp` or `date`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Time {
    Column(Ident),
    /// The operator's SQL.
    Expression(String),
    /// That of the row of another table to which it refers: a query of ours, for which there can be no index.
    OfParent(String),
}

impl Time {
    pub const fn column(&self) -> Option<&Ident> {
        match self {
            Time::Column(column) => Some(column),
            Time::Expression(_) | Time::OfParent(_) => None,
        }
    }

    pub fn sql(&self) -> String {
        match self {
            Time::Column(column) => column.to_string(),
            Time::Expression(sql) | Time::OfParent(sql) => batch::parenthesized(sql),
        }
    }

    /// What it is called in messages.
    pub fn said(&self) -> String {
        match self {
            Time::Column(column) => format!("column {column}"),
            Time::Expression(_) => "expression".into(),
            Time::OfParent(_) => "age_from".into(),
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
    /// It is of a day that is counted.
    Counted,
}

impl Words {
    /// `3 rows … 2026-06-15`
    pub const fn before(self) -> &'static str {
        match self {
            Words::Ended => "ended before",
            Words::Old | Words::Counted => "are of before",
        }
    }

    /// `no row … 2026-06-15`
    pub const fn none_before(self) -> &'static str {
        match self {
            Words::Ended => "ended before",
            Words::Old | Words::Counted => "is of before",
        }
    }

    /// `2 rows … stay`
    pub const fn past(self) -> &'static str {
        match self {
            Words::Ended => "that ended",
            Words::Old | Words::Counted => "that are old",
        }
    }

    /// Of rows without a time.
    pub const fn never(self) -> &'static str {
        match self {
            Words::Ended => "NULL never ends",
            Words::Old | Words::Counted => "NULL is never old",
        }
    }

    /// The key of the config that names the column.
    pub const fn key(self) -> &'static str {
        match self {
            Words::Ended | Words::Old => "column",
            Words::Counted => "time",
        }
    }
}

/// Who may want rows left alone while they are going.
pub trait Watch: Sync {
    /// Why the rows of the leaf with this oid stay from now on, in words; asked before each batch.
    fn held(&self, session: &Session, leaf: u32) -> impl Future<Output = Result<Option<String>>> + Send;
}

/// Nobody does.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    async fn held(&self, _: &Session, _: u32) -> Result<Option<String>> {
        Ok(None)
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
            Err(error) if ddl::is_locked(&error) => {
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
pub async fn apply(cx: &Context, settings: &Batch, watch: &impl Watch, action: &Action) -> Result<Applied> {
    match action {
        Action::Refuse { why, .. } => Err(anyhow!("{why}")),
        Action::Delete(delete) => take(cx, settings, watch, delete).await,
        Action::Referred(referred) => still_referred(cx, watch, referred).await,
        Action::Wait { wanted, .. } => look_again(cx, settings, watch, wanted).await,
    }
}

/// Whether the rows of a leaf stay because somebody wants them to; says so.
async fn stays(cx: &Context, watch: &impl Watch, session: &Session, deletion: &Deletion) -> Result<bool> {
    let held = watch.held(session, deletion.oid).await?;
    if let Some(why) = &held {
        warn_of_held(cx, &deletion.leaf, why);
    }
    Ok(held.is_some())
}

fn warn_of_held(cx: &Context, leaf: &TableName, why: &str) {
    cx.report.warn(format!("{}: its rows stay, since {why}", leaf.plain()));
}

async fn take(cx: &Context, settings: &Batch, watch: &impl Watch, delete: &plan::Delete) -> Result<Applied> {
    // Before anything is made for them.
    let session = cx.session().await?;
    let stays = stays(cx, watch, &session, &delete.deletion).await;
    session.close().await;
    if stays? {
        return Ok(Applied::Done);
    }
    if let Some(making) = &delete.making {
        match archive::make(cx, making).await? {
            Applied::Done => {}
            other => return Ok(other),
        }
    }
    let deletion = still_fits(cx, delete).await?;
    let counted = match &deletion.into {
        None => Counted::RowsDeleted,
        Some(Into::Archive(_)) => Counted::RowsArchived,
        Some(Into::Summary(_)) => Counted::RowsSummarized,
    };
    let store = match &delete.objects {
        Some(objects) => Some(&**objects.find(cx)?),
        None => None,
    };
    let table = delete.counted_as.clone();
    let host = Run { cx, watch, leaf: delete.deletion.oid, table, counted, followers: &delete.followers, store };
    Ok(match batch::delete(&host, &cx.pg, &deletion, settings, &delete.progress).await? {
        batch::Ended::Done => Applied::Done,
        batch::Ended::Stayed { why, moved: true } => Applied::Partly(why),
        batch::Ended::Stayed { why, moved: false } => return Err(anyhow!("{why}")),
        batch::Ended::Held(why) => {
            warn_of_held(cx, &delete.deletion.leaf, &why);
            Applied::Done
        }
        batch::Ended::Locked(by) => Applied::Locked(by),
        batch::Ended::Stopped(reason) => Applied::Stopped(reason),
    })
}

/// The deletion with the archive as it is now: it may be another than the one that was planned with, or made by somebody
/// else. A value that does not fit would be rounded or cut without a word.
async fn still_fits(cx: &Context, delete: &plan::Delete) -> Result<Deletion> {
    let mut deletion = delete.deletion.clone();
    let Some(Into::Archive(planned)) = &deletion.into else { return Ok(deletion) };
    let session = cx.session().await?;
    let looked = archive::look(&session, &delete.table, &planned.table, None).await?;
    session.close().await;
    match looked {
        Err(refusal) => bail!("{}", refusal.sentence()),
        Ok((_, Some(_))) => bail!("{} is gone since the plan was made", planned.table.plain()),
        Ok((into, None)) => deletion.into = Some(into),
    }
    Ok(deletion)
}

/// Rows that could not be moved because others refer to them: some have been let go of since, if those went first.
async fn still_referred(cx: &Context, watch: &impl Watch, referred: &plan::Referred) -> Result<Applied> {
    let session = cx.session().await?;
    let plan::Referred { deletion, key } = referred;
    if watch.held(&session, deletion.oid).await?.is_some() {
        // They were to stay, which has been said.
        session.close().await;
        return Ok(Applied::Done);
    }
    let condition = format!("{} AND {}", deletion.due(), deletion.referenced(key));
    let sql = format!("SELECT pg_catalog.count(*) FROM {} WHERE {condition}", deletion.from());
    session.by_their_path().await?;
    let counted = session.query_one(&sql, &[deletion.cutoff.parameter()]).await;
    let left: i64 = match counted {
        Ok(row) => row.get(0),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            session.by_our_path().await?;
            return Ok(Applied::Locked(blockers::of_table(&session, deletion.oid).await?));
        }
        Err(error) => {
            if let Some(reason) = cx.stop.requested() {
                return Ok(Applied::Stopped(reason));
            }
            return Err(anyhow::Error::from(error).context("count the rows that others refer to"));
        }
    };
    session.close().await;
    if left == 0 {
        return Ok(Applied::Done);
    }
    Err(anyhow!("{}", referred.sentence(&plan::Count::Exactly(u64::try_from(left).unwrap_or_default()).to_string())))
}

/// The whole of a table that was locked when the plan was made. Every leaf has its turn, whatever came of the others.
async fn look_again(cx: &Context, settings: &Batch, watch: &impl Watch, wanted: &Wanted) -> Result<Applied> {
    let session = cx.session().await?;
    let facts = match survey::table(&session, cx, wanted, Depth::Due).await {
        Err(error) if ddl::is_locked(&error) => return Ok(Applied::Locked(who_locks(&session, &wanted.table).await?)),
        other => other?,
    };
    session.close().await;
    let plan = plan::decide(vec![facts]);
    plan.notes.iter().for_each(|note| cx.report.note(note));
    let (mut locked, mut failed, mut any) = (None, Vec::new(), false);
    for action in &plan.actions {
        let done = match action {
            Action::Delete(delete) => take(cx, settings, watch, delete).await,
            Action::Referred(referred) => still_referred(cx, watch, referred).await,
            Action::Refuse { why, .. } => Err(anyhow!("{why}")),
            Action::Wait { by, .. } => Ok(Applied::Locked(by.clone())),
        };
        match done {
            Ok(Applied::Done) => any = true,
            Ok(Applied::Partly(why)) => {
                any = true;
                failed.push(format!("{}: {why}", action.step().target));
            }
            Ok(Applied::Locked(by) | Applied::NotYet(by)) => locked = Some(by),
            Ok(stopped @ Applied::Stopped(_)) => return Ok(stopped),
            Err(error) => failed.push(format!("{}: {}", action.step().target, explain(&error))),
        }
    }
    match (failed.is_empty(), locked) {
        (false, _) if any => Ok(Applied::Partly(failed.join("; "))),
        (false, _) => Err(anyhow!("{}", failed.join("; "))),
        (true, Some(by)) => Ok(Applied::Locked(by)),
        (true, None) => Ok(Applied::Done),
    }
}

async fn who_locks(session: &Session, table: &TableName) -> Result<String> {
    let oid = catalog::relation(session, table).await?.map_or(0, |relation| relation.oid);
    blockers::of_table(session, oid).await
}

/// The run, as the batch engine sees it. What is counted goes under the name in the config, so that metrics do not grow
/// a label for each partition.
struct Run<'a, W> {
    cx: &'a Context,
    watch: &'a W,
    leaf: u32,
    table: String,
    counted: Counted,
    followers: &'a [Follower],
    /// Where the rows' objects are.
    store: Option<&'a Store>,
}

impl<W: Watch> batch::Host for Run<'_, W> {
    type Reason = StopReason;
    type Object = Located;

    fn held(&self, session: &Session) -> impl Future<Output = Result<Option<String>>> + Send {
        self.watch.held(session, self.leaf)
    }

    fn requested(&self) -> Option<StopReason> {
        self.cx.stop.requested()
    }

    fn pause(&self, length: Duration) -> impl Future<Output = Option<StopReason>> + Send {
        self.cx.pause(length)
    }

    fn deleted(&self, rows: u64, followers: &[u64]) {
        self.cx.report.count(self.counted, &self.table, rows);
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

    fn locate(&self, address: &str) -> Result<Located, String> {
        objects::located(self.store.ok_or_else(|| "there is no store".to_owned())?, address)
    }

    fn meant(&self, address: &str) -> Option<Located> {
        self.store?.locate(address).ok()
    }

    fn spelled(&self, object: &Located) -> Vec<String> {
        self.store.map_or_else(Vec::new, |store| store.spelled(object))
    }

    async fn remove(&self, all: &[Located]) -> Vec<Removed> {
        match self.store {
            Some(store) => objects::remove(self.cx, store, all).await,
            None => vec![Removed::Untried; all.len()],
        }
    }

    fn cleared(&self, deleted: u64, kept: u64, stayed: u64) {
        for (what, n) in [(Counted::ObjectsDeleted, deleted), (Counted::ObjectsFailed, stayed)] {
            if n > 0 {
                self.cx.report.count(what, &self.table, n);
            }
        }
        if kept > 0 {
            let mut report = self.cx.report.lock();
            let so_far = report.fields.get("objects_kept").and_then(serde_json::Value::as_u64).unwrap_or_default();
            report.fields.insert("objects_kept".into(), (so_far + kept).into());
        }
    }
}
