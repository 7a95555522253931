//! How many rows each table has in the very snapshot that is dumped: what a restore can be held against, row for row,
//! however much is written meanwhile.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use anyhow::{Context as _, Result};
use futures_util::future::{self, Either};
use tokio_postgres::Client;

use super::check::takes;
use super::company;
use super::config::Backup;
use super::survey::Names;
use crate::kinds::Context;
use crate::pg::settings::milliseconds;
use crate::pg::{Session, TableName, explain};

/// Rows by table, as people write its name.
pub type Rows = BTreeMap<String, u64>;

/// So many tables are locked by one statement.
const AT_ONCE: usize = 500;

/// A snapshot that others can take, for as long as this lasts.
pub struct Counting {
    session: Session,
    /// What `pg_dump --snapshot` is given.
    pub snapshot: String,
    tables: Vec<TableName>,
}

/// Takes the snapshot, and the locks that `pg_dump` takes too: a TRUNCATE would show through any snapshot.
///
/// # Errors
/// A table is locked for too long, or may not be read; a dump would fail at it as well.
pub async fn begin(backup: &Backup, cx: &Context, names: &Names) -> Result<Counting> {
    let session = cx.session().await?;
    // It waits for as long as the dump takes.
    let beginning = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0; \
         SET LOCAL lock_timeout = {}",
        milliseconds(backup.lock_wait.0).max(1)
    );
    session.batch_execute(&beginning).await.context("begin to count rows")?;
    let snapshot = session.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await.context("take a snapshot")?;
    let mut tables = tables(&session).await?;
    tables.retain(|table| takes(backup, names, table) && !names.exclude_table_data.contains(table));
    for some in tables.chunks(AT_ONCE) {
        let names: Vec<String> = some.iter().map(|table| format!("ONLY {table}")).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        session.batch_execute(&sql).await.context("lock the tables whose rows are counted (`row_counts`)")?;
    }
    Ok(Counting { session, snapshot: snapshot.get(0), tables })
}

/// The tables of a database that can have rows of a dump.
///
/// # Errors
/// The server does not answer.
pub async fn tables(client: &Client) -> Result<Vec<TableName>> {
    let rows = client.query(include_str!("counts.sql"), &[]).await.context("look which tables there are")?;
    rows.iter().map(|row| Ok(TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?)).collect()
}

/// Of the table itself, not of those that inherit from it: they are counted by their own names.
///
/// # Errors
/// It cannot be read.
pub async fn rows_of(client: &Client, table: &TableName) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM ONLY {table}");
    let row = client.query_one(&sql, &[]).await.with_context(|| format!("count the rows of {}", table.plain()))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
}

impl Counting {
    async fn rows(&self) -> Result<Rows> {
        let mut rows = Rows::new();
        for table in &self.tables {
            rows.insert(table.plain(), rows_of(&self.session, table).await?);
        }
        Ok(rows)
    }
}

/// Counts while the dump is made, and keeps the snapshot until it has ended. A dump whose rows could not be counted is a
/// backup all the same.
///
/// # Errors
/// Those of the dump.
pub async fn beside<T>(
    counting: Option<Counting>,
    cx: &Context,
    dumping: impl Future<Output = Result<T>>,
) -> Result<(T, Option<Rows>)> {
    let Some(counting) = counting else { return Ok((dumping.await?, None)) };
    let (dumped, rows) = match future::select(pin!(counting.rows()), pin!(dumping)).await {
        Either::Left((rows, dumping)) => {
            let awake = async {
                company::keep_awake(&counting.session).await;
                // Lost: where the dump has its snapshot already, it does not mind.
                future::pending().await
            };
            let dumped = tokio::select! {
                dumped = dumping => dumped?,
                never = awake => match never {},
            };
            (dumped, rows)
        }
        Either::Right((dumped, rows)) => {
            let dumped = dumped?;
            cx.report.lock().progress = Some("counting rows".into());
            (dumped, rows.await)
        }
    };
    counting.session.close().await;
    match rows {
        Ok(rows) => Ok((dumped, Some(rows))),
        Err(error) => {
            cx.report
                .warn(format!("the backup has no row counts, so a restore_test can compare none: {}", explain(&error)));
            Ok((dumped, None))
        }
    }
}
