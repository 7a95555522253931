//! The rows of a table as COPY writes them: a line each, the same whatever the session's or the database's settings are.

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, pin_mut};
use serde::{Deserialize, Serialize};

use super::content::{Content, Reader};
use crate::kinds::retention::partitions::facts::Going;
use crate::kinds::{Context, StopReason};
use crate::pg::ddl::Ddl;
use crate::pg::settings::OWN_PATH;
use crate::pg::{Ident, Session};

/// Whatever changes how a value is written. Row security off: hidden rows are an error, not a smaller export. A type of an
/// extension may have more settings; pg_dump knows no more of them than these.
pub const SETTINGS: &str = "SET LOCAL row_security = off; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; \
                            SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; \
                            SET LOCAL xmloption = 'content'; SET LOCAL synchronize_seqscans = off";

/// A column, as far as a table for the rows needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// As `format_type` writes it.
    #[serde(rename = "type")]
    pub sql_type: String,
    pub not_null: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// # Errors
/// The catalog cannot be read.
pub async fn columns(session: &Session, oid: u32) -> Result<Vec<Column>> {
    let rows = session.query(include_str!("columns.sql"), &[&oid]).await.context("look up its columns")?;
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get("name"),
        sql_type: row.get("type"),
        not_null: row.get("not_null"),
        collation: row.get("collation"),
    };
    Ok(rows.iter().map(column).collect())
}

/// `COPY (SELECT "id", … FROM ONLY …) TO STDOUT`
///
/// # Errors
/// A name is none.
fn statement(going: &Going, columns: &[Column]) -> Result<String> {
    let names = columns.iter().map(|column| Ok(Ident::found(column.name.as_str())?.to_string()));
    let names = names.collect::<Result<Vec<_>>>()?.join(", ");
    let only = if going.kind == 'p' { "" } else { "ONLY " };
    Ok(format!("COPY (SELECT {names} FROM {only}{}) TO STDOUT", going.leaf))
}

/// A transaction that reads the rows as its owner, in one snapshot. It ends with [`end`].
///
/// # Errors
/// What the server says.
pub async fn begin(
    session: &Session,
    going: &Going,
    columns: &[Column],
) -> Result<impl Stream<Item = Result<Bytes, tokio_postgres::Error>> + use<>> {
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL ROLE {}; SET LOCAL search_path TO {OWN_PATH}; {SETTINGS}",
        going.leaf_owner
    );
    session
        .batch_execute(&begin)
        .await
        .with_context(|| format!("begin to read it as its owner, {}", going.leaf_owner))?;
    session.copy_out(&statement(going, columns)?).await.context("read its rows")
}

/// # Errors
/// The connection is gone.
pub async fn end(session: &Session) -> Result<()> {
    session.batch_execute("ROLLBACK").await.context("end the reading")
}

/// What the table holds; or why the reading was ended before its end.
///
/// # Errors
/// It cannot be read.
pub async fn digest(
    cx: &Context,
    session: &Session,
    going: &Going,
    columns: &[Column],
) -> Result<Result<Content, StopReason>> {
    if self::columns(session, going.oid).await? != columns {
        // Another table by now: no content is the same.
        return Ok(Ok(Content { rows: u64::MAX, sum: super::content::Sum::default() }));
    }
    let rows = begin(session, going, columns).await?;
    let content = tokio::select! {
        content = whole(rows) => content?,
        // The session is not used again: what it was sent is not read to its end.
        reason = cx.stop.requested_at_last() => return Ok(Err(reason)),
    };
    end(session).await?;
    Ok(Ok(content))
}

/// The same within a transaction of schema changes, under its locks.
///
/// # Errors
/// It cannot be read.
pub async fn content(ddl: &Ddl<'_>, going: &Going, columns: &[Column]) -> Result<Content> {
    ddl.run(SETTINGS).await?;
    whole(ddl.copy_out(&statement(going, columns)?).await.context("read its rows")?).await
}

async fn whole(rows: impl Stream<Item = Result<Bytes, tokio_postgres::Error>>) -> Result<Content> {
    pin_mut!(rows);
    let mut reader = Reader::default();
    while let Some(bytes) = rows.next().await {
        reader.read(&bytes.context("read its rows")?);
    }
    reader.content().ok_or_else(|| anyhow!("its last row has no end"))
}
