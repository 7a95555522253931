//! Questions that are asked of the tables themselves, not of the catalog: which rows refer to a partition, and how new its
//! newest row is. Each is over in the time it is given, and waits for no lock longer than the session does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::facts::{Newest, Referring};
use crate::kinds::rows::plan::cutoff as time_cutoff;
use crate::pg::batch::Cutoff;
use crate::pg::catalog::Reference;
use crate::pg::{Ident, Session, TableName, explain};

/// For a plan, in which many are asked one after the other.
pub const GLANCE: Duration = Duration::from_secs(2);
/// For what has to be known before something goes.
pub const LOOK: Duration = Duration::from_secs(60);

/// Rows that refer to `leaf` by one of `keys` and lie in none of the tables `except`. What could not be counted in time is
/// left out: DETACH sees for itself.
///
/// # Errors
/// The connection is gone.
pub async fn referring(
    session: &Session,
    owner: &Ident,
    leaf: &TableName,
    keys: &[Reference],
    except: &[u32],
    patience: Duration,
) -> Result<Vec<Referring>> {
    let mut found = Vec::new();
    for key in keys {
        let pairs = key.columns.iter().zip(&key.referenced).zip(&key.operators);
        let same: Vec<_> = pairs.map(|((theirs, ours), operator)| format!("p.{ours} {operator} c.{theirs}")).collect();
        let sql = format!(
            "SELECT count(*) FROM (SELECT FROM {} AS c JOIN {leaf} AS p ON {} WHERE c.tableoid <> ALL ($1::oid[]) LIMIT {}) AS found",
            key.table,
            same.join(" AND "),
            Referring::MOST + 1,
        );
        match bounded(session, owner, &sql, &[&except], patience).await? {
            Ok(row) => {
                let rows = row.get::<_, i64>(0).unsigned_abs();
                if rows > 0 {
                    found.push(Referring { table: key.table.clone(), constraint: key.constraint.clone(), rows });
                }
            }
            Err(why) => tracing::debug!("rows of {} that refer to {leaf} were not counted: {why}", key.table),
        }
    }
    Ok(found)
}

/// How many rows of `leaf` have no time, by the SQL of their time; up to one more than [`Referring::MOST`], and nothing where
/// they could not be counted.
///
/// # Errors
/// The connection is gone.
pub async fn timeless(session: &Session, owner: &Ident, leaf: &TableName, time: &str) -> Result<Option<u64>> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT FROM {leaf} WHERE {time} IS NULL LIMIT {}) AS found",
        Referring::MOST + 1
    );
    let row = bounded(session, owner, &sql, &[], GLANCE).await?;
    Ok(row.ok().map(|row| row.get::<_, i64>(0).unsigned_abs()))
}

/// Whether the newest row of `leaf` by `column` is before `cutoff`.
///
/// # Errors
/// The connection is gone.
pub async fn newest(
    session: &Session,
    owner: &Ident,
    leaf: &TableName,
    column: &Ident,
    (cutoff, zone): (DateTime<Utc>, Tz),
    patience: Duration,
) -> Result<Newest> {
    let Some(kind) = column_type(session, leaf, column).await? else {
        return Ok(Newest::Unknown(format!("{} has no column {column} that says time", leaf.plain())));
    };
    let (sql, cutoff) = newest_sql(leaf, column, &kind, (cutoff, zone));
    let answer = match &cutoff {
        Cutoff::Instant(at) => bounded(session, owner, &sql, &[at], patience).await?,
        Cutoff::Wall(at) => bounded(session, owner, &sql, &[at], patience).await?,
    };
    Ok(match answer {
        Ok(row) if row.get::<_, bool>(1) => Newest::Newer(row.get(0)),
        Ok(_) => Newest::Old,
        Err(why) => Newest::Unknown(why),
    })
}

/// The newest time as text, and whether it is not before the cutoff. A day is not over before its end.
pub fn newest_sql(
    leaf: &TableName,
    column: &Ident,
    kind: &str,
    (cutoff, zone): (DateTime<Utc>, Tz),
) -> (String, Cutoff) {
    let is_new = if kind == "date" {
        format!("max({column})::timestamp + interval '1 day' > $1::timestamp")
    } else {
        format!("max({column}) >= $1::{kind}")
    };
    // Where no row says when it is of, nobody knows that it is old.
    let sql = format!(
        "SELECT coalesce(max({column})::text, 'NULL in every row'), coalesce({is_new}, EXISTS (SELECT FROM {leaf})) FROM {leaf}"
    );
    (sql, time_cutoff(cutoff, kind, zone))
}

/// `timestamptz`, `timestamp` or `date`.
///
/// # Errors
/// The catalog cannot be read.
pub async fn column_type(session: &Session, table: &TableName, column: &Ident) -> Result<Option<String>> {
    let row = session
        .query_opt(
            "SELECT coalesce(nullif(t.typbasetype, 0), a.atttypid)::regtype::text
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
             WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3",
            &[&table.schema.as_str(), &table.name.as_str(), &column.as_str()],
        )
        .await
        .with_context(|| format!("look up column {column} of {}", table.plain()))?;
    Ok(row.and_then(|row| time_type(row.get(0))).map(Into::into))
}

/// A type that says time, by its short name.
pub fn time_type(name: &str) -> Option<&'static str> {
    match name {
        "timestamp with time zone" => Some("timestamptz"),
        "timestamp without time zone" => Some("timestamp"),
        "date" => Some("date"),
        _ => None,
    }
}

/// One row of an answer, read as the owner of the partition, or as ourselves where that one may not; or why there is none.
async fn bounded(
    session: &Session,
    owner: &Ident,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    patience: Duration,
) -> Result<Result<Row, String>> {
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", patience.as_millis());
    let mut said = String::new();
    for role in [format!("; SET LOCAL ROLE {owner}"), String::new()] {
        let answer = match session.batch_execute(&format!("{begin}{role}")).await {
            Ok(()) => session.query_one(sql, parameters).await,
            Err(error) => Err(error),
        };
        // Not needed on a connection that is gone, whose error is the one to tell.
        let _ = session.batch_execute("ROLLBACK").await;
        match answer {
            Ok(row) => return Ok(Ok(row)),
            Err(error) if error.as_db_error().is_none() || session.is_closed() => return Err(error.into()),
            Err(error) => {
                let may_not = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
                said = explain(&error.into());
                if !may_not {
                    break;
                }
            }
        }
    }
    Ok(Err(said))
}
