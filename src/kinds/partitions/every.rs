//! Periods of a wall clock: hours, days, weeks, months and years, numbered; and where they lie on the time line of a key.
//!
//! A period is numbered by what the clock on the wall shows when it begins. On the line of instants it reaches from the
//! first instant at which that is shown to the first at which the next beginning is: an hour that daylight saving repeats
//! belongs to one period of two hours, and one that it skips to none.

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::period::{self, Period};

/// How wide a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    Hours(u32),
    Days(u32),
    Months(u32),
}

/// What the values of a key are: instants, or what the clock on the wall shows in the policy's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Instant,
    Wall,
}

/// The periods of a policy, as positions on the line of its key: an instant's UTC time, or a wall clock's.
#[derive(Debug, Clone, Copy)]
pub struct Periods {
    pub every: Every,
    pub zone: Tz,
    pub line: Line,
}

const HOUR: i64 = 3_600_000_000;
/// Longer periods than this have no second one that a calendar of four digits knows.
const MAX_YEARS: u32 = 1_000;

impl TryFrom<Period> for Every {
    type Error = String;

    fn try_from(period: Period) -> Result<Self, String> {
        let supported = "periods are whole hours, days, weeks, months, quarters or years, of one unit";
        let hours = u32::try_from(period.micros / HOUR).unwrap_or(u32::MAX);
        let (every, years) = match (period.months, period.days, period.micros) {
            (0, 0, 0) => return Err(format!("a period has a length; {supported}")),
            (months, 0, 0) => (Every::Months(months), months / 12),
            (0, days, 0) => (Every::Days(days), days / 366),
            (0, 0, micros) if micros % HOUR == 0 => (Every::Hours(hours), hours / 24 / 366),
            _ => return Err(format!("\"{period}\" is no period of partitions; {supported}")),
        };
        if years > MAX_YEARS {
            return Err(format!("\"{period}\" is longer than {MAX_YEARS} years"));
        }
        Ok(every)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) = match *self {
            Every::Hours(n) => (n, "hour"),
            Every::Days(n) if n % 7 == 0 => (n / 7, "week"),
            Every::Days(n) => (n, "day"),
            Every::Months(n) if n % 12 == 0 => (n / 12, "year"),
            Every::Months(n) => (n, "month"),
        };
        write!(f, "{n} {unit}{}", if n == 1 { "" } else { "s" })
    }
}

/// The day from which periods are counted that fit no day, week or year.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
/// The Monday of the week of [`EPOCH`].
const MONDAY: NaiveDate = NaiveDate::from_ymd_opt(1969, 12, 29).expect("a day");

impl Every {
    /// The number of the period in which the wall clock shows `wall`.
    pub fn index(self, wall: NaiveDateTime) -> i64 {
        match self {
            Every::Hours(n) => (wall - NaiveDateTime::from(EPOCH)).num_seconds().div_euclid(i64::from(n) * 3600),
            Every::Days(n) => (wall.date() - day_one(n)).num_days().div_euclid(n.into()),
            Every::Months(n) => {
                // 1970 x 12 is a multiple of each n that divides 12: those begin in January, as they should.
                let months = (i64::from(wall.year()) - 1970) * 12 + i64::from(wall.month0());
                months.div_euclid(n.into())
            }
        }
    }

    /// What the wall clock shows when a period begins. Nothing beyond the years 1 to 9999, which names and formats of
    /// four digits cannot say.
    pub fn start(self, index: i64) -> Option<NaiveDateTime> {
        let wall: NaiveDateTime = match self {
            Every::Hours(n) => {
                let span = TimeDelta::try_hours(index.checked_mul(n.into())?)?;
                NaiveDateTime::from(EPOCH).checked_add_signed(span)?
            }
            Every::Days(n) => {
                let days = index.checked_mul(n.into())?;
                let (one, span) = (day_one(n), Days::new(days.unsigned_abs()));
                if days < 0 { one.checked_sub_days(span)? } else { one.checked_add_days(span)? }.into()
            }
            Every::Months(n) => {
                let months = index.checked_mul(n.into())?.checked_add(1970 * 12)?;
                let year = i32::try_from(months.div_euclid(12)).ok()?;
                NaiveDate::from_ymd_opt(year, u32::try_from(months.rem_euclid(12)).ok()? + 1, 1)?.into()
            }
        };
        (1..=9999).contains(&wall.year()).then_some(wall)
    }

    /// Whether each period is made of whole ones of `unit`.
    pub fn is_made_of(self, unit: Every) -> bool {
        match (self, unit) {
            (Every::Hours(n), Every::Hours(unit)) | (Every::Days(n), Every::Days(unit)) => n % unit == 0,
            (Every::Months(n), Every::Months(unit)) => n % unit == 0,
            (Every::Days(_) | Every::Months(_), Every::Hours(unit)) => 24 % unit == 0,
            (Every::Months(_), Every::Days(unit)) => unit == 1,
            (Every::Hours(_) | Every::Days(_), _) => false,
        }
    }

    /// A period by its beginning, as short as it can be said.
    pub fn label(self, start: NaiveDateTime) -> String {
        let format = match self {
            Every::Hours(_) => "%Y-%m-%d %H:00",
            Every::Days(_) => "%Y-%m-%d",
            Every::Months(n) if n % 12 == 0 => "%Y",
            Every::Months(_) => "%Y-%m",
        };
        start.format(format).to_string()
    }
}

/// Where days are counted from: weeks begin on Monday, and so do fortnights.
const fn day_one(n: u32) -> NaiveDate {
    if n.is_multiple_of(7) { MONDAY } else { EPOCH }
}

impl Line {
    /// Where an instant lies on the line.
    pub fn position(self, at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
        match self {
            Line::Instant => at.naive_utc(),
            Line::Wall => wall(at.naive_utc(), zone),
        }
    }

    /// The instant of a position.
    pub fn instant(self, position: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
        match self {
            Line::Instant => position.and_utc(),
            Line::Wall if is_far(position) => position.and_utc(),
            Line::Wall => period::instant(position, zone),
        }
    }
}

/// What the clock on the wall shows. Near the ends of the calendar, where it has no room to differ, the same.
fn wall(utc: NaiveDateTime, zone: Tz) -> NaiveDateTime {
    if is_far(utc) { utc } else { utc.and_utc().with_timezone(&zone).naive_local() }
}

fn is_far(position: NaiveDateTime) -> bool {
    !(-200_000..=200_000).contains(&position.year())
}

impl Periods {
    /// The number of the period that holds a position.
    pub fn holding(&self, position: NaiveDateTime) -> i64 {
        match self.line {
            Line::Wall => self.every.index(position),
            Line::Instant => {
                let mut index = self.every.index(wall(position, self.zone));
                // After a clock has gone back over midnight it shows a day that is over.
                while self.start(index + 1).is_some_and(|next| next <= position) {
                    index += 1;
                }
                index
            }
        }
    }

    /// Where a period begins, and the one before ends. Two periods begin at once where daylight saving skips the first.
    pub fn start(&self, index: i64) -> Option<NaiveDateTime> {
        let start = self.every.start(index)?;
        Some(match self.line {
            Line::Wall => start,
            Line::Instant => period::instant(start, self.zone).naive_utc(),
        })
    }

    /// Whether a period of this width may begin there, by the clock of the zone: at midnight, or at a full hour.
    pub fn is_edge(&self, position: NaiveDateTime, unit: Every) -> bool {
        let unit = Periods { every: unit, ..*self };
        unit.start(unit.holding(position)) == Some(position)
    }
}

#[cfg(test)]
#[path = "every_tests.rs"]
mod tests;
