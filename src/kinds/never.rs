//! Tables of which nothing may go, whatever a job says: `never` of a database in the config.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use crate::pg::{Pattern, Session, TableName, catalog};
use crate::run::{Finding, Refusal};

/// Why nothing is taken from `table`; `by` is the constraint that would take rows of it along.
pub fn refusal(pattern: &Pattern, table: &TableName, by: Option<(&TableName, &str)>) -> Refusal {
    let why = match by {
        None => format!("{} is one of the tables of which nothing may go", table.plain()),
        Some((parent, constraint)) => format!(
            "rows of {} would go or change with those of {} (constraint {constraint}), and nothing of it may",
            table.plain(),
            parent.plain(),
        ),
    };
    Refusal::new(
        format!("{why}: the database's never has {pattern}"),
        "take it out of the job; or out of never, if that is meant",
    )
}

/// Whether taking rows or partitions from a table would take them from one of which nothing may go: itself, a partition of
/// it, a table that it is a partition of; where its rows are deleted, also one whose foreign key takes rows along.
///
/// # Errors
/// The catalog cannot be read.
pub async fn refuse(session: &Session, table: &TableName, oid: u32, deletes: bool) -> Result<Option<Refusal>> {
    if session.never.is_empty() {
        return Ok(None);
    }
    let rows = session
        .query(include_str!("never.sql"), &[&oid, &deletes])
        .await
        .with_context(|| format!("look up what goes with rows of {}", table.plain()))?;
    for row in rows {
        let touched = TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?;
        if let Some(pattern) = session.never.iter().find(|pattern| pattern.matches(&touched)) {
            let by: Option<String> = row.get(2);
            let by = by.as_deref().map(|constraint| (table, constraint));
            return Ok(Some(refusal(pattern, &touched, by)));
        }
    }
    Ok(None)
}

/// Names among them that no table has: they keep nothing.
///
/// # Errors
/// The catalog cannot be read.
pub async fn unknown(client: &Client, never: &[Pattern]) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for table in never.iter().filter_map(|pattern| pattern.exact.as_ref()) {
        if catalog::relation(client, table).await?.is_none() {
            let why = format!("never names {}, and there is no such table", table.plain());
            found.push(Finding::warning(why, "correct the name: what is not named right is not kept from jobs"));
        }
    }
    Ok(found)
}
