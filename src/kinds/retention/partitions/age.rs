//! How old the partitions of a table are: by their bounds, never by their names. Pure.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::facts::Refusal;
use super::steps::counted;
use crate::kinds::partitions::cover::Cover;
use crate::kinds::partitions::every::{Every, Line, Periods};
use crate::kinds::partitions::facts::{Bound, Edge, Partition, TableFacts};
use crate::kinds::partitions::key::{FIRST, Key, LAST};
use crate::kinds::retention::policy::RetentionTable;
use crate::kinds::rows::plan::cutoff as time_cutoff;
use crate::pg::batch::Cutoff;

/// The partitions of a table by age, and the cutoff they are held against.
#[derive(Debug)]
pub struct Ages<'a> {
    pub key: Key,
    pub zone: Tz,
    pub cutoff_at: DateTime<Utc>,
    /// On the line of the key.
    pub cutoff: NaiveDateTime,
    pub now: NaiveDateTime,
    /// The oldest first, by where they end.
    pub known: Vec<Age<'a>>,
    /// Those whose age nobody can tell, with the reason: they never go.
    pub unknown: Vec<(&'a Partition, String)>,
}

/// The time a partition holds.
#[derive(Debug, Clone, Copy)]
pub struct Age<'a> {
    pub partition: &'a Partition,
    pub from: NaiveDateTime,
    /// Not included; of a list the end of its newest value.
    pub to: NaiveDateTime,
}

impl<'a> Ages<'a> {
    /// # Errors
    /// Why no partition of the table may be touched: its key says no time, or its bounds do not fit the policy.
    pub fn of(facts: &'a TableFacts, policy: &RetentionTable, zone: Tz, now: DateTime<Utc>) -> Result<Self, Refusal> {
        let refused = |why: String| Refusal::new(why, "until that is mended, its partitions stay");
        let key = Key::read(&facts.key, policy.key_format.as_ref()).map_err(refused)?;
        if matches!(key, Key::Text(_) | Key::Number(..)) && policy.timezone.is_none() {
            // Midnight is another moment in each zone, and neither the key nor its bounds say of which they are.
            let table = facts.table.plain();
            return Err(Refusal::new(
                format!("the key of {table} says time without a zone, and nothing says which one is meant"),
                format!(
                    "add timezone = \"{}\", or whichever it is, or a partitions job that names the table",
                    zone.name()
                ),
            ));
        }
        let Some(cutoff_at) = policy.keep.before(now, zone) else {
            return Err(Refusal::new(format!("{} before now is before all calendars", policy.keep), "lower keep"));
        };
        let line = key.line();
        let mut ages = Self {
            zone,
            cutoff_at,
            cutoff: match line {
                Line::Instant => cutoff_at.naive_utc(),
                Line::Wall => wall(cutoff_at, zone),
            },
            now: line.position(now, zone),
            known: Vec::new(),
            unknown: Vec::new(),
            key,
        };
        for partition in &facts.partitions {
            match ages.range(&partition.bound) {
                Ok((from, to)) => ages.known.push(Age { partition, from, to }),
                Err(why) => ages.unknown.push((partition, why)),
            }
        }
        if let Some(refusal) = ages.too_short(policy) {
            return Err(refusal);
        }
        ages.known.sort_by(|a, b| (a.to, a.from, &a.partition.name).cmp(&(b.to, b.from, &b.partition.name)));
        ages.misread(facts, policy).map_or(Ok(ages), |why| Err(refused(why)))
    }

