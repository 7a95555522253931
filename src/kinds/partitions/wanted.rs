//! What one table wants: the periods around now, less what its partitions hold already, and what stands in their way. Pure.

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::cover::Cover;
use super::every::{Every, Periods};
use super::facts::{Create, DefaultRows, DefaultWork, NewBound, Partition, Strategy, TableFacts};
use super::key::{Key, LAST};
use super::policy::{MAX_PERIODS, PartitionTable};
use super::runway::{self, Runway};
use crate::pg::{Ident, TableName};
use crate::run::Step;

/// What is to be made for one table, before the names are settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub table: TableName,
    pub oid: u32,
    pub references: Vec<u32>,
    /// Why nothing can be made.
    pub refusal: Option<String>,
    pub creates: Vec<Nameless>,
    /// Why no more than these can be made.
    pub beyond: Option<String>,
    pub notes: Vec<Step>,
    /// Nothing where the key is not understood.
    pub runway: Option<Runway>,
}

/// A partition to make, and the names it may have, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Nameless {
    /// With the first of `names`.
    pub create: Create,
    pub names: Vec<TableName>,
    /// The name that was too long.
    pub too_long: Option<String>,
}

/// What a table wants. `zone` is the job's; the policy may name its own. Nothing is made that ends at or before
/// `not_before`, the cutoff of a retention of the same table.
pub fn wanted(
    facts: &TableFacts,
    policy: &PartitionTable,
    zone: Tz,
    now: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
) -> Wanted {
    let mut wanted = Wanted {
        table: facts.table.clone(),
        oid: facts.oid,
        references: facts.references.clone(),
        refusal: None,
        creates: Vec::new(),
        beyond: None,
        notes: Vec::new(),
        runway: runway::runway(facts, policy, zone, now),
    };
    let mended = obstacles(facts);
    match creates(facts, policy, zone, now, not_before, &mut wanted.beyond, &mut wanted.notes) {
        Ok(creates) if creates.is_empty() => {
            wanted.refusal = wanted.beyond.take();
            wanted.notes.extend(mended.map(|why| Step::warn(facts.table.plain(), why)));
        }
        Ok(creates) => {
            wanted.refusal = mended.or_else(|| deeper(facts));
            wanted.creates = creates;
        }
        Err(why) => wanted.refusal = Some(why),
    }
    if wanted.refusal.is_some() {
        wanted.creates.clear();
    }
    let runway = wanted.runway.as_ref();
    if let (Some(why), Some(runway)) = (&mut wanted.refusal, runway) {
        *why = format!("{why} ({})", runway.sentence());
    } else if let Some(runway) = runway {
        let step = if runway.is_over() { Step::warn } else { Step::keep };
        let (reason, count) = (runway.sentence(), wanted.creates.len());
        let reason = match count {
            0 => reason,
            _ => format!("as it stands, {reason}"),
        };
        wanted.notes.push(step(facts.table.plain(), reason));
    }
    wanted
}

fn obstacles(facts: &TableFacts) -> Option<String> {
    (!facts.obstacles.is_empty()).then(|| format!("no partition can be made: {}", facts.obstacles.join("; ")))
}

/// What a new partition would be like is told by the one that was made last, unless that is partitioned itself.
fn deeper(facts: &TableFacts) -> Option<String> {
    newest_parent(facts).map(|newest| {
        format!(
            "its partitions are partitioned themselves, as {} is, and pgtend does not know by what a new one should be: make \
             it by hand with its own partitions, or name the partitions as tables of the job",
            newest.name.plain()
        )
    })
}

/// The partition that was made last, if it is partitioned itself.
pub fn newest_parent(facts: &TableFacts) -> Option<&Partition> {
    facts.partitions.iter().max_by_key(|partition| partition.oid).filter(|newest| newest.is_parent)
}

