//! What `check` says about the facts of a table. Pure.

use super::ExpireTable;
use super::plan::{Count, LeafFacts, TableFacts};
use crate::pg::catalog::{Leaf, OnDelete};
use crate::run::Finding;

pub fn findings(config: &ExpireTable, facts: &TableFacts) -> Vec<Finding> {
    if let Some(refusal) = &facts.refusal {
        return vec![Finding::error(&refusal.why, &refusal.mend)];
    }
    let mut found = Vec::new();
    for LeafFacts { leaf, refusal, work } in &facts.leaves {
        let name = leaf.name.plain();
        if let Some(refusal) = refusal {
            found.push(Finding::error(&refusal.why, &refusal.mend));
            continue;
        }
        let Some(work) = work else {
            let mend = "expire it in the server where its rows are";
            found.push(Finding::warning(format!("{name} is a foreign table and is left out"), mend));
            continue;
        };
        if work.index.is_none() {
            found.push(Finding::warning(
                format!("{name} has no index by which rows that ended are found, so each run reads all of it"),
                // On one table, not on a partitioned one, where CONCURRENTLY is not to be had.
                format!("CREATE INDEX CONCURRENTLY ON {} ({});", leaf.name, config.time()),
            ));
        }
        if work.nulls.any() && work.nulls != Count::Unknown {
            found.push(Finding::warning(
                format!("{name} has {} without a time, and NULL never ends", work.nulls),
                "give them one, or delete them by hand",
            ));
        }
        referencing(&mut found, leaf);
        if !leaf.delete_triggers.is_empty() {
            found.push(Finding::warning(
                format!("{name} has BEFORE DELETE triggers ({}), which may keep rows", leaf.delete_triggers.join(", ")),
                "see that they let go what ended; the run fails where they do not",
            ));
        }
    }
    found
}

/// Foreign keys that point at the table.
fn referencing(found: &mut Vec<Finding>, leaf: &Leaf) {
    let name = leaf.name.plain();
    for key in &leaf.referenced_by {
        let by = format!("{} (constraint {}, {})", key.table.plain(), key.constraint, key.on_delete.sql());
        if !key.indexed {
            let columns: Vec<_> = key.columns.iter().map(ToString::to_string).collect();
            found.push(Finding::warning(
                format!("each row deleted from {name} scans the whole of {by}: no index begins with the key"),
                format!("CREATE INDEX CONCURRENTLY ON {} ({});", key.table, columns.join(", ")),
            ));
        }
        match key.on_delete {
            OnDelete::Refuse if key.readable => found.push(Finding::warning(
                format!("rows of {name} stay as long as rows of {by} refer to them"),
                "expire those first, or say in where which rows to leave",
            )),
            OnDelete::Refuse => found.push(Finding::warning(
                format!(
                    "rows of {name} to which rows of {by} refer cannot be told apart, and one of them stops its batch"
                ),
                format!("GRANT SELECT ON {} to this role", key.table),
            )),
            OnDelete::Cascade => found.push(Finding::warning(
                format!("rows of {by} are deleted with those of {name} they refer to"),
                "see that this is meant; the run reports how many",
            )),
            OnDelete::SetNull | OnDelete::SetDefault => found.push(Finding::warning(
                format!("rows of {by} lose their reference to deleted rows of {name}"),
                "see that this is meant; the run reports how many",
            )),
        }
    }
}
