//! What the catalog says of the summary, and the server of the zone. Reads only.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Months, NaiveDateTime, Utc};
use chrono_tz::Tz;
use tokio_postgres::error::SqlState;

use super::Summarize;
use crate::pg::catalog::{self, Relation};
use crate::pg::{Ident, Session, TableName};

/// What is to be known before a row is counted.
#[derive(Debug, Clone)]
pub struct Facts {
    pub role: Ident,
    /// The columns that the table to be counted has of those that are needed, with their types.
    pub log: Vec<(Ident, String)>,
    /// The leaves of the table to be counted.
    pub leaves: Vec<u32>,
    /// Nothing where there is no such table.
    pub into: Option<Relation>,
    /// Tables whose name is that of `into` in other letters, or in another schema.
    pub alike: Vec<TableName>,
    pub may_select: bool,
    /// A table of the summary whose rows a crash of the server would take, where it would not take those of the log.
    pub unlogged: Option<String>,
    /// Whether triggers may change, or keep back, what is written to the summary.
    pub guarded: bool,
    pub columns: Vec<Column>,
    pub unique: Vec<Unique>,
    pub zone: Tz,
    pub clocks: Clocks,
}

/// A column of the summary.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone)]
pub struct Column {
    pub name: Ident,
    pub type_name: String,
    /// `pg_type.typname`, where it is a type of PostgreSQL's own.
    pub base: String,
    pub modifier: i32,
    pub not_null: bool,
    pub has_default: bool,
    /// Whether it cannot be written to.
    pub generated: bool,
    pub may_insert: bool,
    pub may_update: bool,
    /// Of the column of that name in the table that is counted.
    pub other_type: Option<String>,
    pub same_type: bool,
    pub same_collation: bool,
    /// Sequences of its default that the role may not use, as SQL.
    pub unusable_sequences: Vec<String>,
}

/// A unique index of the summary.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone)]
pub struct Unique {
    pub name: String,
    /// In the order of the index; empty where it is an expression.
    pub columns: Vec<String>,
    pub partial: bool,
    pub immediate: bool,
    pub valid: bool,
    pub nulls_alike: bool,
    pub other_collation: bool,
}

/// Whether the server's days are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clocks {
    Same,
    /// The server does not know the zone.
    Unknown,
    Different {
        at: DateTime<Utc>,
        ours: NaiveDateTime,
        theirs: NaiveDateTime,
    },
}

impl Facts {
    /// # Errors
    /// The catalog cannot be read.
    pub async fn look(
        session: &Session,
        kind: &Summarize,
        log: &Relation,
        before: DateTime<Utc>,
        zone: Tz,
    ) -> Result<Self> {
        let name = kind.into.get_ref();
        let into = catalog::relation(session, name).await?;
        let oid = into.as_ref().map_or(0, |into| into.oid);
        let context = || format!("look up {}", name.plain());
        let may_select = session
            .query_one("SELECT coalesce(pg_catalog.has_table_privilege($1::oid, 'SELECT'), false)", &[&oid])
            .await
            .with_context(context)?
            .get(0);
        let tables =
            session.query_one(include_str!("facts_tables.sql"), &[&oid, &log.oid]).await.with_context(context)?;
        let columns = session.query(include_str!("facts.sql"), &[&oid, &log.oid]).await.with_context(context)?;
        let unique = session.query(include_str!("facts_unique.sql"), &[&oid]).await.with_context(context)?;
        let types = session
            .query(
                "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
                 WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped",
                &[&log.oid],
            )
            .await
            .with_context(context)?;
        Ok(Self {
            role: log.role.clone(),
            log: types
                .iter()
                .map(|row| Ok((Ident::found(row.get::<_, String>(0))?, row.get(1))))
                .collect::<Result<_>>()?,
            leaves: catalog::leaves(session, log.oid).await?.into_iter().map(|leaf| leaf.oid).collect(),
            alike: if into.is_none() { catalog::like_named(session, name).await? } else { Vec::new() },
            into,
            may_select,
            unlogged: tables.get("unlogged"),
            guarded: tables.get("guarded"),
            columns: columns.iter().map(column).collect::<Result<_>>()?,
            unique: unique
                .iter()
                .map(|row| Unique {
                    name: row.get("name"),
                    columns: row.get("columns"),
                    partial: row.get("partial"),
                    immediate: row.get("immediate"),
                    valid: row.get("valid"),
                    nulls_alike: row.get("nulls_alike"),
                    other_collation: row.get("other_collation"),
                })
                .collect(),
            zone,
            clocks: clocks(session, before, zone).await?,
        })
    }
}

fn column(row: &tokio_postgres::Row) -> Result<Column> {
    Ok(Column {
        name: Ident::found(row.get::<_, String>("name"))?,
        type_name: row.get("type"),
        base: row.get("base"),
        modifier: row.get("modifier"),
        not_null: row.get("not_null"),
        has_default: row.get("has_default"),
        generated: row.get("generated"),
        may_insert: row.get("may_insert"),
        may_update: row.get("may_update"),
        other_type: row.get("other_type"),
        same_type: row.get::<_, Option<bool>>("same_type").unwrap_or_default(),
        same_collation: row.get::<_, Option<bool>>("same_collation").unwrap_or_default(),
        unusable_sequences: row.get("unusable_sequences"),
    })
}

/// Holds the server's clock in the zone against ours, at the cutoff and in each of the 24 months before it. The server may
/// take the zone's name for something else (`CET` is an hour from UTC to it, in summer too), or know other rules.
async fn clocks(session: &Session, before: DateTime<Utc>, zone: Tz) -> Result<Clocks> {
    let instants: Vec<_> = (0..=24).filter_map(|n| before.checked_sub_months(Months::new(n))).collect();
    let shown = session
        .query_one(
            "SELECT ARRAY(SELECT p.at AT TIME ZONE $2::text FROM unnest($1::timestamptz[]) WITH ORDINALITY AS p(at, n) ORDER BY n)",
            &[&instants, &zone.name()],
        )
        .await;
    let theirs: Vec<NaiveDateTime> = match shown {
        Ok(row) => row.get(0),
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => return Ok(Clocks::Unknown),
        Err(error) => return Err(error).with_context(|| format!("ask the server for the time in {zone}")),
    };
    let differs = instants.into_iter().zip(theirs).find_map(|(at, theirs)| {
        let ours = at.with_timezone(&zone).naive_local();
        (ours != theirs).then_some(Clocks::Different { at, ours, theirs })
    });
    Ok(differs.unwrap_or(Clocks::Same))
}
