//! Time <-> values of a partition key, by its type and format.
//!
//! Values are text, as the server writes them in a session with `TimeZone=UTC` and `DateStyle=ISO`.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::every::{Every, Line};
use super::facts::{Edge, KeyFacts, Strategy};
use super::format::{Digits, KeyFormat, SUPPORTED};

/// Before and after everything: MINVALUE and MAXVALUE, and the infinities, which no period lies behind either.
pub const FIRST: NaiveDateTime = NaiveDateTime::MIN;
pub const LAST: NaiveDateTime = NaiveDateTime::MAX;

/// How the values of a key say time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Timestamptz,
    Timestamp,
    Date,
    Text(Digits),
    /// An integer, read as digits; up to the largest that the type holds.
    Number(Digits, i64),
    /// An integer, counted from 1970 in so many steps a second; up to the largest that the type holds.
    Epoch(i64, i64),
    UuidV7,
}

const KEYS: &str = "pgtend makes partitions by RANGE and LIST of timestamptz, timestamp, date, and with key_format of text, \
                    integer and uuid (version 7) keys";

impl Key {
    /// For partitions as wide as `every`.
    ///
    /// # Errors
    /// It is no key that says time, or `key_format` does not fit it; the error says what would.
    pub fn of(facts: &KeyFacts, format: Option<&KeyFormat>, every: Every) -> Result<Self, String> {
        let key = Self::read(facts, format)?;
        if let Some(unit) = key.unit()
            && !every.is_made_of(unit)
        {
            return Err(format!("periods of {every} cannot be told apart by a key that counts in steps of {unit}"));
        }
        match (&key, length(&facts.type_name)) {
            (Key::Text(digits), Some(length)) if length < digits.width() => Err(format!(
                "key_format makes texts of {} characters, and the key is {}",
                digits.width(),
                facts.type_name
            )),
            _ => Ok(key),
        }
    }

    /// For partitions of any width.
    ///
    /// # Errors
    /// As [`Key::of`].
    pub fn read(facts: &KeyFacts, format: Option<&KeyFormat>) -> Result<Self, String> {
        let definition = &facts.definition;
        let refused = |why: &str| Err(format!("it is partitioned by {definition}: {why}; {KEYS}"));
        match facts.strategy {
            Strategy::Hash => return refused("hash partitions follow no time"),
            Strategy::Range | Strategy::List if facts.column.is_none() => {
                return refused("the key is an expression, and what its values mean is not known");
            }
            Strategy::Range | Strategy::List => {}
        }
        let key = Self::of_type(facts, format)?;
        match (facts.strategy, &key) {
            (Strategy::List, key) if key.unit().is_none() => {
                refused(&format!("a list cannot name each value of {}", facts.type_name))
            }
            (Strategy::Range, Key::Text(_)) if !facts.bytewise => refused(
                "the key's collation does not order by bytes, so that which text lies between two bounds is not known; \
                 COLLATE \"C\" would",
            ),
            _ => Ok(key),
        }
    }

