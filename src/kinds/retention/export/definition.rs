//! `table.sql`: the statement that makes a table for the rows of an export, for psql.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::copy::Column;
use crate::kinds::retention::partitions::facts::Going;
use crate::pg::{Ident, Session};

/// What constrains the rows of the table by itself: keys and checks, not references.
///
/// # Errors
/// The catalog cannot be read.
pub async fn constraints(session: &Session, going: &Going) -> Result<Vec<String>> {
    let rows = session.query(include_str!("definition.sql"), &[&going.oid]).await.context("look up its constraints")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The statement, with the words that say what it is for. Generated columns and identities are plain ones: their values are
/// in the rows.
///
/// # Errors
/// A name is none.
pub fn written(going: &Going, columns: &[Column], constraints: &[String], rows_object: &str) -> Result<String> {
    let mut lines = Vec::new();
    let mut names = Vec::new();
    for column in columns {
        let name = Ident::found(column.name.as_str())?.to_string();
        let mut line = format!("    {name} {}", column.sql_type);
        if let Some(collation) = &column.collation {
            let _ = write!(line, " COLLATE {collation}");
        }
        if column.not_null {
            line += " NOT NULL";
        }
        lines.push(line);
        names.push(name);
    }
    lines.extend(constraints.iter().map(|constraint| format!("    {constraint}")));
    let leaf = &going.leaf;
    // A name may hold a line break, after which the rest of it would be SQL.
    let comment = |text: &str| text.replace(['\n', '\r'], " ");
    Ok(format!(
        "-- {}: was a partition of {} {}\n\
         -- Its rows: unpack {rows_object}, then in psql, in a database with the types it uses:\n\
         --   \\copy {} ({}) FROM 'rows.copy'\n\
         CREATE TABLE {leaf} (\n{}\n);\n",
        comment(&leaf.plain()),
        comment(&going.table.plain()),
        comment(&going.bound),
        comment(&leaf.to_string()),
        comment(&names.join(", ")),
        lines.join(",\n"),
    ))
}
