//! What `check` says about the facts of a table.

use anyhow::Result;

use super::plan::{self, Count, LeafFacts, TableFacts, Work};
use super::survey::{self, Depth};
use super::{Time, Wanted};
use crate::kinds::Context;
use crate::pg::batch::Into;
use crate::pg::catalog::{Leaf, OnDelete, Reference};
use crate::pg::{Session, explain};
use crate::run::Finding;

/// The facts of a table, as far as they can be had; why not, otherwise.
///
/// # Errors
/// The connection is gone.
pub async fn look(session: &Session, cx: &Context, wanted: &Wanted) -> Result<TableFacts> {
    match survey::table(session, cx, wanted, Depth::Nulls).await {
        Err(error) if !session.is_closed() => {
            Ok(TableFacts::refused(wanted, explain(&error), "see what PostgreSQL says"))
        }
        other => other,
    }
}

/// Pure.
pub fn findings(facts: &TableFacts) -> Vec<Finding> {
    let words = facts.wanted.words;
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
            let mend = "tend it in the server where its rows are";
            found.push(Finding::warning(format!("{name} is a foreign table and is left out"), mend));
            continue;
        };
        if work.index.is_none() && !matches!(facts.wanted.time, Time::OfParent(_)) {
            found.push(Finding::warning(
                format!("{name} has no index by which rows {} are found, so each run reads all of it", words.past()),
                // On one table, not on a partitioned one, where CONCURRENTLY is not to be had.
                format!("CREATE INDEX CONCURRENTLY ON {} ({});", leaf.name, facts.wanted.time.sql()),
            ));
        }
        if work.nulls.any() && work.nulls != Count::Unknown {
            found.push(Finding::warning(
                format!("{name} has {} without a time, and {}", work.nulls, words.never()),
                "give them one, or delete them by hand",
            ));
        }
        if let (Some(objects), Some(facts)) = (&facts.wanted.objects, &work.objects) {
            if !facts.indexed {
                found.push(Finding::warning(
                    format!("each batch reads all of {name} to see whether other rows have the same objects"),
                    format!("CREATE INDEX CONCURRENTLY ON {} ({});", leaf.name, objects.column),
                ));
            }
            if let Some(said) = facts.said_foreign("rows") {
                let mend = format!("correct them, or leave them out with where; it is store {}", objects.store);
                found.push(Finding::warning(format!("{name}: {said}"), mend));
            }
        }
        for what in plan::without(work) {
            found.push(Finding::warning(format!("{name}: {what}"), "each run fails until then"));
        }
        referencing(&mut found, &facts.wanted, leaf, work);
        if !leaf.delete_triggers.is_empty() {
            found.push(Finding::warning(
                format!("{name} has BEFORE DELETE triggers ({}), which may keep rows", leaf.delete_triggers.join(", ")),
                format!("see that they let go rows {}; the run fails where they do not", words.past()),
            ));
        }
    }
    found
}

/// Foreign keys that point at the table.
fn referencing(found: &mut Vec<Finding>, wanted: &Wanted, leaf: &Leaf, work: &Work) {
    let name = leaf.name.plain();
    // Its rows are not deleted, but go elsewhere.
    let moves = matches!(wanted.into, Some(Into::Archive(_)));
    // A `where` that leaves out what is referred to has seen to it. Where nothing is due, nothing is proven.
    let left_out = |key: &Reference| {
        wanted.condition.is_some()
            && work.due.any()
            && work.kept.iter().any(|(kept, n)| kept.constraint == key.constraint && *n == Count::Exactly(0))
    };
    for key in &leaf.referenced_by {
        let by = format!("{} (constraint {}, {})", key.table.plain(), key.constraint, key.on_delete.sql());
        if !key.indexed {
            let columns: Vec<_> = key.columns.iter().map(ToString::to_string).collect();
            found.push(Finding::warning(
                format!("each row deleted from {name} scans the whole of {by}: no index begins with the key"),
                format!("CREATE INDEX CONCURRENTLY ON {} ({});", key.table, columns.join(", ")),
            ));
        }
        if key.readable && left_out(key) {
            continue;
        }
        if moves && key.readable {
            found.push(Finding::warning(
                format!("rows of {name} stay, and the run fails, as long as rows of {by} refer to them"),
                "archive or delete those first, or say in where which rows to leave",
            ));
            continue;
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
