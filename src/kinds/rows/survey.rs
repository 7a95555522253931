//! Finds out what the plan needs to know of a table. Reads only, and only for so long.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::objects::ObjectsOf;
use super::plan::{self, Count, LeafFacts, ObjectFacts, Refusal, TableFacts, Work};
use super::{Wanted, Words, objects};
use crate::kinds::{Context, never};
use crate::pg::batch::{self, Access, Cutoff, Deletion, Into, Objects};
use crate::pg::catalog::{self, Leaf, OnDelete, Relation};
use crate::pg::{Ident, Session, TableName, split};

/// So long may counting take, for each leaf and question.
const PATIENCE: Duration = Duration::from_secs(2);
/// Fewer rows than this are a few batches at most, and go by the index if there is one.
const MANY: f64 = 10_000.0;
/// Beyond this many rows it is "more than".
const MOST: u64 = 100_000;

/// How much is to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Which rows are due, for a plan.
    Due,
    /// Also how many have no time, even if that means to read for a while: for `check`.
    Nulls,
}

/// The table itself, or why nothing of it can be done.
///
/// # Errors
/// The server cannot be asked.
pub async fn root(session: &Session, wanted: &Wanted) -> Result<Result<Relation, Refusal>> {
    let name = &wanted.table;
    let refused = |why: String, mend: String| Ok(Err(Refusal { why, mend }));
    let Some(root) = catalog::relation(session, name).await? else {
        let alike = catalog::like_named(session, name).await?;
        let mend = match alike.first() {
            // In TOML single quotes, because a name in other letters needs double quotes of its own.
            Some(first) => format!("is it table = '{}'?", first.plain()),
            None => "create it, or correct the name".into(),
        };
        return refused(format!("there is no table {}", name.plain()), mend);
    };
    if !matches!(root.kind, 'r' | 'p') {
        return refused(
            format!("{} is {}, and rows are deleted from tables only", name.plain(), catalog::kind_name(root.kind)),
            "name the table that has the rows".into(),
        );
    }
    if !root.schema_usage {
        return refused(
            format!("role {} may not use schema {}", root.role, name.schema),
            format!("GRANT USAGE ON SCHEMA {} TO {};", name.schema, root.role),
        );
    }
    if root.row_security {
        return Ok(Err(row_security(name, &root)));
    }
    let deletes = !matches!(wanted.into, Some(Into::Archive(_)));
    if let Some(refusal) = never::refuse(session, name, root.oid, deletes).await? {
        return Ok(Err(refusal));
    }
    if let Some(column) = wanted.time.column().filter(|column| !root.columns.contains(*column)) {
        let key = wanted.words.key();
        let mend = nearest(&root, column)
            .map_or_else(String::new, |near| format!("name it with {key}; the nearest is {near}"));
        return refused(format!("{} has no column {column}", name.plain()), mend);
    }
    Ok(Ok(root))
}

/// The column whose name is most like that one.
pub fn nearest<'a>(root: &'a Relation, column: &Ident) -> Option<&'a Ident> {
    let like = |other: &Ident| strsim::jaro_winkler(&other.as_str().to_lowercase(), &column.as_str().to_lowercase());
    root.columns.iter().max_by(|a, b| like(a).total_cmp(&like(b)))
}

