//! Which stretches of time the existing partitions of a table hold, and what is free between them. By their bounds, never by
//! their names.

use chrono::{NaiveDateTime, TimeDelta, Timelike};

use super::every::{Every, Line, Periods};
use super::facts::{Bound, Edge, Partition, TableFacts};
use super::key::{FIRST, Key, LAST};
use crate::pg::TableName;

/// Zones differ from UTC by whole quarters of an hour; an end that lies within one, where somebody attached a table as it
/// was, says nothing of a zone. In microseconds.
const QUARTER: i64 = 900_000_000;

/// The stretches, in the order of time.
#[derive(Debug, Default)]
pub struct Cover<'a> {
    pub stretches: Vec<Stretch<'a>>,
    /// Partitions whose bound cannot be read: what they hold is anybody's guess.
    pub unread: Vec<(&'a TableName, String)>,
    /// Values of lists that are no time, with the partition that holds them.
    pub strange: Vec<(&'a TableName, String)>,
    /// What the table may hold at all, where it is a partition itself.
    within: Option<(NaiveDateTime, NaiveDateTime)>,
}

/// What one partition, or one value of it, holds; `to` is not included.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    pub from: NaiveDateTime,
    pub to: NaiveDateTime,
    pub partition: &'a Partition,
    /// The ends as the server writes them; nothing for values of a list.
    ends: Option<(&'a Edge, &'a Edge)>,
    /// Whether the ends are cut by the first column alone.
    exact: bool,
}

impl<'a> Cover<'a> {
    pub fn of(facts: &'a TableFacts, key: &Key) -> Self {
        let mut cover = Self::default();
        if let Some(Bound::Range { from, to, .. }) = &facts.within {
            cover.within = key.bound(from).zip(key.bound(to));
        }
        for partition in &facts.partitions {
            match &partition.bound {
                Bound::Range { from, to, exact } => match (key.bound(from), key.bound(to)) {
                    (Some(start), Some(end)) => cover.stretches.push(Stretch {
                        from: start,
                        to: end,
                        partition,
                        ends: Some((from, to)),
                        exact: *exact,
                    }),
                    _ => cover.unread.push((&partition.name, format!("FROM ({}) TO ({})", shown(from), shown(to)))),
                },
                Bound::List(values) => {
                    for value in values {
                        let stretch = value.as_deref().and_then(|value| unit(key, value));
                        match stretch {
                            Some((from, to)) => {
                                cover.stretches.push(Stretch { from, to, partition, ends: None, exact: true });
                            }
                            None => {
                                let text = value.as_ref().map_or("NULL".into(), |value| format!("'{value}'"));
                                cover.strange.push((&partition.name, text));
                            }
                        }
                    }
                }
                Bound::Unread(text) => cover.unread.push((&partition.name, text.clone())),
            }
        }
        cover.stretches.sort_by_key(|stretch| (stretch.from, stretch.to));
        cover
    }

    /// What no partition holds of the time between two positions.
    pub fn free(&self, from: NaiveDateTime, to: NaiveDateTime) -> Vec<(NaiveDateTime, NaiveDateTime)> {
        let (from, to) = self.within.map_or((from, to), |(first, last)| (from.max(first), to.min(last)));
        let (mut pieces, mut at) = (Vec::new(), from);
        for stretch in self.after(from).take_while(|stretch| stretch.from < to) {
            if at < stretch.from {
                pieces.push((at, stretch.from));
            }
            at = at.max(stretch.to);
        }
        if at < to {
            pieces.push((at, to));
        }
        pieces
    }

    /// Where the unbroken run of partitions that take rows ends, seen from a position: there, if none holds it.
    pub fn reach(&self, from: NaiveDateTime) -> NaiveDateTime {
        let mut at = from;
        // One that is being detached takes no row any more, though its place is not free yet.
        for stretch in self.after(from).filter(|stretch| !stretch.partition.detach_pending) {
            if stretch.from > at {
                break;
            }
            at = at.max(stretch.to);
        }
        self.within.map_or(at, |(_, last)| at.min(last))
    }

    /// Whether the table may hold rows of a position at all.
    pub fn may_hold(&self, at: NaiveDateTime) -> bool {
        self.within.is_none_or(|(first, last)| first <= at && at < last)
    }

