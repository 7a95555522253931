//! What would keep tables from being tended.

use std::collections::BTreeMap;
use std::ops::Range;

use super::config::Chore;
use super::plan::{Facts, Relation, choose};
use crate::pg::Ident;
use crate::run::Finding;

/// So many tables are named.
const NAMED: usize = 10;

pub fn findings<const VACUUM: bool>(chore: &Chore<VACUUM>, facts: &Facts, counting: bool) -> Vec<Finding> {
    let chosen = choose(chore, &facts.relations);
    let mut found: Vec<Finding> = Vec::new();
    for at in chosen.idle {
        let entry = &chore.tables[at];
        let finding = match &entry.get_ref().exact {
            Some(table) => Finding::error(
                format!("there is no table or materialized view {}", table.plain()),
                "mend the name, or take it out of `tables`",
            ),
            None => Finding::warning(format!("no table is called like {}", entry.get_ref()), "mend it, or take it out"),
        };
        found.push(placed(finding, entry.span()));
    }
    let tables = chosen.tables.into_iter().map(|(table, _)| table);
    let (others, ours): (Vec<_>, Vec<_>) = tables.partition(|table| !table.may);
    let mut by_owner: BTreeMap<&str, Vec<&Relation>> = BTreeMap::new();
    for table in others {
        by_owner.entry(&table.owner).or_default().push(table);
    }
    for (owner, tables) in by_owner {
        let role = ident(&tables[0].role);
        let mend = if facts.version >= 170_000 {
            format!(
                "GRANT MAINTAIN ON TABLE {} TO {role}; or, for all tables, GRANT pg_maintain TO {role}",
                tables[0].name
            )
        } else {
            format!(
                "GRANT {} TO {role}, with INHERIT: until PostgreSQL 17 only who owns a table, or the database, may",
                ident(owner)
            )
        };
        let message = format!(
            "role {} may not vacuum or analyze {}, owned by {owner}: PostgreSQL would pass over, with a warning and no error",
            tables[0].role,
            names(&tables),
        );
        found.push(Finding::error(message, mend));
    }
    let mut closed: BTreeMap<&Ident, Vec<&Relation>> = BTreeMap::new();
    for table in ours.into_iter().filter(|table| !table.may_enter) {
        closed.entry(&table.name.schema).or_default().push(table);
    }
    for (schema, tables) in closed {
        found.push(Finding::error(
            format!("role {} may not use schema {}, where {} lie", tables[0].role, schema.as_str(), names(&tables)),
            format!("GRANT USAGE ON SCHEMA {schema} TO {}", ident(&tables[0].role)),
        ));
    }
    if !counting {
        found.push(Finding::warning(
            "track_counts is off: nobody knows which tables are the neediest, when they were vacuumed, or whether they were",
            "set track_counts = on, which autovacuum needs too",
        ));
    }
    found
}

/// The default stands nowhere.
fn placed(finding: Finding, span: Range<usize>) -> Finding {
    if span.is_empty() { finding } else { finding.at(span) }
}

/// A role, as SQL has it.
fn ident(role: &str) -> String {
    Ident::found(role).map_or_else(|_| role.to_owned(), |ident| ident.to_string())
}

fn names(tables: &[&Relation]) -> String {
    let named: Vec<_> = tables.iter().take(NAMED).map(|table| table.name.plain()).collect();
    let more = tables.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
