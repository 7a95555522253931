//! What a person would have to write of a table, read from the partitions it has: how wide they are, in which zone they begin,
//! how the key says its time, what they are called. Pure. What the bounds do not prove is said, and not guessed at.

use chrono::{DateTime, Datelike, Months, NaiveDateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::cover::Cover;
use super::every::{Every, Line, Periods};
use super::facts::{Partition, TableFacts};
use super::format::KeyFormat;
use super::key::{FIRST, Key, LAST};
use super::name::Pattern;

/// What the partitions of a table say.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    pub every: Every,
    /// The zone they begin in; UTC where the key shows a clock on the wall, which has none.
    pub zone: Tz,
    pub key_format: Option<KeyFormat>,
    /// What new ones have to be called to look like the last; nothing where they do by themselves.
    pub name: Option<Pattern>,
    /// Why somebody should look at it first.
    pub doubts: Vec<String>,
    /// What is worth knowing, and no reason to doubt.
    pub remarks: Vec<String>,
    /// Where the oldest partition begins and the newest ends, as far as they do.
    pub from: NaiveDateTime,
    pub to: NaiveDateTime,
}

/// A partition with two ends.
struct Piece<'a> {
    from: NaiveDateTime,
    to: NaiveDateTime,
    partition: &'a Partition,
}

/// Nothing that could be relied on can be said of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    pub why: String,
    /// Somebody who knows the application could say it: the key is one of time, or may be.
    pub may_be_time: bool,
}

/// So many of the newest partitions that are alike tell what is meant now.
const ENOUGH: usize = 3;

/// `server` is the zone that a session of the database has by itself.
///
/// # Errors
/// Why nothing can be said.
pub fn infer(facts: &TableFacts, server: Option<Tz>, now: DateTime<Utc>) -> Result<Inferred, Unproven> {
    let (mut found, mut why, mut readable) = (Vec::new(), None, false);
    for format in formats(facts) {
        let key = match Key::read(&facts.key, format.as_ref()) {
            Ok(key) => {
                readable = true;
                key
            }
            // Of a key that says its time itself there is one way to read it, and one reason why not.
            Err(error) => {
                why.get_or_insert(error);
                continue;
            }
        };
        match by(facts, &key, format.clone(), server, now) {
            Ok(inferred) => found.push(inferred),
            Err(why) if format.is_none() => return Err(Unproven { why, may_be_time: true }),
            Err(_) => why = Some(strange(facts)),
        }
    }
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    if found.is_empty() {
        let why = why.unwrap_or_else(|| NONE_YET.into());
        return Err(Unproven { why, may_be_time: readable && facts.partitions.is_empty() });
    }
    let formats: Vec<String> =
        found.iter().filter_map(|one| one.key_format.as_ref()).map(|format| format!("\"{format}\"")).collect();
    let why = format!("its bounds can be read in several ways, as {}", formats.join(" and as "));
    Err(Unproven { why, may_be_time: true })
}

const NONE_YET: &str = "it has no partition yet, so that nothing says how wide one is to be";

/// The ways in which the key may say time. One that is text or a number has to prove its own.
fn formats(facts: &TableFacts) -> Vec<Option<KeyFormat>> {
    let base = facts.key.type_name.split('(').next().unwrap_or_default().trim();
    let known: &[&str] = match base {
        "text" | "character varying" | "character" => {
            &["%Y-%m", "%Y_%m", "%Y%m", "%Y-%m-%d", "%Y_%m_%d", "%Y%m%d", "%Y", "%Y-%m-%d-%H", "%Y%m%d%H"]
        }
        "smallint" | "integer" | "bigint" | "numeric" => &["%Y%m", "%Y%m%d", "%Y%m%d%H", "%Y", "epoch", "epoch_ms"],
        "uuid" => &["uuidv7"],
        _ => return vec![None],
    };
    known.iter().filter_map(|text| text.parse().ok()).map(Some).collect()
}

fn strange(facts: &TableFacts) -> String {
    let definition = &facts.key.definition;
    if facts.partitions.is_empty() {
        return format!(
            "it is partitioned by {definition}, and without a partition nothing says how that key says its time"
        );
    }
    format!(
        "it is partitioned by {definition}, and the bounds of its partitions are no periods in any way of saying time that is known"
    )
}

