//! What the catalog says about all tables of a job, in a number of queries that does not grow with the tables.
//!
//! Nothing here waits for a lock on a table, so that a survey goes on beside a transaction that holds one; only whether a
//! default partition has rows is asked of the table itself, and then each by itself and not for long.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, Result};
use tokio_postgres::Row;

use super::bound;
use super::facts::{Bound, DefaultPartition, KeyFacts, Partition, Strategy, TableFacts};
use super::rows;
use crate::pg::{Ident, Session, TableName, catalog};

/// What was found under a name of the config.
pub type Surveyed = Result<TableFacts, Refusal>;

/// Why a table is no place for partitions of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub table: TableName,
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

/// The facts of each table, in the order asked for. One that is missing or no partitioned table is a refusal, and spoils
/// no other.
///
/// # Errors
/// The catalog cannot be read.
pub async fn survey(session: &Session, tables: &[TableName]) -> Result<Vec<Surveyed>> {
    look(session, tables, Depth::Rows).await
}

/// The same by the catalog alone: no table is opened, so that nobody can wait for us. Whether a default partition has rows
/// stays unknown.
///
/// # Errors
/// The catalog cannot be read.
pub async fn catalog_alone(session: &Session, tables: &[TableName]) -> Result<Vec<Surveyed>> {
    look(session, tables, Depth::Catalog).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Catalog,
    Rows,
}

async fn look(session: &Session, tables: &[TableName], depth: Depth) -> Result<Vec<Surveyed>> {
    let mut found = parents(session, tables).await?;
    let mut parents: Vec<&mut Parent> = found.values_mut().filter_map(|found| found.as_mut().ok()).collect();
    let oids: Vec<u32> = parents.iter().map(|parent| parent.facts.oid).collect();
    if !oids.is_empty() {
        partitions(session, &oids, &mut parents).await?;
        references(session, &oids, &mut parents).await?;
        triggers(session, &mut parents).await?;
        if depth == Depth::Rows {
            rows::look(session, &mut parents).await?;
        }
    }
    let strangers: Vec<&TableName> =
        tables.iter().enumerate().filter(|(place, _)| !found.contains_key(place)).map(|(_, table)| table).collect();
    let mut missing = missing(session, &strangers).await?.into_iter();
    Ok(tables
        .iter()
        .enumerate()
        .map(|(place, table)| match found.remove(&place) {
            Some(Ok(parent)) => Ok(parent.facts),
            Some(Err(refusal)) => Err(refusal),
            None => Err(missing.next().unwrap_or_else(|| not_there(table, None))),
        })
        .collect())
}

/// Which of these names are taken, by a relation of any kind or by a type, since every table comes with one.
///
/// # Errors
/// The catalog cannot be read.
pub async fn taken(session: &Session, candidates: &[TableName]) -> Result<HashSet<TableName>> {
    if candidates.is_empty() {
        return Ok(HashSet::new());
    }
    let (schemas, names) = columns(candidates.iter());
    let rows = session
        .query(include_str!("survey_taken.sql"), &[&schemas, &names])
        .await
        .context("look up which names are taken")?;
    rows.iter().map(|row| table_name(row, 0)).collect()
}

/// Why the owner of each table cannot use the tablespace that the config names for it, where that is so.
///
/// # Errors
/// The catalog cannot be read.
pub async fn tablespaces(session: &Session, wanted: &[(&TableFacts, &Ident)]) -> Result<Vec<Option<String>>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let owners: Vec<&str> = wanted.iter().map(|(facts, _)| facts.owner.as_str()).collect();
    let names: Vec<&str> = wanted.iter().map(|(_, tablespace)| tablespace.as_str()).collect();
    let rows = session
        .query(include_str!("survey_tablespaces.sql"), &[&owners, &names])
        .await
        .context("look up tablespaces")?;
    let obstacle = |((facts, tablespace), row): (&(&TableFacts, &Ident), &Row)| match (
        row.get(1),
        row.get::<_, Option<bool>>(2),
    ) {
        (false, _) => Some(format!("there is no tablespace {tablespace}, which the config names")),
        (true, Some(true)) => None,
        (true, _) => Some(format!(
            "role {owner}, which owns {table}, may not use tablespace {tablespace}: \
             GRANT CREATE ON TABLESPACE {tablespace} TO {owner};",
            owner = facts.owner,
            table = facts.table.plain(),
        )),
    };
    Ok(wanted.iter().zip(&rows).map(obstacle).collect())
}

/// A partitioned table, while its facts are gathered.
pub(super) struct Parent {
    pub facts: TableFacts,
    /// `pg_partitioned_table.partdefid`; 0 where there is none.
    default_oid: u32,
}

/// The tables there are, by their place in the list.
async fn parents(session: &Session, tables: &[TableName]) -> Result<BTreeMap<usize, Result<Parent, Refusal>>> {
    let (schemas, names) = columns(tables.iter());
    let sql = catalog::who_may_act(include_str!("survey_tables.sql"), session.version);
    let rows = session.query(&sql, &[&schemas, &names]).await.context("look up the tables")?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let place = usize::try_from(row.get::<_, i64>("place")).unwrap_or_default().saturating_sub(1);
        let Some(table) = tables.get(place) else { continue };
        found.insert(place, parent(table, row)?);
    }
    Ok(found)
}

