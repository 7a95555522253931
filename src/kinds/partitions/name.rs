//! Names of new partitions: a pattern, and what becomes of it where it is longer than PostgreSQL keeps or already taken.

use std::str::FromStr;

use chrono::NaiveDateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::every::Every;
use crate::hex::hex;
use crate::pg::ident::MAX_BYTES;

/// A pattern with `{table}`, `%Y`, `%m`, `%d` and `%H`; `%%` is a percent sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

const TABLE: &str = "{table}";
/// `_` and eight hexadecimal digits.
const MARK: usize = 9;

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "known are {table}, %Y, %m, %d and %H";
        if text.contains('\0') {
            return Err("a name holds no NUL byte".into());
        }
        let mut letters = text.chars();
        while let Some(c) = letters.next() {
            if c != '%' {
                continue;
            }
            match letters.next() {
                Some('Y' | 'm' | 'd' | 'H' | '%') => {}
                Some(c) => return Err(format!("unknown %{c} in {text:?}; {known}")),
                None => return Err(format!("{text:?} ends in a percent sign; {known}")),
            }
        }
        let rest = text.replace(TABLE, "");
        if rest.contains(['{', '}']) {
            return Err(format!("unknown braces in {text:?}; {known}"));
        }
        Ok(Self(text.into()))
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PartitionName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "the names of new partitions, with {table}, %Y, %m, %d and %H",
            "examples": ["{table}_%Y_%m", "{table}_p%Y%m%d"],
        })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// The pattern for a table that names none.
    pub fn of(every: Every) -> Self {
        let time: Vec<_> = letters(every).iter().map(|letter| format!("_%{letter}")).collect();
        Self(format!("{TABLE}{}", time.concat()))
    }

    /// Why two periods would have one name.
    pub fn mistake(&self, every: Every) -> Option<String> {
        let plain = self.0.replace("%%", "");
        let missing: Vec<_> =
            letters(every).iter().filter(|l| !plain.contains(&format!("%{l}"))).map(|l| format!("%{l}")).collect();
        (!missing.is_empty()).then(|| {
            format!("with \"{self}\" several periods of {every} would have one name: {} is missing", missing.join(", "))
        })
    }

    /// The name of a period's partition; what is longer than 63 bytes is shortened before the time, so that it still says
    /// which table and period it is. The same name each time.
    pub fn name(&self, table: &str, start: NaiveDateTime) -> Named {
        let (head, tail) = self.parts(table, start);
        Named::fit(&head, &tail)
    }

    /// Another name, for a partition whose own is taken; `bound` tells it from others of the same period.
    pub fn other_name(&self, table: &str, start: NaiveDateTime, bound: &str) -> Named {
        let (head, tail) = self.parts(table, start);
        let tail = format!("{tail}_{}", digest(&format!("{head}{tail} {bound}")));
        Named::fit(&head, &tail)
    }

    /// What stands up to the table's name, which may be shortened, and what follows, which says the time.
    fn parts(&self, table: &str, start: NaiveDateTime) -> (String, String) {
        let (before, after) = match self.0.rfind(TABLE) {
            Some(at) => self.0.split_at(at + TABLE.len()),
            None => ("", self.0.as_str()),
        };
        // The time first: a table's name may hold a percent sign.
        let time = |text: &str| start.format(text).to_string();
        (time(before).replace(TABLE, table), time(after))
    }
}

/// The letters a pattern needs to tell the periods apart.
const fn letters(every: Every) -> &'static [&'static str] {
    match every {
        Every::Hours(_) => &["Y", "m", "d", "H"],
        Every::Days(_) => &["Y", "m", "d"],
        Every::Months(n) if n % 12 == 0 => &["Y"],
        Every::Months(_) => &["Y", "m"],
    }
}

/// A name that PostgreSQL keeps as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    /// The name it would have had, had it been short enough.
    pub too_long: Option<String>,
}

impl Named {
    fn fit(head: &str, tail: &str) -> Self {
        let full = format!("{head}{tail}");
        if full.len() <= MAX_BYTES {
            return Self { name: full, too_long: None };
        }
        // A tail that leaves no room is cut with the rest.
        let (head, tail) = if tail.len() + MARK < MAX_BYTES { (head, tail) } else { (full.as_str(), "") };
        let room = MAX_BYTES - MARK - tail.len();
        let name = format!("{}_{}{tail}", &head[..head.floor_char_boundary(room)], digest(&full));
        Self { name, too_long: Some(full) }
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..4])
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