/// # Errors
/// The server cannot be asked. What is wrong with the table itself is a refusal among the facts.
pub async fn table(session: &Session, cx: &Context, wanted: &Wanted, depth: Depth) -> Result<TableFacts> {
    let refused = |Refusal { why, mend }| Ok(TableFacts::refused(wanted, why, mend));
    let root = match root(session, wanted).await? {
        Ok(root) => root,
        Err(refusal) => return refused(refusal),
    };
    let time_type = match compile(session, wanted).await? {
        Ok(time_type) => time_type,
        Err(refusal) => return refused(refusal),
    };
    if let Err(refusal) = objects::readable(session, wanted, &root).await? {
        return refused(refusal);
    }
    let cutoff = plan::cutoff(wanted.before, time_type, wanted.zone);
    let cutoff = match (wanted.words, time_type, cutoff) {
        // A row that says only its day is old when all of that day is.
        (Words::Old, "date", Cutoff::Wall(at)) => Cutoff::Wall(at.date().into()),
        (_, _, cutoff) => cutoff,
    };

    let mut facts = TableFacts::new(wanted);
    for leaf in catalog::leaves(session, root.oid).await? {
        if let Some(reason) = cx.stop.requested() {
            bail!("{}", reason.sentence());
        }
        let refusal = refusal(&leaf, &root).or_else(|| unseen(&leaf, wanted, &root));
        let work = if refusal.is_none() && leaf.kind == 'r' {
            Some(work(session, cx, wanted, &leaf, time_type, cutoff, depth).await?)
        } else {
            None
        };
        facts.leaves.push(LeafFacts { leaf, refusal, work });
    }
    Ok(facts)
}

/// Whether the time and the condition are SQL for this table; gives the type of the time. Nothing is run.
async fn compile(session: &Session, wanted: &Wanted) -> Result<Result<&'static str, Refusal>> {
    session.by_their_path().await?;
    let compiled = compile_by_their_path(session, wanted).await;
    session.by_our_path().await?;
    compiled
}

async fn compile_by_their_path(session: &Session, wanted: &Wanted) -> Result<Result<&'static str, Refusal>> {
    let from = format!("{} AS {}", wanted.table, wanted.table.name);
    let said = wanted.time.said();
    let time = wanted.time.sql();
    // A name is quoted, whatever is in it; what was written as SQL has to stay within its parentheses.
    let mut parts = vec![(said.as_str(), time.clone(), wanted.time.column().is_none())];
    parts.extend(wanted.condition.as_ref().map(|sql| ("where", batch::parenthesized(sql), true)));
    let mut types = Vec::new();
    for (said, sql, is_written) in parts {
        let refusal = |why: String, mend: &str| {
            Ok(Err(Refusal { why: format!("{said} of {}: {why}", wanted.table.plain()), mend: mend.into() }))
        };
        if is_written && !split::is_whole(&sql[1..sql.len() - 1]) {
            return refusal("a parenthesis in it is closed that is not open, or stays open".into(), "correct it");
        }
        match session.prepare(&format!("SELECT {sql} FROM {from}")).await {
            Ok(statement) if !statement.params().is_empty() => {
                return refusal("it has a parameter".into(), "write the value itself");
            }
            Ok(statement) => types.push(statement.columns()[0].type_().clone()),
            Err(error) => match error.as_db_error() {
                // What is wrong with the SQL: syntax, names, types, values. All else is the server's trouble.
                Some(words) if ["42", "22", "0A"].contains(&&words.code().code()[..2]) => {
                    let hint = words.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    return refusal(format!("PostgreSQL says: {}{hint}", words.message()), "correct it");
                }
                _ => return Err(error.into()),
            },
        }
        let wrong = |right: &str| format!("it is of type {}, and must be {right}", types[types.len() - 1]);
        match (types.len(), &types[types.len() - 1]) {
            (1, t) if *t == Type::TIMESTAMPTZ || *t == Type::TIMESTAMP || *t == Type::DATE => {}
            (1, _) => {
                let mend = match wanted.words {
                    Words::Counted => "name another column with time",
                    Words::Old => "name another column",
                    Words::Ended => "make one with expression, such as to_timestamp(expires_at_seconds)",
                };
                return refusal(wrong("timestamptz, timestamp or date"), mend);
            }
            (_, t) if *t == Type::BOOL => {}
            _ => return refusal(wrong("boolean"), "write a condition"),
        }
    }
    Ok(Ok(match &types[0] {
        t if *t == Type::TIMESTAMPTZ => "timestamptz",
        t if *t == Type::TIMESTAMP => "timestamp",
        _ => "date",
    }))
}

