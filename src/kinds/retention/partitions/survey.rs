//! What the catalog says of partitions that may have to go, in a number of queries that does not grow with the tables; and,
//! of those that are next to go, what the rows say.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::facts::{Detached, Fate, LeafFacts, Newest, Refusal, TableFacts};
use super::plan::{self, Looked};
use super::{look, mark};
use crate::kinds::Context;
use crate::kinds::never;
use crate::kinds::partitions::{self, rows as counts};
use crate::kinds::retention::Target;
use crate::kinds::retention::holds::Holds;
use crate::kinds::retention::policy;
use crate::pg::{Ident, Session, TableName, catalog};

/// The facts of each table, in the order asked for. One that cannot be looked at spoils no other.
///
/// # Errors
/// The catalog cannot be read.
pub async fn survey(session: &Session, cx: &Context, targets: &[Target], holds: &Holds) -> Result<Vec<Looked>> {
    let names: Vec<TableName> = targets.iter().map(|target| target.policy.table.clone()).collect();
    let found = partitions::survey::survey(session, &names).await?;
    let mut looked: Vec<Looked> = found
        .into_iter()
        .zip(targets)
        .map(|(found, target)| match found {
            Err(refusal) => Err((refusal.table, Refusal::new(refusal.why, refusal.mend))),
            Ok(parent) => match Fate::of(&target.policy).and_then(|_| by_its_key(&target.policy, &parent)) {
                Err(refusal) => Err((parent.table, refusal)),
                Ok(()) => Ok(TableFacts {
                    lineage: vec![parent.table.clone()],
                    parent,
                    policy: target.policy.clone(),
                    zone: target.zone,
                    server: session.version,
                    references: Vec::new(),
                    leaves: HashMap::new(),
                    detached: Vec::new(),
                    default_rows: None,
                    obstacles: Vec::new(),
                    never: None,
                }),
            },
        })
        .collect();
    let mut tables: Vec<&mut TableFacts> = looked.iter_mut().filter_map(|looked| looked.as_mut().ok()).collect();
    if tables.is_empty() {
        return Ok(looked);
    }
    of_tables(session, &mut tables).await?;
    leaves(session, cx, &mut tables, holds).await?;
    for facts in &mut tables {
        // What refers to its partitions keeps them; nothing goes along.
        facts.never = never::refuse(session, &facts.parent.table, facts.parent.oid, false).await?;
        let of_detached = || {
            let named = |table| Some((session.never.iter().find(|pattern| pattern.matches(table))?, table));
            let (pattern, table) = facts.detached.iter().find_map(|one| named(&one.name))?;
            Some(never::refusal(pattern, table, None))
        };
        facts.never = facts.never.take().or_else(of_detached);
    }
    of_rows(session, cx, &mut tables, holds).await?;
    Ok(looked)
}

/// The bounds say how old a partition is, and would overrule another column without a word.
fn by_its_key(policy: &policy::RetentionTable, parent: &partitions::facts::TableFacts) -> Result<(), Refusal> {
    match &policy.column {
        Some(column) if parent.key.column.as_ref() != Some(column) => Err(Refusal::new(
            format!("{} is partitioned, and column {column} is not its key", policy.table.plain()),
            format!("remove it; or write newest = '{column}', if a partition is to stay that has a newer row by it"),
        )),
        _ => Ok(()),
    }
}

