//! What is wanted of one table: which of its partitions go, what keeps the others, and what is said of those near the edge.
//! Pure.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::age::{Age, Ages};
use super::facts::{Fate, Going, LeafFacts, Ledger, Newest, Refusal, Stand, TableFacts, Way};
use super::plan::{What, Window};
use super::steps::counted;
use crate::kinds::partitions::key::FIRST;
use crate::kinds::retention::holds::Holds;
use crate::pg::TableName;
use crate::pg::catalog::kind_name;
use crate::run::Step;

/// The partitions that are old enough, less those that `keep_at_least` keeps.
pub struct Old<'a, 'b> {
    pub going: Vec<&'b Age<'a>>,
    protected: Vec<&'b Age<'a>>,
    /// The first that is not old enough.
    next: Option<&'b Age<'a>>,
    /// Whether none that has begun is newer than the cutoff.
    all: bool,
}

impl<'a, 'b> Old<'a, 'b> {
    pub fn of(ages: &'b Ages<'a>, keep_at_least: u32) -> Self {
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
pub fn forbidden(facts: &TableFacts) -> Option<Refusal> {
    if facts.never.is_some() {
        return facts.never.clone();
    }
    let trigger = facts.parent.immutable.as_ref().filter(|_| facts.policy.immutable.is_none())?;
    Some(immutable(&facts.table().plain(), trigger.as_str()))
}

/// Neither DROP nor DETACH asks a trigger, and a table that was detached has lost those of its parent.
fn immutable(table: &str, trigger: &str) -> Refusal {
    Refusal::new(
        format!("trigger {trigger} stands on deleting from {table}, and no longer would once a partition is detached"),
        "write immutable = \"drop-after-export\" with an export if that is meant",
    )
}

/// Why a partition that is old enough cannot go, as far as the catalog tells.
pub fn obstacle(facts: &TableFacts, fate: &Fate, table: &TableName, leaf: &LeafFacts) -> Option<Refusal> {
    let owner = &leaf.owner;
    let name = table.plain();
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
    if !leaf.may_lock {
        return Some(Refusal::new(
            format!("{owner}, which owns {name}, may not lock it, having no right to UPDATE, DELETE or TRUNCATE"),
            format!("GRANT TRUNCATE ON {table} TO {owner};"),
        ));
    }
    if let Some(trigger) = leaf.delete_triggers.first().filter(|_| facts.policy.immutable.is_none()) {
        return Some(immutable(&name, trigger));
    }
    match fate {
        Fate::Drop => (!leaf.dependents.is_empty()).then(|| {
            Refusal::new(
                format!("{} depends on {name}, which cannot be dropped then", leaf.dependents.join(", ")),
                "let it read the partitioned table instead, or drop it; or use action = \"detach\" or \"archive\"",
            )
        }),
        Fate::Detach => None,
        Fate::Archive(to) => leaf.name_taken.then(|| {
            Refusal::new(
                format!("{name} cannot move to schema {to}: something has its name there"),
                "rename or move one of the two",
            )
        }),
    }
}

impl TableFacts {
    pub const fn table(&self) -> &TableName {
        &self.parent.table
    }
}

/// The work on one table.
pub struct One<'a> {
    pub facts: &'a TableFacts,
    /// All tables of the job.
    pub known: &'a [TableFacts],
    pub holds: &'a Holds,
    pub now: DateTime<Utc>,
    pub ledger: &'a Ledger,
    pub notes: Vec<Step>,
    pub wanted: Vec<Window>,
}

impl One<'_> {
    /// `before`: what the tables before this one want.
    pub fn all(&mut self, before: &[Window]) -> Result<(), Refusal> {
        let facts = self.facts;
        let table = facts.table().plain();
        let fate = Fate::of(&facts.policy)?;
        let ages = Ages::of(&facts.parent, &facts.policy, facts.zone, self.now)?;
        if let Some((held, hold)) = self.holds.on_any(&facts.lineage, self.now) {
            let by = if held == facts.table() { "it is".into() } else { format!("{} is", held.plain()) };
            self.notes.push(Step::held(table, format!("{by} {}", hold.sentence())));
            return Ok(());
        }
        let old = Old::of(&ages, facts.policy.keep_at_least);
        self.begun_before(&ages, &fate);
        self.unknown(&ages);
        let refusal = forbidden(facts).or_else(|| facts.obstacles.first().cloned());
        match refusal {
            Some(Refusal { why, mend }) if !old.going.is_empty() => {
                self.stale_marks(&ages);
                let n = counted(old.going.len(), "partition");
                let are = if old.going.len() == 1 { "is" } else { "are" };
                return Err(Refusal::new(format!("{n} {are} before the cutoff {}: {why}", ages.cutoff_shown()), mend));
            }
            Some(refusal) => self.notes.push(Step::warn(&table, refusal.sentence())),
            None => self.those_of_now(&ages, &old, &fate, before),
        }
        self.stale_marks(&ages);
        self.near_the_edge(&ages, &old);
        Ok(())
    }

    /// Those that are old enough, up to `max_partitions`.
    fn those_of_now(&mut self, ages: &Ages<'_>, old: &Old<'_, '_>, fate: &Fate, before: &[Window]) {
        let facts = self.facts;
        let most = usize::try_from(facts.policy.max_partitions).unwrap_or(usize::MAX);
        // What was begun by an earlier run goes in this one too.
        let mut went = self.going_so_far();
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
                self.notes.push(Step::held(name.plain(), format!("{rule}, but {by} {}", hold.sentence())));
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
            if *fate != Fate::Drop && !leaf.dependents.is_empty() {
                let readers = leaf.dependents.join(", ");
                let still = "is made on it, and goes on reading it alone when it is a table of its own";
                self.notes.push(Step::warn(name.plain(), format!("{readers} {still}")));
            }
            went += 1;
            let going = self.going(ages, (age.from, age.to), partition.oid, &name, leaf, fate, rule);
            self.want(ages, age.from, age.to, What::Go(Box::new(going)));
        }
        if let (Some(first), Some(last)) = (left.first(), left.last()) {
            // A backlog that never shrinks is to be seen.
            self.notes.push(Step::warn(
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

    pub fn rule_of(&self, ages: &Ages<'_>, to: NaiveDateTime) -> String {
        let zone = if ages.zone == chrono_tz::Tz::UTC { String::new() } else { format!(", {}", ages.zone.name()) };
        format!(
            "ends {}, before the cutoff {} (keep {}{zone})",
            ages.shown(to),
            ages.cutoff_shown(),
            self.facts.policy.keep
        )
    }

    pub fn keep(&mut self, name: &TableName, reason: String) {
        self.notes.push(Step::keep(name.plain(), reason));
    }

    pub fn want(&mut self, ages: &Ages<'_>, from: NaiveDateTime, to: NaiveDateTime, what: What) {
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
        let mut left = before.iter().filter(|other| matches!(other.what, What::Left) && other.overlaps(from, to));
        left.find_map(|other| refers(other.parent)).map(|facts| facts.table().plain())
    }

    #[allow(clippy::too_many_arguments, reason = "all of them are in the action")]
    pub fn going(
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
            ours: true,
            way: way(facts, leaf),
            reason,
            references: leaf.references.clone(),
            referenced: !facts.references.is_empty() || !leaf.references.is_empty(),
            after: Vec::new(),
            newest: policy.newest.clone().map(|column| (column, ages.cutoff_at)),
            zone: ages.zone,
            detach_timeout: policy.detach_timeout.0,
            export: policy.export.clone(),
            immutable: is_immutable,
            ledger: self.ledger.clone(),
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
