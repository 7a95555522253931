//! Rows that are counted by day and group in the very statement that deletes them.
//!
//! The rows of a batch are grouped first, since `ON CONFLICT` may not come to one row twice, and then added to what the
//! summary has. Where its unique index takes NULLs for different from each other, `ON CONFLICT` does not find the row of a
//! group that has one: such groups are looked up, and one row of theirs is updated.

use std::fmt::Write as _;

use tokio_postgres::types::ToSql;

use super::Deletion;
use super::statement::BATCH;
use crate::pg::{Ident, TableName};

/// What the summary is called in our SQL: nothing that a column or a table itself would be called.
const SUMS: &str = "\"pgtend summary\"";
/// What it was before.
const WAS: &str = "\"pgtend summary before\"";

/// A table that keeps the numbers of rows by day and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub table: TableName,
    pub oid: u32,
    /// Whether its rows lie in partitions.
    pub partitioned: bool,
    pub date: Ident,
    /// What rows are grouped by besides, under the same names in both tables.
    pub by: Vec<Ident>,
    pub count: Ident,
    /// The time zone of the days, as PostgreSQL knows it.
    pub zone: String,
    /// Whether groups with a NULL in them are not found by its unique index.
    pub nulls_apart: bool,
    /// The columns of `by` that cannot be NULL here, and can be where the rows come from.
    pub required: Vec<Ident>,
    /// Whether a trigger may change, or keep back, what is written to it.
    pub guarded: bool,
    /// The largest count that its type holds, in digits; nothing: there is none.
    pub most: Option<String>,
    /// The type that `count` could be given to hold more.
    pub wider: &'static str,
    /// Groups whose count has no room for their rows, as [`Summary::key`] writes them; the work finds them out.
    pub full: Vec<String>,
}

/// That values are the same, also where both are NULL, each time with an AND before it. By the types' own idea of that, and
/// not by IS NOT DISTINCT FROM, which looks for an operator by its name. The types are the same, which the plan has seen.
fn alike(these: impl Iterator<Item = String>, those: impl Iterator<Item = String>) -> String {
    let row = |values: Vec<String>| format!("ROW({})", values.join(", "));
    let (these, those): (Vec<_>, Vec<_>) = (these.collect(), those.collect());
    if these.is_empty() { String::new() } else { format!(" AND pg_catalog.record_eq({}, {})", row(these), row(those)) }
}

impl Summary {
    pub(super) fn of_leaf(mut self, not_null: &[Ident]) -> Self {
        self.required.retain(|column| !not_null.contains(column));
        self.nulls_apart &= self.by.iter().any(|column| !not_null.contains(column) && !self.required.contains(column));
        self
    }

    /// The day of a row, by the zone, which is the first parameter after the statement's own.
    fn day(&self, of: &Deletion, own: usize) -> String {
        match of.time_type {
            "timestamptz" => format!("({} AT TIME ZONE ${}::pg_catalog.text)::pg_catalog.date", of.time, own + 1),
            _ => format!("({})::pg_catalog.date", of.time),
        }
    }

    fn has_zone(of: &Deletion) -> bool {
        of.time_type == "timestamptz"
    }

