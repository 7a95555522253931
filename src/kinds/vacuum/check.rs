//! What would keep tables from being tended.

use std::collections::BTreeMap;
use std::ops::Range;

use super::config::Chore;
use super::plan::{Facts, May, Relation, choose};
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
    for at in chosen.idle_exclusions {
        let entry = &chore.exclude[at];
        let message =
            format!("there is no table or materialized view {}, so `exclude` leaves nothing out", entry.get_ref());
        found.push(Finding::warning(message, "mend the name, or take it out of `exclude`").at(entry.span()));
    }
    let tables = chosen.tables.into_iter().map(|(table, _)| table);
    let (others, ours): (Vec<_>, Vec<_>) = tables.partition(|table| table.may == May::Not);
    let mut by_owner: BTreeMap<&Ident, Vec<&Relation>> = BTreeMap::new();
    for table in others {
        by_owner.entry(&table.owner).or_default().push(table);
    }
    for (owner, tables) in by_owner {
        let (role, first) = (&tables[0].role, &tables[0].name);
        let mend = if facts.version >= 170_000 {
            format!("GRANT MAINTAIN ON TABLE {first} TO {role}; or, for all tables, GRANT pg_maintain TO {role}")
        } else {
            format!("GRANT {owner} TO {role}: before PostgreSQL 17 only the owner of a table, or of the database, may")
        };
        let message = format!(
            "role {} may not vacuum or analyze {}, owned by {}: PostgreSQL would pass over, with a warning and no error",
            role.as_str(),
            names(&tables),
            owner.as_str(),
        );
        found.push(Finding::error(message, mend));
    }
    let mut closed: BTreeMap<(&Ident, &Ident), Vec<&Relation>> = BTreeMap::new();
    for table in ours.into_iter().filter(|table| !table.may_enter) {
        let role = if table.may == May::AsOwner { &table.owner } else { &table.role };
        closed.entry((&table.name.schema, role)).or_default().push(table);
    }
    for ((schema, role), tables) in closed {
        found.push(Finding::error(
            format!("role {} may not use schema {}, for {}", role.as_str(), schema.as_str(), names(&tables)),
            format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
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

fn names(tables: &[&Relation]) -> String {
    let named: Vec<_> = tables.iter().take(NAMED).map(|table| table.name.plain()).collect();
    let more = tables.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