/// By one way to read the key.
fn by(
    facts: &TableFacts,
    key: &Key,
    key_format: Option<KeyFormat>,
    server: Option<Tz>,
    now: DateTime<Utc>,
) -> Result<Inferred, String> {
    let cover = Cover::of(facts, key);
    if let Some((partition, bound)) = cover.unread.first() {
        return Err(format!("the bound of {} is not understood: {bound}", partition.plain()));
    }
    let pieces = pieces(&cover);
    let (Some(first), Some(last)) = (pieces.first(), pieces.iter().map(|piece| piece.to).max()) else {
        return Err(if facts.partitions.is_empty() {
            NONE_YET.into()
        } else {
            "none of its partitions has two ends".into()
        });
    };
    if key_format.is_some() {
        let strange = cover.strange.iter().any(|(_, value)| value != "NULL");
        // A number that is an id, and no time, is a time long ago or far away.
        let years = 1990..=now.year() + 60;
        if strange || !pieces.iter().all(|piece| years.contains(&piece.from.year()) && years.contains(&piece.to.year()))
        {
            return Err("some of its bounds are no time".into());
        }
    }
    let Zoned { periods, misfits, doubt } = zone(&pieces, key.line(), server, now)?;
    let every = periods.every;
    Key::of(&facts.key, key_format.as_ref(), every)?;
    let mut doubts: Vec<String> = doubt.into_iter().collect();
    let mut remarks = Vec::new();
    if pieces.len() == 1
        && let Some(other) = EVERIES.iter().find(|other| **other != every && fits(&pieces[0], &periods.of(**other)))
    {
        doubts.push(format!("its only partition is {every} wide, and {other} as well"));
    }
    if let Some(odd) = misfits.first() {
        remarks.push(format!(
            "of its {} partitions {} not {every} wide, such as {}",
            pieces.len(),
            if misfits.len() == 1 { "one is".into() } else { format!("{} are", misfits.len()) },
            odd.partition.name.plain()
        ));
    }
    Ok(Inferred {
        every,
        zone: periods.zone,
        name: pattern(facts, &pieces, &periods),
        key_format,
        doubts,
        remarks,
        from: first.from,
        to: last,
    })
}

/// Of a list, one piece for all values of a partition that follow each other.
fn pieces<'a>(cover: &Cover<'a>) -> Vec<Piece<'a>> {
    let mut pieces: Vec<Piece<'a>> = Vec::new();
    let finite = cover.stretches.iter().filter(|stretch| stretch.from != FIRST && stretch.to != LAST);
    for stretch in finite.filter(|stretch| !stretch.partition.detach_pending) {
        match pieces.last_mut().filter(|last| last.partition.oid == stretch.partition.oid && last.to == stretch.from) {
            Some(last) => last.to = stretch.to,
            None => pieces.push(Piece { from: stretch.from, to: stretch.to, partition: stretch.partition }),
        }
    }
    pieces
}

/// The widest first: a year is also twelve months.
const EVERIES: &[Every] = &[
    Every::Months(12),
    Every::Months(6),
    Every::Months(4),
    Every::Months(3),
    Every::Months(2),
    Every::Months(1),
    Every::Months(24),
    Every::Months(60),
    Every::Months(120),
    Every::Days(7),
    Every::Days(14),
    Every::Days(28),
    Every::Days(1),
    Every::Days(2),
    Every::Days(3),
    Every::Days(4),
    Every::Days(5),
    Every::Days(10),
    Every::Days(15),
    Every::Days(30),
    Every::Hours(1),
    Every::Hours(2),
    Every::Hours(3),
    Every::Hours(4),
    Every::Hours(6),
    Every::Hours(8),
    Every::Hours(12),
];

impl Periods {
    /// Those of another width.
    fn of(&self, every: Every) -> Self {
        Self { every, ..*self }
    }
}

fn fits(piece: &Piece<'_>, periods: &Periods) -> bool {
    let index = periods.holding(piece.from);
    periods.start(index) == Some(piece.from) && periods.start(index + 1) == Some(piece.to)
}

/// The width of most, and the partitions that are of another: those that are newest have to be of it.
fn width<'p, 'a>(pieces: &'p [Piece<'a>], zone: Tz, line: Line) -> Option<(Periods, Vec<&'p Piece<'a>>)> {
    let newest = &pieces[pieces.len().saturating_sub(ENOUGH)..];
    let candidates = EVERIES.iter().map(|every| Periods { every: *every, zone, line });
    let alike = candidates.filter(|periods| newest.iter().rev().all(|piece| fits(piece, periods)));
    let measured =
        alike.map(|periods| (periods, pieces.iter().filter(|piece| !fits(piece, &periods)).collect::<Vec<_>>()));
    measured.filter(|(_, misfits)| misfits.len() * 2 <= pieces.len()).min_by_key(|(_, misfits)| misfits.len())
}

struct Zoned<'p, 'a> {
    periods: Periods,
    misfits: Vec<&'p Piece<'a>>,
    doubt: Option<String>,
}

