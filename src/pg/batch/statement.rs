//! The one statement a batch is, built from names, the operator's conditions and parameters.
//!
//! It is a statement of its own, and so a transaction of its own. Its steps see one snapshot:
//!
//! 1. `matching` finds the rows that are due, without a lock, by the time's index or in a range of blocks;
//! 2. `locked` locks them, and looks again: a row that was extended meanwhile is no longer due, and lives;
//! 3. `gone` deletes them, and looks again too, so that the second step can be left out where nobody has a row locked.
//!
//! What is in one step and not in the next is told apart: locked by somebody else (or changed meanwhile), or kept by a
//! trigger: a row that we have locked, and whose deletion did not delete it. A `ctid` never leaves its leaf: in another
//! partition the same `ctid` is another row.
//!
//! Names in it are looked for where the database's search path says: conditions are the operator's, and triggers of the
//! application's are set off by it. So everything that is ours bears its schema, operators too: where the server has one that
//! takes the operands only after a conversion, one in `public` that takes them as they are would be taken instead.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDateTime, Utc};
use tokio_postgres::types::ToSql;

use super::{Into, Objects};
use crate::pg::catalog::{OnDelete, Reference};
use crate::pg::{Ident, TableName};

/// What a referencing table is called in our SQL: nothing that the table itself would be called.
const CHILD: &str = "\"pgtend child\"";

/// The parameters that a batch has of its own, and those of a whole range of blocks; after them come those of [`Into`]. Where
/// rows are locked before they are looked at, their ctids are one more.
pub(super) const BATCH: usize = 4;
pub(super) const WHOLE: usize = 3;

/// The moment before which rows are due; in a column without a time zone, as the wall clock of the job's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    Instant(DateTime<Utc>),
    Wall(NaiveDateTime),
}

/// What a batch does about rows that somebody has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Waits for them, if only for a moment: the cheapest, since there is no step that locks.
    Eager,
    /// Passes over them.
    Careful,
    /// Waits for them as long as the session's `lock_timeout` says.
    Waiting,
}

impl Form {
    /// The step that a matching row does not come to if somebody else has it.
    const fn told_from(self) -> &'static str {
        match self {
            Form::Eager => "gone",
            Form::Careful | Form::Waiting => "locked",
        }
    }
}

/// How the rows that are due are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// By this btree index, oldest first.
    Index(String),
    /// By going through the table once, block range by block range.
    Blocks,
}

/// Which rows of which leaf go.
#[derive(Debug, Clone, PartialEq)]
pub struct Deletion {
    pub leaf: TableName,
    pub oid: u32,
    /// The name conditions may use for the table, also in its partitions: the name of the table that was configured.
    pub alias: Ident,
    /// The SQL of the time a row ends at.
    pub time: String,
    /// The SQL name of that time's type.
    pub time_type: &'static str,
    pub cutoff: Cutoff,
    /// More that must hold: the operator's SQL.
    pub conditions: Vec<String>,
    /// Foreign keys that refuse the deletion of a row they point at; such rows are left out.
    pub refused_by: Vec<Reference>,
    /// Foreign keys whose rows go, or are changed, with ours; they are counted.
    pub followed_by: Vec<Reference>,
    pub access: Access,
    /// Whether BEFORE DELETE triggers may keep rows, so that what was deleted has to be looked at.
    pub guarded: bool,
    /// Where the rows go; nothing: they are gone.
    pub into: Option<Into>,
    /// The objects that have to go before the rows; of rows that go nowhere.
    pub objects: Option<Objects>,
}

impl Cutoff {
    pub const fn sql_type(&self) -> &'static str {
        match self {
            Cutoff::Instant(_) => "timestamptz",
            Cutoff::Wall(_) => "timestamp",
        }
    }

    pub fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Cutoff::Instant(at) => at,
            Cutoff::Wall(at) => at,
        }
    }
}

impl std::fmt::Display for Cutoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cutoff::Instant(at) => write!(f, "{}", at.format("%Y-%m-%d %H:%M:%S%.fZ")),
            Cutoff::Wall(at) => write!(f, "{}", at.format("%Y-%m-%d %H:%M:%S%.f")),
        }
    }
}

