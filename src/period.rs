//! Lengths of time as people write them: `"30s"`, `"250ms"`, `"90 days"`, `"12 months"`, `"1 day 12 hours"`.
//!
//! A [`Period`] keeps months and days as what they are on a calendar; a [`Span`] is a stretch of the clock, for time-outs.
//! A bare number is refused: is it days or seconds? (A retention of `10` once meant ten seconds to a tool.)

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, LocalResult, Months, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A calendar period: months, then days, then clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    pub months: u32,
    pub days: u32,
    pub micros: i64,
}

/// A stretch of clock time, such as a time-out. Months have no fixed length and are refused here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// Why a text is not a period; the text says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error("{0:?} has no unit: write \"{0} days\", \"{0}s\", \"{0} months\" or the like")]
    NoUnit(String),
    #[error("{0:?} is not a length of time: write it like \"30s\", \"5m\", \"90 days\" or \"12 months\"")]
    Malformed(String),
    #[error("{unit:?} in {text:?} is not a unit of time; known are ms, s, m (minutes), h, days, weeks, months, years")]
    Unit { text: String, unit: String },
    #[error("{0:?} is longer than pgtend can count")]
    TooLong(String),
    #[error("{0:?} counts in months or years, whose length varies; a time-out needs days or less")]
    NotFixed(String),
}

const SECOND: i64 = 1_000_000;

enum Unit {
    Months(u32),
    Days(u32),
    Micros(i64),
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name {
        "us" | "microsecond" | "microseconds" => Unit::Micros(1),
        "ms" | "millisecond" | "milliseconds" => Unit::Micros(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(60 * SECOND),
        "h" | "hour" | "hours" => Unit::Micros(3600 * SECOND),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "quarter" | "quarters" => Unit::Months(3),
        "y" | "year" | "years" => Unit::Months(12),
        _ => return None,
    })
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let malformed = || PeriodError::Malformed(text.into());
        let too_long = || PeriodError::TooLong(text.into());
        let mut period = Period::default();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(malformed());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let count: u32 = match &rest[..digits] {
                "" => return Err(malformed()),
                digits => digits.parse().map_err(|_| too_long())?,
            };
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            let name = &rest[..letters];
            if name.is_empty() {
                return Err(if rest.is_empty() { PeriodError::NoUnit(text.trim().into()) } else { malformed() });
            }
            match unit(&name.to_lowercase())
                .ok_or_else(|| PeriodError::Unit { text: text.into(), unit: name.into() })?
            {
                Unit::Months(n) => {
                    period.months =
                        count.checked_mul(n).and_then(|m| period.months.checked_add(m)).ok_or_else(too_long)?;
                }
                Unit::Days(n) => {
                    period.days = count.checked_mul(n).and_then(|d| period.days.checked_add(d)).ok_or_else(too_long)?;
                }
                Unit::Micros(n) => {
                    let more = i64::from(count).checked_mul(n).ok_or_else(too_long)?;
                    period.micros = period.micros.checked_add(more).ok_or_else(too_long)?;
                }
            }
            rest = rest[letters..].trim_start_matches([' ', ',']);
        }
        // A thousand centuries is a slip of the hand, and would leave the range of the calendar.
        if period.months > 120_000 || period.days > 3_650_000 {
            return Err(too_long());
        }
        Ok(period)
    }
}

impl Period {
    pub const fn days(days: u32) -> Self {
        Self { months: 0, days, micros: 0 }
    }

    pub const fn is_zero(&self) -> bool {
        self.months == 0 && self.days == 0 && self.micros == 0
    }

    /// Whether it is at least as long as a stretch of the clock; a month is taken for its shortest.
    pub fn at_least(&self, stretch: TimeDelta) -> bool {
        let days = i64::from(self.months) * 28 + i64::from(self.days);
        TimeDelta::days(days) + TimeDelta::microseconds(self.micros) >= stretch
    }

