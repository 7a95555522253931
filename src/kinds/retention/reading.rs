//! What the rows of a table of policies mean: each is carried out, kept, or refused by itself. Pure.

use std::collections::BTreeMap;

use super::policy::{Action, Policies, RetentionTable};
use crate::kinds::rows::plan::Refusal;
use crate::period::Period;
use crate::pg::catalog::kind_name;
use crate::pg::{Ident, TableName};

/// A row, as it stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub name: Option<String>,
    pub days: Option<i64>,
    pub archive: Option<bool>,
    pub delete: Option<bool>,
}

/// A relation that a name may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    pub table: TableName,
    pub kind: char,
    /// The table it is a partition of.
    pub partition_of: Option<String>,
    pub columns: Vec<Ident>,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Carry(Box<RetentionTable>),
    /// Both flags are off.
    Keep(TableName),
    Refuse(Refusal),
}

/// A thousand centuries is a slip of the hand.
const MOST_DAYS: i64 = 3_650_000;

/// The names that relations have which a text may mean, in small letters.
pub fn meant(text: &str) -> Vec<String> {
    let mut names = vec![text.to_lowercase()];
    names.extend(text.parse::<TableName>().ok().map(|table| table.name.as_str().to_lowercase()));
    names
}

/// The verdict on each row, in their order, with what its name says. `also`: tables that have a policy in the config itself.
pub fn verdicts(policies: &Policies, rows: &[Reading], there: &[There], also: &[TableName]) -> Vec<(String, Verdict)> {
    let resolved: Vec<Result<&There, Refusal>> = rows.iter().map(|row| resolve(policies, row, there)).collect();
    let mut times: BTreeMap<&TableName, usize> = BTreeMap::new();
    for found in resolved.iter().flatten() {
        *times.entry(&found.table).or_default() += 1;
    }
    let verdict = |row: &Reading, resolved: &Result<&There, Refusal>| -> Result<Verdict, Refusal> {
        let found = resolved.as_ref().map_err(Refusal::clone)?;
        let table = found.table.plain();
        if times.get(&found.table).is_some_and(|n| *n > 1) {
            return Err(refusal(
                format!("{table} has more than one row, and which of them counts is not known"),
                "DELETE all but one",
            ));
        }
        if also.contains(&found.table) {
            return Err(refusal(
                format!("{table} has a policy in the config too"),
                "keep one of the two: this row, or that entry of tables",
            ));
        }
        carry(policies, row, found)
    };
    rows.iter()
        .zip(&resolved)
        .map(|(row, resolved)| {
            let name = row.name.clone().unwrap_or_else(|| "NULL".into());
            (name, verdict(row, resolved).unwrap_or_else(Verdict::Refuse))
        })
        .collect()
}

fn refusal(why: impl Into<String>, mend: impl Into<String>) -> Refusal {
    Refusal { why: why.into(), mend: mend.into() }
}

/// The one table that a name means: as it stands, before as SQL would read it; never one of the archive's.
fn resolve<'a>(policies: &Policies, row: &Reading, there: &'a [There]) -> Result<&'a There, Refusal> {
    let Some(name) = row.name.as_deref().filter(|name| !name.trim().is_empty()) else {
        return Err(refusal("it names no table", "name one, or delete the row"));
    };
    let live = || there.iter().filter(|found| policies.to.as_ref() != Some(&found.table.schema));
    let mut found: Vec<&There> = live().filter(|found| found.table.name.as_str() == name).collect();
    if found.is_empty() {
        found = match (name.parse::<Ident>(), name.parse::<TableName>()) {
            (Ok(bare), _) => live().filter(|found| found.table.name == bare).collect(),
            (Err(_), Ok(table)) => there.iter().filter(|found| found.table == table).collect(),
            (Err(_), Err(error)) => return Err(refusal(error.to_string(), "correct the name")),
        };
    }
    match found.as_slice() {
        [] => {
            let near = live().map(|found| found.table.plain()).next();
            let near =
                near.map_or_else(|| "correct the name, or delete the row".into(), |near| format!("is it {near}?"));
            Err(refusal("there is no such table", near))
        }
        [one] => match (&one.partition_of, one.kind) {
            (Some(parent), _) => {
                Err(refusal(format!("{} is a partition of {parent}", one.table.plain()), format!("name {parent}")))
            }
            (None, 'r' | 'p') => Ok(one),
            (None, kind) => Err(refusal(
                format!("{} is {}, not a table", one.table.plain(), kind_name(kind)),
                "name a table, or delete the row",
            )),
        },
        several => {
            let all: Vec<_> = several.iter().map(|found| found.table.plain()).collect();
            Err(refusal(format!("it may be any of {}", all.join(", ")), "write it with its schema"))
        }
    }
}

/// What a row asks for.
fn carry(policies: &Policies, row: &Reading, found: &There) -> Result<Verdict, Refusal> {
    let table = found.table.clone();
    let days = match row.days {
        None => return Err(refusal(format!("{} is NULL", policies.retention_days), "say how many days")),
        Some(days) if !(1..=MOST_DAYS).contains(&days) => {
            return Err(refusal(
                format!("{} is {days}, which is no length of time to keep rows for", policies.retention_days),
                "write a number of days above zero, or turn both flags off",
            ));
        }
        Some(days) => u32::try_from(days).unwrap_or(u32::MAX),
    };
    let (Some(archive), Some(delete)) = (row.archive, row.delete) else {
        let (archive, delete) = (&policies.archive_enabled, &policies.delete_enabled);
        return Err(refusal(format!("{archive} or {delete} is NULL"), "write true or false"));
    };
    if !archive && !delete {
        return Ok(Verdict::Keep(table));
    }
    let mut policy = RetentionTable::new(table.clone(), Period::days(days));
    let (key_format, timezone) = policies.periods_of(&table);
    (policy.key_format, policy.timezone) = (key_format, timezone);
    let partitioned = found.kind == 'p';
    if archive {
        let Some(schema) = &policies.to else {
            return Err(refusal("it is to be archived, and policies does not say where to", "add to = \"SCHEMA\""));
        };
        policy.action = Some(Action::Archive);
        let to = TableName { schema: schema.clone(), name: table.name.clone() };
        policy.to = Some(if partitioned { schema.to_string() } else { to.plain() });
    }
    let exception = policies.except.iter().find(|exception| exception.table == table);
    policy.condition = exception.and_then(|exception| exception.condition.clone());
    policy.age_from = exception.and_then(|exception| exception.age_from.clone());
    if partitioned {
        // What is about single rows is refused where partitions are looked at.
        policy.column = exception.and_then(|exception| exception.column.clone());
        return Ok(Verdict::Carry(Box::new(policy)));
    }
    if policy.age_from.is_none() {
        let column =
            exception.and_then(|exception| exception.column.clone()).unwrap_or_else(|| policies.column.clone());
        if !found.columns.contains(&column) {
            return Err(refusal(
                format!("{} has no column {column} that would say how old a row is", table.plain()),
                "say in except which column does, or with age_from which row of another table",
            ));
        }
        policy.column = Some(column);
    }
    Ok(Verdict::Carry(Box::new(policy)))
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