    /// What a bound holds, or why nobody can tell.
    ///
    /// # Errors
    /// The reason.
    pub fn range(&self, bound: &Bound) -> Result<(NaiveDateTime, NaiveDateTime), String> {
        match bound {
            Bound::Range { from, to, exact } => {
                let (Some(start), Some(end)) = (self.key.bound(from), self.key.bound(to)) else {
                    return Err("its bounds are no time of the key's format".into());
                };
                if end == LAST || end == FIRST {
                    return Err("it reaches without end".into());
                }
                if *exact {
                    return Ok((start, end));
                }
                // The other columns of the key decide, so that it holds rows of the very time it ends at.
                match after(&self.key, end) {
                    Some(end) => Ok((start, end)),
                    None => Err("its end is beyond the calendar".into()),
                }
            }
            Bound::List(values) => {
                let mut range: Option<(NaiveDateTime, NaiveDateTime)> = None;
                for value in values {
                    let Some(value) = value else { return Err("it holds NULL, which is never old".into()) };
                    let stretch = self
                        .key
                        .value(value)
                        .filter(|from| *from != FIRST && *from != LAST)
                        .and_then(|from| Some((from, after(&self.key, from)?)));
                    let Some((from, to)) = stretch else {
                        return Err(format!("it holds '{value}', which is no time of the key's format"));
                    };
                    range = Some(range.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
                }
                range.ok_or_else(|| "it has no values".into())
            }
            Bound::Unread(text) => Err(format!("its bound cannot be read: {text}")),
        }
    }

    pub fn is_old(&self, to: NaiveDateTime) -> bool {
        // The second follows from the first unless a calendar is broken; what holds now never goes.
        to <= self.cutoff && to <= self.now
    }

    pub fn has_begun(&self, age: &Age<'_>) -> bool {
        age.from <= self.now
    }

    /// The instant of a position; for people, and for the order among tables.
    pub fn instant(&self, at: NaiveDateTime) -> DateTime<Utc> {
        self.key.line().instant(at, self.zone)
    }

    /// A position as the clock on the wall shows it.
    pub fn shown(&self, at: NaiveDateTime) -> String {
        shown(Line::Wall.position(self.instant(at), self.zone))
    }

    pub fn cutoff_shown(&self) -> String {
        shown(Line::Wall.position(self.cutoff_at, self.zone))
    }

    /// When something that ends there goes: the first day on which `keep` reaches back to it.
    pub fn goes_on(&self, to: NaiveDateTime, policy: &RetentionTable) -> Option<String> {
        let keep = policy.keep;
        let end = self.instant(to);
        let local = Line::Wall.position(end, self.zone);
        let moved = local
            .checked_add_months(chrono::Months::new(keep.months))?
            .checked_add_days(chrono::Days::new(keep.days.into()))?
            .checked_add_signed(TimeDelta::microseconds(keep.micros))?;
        // A month may have been too short for the day.
        let mut days = (0..5).filter_map(|n| moved.checked_add_days(chrono::Days::new(n)));
        let day = days.find(|day| {
            keep.before(Line::Wall.instant(*day, self.zone), self.zone).is_some_and(|cutoff| cutoff >= end)
        })?;
        Some(shown(day))
    }

    /// A keep of hours beside partitions of days or more is a slip of the hand: "12m" is twelve minutes. By such a one all
    /// partitions but the current would go, and rows of that one too.
    fn too_short(&self, policy: &RetentionTable) -> Option<Refusal> {
        let mut widths: Vec<TimeDelta> = self.known.iter().filter_map(Age::width).collect();
        widths.sort_unstable();
        let width = *widths.get(widths.len().saturating_sub(1) / 2)?;
        if policy.keep.at_least(TimeDelta::days(1)) || width < TimeDelta::hours(23) {
            return None;
        }
        let months =
            policy.keep.mistaken_for_months().map_or_else(String::new, |meant| format!("did you mean \"{meant}\"? "));
        Some(Refusal::new(
            format!("keep is {}, shorter than one partition ({})", policy.keep, days(width)),
            format!("{months}until that is mended, its partitions stay; the least is \"1 day\""),
        ))
    }

    /// The partition in which the cutoff lies, where it is much longer than what is kept, and not so long that its rows are
    /// reached one by one: its first rows stay until all of it is old.
    pub fn outstays(&self, policy: &RetentionTable) -> Option<(&'a Partition, String)> {
        let kept = self.now - self.cutoff;
        let holds = |age: &&Age<'a>| age.from < self.cutoff && self.cutoff < age.to && !age.partition.detach_pending;
        let age = self.known.iter().find(holds)?;
        let width = age.width().filter(|width| *width * 4 > kept * 5)?;
        let when = self.goes_on(age.to, policy).map_or_else(String::new, |day| format!(", on {day}"));
        Some((
            age.partition,
            format!(
                "it holds {}, longer than keep ({}): rows of before the cutoff {} stay in it until all of it is old{when}",
                days(width),
                policy.keep,
                self.cutoff_shown()
            ),
        ))
    }

    /// Why the bounds do not mean what the policy takes them for.
    fn misread(&self, facts: &TableFacts, policy: &RetentionTable) -> Option<String> {
        let cover = Cover::of(facts, &self.key);
        let format = policy.key_format.as_ref().map_or_else(String::new, |format| format!("\"{format}\""));
        let periods = Periods { every: Every::Days(1), zone: self.zone, line: self.key.line() };
        if let Some((partition, value)) = cover.other_format() {
            return Some(format!(
                "{} holds {value}, which is no time of key_format {format}, and so do most of its partitions: set key_format \
                 to what they hold",
                partition.plain()
            ));
        }
        if cover.unread.len() > cover.stretches.len() {
            let (partition, bound) = cover.unread.first()?;
            return Some(format!(
                "the bound of {} cannot be read{}, and so it is with most of its partitions: FOR VALUES {bound}",
                partition.plain(),
                if format.is_empty() { String::new() } else { format!(" by key_format {format}") },
            ));
        }
        // Numbers say any time: seconds that are read as milliseconds end in January 1970, and all would be old.
        let newest = self.known.iter().map(|age| age.to).max();
        if let (Key::Epoch(..) | Key::UuidV7, Some(newest)) = (&self.key, newest)
            && newest < DateTime::from_timestamp(946_684_800, 0).unwrap_or_default().naive_utc()
        {
            return Some(format!(
                "read by key_format {format}, its newest partition ends {}, which can hardly be meant: set key_format to how \
                 its bounds count",
                self.shown(newest)
            ));
        }
        cover.other_zone(&periods)
    }
}

impl Age<'_> {
    pub fn width(&self) -> Option<TimeDelta> {
        (self.from != FIRST && self.to != LAST).then(|| self.to - self.from)
    }
}

/// `31 days`
pub fn days(width: TimeDelta) -> String {
    counted(usize::try_from(width.num_days().max(1)).unwrap_or_default(), "day")
}

/// The end of what one value of the key says.
fn after(key: &Key, at: NaiveDateTime) -> Option<NaiveDateTime> {
    match key.unit() {
        Some(unit) => unit.start(unit.index(at).checked_add(1)?),
        None => at.checked_add_signed(TimeDelta::microseconds(1)),
    }
}

/// What the clock on the wall shows; in an hour that is shown twice, where it begins.
fn wall(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    match time_cutoff(at, "timestamp", zone) {
        Cutoff::Wall(wall) => wall,
        Cutoff::Instant(at) => at.naive_utc(),
    }
}

/// `2025-11-01`, or with the time of the day where there is one.
fn shown(wall: NaiveDateTime) -> String {
    let midnight = wall.time() == chrono::NaiveTime::MIN;
    wall.format(if midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" }).to_string()
}

/// One end of a bound as the policy's `to` and the catalog may say it.
pub fn is_open(edge: &Edge) -> bool {
    matches!(edge, Edge::MinValue | Edge::MaxValue)
}
