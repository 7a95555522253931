//! What the catalog says about a table: what it is, its leaves, who may do what, what hangs on it.
//!
//! Everything is asked by oid once a name has been found, so that no search path and no quoting can lead elsewhere.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use super::{Ident, TableName};

/// A relation under a name of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    /// `pg_class.relkind`.
    pub kind: char,
    pub columns: Vec<Ident>,
    /// Whether row security would hide rows from the session's role.
    pub row_security: bool,
    pub schema_usage: bool,
    pub role: Ident,
}

/// A table that has rows of its own: a partition, a child by inheritance, or the table itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub oid: u32,
    pub name: TableName,
    pub kind: char,
    pub row_security: bool,
    /// Of SELECT, UPDATE and DELETE, what the session's role may not do; `USAGE` stands for that of the schema.
    pub missing: Vec<String>,
    /// Columns that cannot be NULL.
    pub not_null: Vec<Ident>,
    /// Enabled BEFORE DELETE triggers.
    pub delete_triggers: Vec<String>,
    /// How many rows it has, by the statistics; nothing where it was never looked at.
    pub rows: Option<u64>,
    pub referenced_by: Vec<Reference>,
}

/// A foreign key, seen from the table it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub constraint: String,
    pub table: TableName,
    pub on_delete: OnDelete,
    /// The key in the referencing table, and what it points at, in the same order.
    pub columns: Vec<Ident>,
    pub referenced: Vec<Ident>,
    /// By which operator each value there is the same as that here, as SQL: the key's own, whatever the search path.
    pub operators: Vec<String>,
    /// Whether a usable index of the referencing table begins with the key.
    pub indexed: bool,
    /// Whether the session's role can read the referencing table, whole.
    pub readable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// NO ACTION and RESTRICT: the row stays while another points at it.
    Refuse,
    Cascade,
    SetNull,
    SetDefault,
}

impl OnDelete {
    /// `pg_constraint.confdeltype`.
    pub fn of(letter: i8) -> Self {
        match character(letter) {
            'c' => Self::Cascade,
            'n' => Self::SetNull,
            'd' => Self::SetDefault,
            _ => Self::Refuse,
        }
    }

    pub const fn sql(self) -> &'static str {
        match self {
            OnDelete::Refuse => "ON DELETE NO ACTION",
            OnDelete::Cascade => "ON DELETE CASCADE",
            OnDelete::SetNull => "ON DELETE SET NULL",
            OnDelete::SetDefault => "ON DELETE SET DEFAULT",
        }
    }
}

/// What a `relkind` is called.
pub const fn kind_name(kind: char) -> &'static str {
    match kind {
        'r' => "a table",
        'p' => "a partitioned table",
        'v' => "a view",
        'm' => "a materialized view",
        'f' => "a foreign table",
        'S' => "a sequence",
        'i' | 'I' => "an index",
        _ => "not a table",
    }
}

fn idents(names: Vec<String>) -> Result<Vec<Ident>> {
    names.into_iter().map(|name| Ident::found(name).map_err(Into::into)).collect()
}

/// A query that asks by `pg_has_role(…, 'MEMBER')` whether our role may act as another, for a server of this version: from 16
/// on a member need not be allowed to SET ROLE, and that is asked instead.
pub fn who_may_act(sql: &str, version: i32) -> String {
    debug_assert!(sql.contains("'MEMBER'"), "it asks nothing about members: {sql}");
    if version >= 160_000 { sql.replace("'MEMBER'", "'SET'") } else { sql.to_owned() }
}

/// A `"char"` column.
#[allow(clippy::cast_sign_loss, reason = "a \"char\" of the catalog is ASCII")]
pub fn character(c: i8) -> char {
    char::from(c as u8)
}

/// # Errors
/// The catalog cannot be read.
pub async fn relation(client: &Client, name: &TableName) -> Result<Option<Relation>> {
    let row = client
        .query_opt(
            "SELECT c.oid, c.relkind, pg_catalog.row_security_active(c.oid),
                    pg_catalog.has_schema_privilege(n.oid, 'USAGE'), current_user::text,
                    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2",
            &[&name.schema.as_str(), &name.name.as_str()],
        )
        .await
        .with_context(|| format!("look up {}", name.plain()))?;
    row.map(|row| {
        Ok(Relation {
            oid: row.get(0),
            kind: character(row.get(1)),
            row_security: row.get(2),
            schema_usage: row.get(3),
            role: Ident::found(row.get::<_, String>(4))?,
            columns: idents(row.get(5))?,
        })
    })
    .transpose()
}

/// Tables whose name is that one in other letters, or that one in another schema.
///
/// # Errors
/// The catalog cannot be read.
pub async fn like_named(client: &Client, name: &TableName) -> Result<Vec<TableName>> {
    let rows = client
        .query(
            "SELECT n.nspname::text, c.relname::text
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = lower($1)
               AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
             ORDER BY lower(n.nspname) <> lower($2), 1, 2 LIMIT 5",
            &[&name.name.as_str(), &name.schema.as_str()],
        )
        .await
        .with_context(|| format!("look for tables named like {}", name.plain()))?;
    rows.iter().map(|row| Ok(TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?)).collect()
}

/// The tables under `root` that have rows of their own, itself included, by name. A partition whose detaching has begun is
/// no longer one.
///
/// # Errors
/// The catalog cannot be read.
pub async fn leaves(client: &Client, root: u32) -> Result<Vec<Leaf>> {
    let rows = client.query(include_str!("catalog_leaves.sql"), &[&root]).await.context("look up partitions")?;
    let mut leaves = Vec::with_capacity(rows.len());
    for row in rows {
        let oid: u32 = row.get(0);
        leaves.push(Leaf {
            oid,
            name: TableName::found(row.get::<_, String>(1), row.get::<_, String>(2))?,
            kind: character(row.get(3)),
            row_security: row.get(4),
            missing: row.get(5),
            not_null: idents(row.get(6))?,
            delete_triggers: row.get(7),
            rows: row.get::<_, Option<i64>>(9).and_then(|rows| u64::try_from(rows).ok()),
            referenced_by: if row.get(8) { references(client, oid).await? } else { Vec::new() },
        });
    }
    Ok(leaves)
}

/// The foreign keys that point at a table.
///
/// # Errors
/// The catalog cannot be read.
pub async fn references(client: &Client, oid: u32) -> Result<Vec<Reference>> {
    let rows = client.query(include_str!("catalog_references.sql"), &[&oid]).await.context("look up foreign keys")?;
    rows.into_iter()
        .map(|row| {
            Ok(Reference {
                constraint: row.get(0),
                table: TableName::found(row.get::<_, String>(1), row.get::<_, String>(2))?,
                on_delete: OnDelete::of(row.get(3)),
                columns: idents(row.get(4))?,
                referenced: idents(row.get(5))?,
                operators: row.get(6),
                indexed: row.get(7),
                readable: row.get(8),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_16_on_it_is_asked_whether_a_member_may_set_the_role() {
        let sql = "SELECT pg_has_role(1, 'MEMBER')";
        assert_eq!(who_may_act(sql, 150_018), sql);
        assert_eq!(who_may_act(sql, 160_000), "SELECT pg_has_role(1, 'SET')");
    }

    #[test]
    #[should_panic(expected = "asks nothing about members")]
    fn a_query_that_came_to_ask_otherwise_is_found_out() {
        who_may_act("SELECT pg_has_role(1, 'USAGE')", 150_018);
    }
}