/// The operator's SQL in parentheses of its own; the line break ends a comment that it may end with.
pub fn parenthesized(sql: &str) -> String {
    format!("({sql}\n)")
}

/// That a row of the referencing table points at ours, whose columns are called what `of_ours` says.
fn same(key: &Reference, of_ours: impl Fn(&Ident) -> String) -> String {
    let columns = key.columns.iter().zip(&key.referenced).zip(&key.operators);
    let same: Vec<_> =
        columns.map(|((theirs, ours), operator)| format!("{} {operator} {CHILD}.{theirs}", of_ours(ours))).collect();
    same.join(" AND ")
}

impl Deletion {
    /// The last time that a batch by the index found.
    pub(super) const LAST_BY_INDEX: &str = "(SELECT pg_catalog.max(ends)::pg_catalog.text FROM matching)";
    /// The last ctid that a batch of blocks found, asked for only where the limit was reached. Qualified, or it would be
    /// sorted as the text that it is shown as: (0,9) after (0,10).
    pub(super) const LAST_BY_BLOCKS: &str = "CASE WHEN (SELECT pg_catalog.count(*) FROM matching) OPERATOR(pg_catalog.>=) $3::bigint\n    \
                                             THEN (SELECT tid::pg_catalog.text FROM matching ORDER BY matching.tid DESC LIMIT 1) END";

    /// `ONLY leaf AS table`.
    pub fn from(&self) -> String {
        format!("ONLY {} AS {}", self.leaf, self.alias)
    }

    /// What makes a row due, before foreign keys are asked. `$1` is the cutoff.
    pub fn due(&self) -> String {
        self.due_by("OPERATOR(pg_catalog.<)", "pg_catalog.")
    }

    fn due_by(&self, less: &str, schema: &str) -> String {
        let mut sql = format!("{} {less} $1::{schema}{}", self.time, self.cutoff.sql_type());
        for condition in &self.conditions {
            let _ = write!(sql, " AND {}", parenthesized(condition));
        }
        sql
    }

    /// Whether `key` points at the row.
    pub fn referenced(&self, key: &Reference) -> String {
        let same = same(key, |theirs| format!("{}.{theirs}", self.alias));
        format!("EXISTS (SELECT FROM {} AS {CHILD} WHERE {same})", key.table)
    }

    /// What makes a row go: due, and no foreign key in the way.
    pub fn condition(&self) -> String {
        self.spared(self.due())
    }

    fn spared(&self, mut sql: String) -> String {
        for key in &self.refused_by {
            let _ = write!(sql, " AND NOT {}", self.referenced(key));
        }
        sql
    }

    /// What makes a row go with a statement that has so many parameters of its own: the condition, and a place for it there.
    fn goes(&self, own: usize) -> String {
        self.condition() + &self.into.as_ref().map(|into| into.condition(self, own)).unwrap_or_default()
    }

    /// Whether a key that would delete or change rows with ours leaves ours out: then nobody may come to refer to a row
    /// between the look at it and its end.
    pub(super) fn spares(&self) -> bool {
        self.refused_by.iter().any(|key| key.on_delete != OnDelete::Refuse)
    }

    /// The parameters that a batch has of its own.
    pub(super) fn own(&self) -> usize {
        BATCH + usize::from(self.spares())
    }

    /// The deletion as a person would write it, for the plan.
    pub fn in_short(&self) -> String {
        let delete = format!("DELETE FROM {} WHERE {}", self.from(), self.spared(self.due_by("<", "")));
        match &self.into {
            None => delete,
            Some(Into::Summary(summary)) => summary.in_short(self, &delete),
            Some(into) => format!("WITH gone AS ({delete} RETURNING *) INSERT INTO {} …", into.table()),
        }
    }

    /// One batch by the time's index. Parameters: cutoff, least time (text), rows at most, ctids to pass over (text[]).
    pub fn by_index(&self, form: Form) -> String {
        self.batch(&self.matching_by_index(), Self::LAST_BY_INDEX, form)
    }

