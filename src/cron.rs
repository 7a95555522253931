//! Wall-clock schedules in a time zone.
//!
//! A cron time is what a clock on the wall of the job's zone shows, and daylight saving bends that clock twice a year:
//!
//! - A time that is skipped runs once, when the gap ends; several skipped times are that one run.
//! - A time that is repeated runs once, at the first pass.
//! - A schedule of every hour (`*`, `*/1` or `0-23` in the hour field) means an interval, not a time of day. It keeps
//!   running through both passes of a repeated hour, and has nothing to make up for after a gap.
//!
//! [`croner`] reads the fields and searches the calendar; what a zone does to it is decided here.

mod field;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Year};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::period::instant;

/// A cron expression: five fields, six with the second first, or `@hourly` … `@yearly`. Equal when written equally.
#[derive(Clone)]
pub struct Cron {
    text: String,
    fields: croner::Cron,
    every_hour: bool,
}

/// Why a text is not a schedule; the text says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error(
        "a schedule is empty: write five fields, such as \"30 2 * * *\", or @daily; leave the key out to run by hand only"
    )]
    Empty,
    #[error(
        "{text:?} has {count} fields: a schedule has five (minute, hour, day of month, month, day of week) or six, \
         with the second first; every five minutes is \"*/5 * * * *\""
    )]
    Fields { text: String, count: usize },
    #[error(
        "\"@reboot\" is not a time: leave the schedule out and trigger the job, or give it a time; missed times are caught up"
    )]
    Reboot,
    #[error("{0:?} is not known: @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually are")]
    Alias(String),
    #[error("the {field} {value:?} of {text:?} is wrong: {mend}")]
    Field { text: String, field: &'static str, value: String, mend: String },
    #[error("{0:?} never comes: no month it names has such a day")]
    Never(String),
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let spelled = match text.to_ascii_lowercase().as_str() {
            "" => return Err(CronError::Empty),
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@reboot" => return Err(CronError::Reboot),
            alias if alias.starts_with('@') => return Err(CronError::Alias(text.into())),
            _ => text,
        };
        let fields = field::split(spelled)?;
        // As in cron(5): two restricted day fields mean either one; one that begins with a star only narrows the other.
        let both_days = [fields[fields.len() - 3], fields[fields.len() - 1]].iter().any(|days| days.starts_with('*'));
        let parser = CronParser::builder().year(Year::Disallowed).dom_and_dow(both_days).build();
        let wrong = |e: croner::errors::CronError| CronError::Field {
            text: text.into(),
            field: "whole",
            value: spelled.into(),
            mend: e.to_string(),
        };
        let fields = parser.parse(spelled).map_err(wrong)?;
        let every_hour = fields.pattern.hours.values().len() == 24;
        let cron = Self { text: text.into(), fields, every_hour };
        // Any day serves to see whether there is a time at all.
        match cron.search(NaiveDateTime::default(), true) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(text.into())),
        }
    }
}

