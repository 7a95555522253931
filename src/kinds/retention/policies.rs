//! Policies that stand in a table of the database: read, understood, and told when they were carried out.
//!
//! | `archive_enabled` | `delete_enabled` | what is older than `retention_days` |
//! |---|---|---|
//! | true | any | moves out of the live table, to `to` |
//! | false | true | goes |
//! | false | false | stays |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::Target;
use super::policy::Policies;
use super::reading::{self, Reading, There, Verdict};
use crate::kinds::rows::plan::Refusal;
use crate::kinds::{Applied, Context};
use crate::pg::catalog::{self, Relation};
use crate::pg::{Ident, Session, TableName, explain};
use crate::run::Step;

/// What came of reading them.
#[derive(Debug, Default)]
pub struct Read {
    pub targets: Vec<Target>,
    /// Rows that cannot be carried out, or the whole table.
    pub refusals: Vec<(String, Refusal)>,
    pub notes: Vec<Step>,
    /// Whether `last_run_at` can be written.
    pub records: bool,
}

/// How the work of one policy goes.
#[derive(Debug, Default)]
pub struct Tally {
    left: AtomicUsize,
    failed: AtomicBool,
}

impl Tally {
    pub fn expect_one(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note(&self, applied: &Result<Applied>) {
        if matches!(applied, Ok(Applied::Locked(_) | Applied::Stopped(_))) {
            return;
        }
        self.left.fetch_sub(1, Ordering::Relaxed);
        if !matches!(applied, Ok(Applied::Done)) {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// `last_run_at` of a policy, to be written when all of its work went well.
#[derive(Debug)]
pub struct Record {
    pub policies: TableName,
    /// Its columns with the name of a table, and the time.
    pub columns: (Ident, Ident),
    /// What its column of names says.
    pub row: String,
    pub table: TableName,
    pub tally: Arc<Tally>,
}

impl Record {
    pub fn step(&self) -> Step {
        let reason = format!("the policy of {} was carried out, if all of it goes well", self.row);
        Step { action: "record_run", ..Step::warn(self.policies.plain(), reason) }
    }

    /// # Errors
    /// It cannot be written.
    pub async fn apply(&self, cx: &Context) -> Result<Applied> {
        if self.tally.left.load(Ordering::Relaxed) > 0 {
            return Ok(Applied::Locked(format!("some of {} is still to be done", self.table.plain())));
        }
        if self.tally.failed.load(Ordering::Relaxed) {
            // Which has been said.
            return Ok(Applied::Done);
        }
        let (name, at) = &self.columns;
        let session = cx.session().await?;
        let sql = format!(
            "UPDATE {} SET {at} = $1::pg_catalog.timestamptz WHERE {name}::pg_catalog.text OPERATOR(pg_catalog.=) $2",
            self.policies
        );
        // Triggers of theirs may go with it.
        session.by_their_path().await?;
        let written = session.execute(&sql, &[&cx.now, &self.row]).await;
        match written {
            Ok(_) => {
                session.close().await;
                Ok(Applied::Done)
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                Ok(Applied::Locked(format!("the row of {} is locked", self.row)))
            }
            Err(error) => Err(anyhow::Error::from(error).context(format!("write {at} of {}", self.row))),
        }
    }
}

/// The policies, each as a target of its own. `also`: the tables that the config names itself.
///
/// # Errors
/// The server cannot be asked.
pub async fn read(
    session: &Session,
    cx: &Context,
    policies: &Policies,
    span: std::ops::Range<usize>,
    also: &[TableName],
) -> Result<Read> {
    let mut read = Read::default();
    let name = policies.table.plain();
    let root = match root(session, policies).await? {
        Ok(root) => root,
        Err(refusal) => {
            read.refusals.push((name, refusal));
            return Ok(read);
        }
    };
    match can_record(session, policies, &root).await? {
        None => read.records = true,
        Some(why) => read.notes.push(Step::warn(&name, why)),
    }
    // What functions a view of policies may call find what they find for everybody else.
    session.by_their_path().await?;
    let rows = rows(session, policies, &root).await;
    session.by_our_path().await?;
    let rows = match rows? {
        Ok(rows) => rows,
        Err(refusal) => {
            read.refusals.push((name, refusal));
            return Ok(read);
        }
    };
    let there = there(session, &rows).await?;
    let mut seen = Vec::new();
    for (row, verdict) in reading::verdicts(policies, &rows, &there, also) {
        let of_row = || format!("{name}: {row}");
        match verdict {
            Verdict::Keep(table) => {
                seen.push(table.clone());
                read.notes.push(Step::keep(
                    table.plain(),
                    format!(
                        "{name} neither archives nor deletes it: {} and {} are false",
                        policies.archive_enabled, policies.delete_enabled
                    ),
                ));
            }
            Verdict::Refuse(Refusal { why, mend }) => {
                read.refusals.push((of_row(), Refusal { why: format!("{}: {why}", of_row()), mend }));
            }
            Verdict::Carry(policy) => {
                seen.push(policy.table.clone());
                let zone = policy.zone(cx.timezone);
                read.targets.push(Target { policy: *policy, zone, span: span.clone(), row: Some(row) });
            }
        }
    }
    for exception in policies.except.iter().filter(|exception| !seen.contains(&exception.table)) {
        let table = exception.table.plain();
        read.notes.push(Step::warn(table, format!("stands in except, and no policy of {name} is carried out for it")));
    }
    Ok(read)
}

/// The table of policies itself.
async fn root(session: &Session, policies: &Policies) -> Result<Result<Relation, Refusal>> {
    let name = policies.table.plain();
    let refused = |why: String, mend: String| Ok(Err(Refusal { why, mend }));
    let Some(root) = catalog::relation(session, &policies.table).await? else {
        return refused(format!("there is no table {name}, which is to hold the policies"), "correct the name".into());
    };
    if !matches!(root.kind, 'r' | 'p' | 'v') {
        return refused(
            format!("{name} is {}, not a table of policies", catalog::kind_name(root.kind)),
            "name a table".into(),
        );
    }
    if !root.schema_usage {
        let (schema, role) = (&policies.table.schema, &root.role);
        return refused(
            format!("role {role} may not use schema {schema}, where the policies are"),
            format!("GRANT USAGE ON SCHEMA {schema} TO {role};"),
        );
    }
    if root.row_security {
        return refused(
            format!("row security hides policies in {name} from role {}", root.role),
            format!("run as its owner, or ALTER ROLE {} BYPASSRLS;", root.role),
        );
    }
    let needed = [&policies.table_name, &policies.retention_days, &policies.archive_enabled, &policies.delete_enabled];
    if let Some(missing) = needed.into_iter().find(|column| !root.columns.contains(*column)) {
        let like = |other: &&Ident| strsim::jaro_winkler(other.as_str(), missing.as_str());
        let near = root.columns.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let near = near.map_or_else(String::new, |near| format!("; the nearest is {near}"));
        return refused(
            format!("{name} has no column {missing}"),
            format!("say in policies what its columns are called{near}"),
        );
    }
    Ok(Ok(root))
}

/// Why `last_run_at` cannot be written, if it cannot.
async fn can_record(session: &Session, policies: &Policies, root: &Relation) -> Result<Option<String>> {
    let (table, column) = (&policies.table, &policies.last_run_at);
    if !root.columns.contains(column) {
        return Ok(Some(format!(
            "it has no column {column}, so that nothing tells there when a policy was carried out"
        )));
    }
    let sql = "SELECT pg_catalog.has_column_privilege($1::oid, $2::text, 'UPDATE')";
    let may: bool = session.query_one(sql, &[&root.oid, &column.as_str()]).await.context("ask for privileges")?.get(0);
    Ok((!may)
        .then(|| format!("role {0} may not write {column}: GRANT UPDATE ({column}) ON {table} TO {0};", root.role)))
}

async fn rows(session: &Session, policies: &Policies, root: &Relation) -> Result<Result<Vec<Reading>, Refusal>> {
    let Policies { table, table_name, retention_days, archive_enabled, delete_enabled, .. } = policies;
    let refused = |why: String, mend: String| Ok(Err(Refusal { why, mend }));
    let sql = format!("SELECT {table_name}, {retention_days}, {archive_enabled}, {delete_enabled} FROM {table}");
    let statement = match session.prepare(&sql).await {
        Ok(statement) => statement,
        Err(error) => return Err(anyhow::Error::from(error).context(format!("read {}", table.plain()))),
    };
    let types: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
    let fits = [
        [Type::TEXT, Type::VARCHAR, Type::NAME].contains(&types[0]),
        [Type::INT2, Type::INT4, Type::INT8].contains(&types[1]),
        types[2] == Type::BOOL,
        types[3] == Type::BOOL,
    ];
    if let Some(wrong) = fits.iter().position(|fits| !fits) {
        let column = [table_name, retention_days, archive_enabled, delete_enabled][wrong];
        let right = ["text", "an integer", "boolean", "boolean"][wrong];
        return refused(
            format!("column {column} of {} is of type {}, and must be {right}", table.plain(), types[wrong]),
            "give it that type, or name another".into(),
        );
    }
    let sql = format!(
        "SELECT {table_name}::pg_catalog.text, {retention_days}::bigint, {archive_enabled}, {delete_enabled} FROM {table} ORDER BY 1, 2"
    );
    match session.query(&sql, &[]).await {
        Ok(rows) => Ok(Ok(rows
            .iter()
            .map(|row| Reading { name: row.get(0), days: row.get(1), archive: row.get(2), delete: row.get(3) })
            .collect())),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let role = &root.role;
            refused(explain(&error.into()), format!("GRANT SELECT ON {table} TO {role};"))
        }
        Err(error) => Err(anyhow::Error::from(error).context(format!("read {}", table.plain()))),
    }
}

/// Every relation that one of the names may mean.
async fn there(session: &Session, rows: &[Reading]) -> Result<Vec<There>> {
    let names: Vec<String> = rows.iter().filter_map(|row| row.name.as_deref()).flat_map(reading::meant).collect();
    let found = session
        .query(include_str!("policies_there.sql"), &[&names])
        .await
        .context("look up the tables that policies name")?;
    found
        .iter()
        .map(|row| {
            let columns: Vec<String> = row.get(4);
            Ok(There {
                table: TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?,
                kind: catalog::character(row.get(2)),
                partition_of: row.get(3),
                columns: columns.into_iter().map(Ident::found).collect::<Result<_, _>>()?,
            })
        })
        .collect()
}
