//! Whether rows can be counted in the summary, and how. Pure: facts in, the engine's orders or a refusal out.

use std::collections::BTreeSet;

use super::Summarize;
use super::facts::{Clocks, Column, Facts, Unique};
use crate::kinds::rows::plan::Refusal;
use crate::pg::Ident;
use crate::pg::batch::Summary;
use crate::pg::catalog::{Relation, kind_name};

/// # Errors
/// Something is not as it has to be: said with what to do about it.
pub fn summary(kind: &Summarize, facts: &Facts) -> Result<Summary, Refusal> {
    let into = kind.into.get_ref();
    let (name, count) = (into.plain(), kind.count.get_ref());
    for column in kind.by.iter().map(toml::Spanned::get_ref) {
        if !facts.log.iter().any(|(name, _)| name == column) {
            return refuse(format!("{} has no column {column}", kind.table.plain()), "correct the name in by");
        }
    }
    let Some(relation) = &facts.into else {
        return refuse(format!("there is no table {name}"), &create(kind, facts));
    };
    usable(kind, facts, relation)?;
    let key: Vec<_> = kind.key().map(|column| find(kind, facts, column)).collect::<Result<_, _>>()?;
    let counts = find(kind, facts, count)?;
    let (most, wider) = types(kind, &key, counts)?;
    let others = facts.columns.iter().filter(|column| !kind.key().chain([count]).any(|name| *name == column.name));
    let needed: Vec<_> = others.clone().filter(|column| column.not_null && !column.has_default).collect();
    if let Some(column) = needed.first() {
        let mend = format!("ALTER TABLE {into} ALTER COLUMN {} SET DEFAULT …, or group by it", column.name);
        return refuse(format!("column {} of {name} needs a value and has no default", column.name), &mend);
    }
    let unique = unique(kind, facts)?;
    privileges(kind, facts, &key, counts, others)?;
    // The zone is asked of the server for an instant only; what a wall clock shows is of its day as it stands.
    let is_instant = facts.log.iter().any(|(name, sql)| *name == kind.time && sql.ends_with("with time zone"));
    if is_instant {
        clocks(facts)?;
    }
    let required: Vec<_> =
        key.iter().skip(1).filter(|column| column.not_null).map(|column| column.name.clone()).collect();
    Ok(Summary {
        table: into.clone(),
        oid: relation.oid,
        partitioned: relation.kind == 'p',
        date: kind.date.get_ref().clone(),
        by: kind.by.iter().map(|column| column.get_ref().clone()).collect(),
        count: count.clone(),
        zone: facts.zone.name().into(),
        nulls_apart: !unique.nulls_alike && required.len() < kind.by.len(),
        required,
        guarded: facts.guarded,
        most,
        wider,
        full: Vec::new(),
    })
}

fn refuse<T>(why: impl Into<String>, mend: &str) -> Result<T, Refusal> {
    Err(Refusal { why: why.into(), mend: mend.into() })
}

/// Whether it is a table that the role can write to as a whole.
fn usable(kind: &Summarize, facts: &Facts, relation: &Relation) -> Result<(), Refusal> {
    let into = kind.into.get_ref();
    let (name, role) = (into.plain(), &facts.role);
    if !matches!(relation.kind, 'r' | 'p') {
        let why = format!("{name} is {}, and counts are kept in tables only", kind_name(relation.kind));
        return refuse(why, "name a table with into");
    }
    if !relation.schema_usage {
        let mend = format!("GRANT USAGE ON SCHEMA {} TO {role};", into.schema);
        return refuse(format!("role {role} may not use schema {}", into.schema), &mend);
    }
    if relation.row_security {
        let mend = format!("run as its owner, or ALTER ROLE {role} BYPASSRLS;");
        return refuse(format!("row security hides rows of {name} from role {role}"), &mend);
    }
    if let Some(unlogged) = &facts.unlogged {
        let why =
            format!("{unlogged} is not logged: the server empties it after a crash, and what was counted is lost");
        return refuse(why, &format!("ALTER TABLE {unlogged} SET LOGGED;"));
    }
    if facts.leaves.contains(&relation.oid) {
        return refuse(format!("{name} is a part of {}", kind.table.plain()), "name another table with into");
    }
    Ok(())
}