impl Cron {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time strictly after `after`; nothing at the end of the calendar.
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if self.every_hour { self.next_running(after, zone) } else { self.next_on_wall(after, zone) }
    }

    /// The next `n` times after `after`.
    #[cfg(test)]
    pub fn upcoming(&self, after: DateTime<Utc>, zone: Tz, n: usize) -> Vec<DateTime<Utc>> {
        std::iter::successors(self.next_after(after, zone), |at| self.next_after(*at, zone)).take(n).collect()
    }

    /// The newest time in (`after`, `until`].
    pub fn newest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        newest(|at| self.next_after(at, zone), after, until)
    }

    /// The shortest stretch between two times in the year after `from`.
    pub fn shortest_gap(&self, from: DateTime<Utc>, zone: Tz) -> Option<Duration> {
        self.gaps(from, zone).map(|(shortest, _)| shortest)
    }

    /// The longest stretch between two times in the year after `from`, or between the next two where they are rarer.
    pub fn longest_gap(&self, from: DateTime<Utc>, zone: Tz) -> Option<Duration> {
        self.gaps(from, zone).map(|(_, longest)| longest)
    }

    /// A wall-clock time maps to one instant, later ones never to an earlier instant, and the time now on the wall never
    /// to a later one than now. So the search begins there. It may meet times that are over: the rest of an hour that is
    /// being repeated.
    fn next_on_wall(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut local = after.with_timezone(&zone).naive_local();
        loop {
            local = self.search(local, false)?;
            let due = instant(local, zone);
            if due > after {
                return Some(due);
            }
        }
    }

    /// The next instant at which the clock shows a time of the schedule, be it for the first or the second time. The
    /// search is good as long as the zone's offset holds; from a change on it begins anew.
    fn next_running(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = offset(from, zone);
            let due = (self.search(from.naive_utc() + offset, inclusive)? - offset).and_utc();
            let seen = due.min(from + TimeDelta::days(1));
            from = match change(from, seen, zone) {
                Some(change) => change,
                None if seen == due => return Some(due),
                // No clock shows that time until a day or so before it, however often it is set in between.
                None => seen.max(due - TimeDelta::days(3)),
            };
            inclusive = true;
        }
    }

    fn search(&self, local: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        self.fields.find_next_occurrence(&local, inclusive).ok()
    }

    /// All days that run at all run at the same times of the day, so times are compared within one day, and then only
    /// the last with the first of the next such day. A day on which the clock is changed is looked at by itself.
    fn gaps(&self, from: DateTime<Utc>, zone: Tz) -> Option<(Duration, Duration)> {
        let times = self.times_of_day();
        let mut gaps: Vec<TimeDelta> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let start = from.with_timezone(&zone).date_naive();
        let year = start.checked_add_days(Days::new(366))?;
        let mut day = self.day_from(start)?;
        loop {
            let at = |time: &NaiveTime| instant(day.and_time(*time), zone);
            let changed = change(at(times.first()?), at(times.last()?), zone).is_some();
            if changed && !self.every_hour {
                gaps.extend(times.windows(2).map(|pair| at(&pair[1]) - at(&pair[0])));
            }
            let next = self.day_from(day.succ_opt()?)?;
            gaps.push(instant(next.and_time(*times.first()?), zone) - at(times.last()?));
            if next > year {
                break;
            }
            day = next;
        }
        // Times that one gap swallowed are one run, not two at a distance of nothing.
        let real = gaps.into_iter().filter_map(|gap| gap.to_std().ok()).filter(|gap| !gap.is_zero());
        real.fold(None, |ends: Option<(Duration, Duration)>, gap| {
            Some(ends.map_or((gap, gap), |(low, high)| (low.min(gap), high.max(gap))))
        })
    }

    fn times_of_day(&self) -> Vec<NaiveTime> {
        let pattern = &self.fields.pattern;
        let (minutes, seconds) = (pattern.minutes.values(), pattern.seconds.values());
        let mut times = Vec::new();
        for hour in pattern.hours.values() {
            for minute in &minutes {
                let at = |second: &u16| NaiveTime::from_hms_opt(hour.into(), (*minute).into(), (*second).into());
                times.extend(seconds.iter().filter_map(at));
            }
        }
        times
    }

    /// The first day of the schedule that is not before `day`.
    fn day_from(&self, day: NaiveDate) -> Option<NaiveDate> {
        self.search(day.and_time(NaiveTime::MIN), true).map(|at| at.date())
    }
}

/// The newest time in (`after`, `until`] of those that `next_after` finds. Halves the stretch instead of walking it: a year
/// of seconds is 25 looks.
pub fn newest(
    next_after: impl Fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let first_after = |at| next_after(at).filter(|due| *due <= until);
    let mut newest = first_after(after)?;
    let mut none_after = until;
    while none_after - newest >= TimeDelta::seconds(1) {
        let middle = newest + (none_after - newest) / 2;
        match first_after(middle) {
            Some(due) => newest = due,
            None => none_after = middle,
        }
    }
    Some(newest)
}

fn offset(at: DateTime<Utc>, zone: Tz) -> TimeDelta {
    TimeDelta::seconds(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc().into())
}

/// The first instant in (`from`, `to`] by another offset than `from`'s. The two are near enough for one change at most.
fn change(from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let old = offset(from, zone);
    if offset(to, zone) == old {
        return None;
    }
    let (mut before, mut after) = (from.timestamp(), to.timestamp());
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset(DateTime::from_timestamp(middle, 0)?, zone) == old { before = middle } else { after = middle }
    }
    DateTime::from_timestamp(after, 0)
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cron").field(&self.text).finish()
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Cron {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for Cron {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "cron: minute, hour, day of month, month, day of week, as wall-clock times of the job's timezone; \
                            with six fields the second comes first; or @hourly, @daily, @weekly, @monthly, @yearly",
            "examples": ["@hourly", "30 2 * * *", "*/15 * * * *", "0 0 25 * *", "0 6 * * MON-FRI"],
        })
    }
}

/// A number in [0, 1) that depends on `text` alone: the same on every machine and in every build.
pub fn stable_fraction(text: &str) -> f64 {
    let digest = Sha256::digest(text.as_bytes());
    let bits = digest.iter().take(8).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    // As many bits as an f64 holds exactly; with more, the largest would round up to 1.
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
