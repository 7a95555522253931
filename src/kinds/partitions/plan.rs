//! What to make, what to refuse, and what to say about the rest. Pure: facts in, a plan out.
//!
//! Two steps, because names must be looked up in between: [`wanted`] for each table, then one query for all
//! [`candidates`], then [`decide`].

use std::collections::{BTreeMap, HashSet};

use super::facts::{Action, Create};
use super::wanted::Nameless;
pub use super::wanted::{Wanted, newest_parent, wanted};
use crate::pg::TableName;
use crate::run::Plan;

/// The names to look up.
pub fn candidates(wanted: &[Wanted]) -> Vec<TableName> {
    wanted.iter().flat_map(|wanted| &wanted.creates).flat_map(|create| create.names.iter().cloned()).collect()
}

/// The plan for all tables; `taken` are those of the [`candidates`] that some relation has.
pub fn decide(wanted: Vec<Wanted>, taken: &HashSet<TableName>) -> Plan<Action> {
    let mut plan = Plan::default();
    let mut taken = taken.clone();
    for mut table in referenced_first(wanted) {
        plan.notes.append(&mut table.notes);
        if let Some(why) = table.refusal {
            plan.actions.push(Action::Refuse { table: table.table, why });
            continue;
        }
        let before = plan.actions.len();
        match named(table.creates, &mut taken) {
            Ok(creates) => {
                plan.actions.extend(creates.into_iter().map(|create| Action::Create(Box::new(create))));
                plan.actions.extend(table.beyond.map(|why| Action::Refuse { table: table.table, why }));
            }
            Err(why) => plan.actions.push(Action::Refuse { table: table.table, why }),
        }
        plan.in_order += usize::from(plan.actions.len() == before);
    }
    plan
}

/// Gives each the first of its names that is free.
fn named(creates: Vec<Nameless>, taken: &mut HashSet<TableName>) -> Result<Vec<Create>, String> {
    let mut done = Vec::with_capacity(creates.len());
    for Nameless { mut create, names, too_long } in creates {
        let Some(name) = names.iter().find(|name| !taken.contains(*name)) else {
            let all: Vec<_> = names.iter().map(TableName::plain).collect();
            return Err(format!("each name for a partition is taken by another relation: {}", all.join(", ")));
        };
        if *name != names[0] {
            create.reason.push_str(&format!("; the name {} is taken", names[0].plain()));
        } else if let Some(full) = too_long {
            create.reason.push_str(&format!("; the name {full} is longer than 63 bytes"));
        }
        taken.insert(name.clone());
        create.name = name.clone();
        done.push(create);
    }
    Ok(done)
}

/// Referenced tables come before those that refer to them, otherwise in the given order. Where keys go round in a ring, none
/// is first; which one is made first does not matter to any server, since partitions without rows refer to nothing.
fn referenced_first(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let at: BTreeMap<u32, usize> = wanted.iter().enumerate().map(|(i, table)| (table.oid, i)).collect();
    let needs: Vec<Vec<usize>> =
        wanted.iter().map(|table| table.references.iter().filter_map(|oid| at.get(oid).copied()).collect()).collect();
    let mut left: Vec<Option<Wanted>> = wanted.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(left.len());
    let mut seen = vec![false; left.len()];
    for root in 0..left.len() {
        // Depth first, with a stack of our own: a chain of a thousand tables is no reason to run out of the thread's.
        let mut path = vec![(root, 0)];
        while let Some((table, next)) = path.pop() {
            if next == 0 && std::mem::replace(&mut seen[table], true) {
                continue;
            }
            match needs[table].get(next) {
                Some(&need) => {
                    path.push((table, next + 1));
                    path.push((need, 0));
                }
                None => ordered.extend(left[table].take()),
            }
        }
    }
    ordered
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub mod tests;
