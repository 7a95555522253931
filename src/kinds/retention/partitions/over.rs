//! Rows that no partition's end will ever let go: those in the default partition, and those in partitions much wider than
//! what is kept. They are reached as rows. Pure: which leaves, and the SQL of a row's time.

use chrono::{NaiveDateTime, TimeDelta};

use super::age::{Ages, days};
use super::facts::{Fate, TableFacts};
use crate::kinds::partitions::every::Line;
use crate::kinds::partitions::facts::{Bound, Partition};
use crate::kinds::partitions::format::Digits;
use crate::kinds::partitions::key::{FIRST, Key, LAST};
use crate::kinds::rows::{Time, Wanted, Words};
use crate::pg::{Ident, TableName};
use crate::run::Step;

/// A leaf whose old rows are looked for one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    pub leaf: TableName,
    pub oid: u32,
    /// Why it is looked at: `the default partition`.
    pub what: String,
}

/// The leaves of a table that hold rows which no partition's end lets go.
pub fn leaves(facts: &TableFacts, ages: &Ages<'_>) -> Vec<Over> {
    let default = facts.parent.default.iter().filter(|default| default.has_rows != Some(false)).map(|default| Over {
        leaf: default.name.clone(),
        oid: default.oid,
        what: "the default partition".into(),
    });
    let mut over: Vec<Over> = default.collect();
    let width = |from: NaiveDateTime, to: NaiveDateTime| (from != FIRST && to != LAST).then(|| to - from);
    let mut widths: Vec<TimeDelta> = ages.known.iter().filter_map(|age| width(age.from, age.to)).collect();
    widths.sort_unstable();
    // The lower of two, so that a table of one narrow and one wide partition has a wide one.
    let usual = widths.get(widths.len().saturating_sub(1) / 2).copied();
    let kept = ages.now - ages.cutoff;
    for partition in facts.parent.partitions.iter().filter(|partition| !partition.detach_pending) {
        let Some((from, to)) = range(ages, partition) else { continue };
        if from >= ages.cutoff || to <= ages.cutoff {
            continue;
        }
        let what = match width(from, to) {
            None => "a partition without end".to_string(),
            Some(width) if width > kept * 2 => format!("a partition more than twice as long as keep ({})", days(width)),
            Some(width) if usual.is_some_and(|usual| width > usual * 2) => {
                format!("a partition more than twice as long as most ({})", days(width))
            }
            Some(_) => continue,
        };
        over.push(Over { leaf: partition.name.clone(), oid: partition.oid, what });
    }
    over
}

/// Also of partitions without end, which have no age.
fn range(ages: &Ages<'_>, partition: &Partition) -> Option<(NaiveDateTime, NaiveDateTime)> {
    match &partition.bound {
        Bound::Range { from, to, .. } => Some((ages.key.bound(from)?, ages.key.bound(to)?)),
        bound => ages.range(bound).ok(),
    }
}

/// What becomes of old rows.
#[derive(Debug, Clone, PartialEq)]
pub enum OldRows {
    Delete(Wanted),
    /// They move to this table; how, the catalog has to say.
    Archive(Wanted, TableName),
}

