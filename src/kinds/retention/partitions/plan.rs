//! Which partitions go, in which order, how, and what to say about the rest. Pure: facts in, a plan out.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::age::Ages;
use super::facts::{Action, Fate, Going, Ledger, Refusal, Stand, TableFacts, Unmark};
use super::over::{self, OldRows, Over};
use super::window::{Old, One, forbidden, obstacle};
use crate::kinds::partitions::facts::Partition;
use crate::kinds::retention::holds::Holds;
use crate::pg::TableName;
use crate::run::{Plan, Step};

/// A table, or why there is none to speak of.
pub type Looked = Result<TableFacts, (TableName, Refusal)>;

/// Partitions of `facts` that are too old and that nothing in the catalog keeps, the oldest first: those of which more has
/// to be known.
pub fn candidates(facts: &TableFacts, holds: &Holds, now: DateTime<Utc>) -> Vec<u32> {
    let Ok(fate) = Fate::of(&facts.policy) else { return Vec::new() };
    let Ok(ages) = Ages::of(&facts.parent, &facts.policy, facts.zone, now) else { return Vec::new() };
    if holds.on_any(&facts.lineage, now).is_some() || forbidden(facts).is_some() {
        return Vec::new();
    }
    let old = Old::of(&ages, facts.policy.keep_at_least);
    let free = |partition: &&Partition| match facts.leaves.get(&partition.oid) {
        Some(leaf) => {
            holds.on_any(&leaf.tree, now).is_none() && obstacle(facts, &fate, &partition.name, leaf).is_none()
        }
        // Nothing is known yet.
        None => true,
    };
    old.going.iter().map(|age| age.partition).filter(free).map(|partition| partition.oid).collect()
}

/// Leaves that do not go, in which old rows are looked for one by one; and what is said of those that are left alone.
pub fn rows(facts: &TableFacts, holds: &Holds, now: DateTime<Utc>) -> (Vec<(Over, OldRows)>, Vec<Step>) {
    let (mut wanted, mut notes) = (Vec::new(), Vec::new());
    let (Ok(fate), Ok(ages)) = (Fate::of(&facts.policy), Ages::of(&facts.parent, &facts.policy, facts.zone, now))
    else {
        return (wanted, notes);
    };
    if holds.on_any(&facts.lineage, now).is_some() {
        return (wanted, notes);
    }
    let over = over::leaves(facts, &ages);
    if let Some((partition, why)) = ages.outstays(&facts.policy)
        && !over.iter().any(|over| over.oid == partition.oid)
    {
        notes.push(Step::warn(partition.name.plain(), why));
    }
    for over in over {
        let tree = facts.leaves.get(&over.oid).map_or_else(|| vec![over.leaf.clone()], |leaf| leaf.tree.clone());
        if let Some((_, hold)) = holds.on_any(&tree, now) {
            notes.push(Step::held(over.leaf.plain(), format!("{} is {}", over.what, hold.sentence())));
            continue;
        }
        match over::wanted(facts, &ages, &fate, &over) {
            Ok(one) => wanted.push((over, one)),
            Err(note) => notes.push(note),
        }
    }
    (wanted, notes)
}

/// The leaves that [`rows`] is about, of which more has to be known.
pub fn over_leaves(facts: &TableFacts, now: DateTime<Utc>) -> Vec<u32> {
    let ages = Ages::of(&facts.parent, &facts.policy, facts.zone, now);
    ages.map_or_else(|_| Vec::new(), |ages| over::leaves(facts, &ages).into_iter().map(|over| over.oid).collect())
}

