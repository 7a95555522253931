//! A new bound as SQL: the clause of ATTACH, the rows that belong into it, and whether a partition has it already.

use anyhow::{Context as _, Result, anyhow};

use super::bound;
use super::facts::{Bound, Create, Edge, NewBound};
use crate::pg::{Session, TableName};

#[derive(Debug)]
pub struct Written {
    /// `FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')`.
    pub clause: String,
    /// Which rows belong into it; nothing where the key begins with an expression.
    pub rows: Option<Rows>,
    /// The bound as the server shows it.
    shown: Bound,
}

#[derive(Debug)]
pub struct Rows {
    pub key: String,
    /// A condition that is never NULL for a row that belongs, and never true for one that does not.
    pub condition: String,
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
    let row = session
        .query_opt(include_str!("bound_sql.sql"), &[&create.parent_oid, &values])
        .await
        .with_context(|| format!("look at the key of {}", create.parent.plain()))?
        .ok_or_else(|| anyhow!("{} is gone, or partitioned no longer", create.parent.plain()))?;
    let literals: Vec<String> = row.get("literals");
    let (key, others): (Option<String>, String) = (row.get("key"), row.get("others"));
    let shown = match row.get::<_, Option<String>>("type") {
        // Its name comes from the server's format_type, quoted where it must be.
        Some(kind) => {
            // As the type writes its values: a cast to text would take the spaces off a character(n).
            let list: Vec<_> = literals.iter().map(|literal| format!("concat(CAST({literal} AS {kind}))")).collect();
            let sql = format!("SELECT ARRAY[{}]", list.join(", "));
            session.query_one(&sql, &[]).await.context("read the new bound as a value of the key's type")?.get(0)
        }
        None => values.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    Ok(match &create.bound {
        NewBound::Range { columns, .. } => {
            let rest = ", MINVALUE".repeat(columns.saturating_sub(1));
            let (from, to) = (&literals[0], &literals[1]);
            Written {
                clause: format!("FOR VALUES FROM ({from}{rest}) TO ({to}{rest})"),
                rows: key.map(|key| Rows { condition: format!("{key} >= {from} AND {key} < {to}{others}"), key }),
                shown: Bound::Range {
                    from: Edge::Value(shown[0].clone()),
                    to: Edge::Value(shown[1].clone()),
                    exact: true,
                },
            }
        }
        NewBound::List(_) => Written {
            clause: format!("FOR VALUES IN ({})", literals.join(", ")),
            rows: key.map(|key| Rows { condition: format!("{key} IN ({})", literals.join(", ")), key }),
            shown: Bound::List(shown.into_iter().map(Some).collect()),
        },
    })
}

/// The partition that has exactly this bound, if there is one.
///
/// # Errors
/// The catalog cannot be read.
pub async fn holder(session: &Session, create: &Create, written: &Written) -> Result<Option<TableName>> {
    let rows = session
        .query(
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
             FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE i.inhparent = $1",
            &[&create.parent_oid],
        )
        .await
        .context("read the bounds of the partitions")?;
    let same = |found: &Bound| match (found, &written.shown) {
        (Bound::List(found), Bound::List(wanted)) => {
            found.len() == wanted.len() && wanted.iter().all(|value| found.contains(value))
        }
        (found, wanted) => found == wanted,
    };
    let found = rows.iter().find(|row| row.get::<_, Option<&str>>(2).is_some_and(|text| same(&bound::read(text))));
    found.map(|row| Ok(TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?)).transpose()
}