fn find<'a>(kind: &Summarize, facts: &'a Facts, name: &Ident) -> Result<&'a Column, Refusal> {
    let into = kind.into.get_ref();
    let Some(column) = facts.columns.iter().find(|column| column.name == *name) else {
        let known: Vec<_> = facts.columns.iter().map(|column| column.name.to_string()).collect();
        let mend = format!("correct the name, or add the column; there are {}", known.join(", "));
        return refuse(format!("{} has no column {name}", into.plain()), &mend);
    };
    if column.generated {
        return refuse(
            format!("column {name} of {} is generated, and cannot be written to", into.plain()),
            "name another",
        );
    }
    Ok(column)
}

/// The types of all that is written; gives the largest count in digits, and a type that holds more.
fn types(kind: &Summarize, key: &[&Column], counts: &Column) -> Result<(Option<String>, &'static str), Refusal> {
    let into = kind.into.get_ref();
    let wrong = |column: &Column, right: &str, to: &str| {
        Err(Refusal {
            why: format!(
                "column {} of {} is of type {}, and must be {right}",
                column.name,
                into.plain(),
                column.type_name
            ),
            mend: format!("ALTER TABLE {into} ALTER COLUMN {} TYPE {to};", column.name),
        })
    };
    if key[0].base != "date" {
        return wrong(key[0], "date", "date");
    }
    for column in &key[1..] {
        let other = column.other_type.as_deref().unwrap_or("?");
        if !column.same_type {
            let right = format!("of that of {}, {other}, so that no value is changed", kind.table.plain());
            return wrong(column, &right, other);
        }
        if !column.same_collation {
            let why = format!(
                "column {} has one collation in {} and another in {}",
                column.name,
                kind.table.plain(),
                into.plain()
            );
            let mend =
                format!("ALTER TABLE {into} ALTER COLUMN {} TYPE {other} COLLATE …, that of the other", column.name);
            return refuse(why, &mend);
        }
    }
    match counts.base.as_str() {
        "int2" => Ok((Some(i16::MAX.to_string()), "bigint")),
        "int4" => Ok((Some(i32::MAX.to_string()), "bigint")),
        "int8" => Ok((Some(i64::MAX.to_string()), "numeric")),
        "numeric" if counts.modifier < 0 => Ok((None, "numeric")),
        "numeric" => match digits(counts.modifier) {
            Some(digits) => Ok((Some("9".repeat(digits)), "numeric")),
            None => wrong(counts, "a type that holds whole numbers without rounding them", "numeric"),
        },
        _ => wrong(counts, "bigint, integer, smallint or numeric", "bigint"),
    }
}

/// How many digits `numeric(precision, scale)` has before the point; nothing where it rounds whole numbers.
fn digits(modifier: i32) -> Option<usize> {
    let (precision, scale) = (((modifier - 4) >> 16) & 0xffff, (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400);
    usize::try_from(precision - scale).ok().filter(|digits| scale >= 0 && *digits > 0)
}

/// The unique key that `ON CONFLICT` goes by.
fn unique<'a>(kind: &Summarize, facts: &'a Facts) -> Result<&'a Unique, Refusal> {
    let into = kind.into.get_ref();
    let partitioned = facts.into.as_ref().is_some_and(|relation| relation.kind == 'p');
    let wanted: BTreeSet<_> = kind.key().map(Ident::as_str).collect();
    // A column may stand in an index twice.
    let right = |index: &&Unique| index.columns.iter().map(String::as_str).collect::<BTreeSet<_>>() == wanted;
    let flaw = |index: &Unique| match index {
        Unique { partial: true, .. } => Some("has a condition of its own"),
        Unique { valid: false, .. } => Some("is not valid"),
        Unique { other_collation: true, .. } => Some("has a collation of its own"),
        _ => None,
    };
    let candidates: Vec<_> = facts.unique.iter().filter(right).collect();
    let columns: Vec<_> = kind.key().map(ToString::to_string).collect();
    let columns = columns.join(", ");
    // ON CONFLICT fails on it even where there is another that serves.
    if let Some(index) = candidates.iter().find(|index| !index.immediate) {
        let constraint = Ident::new(&index.name).map(|name| name.to_string()).unwrap_or_default();
        return refuse(
            format!("the unique key {constraint} of {} is deferrable, and counts cannot be added by it", into.plain()),
            &format!("ALTER TABLE {into} DROP CONSTRAINT {constraint}, ADD UNIQUE ({columns});"),
        );
    }
    let sound = candidates.iter().filter(|index| flaw(index).is_none());
    // One that takes NULLs for alike decides for all of them.
    if let Some(index) = sound.max_by_key(|index| index.nulls_alike) {
        return Ok(index);
    }
    let but = candidates.iter().find_map(|index| flaw(index).map(|flaw| format!(" (index {} {flaw})", index.name)));
    refuse(
        format!(
            "{} has no unique key on ({columns}){}, by which counts are added",
            into.plain(),
            but.unwrap_or_default()
        ),
        // On one table, not on a partitioned one, where CONCURRENTLY is not to be had.
        &format!("CREATE UNIQUE INDEX{} ON {into} ({columns});", if partitioned { "" } else { " CONCURRENTLY" }),
    )
}

