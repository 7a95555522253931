//! Reads the facts: the catalog in one read-only transaction, in a number of statements that does not grow with the tables.
//!
//! The catalog opens no table, so that nobody can wait for us. Two tables are read besides, each by one short statement
//! outside that transaction: one of retention policies, and pg_cron's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::facts::{
    Column, Counters, Cron, Facts, HeldPolicy, Outgoing, Partitioned, PolicyColumns, PolicyTable, Reference, Server,
    Table,
};
use crate::clock::Clock;
use crate::kinds::partitions::survey;
use crate::kinds::refresh;
use crate::pg::catalog::OnDelete;
use crate::pg::{Access, Conninfo, Database, Ident, Session, Sessions, TableName, explain, pg_cron};

/// All of it is over by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// For any one lock, of which there are none that anybody holds for long.
const LOCK_TIMEOUT: Duration = Duration::from_millis(300);
/// So many rows of a table of policies are shown.
const MOST_POLICIES: i64 = 100;

/// # Errors
/// The database cannot be reached, or its catalog cannot be read.
pub async fn look(conninfo: &Conninfo) -> Result<Facts> {
    let database = Arc::new(Database::new(conninfo.database_name(), conninfo.clone(), 1)?);
    database.refuse_transaction_pooler().await?;
    let sessions =
        Sessions::new(Arc::clone(&database), "init", Access::ReadOnly, LOCK_TIMEOUT, Instant::now() + PATIENCE);
    let session = sessions.open().await?;
    session.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.context("begin to look")?;
    let mut facts = catalog(&session).await?;
    session.batch_execute("COMMIT").await.context("end looking")?;
    for policies in &mut facts.policies {
        policies.held = held(&session, policies).await?;
    }
    if let Some(cron) = &mut facts.cron {
        match pg_cron::jobs(&session).await {
            Ok(Some(jobs)) => cron.jobs = jobs,
            Ok(None) => cron.hidden = Some("this role may not read cron.job".into()),
            Err(error) if session.is_closed() => return Err(error),
            Err(error) => cron.hidden = Some(explain(&error)),
        }
    }
    session.close().await;
    Ok(facts)
}

async fn catalog(session: &Session) -> Result<Facts> {
    let row = session.query_one(include_str!("server.sql"), &[]).await.context("ask the server what it is")?;
    let server = Server {
        version: row.get::<_, String>("version").split_whitespace().next().unwrap_or_default().into(),
        database: row.get("database"),
        role: row.get("role"),
        standby: row.get("standby"),
        time_zone: row.get::<_, Option<String>>("time_zone").and_then(|name| name.parse().ok()),
        counted_since: row.get("counted_since"),
        now: Clock::default().database(session).await?.now,
        extensions: row.get::<_, Vec<String>>("extensions").into_iter().collect(),
        has_archive: row.get("has_archive"),
    };
    let cron = row.get::<_, Option<bool>>("cron_hides").map(|hides| Cron {
        jobs: Vec::new(),
        hidden: hides.then(|| "row security shows this role its own alone".into()),
    });
    let tables = tables(session).await?;
    let policies = tables.iter().filter_map(policy_table).collect();
    Ok(Facts {
        server,
        partitioned: partitioned(session).await?,
        views: refresh::survey::every_view(session).await?,
        policies,
        cron,
        tables,
    })
}

async fn tables(session: &Session) -> Result<Vec<Table>> {
    let rows = session.query(include_str!("tables.sql"), &[]).await.context("look for tables")?;
    let mut tables = rows.iter().map(table).collect::<Result<Vec<_>>>()?;
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let places: BTreeMap<u32, usize> = oids.iter().enumerate().map(|(place, oid)| (*oid, place)).collect();
    for row in session.query(include_str!("columns.sql"), &[&oids]).await.context("look for columns")? {
        let Some(place) = places.get(&row.get::<_, u32>(0)) else { continue };
        tables[*place].columns.push(Column {
            name: Ident::found(row.get::<_, String>("name"))?,
            type_name: row.get("type"),
            not_null: row.get("not_null"),
            given: row.get("given"),
        });
    }
    for row in session.query(include_str!("indexes.sql"), &[&oids]).await.context("look for indexes")? {
        let Some(place) = places.get(&row.get::<_, u32>(0)) else { continue };
        let columns: Vec<Option<String>> = row.get("columns");
        let (table, partial) = (&mut tables[*place], row.get::<_, bool>("partial"));
        if let Some(Some(first)) = columns.first().filter(|_| !partial) {
            table.indexed.insert(Ident::found(first.clone())?);
        }
        let columns = columns.into_iter().flatten().map(Ident::found).collect::<Result<Vec<_>, _>>()?;
        if row.get("is_primary") {
            table.primary_key = columns;
        } else if row.get("is_unique") {
            table.unique.push(columns);
        }
    }
    for row in session.query(include_str!("references.sql"), &[&oids]).await.context("look for foreign keys")? {
        let (from, to): (u32, u32) = (row.get("from_oid"), row.get("to_oid"));
        if let Some(place) = places.get(&from) {
            let columns = row.get::<_, Vec<String>>("columns");
            let columns = columns.into_iter().map(Ident::found).collect::<Result<Vec<_>, _>>()?;
            tables[*place].references.push(Outgoing { columns, to });
        }
        if let Some(place) = places.get(&to) {
            let table = TableName::found(row.get::<_, String>("from_schema"), row.get::<_, String>("from_name"))?;
            let on_delete = OnDelete::of(row.get("on_delete"));
            tables[*place].referenced_by.push(Reference { table, on_delete });
        }
    }
    Ok(tables)
}

