//! A table made apart: like its parent in all that a partition should have, and attached to nothing yet.
//!
//! `CREATE TABLE … PARTITION OF` would be shorter, and takes ACCESS EXCLUSIVE on the parent; a table made apart asks
//! nothing of it but that nobody changes it meanwhile.
//!
//! | what | from |
//! |---|---|
//! | columns, defaults, generated columns, constraints, indexes, statistics objects, column storage and compression, their comments | the parent, by LIKE |
//! | owner, rights on the table and its columns, its comment, statistics targets, tablespace | the parent |
//! | storage parameters, UNLOGGED, access method | the partition made last: a parent has none |
//! | replica identity, policies | the partition made last where it has its own, else the parent |
//! | row security, forced or not | on where the parent or the partition made last has it on |
//! | identity, foreign keys, row triggers | ATTACH gives them |

use anyhow::{Context as _, Result, anyhow, bail};

use tokio_postgres::Row;

use crate::pg::ddl::{Ddl, is_locked, is_over};
use crate::pg::{Ident, Session, TableName};

/// What a table made apart will be like.
#[derive(Debug)]
pub struct Pattern {
    name: TableName,
    statement: String,
    /// Whose rights and words it takes.
    source: u32,
    /// The partition it takes after in what a parent does not have.
    model: Option<u32>,
}

impl Pattern {
    /// One that is made by this statement, and takes rights and words of `source`.
    pub const fn new(name: TableName, statement: String, source: u32) -> Self {
        Self { name, statement, source, model: None }
    }
}

/// The table, as made.
#[derive(Debug)]
pub struct Apart {
    pub name: TableName,
    /// What LIKE did not copy, as the catalog had it when the table was made.
    missing: Vec<Row>,
}

/// Looks at what it is to be like. With `replaced`, a default partition, it is made like that one.
///
/// # Errors
/// The catalog cannot be read; or the partitions of this table are partitioned themselves.
pub async fn look(
    session: &Session,
    parent: u32,
    name: &TableName,
    tablespace: Option<&Ident>,
    replaced: Option<u32>,
) -> Result<Pattern> {
    let (schema, table) = (name.schema.as_str(), name.name.as_str());
    let tablespace = tablespace.map(Ident::as_str);
    let rows = session
        .ask(include_str!("create_table.sql"), &[&parent, &schema, &table, &tablespace, &replaced])
        .await
        .context("look at the parent and its newest partition")?;
    let row = rows.first().ok_or_else(|| anyhow!("the partitioned table is gone"))?;
    if row.get("model_is_parent") {
        bail!(
            "its partitions are partitioned themselves, and pgtend does not know by what the new one should be: make it by \
             hand with its own partitions, or name the partitions as tables of the job"
        );
    }
    Ok(Pattern {
        name: name.clone(),
        statement: row.get("statement"),
        source: replaced.unwrap_or(parent),
        model: row.get("model"),
    })
}

/// Makes it.
///
/// # Errors
/// What the server says.
pub async fn make(ddl: &Ddl<'_>, pattern: &Pattern) -> Result<Apart> {
    let Pattern { name, statement, source, model } = pattern;
    let missing = ddl
        .run_and_ask(statement, include_str!("likeness.sql"), &[&name.to_string(), source, model])
        .await
        .with_context(|| format!("make {} apart", name.plain()))?;
    Ok(Apart { name: name.clone(), missing })
}

/// Gives it what LIKE does not copy, rights last: from then on even its owner may do no more with it than the owner may
/// with the parent. Gives warnings.
///
/// # Errors
/// What the server says.
pub async fn liken(ddl: &Ddl<'_>, apart: &Apart) -> Result<Vec<String>> {
    const POLICIES: i32 = 5;
    let name = apart.name.plain();
    let (mut statements, mut policies, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for row in &apart.missing {
        match (row.get::<_, i32>(0), row.get::<_, Option<String>>(1)) {
            (POLICIES, Some(sql)) => policies.push(sql),
            (_, Some(sql)) => statements.push(sql),
            (_, None) => warnings.push(format!(
                "{name} has the default replica identity: it has no index like the one that REPLICA IDENTITY USING INDEX \
                 names for the others"
            )),
        }
    }
    if let Err(error) = copy_policies(ddl, &policies).await? {
        warnings.push(format!(
            "{name} has row security without policies, so that only its owner can read it directly: those of the others \
             cannot be copied, {error}"
        ));
    }
    if !statements.is_empty() {
        ddl.run(&statements.join("; ")).await.with_context(|| format!("make {name} like the others"))?;
    }
    Ok(warnings)
}

/// All of them or none: some without the others could allow more than all of them do. A policy may name its own table in
/// a subquery, which then means nothing to another one; that is no reason to be without a partition.
async fn copy_policies(ddl: &Ddl<'_>, policies: &[String]) -> Result<Result<(), String>> {
    if policies.is_empty() {
        return Ok(Ok(()));
    }
    match ddl.run(&format!("SAVEPOINT policies; {}; RELEASE SAVEPOINT policies", policies.join("; "))).await {
        Ok(()) => Ok(Ok(())),
        Err(error) if is_locked(&error) || is_over(&error) => Err(error),
        Err(error) => {
            ddl.rollback_to("policies").await?;
            Ok(Err(crate::pg::explain(&error)))
        }
    }
}