/// The index from which a plan has the rows of that table in order: also where a condition that asks about other tables
/// (`NOT EXISTS`, `IN`) made a join of it, whose outer side keeps its order in a nested loop, and in no other join.
fn ordered_by<'a>(node: &'a Value, alias: &Ident) -> Option<&'a str> {
    match node["Node Type"].as_str()? {
        "Index Scan" if node["Alias"] == alias.as_str() && node.get("Index Cond").is_some() => {
            node["Index Name"].as_str()
        }
        "Nested Loop" => {
            let outer = node["Plans"].as_array()?.iter().find(|plan| plan["Parent Relationship"] == "Outer")?;
            ordered_by(outer, alias)
        }
        _ => None,
    }
}

fn row_security(table: &TableName, root: &Relation) -> Refusal {
    Refusal {
        why: format!("row security hides rows of {} from role {}", table.plain(), root.role),
        mend: format!("run as its owner, or ALTER ROLE {} BYPASSRLS;", root.role),
    }
}

/// What forbids the work on a leaf.
fn refusal(leaf: &Leaf, root: &Relation) -> Option<Refusal> {
    if leaf.kind != 'r' {
        return None;
    }
    if leaf.row_security {
        return Some(row_security(&leaf.name, root));
    }
    if leaf.missing.is_empty() {
        return None;
    }
    let (schema, table): (Vec<_>, Vec<_>) = leaf.missing.iter().cloned().partition(|privilege| privilege == "USAGE");
    let mut grants = Vec::new();
    if !schema.is_empty() {
        grants.push(format!("GRANT USAGE ON SCHEMA {} TO {};", leaf.name.schema, root.role));
    }
    if !table.is_empty() {
        grants.push(format!("GRANT {} ON {} TO {};", table.join(", "), leaf.name, root.role));
    }
    Some(Refusal {
        why: format!(
            "role {} lacks {} on {} (rows are locked before they are deleted, which takes UPDATE)",
            root.role,
            leaf.missing.join(", "),
            leaf.name.plain()
        ),
        mend: grants.join(" "),
    })
}

/// Rows that are to move must be known to have nobody who would go, or change, with them.
fn unseen(leaf: &Leaf, wanted: &Wanted, root: &Relation) -> Option<Refusal> {
    let moves = matches!(wanted.into, Some(Into::Archive(_)));
    let key = leaf.referenced_by.iter().find(|key| moves && !key.readable && key.on_delete != OnDelete::Refuse)?;
    Some(Refusal {
        why: format!(
            "whether rows of {} refer to rows of {} cannot be seen, and they would go or change with them (constraint {}, {})",
            key.table.plain(),
            leaf.name.plain(),
            key.constraint,
            key.on_delete.sql(),
        ),
        mend: format!("GRANT SELECT ON {} TO {};", key.table, root.role),
    })
}