/// The periods around now, less what partitions hold already.
fn creates(
    facts: &TableFacts,
    policy: &PartitionTable,
    zone: Tz,
    now: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
    beyond: &mut Option<String>,
    notes: &mut Vec<Step>,
) -> Result<Vec<Nameless>, String> {
    let every = policy.every()?;
    let key = Key::of(&facts.key, policy.key_format.as_ref(), every)?;
    let cover = Cover::of(facts, &key);
    if let Some((partition, bound)) = cover.unread.first() {
        return Err(format!(
            "the bound of {} cannot be read, and a new partition may overlap it: FOR VALUES {bound}",
            partition.plain()
        ));
    }
    if let Some((partition, value)) = cover.other_format() {
        return Err(format!(
            "{} holds {value}, which is no time of key_format {}, and so do most of its partitions: set key_format to what \
             they hold",
            partition.plain(),
            policy.key_format.as_ref().map_or_else(String::new, |format| format!("\"{format}\"")),
        ));
    }
    let periods = Periods { every, zone: policy.zone(zone), line: key.line() };
    if let Some(why) = cover.other_zone(&periods) {
        return Err(why);
    }
    let maker = Maker { facts, policy, key: &key, cover: &cover, periods };
    let current = periods.holding(key.line().position(now, periods.zone));
    let (first, last) = (current - i64::from(policy.behind), current + i64::from(policy.ahead));
    let mut made = Vec::new();
    'periods: for index in first..=last {
        let (Some(start), Some(end)) = (periods.start(index), periods.start(index + 1)) else {
            return Err(format!(
                "its periods of {every} reach beyond the years 1 to 9999, where names and formats end: lower ahead or behind"
            ));
        };
        for (from, to) in cover.free(start, end) {
            if not_before.is_some_and(|cutoff| key.line().instant(to, periods.zone) <= cutoff) {
                continue;
            }
            let Some(bound) = maker.bound(from, to) else {
                // Those after it are no smaller. The ones before it are wanted no less.
                *beyond = Some(maker.too_large(index, from));
                break 'periods;
            };
            made.push(maker.create(index, (from, to), bound, index - current)?);
            if made.len() > MAX_PERIODS as usize {
                return Err(format!(
                    "more than {MAX_PERIODS} partitions would be made: lower ahead or behind, or make the periods longer"
                ));
            }
        }
    }
    let window = (periods.start(first), periods.start(last + 1));
    if let (Some(from), Some(to)) = window {
        maker.notes(from, to, !made.is_empty(), notes);
    }
    Ok(made)
}

struct Maker<'a> {
    facts: &'a TableFacts,
    policy: &'a PartitionTable,
    key: &'a Key,
    cover: &'a Cover<'a>,
    periods: Periods,
}