    fn of_type(facts: &KeyFacts, format: Option<&KeyFormat>) -> Result<Self, String> {
        let name = &facts.type_name;
        let column = facts.column.as_ref().map_or("", |column| column.as_str());
        let is = format!("the key {column} is {name}");
        // `timestamp(3) with time zone`, `character varying(7)`.
        let base = match (name.find('('), name.find(')')) {
            (Some(from), Some(to)) if from < to => format!("{}{}", &name[..from], &name[to + 1..]),
            _ => name.clone(),
        };
        let timed = |key: Key| match format {
            None => Ok(key),
            Some(format) => Err(format!("{is}, which says its time itself: remove key_format = \"{format}\"")),
        };
        let number = |max: i64| match format {
            None => Err(format!("{is}: add key_format, such as \"%Y%m\" or \"epoch\", to say how it counts time")),
            Some(KeyFormat::Digits(digits)) if digits.is_number() => Ok(Key::Number(digits.clone(), max)),
            Some(KeyFormat::Epoch) => Ok(Key::Epoch(1, max)),
            Some(KeyFormat::EpochMs) => Ok(Key::Epoch(1000, max)),
            Some(format) => Err(format!(
                "{is}, which cannot be \"{format}\": write \"%Y%m\", \"%Y%m%d\", \"epoch\" or \"epoch_ms\""
            )),
        };
        match base.as_str() {
            "timestamp with time zone" => timed(Key::Timestamptz),
            "timestamp without time zone" => timed(Key::Timestamp),
            "date" => timed(Key::Date),
            "smallint" => number(i16::MAX.into()),
            "integer" => number(i32::MAX.into()),
            "bigint" | "numeric" => number(i64::MAX),
            "text" | "character varying" | "character" => match format {
                Some(KeyFormat::Digits(digits)) => Ok(Key::Text(digits.clone())),
                None => Err(format!("{is}: add key_format, such as \"%Y-%m\" or \"%Y_%m\", to say how it writes time")),
                Some(format) => {
                    Err(format!("{is}, which cannot be \"{format}\": write \"%Y-%m\", \"%Y_%m\" or the like"))
                }
            },
            "uuid" => match format {
                Some(KeyFormat::UuidV7) => Ok(Key::UuidV7),
                None => Err(format!("{is}: add key_format = \"uuidv7\" if it begins with the time, as version 7 does")),
                Some(format) => Err(format!("{is}, which cannot be \"{format}\": only \"uuidv7\" says time")),
            },
            _ => Err(format!("{is}, which is not supported: {KEYS}; key_format is one of {SUPPORTED}")),
        }
    }

    /// What its values are.
    pub const fn line(&self) -> Line {
        match self {
            Key::Timestamptz | Key::Epoch(..) | Key::UuidV7 => Line::Instant,
            Key::Timestamp | Key::Date | Key::Text(_) | Key::Number(..) => Line::Wall,
        }
    }

    /// The steps it counts in, where they are no finer than an hour.
    pub fn unit(&self) -> Option<Every> {
        match self {
            Key::Date => Some(Every::Days(1)),
            Key::Text(digits) | Key::Number(digits, _) => Some(digits.unit()),
            Key::Timestamptz | Key::Timestamp | Key::Epoch(..) | Key::UuidV7 => None,
        }
    }

    /// The value of a position; of a uuid the smallest that begins with it. Nothing where the type has none.
    pub fn encode(&self, at: NaiveDateTime) -> Option<String> {
        if !(1..=9999).contains(&at.year()) {
            return None;
        }
        match self {
            Key::Timestamptz => Some(at.format("%Y-%m-%d %H:%M:%S%.f+00").to_string()),
            Key::Timestamp => Some(at.format("%Y-%m-%d %H:%M:%S%.f").to_string()),
            Key::Date => Some(at.format("%Y-%m-%d").to_string()),
            Key::Text(digits) => digits.encode(at),
            Key::Number(digits, max) => digits.encode(at).filter(|text| text.parse::<i64>().is_ok_and(|n| n <= *max)),
            Key::Epoch(steps, max) => {
                let n = at.and_utc().timestamp_millis() * steps / 1000;
                // The smallest integer is one below what the largest says; nobody will miss it.
                (-max..=*max).contains(&n).then(|| n.to_string())
            }
            Key::UuidV7 => {
                let ms = u64::try_from(at.and_utc().timestamp_millis()).ok()?;
                Some(format!("{:08x}-{:04x}-0000-0000-000000000000", ms >> 16, ms & 0xffff))
            }
        }
    }

    /// The position of one end of a RANGE bound.
    pub fn bound(&self, edge: &Edge) -> Option<NaiveDateTime> {
        match (edge, self) {
            (Edge::MinValue, _) => Some(FIRST),
            (Edge::MaxValue, _) => Some(LAST),
            (Edge::Value(text), Key::Text(digits)) => digits.decode_bound(plain(text)),
            (Edge::Value(text), Key::Number(digits, _)) => digits.decode_bound(whole(text)),
            (Edge::Value(text), _) => self.value(text),
        }
    }

