//! Whether default partitions have rows, and how many: the only questions that are asked of tables and not of
//! the catalog. Each is over within a second, whatever the table's size and whoever has it locked.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::facts::{DefaultPartition, TableFacts};
use super::survey::Parent;
use crate::pg::{Ident, Session, TableName, words};

/// So long may a look at one table take.
const PATIENCE_MS: u32 = 1_000;
/// Rows beyond these are not counted one by one.
pub const MOST: u64 = 100_000;

/// A number of rows, as well as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Exactly(u64),
    /// More than [`MOST`]; about so many by the planner's statistics.
    About(u64),
}

impl Count {
    pub const fn number(self) -> u64 {
        match self {
            Count::Exactly(n) | Count::About(n) => n,
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Count::Exactly(1) => f.write_str("1 row"),
            Count::Exactly(n) => write!(f, "{n} rows"),
            Count::About(n) => write!(f, "about {n} rows"),
        }
    }
}

/// Fills in which default partitions have rows. Empty files are seen in one query; a table with something
/// in its file is asked by itself, since that may be dead rows.
pub(super) async fn look(session: &Session, parents: &mut [&mut Parent]) -> Result<()> {
    let oids: Vec<u32> = parents.iter().filter_map(|parent| Some(parent.facts.default.as_ref()?.oid)).collect();
    if oids.is_empty() {
        return Ok(());
    }
    let sizes = sizes(session, &oids).await?;
    let is_empty = |oid: u32| sizes.get(&oid) == Some(&0);
    for parent in parents {
        let facts = &mut parent.facts;
        if let Some(default) = &mut facts.default {
            default.has_rows = if is_empty(default.oid) {
                Some(false)
            } else {
                exists(session, &facts.owner, &from(&default.name, !default.is_parent)).await?
            };
        }
    }
    Ok(())
}

/// The rows of a default partition; nothing where neither it nor the statistics can say.
///
/// # Errors
/// The connection is gone.
pub async fn count(session: &Session, facts: &TableFacts, default: &DefaultPartition) -> Result<Option<Count>> {
    if default.has_rows == Some(false) {
        return Ok(Some(Count::Exactly(0)));
    }
    let from = from(&default.name, !default.is_parent);
    let sql = format!("SELECT count(*) FROM (SELECT FROM {from} LIMIT {}) AS found", MOST + 1);
    let counted = bounded(session, &facts.owner, &sql).await?.map(|row| row.get::<_, i64>(0).unsigned_abs());
    if let Some(n) = counted.filter(|n| *n <= MOST) {
        return Ok(Some(Count::Exactly(n)));
    }
    let sql = format!(
        "SELECT sum(c.reltuples) FILTER (WHERE c.reltuples > 0)::float8
         FROM pg_catalog.pg_partition_tree({}::oid::regclass) t JOIN pg_catalog.pg_class c ON c.oid = t.relid
         WHERE t.isleaf",
        default.oid
    );
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, and not negative")]
    let estimate =
        bounded(session, &facts.owner, &sql).await?.and_then(|row| row.get::<_, Option<f64>>(0)).map(|n| n as u64);
    // What was counted is a floor under what the statistics say.
    Ok(estimate.into_iter().chain(counted).max().map(Count::About))
}

/// The sizes of files, for those that are files; of none where one of them is locked.
async fn sizes(session: &Session, oids: &[u32]) -> Result<HashMap<u32, i64>> {
    let rows = session
        .query(
            "SELECT c.oid, pg_catalog.pg_relation_size(c.oid)
             FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[]) AND c.relkind = 'r'",
            &[&oids],
        )
        .await;
    match rows {
        Ok(rows) => Ok(rows.iter().filter_map(|row| Some((row.get(0), row.get::<_, Option<i64>>(1)?))).collect()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(HashMap::new()),
        Err(error) => Err(error).context("look up the sizes of default partitions"),
    }
}

/// A partitioned table has no rows but those of its partitions; `only` is for any other.
fn from(table: &TableName, only: bool) -> String {
    if only { format!("ONLY {table}") } else { table.to_string() }
}

async fn exists(session: &Session, owner: &Ident, from: &str) -> Result<Option<bool>> {
    let row = bounded(session, owner, &format!("SELECT EXISTS (SELECT FROM {from})")).await?;
    Ok(row.map(|row| row.get(0)))
}

/// One row of an answer, read as the owner of the table where that is allowed; nothing if it took too long, waited for a
/// lock, or may not be read.
async fn bounded(session: &Session, owner: &Ident, sql: &str) -> Result<Option<Row>> {
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {PATIENCE_MS}");
    let as_owner = session.batch_execute(&format!("{begin}; SET LOCAL ROLE {owner}")).await;
    let answer = match as_owner {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            session.batch_execute(&format!("ROLLBACK; {begin}")).await?;
            session.query_one(sql, &[]).await
        }
        Err(error) => Err(error),
        Ok(()) => session.query_one(sql, &[]).await,
    };
    // Not needed on a connection that is gone, whose error is the one to tell.
    let _ = session.batch_execute("ROLLBACK").await;
    match answer {
        Ok(row) => Ok(Some(row)),
        Err(error) if error.as_db_error().is_none() || session.is_closed() => Err(error.into()),
        Err(error) => {
            tracing::debug!("{sql}: {}", words::said(&error));
            Ok(None)
        }
    }
}