    /// What was meant by minutes, if they are months that were written as `m`: `12m` is twelve minutes.
    pub fn mistaken_for_months(&self) -> Option<Self> {
        let minutes = self.micros / (60 * SECOND);
        let whole = self.months == 0 && self.days == 0 && self.micros == minutes * 60 * SECOND;
        let months = u32::try_from(minutes).ok().filter(|months| whole && (1..=1_200).contains(months))?;
        Some(Self { months, ..Self::default() })
    }

    /// The instant this long before `at`, by the calendar of `zone`: "12 months" before 31 March is 31 March a year
    /// earlier, "1 month" before it is 28 or 29 February.
    pub fn before(&self, at: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let local = at.with_timezone(&zone).naive_local();
        let moved =
            local.checked_sub_months(Months::new(self.months))?.checked_sub_days(Days::new(self.days.into()))?;
        // An untouched calendar part must not run through the clock of the zone: that could move an ambiguous hour.
        let instant = if moved == local { at } else { instant(moved, zone) };
        instant.checked_sub_signed(TimeDelta::microseconds(self.micros))
    }
}

/// The instant at which a wall clock in `zone` shows `local`: after the gap where daylight saving skips it, the first of
/// the two where it is repeated.
pub fn instant(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
        LocalResult::None => gap_end(local, zone),
    }
}

/// The end of the gap that `local` falls into: the first instant by the new offset.
fn gap_end(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    // No zone has ever jumped by more than a day and a bit (Samoa, 2011), and gaps end on a full minute... or second.
    let offset_at = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local() - at.naive_utc();
    let (mut before, mut after) = (local.and_utc() - TimeDelta::days(2), local.and_utc() + TimeDelta::days(2));
    let old = offset_at(before);
    while after - before > TimeDelta::seconds(1) {
        let middle = before + (after - before) / 2;
        if offset_at(middle) == old { before = middle } else { after = middle }
    }
    let end = DateTime::from_timestamp(after.timestamp(), 0).unwrap_or(after);
    if offset_at(end) == old { after } else { end }
}

impl FromStr for Span {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let period: Period = text.parse()?;
        if period.months > 0 {
            return Err(PeriodError::NotFixed(text.into()));
        }
        let micros = u64::try_from(period.micros).unwrap_or_default();
        Ok(Self(Duration::from_micros(micros) + Duration::from_secs(u64::from(period.days) * 86_400)))
    }
}

/// A duration as people say it, in at most two units: `1.5 s`, `4 min 12 s`, `3 d 4 h`.
pub fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.is_zero() => "0 s".into(),
        0 => format!("{} ms", span.as_millis().max(1)),
        1..=9 => format!("{:.1} s", span.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut say = |count: i64, one: &str| {
            if count != 0 {
                parts.push(format!("{count} {one}{}", if count == 1 { "" } else { "s" }));
            }
        };
        say(i64::from(self.months) / 12, "year");
        say(i64::from(self.months) % 12, "month");
        say(self.days.into(), "day");
        say(self.micros / (3600 * SECOND), "hour");
        say(self.micros / (60 * SECOND) % 60, "minute");
        say(self.micros / SECOND % 60, "second");
        say(self.micros / 1000 % 1000, "millisecond");
        say(self.micros % 1000, "microsecond");
        f.write_str(if parts.is_empty() { "0 seconds".into() } else { parts.join(" ") }.as_str())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&human(self.0))
    }
}

/// Reads a string with `FromStr`; a number gets the advice to add a unit rather than serde's "expected a string".
fn from_config<'de, D: Deserializer<'de>, T: FromStr<Err = PeriodError>>(deserializer: D) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a length of time, such as \"30s\" or \"90 days\"")]
    enum Written {
        Text(String),
        Number(i64),
    }
    match Written::deserialize(deserializer)? {
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Written::Number(n) => Err(serde::de::Error::custom(PeriodError::NoUnit(n.to_string()))),
    }
}

