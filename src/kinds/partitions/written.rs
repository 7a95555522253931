//! A new bound as SQL: the clause of ATTACH, the rows that belong into it, and whether a partition has it already.

use anyhow::{Context as _, Result, anyhow};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::ToSql;

use super::bound;
use super::facts::{Bound, Create, Edge, NewBound};
use crate::pg::{Session, TableName};

#[derive(Debug)]
pub struct Written {
    /// `FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')`.
    pub clause: String,
    /// Which rows belong into it; nothing where the key begins with an expression.
    pub rows: Option<Rows>,
    /// A query for its values as the server shows them, a row each.
    values: String,
}

#[derive(Debug)]
pub struct Rows {
    pub key: String,
    /// A condition that is never NULL for a row that belongs, and never true for one that does not.
    pub condition: String,
    /// The same as people write it, who know what they have on their search path.
    pub said: String,
}

impl Rows {
    /// `condition` puts operators around the key, as what it is given makes them.
    fn of(key: String, condition: impl Fn(&str, &dyn Fn(&'static str) -> String) -> String) -> Self {
        Self {
            // Rows are moved by the path of the database, since it is theirs that triggers go by: not so the operators.
            condition: condition(&key, &|operator| format!("OPERATOR(pg_catalog.{operator})")),
            said: condition(&key, &ToOwned::to_owned),
            key,
        }
    }
}

/// Has the server write it: no value is pasted into SQL by us.
///
/// # Errors
/// The parent is gone, or a value is none of the key's type.
pub async fn write(session: &Session, create: &Create) -> Result<Written> {
    let values: Vec<&str> = match &create.bound {
        NewBound::Range { from, to, .. } => vec![from, to],
        NewBound::List(values) => values.iter().map(String::as_str).collect(),
    };
    let rows = session
        .ask(include_str!("bound_sql.sql"), &[&create.parent_oid, &values])
        .await
        .with_context(|| format!("look at the key of {}", create.parent.plain()))?;
    let row = rows.first().ok_or_else(|| anyhow!("{} is gone, or partitioned no longer", create.parent.plain()))?;
    let literals: Vec<String> = row.get("literals");
    let (key, others): (Option<String>, String) = (row.get("key"), row.get("others"));
    // The type's name comes from the server's format_type, quoted where it must be.
    let kind = row.get::<_, Option<&str>>("type").unwrap_or("text");
    // As the type writes its values: a cast to text would take the spaces off a character(n).
    let shown: Vec<_> = literals.iter().map(|literal| format!("(CAST({literal} AS {kind}))")).collect();
    let values = format!("VALUES {}", shown.join(", "));
    let (clause, rows) = match &create.bound {
        NewBound::Range { columns, .. } => {
            let rest = ", MINVALUE".repeat(columns.saturating_sub(1));
            let (from, to) = (&literals[0], &literals[1]);
            (
                format!("FOR VALUES FROM ({from}{rest}) TO ({to}{rest})"),
                key.map(|key| {
                    Rows::of(key, |key, by| format!("{key} {} {from} AND {key} {} {to}{others}", by(">="), by("<")))
                }),
            )
        }
        NewBound::List(_) => {
            // Not IN, which would look for an operator by its name.
            let any = |key: &str, by: &dyn Fn(&'static str) -> String| {
                let each: Vec<_> = literals.iter().map(|literal| format!("{key} {} {literal}", by("="))).collect();
                format!("({})", each.join(" OR "))
            };
            (format!("FOR VALUES IN ({})", literals.join(", ")), key.map(|key| Rows::of(key, any)))
        }
    };
    Ok(Written { clause, rows, values })
}

/// The partition that has exactly this bound, if there is one.
///
/// # Errors
/// The catalog cannot be read.
pub async fn holder(session: &Session, create: &Create, written: &Written) -> Result<Option<TableName>> {
    let of: [&(dyn ToSql + Sync); 1] = [&create.parent_oid];
    let (shown, rows) = tokio::join!(
        biased;
        shown(session, &create.bound, written),
        session.ask(
            // Given the table, it would wait for whoever has it locked.
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, 0)
             FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE i.inhparent = $1",
            &of,
        )
    );
    let (shown, rows) = (shown?, rows.context("read the bounds of the partitions")?);
    let same = |found: &Bound| match (found, &shown) {
        (Bound::List(found), Bound::List(wanted)) => {
            found.len() == wanted.len() && wanted.iter().all(|value| found.contains(value))
        }
        (found, wanted) => found == wanted,
    };
    let found = rows.iter().find(|row| row.get::<_, Option<&str>>(2).is_some_and(|text| same(&bound::read(text))));
    found.map(|row| Ok(TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?)).transpose()
}

/// The bound as the server shows it.
async fn shown(session: &Session, bound: &NewBound, written: &Written) -> Result<Bound> {
    let answer =
        session.simple_query(&written.values).await.context("read the new bound as a value of the key's type")?;
    let mut values = answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    });
    Ok(match bound {
        NewBound::Range { .. } => {
            let mut edge = || values.next().map(Edge::Value).context("the server did not show the new bound");
            Bound::Range { from: edge()?, to: edge()?, exact: true }
        }
        NewBound::List(_) => Bound::List(values.map(Some).collect()),
    })
}