async fn of_tables(session: &Session, tables: &mut [&mut TableFacts]) -> Result<()> {
    let oids: Vec<u32> = tables.iter().map(|facts| facts.parent.oid).collect();
    let schemas: Vec<Option<String>> = tables
        .iter()
        .map(|facts| match Fate::of(&facts.policy) {
            Ok(Fate::Archive(to)) => Some(to.as_str().to_owned()),
            _ => None,
        })
        .collect();
    let newest: Vec<Option<&str>> =
        tables.iter().map(|facts| facts.policy.newest.as_ref().map(Ident::as_str)).collect();
    let sql = catalog::who_may_act(include_str!("survey_tables.sql"), session.version);
    let rows = session.query(&sql, &[&oids, &schemas, &newest]).await.context("look up the tables of the job")?;
    let rows: HashMap<u32, _> = rows.iter().map(|row| (row.get::<_, u32>("oid"), row)).collect();
    for (facts, schema) in tables.iter_mut().zip(schemas) {
        let Some(row) = rows.get(&facts.parent.oid) else { continue };
        let schemas: Vec<String> = row.get("schemas");
        let names: Vec<String> = row.get("names");
        let lineage = schemas.into_iter().zip(names).map(|(schema, name)| TableName::found(schema, name));
        facts.lineage = lineage.collect::<Result<_, _>>()?;
        let (table, owner) = (facts.parent.table.clone(), facts.parent.owner.clone());
        let (name, role): (String, String) = (table.plain(), row.get("role"));
        let mut obstacle = |why: String, mend: String| facts.obstacles.push(Refusal { why, mend });
        if !row.get::<_, bool>("may_act") {
            obstacle(
                format!("role {role} may not act as {owner}, which owns {name}: only that one can detach a partition"),
                format!("GRANT {owner} TO {role};"),
            );
        }
        if !row.get::<_, bool>("may_lock") {
            obstacle(
                format!("{owner}, which owns {name}, may not lock it, having no right to UPDATE, DELETE or TRUNCATE"),
                format!("GRANT TRUNCATE ON {table} TO {owner};"),
            );
        }
        match schema {
            Some(schema) if !row.get::<_, bool>("has_schema") => {
                let schema = Ident::found(schema)?;
                obstacle(
                    format!("there is no schema {schema}, to which partitions of {name} are to move"),
                    format!("CREATE SCHEMA {schema} AUTHORIZATION {owner};"),
                );
            }
            Some(schema) if !row.get::<_, bool>("may_move") => {
                let schema = Ident::found(schema)?;
                obstacle(
                    format!("{owner}, which owns {name}, may not put tables into schema {schema}"),
                    format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner};"),
                );
            }
            _ => {}
        }
        if let Some(column) = &facts.policy.newest {
            match row.get::<_, Option<&str>>("newest_type") {
                None => obstacle(format!("{name} has no column {column}"), "correct newest".into()),
                Some(kind) if look::time_type(kind).is_none() => obstacle(
                    format!("column {column} of {name} is {kind}"),
                    "name a column of type timestamptz, timestamp or date with newest".into(),
                ),
                Some(_) => {}
            }
        }
        facts.references = catalog::references(session, facts.parent.oid).await?;
        if let Some(default) = &facts.parent.default
            && default.has_rows != Some(false)
        {
            facts.default_rows = counts::count(session, &facts.parent, default).await?;
        }
    }
    Ok(())
}

/// What is known of each partition that may have to go, is on its way, or has a mark.
async fn leaves(session: &Session, cx: &Context, tables: &mut [&mut TableFacts], holds: &Holds) -> Result<()> {
    let parents: Vec<u32> = tables.iter().map(|facts| facts.parent.oid).collect();
    let marked = session
        .query(include_str!("survey_marked.sql"), &[&mark::BEGINNING, &parents])
        .await
        .context("look for partitions that were to be detached")?;
    let marked: BTreeSet<u32> = marked.iter().map(|row| row.get(0)).collect();
    let left = session
        .query(include_str!("survey_detached.sql"), &[&mark::BEGINNING])
        .await
        .context("look for partitions that were detached and left")?;
    let left: Vec<_> = left
        .iter()
        .filter_map(|row| Some((row.get::<_, u32>(0), row, mark::parse(row.get(5))?)))
        .filter(|(oid, _, mark)| mark.is_of(*oid) && parents.contains(&mark.parent))
        .collect();
    let mut asked: Vec<u32> = left.iter().map(|(oid, ..)| *oid).collect();
    let (mut moving, mut schemas): (Vec<u32>, Vec<String>) = (Vec::new(), Vec::new());
    for facts in tables.iter() {
        let old = plan::candidates(facts, holds, cx.now);
        let other =
            facts.parent.partitions.iter().filter(|p| p.detach_pending || marked.contains(&p.oid)).map(|p| p.oid);
        let detached = left.iter().filter(|(_, _, mark)| mark.parent == facts.parent.oid).map(|(oid, ..)| *oid);
        let over = plan::over_leaves(facts, cx.now);
        let own: BTreeSet<u32> = old.into_iter().chain(other).chain(detached).chain(over).collect();
        if let Ok(Fate::Archive(to)) = Fate::of(&facts.policy) {
            moving.extend(&own);
            schemas.extend(own.iter().map(|_| to.as_str().to_owned()));
        }
        asked.extend(own);
    }
    asked.sort_unstable();
    asked.dedup();
    if asked.is_empty() {
        return Ok(());
    }
    let sql = catalog::who_may_act(include_str!("survey_leaves.sql"), session.version);
    let rows = session.query(&sql, &[&asked, &moving, &schemas]).await.context("look up partitions that are old")?;
    let sizes = sizes(session, &asked).await?;
    let mut found: HashMap<u32, LeafFacts> = HashMap::new();
    for row in &rows {
        let mut leaf = leaf_of(row)?;
        leaf.bytes = sizes.get(&row.get("oid")).copied();
        found.insert(row.get("oid"), leaf);
    }
    for facts in tables.iter_mut() {
        for (oid, row, mark) in left.iter().filter(|(_, _, mark)| mark.parent == facts.parent.oid) {
            let Some(leaf) = found.get(oid) else { continue };
            // Only its owner can have written the comment; what a stranger marks as ours is the stranger's own affair.
            if leaf.owner == facts.parent.owner || leaf.may_act {
                let name = TableName::found(row.get::<_, &str>(1), row.get::<_, &str>(2))?;
                facts.detached.push(Detached { name, oid: *oid, mark: mark.clone(), leaf: leaf.clone() });
            }
        }
        let own = facts.parent.partitions.iter().map(|partition| partition.oid);
        let own = own.chain(facts.parent.default.iter().map(|default| default.oid));
        facts.leaves = own.filter_map(|oid| Some((oid, found.get(&oid)?.clone()))).collect();
    }
    Ok(())
}