    /// The rows of a batch by the time's index, with the parameters of [`Deletion::by_index`]. Sorted by place: a name would
    /// be taken for one of those given here, also where a column is called so.
    pub(super) fn matching_by_index(&self) -> String {
        let Self { time, time_type, .. } = self;
        format!(
            "SELECT ctid AS tid, {time} AS ends FROM {} WHERE {} AND {time} OPERATOR(pg_catalog.>=) CAST($2::pg_catalog.text AS pg_catalog.{time_type})\n  \
             AND NOT ctid OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.text[]::pg_catalog.tid[]) ORDER BY 2 LIMIT $3::bigint",
            self.from(),
            self.goes(self.own()),
        )
    }

    /// One batch of a range of blocks. Parameters: cutoff, first ctid (text), rows at most, ctid behind the last (text).
    pub fn by_blocks(&self, version: i32, form: Form) -> String {
        self.batch(&self.matching_by_blocks(version), Self::LAST_BY_BLOCKS, form)
    }

    /// The rows of a batch of a range of blocks, with the parameters of [`Deletion::by_blocks`].
    pub(super) fn matching_by_blocks(&self, version: i32) -> String {
        let tid = "pg_catalog.text::pg_catalog.tid";
        let mut range = format!("ctid OPERATOR(pg_catalog.>=) $2::{tid} AND ctid OPERATOR(pg_catalog.<) $4::{tid}");
        if version < 140_000 {
            // No TID range scan yet: every ctid that the blocks could hold. A row takes 28 bytes of a block at the least.
            let block = |parameter: &str| {
                format!("pg_catalog.split_part(pg_catalog.btrim({parameter}::pg_catalog.text, '()'), ',', 1)::bigint")
            };
            let _ = write!(
                range,
                "\n  AND ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.format('(%s,%s)', block, line)::pg_catalog.tid \
                 FROM pg_catalog.generate_series({}, {} OPERATOR(pg_catalog.-) 1::bigint) AS block,\n    \
                 pg_catalog.generate_series(1, pg_catalog.current_setting('block_size')::int OPERATOR(pg_catalog./) 28) AS line))",
                block("$2"),
                block("$4"),
            );
        }
        format!(
            "SELECT ctid AS tid FROM {} WHERE {range}\n  AND {} ORDER BY ctid LIMIT $3::bigint",
            self.from(),
            self.goes(self.own()),
        )
    }

    /// All that goes from a range of blocks, at the least cost: read once, and deleted as it is read. Parameters: cutoff,
    /// first ctid (text), ctid behind the last (text). For servers with TID range scans. What a trigger keeps it does not see,
    /// and so it says whether there is one by now: nobody can make one while the statement has the table.
    pub fn whole_blocks(&self) -> String {
        let (returned, followers) = self.followers();
        let (kept, steps, arrived) = self.handing_over(WHOLE);
        format!(
            "WITH gone AS (\n  DELETE FROM {} WHERE ctid OPERATOR(pg_catalog.>=) $2::pg_catalog.text::pg_catalog.tid \
             AND ctid OPERATOR(pg_catalog.<) $3::pg_catalog.text::pg_catalog.tid\n  AND {} RETURNING {}.ctid AS tid{returned}{kept}\n){steps}\n\
             SELECT pg_catalog.count(*), pg_catalog.count(*), NULL::pg_catalog.text, '{{}}'::pg_catalog.text[], '{{}}'::pg_catalog.text[], \
             {followers}, {guarded}{arrived} FROM gone",
            self.from(),
            self.goes(WHOLE),
            self.alias,
            guarded = self.keeping_triggers(),
        )
    }

    /// Whether there are triggers that may keep a row by returning NULL. tgtype: bit 0 ROW, bit 1 BEFORE, bit 3 DELETE.
    fn keeping_triggers(&self) -> String {
        format!(
            "EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid OPERATOR(pg_catalog.=) {}::pg_catalog.oid\n  \
             AND tgenabled OPERATOR(pg_catalog.=) ANY ('{{O,A}}'::pg_catalog.\"char\"[]) \
             AND (tgtype::int OPERATOR(pg_catalog.&) 11) OPERATOR(pg_catalog.=) 11)",
            self.oid
        )
    }

