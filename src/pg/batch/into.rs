//! Where rows go, in the very statement that deletes them: there is no moment at which a row is in neither place, or in
//! both, for anybody to see or for a crash to leave behind.

use tokio_postgres::types::ToSql;

use super::{Deletion, Summary};
use crate::pg::{Ident, TableName};

/// What becomes of deleted rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Into {
    Archive(Archive),
    /// They are counted.
    Summary(Summary),
}

/// Rows are inserted as they are into another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    pub table: TableName,
    pub oid: u32,
    /// The columns that are handed over, each under its own name.
    pub columns: Vec<Ident>,
    /// Each of them with its type, as the catalog has them: `size integer`. The same in the archive and where rows come from.
    pub types: Vec<String>,
}

impl Into {
    /// Where they go.
    pub const fn table(&self) -> &TableName {
        match self {
            Into::Archive(archive) => &archive.table,
            Into::Summary(summary) => &summary.table,
        }
    }

    pub const fn summary(&self) -> Option<&Summary> {
        match self {
            Into::Archive(_) => None,
            Into::Summary(summary) => Some(summary),
        }
    }

    /// The same for a leaf in which these columns are never NULL.
    #[must_use]
    pub fn of_leaf(self, not_null: &[Ident]) -> Self {
        match self {
            Into::Archive(_) => self,
            Into::Summary(summary) => Into::Summary(summary.of_leaf(not_null)),
        }
    }

    /// What must hold besides for a row to go there, each with an AND before it. `own` is the number of parameters that the
    /// statement has of its own, here and below.
    pub(super) fn condition(&self, of: &Deletion, own: usize) -> String {
        match self {
            Into::Archive(_) => String::new(),
            Into::Summary(summary) => summary.condition(of, own),
        }
    }

    /// The values of the parameters that come after the statement's own.
    pub(super) fn parameters(&self, of: &Deletion) -> Vec<&(dyn ToSql + Sync)> {
        match self {
            Into::Archive(archive) => vec![&archive.oid, &archive.types],
            Into::Summary(summary) => summary.parameters(of),
        }
    }

    /// What the deletion returns for it, each with a comma before it.
    pub(super) fn returned(&self, of: &Deletion, own: usize) -> String {
        match self {
            Into::Archive(Archive { columns, .. }) => {
                let alias = &of.alias;
                columns.iter().enumerate().map(|(n, column)| format!(", {alias}.{column} AS kept_{n}")).collect()
            }
            Into::Summary(summary) => summary.returned(of, own),
        }
    }

    /// The steps that come after `gone`, each with a comma before it.
    pub(super) fn steps(&self) -> String {
        match self {
            Into::Archive(Archive { table, columns, .. }) => {
                let names: Vec<_> = columns.iter().map(ToString::to_string).collect();
                let values: Vec<_> = (0..columns.len()).map(|n| format!("kept_{n}")).collect();
                format!(
                    ",\nmoved AS (\n  INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE\n  SELECT {} FROM gone RETURNING 1\n)",
                    names.join(", "),
                    values.join(", ")
                )
            }
            Into::Summary(summary) => summary.steps(),
        }
    }

    /// An expression that fails with 22012 (division by zero), and so takes everything back, unless all has arrived as it
    /// was: a trigger there may have kept a row out without a word, and a column that was altered since the plan, on either
    /// side, would have its values rounded without one. Nobody can alter one while the statement has the two tables.
    pub(super) fn all_arrived(&self, of: &Deletion, own: usize) -> String {
        match self {
            Into::Archive(_) => format!(
                "1 OPERATOR(pg_catalog./) ((SELECT pg_catalog.count(*) FROM moved) OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) FROM gone)\n    \
                 AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute\n      \
                 WHERE attrelid OPERATOR(pg_catalog.=) ANY (ARRAY[{}::pg_catalog.oid, ${}::pg_catalog.oid])\n      \
                 AND attnum::int OPERATOR(pg_catalog.>) 0 AND NOT attisdropped\n      \
                 AND pg_catalog.concat(attname, ' ', pg_catalog.format_type(atttypid, atttypmod)) \
                 OPERATOR(pg_catalog.=) ANY (${types}::pg_catalog.text[]))\n      \
                 OPERATOR(pg_catalog.=) (2 OPERATOR(pg_catalog.*) pg_catalog.cardinality(${types}::pg_catalog.text[]))::bigint)::int",
                of.oid,
                own + 1,
                types = own + 2,
            ),
            Into::Summary(summary) => format!("1 OPERATOR(pg_catalog./) ({})::int", summary.all_arrived()),
        }
    }
}
