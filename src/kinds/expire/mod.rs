//! `expire`: deletes rows whose own time is over, such as sessions past their `expires_at`.
//!
//! The rows go in small batches, oldest first, each batch locked before it is deleted: a session that is extended while the
//! job runs lives on. There is one cutoff a run, the database's time at its start less `grace`.

mod check;
pub mod plan;
mod survey;

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_postgres::error::SqlState;
use toml::Spanned;

use self::plan::{Action, Follower, TableFacts};
use super::{Applied, Context, Kind, StopReason};
use crate::period::Period;
use crate::pg::batch::{self, Batch};
use crate::pg::{Ident, Session, TableName, blockers, catalog, explain};
use crate::run::{Counted, Finding, Plan, Step};

/// Deletes rows whose time is over.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expire {
    /// The tables, each with what says when a row ends.
    #[schemars(with = "Vec<ExpireTable>")]
    pub tables: Vec<Spanned<ExpireTable>>,
    /// How large the batches are, and how gentle.
    #[serde(default)]
    pub batch: Batch,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpireTable {
    /// A table; of a partitioned one, each partition. Without a schema it is in `public`.
    pub table: TableName,
    /// The column with the time a row ends at: `timestamptz`; or `timestamp`, read as the wall clock of the job's time
    /// zone; or `date`, which ends at the start of that day in the zone. NULL never ends. Default: `expires_at`.
    pub column: Option<Ident>,
    /// Instead of `column`: an SQL expression of one of those types, such as `created_at + ttl * interval '1 second'`.
    pub expression: Option<String>,
    /// How long a row stays after its end; months and days are those of the calendar in the job's time zone.
    #[serde(default)]
    pub grace: Period,
    /// An SQL condition that a row must meet besides.
    #[serde(rename = "where")]
    pub condition: Option<String>,
}

impl ExpireTable {
    /// The column, where it is one.
    fn time_column(&self) -> Option<Ident> {
        match (&self.column, &self.expression) {
            (Some(column), _) => Some(column.clone()),
            (None, Some(_)) => None,
            (None, None) => Ident::new("expires_at").ok(),
        }
    }

    /// The SQL of the time a row ends at.
    fn time(&self) -> String {
        match (self.time_column(), &self.expression) {
            (Some(column), _) => column.to_string(),
            (None, expression) => batch::parenthesized(expression.as_deref().unwrap_or_default()),
        }
    }
}

impl Kind for Expire {
    type Action = Action;

    fn validate(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.tables.is_empty() {
            found.push(Finding::error("expire.tables is empty", "name at least one: { table = \"public.sessions\" }"));
        }
        found.extend(
            self.batch.mistakes().into_iter().map(|mistake| Finding::error(mistake, "leave it out for the default")),
        );
        let mut seen: BTreeMap<String, ()> = BTreeMap::new();
        for entry in &self.tables {
            let (table, name) = (entry.get_ref(), entry.get_ref().table.plain());
            let mut mistake = |message: String, mend: &str| found.push(Finding::error(message, mend).at(entry.span()));
            if table.column.is_some() && table.expression.is_some() {
                mistake(format!("{name} has both column and expression"), "keep the one that says when a row ends");
            }
            for (key, sql) in [("expression", &table.expression), ("where", &table.condition)] {
                if sql.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
                    mistake(format!("{key} of {name} is empty"), "write SQL, or leave the key out");
                }
            }
            if seen.insert(format!("{} {} {:?}", table.table, table.time(), table.condition), ()).is_some() {
                mistake(
                    format!("{name} stands twice in expire.tables with the same time and where"),
                    "remove one of the two",
                );
            }
        }
        found
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let mut tables = Vec::with_capacity(self.tables.len());
        for entry in &self.tables {
            let table = entry.get_ref();
            match survey::table(&session, cx, table, survey::Depth::Due).await {
                Ok(facts) => tables.push(facts),
                Err(error) if is_locked(&error) => {
                    tables.push(TableFacts::locked(&table.table, who_locks(&session, &table.table).await?));
                }
                // One table that cannot be looked at spoils no other; without a connection there are no others.
                Err(error) if session.is_closed() || cx.stop.requested().is_some() => return Err(error),
                Err(error) => tables.push(TableFacts::refused(&table.table, explain(&error), "")),
            }
        }
        session.close().await;
        Ok(plan::decide(tables))
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    /// The table of the config, however many leaves it has.
    fn label(&self, action: &Action) -> String {
        match action {
            Action::Delete(delete) => delete.table.plain(),
            Action::Wait { table, .. } => table.plain(),
            Action::Refuse { target, .. } => target.clone(),
        }
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            Action::Refuse { why, .. } => Err(anyhow!("{why}")),
            Action::Delete(delete) => self.delete(cx, delete).await,
            Action::Wait { table, .. } => self.look_again(cx, table).await,
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let mut found = Vec::new();
        for entry in &self.tables {
            let table = entry.get_ref();
            let facts = match survey::table(&session, cx, table, survey::Depth::Nulls).await {
                Ok(facts) => facts,
                Err(error) if session.is_closed() => return Err(error),
                Err(error) => TableFacts::refused(&table.table, explain(&error), "see what PostgreSQL says"),
            };
            found.extend(check::findings(table, &facts).into_iter().map(|finding| finding.at(entry.span())));
        }
        session.close().await;
        Ok(found)
    }
}

