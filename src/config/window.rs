//! The hours in which batched work may go on: `"22:00-06:00"`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;

use crate::period::instant;

/// From and to as wall-clock times of the job's zone; it may span midnight. It opens once and closes once a day: a time
/// that daylight saving skips is the end of the gap, of a repeated one the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: NaiveTime,
    /// No longer part of the window.
    pub to: NaiveTime,
}

/// Why a text is not a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("{0:?} is not a window: write it \"HH:MM-HH:MM\", such as \"22:00-06:00\"")]
    Malformed(String),
    #[error("{0:?} begins and ends at the same time: leave the key out for the whole day")]
    Empty(String),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let malformed = || WindowError::Malformed(text.into());
        let (from, to) = text.split_once('-').ok_or_else(malformed)?;
        let (from, to) = (time(from).ok_or_else(malformed)?, time(to).ok_or_else(malformed)?);
        if from == to { Err(WindowError::Empty(text.into())) } else { Ok(Self { from, to }) }
    }
}

/// `HH:MM`; `24:00` is the midnight at the end of the day.
fn time(text: &str) -> Option<NaiveTime> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |digits: &str| match digits.len() {
        1 | 2 if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u32>().ok(),
        _ => None,
    };
    match (number(hours)?, number(minutes)?) {
        (24, 0) => Some(NaiveTime::MIN),
        (hours, minutes) => NaiveTime::from_hms_opt(hours, minutes, 0),
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}

impl Window {
    pub fn is_open(&self, at: DateTime<Utc>, zone: Tz) -> bool {
        self.closes_after(at, zone).is_some()
    }

    /// The instant at which the window that is open at `at` closes; nothing when none is.
    pub fn closes_after(&self, at: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let today = at.with_timezone(&zone).date_naive();
        let opened = [today.checked_sub_days(Days::new(1)), Some(today)];
        let windows = opened.into_iter().flatten().filter_map(|day| self.on(day, zone));
        windows.filter(|(opens, closes)| *opens <= at && at < *closes).map(|(_, closes)| closes).max()
    }

    /// The instant at which it opens next after `at`.
    pub fn opens_after(&self, at: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let today = at.with_timezone(&zone).date_naive();
        let days = [Some(today), today.checked_add_days(Days::new(1)), today.checked_add_days(Days::new(2))];
        days.into_iter()
            .flatten()
            .filter_map(|day| self.on(day, zone))
            .map(|(opens, _)| opens)
            .find(|opens| *opens > at)
    }

    /// The window that opens on a day.
    fn on(&self, day: NaiveDate, zone: Tz) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let last = if self.to > self.from { day } else { day.checked_add_days(Days::new(1))? };
        Some((instant(day.and_time(self.from), zone), instant(last.and_time(self.to), zone)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn closes(window: &str, at: &str, zone: Tz) -> String {
        let window: Window = window.parse().unwrap();
        let at: DateTime<Utc> = at.parse().unwrap();
        window.closes_after(at, zone).map_or_else(|| "closed".into(), |at| at.format("%d %H:%M").to_string())
    }

    #[test]
    fn a_window_within_a_day_opens_at_from_and_is_shut_at_to() {
        assert_eq!(closes("09:00-17:00", "2026-06-10T08:59:59Z", Tz::UTC), "closed");
        assert_eq!(closes("09:00-17:00", "2026-06-10T09:00:00Z", Tz::UTC), "10 17:00");
        assert_eq!(closes("09:00-17:00", "2026-06-10T16:59:59Z", Tz::UTC), "10 17:00");
        assert_eq!(closes("09:00-17:00", "2026-06-10T17:00:00Z", Tz::UTC), "closed");
    }

    #[test]
    fn a_window_over_midnight_closes_on_the_next_day() {
        assert_eq!(closes("22:00-06:00", "2026-06-10T21:59:00Z", Tz::UTC), "closed");
        assert_eq!(closes("22:00-06:00", "2026-06-10T23:00:00Z", Tz::UTC), "11 06:00");
        assert_eq!(closes("22:00-06:00", "2026-06-11T05:59:00Z", Tz::UTC), "11 06:00");
        assert_eq!(closes("22:00-06:00", "2026-06-11T06:00:00Z", Tz::UTC), "closed");
        assert_eq!(closes("22:00-24:00", "2026-06-10T23:59:00Z", Tz::UTC), "11 00:00");
        assert_eq!(closes("00:00-06:00", "2026-06-11T00:00:00Z", Tz::UTC), "11 06:00");
    }

    #[test]
    fn the_hours_are_those_of_the_zone() {
        // 22:00 in New York is 02:00 UTC in summer.
        assert_eq!(closes("22:00-06:00", "2026-06-10T01:59:00Z", Tz::America__New_York), "closed");
        assert_eq!(closes("22:00-06:00", "2026-06-10T02:00:00Z", Tz::America__New_York), "10 10:00");
    }

    #[test]
    fn the_night_of_the_change_to_summer_time_is_an_hour_short() {
        // 28 to 29 March 2026 in Berlin: 22:00 is 21:00 UTC, 06:00 is 04:00 UTC.
        assert_eq!(closes("22:00-06:00", "2026-03-28T21:00:00Z", Tz::Europe__Berlin), "29 04:00");
        // 02:30 does not exist: the gap ends at 01:00 UTC.
        assert_eq!(closes("22:00-02:30", "2026-03-29T00:59:00Z", Tz::Europe__Berlin), "29 01:00");
        assert_eq!(closes("02:30-05:00", "2026-03-29T01:00:00Z", Tz::Europe__Berlin), "29 03:00");
        // Wholly inside the gap: it does not open that night.
        assert_eq!(closes("02:10-02:50", "2026-03-29T01:00:00Z", Tz::Europe__Berlin), "closed");
    }

    #[test]
    fn a_window_that_closes_in_the_repeated_hour_does_not_open_again() {
        // 25 October 2026 in Berlin: 02:30 is 00:30 UTC and again 01:30 UTC.
        assert_eq!(closes("22:00-02:30", "2026-10-25T00:29:00Z", Tz::Europe__Berlin), "25 00:30");
        assert_eq!(closes("22:00-02:30", "2026-10-25T00:30:00Z", Tz::Europe__Berlin), "closed");
        assert_eq!(closes("22:00-02:30", "2026-10-25T01:10:00Z", Tz::Europe__Berlin), "closed");
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "22:00",
            "22-06",
            "22:00-25:00",
            "22:00-06:60",
            "22:00–06:00",
            "+1:00-02:00",
            "022:00-06:00",
            "24:01-06:00",
        ] {
            assert!(text.parse::<Window>().unwrap_err().to_string().contains("HH:MM"), "{text}");
        }
        assert!("06:00-6:00".parse::<Window>().unwrap_err().to_string().contains("same time"));
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_and_an_open_window_closes_within_a_day_and_the_shift(
            from in 0u32..1440, to in 0u32..1440, hours in 0i64..200_000, minutes in 0i64..60,
        ) {
            prop_assume!(from != to);
            let time = |m: u32| NaiveTime::from_hms_opt(m / 60, m % 60, 0).unwrap();
            let window = Window { from: time(from), to: time(to) };
            prop_assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
            let at = DateTime::from_timestamp(1_500_000_000 + hours * 3600 + minutes * 60, 0).unwrap();
            if let Some(closes) = window.closes_after(at, Tz::Europe__Berlin) {
                prop_assert!(at < closes && closes - at <= chrono::TimeDelta::hours(25));
                prop_assert!(!window.is_open(closes, Tz::Europe__Berlin));
            }
        }
    }
}