fn parent(table: &TableName, row: &Row) -> Result<Result<Parent, Refusal>> {
    let name = table.plain();
    let kind = catalog::character(row.get("relkind"));
    let Some(strategy) = row.get::<_, Option<i8>>("strategy").map(catalog::character) else {
        let refusal = |why, mend: String| Ok(Err(Refusal { table: table.clone(), why, mend }));
        return match (kind, row.get::<_, Option<String>>("partition_of")) {
            (_, Some(parent)) => refusal(
                format!("{name} is a partition of {parent}, and is not partitioned itself"),
                format!("name {parent}"),
            ),
            ('r', None) => refusal(
                format!("{name} is a table, not a partitioned one"),
                "PostgreSQL cannot turn one into the other: make a partitioned table beside it, copy the rows, and swap the \
                 names (https://www.postgresql.org/docs/current/ddl-partitioning.html)"
                    .into(),
            ),
            (kind, None) => refusal(
                format!("{name} is {}, not a partitioned table", catalog::kind_name(kind)),
                "name a partitioned table".into(),
            ),
        };
    };
    let owner = Ident::found(row.get::<_, String>("owner"))?;
    let facts = TableFacts {
        table: table.clone(),
        oid: row.get("oid"),
        key: KeyFacts {
            strategy: match strategy {
                'r' => Strategy::Range,
                'l' => Strategy::List,
                _ => Strategy::Hash,
            },
            column: row.get::<_, Option<String>>("key_column").map(Ident::found).transpose()?,
            definition: row.get("definition"),
            columns: usize::try_from(row.get::<_, i16>("key_columns")).unwrap_or(1),
            type_name: row.get("key_type"),
            bytewise: row.get("bytewise"),
        },
        within: row.get::<_, Option<&str>>("within").map(bound::read),
        partitions: Vec::new(),
        default: None,
        references: Vec::new(),
        immutable: None,
        obstacles: obstacles(table, &owner, row),
        owner,
    };
    Ok(Ok(Parent { facts, default_oid: row.get("default_oid") }))
}

/// Partitions are made as the owner of the table, in its schema.
fn obstacles(table: &TableName, owner: &Ident, row: &Row) -> Vec<String> {
    let (name, schema) = (table.plain(), &table.schema);
    let mut obstacles = Vec::new();
    if !row.get::<_, bool>("may_act_as_owner") {
        // The name of a role that exists is always a name.
        let role = Ident::found(row.get::<_, String>("role")).map_or_else(|_| "?".into(), |role| role.to_string());
        obstacles.push(format!(
            "role {role} may not act as {owner}, which owns {name} and has to own its partitions: GRANT {owner} TO {role};"
        ));
    }
    let lacking: Vec<_> = [("USAGE", "owner_uses_schema"), ("CREATE", "owner_creates_in_schema")]
        .into_iter()
        .filter(|(_, has)| !row.get::<_, bool>(*has))
        .map(|(privilege, _)| privilege)
        .collect();
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        obstacles.push(format!(
            "role {owner}, which owns {name}, may not create tables in schema {schema}: \
             GRANT {lacking} ON SCHEMA {schema} TO {owner};"
        ));
    }
    if !row.get::<_, bool>("owner_reads") {
        obstacles.push(format!(
            "role {owner}, which owns {name}, may not read it, and so cannot make a table like it: \
             GRANT SELECT ON {table} TO {owner};"
        ));
    }
    obstacles
}