/// What is to become of the old rows of a leaf; or why they are only reported.
///
/// # Errors
/// The note.
pub fn wanted(facts: &TableFacts, ages: &Ages<'_>, fate: &Fate, over: &Over) -> Result<OldRows, Step> {
    let Over { leaf, what, .. } = over;
    let left = |why: &str| {
        Err(Step::warn(leaf.plain(), format!("{what} may hold rows of before {}: {why}", ages.cutoff_shown())))
    };
    let Some(column) = &facts.parent.key.column else { return left("its key is no column") };
    let trigger = facts.parent.immutable.as_ref().map(|trigger| trigger.as_str().to_owned());
    let trigger = trigger.or_else(|| facts.leaves.get(&over.oid)?.delete_triggers.first().cloned());
    if let Some(trigger) = trigger {
        return left(&format!("trigger {trigger} stands on deleting them, and they stay"));
    }
    let policy = &facts.policy;
    if policy.immutable.is_some() || policy.export.is_some() {
        return left("single rows are not exported, and they stay");
    }
    if let Some(newest) = &policy.newest {
        return left(&format!("by {newest} some of them may be newer, and they stay"));
    }
    if *fate == Fate::Detach {
        return left("single rows cannot be detached, and they stay");
    }
    let line = ages.key.line();
    // A value of the key stands for all of its unit, and is old when the unit is over.
    let floor = match ages.key.unit() {
        Some(unit) => unit.start(unit.index(ages.cutoff)),
        None => Some(ages.cutoff),
    };
    let Some(floor) = floor else { return left("the cutoff is beyond the calendar") };
    let before = if line == Line::Instant && ages.key.unit().is_none() { ages.cutoff_at } else { ages.instant(floor) };
    let wanted = Wanted {
        table: leaf.clone(),
        counted_as: facts.table().plain(),
        time: time(&ages.key, column),
        condition: None,
        before,
        zone: facts.zone,
        words: Words::Old,
        into: None,
        making: None,
        objects: None,
    };
    Ok(match fate {
        Fate::Archive(to) => {
            OldRows::Archive(wanted, TableName { schema: to.clone(), name: facts.table().name.clone() })
        }
        Fate::Drop | Fate::Detach => OldRows::Delete(wanted),
    })
}

/// The time that a key says, as SQL that means the same whatever the search path: a column of a type that says it, or an expression that is NULL where the value is not
/// of the key's format, so that '2025-1' is never taken for old.
pub fn time(key: &Key, column: &Ident) -> Time {
    let text = format!("({column})::pg_catalog.text");
    let sql = match key {
        Key::Timestamptz | Key::Timestamp | Key::Date => return Time::Column(column.clone()),
        Key::Text(digits) | Key::Number(digits, _) => wall(digits, &text),
        Key::Epoch(steps, _) => {
            // Beyond these there is no timestamp to say.
            let (least, most) = (-60_000_000_000_i64 * steps, 250_000_000_000_i64 * steps);
            format!(
                "CASE WHEN {column} OPERATOR(pg_catalog.>=) {least} AND {column} OPERATOR(pg_catalog.<=) {most} \
                 THEN pg_catalog.to_timestamp(({column})::pg_catalog.float8 OPERATOR(pg_catalog./) {steps}) END"
            )
        }
        // Of another version the digits are chance.
        Key::UuidV7 => format!(
            "CASE WHEN pg_catalog.substr({text}, 15, 1) OPERATOR(pg_catalog.=) '7' \
             THEN pg_catalog.to_timestamp(('x' OPERATOR(pg_catalog.||) \
             pg_catalog.lpad(pg_catalog.replace(pg_catalog.\"left\"({text}, 13), '-', ''), 16, '0'))::bit(64)::bigint \
             OPERATOR(pg_catalog./) 1000.0) END"
        ),
    };
    Time::Expression(sql)
}

fn wall(digits: &Digits, text: &str) -> String {
    let [year, month, day, hour] = digits.places();
    let number = |place: Option<usize>, n: usize, otherwise: &str| match place {
        Some(at) => format!("pg_catalog.substr({text}, {}, {n})::int", at + 1),
        None => otherwise.to_owned(),
    };
    let (year, month) = (number(year, 4, "1"), number(month, 2, "1"));
    let (d, hour) = (number(day, 2, "1"), number(hour, 2, "0"));
    let made = format!("pg_catalog.make_timestamp({year}, {month}, {d}, {hour}, 0, 0)");
    let made = if day.is_some() {
        // No month has a 31st just because its digits could be written.
        let last = format!(
            "extract(day FROM pg_catalog.make_timestamp({year}, {month}, 1, 0, 0, 0) \
             OPERATOR(pg_catalog.+) interval '1 month - 1 day')"
        );
        format!("CASE WHEN {d} OPERATOR(pg_catalog.<=) {last} THEN {made} END")
    } else {
        made
    };
    // The pattern has no quote but those of its letters, doubled.
    format!("CASE WHEN {text} OPERATOR(pg_catalog.~) '{}' THEN {made} END", digits.pattern().replace('\'', "''"))
}

#[cfg(test)]
#[path = "over_tests.rs"]
mod tests;
