//! Which days are old as a whole. Pure.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::period::{self, Period};

/// The start of the day, by the clock of `zone`, that holds the instant `older_than` before `now`: what is before it is of
/// whole days, all of them older than that. Nothing where it is beyond the calendar.
pub fn cutoff(now: DateTime<Utc>, older_than: Period, zone: Tz) -> Option<DateTime<Utc>> {
    let mut day = older_than.before(now, zone)?.with_timezone(&zone).date_naive();
    loop {
        match start(day, zone) {
            Some(start) => return Some(start),
            // The rows of the two days lie among each other; both go when the next day does.
            None => day = day.pred_opt()?,
        }
    }
}

/// The first instant of a day. Nothing where the clock has been put back across midnight, so that a part of the day lies
/// before the end of the one before it.
fn start(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    let midnight = day.and_time(NaiveTime::MIN);
    if let LocalResult::Ambiguous(_, second) = zone.from_local_datetime(&midnight)
        && (second - TimeDelta::microseconds(1)).date_naive() != day
    {
        return None;
    }
    Some(period::instant(midnight, zone))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kinds::rows::plan;
    use crate::pg::batch::Cutoff;

    fn check(now: &str, older_than: &str, zone: Tz, expect: &str) {
        let cutoff = cutoff(now.parse().unwrap(), older_than.parse().unwrap(), zone).unwrap();
        assert_eq!(cutoff.format("%F %TZ").to_string(), expect, "{older_than} before {now} in {zone}");
    }

    #[test]
    fn a_day_begins_where_its_zone_says() {
        check("2026-06-15T12:00:00Z", "90 days", Tz::UTC, "2026-03-17 00:00:00Z");
        check("2026-06-15T12:00:00Z", "90 days", Tz::Europe__Berlin, "2026-03-16 23:00:00Z");
        // Two in the morning in Berlin, and still the day before in UTC.
        check("2026-06-15T00:30:00Z", "1 day", Tz::Europe__Berlin, "2026-06-13 22:00:00Z");
        check("2026-06-15T22:30:00Z", "1 day", Tz::Europe__Berlin, "2026-06-14 22:00:00Z");
        check("2026-06-15T22:30:00Z", "1 day", Tz::UTC, "2026-06-14 00:00:00Z");
        // The current day is never counted, however short the period.
        check("2026-06-15T12:00:00Z", "1s", Tz::UTC, "2026-06-15 00:00:00Z");
        check("2026-06-15T00:00:00Z", "1s", Tz::UTC, "2026-06-14 00:00:00Z");
    }

    #[test]
    fn days_of_23_and_25_hours_are_whole_too() {
        check("2026-03-30T10:00:00Z", "1 day", Tz::Europe__Berlin, "2026-03-28 23:00:00Z");
        check("2026-03-31T10:00:00Z", "1 day", Tz::Europe__Berlin, "2026-03-29 22:00:00Z");
        check("2026-10-26T10:00:00Z", "1 day", Tz::Europe__Berlin, "2026-10-24 22:00:00Z");
        check("2026-10-27T10:00:00Z", "1 day", Tz::Europe__Berlin, "2026-10-25 23:00:00Z");
    }

    #[test]
    fn a_day_without_a_midnight_begins_an_hour_late_and_one_with_two_at_the_first() {
        // Cairo's clock jumps from midnight to one o'clock.
        check("2026-04-25T10:00:00Z", "1 day", Tz::Africa__Cairo, "2026-04-23 22:00:00Z");
        // Havana's goes from one o'clock back to midnight.
        check("2026-11-02T12:00:00Z", "1 day", Tz::America__Havana, "2026-11-01 04:00:00Z");
    }

    #[test]
    fn a_day_that_began_before_the_last_one_was_over_waits() {
        // At one minute past midnight of 29 October 2006 the clock of St John's went back to 28 October.
        check("2006-10-30T12:00:00Z", "1 day", Tz::America__St_Johns, "2006-10-28 02:30:00Z");
        check("2006-10-31T12:00:00Z", "1 day", Tz::America__St_Johns, "2006-10-30 03:30:00Z");
    }

    proptest! {
        #[test]
        fn what_is_before_the_cutoff_is_of_earlier_days_and_what_is_after_it_is_not(
            zone in prop::sample::select(&chrono_tz::TZ_VARIANTS[..]),
            now in -1_000_000_000i64..2_000_000_000,
            hours in 1u32..5_000,
            near in prop::collection::vec(-100_000i64..100_000, 20),
        ) {
            let now = DateTime::from_timestamp(now, 0).unwrap();
            let older_than: Period = format!("{hours} hours").parse().unwrap();
            let cutoff = cutoff(now, older_than, zone).unwrap();
            let old = now - TimeDelta::hours(hours.into());
            prop_assert!(cutoff <= old);
            // Days of up to 25 hours, two of them where one waits, and one that was left out once.
            prop_assert!(old - cutoff < TimeDelta::hours(75));
            let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
            for seconds in near.into_iter().chain([-1, 0, 1, -3_600, 3_600]) {
                let at = cutoff + TimeDelta::seconds(seconds);
                prop_assert_eq!(at < cutoff, day(at) < day(cutoff), "{} of {}", at, day(at));
            }
            // A column without a zone is cut at midnight, even where that midnight was skipped.
            let Cutoff::Wall(wall) = plan::cutoff(cutoff, "timestamp", zone) else { panic!("no wall clock") };
            prop_assert!(wall.time() == NaiveTime::MIN && wall.date() <= day(cutoff), "{wall}");
        }
    }
}
