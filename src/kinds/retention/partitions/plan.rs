//! Which partitions go, in which order, how, and what to say about the rest. Pure: facts in, a plan out.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::age::{Age, Ages};
use super::facts::{Action, Detached, Fate, Going, LeafFacts, Ledger, Newest, Refusal, Stand, TableFacts, Unmark, Way};
use super::mark;
use super::over::{self, Over};
use super::steps::counted;
use crate::kinds::partitions::bound;
use crate::kinds::partitions::facts::Partition;
use crate::kinds::partitions::key::FIRST;
use crate::kinds::retention::holds::Holds;
use crate::kinds::rows::Wanted;
use crate::pg::TableName;
use crate::pg::catalog::kind_name;
use crate::run::{Plan, Step};

/// A table, or why there is none to speak of.
pub type Looked = Result<TableFacts, (TableName, Refusal)>;

/// Partitions of `facts` that are too old and that nothing in the catalog keeps, the oldest first: those of which more has
/// to be known.
pub fn candidates(facts: &TableFacts, holds: &Holds, now: DateTime<Utc>) -> Vec<u32> {
    let Ok(fate) = Fate::of(&facts.policy) else { return Vec::new() };
    let Ok(ages) = Ages::of(&facts.parent, &facts.policy, facts.zone, now) else { return Vec::new() };
    if holds.on_any(&facts.lineage, now).is_some() || forbidden(facts, &fate).is_some() {
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
pub fn rows(facts: &TableFacts, holds: &Holds, now: DateTime<Utc>) -> (Vec<(Over, Wanted)>, Vec<Step>) {
    let (mut wanted, mut notes) = (Vec::new(), Vec::new());
    let (Ok(fate), Ok(ages)) = (Fate::of(&facts.policy), Ages::of(&facts.parent, &facts.policy, facts.zone, now))
    else {
        return (wanted, notes);
    };
    if holds.on_any(&facts.lineage, now).is_some() {
        return (wanted, notes);
    }
    for over in over::leaves(facts, &ages) {
        let tree = facts.leaves.get(&over.oid).map_or_else(|| vec![over.leaf.clone()], |leaf| leaf.tree.clone());
        if let Some((_, hold)) = holds.on_any(&tree, now) {
            notes.push(Step::keep(over.leaf.plain(), format!("{} is {}", over.what, hold.sentence())));
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

/// The partitions that are old enough, less those that `keep_at_least` keeps.
struct Old<'a, 'b> {
    going: Vec<&'b Age<'a>>,
    protected: Vec<&'b Age<'a>>,
    /// The first that is not old enough.
    next: Option<&'b Age<'a>>,
    /// Whether none that has begun is newer than the cutoff.
    all: bool,
}

impl<'a, 'b> Old<'a, 'b> {
    fn of(ages: &'b Ages<'a>, keep_at_least: u32) -> Self {
        let attached = || ages.known.iter().filter(|age| !age.partition.detach_pending);
        // Partitions made ahead hold nothing yet, and keep nothing.
        let begun: Vec<_> = attached().filter(|age| ages.has_begun(age)).collect();
        let kept = begun.len().saturating_sub(usize::try_from(keep_at_least).unwrap_or(usize::MAX));
        let protected: HashSet<u32> = begun[kept..].iter().map(|age| age.partition.oid).collect();
        let (protected, going): (Vec<_>, Vec<_>) =
            attached().filter(|age| ages.is_old(age.to)).partition(|age| protected.contains(&age.partition.oid));
        Self {
            going,
            protected,
            next: attached().find(|age| !ages.is_old(age.to)),
            all: begun.len() > 1 && begun.iter().all(|age| ages.is_old(age.to)),
        }
    }
}

/// Why nothing of a table may go.
fn forbidden(facts: &TableFacts, fate: &Fate) -> Option<Refusal> {
    if *fate != Fate::Drop || facts.policy.immutable.is_some() {
        return None;
    }
    let trigger = facts.parent.immutable.as_ref()?;
    Some(immutable(&facts.table().plain(), trigger.as_str()))
}

fn immutable(table: &str, trigger: &str) -> Refusal {
    Refusal::new(
        format!(
            "trigger {trigger} stands on deleting from {table}, and a dropped partition's rows are deleted all the same"
        ),
        "write immutable = \"drop-after-export\" with an export if that is meant, or action = \"detach\" or \"archive\"",
    )
}

/// Why a partition that is old enough cannot go, as far as the catalog tells.
fn obstacle(facts: &TableFacts, fate: &Fate, name: &TableName, leaf: &LeafFacts) -> Option<Refusal> {
    let owner = &leaf.owner;
    let name = name.plain();
    if !matches!(leaf.kind, 'r' | 'p') {
        return Some(Refusal::new(
            format!("{name} is {}: its rows are in another server", kind_name(leaf.kind)),
            "detach it by hand",
        ));
    }
    if !leaf.may_act {
        return Some(Refusal::new(
            format!("{name} belongs to {owner}, and pgtend's role may not act as that one"),
            format!(
                "GRANT {owner} TO the role that pgtend connects as, or ALTER TABLE it OWNER TO {}",
                facts.parent.owner
            ),
        ));
    }
    match fate {
        Fate::Drop => {
            if let Some(trigger) = leaf.delete_triggers.first().filter(|_| facts.policy.immutable.is_none()) {
                return Some(immutable(&name, trigger));
            }
            (!leaf.dependents.is_empty()).then(|| {
                Refusal::new(
                    format!("{} depends on {name}, which cannot be dropped then", leaf.dependents.join(", ")),
                    "let it read the partitioned table instead, or drop it; or use action = \"detach\" or \"archive\"",
                )
            })
        }
        Fate::Detach => None,
        Fate::Archive(to) => leaf.name_taken.then(|| {
            Refusal::new(
                format!("{name} cannot move to schema {to}: something has its name there"),
                "rename or move one of the two",
            )
        }),
    }
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
        if let Err(refusal) = one.all(&wanted) {
            plan.actions.push(refuse(one.facts.table(), one.facts.table(), refusal));
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
struct Window {
    /// What was begun by an earlier run comes first.
    is_new: bool,
    parent: u32,
    from: Option<DateTime<Utc>>,
    to: DateTime<Utc>,
    what: What,
}

enum What {
    Go(Box<Going>),
    Refuse(TableName, Refusal),
    Unmark(Unmark),
    /// Old enough, and more than `max_partitions`.
    Left,
}

impl Window {
    fn overlaps(&self, from: Option<DateTime<Utc>>, to: DateTime<Utc>) -> bool {
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

/// The work on one table.
struct One<'a> {
    facts: &'a TableFacts,
    /// All tables of the job.
    known: &'a [TableFacts],
    holds: &'a Holds,
    now: DateTime<Utc>,
    ledger: &'a Ledger,
    notes: Vec<Step>,
    wanted: Vec<Window>,
}

impl TableFacts {
    pub const fn table(&self) -> &TableName {
        &self.parent.table
    }
}

impl One<'_> {
    /// `before`: what the tables before this one want.
    fn all(&mut self, before: &[Window]) -> Result<(), Refusal> {
        let facts = self.facts;
        let table = facts.table().plain();
        let fate = Fate::of(&facts.policy)?;
        let ages = Ages::of(&facts.parent, &facts.policy, facts.zone, self.now)?;
        if let Some((held, hold)) = self.holds.on_any(&facts.lineage, self.now) {
            let by = if held == facts.table() { "it is".into() } else { format!("{} is", held.plain()) };
            self.notes.push(Step::keep(table, format!("{by} {}", hold.sentence())));
            return Ok(());
        }
        let old = Old::of(&ages, facts.policy.keep_at_least);
        self.begun_before(&ages, &fate);
        self.stale_marks(&ages, &old);
        self.unknown(&ages);
        let refusal = forbidden(facts, &fate).or_else(|| facts.obstacles.first().cloned());
        match refusal {
            Some(Refusal { why, mend }) if !old.going.is_empty() => {
                let n = counted(old.going.len(), "partition");
                let are = if old.going.len() == 1 { "is" } else { "are" };
                return Err(Refusal::new(format!("{n} {are} before the cutoff {}: {why}", ages.cutoff_shown()), mend));
            }
            Some(refusal) => self.notes.push(Step::warn(&table, refusal.sentence())),
            None => self.those_of_now(&ages, &old, &fate, before),
        }
        self.near_the_edge(&ages, &old);
        Ok(())
    }

    /// Those that are old enough, up to `max_partitions`.
    fn those_of_now(&mut self, ages: &Ages<'_>, old: &Old<'_, '_>, fate: &Fate, before: &[Window]) {
        let facts = self.facts;
        let most = usize::try_from(facts.policy.max_partitions).unwrap_or(usize::MAX);
        // What was begun by an earlier run goes in this one too.
        let mut went = self.wanted.iter().filter(|wanted| matches!(wanted.what, What::Go(_))).count();
        let mut left: Vec<&Age<'_>> = Vec::new();
        for age in &old.going {
            let (partition, name) = (age.partition, age.partition.name.clone());
            let rule = self.rule(ages, age);
            let Some(leaf) = facts.leaves.get(&partition.oid) else {
                // It has gone between two looks.
                continue;
            };
            if let Some((held, hold)) = self.holds.on_any(&leaf.tree, self.now) {
                let by = if *held == name { "is".into() } else { format!("{} is", held.plain()) };
                self.keep(&name, format!("{rule}, but {by} {}", hold.sentence()));
                continue;
            }
            if let Some(refusal) = obstacle(facts, fate, &name, leaf) {
                let what = What::Refuse(name, Refusal::new(format!("{rule}: {}", refusal.why), refusal.mend));
                self.want(ages, age.from, age.to, what);
                continue;
            }
            if went >= most {
                left.push(age);
                self.want(ages, age.from, age.to, What::Left);
                continue;
            }
            if let Newest::Newer(time) = &leaf.newest {
                let column = facts.policy.newest.as_ref().map_or("", |column| column.as_str());
                self.keep(&name, format!("{rule}, but its newest {column} is {time}"));
                continue;
            }
            if let Some(other) = self.waits_for(ages, age, before) {
                self.keep(
                    &name,
                    format!("{rule}, and goes when those of {other} in its window are gone, in a later run"),
                );
                continue;
            }
            if let Some(referring) = leaf.referring.first() {
                let all: Vec<String> = leaf.referring.iter().map(ToString::to_string).collect();
                let refusal = Refusal::new(
                    format!("{rule}: {}", all.join("; ")),
                    format!("{} has to let go of them first: this window waits", referring.table.plain()),
                );
                self.want(ages, age.from, age.to, What::Refuse(name, refusal));
                continue;
            }
            if let (Fate::Detach | Fate::Archive(_), Some(trigger)) = (
                fate,
                facts
                    .parent
                    .immutable
                    .as_ref()
                    .map(|t| t.as_str())
                    .or(leaf.delete_triggers.first().map(|t| t.as_str())),
            ) {
                let reason =
                    format!("trigger {trigger} stands on deleting from it, and no longer does once it is detached");
                self.notes.push(Step::warn(name.plain(), reason));
            }
            went += 1;
            let going = self.going(ages, (age.from, age.to), partition.oid, &name, leaf, fate, rule);
            self.want(ages, age.from, age.to, What::Go(Box::new(going)));
        }
        if let (Some(first), Some(last)) = (left.first(), left.last()) {
            self.notes.push(Step::keep(
                facts.table().plain(),
                format!(
                    "{} more before the cutoff, and at most {most} go in one run (max_partitions): the next begins with {}, \
                     which ends {}, and the last of them ends {}",
                    counted(left.len(), "partition"),
                    first.partition.name.plain(),
                    ages.shown(first.to),
                    ages.shown(last.to)
                ),
            ));
        }
    }

    fn rule(&self, ages: &Ages<'_>, age: &Age<'_>) -> String {
        self.rule_of(ages, age.to)
    }

    fn rule_of(&self, ages: &Ages<'_>, to: NaiveDateTime) -> String {
        let zone = if ages.zone == chrono_tz::Tz::UTC { String::new() } else { format!(", {}", ages.zone.name()) };
        format!(
            "ends {}, before the cutoff {} (keep {}{zone})",
            ages.shown(to),
            ages.cutoff_shown(),
            self.facts.policy.keep
        )
    }

    fn keep(&mut self, name: &TableName, reason: String) {
        self.notes.push(Step::keep(name.plain(), reason));
    }

    fn want(&mut self, ages: &Ages<'_>, from: NaiveDateTime, to: NaiveDateTime, what: What) {
        let from = start(ages, from);
        let (to, parent) = (ages.instant(to), self.facts.parent.oid);
        let is_new = !matches!(&what, What::Go(going) if going.stand != Stand::Attached);
        self.wanted.push(Window { is_new, parent, from, to, what });
    }

    /// A table whose partitions refer to this one, and of which some of the same window are left for a later run.
    fn waits_for(&self, ages: &Ages<'_>, age: &Age<'_>, before: &[Window]) -> Option<String> {
        let (from, to) = (start(ages, age.from), ages.instant(age.to));
        let ours = self.facts.parent.oid;
        let refers = |oid: u32| self.known.iter().find(|f| f.parent.oid == oid && f.parent.references.contains(&ours));
        let left = before.iter().filter(|other| matches!(other.what, What::Left) && other.overlaps(from, to));
        left.filter_map(|other| refers(other.parent)).next().map(|facts| facts.table().plain())
    }

    #[allow(clippy::too_many_arguments, reason = "all of them are in the action")]
    fn going(
        &self,
        ages: &Ages<'_>,
        (from, to): (NaiveDateTime, NaiveDateTime),
        oid: u32,
        name: &TableName,
        leaf: &LeafFacts,
        fate: &Fate,
        reason: String,
    ) -> Going {
        let facts = self.facts;
        let policy = &facts.policy;
        let is_immutable =
            policy.immutable.is_some() || facts.parent.immutable.is_some() || !leaf.delete_triggers.is_empty();
        Going {
            table: facts.table().clone(),
            parent_oid: facts.parent.oid,
            owner: facts.parent.owner.clone(),
            lineage: facts.lineage.clone(),
            leaf: name.clone(),
            oid,
            kind: leaf.kind,
            leaf_owner: leaf.owner.clone(),
            bound: leaf.bound.clone(),
            from: start(ages, from),
            to: ages.instant(to),
            bytes: leaf.bytes,
            rows: leaf.rows,
            fate: fate.clone(),
            stand: Stand::Attached,
            way: way(facts, leaf),
            reason,
            references: leaf.references.clone(),
            after: Vec::new(),
            newest: policy.newest.clone().map(|column| (column, ages.cutoff_at)),
            zone: ages.zone,
            detach_timeout: policy.detach_timeout.0,
            export: policy.export.clone(),
            anchored: is_immutable && *fate == Fate::Drop,
            ledger: self.ledger.clone(),
        }
    }

    /// Partitions whose detaching an earlier run, or somebody else, has begun; and tables that were detached and not
    /// finished.
    fn begun_before(&mut self, ages: &Ages<'_>, fate: &Fate) {
        let facts = self.facts;
        let barred = |leaf: &LeafFacts| {
            *fate == Fate::Drop
                && (forbidden(facts, fate).is_some()
                    || (facts.policy.immutable.is_none() && !leaf.delete_triggers.is_empty())
                    || (facts.policy.export.is_some() && !facts.can_compare))
        };
        for partition in facts.parent.partitions.iter().filter(|partition| partition.detach_pending) {
            let Some(leaf) = facts.leaves.get(&partition.oid) else { continue };
            if let Some((_, hold)) = self.holds.on_any(&leaf.tree, self.now) {
                self.keep(
                    &partition.name,
                    format!("its detaching was begun and not finished, and it is {}", hold.sentence()),
                );
                continue;
            }
            let mark = leaf.comment.as_deref().and_then(mark::parse).filter(|mark| mark.parent == facts.parent.oid);
            let range = ages.range(&partition.bound);
            let (own, why) = match (&mark, &range) {
                (None, _) => (Fate::Detach, "its detaching was begun by somebody else and not finished"),
                (Some(mark), Ok((_, to))) if mark.fate == *fate && ages.is_old(*to) && !barred(leaf) => {
                    (fate.clone(), "its detaching was begun by an earlier run and not finished")
                }
                (Some(_), _) => (
                    Fate::Detach,
                    "its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is \
                     left as a table of its own",
                ),
            };
            self.finish(ages, partition.oid, &partition.name, leaf, (own, Stand::Pending), why.to_string(), range.ok());
        }
        for Detached { name, oid, mark, leaf } in &facts.detached {
            let attach = format!("ALTER TABLE {} ATTACH PARTITION {name} {}", facts.table(), mark.bound);
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
                Ok(_) if facts.policy.export.is_some() && !facts.can_compare => {
                    Err("whether what was exported is what it holds cannot be told in this version".into())
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
                    let obstacle = forbidden(facts, fate).or_else(|| obstacle(facts, fate, name, leaf));
                    if let Some(refusal) = obstacle {
                        self.want(ages, range.0, range.1, What::Refuse(name.clone(), refusal));
                        continue;
                    }
                    let rule = self.rule_of(ages, range.1);
                    let why = format!("was detached by an earlier run; {rule}");
                    // The server has forgotten the bound.
                    let leaf = LeafFacts { bound: mark.bound.clone(), ..leaf.clone() };
                    self.finish(ages, *oid, name, &leaf, (fate.clone(), Stand::Detached), why, Some(range));
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "as above")]
    fn finish(
        &mut self,
        ages: &Ages<'_>,
        oid: u32,
        name: &TableName,
        leaf: &LeafFacts,
        (fate, stand): (Fate, Stand),
        why: String,
        range: Option<(NaiveDateTime, NaiveDateTime)>,
    ) {
        let range = range.unwrap_or((FIRST, ages.now));
        let mut going = self.going(ages, range, oid, name, leaf, &fate, why);
        going.stand = stand;
        self.want(ages, range.0, range.1, What::Go(Box::new(going)));
    }

    /// Marks on partitions that were not detached after all and are to stay: whoever detached one by hand would see it
    /// dropped.
    fn stale_marks(&mut self, ages: &Ages<'_>, old: &Old<'_, '_>) {
        let facts = self.facts;
        let going: BTreeSet<u32> = old.going.iter().map(|age| age.partition.oid).collect();
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

    fn unknown(&mut self, ages: &Ages<'_>) {
        for (partition, why) in &ages.unknown {
            self.keep(&partition.name, format!("its age cannot be told, and it never goes: {why}"));
        }
    }

    /// What stays although it is old, and what goes next.
    fn near_the_edge(&mut self, ages: &Ages<'_>, old: &Old<'_, '_>) {
        let facts = self.facts;
        let table = facts.table().plain();
        for age in &old.protected {
            let n = facts.policy.keep_at_least;
            let rule = self.rule(ages, age);
            self.keep(&age.partition.name, format!("{rule}, and is one of the newest {n} (keep_at_least)"));
        }
        if old.all {
            self.notes.push(Step::warn(
                &table,
                format!(
                    "every partition that has begun ends before the cutoff {}, so that keep_at_least alone keeps anything: is \
                     keep = \"{}\" meant, and does anybody make its partitions?",
                    ages.cutoff_shown(),
                    facts.policy.keep
                ),
            ));
        }
        if let Some(next) = old.next {
            let when =
                ages.goes_on(next.to, &facts.policy).map_or_else(String::new, |day| format!(", and goes on {day}"));
            self.keep(&next.partition.name, format!("the first after the cutoff: ends {}{when}", ages.shown(next.to)));
        }
        if let Some(default) = &facts.parent.default
            && default.has_rows != Some(false)
        {
            let rows = facts.default_rows.map_or_else(|| "rows that could not be counted".into(), |n| n.to_string());
            self.notes
                .push(Step::warn(default.name.plain(), format!("the default partition holds {rows}, and never goes")));
        }
    }
}

/// How a partition is detached.
fn way(facts: &TableFacts, leaf: &LeafFacts) -> Way {
    if let Some(key) = facts.references.first().or(leaf.references.first()) {
        return Way::Plainly(format!("a foreign key of {} points at it", key.table.plain()));
    }
    if let Some(default) = &facts.parent.default {
        return Way::Plainly(format!(
            "PostgreSQL does not do it concurrently beside a default partition, {}",
            default.name.plain()
        ));
    }
    if facts.server < 140_000 {
        return Way::Plainly(format!("PostgreSQL {} does not know how to do it concurrently", facts.server / 10_000));
    }
    Way::Concurrently
}

/// The instant at which something begins; nothing where it has no beginning.
fn start(ages: &Ages<'_>, from: NaiveDateTime) -> Option<DateTime<Utc>> {
    (from != FIRST).then(|| ages.instant(from))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
