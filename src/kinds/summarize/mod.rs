//! `summarize`: counts the rows of whole days by group in a summary table, and deletes what it counted, as one.
//!
//! | step | where |
//! |---|---|
//! | the config's table | here |
//! | which days are whole and old | `day` |
//! | what the catalog says of the summary | `facts` |
//! | whether rows can be counted there, and how; pure | `plan` |
//! | which rows are due, batch by batch | `kinds::rows`, on `pg::batch` |

mod day;
mod facts;
mod plan;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use self::facts::Facts;
use super::rows::plan::{Action, Refusal};
use super::rows::{self, Time, Unwatched, Wanted, Words};
use super::{Applied, Context, Kind, Says, Word};
use crate::period::Period;
use crate::pg::batch::{Batch, Into};
use crate::pg::{Ident, Session, TableName};
use crate::run::{Counted, Finding, Plan, Step};

/// Counts the rows of whole days by group in a summary table, and deletes what it counted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summarize {
    /// The table whose rows are counted and deleted; of a partitioned one, each partition. Without a schema it is in `public`.
    pub table: TableName,
    /// The table that keeps the counts: one row for each day and group, with a unique key on `date` and `by`.
    #[schemars(with = "TableName")]
    pub into: Spanned<TableName>,
    /// Rows of days that are wholly older than this go; months and days are those of the calendar in the job's time zone.
    #[schemars(with = "Period")]
    pub older_than: Spanned<Period>,
    /// The column of `table` with the time of a row, of type `timestamptz`; or `timestamp`, read as the wall clock of the
    /// job's time zone; or `date`. NULL is never old.
    pub time: Ident,
    /// The column of `into` with the day, of type `date`.
    #[schemars(with = "Ident")]
    pub date: Spanned<Ident>,
    /// The columns that rows are grouped by besides, which have the same names and types in both tables.
    #[schemars(with = "Vec<Ident>")]
    pub by: Vec<Spanned<Ident>>,
    /// The column of `into` with the number of rows: `bigint`, `integer`, `smallint` or `numeric`.
    #[schemars(with = "Ident")]
    pub count: Spanned<Ident>,
    /// An SQL condition that a row must meet besides.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// How large the batches are, and how gentle.
    #[serde(default)]
    pub batch: Batch,
}

impl Kind for Summarize {
    type Action = Action;

    const TAKES_OLD: bool = true;
    const COUNTS: &[Counted] = &[Counted::RowsSummarized, Counted::LockTimeouts];

    fn tends(&self) -> Vec<&TableName> {
        vec![&self.table]
    }

    fn takes(&self) -> Vec<&TableName> {
        self.tends()
    }

    fn says(&self, zone: Tz) -> Vec<Word> {
        let (older_than, some) = (*self.older_than.get_ref(), self.condition.is_some());
        let says = Says::Counted { older_than, timezone: zone, some };
        vec![Word { by: String::new(), table: self.table.clone(), says }]
    }

    fn validate(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.batch.mistakes().into_iter().map(no_default).collect();
        if self.older_than.get_ref().is_zero() {
            let finding = Finding::error("older_than is nothing", "write it like \"90 days\"");
            found.push(finding.at(self.older_than.span()));
        }
        if *self.into.get_ref() == self.table {
            let message = format!("table and into are both {}", self.table.plain());
            found.push(Finding::error(message, "name the table of the counts with into").at(self.into.span()));
        }
        let mut seen = BTreeSet::from([self.date.get_ref()]);
        for column in self.by.iter().chain([&self.count]) {
            if !seen.insert(column.get_ref()) {
                let message = format!("column {} has two parts in the summary", column.get_ref());
                let mend = "date, each of by, and count are columns of their own";
                found.push(Finding::error(message, mend).at(column.span()));
            }
        }
        if self.condition.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
            found.push(Finding::error("where is empty", "write SQL, or leave the key out"));
        }
        found
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let wanted = self.wanted(&session, cx).await?;
        session.close().await;
        match wanted {
            Ok(wanted) => rows::plan(cx, &[wanted]).await,
            Err(refusal) => {
                let action = Action::Refuse { target: self.table.plain(), why: refusal.sentence() };
                Ok(Plan { actions: vec![action], ..Plan::default() })
            }
        }
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    fn label(&self, _: &Action) -> String {
        self.table.plain()
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        rows::apply(cx, &self.batch, &Unwatched, action).await
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let found = match self.wanted(&session, cx).await? {
            Err(Refusal { why, mend }) => vec![Finding::error(why, mend)],
            Ok(wanted) => rows::check::findings(&rows::check::look(&session, cx, &wanted).await?),
        };
        session.close().await;
        Ok(found)
    }
}

fn no_default(mistake: String) -> Finding {
    Finding::error(mistake, "leave it out for the default")
}

impl Summarize {
    /// Which rows are due, and how they are counted; or why they cannot be. Nothing is deleted without the latter being known.
    async fn wanted(&self, session: &Session, cx: &Context) -> Result<Result<Wanted, Refusal>> {
        let before = day::cutoff(cx.now, *self.older_than.get_ref(), cx.timezone)
            .context("older_than reaches back beyond the calendar")?;
        let mut wanted = Wanted {
            table: self.table.clone(),
            counted_as: self.table.plain(),
            time: Time::Column(self.time.clone()),
            condition: self.condition.clone(),
            before,
            zone: cx.timezone,
            words: Words::Counted,
            into: None,
            making: None,
            objects: None,
        };
        let log = match rows::survey::root(session, &wanted).await? {
            Ok(log) => log,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let facts = Facts::look(session, self, &log, before, cx.timezone).await?;
        Ok(plan::summary(self, &facts).map(|summary| {
            wanted.into = Some(Into::Summary(summary));
            wanted
        }))
    }

    /// `date`, then `by`.
    fn key(&self) -> impl Iterator<Item = &Ident> {
        std::iter::once(&self.date).chain(&self.by).map(Spanned::get_ref)
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