async fn work(
    session: &Session,
    cx: &Context,
    wanted: &Wanted,
    leaf: &Leaf,
    time_type: &'static str,
    cutoff: Cutoff,
    depth: Depth,
) -> Result<Work> {
    let readable = |on: fn(OnDelete) -> bool| {
        leaf.referenced_by.iter().filter(move |key| key.readable && on(key.on_delete)).cloned()
    };
    // A row that moves would take along, or orphan, whatever refers to it: it stays, whatever the key would do on delete.
    let moves = matches!(wanted.into, Some(Into::Archive(_)));
    let mut deletion = Deletion {
        leaf: leaf.name.clone(),
        oid: leaf.oid,
        alias: wanted.table.name.clone(),
        time: wanted.time.sql(),
        time_type,
        cutoff,
        conditions: wanted.condition.iter().cloned().collect(),
        refused_by: readable(if moves { |_| true } else { |on| on == OnDelete::Refuse }).collect(),
        // Counting is by the index or not at all.
        followed_by: readable(|on| on != OnDelete::Refuse).filter(|key| key.indexed && !moves).collect(),
        access: Access::Blocks,
        guarded: !leaf.delete_triggers.is_empty(),
        into: wanted.into.clone().map(|into| into.of_leaf(&leaf.not_null)),
        objects: wanted.objects.as_ref().map(|of| Objects { column: of.column.clone(), table: wanted.table.clone() }),
    };
    let look = Look { session, cx, leaf };
    let ByIndex { index, worth_it, estimated } = look.index(&deletion).await?;
    if let Some(index) = index.clone().filter(|_| worth_it) {
        deletion.access = Access::Index(index);
    }
    let from = deletion.from();
    let due = look.count(&from, &deletion.condition(), Some(&cutoff)).await?;
    let mut kept = Vec::new();
    for key in &deletion.refused_by {
        let condition = format!("{} AND {}", deletion.due(), deletion.referenced(key));
        kept.push((key.clone(), look.count(&from, &condition, Some(&cutoff)).await?));
    }
    let mut without = Vec::new();
    for column in deletion.into.as_ref().and_then(Into::summary).map_or(&[][..], |summary| &summary.required) {
        let condition = format!("{} AND {}.{column} IS NULL", deletion.condition(), deletion.alias);
        without.push((column.clone(), look.count(&from, &condition, Some(&cutoff)).await?));
    }
    let nulls = if wanted.time.column().is_some_and(|column| leaf.not_null.contains(column)) {
        Count::Exactly(0)
    } else if depth == Depth::Nulls || index.is_some() {
        look.count(&from, &format!("{} IS NULL", deletion.time), None).await?
    } else {
        // Without an index it would be a scan more in each run: the planner's statistics will do.
        look.nulls_by_statistics(wanted).await?
    };
    let objects = match &wanted.objects {
        Some(of) => Some(look.objects(&deletion, of, depth).await?),
        None => None,
    };
    Ok(Work { deletion, index, due, estimated, kept, nulls, without, objects })
}

/// How the planner would find the due rows in order.
#[derive(Debug, Default)]
struct ByIndex {
    index: Option<String>,
    /// Whether that costs less than to read the whole table.
    worth_it: bool,
    /// How many there are, as it thinks.
    estimated: Option<u64>,
}

struct Look<'a> {
    session: &'a Session,
    cx: &'a Context,
    leaf: &'a Leaf,
}

