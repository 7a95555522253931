//! Whether all is there: rows against the manifest, and the questions of the config.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::kinds::backup::counts::{Rows, rows_of, tables};
use crate::pg::explain;

/// So many differences are told.
const TOLD: usize = 10;

/// Counts each table of the manifest; the answer is what differs, in words.
///
/// # Errors
/// The server does not answer.
pub async fn rows(client: &Client, dumped: &Rows) -> Result<Vec<String>> {
    let there: BTreeMap<String, _> = tables(client).await?.into_iter().map(|table| (table.plain(), table)).collect();
    let mut differ = Vec::new();
    for (name, dumped) in dumped {
        match there.get(name) {
            None => differ.push(format!("table {name} is not there, and had {dumped} rows")),
            Some(table) => {
                let restored = rows_of(client, table).await?;
                if restored != *dumped {
                    differ.push(format!("table {name} has {restored} rows, and {dumped} were dumped"));
                }
            }
        }
    }
    let more = differ.len().saturating_sub(TOLD);
    differ.truncate(TOLD);
    if more > 0 {
        differ.push(format!("and {more} more tables differ"));
    }
    Ok(differ)
}

/// Asks each question; the answer is which did not give true, and what they gave.
pub async fn queries(client: &Client, queries: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, query) in (1..).zip(queries) {
        if let Err(why) = holds(client, query).await {
            let words: Vec<&str> = query.split_whitespace().collect();
            wrong.push(format!("query {n} {why}: {}", words.join(" ")));
        }
    }
    wrong
}

/// One row with one boolean column that is true.
async fn holds(client: &Client, query: &str) -> Result<(), String> {
    let failed = |error: tokio_postgres::Error| format!("failed ({})", explain(&error.into()));
    let prepared = client.prepare(query).await.map_err(failed)?;
    match prepared.columns() {
        [one] if *one.type_() == Type::BOOL => {}
        [one] => return Err(format!("gives {}, and must give a boolean", one.type_())),
        columns => return Err(format!("gives {} columns, and must give one, a boolean", columns.len())),
    }
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw(&prepared, none).await.map_err(failed)?;
    pin_mut!(rows);
    let Some(row) = rows.try_next().await.map_err(failed)? else { return Err("gives no row".into()) };
    if rows.try_next().await.map_err(failed)?.is_some() {
        return Err("gives more than one row".into());
    }
    match row.get::<_, Option<bool>>(0) {
        Some(true) => Ok(()),
        Some(false) => Err("is false".into()),
        None => Err("is NULL".into()),
    }
}