impl Expire {
    async fn delete(&self, cx: &Context, delete: &plan::Delete) -> Result<Applied> {
        let host = Run { cx, table: delete.table.plain(), followers: &delete.followers };
        Ok(match batch::delete(&host, &cx.pg, &delete.deletion, &self.batch, &delete.progress).await? {
            batch::Ended::Done => Applied::Done,
            batch::Ended::Locked(by) => Applied::Locked(by),
            batch::Ended::Stopped(reason) => Applied::Stopped(reason),
        })
    }

    /// The whole of a table that was locked when the plan was made. Every leaf has its turn, whatever came of the others.
    async fn look_again(&self, cx: &Context, table: &TableName) -> Result<Applied> {
        let session = cx.session().await?;
        let mut facts = Vec::new();
        for entry in self.tables.iter().map(Spanned::get_ref).filter(|entry| entry.table == *table) {
            match survey::table(&session, cx, entry, survey::Depth::Due).await {
                Err(error) if is_locked(&error) => return Ok(Applied::Locked(who_locks(&session, table).await?)),
                other => facts.push(other?),
            }
        }
        session.close().await;
        let plan = plan::decide(facts);
        for note in plan.notes.iter().filter(|note| note.action == "warn") {
            cx.report.warn(format!("{}: {}", note.target, note.reason));
        }
        let (mut locked, mut failed) = (None, Vec::new());
        for action in &plan.actions {
            let done = match action {
                Action::Delete(delete) => self.delete(cx, delete).await,
                Action::Refuse { why, .. } => Err(anyhow!("{why}")),
                Action::Wait { by, .. } => Ok(Applied::Locked(by.clone())),
            };
            match done {
                Ok(Applied::Done) => {}
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

    fn pause(&self, length: std::time::Duration) -> impl Future<Output = Option<StopReason>> + Send {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a config: the parser's words, or the findings of `validate`.
    fn check(config: &str, expect: &str) {
        let said = match toml::from_str::<Expire>(config) {
            Err(error) => error.message().to_owned(),
            Ok(kind) => {
                kind.validate().iter().map(|f| format!("{} {}", f.message, f.mend)).collect::<Vec<_>>().join("\n")
            }
        };
        assert!(
            if expect.is_empty() { said.is_empty() } else { said.contains(expect) },
            "{said:?} does not say {expect:?}"
        );
    }

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        check("tables = [{ table = 'sessions' }]", "");
        check("tables = [{ table = 's', where = 'a' }, { table = 's', where = 'b' }]", "");
        check("tables = []", "expire.tables is empty");
        check("tables = [{ table = 's' }, { table = 'public.S' }]", "public.s stands twice");
        check("tables = [{ table = 's', column = 'a', expression = 'b' }]", "both column and expression");
        check("tables = [{ table = 's', where = ' ' }]", "where of public.s is empty");
        check("tables = [{ table = 's', objects = {} }]", "unknown field `objects`");
        check("tables = [{ table = 's', grace = 3 }]", "has no unit");
        check("tables = [{ table = 's' }]\nbatch = { rows = 0 }", "batch.rows must be between");
        check("tables = [{ table = 's' }]\nbatch = { target = '1h' }", "batch.target must be between");
    }

    #[test]
    fn a_finding_knows_where_its_table_stands() {
        let config = "tables = [{ table = 'a' },\n  { table = 'b', where = '' }]";
        let found = toml::from_str::<Expire>(config).unwrap().validate();
        assert_eq!(&config[found[0].span.clone().unwrap()], "{ table = 'b', where = '' }");
    }

    #[test]
    fn editors_are_told_of_every_key() {
        let schema = serde_json::to_string(&schemars::schema_for!(Expire)).unwrap();
        for key in
            ["tables", "column", "expression", "grace", "where", "batch", "rows", "target", "pause", "max_replica_lag"]
        {
            assert!(schema.contains(&format!("\"{key}\":")), "{key} is not in {schema}");
        }
    }
}