    /// The stretches that hold something of the time between two positions.
    pub fn within(&self, from: NaiveDateTime, to: NaiveDateTime) -> impl Iterator<Item = &Stretch<'a>> {
        self.after(from).take_while(move |stretch| stretch.from < to)
    }

    /// A partition that touches a free piece with an end that says more than the first column: whether there is room
    /// between them is not known.
    pub fn vague(&self, from: NaiveDateTime, to: NaiveDateTime) -> Option<&'a TableName> {
        let start = self.stretches.partition_point(|stretch| stretch.to < from);
        let touching = self.stretches[start..].iter().take_while(|stretch| stretch.from <= to);
        touching.filter(|stretch| !stretch.exact).map(|stretch| &stretch.partition.name).next()
    }

    /// How a neighbour writes the end it shares with a free piece: the same text leaves neither a gap nor an overlap,
    /// where two texts mean one time, such as '2025-13' and '2026-01'.
    pub fn written(&self, at: NaiveDateTime) -> Option<&'a str> {
        let start = self.stretches.partition_point(|stretch| stretch.to < at);
        let near = self.stretches[start..].iter().take_while(|stretch| stretch.from <= at);
        let ends = near.filter_map(|stretch| Some((stretch, stretch.ends?)));
        let mut edges = ends.filter_map(|(stretch, (from, to))| match at {
            at if at == stretch.to => Some(to),
            at if at == stretch.from => Some(from),
            _ => None,
        });
        edges.find_map(|edge| match edge {
            Edge::Value(text) => Some(text.as_str()),
            Edge::MinValue | Edge::MaxValue => None,
        })
    }

    /// The stretches that end after a position; they do not overlap, so that their ends are in order too.
    fn after(&self, from: NaiveDateTime) -> impl Iterator<Item = &Stretch<'a>> {
        self.stretches[self.stretches.partition_point(|stretch| stretch.to <= from)..].iter()
    }

    /// A value that says time in another format than the policy's, where most values of lists do: partitions made in the
    /// policy's would never be given a row. Words such as 'none' say nothing about it, since they have no year.
    pub fn other_format(&self) -> Option<&(&'a TableName, String)> {
        let year = |value: &str| value.bytes().filter(u8::is_ascii_digit).count() >= 4;
        let strangers: Vec<_> = self.strange.iter().filter(|(_, value)| year(value)).collect();
        strangers.first().copied().filter(|_| strangers.len() > self.stretches.len())
    }

    /// Why the bounds were made in another zone than the policy's, if they were: most of them do not lie at midnight there
    /// (or at a full hour, where they or the policy are narrower than a day).
    pub fn other_zone(&self, periods: &Periods) -> Option<String> {
        if periods.line == Line::Wall {
            return None;
        }
        let hourly = matches!(periods.every, Every::Hours(_));
        let (mut edges, mut strangers) = (0, Vec::new());
        for stretch in &self.stretches {
            let narrow = hourly || stretch.to.signed_duration_since(stretch.from) < TimeDelta::hours(22);
            let unit = if narrow { Every::Hours(1) } else { Every::Days(1) };
            for edge in [stretch.from, stretch.to].into_iter().filter(|edge| *edge != FIRST && *edge != LAST) {
                if periods.is_edge(edge, unit) {
                    edges += 1;
                } else if edge.and_utc().timestamp_micros() % QUARTER == 0 {
                    edges += 1;
                    strangers.push((edge, unit));
                }
            }
        }
        let &(edge, unit) = strangers.first().filter(|_| strangers.len() * 2 > edges)?;
        let local = Line::Wall.position(edge.and_utc(), periods.zone);
        let what = if unit == Every::Hours(1) { "a full hour" } else { "midnight" };
        Some(format!(
            "its partitions begin at {what} {}, as {} UTC does, which reads {} in the policy's zone {}: partitions of both \
             would overlap or leave gaps; set timezone to the zone that they were made in",
            offset(edge, unit),
            edge.format("%Y-%m-%d %H:%M:%S"),
            local.format("%Y-%m-%d %H:%M:%S"),
            periods.zone.name(),
        ))
    }
}

/// At which offset from UTC a position is midnight or a full hour.
fn offset(edge: NaiveDateTime, unit: Every) -> String {
    let seconds = i64::from(edge.num_seconds_from_midnight());
    let after = if unit == Every::Hours(1) { seconds % 3600 } else { seconds };
    let span = if unit == Every::Hours(1) { 3600 } else { 86_400 };
    // East of Greenwich midnight comes before midnight UTC.
    let ahead = if after * 2 > span { span - after } else { -after };
    match ahead {
        0 => "UTC".into(),
        ahead => {
            let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.abs() / 60);
            format!("of UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    }
}

/// What one value of a list holds: the unit of its format.
fn unit(key: &Key, value: &str) -> Option<(NaiveDateTime, NaiveDateTime)> {
    let (from, unit) = (key.value(value)?, key.unit()?);
    // A day before the year 1 or after 9999 is nobody's period.
    let to = unit.start(unit.index(from).checked_add(1)?)?;
    (from != FIRST && from != LAST).then_some((from, to))
}

fn shown(edge: &Edge) -> String {
    match edge {
        Edge::MinValue => "MINVALUE".into(),
        Edge::MaxValue => "MAXVALUE".into(),
        Edge::Value(text) => format!("'{text}'"),
    }
}
