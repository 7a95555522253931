//! Where rows go, in the very statement that deletes them: there is no moment at which a row is in neither place, or in
//! both, for anybody to see or for a crash to leave behind.

use crate::pg::{Ident, TableName};

/// What becomes of deleted rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Into {
    Archive(Archive),
}

/// Rows are inserted as they are into another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    pub table: TableName,
    /// The columns that are handed over, each under its own name.
    pub columns: Vec<Ident>,
}

impl Into {
    /// Where they go.
    pub const fn table(&self) -> &TableName {
        match self {
            Into::Archive(archive) => &archive.table,
        }
    }

    /// What the deletion returns for it, each with a comma before it. `alias` is the table's.
    pub(super) fn returned(&self, alias: &Ident) -> String {
        match self {
            Into::Archive(Archive { columns, .. }) => {
                columns.iter().enumerate().map(|(n, column)| format!(", {alias}.{column} AS kept_{n}")).collect()
            }
        }
    }

    /// The steps that come after `gone`, each with a comma before it.
    pub(super) fn steps(&self) -> String {
        match self {
            Into::Archive(Archive { table, columns }) => {
                let names: Vec<_> = columns.iter().map(ToString::to_string).collect();
                let values: Vec<_> = (0..columns.len()).map(|n| format!("kept_{n}")).collect();
                format!(
                    ",\nmoved AS (\n  INSERT INTO {table} ({}) SELECT {} FROM gone RETURNING 1\n)",
                    names.join(", "),
                    values.join(", ")
                )
            }
        }
    }

    /// An expression that fails with 22012 (division by zero), and so takes everything back, unless all has arrived: a
    /// trigger there may have kept a row out without a word.
    pub(super) fn all_arrived(&self) -> String {
        match self {
            Into::Archive(_) => "1 / ((SELECT count(*) FROM moved) = (SELECT count(*) FROM gone))::int".into(),
        }
    }
}