fn leaf_of(row: &Row) -> Result<LeafFacts> {
    let (schemas, names): (Vec<String>, Vec<String>) = (row.get("schemas"), row.get("names"));
    let tree = schemas.into_iter().zip(names).map(|(schema, name)| TableName::found(schema, name));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, and not negative")]
    let rows = row.get::<_, Option<f64>>("estimate").map(|n| n as u64);
    Ok(LeafFacts {
        kind: catalog::character(row.get("relkind")),
        owner: Ident::found(row.get::<_, String>("owner"))?,
        may_act: row.get("may_act"),
        may_lock: row.get("may_lock"),
        bound: row.get("bound"),
        bytes: None,
        rows,
        tree: tree.collect::<Result<_, _>>()?,
        comment: row.get("comment"),
        delete_triggers: row.get("delete_triggers"),
        dependents: row.get("dependents"),
        references: Vec::new(),
        referring: Vec::new(),
        newest: Newest::NotAsked,
        name_taken: row.get("name_taken"),
    })
}

/// One partition, as it is now; nothing if it is gone.
///
/// # Errors
/// The catalog cannot be read.
pub async fn leaf(session: &Session, oid: u32, to: Option<&Ident>) -> Result<Option<LeafFacts>> {
    let sql = catalog::who_may_act(include_str!("survey_leaves.sql"), session.version);
    let (oids, moving) = (vec![oid], to.map_or_else(Vec::new, |_| vec![oid]));
    let schemas: Vec<&str> = to.iter().map(|to| to.as_str()).collect();
    let row = session.query_opt(&sql, &[&oids, &moving, &schemas]).await.context("look at it once more")?;
    row.as_ref().map(leaf_of).transpose()
}

/// Of those that are next to go: the rows that refer to them, and the newest of their own.
async fn of_rows(session: &Session, cx: &Context, tables: &mut [&mut TableFacts], holds: &Holds) -> Result<()> {
    let candidates: Vec<Vec<u32>> = tables.iter().map(|facts| plan::candidates(facts, holds, cx.now)).collect();
    let all: Vec<u32> = candidates.iter().flatten().copied().collect();
    for (facts, candidates) in tables.iter_mut().zip(candidates) {
        let names: HashMap<u32, TableName> =
            facts.parent.partitions.iter().map(|partition| (partition.oid, partition.name.clone())).collect();
        let cutoff = facts.policy.keep.before(cx.now, facts.zone);
        let (newest, zone, most) = (facts.policy.newest.clone(), facts.zone, facts.policy.max_partitions);
        let mut next = 0;
        for oid in candidates {
            if next == most || cx.stop.requested().is_some() {
                break;
            }
            let (Some(leaf), Some(name)) = (facts.leaves.get_mut(&oid), names.get(&oid)) else { continue };
            if let (Some(column), Some(cutoff)) = (&newest, cutoff) {
                leaf.newest = look::newest(session, &leaf.owner, name, column, (cutoff, zone), look::GLANCE).await?;
            }
            leaf.references = catalog::references(session, oid).await?;
            let except: Vec<u32> = all.iter().copied().filter(|other| *other != oid).collect();
            leaf.referring =
                look::referring(session, &leaf.owner, name, &leaf.references, &except, look::GLANCE).await?;
            next += u32::from(leaf.referring.is_empty() && !matches!(leaf.newest, Newest::Newer(_)));
        }
    }
    Ok(())
}

/// The sizes; none where somebody has one of them locked.
async fn sizes(session: &Session, oids: &[u32]) -> Result<HashMap<u32, u64>> {
    match session.query(include_str!("survey_sizes.sql"), &[&oids]).await {
        Ok(rows) => {
            Ok(rows.iter().filter_map(|row| Some((row.get(0), row.get::<_, Option<i64>>(1)?.unsigned_abs()))).collect())
        }
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(HashMap::new()),
        Err(error) => Err(error).context("look up the sizes of partitions"),
    }
}