fn privileges<'a>(
    kind: &Summarize,
    facts: &Facts,
    key: &[&Column],
    counts: &Column,
    others: impl Iterator<Item = &'a Column>,
) -> Result<(), Refusal> {
    let (into, role) = (kind.into.get_ref(), &facts.role);
    let mut missing = Vec::new();
    if !facts.may_select {
        missing.push("SELECT");
    }
    if !key.iter().chain([&counts]).all(|column| column.may_insert) {
        missing.push("INSERT");
    }
    if !counts.may_update {
        missing.push("UPDATE");
    }
    let sequences: Vec<_> = others.flat_map(|column| column.unusable_sequences.iter().map(String::as_str)).collect();
    let (mut lacks, mut grants) = (Vec::new(), Vec::new());
    if !missing.is_empty() {
        lacks.push(format!("{} on {}", missing.join(", "), into.plain()));
        grants.push(format!("GRANT {} ON {into} TO {role};", missing.join(", ")));
    }
    if !sequences.is_empty() {
        lacks.push(format!("USAGE on sequence {}", sequences.join(", ")));
        grants.push(format!("GRANT USAGE ON SEQUENCE {} TO {role};", sequences.join(", ")));
    }
    if lacks.is_empty() {
        return Ok(());
    }
    refuse(format!("role {role} lacks {}", lacks.join(", and ")), &grants.join(" "))
}

fn clocks(facts: &Facts) -> Result<(), Refusal> {
    let zone = facts.zone;
    match &facts.clocks {
        Clocks::Same => Ok(()),
        Clocks::Unknown => {
            refuse(format!("the server does not know time zone {zone}"), "name another timezone, or renew its tzdata")
        }
        Clocks::Different { at, ours, theirs } => refuse(
            format!(
                "at {at} it was {ours} in {zone}, and by the server's reckoning {theirs}, so that its days are others"
            ),
            "name a place, such as \"Europe/Berlin\", not an abbreviation; or renew the server's tzdata",
        ),
    }
}

/// The statement that makes the summary, or the name that may have been meant.
fn create(kind: &Summarize, facts: &Facts) -> String {
    if let Some(alike) = facts.alike.first() {
        return format!("is it into = '{}'?", alike.plain());
    }
    let type_of =
        |column: &Ident| facts.log.iter().find(|(name, _)| name == column).map_or("?", |(_, sql)| sql.as_str());
    let by: String = kind.key().skip(1).map(|column| format!(", {column} {}", type_of(column))).collect();
    let key: Vec<_> = kind.key().map(ToString::to_string).collect();
    format!(
        "CREATE TABLE {} ({} date NOT NULL{by}, {} bigint NOT NULL, UNIQUE ({}));",
        kind.into.get_ref(),
        kind.date.get_ref(),
        kind.count.get_ref(),
        key.join(", ")
    )
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
