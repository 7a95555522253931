//! `expire`: deletes rows whose own time is over, such as sessions past their `expires_at`.
//!
//! The rows go in small batches, oldest first, each batch locked before it is deleted: a session that is extended while the
//! job runs lives on. There is one cutoff a run, the database's time at its start less `grace`. Where rows stand for objects
//! in a store, each object goes before its row does.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::rows::objects::ObjectsOf;
use super::rows::{self, Action, Time, Unwatched, Wanted, Words};
use super::{Applied, Context, Kind, StoreUse};
use crate::period::Period;
use crate::pg::batch::Batch;
use crate::pg::{Ident, TableName};
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
    /// The objects in a store that rows stand for: each is deleted before its row is, and a row whose object cannot be
    /// deleted stays.
    pub objects: Option<ExpireObjects>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpireObjects {
    /// The column with the address of a row's object, of type `text` or `varchar`: `s3://bucket/key`, a URL of the store, or
    /// the key; NULL and '' for none.
    pub column: Ident,
    /// The store that the objects are in; no other is ever touched.
    pub store: String,
}

impl ExpireTable {
    /// What says when a row ends.
    ///
    /// # Errors
    /// `expires_at` is a name, so that there is none.
    fn time(&self) -> Result<Time> {
        Ok(match (&self.column, &self.expression) {
            (Some(column), _) => Time::Column(column.clone()),
            (None, Some(expression)) => Time::Expression(expression.clone()),
            (None, None) => Time::Column(Ident::new("expires_at")?),
        })
    }

    fn wanted(&self, now: DateTime<Utc>, zone: Tz) -> Result<Wanted> {
        Ok(Wanted {
            table: self.table.clone(),
            counted_as: self.table.plain(),
            time: self.time()?,
            condition: self.condition.clone(),
            before: self.grace.before(now, zone).context("grace reaches back beyond the calendar")?,
            zone,
            words: Words::Ended,
            into: None,
            making: None,
            objects: self.objects.as_ref().map(|of| ObjectsOf { column: of.column.clone(), store: of.store.clone() }),
        })
    }
}

impl Kind for Expire {
    type Action = Action;

    const TAKES_OLD: bool = true;
    const COUNTS: &[Counted] = &[Counted::RowsDeleted, Counted::LockTimeouts];

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
            let like = |other: &Spanned<ExpireTable>| other.get_ref().table == table.table;
            let of_others =
                self.tables.iter().filter(|other| like(other)).any(|other| other.get_ref().objects.is_some());
            if table.objects.is_none() && of_others {
                let message = format!("rows of {name} that go by this leave the objects behind that they stand for");
                found.push(Finding::warning(message, "give it objects too").at(entry.span()));
            }
            let mut mistake = |message: String, mend: &str| found.push(Finding::error(message, mend).at(entry.span()));
            for (key, sql) in [("expression", &table.expression), ("where", &table.condition)] {
                if sql.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
                    mistake(format!("{key} of {name} is empty"), "write SQL, or leave the key out");
                }
            }
            if seen.insert(format!("{} {:?} {:?}", table.table, table.time(), table.condition), ()).is_some() {
                mistake(
                    format!("{name} stands twice in expire.tables with the same time and where"),
                    "remove one of the two",
                );
            }
        }
        found
    }

    fn tends(&self) -> Vec<&TableName> {
        self.tables.iter().map(|entry| &entry.get_ref().table).collect()
    }

    fn takes(&self) -> Vec<&TableName> {
        self.tends()
    }

    fn stores(&self) -> Vec<StoreUse> {
        let use_of = |entry: &Spanned<ExpireTable>| {
            let store = entry.get_ref().objects.as_ref()?.store.clone();
            Some(StoreUse { store, span: entry.span(), deletes: true, foreign: true })
        };
        self.tables.iter().filter_map(use_of).collect()
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        rows::plan(cx, &self.wanted(cx)?).await
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    fn label(&self, action: &Action) -> String {
        action.label()
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        rows::apply(cx, &self.batch, &Unwatched, action).await
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let mut found = Vec::new();
        for (entry, wanted) in self.tables.iter().zip(self.wanted(cx)?) {
            let facts = rows::check::look(&session, cx, &wanted).await?;
            found.extend(rows::check::findings(&facts).into_iter().map(|finding| finding.at(entry.span())));
        }
        session.close().await;
        Ok(found)
    }
}

impl Expire {
    fn wanted(&self, cx: &Context) -> Result<Vec<Wanted>> {
        self.tables.iter().map(|entry| entry.get_ref().wanted(cx.now, cx.timezone)).collect()
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
        check("tables = [{ table = 's', objects = { column = 'a', store = 'b' } }]", "");
        check(
            "tables = [{ table = 's', objects = { column = 'a', store = 'b' } }, { table = 's', where = 'c' }]",
            "rows of public.s that go by this leave the objects behind",
        );
        check("tables = [{ table = 's', objects = { column = 'a' } }]", "missing field `store`");
        check("tables = [{ table = 's', objects = { store = 'a', key = 'b' } }]", "unknown field `key`");
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
        for key in [
            "tables",
            "column",
            "expression",
            "grace",
            "where",
            "objects",
            "store",
            "batch",
            "rows",
            "target",
            "pause",
            "max_replica_lag",
        ] {
            assert!(schema.contains(&format!("\"{key}\":")), "{key} is not in {schema}");
        }
    }
}
