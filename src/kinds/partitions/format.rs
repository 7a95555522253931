//! `key_format`: how a key that has no type of time says its time.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::every::Every;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFormat {
    Digits(Digits),
    /// Seconds since 1970-01-01 00:00 UTC.
    Epoch,
    /// Milliseconds since then.
    EpochMs,
    UuidV7,
}

/// A wall clock time in digits: year, then perhaps month, day and hour, with other characters between them. It sorts as
/// time does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    text: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Literal(char),
    Year,
    Month,
    Day,
    Hour,
}

/// What may be written, for messages.
pub const SUPPORTED: &str =
    "\"%Y_%m\", \"%Y-%m\", \"%Y%m\", \"%Y-%m-%d\" and the like of %Y, %m, %d, %H, \"epoch\", \"epoch_ms\", \"uuidv7\"";

impl FromStr for KeyFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "epoch" => Ok(Self::Epoch),
            "epoch_ms" => Ok(Self::EpochMs),
            "uuidv7" => Ok(Self::UuidV7),
            _ => Digits::read(text)
                .map(Self::Digits)
                .map_err(|why| format!("{text:?} is no format of a key: {why}; supported are {SUPPORTED}")),
        }
    }
}

impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digits(digits) => &digits.text,
            Self::Epoch => "epoch",
            Self::EpochMs => "epoch_ms",
            Self::UuidV7 => "uuidv7",
        })
    }
}

impl<'de> Deserialize<'de> for KeyFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for KeyFormat {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyFormat".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "how a key that is text, an integer or a uuid says its time",
            "examples": ["%Y_%m", "%Y-%m", "%Y%m", "%Y-%m-%d", "epoch", "epoch_ms", "uuidv7"],
        })
    }
}

impl KeyFormat {
    /// Why periods of `every` cannot be told apart in it.
    pub fn too_coarse(&self, every: Every) -> Option<String> {
        let KeyFormat::Digits(digits) = self else { return None };
        (!every.is_made_of(digits.unit()))
            .then(|| format!("\"{self}\" counts in steps of {}, and periods of {every} need finer ones", digits.unit()))
    }
}