macro_rules! length_in_config {
    ($type:ty, $text:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_config(deserializer)
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $text, "pattern": r"^\s*[0-9]+\s*[A-Za-z]" })
            }
        }
    };
}
length_in_config!(Period, "a calendar period: \"90 days\", \"12 months\", \"1 year\", \"36 hours\"");
length_in_config!(Span, "a length of time: \"250ms\", \"30s\", \"5m\", \"1h\", \"2 days\"");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn period(text: &str) -> String {
        text.parse::<Period>().map_or_else(|e| e.to_string(), |p| p.to_string())
    }

    #[test]
    fn periods_are_read_as_people_write_them() {
        assert_eq!(period("90 days"), "90 days");
        assert_eq!(period("12 months"), "1 year");
        assert_eq!(period("18months"), "1 year 6 months");
        assert_eq!(period("1 day 12 hours"), "1 day 12 hours");
        assert_eq!(period("1h30m"), "1 hour 30 minutes");
        assert_eq!(period("250ms"), "250 milliseconds");
        assert_eq!(period("2 Weeks"), "14 days");
    }

    #[test]
    fn minutes_may_have_been_meant_for_months() {
        let meant = |text: &str| text.parse::<Period>().unwrap().mistaken_for_months().map(|period| period.to_string());
        assert_eq!(meant("12m").as_deref(), Some("1 year"));
        assert_eq!(meant("7m").as_deref(), Some("7 months"));
        for text in ["30s", "1 day 5m", "90s", "2000m", "3 months"] {
            assert_eq!(meant(text), None, "{text}");
        }
        let at_least = |text: &str| text.parse::<Period>().unwrap().at_least(TimeDelta::days(1));
        assert!(at_least("1 day") && at_least("24h") && at_least("1 month") && at_least("1h 23h"));
        assert!(!at_least("12m") && !at_least("23h"));
    }

    #[test]
    fn a_bare_number_and_unknown_units_are_refused() {
        assert!(period("10").contains("no unit"), "{}", period("10"));
        assert!(period("10 parsecs").contains("parsecs"));
        assert!(period("-3 days").contains("not a length"));
        assert!(period("1.5 hours").contains("not a length"));
        assert!(period("").contains("not a length"));
        assert!(period("99999999999 days").contains("longer"));
        assert!("3 months".parse::<Span>().unwrap_err().to_string().contains("varies"));
    }

    fn before(text: &str, at: &str, zone: Tz) -> String {
        let at: DateTime<Utc> = at.parse().unwrap();
        text.parse::<Period>().unwrap().before(at, zone).unwrap().to_rfc3339()
    }

    #[test]
    fn months_are_calendar_months_of_the_zone() {
        // 36 months are not 3 x 365 days: that would say 31 March.
        assert_eq!(before("36 months", "2024-03-31T12:00:00Z", Tz::UTC), "2021-03-31T12:00:00+00:00");
        assert_eq!(before("1 month", "2024-03-31T12:00:00Z", Tz::UTC), "2024-02-29T12:00:00+00:00");
        // Noon in Berlin stays noon in Berlin, across the change to summer time.
        assert_eq!(before("1 day", "2026-03-29T10:00:00Z", Tz::Europe__Berlin), "2026-03-28T11:00:00+00:00");
        // Hours are hours: they do not follow the wall clock.
        assert_eq!(before("24h", "2026-03-29T10:00:00Z", Tz::Europe__Berlin), "2026-03-28T10:00:00+00:00");
    }

    #[test]
    fn a_wall_clock_time_that_does_not_exist_is_the_end_of_its_gap() {
        let local = "2026-03-29T02:30:00".parse().unwrap();
        assert_eq!(instant(local, Tz::Europe__Berlin).to_rfc3339(), "2026-03-29T01:00:00+00:00");
        // Half an hour's gap.
        let local = "2026-10-04T02:10:00".parse().unwrap();
        assert_eq!(instant(local, Tz::Australia__Lord_Howe).to_rfc3339(), "2026-10-03T15:30:00+00:00");
        // A whole day that never was.
        let local = "2011-12-30T12:00:00".parse().unwrap();
        assert_eq!(instant(local, Tz::Pacific__Apia).to_rfc3339(), "2011-12-30T10:00:00+00:00");
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(months in 0u32..1000, days in 0u32..4000, micros in 0i64..200_000_000_000) {
            let period = Period { months, days, micros };
            prop_assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }
    }
}