    /// The position of a value; nothing where it is none of this format.
    pub fn value(&self, text: &str) -> Option<NaiveDateTime> {
        match self {
            Key::Timestamptz => timestamp(text, true),
            Key::Timestamp => timestamp(text, false),
            Key::Date => match date(text)? {
                day if day == FIRST || day == LAST || day.time() == NaiveTime::MIN => Some(day),
                _ => None,
            },
            Key::Text(digits) => digits.decode(plain(text)),
            Key::Number(digits, _) => digits.decode(whole(text)),
            Key::Epoch(steps, _) => {
                let n: i64 = whole(text).parse().ok()?;
                let at = DateTime::from_timestamp(n.div_euclid(*steps), 0)
                    .map(|at| at.naive_utc() + TimeDelta::milliseconds(n.rem_euclid(*steps) * 1000 / steps));
                Some(at.unwrap_or(if n < 0 { FIRST } else { LAST }))
            }
            Key::UuidV7 => uuid(text),
        }
    }
}

/// A `character(n)` is filled up with spaces that mean nothing.
fn plain(text: &str) -> &str {
    text.trim_end_matches(' ')
}

/// A `numeric(8,2)` is written with zeros after the point.
fn whole(text: &str) -> &str {
    text.split_once('.').filter(|(_, rest)| rest.bytes().all(|b| b == b'0')).map_or(text, |(whole, _)| whole)
}

/// The `7` of `character varying(7)`.
fn length(type_name: &str) -> Option<usize> {
    type_name.split_once('(')?.1.strip_suffix(')')?.parse().ok()
}

/// `2026-11-01 00:00:00.5+00`, `infinity`, `0044-03-15 12:00:00+00 BC`; with an offset if and only if `zoned`.
fn timestamp(text: &str, zoned: bool) -> Option<NaiveDateTime> {
    let (text, bc) = text.strip_suffix(" BC").map_or((text, ""), |text| (text, " BC"));
    let Some((day, time)) = text.split_once(' ') else {
        // Only infinity has no time of day.
        return date(text).filter(|at| *at == FIRST || *at == LAST);
    };
    let (time, offset) = match time.find(['+', '-']) {
        Some(at) if zoned => (&time[..at], seconds_of(&time[at..])?),
        None if !zoned => (time, 0),
        _ => return None,
    };
    let day = date(&format!("{day}{bc}"))?;
    if day == FIRST || day == LAST {
        return Some(day);
    }
    let time = NaiveTime::parse_from_str(time, "%H:%M:%S%.f").ok()?;
    day.date().and_time(time).checked_sub_signed(TimeDelta::seconds(offset))
}

/// `+05:30` in seconds.
fn seconds_of(offset: &str) -> Option<i64> {
    let (sign, rest) = offset.split_at_checked(1)?;
    let mut seconds = 0;
    for (part, unit) in rest.split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some(if sign == "-" { -seconds } else { seconds })
}

/// `2026-11-01`, `10000-01-01`, `0044-03-15 BC`, `infinity`. What lies outside the calendar of chrono, which ends some
/// thousand years before PostgreSQL's, is as good as infinite.
fn date(text: &str) -> Option<NaiveDateTime> {
    match text {
        "infinity" => return Some(LAST),
        "-infinity" => return Some(FIRST),
        _ => {}
    }
    let (text, bc) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let mut parts = text.splitn(3, '-');
    let mut number = |least: usize| -> Option<u32> {
        let part = parts.next()?;
        (part.len() >= least && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok()).flatten()
    };
    let (year, month, day) = (i32::try_from(number(4)?).ok()?, number(2)?, number(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if bc { 1 - year } else { year };
    match year {
        ..-262_000 => Some(FIRST),
        262_000.. => Some(LAST),
        _ => NaiveDate::from_ymd_opt(year, month, day).map(Into::into),
    }
}

/// The millisecond a uuid begins with, where it is the smallest of it: either of all, or of those of version 7.
fn uuid(text: &str) -> Option<NaiveDateTime> {
    let shape = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    if parts.len() != 5 || parts.iter().zip(shape).any(|(part, n)| part.len() != n) {
        return None;
    }
    let ms = i64::from_str_radix(&format!("{}{}", parts[0], parts[1]), 16).ok()?;
    let smallest = matches!(parts[2..], ["0000", "0000", "000000000000"] | ["7000", "8000" | "0000", "000000000000"]);
    let at = DateTime::from_timestamp_millis(ms)?;
    smallest.then(|| at.naive_utc())
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