impl Look<'_> {
    /// The index by which the due rows are found in order, by asking the planner: it knows about partial indexes,
    /// expressions and invalid ones. And whether to use it: where a large part of the table is due, in another order than it
    /// lies on disk, reading all of it once costs less, and the planner can tell.
    async fn index(&self, deletion: &Deletion) -> Result<ByIndex> {
        let due = format!("SELECT ctid FROM {} WHERE {}", deletion.from(), deletion.due());
        let sql = format!("EXPLAIN (FORMAT JSON) {due} ORDER BY {}", deletion.time);
        let settings = batch::planner_settings(&Access::Index(String::new()));
        let Some(row) = self.bounded(settings, &sql, Some(&deletion.cutoff)).await? else {
            return Ok(ByIndex::default());
        };
        let plan: Value = row.get(0);
        let by_index = &plan[0]["Plan"];
        let estimated = by_index["Plan Rows"].as_u64();
        let Some(name) = ordered_by(by_index, &deletion.alias) else {
            return Ok(ByIndex { estimated, ..ByIndex::default() });
        };
        let index = Some(name.into());
        if by_index["Plan Rows"].as_f64().is_none_or(|rows| rows < MANY) {
            return Ok(ByIndex { index, worth_it: true, estimated });
        }
        let by_blocks = "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; \
                         SET max_parallel_workers_per_gather = 0";
        let all = self.bounded(by_blocks, &format!("EXPLAIN (FORMAT JSON) {due}"), Some(&deletion.cutoff)).await?;
        let all: Value = all.map_or(Value::Null, |row| row.get(0));
        let dearer = by_index["Total Cost"].as_f64() > all[0]["Plan"]["Total Cost"].as_f64();
        Ok(ByIndex { index, worth_it: !dearer, estimated })
    }

    async fn count(&self, from: &str, condition: &str, cutoff: Option<&Cutoff>) -> Result<Count> {
        let rows = format!("SELECT 1 FROM {from} WHERE {condition}");
        let sql = format!("SELECT pg_catalog.count(*) FROM ({rows} LIMIT {}) AS found", MOST + 1);
        if let Some(row) = self.bounded("", &sql, cutoff).await? {
            let n = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
            return Ok(if n > MOST { Count::MoreThan(MOST) } else { Count::Exactly(n) });
        }
        let Some(row) = self.bounded("", &format!("EXPLAIN (FORMAT JSON) {rows}"), cutoff).await? else {
            return Ok(Count::Unknown);
        };
        let plan: Value = row.get(0);
        Ok(plan[0]["Plan"]["Plan Rows"].as_u64().map_or(Count::Unknown, Count::About))
    }

    /// The objects of rows that are due; for `check`, of any.
    async fn objects(&self, deletion: &Deletion, of: &ObjectsOf, depth: Depth) -> Result<ObjectFacts> {
        let (store, column) = (of.find(self.cx)?, &of.column);
        let indexed = objects::is_indexed(self.session, self.leaf, column).await?;
        let (condition, cutoff) = match depth {
            Depth::Due => (format!("{} AND ", deletion.condition()), Some(&deletion.cutoff)),
            Depth::Nulls => (String::new(), None),
        };
        let sql = format!(
            "SELECT coalesce(pg_catalog.array_agg(address), '{{}}') FROM (SELECT {0}.{column}::pg_catalog.text AS address FROM {1} \
             WHERE {condition}{0}.{column} OPERATOR(pg_catalog.<>) '' LIMIT {2}) AS found",
            deletion.alias,
            deletion.from(),
            objects::LOOKED_AT,
        );
        let addresses = self.bounded("", &sql, cutoff).await?.map_or_else(Vec::new, |row| row.get(0));
        Ok(objects::sorted(store, indexed, &addresses))
    }

    async fn nulls_by_statistics(&self, wanted: &Wanted) -> Result<Count> {
        let Some(column) = wanted.time.column() else { return Ok(Count::Unknown) };
        let row = self
            .session
            .query_opt(
                "SELECT round(s.null_frac * c.reltuples)::bigint
                 FROM pg_catalog.pg_stats s, pg_catalog.pg_class c
                 WHERE c.oid = $1::oid AND c.reltuples > 0 AND s.schemaname = $2 AND s.tablename = $3 AND s.attname = $4 AND NOT s.inherited",
                &[&self.leaf.oid, &self.leaf.name.schema.as_str(), &self.leaf.name.name.as_str(), &column.as_str()],
            )
            .await?;
        Ok(match row.and_then(|row| row.get::<_, Option<i64>>(0)) {
            Some(0) | None => Count::Unknown,
            Some(n) => Count::About(u64::try_from(n).unwrap_or_default()),
        })
    }

    /// One row of an answer, or nothing if it would have taken too long. The conditions in it are the operator's.
    async fn bounded(&self, settings: &str, sql: &str, cutoff: Option<&Cutoff>) -> Result<Option<Row>> {
        let settings = settings.replace("SET ", "SET LOCAL ");
        self.session
            .batch_execute(&format!(
                "BEGIN READ ONLY; SET LOCAL search_path TO DEFAULT; SET LOCAL statement_timeout = {}; {settings}",
                PATIENCE.as_millis()
            ))
            .await?;
        let answer = match cutoff {
            Some(Cutoff::Instant(at)) => self.session.query_one(sql, &[at as &(dyn ToSql + Sync)]).await,
            Some(Cutoff::Wall(at)) => self.session.query_one(sql, &[at as &(dyn ToSql + Sync)]).await,
            None => self.session.query_one(sql, &[]).await,
        };
        // Not needed on a connection that is gone, whose error is the one to tell.
        let _ = self.session.batch_execute("ROLLBACK").await;
        match answer {
            Ok(row) => Ok(Some(row)),
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => match self.cx.stop.requested() {
                Some(reason) => bail!("{}", reason.sentence()),
                None => Ok(None),
            },
            Err(error) => Err(anyhow!(error).context(format!("count rows of {}", self.leaf.name.plain()))),
        }
    }
}
