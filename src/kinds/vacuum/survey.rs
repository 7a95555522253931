//! What there is to tend, and who is in the way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::plan::{Facts, May, Of, Relation};
use crate::kinds::Context;
use crate::pg::{Ident, Session, TableName, others};
use crate::testpoint;

/// A transaction that is younger will be over before it matters; a plan does not speak of it.
const LONG: Duration = Duration::from_secs(60);

/// # Errors
/// The server does not answer.
pub async fn survey(cx: &Context, session: &Session, budget: Option<Duration>, look_out: bool) -> Result<Facts> {
    let rows = session.query(include_str!("survey.sql"), &[]).await.context("look at the tables")?;
    let mut relations = Vec::with_capacity(rows.len());
    for row in rows {
        relations.push(Relation {
            oid: row.get("oid"),
            name: TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?,
            of: if row.get::<_, String>("kind") == "p" { Of::Partitions } else { Of::Rows },
            owner: Ident::found(row.get::<_, String>("owner"))?,
            role: Ident::found(row.get::<_, String>("role"))?,
            may: match row.get::<_, &str>("may") {
                "itself" => May::Itself,
                "as_owner" => May::AsOwner,
                _ => May::Not,
            },
            may_enter: row.get("may_enter"),
            has_children: row.get("has_children"),
            ancestors: row.get("ancestors"),
            tuples: row.get("tuples"),
            dead: row.get("dead"),
            inserted: row.get("inserted"),
            modified: row.get("modified"),
            vacuum_threshold: row.get("vacuum_threshold"),
            insert_threshold: row.get("insert_threshold"),
            analyze_threshold: row.get("analyze_threshold"),
            xid_age: row.get("xid_age"),
            freeze_max_age: row.get("freeze_max_age"),
            vacuumed_at: row.get("vacuumed_at"),
            analyzed_at: row.get("analyzed_at"),
        });
    }
    let holders = if look_out { holders(session, testpoint::patience(LONG)).await? } else { Vec::new() };
    // From when the plan is made: the time that is waited for locks counts too.
    let until = budget.map(|budget| Instant::now() + budget);
    Ok(Facts { version: session.version, now: cx.now, until, relations, holders })
}

/// Who keeps dead rows from being removed, and has been in the transaction for at least `long`.
///
/// # Errors
/// The server does not answer.
pub async fn holders(session: &Session, long: Duration) -> Result<Vec<String>> {
    let rows = session
        .query(include_str!("holders.sql"), &[&long.as_secs_f64()])
        .await
        .context("ask who keeps dead rows from being removed")?;
    Ok(rows.iter().map(others::said).collect())
}

/// Whether the server counts what is done to tables.
///
/// # Errors
/// The server does not answer.
pub async fn counting(session: &Session) -> Result<bool> {
    let row = session.query_one("SELECT pg_catalog.current_setting('track_counts')::bool", &[]).await;
    Ok(row.context("ask whether anything is counted")?.get(0))
}

/// What the server has counted of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    pub name: TableName,
    pub vacuums: i64,
    pub analyzes: i64,
    pub dead: i64,
}

/// Those of `oids` that are still there.
///
/// # Errors
/// The server does not answer.
pub async fn counts(session: &Session, oids: &[u32]) -> Result<HashMap<u32, Counts>> {
    let rows = session.ask(include_str!("counts.sql"), &[&oids]).await.context("look at the table")?;
    let read = |row: tokio_postgres::Row| {
        let name = TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?;
        let (vacuums, analyzes, dead) = (row.get("vacuums"), row.get("analyzes"), row.get("dead"));
        Ok((row.get("oid"), Counts { name, vacuums, analyzes, dead }))
    };
    rows.into_iter().map(read).collect()
}