impl Maker<'_> {
    /// The partition of a free piece of a period, which is `away` from the current one.
    fn create(
        &self,
        index: i64,
        (from, to): (NaiveDateTime, NaiveDateTime),
        bound: NewBound,
        away: i64,
    ) -> Result<Nameless, String> {
        let Self { facts, policy, key, cover, periods } = self;
        if let Some(neighbour) = cover.vague(from, to) {
            return Err(format!(
                "{} ends within one value of the first key column, so that what is free beside it is not known: make the \
                 partition next to it by hand, with MINVALUE for the other columns",
                neighbour.plain()
            ));
        }
        let (start, label) = self.label(index, from);
        let pattern = policy.pattern(periods.every);
        let parent = facts.table.name.as_str();
        let whole = periods.start(index) == Some(from) && periods.start(index + 1) == Some(to);
        let own = pattern.name(parent, start);
        let other = |n: u32| pattern.other_name(parent, start, &format!("{} {bound} {n}", facts.table));
        let alternatives = [own.name, other(0).name, other(1).name];
        let names: Result<Vec<_>, _> = alternatives
            .into_iter()
            .map(|name| Ident::new(name).map(|name| TableName { schema: facts.table.schema.clone(), name }))
            .collect();
        let names = names.map_err(|error| format!("name a partition by \"{pattern}\": {error}"))?;
        let reason = format!(
            "{label} is {}{}",
            match away {
                0 => "the current period".into(),
                1 => "1 period ahead".into(),
                -1 => "1 period behind".into(),
                n if n > 0 => format!("{n} periods ahead"),
                n => format!("{} periods behind", -n),
            },
            if whole { "" } else { "; a part of it has no partition" },
        );
        let line = key.line();
        let create = Create {
            parent: facts.table.clone(),
            parent_oid: facts.oid,
            owner: facts.owner.clone(),
            name: names[0].clone(),
            bound,
            from: line.instant(from, periods.zone),
            to: line.instant(to, periods.zone),
            tablespace: policy.tablespace.clone(),
            default: facts.default.as_ref().map(|default| DefaultWork {
                default: default.clone(),
                mode: policy.default_rows,
                max_rows: policy.default_rows_max,
                immutable: facts.immutable.clone(),
            }),
            reason,
        };
        Ok(Nameless { create, names, too_long: own.too_long })
    }

    /// What the clock shows when a period begins, and its name for people.
    fn label(&self, index: i64, from: NaiveDateTime) -> (NaiveDateTime, String) {
        // A period begins where `Periods` found it, so it has a start.
        let start = self.periods.every.start(index).unwrap_or(from);
        (start, self.periods.every.label(start))
    }

    fn too_large(&self, index: i64, from: NaiveDateTime) -> String {
        format!(
            "{} has no value as {}: it is more than the type of the key can hold",
            self.label(index, from).1,
            self.facts.key.type_name
        )
    }

    fn bound(&self, from: NaiveDateTime, to: NaiveDateTime) -> Option<NewBound> {
        let edge = |at| self.cover.written(at).map(Into::into).or_else(|| self.key.encode(at));
        match (self.facts.key.strategy, self.key.unit()) {
            (Strategy::List, Some(unit)) => Some(NewBound::List(self.values(unit, from, to)?)),
            _ => Some(NewBound::Range { from: edge(from)?, to: edge(to)?, columns: self.facts.key.columns }),
        }
    }

    /// Each value of a list between two positions.
    fn values(&self, unit: Every, from: NaiveDateTime, to: NaiveDateTime) -> Option<Vec<String>> {
        let starts = (unit.index(from)..).map_while(|index| unit.start(index)).take_while(|start| *start < to);
        starts.map(|start| self.key.encode(start)).collect()
    }

    /// What stands in the way of periods, or may, between two positions.
    fn notes(&self, from: NaiveDateTime, to: NaiveDateTime, making: bool, notes: &mut Vec<Step>) {
        let target = self.facts.table.plain();
        for stretch in self.cover.within(from, to) {
            let name = stretch.partition.name.plain();
            if stretch.to == LAST {
                notes.push(Step::warn(
                    &target,
                    format!(
                        "{name} reaches without end (MAXVALUE), so that no partition can be made after its beginning; to \
                         split it: detach it, run this job, move its rows back with INSERT INTO {} SELECT * FROM {}, drop it",
                        self.facts.table, stretch.partition.name
                    ),
                ));
            }
            if stretch.partition.detach_pending {
                notes.push(Step::warn(
                    &target,
                    format!(
                        "{name} is being detached: it takes no rows, and its place is not free until ALTER TABLE {} DETACH \
                         PARTITION {} FINALIZE",
                        self.facts.table, stretch.partition.name
                    ),
                ));
            }
        }
        for (partition, value) in &self.cover.strange {
            let what = if value == "NULL" { "rows without a time" } else { "a value that is no time of its format" };
            notes.push(Step::keep(&target, format!("{} holds {what}, {value}", partition.plain())));
        }
        let Some(default) = self.facts.default.as_ref().filter(|default| making && default.has_rows != Some(false))
        else {
            return;
        };
        let name = default.name.plain();
        if !default.referenced_by.is_empty() {
            notes.push(Step::warn(
                &target,
                format!(
                    "the default partition {name} may hold rows, and foreign keys point at it from {}: rows of a new period \
                     are not moved out of it, since deleting them there would delete or orphan what refers to them",
                    default.referenced_by.join(", ")
                ),
            ));
        } else if self.policy.default_rows == DefaultRows::Move {
            let max = self.policy.default_rows_max;
            let reason = format!("rows here whose period is made go along into its partition, up to {max} of a period");
            notes.push(Step { action: "move_default_rows", ..Step::keep(name, reason) });
        }
    }
}
