//! What earlier runs, or others, have begun: detachings that are pending, tables that were detached and not finished, marks
//! that lead nowhere. Pure.

use std::collections::BTreeSet;

use chrono::NaiveDateTime;

use super::age::Ages;
use super::facts::{Detached, Fate, LeafFacts, Stand, Unmark};
use super::mark::{self, Mark};
use super::plan::What;
use super::steps::counted;
use super::window::{One, forbidden, obstacle};
use crate::kinds::partitions::bound;
use crate::kinds::partitions::key::{FIRST, LAST};
use crate::pg::TableName;
use crate::run::Step;

/// What is said of a detaching that is pending, and of which it cannot be told who began it.
pub fn pending_in_doubt(name: &TableName) -> String {
    format!(
        "a run was about to detach it, and whether that one has begun it or somebody else, who wants to keep it, cannot be told: \
         it is finished, and left as a table of its own; to drop it: DROP TABLE {name}"
    )
}

/// What is said of a table with a mark that may be on somebody else's work; `attach` takes it back.
pub fn detached_in_doubt(mark: &Mark, name: &TableName, attach: &str) -> String {
    format!(
        "is detached from {}, and is left as it is: a run was about to detach it, and whether that one has done it or somebody \
         else, who wants to keep it, cannot be told; to keep it: COMMENT ON TABLE {name} IS NULL; to drop it: DROP TABLE {name}; \
         to take it back: {attach}",
        mark.table.plain()
    )
}