/// The zone whose clock shows the beginning of a period where partitions begin: UTC, else the server's, else whichever does.
fn zone<'p, 'a>(
    pieces: &'p [Piece<'a>],
    line: Line,
    server: Option<Tz>,
    now: DateTime<Utc>,
) -> Result<Zoned<'p, 'a>, String> {
    let none = || {
        let piece = pieces.last().expect("there is one, or there would be no zone to look for");
        format!(
            "its partitions are no periods of one width: {} holds {} to {}",
            piece.partition.name.plain(),
            piece.from.format("%Y-%m-%d %H:%M:%S"),
            piece.to.format("%Y-%m-%d %H:%M:%S")
        )
    };
    let in_utc = width(pieces, Tz::UTC, line);
    if line == Line::Wall {
        let (periods, misfits) = in_utc.ok_or_else(none)?;
        return Ok(Zoned { periods, misfits, doubt: None });
    }
    let in_servers = server.and_then(|zone| width(pieces, zone, line));
    match (in_utc, in_servers) {
        (Some((utc, misfits)), Some((other, others))) => {
            let other_is_as_good = others.len() <= misfits.len();
            let doubt = (other_is_as_good && !same(&utc, &other, now)).then(|| {
                format!(
                    "its partitions begin at midnight both in UTC and in {}, which the database has as its time zone, and new \
                     ones would not",
                    other.zone.name()
                )
            });
            Ok(Zoned { periods: utc, misfits, doubt })
        }
        (Some((periods, misfits)), None) | (None, Some((periods, misfits))) => {
            Ok(Zoned { periods, misfits, doubt: None })
        }
        (None, None) => {
            let mut all: Vec<_> = TZ_VARIANTS.iter().filter_map(|zone| width(pieces, *zone, line)).collect();
            let least = all.iter().map(|(_, misfits)| misfits.len()).min().ok_or_else(none)?;
            all.retain(|(_, misfits)| misfits.len() == least);
            let known = |(periods, _): &(Periods, Vec<_>)| {
                KNOWN.iter().position(|zone| *zone == periods.zone.name()).unwrap_or(KNOWN.len())
            };
            let best = all.iter().map(known).enumerate().min_by_key(|(_, place)| *place).map_or(0, |(at, _)| at);
            let (periods, misfits) = all.swap_remove(best);
            let doubt = all.iter().find(|(other, _)| !same(&periods, other, now)).map(|(other, _)| {
                format!(
                    "its partitions begin at midnight in {} and in {}, among others, and new ones would not",
                    periods.zone.name(),
                    other.zone.name()
                )
            });
            Ok(Zoned { periods, misfits, doubt })
        }
    }
}

/// Of zones that show the same time, the one that people write.
const KNOWN: &[&str] = &[
    "Europe/Berlin",
    "Europe/London",
    "Europe/Athens",
    "Europe/Moscow",
    "Europe/Istanbul",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Asia/Tokyo",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Kolkata",
    "Asia/Dubai",
    "Australia/Sydney",
    "Australia/Brisbane",
    "Pacific/Auckland",
];

/// Whether two zones give the same partitions in the two years to come.
fn same(one: &Periods, other: &Periods, now: DateTime<Utc>) -> bool {
    let end = now + Months::new(24);
    let mut index = one.holding(now.naive_utc());
    let shift = other.holding(now.naive_utc()) - index;
    loop {
        let start = one.start(index);
        if start != other.start(index + shift) {
            return false;
        }
        if start.is_none_or(|start| start > end.naive_utc()) {
            return true;
        }
        index += 1;
    }
}

/// What the newest partitions are called, as a pattern, where all of them go by one and it is not the usual.
fn pattern(facts: &TableFacts, pieces: &[Piece<'_>], periods: &Periods) -> Option<Pattern> {
    const TIMES: &[&str] =
        &["%Y_%m_%d_%H", "%Y%m%d_%H", "%Y%m%d%H", "%Y_%m_%d", "%Y-%m-%d", "%Y%m%d", "%Y_%m", "%Y-%m", "%Y%m", "%Y"];
    let newest = &pieces[pieces.len().saturating_sub(ENOUGH)..];
    let of_time = |time: &str| {
        let mut beginnings = newest.iter().map(|piece| {
            let wall = periods.every.start(periods.holding(piece.from))?;
            let name =
                (piece.partition.name.schema == facts.table.schema).then(|| piece.partition.name.name.as_str())?;
            name.strip_suffix(&wall.format(time).to_string())
        });
        let first = beginnings.next()??;
        beginnings.all(|other| other == Some(first)).then(|| first.to_owned())
    };
    let (beginning, time) = TIMES.iter().find_map(|time| Some((of_time(time)?, *time)))?;
    let beginning = match beginning.strip_prefix(facts.table.name.as_str()) {
        Some(rest) => format!("{{table}}{}", rest.replace('%', "%%")),
        None if beginning.contains(['{', '}']) => return None,
        None => beginning.replace('%', "%%"),
    };
    let pattern: Pattern = format!("{beginning}{time}").parse().ok()?;
    (pattern != Pattern::of(periods.every) && pattern.mistake(periods.every).is_none()).then_some(pattern)
}

#[cfg(test)]
#[path = "infer_tests.rs"]
mod tests;