/// The plan for all tables.
pub fn decide(tables: Vec<Looked>, holds: &Holds, now: DateTime<Utc>) -> Plan<Action> {
    let mut plan = Plan::default();
    let ledger = Ledger::default();
    let mut known: Vec<TableFacts> = Vec::new();
    for looked in tables {
        match looked {
            Ok(facts) if known.iter().any(|other| other.parent.oid == facts.parent.oid) => {
                let refusal =
                    Refusal::new("two policies of the job name this table", "one table has one keep: remove one");
                plan.actions.push(refuse(facts.table(), facts.table(), refusal));
            }
            Ok(facts) => known.push(facts),
            Err((table, refusal)) => plan.actions.push(refuse(&table, &table, refusal)),
        }
    }
    let ranks = ranks(&known);
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by_key(|place| ranks[*place]);
    let mut wanted: Vec<Window> = Vec::new();
    for place in order {
        let mut one = One {
            facts: &known[place],
            known: &known,
            holds,
            now,
            ledger: &ledger,
            notes: Vec::new(),
            wanted: Vec::new(),
        };
        match one.all(&wanted) {
            Err(refusal) => plan.actions.push(refuse(one.facts.table(), one.facts.table(), refusal)),
            Ok(()) => plan.in_order += usize::from(one.wanted.is_empty()),
        }
        plan.notes.append(&mut one.notes);
        wanted.append(&mut one.wanted);
    }
    let place = |wanted: &Window| known.iter().position(|facts| facts.parent.oid == wanted.parent).unwrap_or_default();
    // Windows one after the other; in a window the tables that refer to others come first.
    wanted.sort_by_key(|wanted| (wanted.is_new, wanted.to, ranks[place(wanted)], place(wanted)));
    link(&mut wanted, &known, &ranks);
    for one in wanted {
        match one.what {
            What::Refuse(name, refusal) => {
                let table = known.iter().find(|facts| facts.parent.oid == one.parent).map(TableFacts::table);
                plan.actions.push(refuse(&name, table.unwrap_or(&name), refusal));
            }
            What::Unmark(unmark) => plan.actions.push(Action::Unmark(Box::new(unmark))),
            What::Left => {}
            What::Go(going) => {
                let going = Arc::new(*going);
                if going.export.is_some() && going.stand == Stand::Attached {
                    plan.actions.push(Action::Export(Arc::clone(&going)));
                }
                plan.actions.push(Action::Go(going));
            }
        }
    }
    plan.notes.extend(holds.astray(now));
    plan
}

fn refuse(target: &TableName, table: &TableName, refusal: Refusal) -> Action {
    Action::Refuse { target: target.plain(), table: table.plain(), refusal }
}

/// Something of a window.
pub struct Window {
    /// What was begun by an earlier run comes first.
    pub is_new: bool,
    pub parent: u32,
    pub from: Option<DateTime<Utc>>,
    pub to: DateTime<Utc>,
    pub what: What,
}

pub enum What {
    Go(Box<Going>),
    Refuse(TableName, Refusal),
    Unmark(Unmark),
    /// Old enough, and more than `max_partitions`.
    Left,
}

impl Window {
    pub fn overlaps(&self, from: Option<DateTime<Utc>>, to: DateTime<Utc>) -> bool {
        self.from.is_none_or(|ours| ours < to) && from.is_none_or(|from| from < self.to)
    }
}

/// A partition waits for those of referencing tables in the same window.
fn link(wanted: &mut [Window], known: &[TableFacts], ranks: &[usize]) {
    let table = |oid: u32| known.iter().position(|facts| facts.parent.oid == oid);
    for at in 0..wanted.len() {
        let this = &wanted[at];
        let before = |other: &Window| {
            let (Some(theirs), Some(ours)) = (table(other.parent), table(this.parent)) else { return false };
            known[theirs].parent.references.contains(&this.parent) && ranks[theirs] < ranks[ours]
        };
        let after: Vec<(u32, TableName)> = wanted
            .iter()
            .filter(|other| before(other) && other.overlaps(this.from, this.to))
            .filter_map(|other| match &other.what {
                What::Go(going) => Some((going.oid, going.leaf.clone())),
                _ => None,
            })
            .collect();
        if let What::Go(going) = &mut wanted[at].what {
            going.after = after;
        }
    }
}

/// The place of each table, so that those that refer to others come before them; where they refer to each other, some
/// order.
fn ranks(tables: &[TableFacts]) -> Vec<usize> {
    let mut ranks = vec![usize::MAX; tables.len()];
    for rank in 0..tables.len() {
        let left: Vec<usize> = (0..tables.len()).filter(|place| ranks[*place] == usize::MAX).collect();
        let is_referred_to = |place: &usize| {
            left.iter()
                .any(|other| other != place && tables[*other].parent.references.contains(&tables[*place].parent.oid))
        };
        if let Some(next) = left.iter().find(|place| !is_referred_to(place)).or(left.first()) {
            ranks[*next] = rank;
        }
    }
    ranks
}
#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