impl One<'_> {
    /// Partitions whose detaching an earlier run, or somebody else, has begun; and tables that were detached and not
    /// finished.
    pub fn begun_before(&mut self, ages: &Ages<'_>, fate: &Fate) {
        let facts = self.facts;
        let barred = |leaf: &LeafFacts| {
            forbidden(facts).is_some() || (facts.policy.immutable.is_none() && !leaf.delete_triggers.is_empty())
        };
        for partition in facts.parent.partitions.iter().filter(|partition| partition.detach_pending) {
            let Some(leaf) = facts.leaves.get(&partition.oid) else { continue };
            if let Some((_, hold)) = self.holds.on_any(&leaf.tree, self.now) {
                let why = format!("its detaching was begun and not finished, and it is {}", hold.sentence());
                self.notes.push(Step::held(partition.name.plain(), why));
                continue;
            }
            let mark = leaf.comment.as_deref().and_then(mark::parse).filter(|mark| mark.parent == facts.parent.oid);
            let range = ages.range(&partition.bound);
            let ours = mark.as_ref().is_some_and(|mark| mark.begun);
            let (own, why) = match (&mark, &range) {
                (None, _) => (Fate::Detach, "its detaching was begun by somebody else and not finished"),
                (Some(_), _) if !ours => {
                    self.notes.push(Step::warn(partition.name.plain(), pending_in_doubt(&partition.name)));
                    (
                        Fate::Detach,
                        "its detaching was begun, whether by an earlier run or by somebody else, and not finished",
                    )
                }
                (Some(mark), Ok((_, to)))
                    if mark.fate == *fate
                        && ages.is_old(*to)
                        && !barred(leaf)
                        && !self.is_one_of_the_newest(ages, *to) =>
                {
                    (fate.clone(), "its detaching was begun by an earlier run and not finished")
                }
                (Some(_), _) => (
                    Fate::Detach,
                    "its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is \
                     left as a table of its own",
                ),
            };
            self.finish(
                ages,
                partition.oid,
                &partition.name,
                leaf,
                (own, Stand::Pending, ours),
                why.to_string(),
                range.ok(),
            );
        }
        let most = usize::try_from(facts.policy.max_partitions).unwrap_or(usize::MAX);
        let mut left: Vec<&TableName> = Vec::new();
        let mut detached: Vec<&Detached> = facts.detached.iter().collect();
        detached.sort_by_key(|detached| ages.range(&bound::read(&detached.mark.bound)).map_or(LAST, |(_, to)| to));
        for Detached { name, oid, mark, leaf } in detached {
            let attach = format!("ALTER TABLE {} ATTACH PARTITION {name} {}", facts.table(), mark.bound);
            if !mark.begun {
                self.notes.push(Step::warn(name.plain(), detached_in_doubt(mark, name, &attach)));
                continue;
            }
            let range = ages.range(&bound::read(&mark.bound));
            let why = match &range {
                Err(why) => Err(why.clone()),
                Ok(_) if mark.table != *facts.table() => {
                    Err(format!("it was detached from {}, which has another name now", mark.table.plain()))
                }
                Ok(_) if mark.fate != *fate => {
                    Err(format!("it was to be {}, and the policy says {} now", mark.fate.word(), fate.word()))
                }
                Ok((_, to)) if !ages.is_old(*to) => Err(format!("it ends {}, after the cutoff", ages.shown(*to))),
                Ok((_, to)) if self.is_one_of_the_newest(ages, *to) => {
                    Err(format!("it is one of the newest {} (keep_at_least)", facts.policy.keep_at_least))
                }
                Ok((from, to)) => Ok((*from, *to)),
            };
            let held = self.holds.on_any(&leaf.tree, self.now).map(|(_, hold)| hold.sentence());
            let why = match held {
                Some(held) => Err(format!("it is {held}")),
                None => why,
            };
            match why {
                Err(why) => self.notes.push(Step::warn(
                    name.plain(),
                    format!(
                        "was detached from {} by an earlier run and is left as it is: {why}; to take it back: {attach}; to keep \
                         it as it is: COMMENT ON TABLE {name} IS NULL",
                        mark.table.plain()
                    ),
                )),
                Ok(range) => {
                    let obstacle = forbidden(facts).or_else(|| obstacle(facts, fate, name, leaf));
                    if let Some(refusal) = obstacle {
                        self.want(ages, range.0, range.1, What::Refuse(name.clone(), refusal));
                        continue;
                    }
                    if self.going_so_far() >= most {
                        left.push(name);
                        self.want(ages, range.0, range.1, What::Left);
                        continue;
                    }
                    let rule = self.rule_of(ages, range.1);
                    let why = format!("was detached by an earlier run; {rule}");
                    // The server has forgotten the bound.
                    let leaf = LeafFacts { bound: mark.bound.clone(), ..leaf.clone() };
                    self.finish(ages, *oid, name, &leaf, (fate.clone(), Stand::Detached, true), why, Some(range));
                }
            }
        }
        if let Some(first) = left.first() {
            let reason = format!(
                "{} that earlier runs have detached {} left, and at most {most} go in one run (max_partitions): the next \
                 begins with {}",
                counted(left.len(), "partition"),
                if left.len() == 1 { "is" } else { "are" },
                first.plain()
            );
            self.notes.push(Step::warn(facts.table().plain(), reason));
        }
    }

    /// Whether something that ends there would be kept for want of newer ones, were it still a partition.
    fn is_one_of_the_newest(&self, ages: &Ages<'_>, to: NaiveDateTime) -> bool {
        let attached = ages.known.iter().filter(|age| !age.partition.detach_pending && ages.has_begun(age));
        let newer = attached.filter(|age| age.to > to).count();
        newer < usize::try_from(self.facts.policy.keep_at_least).unwrap_or(usize::MAX)
    }

    /// How many go by what is wanted until now.
    pub fn going_so_far(&self) -> usize {
        self.wanted.iter().filter(|wanted| matches!(wanted.what, What::Go(_))).count()
    }

    #[allow(clippy::too_many_arguments, reason = "as above")]
    fn finish(
        &mut self,
        ages: &Ages<'_>,
        oid: u32,
        name: &TableName,
        leaf: &LeafFacts,
        (fate, stand, ours): (Fate, Stand, bool),
        why: String,
        range: Option<(NaiveDateTime, NaiveDateTime)>,
    ) {
        let range = range.unwrap_or((FIRST, ages.now));
        let mut going = self.going(ages, range, oid, name, leaf, &fate, why);
        going.stand = stand;
        going.ours = ours;
        self.want(ages, range.0, range.1, What::Go(Box::new(going)));
    }

    /// Marks on partitions that were not detached after all and do not go now: whoever detached one by hand to keep it
    /// would see it dropped.
    pub fn stale_marks(&mut self, ages: &Ages<'_>) {
        let facts = self.facts;
        let going: BTreeSet<u32> = self
            .wanted
            .iter()
            .filter_map(|wanted| match &wanted.what {
                What::Go(going) => Some(going.oid),
                _ => None,
            })
            .collect();
        for partition in facts.parent.partitions.iter().filter(|p| !p.detach_pending && !going.contains(&p.oid)) {
            let Some(leaf) = facts.leaves.get(&partition.oid) else { continue };
            if leaf.comment.as_deref().and_then(mark::parse).is_none() {
                continue;
            }
            let unmark = Unmark {
                table: facts.table().clone(),
                leaf: partition.name.clone(),
                oid: partition.oid,
                owner: leaf.owner.clone(),
                comment: mark::original(leaf.comment.as_deref()),
            };
            self.want(ages, ages.now, ages.now, What::Unmark(unmark));
        }
    }
}