fn table(row: &Row) -> Result<Table> {
    let owner: bool = row.get("may_be_owner");
    let mut lacking: Vec<String> = if owner { Vec::new() } else { row.get("lacking") };
    if !row.get::<_, bool>("schema_usage") {
        lacking.insert(0, "USAGE".into());
    }
    Ok(Table {
        oid: row.get("oid"),
        name: TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?,
        partitioned: row.get("partitioned"),
        has_children: row.get("has_children"),
        owner: Ident::found(row.get::<_, String>("owner"))?,
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique: Vec::new(),
        indexed: BTreeSet::new(),
        referenced_by: Vec::new(),
        references: Vec::new(),
        row_security: row.get("row_security"),
        triggers: row.get("triggers"),
        rows: row.get("rows"),
        bytes: row.get("bytes"),
        counters: Counters {
            inserted: row.get::<_, Option<i64>>("inserted").unwrap_or_default(),
            updated: row.get::<_, Option<i64>>("updated").unwrap_or_default(),
            deleted: row.get::<_, Option<i64>>("deleted").unwrap_or_default(),
        },
        lacking,
    })
}

async fn partitioned(session: &Session) -> Result<Vec<Partitioned>> {
    let rows = session.query(include_str!("partitioned.sql"), &[]).await.context("look for partitioned tables")?;
    let mut names = Vec::with_capacity(rows.len());
    for row in &rows {
        names.push(TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?);
    }
    let surveyed = survey::catalog_alone(session, &names).await?;
    let found = rows.iter().zip(surveyed);
    // One that went in this moment is not there.
    Ok(found.filter_map(|(row, facts)| Some(Partitioned { is_partition: row.get(2), facts: facts.ok()? })).collect())
}

/// A table whose columns say that it holds policies.
fn policy_table(table: &Table) -> Option<PolicyTable> {
    let find = |names: &[&str], fits: fn(&Column) -> bool| {
        let column = names.iter().find_map(|name| table.column(name).filter(|column| fits(column)))?;
        Some(column.name.clone())
    };
    let text = |column: &Column| matches!(column.type_name.as_str(), "text" | "character varying" | "name");
    let flag = |column: &Column| column.type_name == "boolean";
    Some(PolicyTable {
        table: table.name.clone(),
        columns: PolicyColumns {
            table_name: find(&["table_name", "tablename", "relation", "table"], text)?,
            retention_days: find(
                &["retention_days", "keep_days", "days_to_keep", "retention_in_days"],
                Column::is_whole,
            )?,
            archive_enabled: find(&["archive_enabled", "archive"], flag),
            delete_enabled: find(&["delete_enabled", "delete"], flag),
        },
        held: Ok(Vec::new()),
    })
}

/// Asked outside the transaction, so that its lock is as short as the statement.
async fn held(session: &Session, policies: &PolicyTable) -> Result<Result<Vec<HeldPolicy>, String>> {
    let PolicyColumns { table_name, retention_days, archive_enabled, delete_enabled } = &policies.columns;
    let flag = |column: &Option<Ident>| column.as_ref().map_or("NULL::boolean".into(), ToString::to_string);
    let sql = format!(
        "SELECT {table_name}::text, {retention_days}::bigint, {}, {} FROM {} ORDER BY 1, 2 LIMIT {MOST_POLICIES}",
        flag(archive_enabled),
        flag(delete_enabled),
        policies.table,
    );
    readable(session, &sql, |row| HeldPolicy {
        table: row.get::<_, Option<String>>(0).unwrap_or_default(),
        days: row.get(1),
        archive: row.get(2),
        delete: row.get(3),
    })
    .await
}

/// The rows of a table; PostgreSQL's words where they are not for us, be it by privilege or by row security.
async fn readable<T>(session: &Session, sql: &str, read: fn(&Row) -> T) -> Result<Result<Vec<T>, String>> {
    match session.query(sql, &[]).await {
        Ok(rows) => Ok(Ok(rows.iter().map(read).collect())),
        Err(error) if error.as_db_error().is_some() && !session.is_closed() => Ok(Err(explain(&error.into()))),
        Err(error) => Err(error.into()),
    }
}