    pub(super) fn parameters<'a>(&'a self, of: &Deletion) -> Vec<&'a (dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
        if Self::has_zone(of) {
            parameters.push(&self.zone);
        }
        if !self.full.is_empty() {
            parameters.push(&self.full);
        }
        parameters
    }

    /// A row's group in one text: `(2026-03-01,db,7)`.
    fn key(&self, of: &Deletion, own: usize) -> String {
        let by: String = self.by.iter().map(|column| format!(", {}.{column}", of.alias)).collect();
        format!("ROW({}{by})::pg_catalog.text", self.day(of, own))
    }

    /// A row whose group has a NULL that the summary cannot have stays, as does one whose group has no room.
    pub(super) fn condition(&self, of: &Deletion, own: usize) -> String {
        let mut sql = String::new();
        for column in &self.required {
            let _ = write!(sql, " AND {}.{column} IS NOT NULL", of.alias);
        }
        if !self.full.is_empty() {
            let _ = write!(sql, " AND NOT {}", self.is_full(of, own));
        }
        sql
    }

    /// By a subquery, which PostgreSQL hashes, so that many of them cost no more than one.
    fn is_full(&self, of: &Deletion, own: usize) -> String {
        let place = own + 1 + usize::from(Self::has_zone(of));
        format!(
            "({} OPERATOR(pg_catalog.=) ANY (SELECT pg_catalog.unnest(${place}::pg_catalog.text[])))",
            self.key(of, own)
        )
    }

    pub(super) fn returned(&self, of: &Deletion, own: usize) -> String {
        let mut sql = format!(", {} AS day", self.day(of, own));
        for (n, column) in self.by.iter().enumerate() {
            let _ = write!(sql, ", {}.{column} AS by_{n}", of.alias);
        }
        sql
    }

    /// `day, by_0, by_1`, each with this before it.
    fn group(&self, before: &str) -> String {
        let by: String = (0..self.by.len()).map(|n| format!(", {before}by_{n}")).collect();
        format!("{before}day{by}")
    }

    /// `"date", "category", "code"`
    fn columns(&self) -> String {
        let by: String = self.by.iter().map(|column| format!(", {column}")).collect();
        format!("{}{by}", self.date)
    }

    /// Not `ONLY` where its own rows are in partitions; children by inheritance are other tables.
    fn from(&self) -> String {
        format!("{}{} AS {SUMS}", if self.partitioned { "" } else { "ONLY " }, self.table)
    }

    /// Whether a row of the summary is that of a group.
    fn same(&self, group: &str) -> String {
        let theirs = self.by.iter().map(|column| format!("{SUMS}.{column}"));
        let by = alike(theirs, (0..self.by.len()).map(|n| format!("{group}.by_{n}")));
        format!("{SUMS}.{} OPERATOR(pg_catalog.=) {group}.day{by}", self.date)
    }

    pub(super) fn steps(&self) -> String {
        let Self { count, table, .. } = self;
        let (group, columns) = (self.group(""), self.columns());
        let more = if self.guarded {
            format!("{SUMS}.{count} OPERATOR(pg_catalog.-) coalesce({}, 0) AS more", self.was())
        } else {
            "1".into()
        };
        let groups =
            format!(",\ngroups AS (\n  SELECT {group}, pg_catalog.count(*) AS n FROM gone GROUP BY {group}\n)");
        let add = |which: &str| {
            format!(
                "added AS (\n  INSERT INTO {table} AS {SUMS} ({columns}, {count})\n  SELECT {group}, n FROM groups{which} ORDER BY {group}\n  \
                 ON CONFLICT ({columns}) DO UPDATE SET {count} = coalesce({SUMS}.{count}, 0) OPERATOR(pg_catalog.+) excluded.{count} RETURNING {more}\n)"
            )
        };
        if !self.nulls_apart {
            return format!("{groups},\n{}", add(""));
        }
        let of_groups = self.group("groups.");
        let any_null: Vec<_> = (0..self.by.len()).map(|n| format!("groups.by_{n} IS NULL")).collect();
        let by = |of: &'static str| (0..self.by.len()).map(move |n| format!("{of}.by_{n}"));
        let known = alike(by("had"), by("groups"));
        // One row is told by its group, which still holds when somebody else has just added to it; of several, one by its
        // place: the one with the most room.
        format!(
            "{groups},\nhad AS MATERIALIZED (\n  \
             SELECT {of_groups}, groups.n, pg_catalog.count(*) AS rows, pg_catalog.min(coalesce({SUMS}.{count}, 0)) AS least,\n    \
             (pg_catalog.array_agg({SUMS}.ctid ORDER BY {SUMS}.{count} NULLS FIRST))[1] AS tid,\n    \
             (pg_catalog.array_agg({SUMS}.tableoid ORDER BY {SUMS}.{count} NULLS FIRST))[1] AS leaf\n  \
             FROM groups JOIN {from} ON {same}\n  WHERE {any_null} GROUP BY {of_groups}, groups.n\n),\n\
             topped AS (\n  UPDATE {from} SET {count} = coalesce({SUMS}.{count}, 0) OPERATOR(pg_catalog.+) had.n FROM had WHERE {same_had}\n    \
             AND (had.rows OPERATOR(pg_catalog.=) 1 OR ({SUMS}.ctid OPERATOR(pg_catalog.=) had.tid \
             AND {SUMS}.tableoid OPERATOR(pg_catalog.=) had.leaf))\n    RETURNING {SUMS}.{count} OPERATOR(pg_catalog.-) coalesce(had.least, 0) AS more\n),\n{add}",
            from = self.from(),
            same = self.same("groups"),
            same_had = self.same("had"),
            any_null = any_null.join(" OR "),
            add = add(&format!(
                " WHERE NOT EXISTS (SELECT FROM had WHERE had.day OPERATOR(pg_catalog.=) groups.day{known})"
            )),
        )
    }

    /// What the row of the summary that was written counted before: by its own group, which a trigger may have changed.
    fn was(&self) -> String {
        let by = |of: &'static str| self.by.iter().map(move |column| format!("{of}.{column}"));
        let by = alike(by(WAS), by(SUMS));
        let only = if self.partitioned { "" } else { "ONLY " };
        format!(
            "(SELECT pg_catalog.max({WAS}.{}) FROM {only}{} AS {WAS} WHERE {WAS}.{date} OPERATOR(pg_catalog.=) {SUMS}.{date}{by})",
            self.count,
            self.table,
            date = self.date,
        )
    }

    /// Whether each group has come to exactly one row, and has made it count as many more.
    pub(super) fn all_arrived(&self) -> String {
        let all = |what: &str| {
            let topped = if self.nulls_apart {
                format!(" OPERATOR(pg_catalog.+) (SELECT {what} FROM topped)")
            } else {
                String::new()
            };
            format!("((SELECT {what} FROM added){topped})")
        };
        let mut sql =
            format!("{} OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) FROM groups)", all("pg_catalog.count(*)"));
        if self.guarded {
            // Somebody else may have added to it too since the statement began.
            let _ = write!(
                sql,
                " AND {} OPERATOR(pg_catalog.>=) (SELECT coalesce(pg_catalog.sum(n), 0) FROM groups)",
                all("coalesce(pg_catalog.sum(more), 0)")
            );
        }
        sql
    }

    /// The groups among the rows of a batch whose count would be more than [`Summary::most`]; parameters are those of the
    /// batch.
    pub(super) fn overflowing(&self, of: &Deletion, matching: &str) -> String {
        let by: String = self.by.iter().enumerate().map(|(n, c)| format!(", {}.{c} AS by_{n}", of.alias)).collect();
        let group = self.group("");
        let most = self.most.as_deref().unwrap_or_default();
        format!(
            "WITH matching AS MATERIALIZED (\n  {matching}\n),\ncounted AS (\n  SELECT {day} AS day{by}, {key} AS key FROM {from}\n  \
             WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tid FROM matching))\n),\n\
             groups AS (\n  SELECT {group}, pg_catalog.count(*) AS n, pg_catalog.array_agg(DISTINCT key) AS keys FROM counted GROUP BY {group}\n)\n\
             SELECT pg_catalog.unnest(keys) FROM groups\nLEFT JOIN LATERAL (\n  \
             SELECT pg_catalog.min(coalesce({SUMS}.{count}, 0)) AS count FROM {sums} WHERE {same}\n) AS had ON true\n\
             WHERE coalesce(had.count, 0)::numeric OPERATOR(pg_catalog.+) n::numeric OPERATOR(pg_catalog.>) '{most}'::numeric",
            day = self.day(of, BATCH),
            key = self.key(of, BATCH),
            from = of.from(),
            count = self.count,
            sums = self.from(),
            same = self.same("groups"),
        )
    }

    /// How many due rows stay for want of each of `required`. Parameters: the cutoff.
    pub(super) fn without(&self, of: &Deletion) -> String {
        let filter = |column: &Ident| format!("pg_catalog.count(*) FILTER (WHERE {}.{column} IS NULL)", of.alias);
        let counts: Vec<_> = self.required.iter().map(filter).collect();
        format!("SELECT ARRAY[{}]::bigint[] FROM {} WHERE {}", counts.join(", "), of.from(), of.condition())
    }

    /// How many due rows of each full group stay, most first. Parameters: the cutoff, the zone where there is one, the groups.
    pub(super) fn without_room(&self, of: &Deletion) -> String {
        const OWN: usize = 1;
        let is_full = self.is_full(of, OWN);
        format!(
            "SELECT {}, pg_catalog.count(*) FROM {} WHERE {} AND {is_full} GROUP BY 1 ORDER BY 2 DESC, 1",
            self.key(of, OWN),
            of.from(),
            of.condition(),
        )
    }

    /// What is to be done where rows stay for want of `column`.
    pub fn said_without(&self, rows: &str, column: &Ident) -> String {
        format!(
            "{rows} without {column} stay: that column of {} cannot be NULL; give them one, or ALTER TABLE {} ALTER COLUMN \
             {column} DROP NOT NULL;",
            self.table.plain(),
            self.table,
        )
    }

    /// What is to be done where rows stay for want of room.
    pub(super) fn said_full(&self, rows: &str, group: &str, more: &str) -> String {
        format!(
            "{rows} of group ({}) = {group}{more} stay: with them column {} of {} would be more than its type holds; ALTER TABLE {} \
             ALTER COLUMN {} TYPE {};",
            self.columns(),
            self.count,
            self.table.plain(),
            self.table,
            self.count,
            self.wider,
        )
    }

    /// The statement as a person would write it.
    pub(super) fn in_short(&self, of: &Deletion, delete: &str) -> String {
        let Self { table, count, .. } = self;
        let (group, columns, returned) = (self.group(""), self.columns(), self.returned(of, 1));
        let returned = returned.trim_start_matches(", ").replace("pg_catalog.", "");
        format!(
            "WITH gone AS ({delete} RETURNING {returned}) INSERT INTO {table} ({columns}, {count}) \
             SELECT {group}, count(*) FROM gone GROUP BY {group} ON CONFLICT ({columns}) DO UPDATE \
             SET {count} = {table}.{count} + excluded.{count}"
        )
    }
}