    /// The rows of a batch that could be locked, as ctids, with the parameters of the batch but for these. By a statement of
    /// its own, so that the next one sees who came to refer to them while this one waited.
    pub(super) fn lock_first(&self, matching: &str, form: Form) -> String {
        let (from, condition, alias) = (self.from(), self.goes(self.own()), &self.alias);
        let how = if form == Form::Waiting { "" } else { " SKIP LOCKED" };
        format!(
            "WITH matching AS MATERIALIZED (\n  {matching}\n)\nSELECT ctid::pg_catalog.text FROM {from}\n  \
             WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tid FROM matching)) AND {condition} FOR UPDATE OF {alias}{how}"
        )
    }

    fn batch(&self, matching: &str, last: &str, form: Form) -> String {
        let (from, condition, alias) = (self.from(), self.goes(self.own()), &self.alias);
        let (returned, followers) = self.followers();
        let (kept_columns, steps, arrived) = self.handing_over(self.own());
        let lock = |how: &str| {
            let before = if self.spares() {
                format!("AND ctid OPERATOR(pg_catalog.=) ANY (${}::pg_catalog.text[]::pg_catalog.tid[]) ", BATCH + 1)
            } else {
                String::new()
            };
            format!(
                "locked AS MATERIALIZED (\n  SELECT ctid AS tid FROM {from} WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tid FROM matching))\n  \
                 {before}AND {condition} FOR UPDATE OF {alias}{how}\n),\n"
            )
        };
        let (step, found) = match form {
            Form::Eager => (String::new(), "matching"),
            Form::Careful => (lock(" SKIP LOCKED"), "locked"),
            Form::Waiting => (lock(""), "locked"),
        };
        // Set operations are dear, and most of the time all counts are the same.
        let unless_all = |these: &str, of: &str, sql: &str| {
            format!(
                "CASE WHEN (SELECT pg_catalog.count(*) FROM {these}) OPERATOR(pg_catalog.<>) (SELECT pg_catalog.count(*) FROM {of})\n    \
                 THEN ARRAY({sql})::pg_catalog.text[] ELSE '{{}}' END"
            )
        };
        let skipped = unless_all(
            "matching",
            "gone",
            &format!("SELECT tid FROM matching EXCEPT SELECT tid FROM {}", form.told_from()),
        );
        let kept = match form {
            Form::Eager => "'{}'::pg_catalog.text[]".to_owned(),
            _ => unless_all(
                "locked",
                "gone",
                "SELECT tid FROM locked INTERSECT SELECT tid FROM matching EXCEPT SELECT tid FROM gone",
            ),
        };
        format!(
            "WITH matching AS MATERIALIZED (\n  {matching}\n),\n{step}gone AS (\n  \
             DELETE FROM {from} WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tid FROM {found}))\n  \
             AND {condition} RETURNING {alias}.ctid AS tid{returned}{kept_columns}\n){steps}\n\
             SELECT (SELECT pg_catalog.count(*) FROM matching), (SELECT pg_catalog.count(*) FROM gone),\n  {last},\n  {skipped},\n  {kept},\n  {followers}{arrived}",
        )
    }

    /// What [`Into`] adds to a statement: to what the deletion returns, to its steps, and to its answer.
    fn handing_over(&self, own: usize) -> (String, String, String) {
        self.into.as_ref().map_or_else(Default::default, |into| {
            (into.returned(self, own), into.steps(), format!(",\n  {}", into.all_arrived(self, own)))
        })
    }

    /// What the deletion returns so that the rows that go with ours can be counted, and the array of their counts.
    pub(super) fn followers(&self) -> (String, String) {
        let mut keys: Vec<&Ident> = self.followed_by.iter().flat_map(|key| &key.referenced).collect();
        keys.sort();
        keys.dedup();
        let place = |column: &Ident| keys.binary_search(&column).unwrap_or_default();
        let returned = keys.iter().enumerate().map(|(n, key)| format!(", {}.{key} AS key_{n}", self.alias)).collect();
        let counts: Vec<_> = self
            .followed_by
            .iter()
            .map(|key| {
                let same = same(key, |theirs| format!("gone.key_{}", place(theirs)));
                format!("(SELECT pg_catalog.count(*) FROM {} AS {CHILD} JOIN gone ON {same})", key.table)
            })
            .collect();
        (returned, format!("ARRAY[{}]::bigint[]", counts.join(", ")))
    }
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