impl Digits {
    fn read(text: &str) -> Result<Self, &'static str> {
        let order = [Item::Year, Item::Month, Item::Day, Item::Hour];
        let (mut items, mut parts) = (Vec::new(), 0);
        let mut letters = text.chars();
        while let Some(c) = letters.next() {
            let item = match c {
                '%' => match letters.next() {
                    Some('Y') => Item::Year,
                    Some('m') => Item::Month,
                    Some('d') => Item::Day,
                    Some('H') => Item::Hour,
                    _ => return Err("after a percent sign stands Y, m, d or H"),
                },
                c if c.is_control() => return Err("it holds a control character"),
                c => Item::Literal(c),
            };
            if !matches!(item, Item::Literal(_)) {
                // Anything else would not sort as time does.
                if order.get(parts) != Some(&item) {
                    return Err("it begins with %Y, and %m, %d, %H follow in this order, without one left out");
                }
                parts += 1;
            }
            items.push(item);
        }
        if parts == 0 { Err("it says no time") } else { Ok(Self { text: text.into(), items }) }
    }

    /// The steps it counts in.
    pub fn unit(&self) -> Every {
        match self.items.iter().rev().find(|item| !matches!(item, Item::Literal(_))) {
            Some(Item::Hour) => Every::Hours(1),
            Some(Item::Day) => Every::Days(1),
            Some(Item::Month) => Every::Months(1),
            _ => Every::Months(12),
        }
    }

    /// Whether it is all digits, as an integer must be.
    pub fn is_number(&self) -> bool {
        self.items.iter().all(|item| !matches!(item, Item::Literal(c) if !c.is_ascii_digit()))
            // A zero in front would be lost.
            && self.items.first() != Some(&Item::Literal('0'))
    }

    /// How many characters each of its values has.
    pub fn width(&self) -> usize {
        self.items
            .iter()
            .map(|item| match item {
                Item::Literal(_) => 1,
                Item::Year => 4,
                _ => 2,
            })
            .sum()
    }

    /// A regular expression of PostgreSQL's that fits its values and nothing else; but for days that a month has not.
    pub fn pattern(&self) -> String {
        let items = self.items.iter().map(|item| match item {
            Item::Literal(c) if c.is_ascii_alphanumeric() || !c.is_ascii() => c.to_string(),
            Item::Literal(c) => format!("\\{c}"),
            Item::Year => "(?!0000)[0-9]{4}".into(),
            Item::Month => "(?:0[1-9]|1[0-2])".into(),
            Item::Day => "(?:0[1-9]|[12][0-9]|3[01])".into(),
            Item::Hour => "(?:[01][0-9]|2[0-3])".into(),
        });
        format!("^{}$", items.collect::<String>())
    }

    /// At which character year, month, day and hour begin, counted from 0.
    pub fn places(&self) -> [Option<usize>; 4] {
        let (mut places, mut at) = ([None; 4], 0);
        for item in &self.items {
            let (place, width) = match item {
                Item::Literal(_) => (None, 1),
                Item::Year => (Some(0), 4),
                Item::Month => (Some(1), 2),
                Item::Day => (Some(2), 2),
                Item::Hour => (Some(3), 2),
            };
            if let Some(place) = place {
                places[place] = Some(at);
            }
            at += width;
        }
        places
    }

    /// Nothing for a year that has not four digits.
    pub fn encode(&self, wall: NaiveDateTime) -> Option<String> {
        if !(1..=9999).contains(&wall.year()) {
            return None;
        }
        let text = self.items.iter().map(|item| match item {
            Item::Literal(c) => c.to_string(),
            Item::Year => wall.format("%Y").to_string(),
            Item::Month => wall.format("%m").to_string(),
            Item::Day => wall.format("%d").to_string(),
            Item::Hour => wall.format("%H").to_string(),
        });
        Some(text.collect())
    }

    /// The wall clock time a value stands for; only what [`Digits::encode`] writes.
    pub fn decode(&self, text: &str) -> Option<NaiveDateTime> {
        let (year, month, day, hour) = self.numbers(text)?;
        NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, 0, 0)
    }

    /// The same for a bound, where a month 13 is as good a way to end a year as January of the next: the first time whose
    /// value is not before it.
    pub fn decode_bound(&self, text: &str) -> Option<NaiveDateTime> {
        let (year, month, day, hour) = self.numbers(text)?;
        let date = match NaiveDate::from_ymd_opt(year, month, day) {
            Some(date) => date,
            None if month == 0 || day == 0 => return None,
            None if month >= 12 => return NaiveDate::from_ymd_opt(year + 1, 1, 1).map(Into::into),
            None => return NaiveDate::from_ymd_opt(year, month + 1, 1).map(Into::into),
        };
        Some(if hour > 23 { NaiveDateTime::from(date) + TimeDelta::days(1) } else { date.and_hms_opt(hour, 0, 0)? })
    }

    fn numbers(&self, text: &str) -> Option<(i32, u32, u32, u32)> {
        let (mut year, mut rest) = (0, [1, 1, 0]);
        let mut text = text;
        for item in &self.items {
            let mut digits = |n: usize| -> Option<u32> {
                let (number, after) = text.split_at_checked(n)?;
                text = after;
                number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok()).flatten()
            };
            match *item {
                Item::Literal(c) => text = text.strip_prefix(c)?,
                Item::Year => year = digits(4)?.try_into().ok()?,
                Item::Month => rest[0] = digits(2)?,
                Item::Day => rest[1] = digits(2)?,
                Item::Hour => rest[2] = digits(2)?,
            }
        }
        (text.is_empty() && year > 0).then_some((year, rest[0], rest[1], rest[2]))
    }
}