async fn partitions(session: &Session, oids: &[u32], parents: &mut [&mut Parent]) -> Result<()> {
    let mut sql = include_str!("survey_partitions.sql").to_string();
    if session.version < 140_000 {
        // Where nothing can be detached concurrently, nothing is pending.
        sql = sql.replace("i.inhdetachpending", "false");
    }
    let rows = session.query(&sql, &[&oids]).await.context("look up partitions")?;
    let by_oid: HashMap<u32, Vec<&Row>> = rows.iter().fold(HashMap::new(), |mut by_oid, row| {
        by_oid.entry(row.get(0)).or_insert_with(Vec::new).push(row);
        by_oid
    });
    for parent in parents {
        for row in by_oid.get(&parent.facts.oid).into_iter().flatten() {
            let (oid, name) = (row.get(1), table_name(row, 2)?);
            let is_parent = catalog::character(row.get(4)) == 'p';
            if oid == parent.default_oid {
                parent.facts.default =
                    Some(DefaultPartition { name, oid, is_parent, referenced_by: Vec::new(), has_rows: None });
                continue;
            }
            let bound = row.get::<_, Option<&str>>(5).map_or_else(|| Bound::Unread(String::new()), bound::read);
            parent.facts.partitions.push(Partition { name, oid, bound, detach_pending: row.get(6), is_parent });
        }
        parent.facts.partitions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(())
}

/// Foreign keys: among the tables, for the order; and into default partitions, from which nothing can be deleted then.
async fn references(session: &Session, oids: &[u32], parents: &mut [&mut Parent]) -> Result<()> {
    let rows = session
        .query(include_str!("survey_references.sql"), &[&oids])
        .await
        .context("look up foreign keys among the tables")?;
    for parent in parents.iter_mut() {
        let own = rows.iter().filter(|row| row.get::<_, u32>(0) == parent.facts.oid);
        parent.facts.references = own.map(|row| row.get(1)).collect();
    }
    let (with, defaults): (Vec<u32>, Vec<u32>) = parents
        .iter()
        .filter_map(|parent| parent.facts.default.as_ref().map(|default| (parent.facts.oid, default.oid)))
        .unzip();
    if with.is_empty() {
        // The search goes through all constraints there are.
        return Ok(());
    }
    let rows = session
        .query(include_str!("survey_referencing.sql"), &[&with, &defaults])
        .await
        .context("look up foreign keys that point at default partitions")?;
    for parent in parents {
        let Some(default) = &mut parent.facts.default else { continue };
        for row in rows.iter().filter(|row| row.get::<_, u32>(0) == parent.facts.oid) {
            default.referenced_by.push(format!("{} ({})", table_name(row, 1)?.plain(), row.get::<_, &str>(3)));
        }
    }
    Ok(())
}

async fn triggers(session: &Session, parents: &mut [&mut Parent]) -> Result<()> {
    let both = |parent: &Parent| {
        [Some(parent.facts.oid), parent.facts.default.as_ref().map(|default| default.oid)].into_iter().flatten()
    };
    let oids: Vec<u32> = parents.iter().flat_map(|parent| both(parent)).collect();
    let rows =
        session.query(include_str!("survey_triggers.sql"), &[&oids]).await.context("look up BEFORE DELETE triggers")?;
    let mut first: HashMap<u32, &str> = HashMap::new();
    for row in &rows {
        first.entry(row.get(0)).or_insert_with(|| row.get(1));
    }
    for parent in parents {
        let name = both(parent).find_map(|oid| first.get(&oid));
        parent.facts.immutable = name.map(|name| Ident::found(*name)).transpose()?;
    }
    Ok(())
}

/// The refusals of tables that do not exist, each with the partitioned table that may have been meant.
async fn missing(session: &Session, tables: &[&TableName]) -> Result<Vec<Refusal>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session
        .query(include_str!("survey_like_named.sql"), &[])
        .await
        .context("look for tables with names like those that are missing")?;
    let others = rows.iter().map(|row| table_name(row, 0)).collect::<Result<Vec<_>>>()?;
    Ok(tables.iter().map(|table| not_there(table, nearest(table, &others))).collect())
}

fn not_there(table: &TableName, meant: Option<&TableName>) -> Refusal {
    let mend = match meant {
        // In TOML single quotes, because a name in other letters needs double quotes of its own.
        Some(meant) => format!("is it table = '{}'?", meant.plain()),
        None => "create it, or correct the name".into(),
    };
    Refusal { table: table.clone(), why: format!("there is no table {}", table.plain()), mend }
}

/// The same name in other letters or in another schema; else one that differs by little.
fn nearest<'a>(table: &TableName, others: &'a [TableName]) -> Option<&'a TableName> {
    let lower = |ident: &Ident| ident.as_str().to_lowercase();
    // Letters and schema only decide between names that are equally near.
    let likeness = |other: &TableName| {
        let schema = if lower(&other.schema) == lower(&table.schema) { 0.01 } else { 0.0 };
        strsim::jaro_winkler(&lower(&other.name), &lower(&table.name))
            + strsim::jaro_winkler(other.name.as_str(), table.name.as_str()) / 1_000.0
            + schema
    };
    let nearest = others.iter().map(|other| (likeness(other), other)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.filter(|(likeness, _)| *likeness > 0.85).map(|(_, other)| other)
}

fn columns<'a>(tables: impl Iterator<Item = &'a TableName>) -> (Vec<&'a str>, Vec<&'a str>) {
    tables.map(|table| (table.schema.as_str(), table.name.as_str())).unzip()
}

/// The schema at this column and the name in the one after it.
fn table_name(row: &Row, at: usize) -> Result<TableName> {
    Ok(TableName::found(row.get::<_, &str>(at), row.get::<_, &str>(at + 1))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_was_meant_is_the_one_whose_name_differs_least() {
        let others: Vec<TableName> = ["app.Orders", "public.test_runs", "public.orders_archive", "app.orders"]
            .iter()
            .map(|name| {
                let (schema, name) = name.split_once('.').unwrap();
                TableName::new(schema, name).unwrap()
            })
            .collect();
        let check = |table: &str, expect: Option<&str>| {
            let found = nearest(&table.parse().unwrap(), &others).map(TableName::plain);
            assert_eq!(found.as_deref(), expect, "{table}");
        };
        check("public.test_run", Some("public.test_runs"));
        check("app.test_runs", Some("public.test_runs"));
        check("public.orders", Some("app.orders"));
        check("public.sessions", None);
    }
}
