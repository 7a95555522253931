//! When a job is due: the times of its schedule at which its window, if it has one, is open. At all others it is skipped, by
//! promise, so that nobody waits for them. Asks no clock.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::rota::delay;
use crate::config::{Definition, Window};
use crate::cron::{Cron, newest};

/// In how many windows one is looked for, or at how many times of a schedule that comes more rarely: a year of daily ones.
pub const TIMES_LOOKED_AT: usize = 366;

/// What of a definition says when it is due.
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    pub cron: &'a Cron,
    pub zone: Tz,
    /// The job's own share of its jitter: a window is looked at when the job rings, and not when it is due.
    pub delay: TimeDelta,
    pub window: Option<Window>,
}

impl<'a> Times<'a> {
    /// Nothing for a job without a schedule.
    pub fn of(job: &'a Definition) -> Option<Self> {
        let cron = job.schedule.as_ref()?;
        Some(Self { cron, zone: job.timezone, delay: delay(job), window: job.window })
    }

    /// The first due time strictly after `after`, before jitter; nothing where no time lies in the window.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Some(window) = self.window else { return self.cron.next_after(after, self.zone) };
        let mut after = after;
        for _ in 0..TIMES_LOOKED_AT {
            let at = self.cron.next_after(after, self.zone)?;
            let rings = at + self.delay;
            if window.is_open(rings, self.zone) {
                return Some(at);
            }
            // A schedule of each second has its next thousands of times before the window opens.
            after = at.max(window.opens_after(rings, self.zone)? - self.delay - TimeDelta::seconds(1));
        }
        None
    }

    /// The newest due time in (`after`, `until`].
    pub fn newest_in(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        newest(|at| self.next_after(at), after, until)
    }

    /// When the job rings first after `after`, jitter included.
    pub fn rings_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(self.next_after(after - self.delay)? + self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-07-{text}:00Z").parse().unwrap()
    }

    fn next(cron: &str, window: &str, minutes: i64, zone: Tz, after: &str) -> Option<String> {
        let (cron, window) = (cron.parse().unwrap(), Some(window.parse().unwrap()));
        let times = Times { cron: &cron, zone, delay: TimeDelta::minutes(minutes), window };
        times.next_after(at(after)).map(|at| at.format("%dT%H:%M:%S").to_string())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn times_at_which_the_window_is_closed_are_none() {
        let hourly = |after| next("17 * * * *", "03:00-05:00", 0, Tz::UTC, after);
        assert_eq!(hourly("01T00:00"), some("01T03:17:00"));
        assert_eq!(hourly("01T03:17"), some("01T04:17:00"));
        assert_eq!(hourly("01T04:17"), some("02T03:17:00"));
        assert_eq!(next("0 12 * * *", "03:00-05:00", 0, Tz::UTC, "01T00:00"), None);
    }

    #[test]
    fn the_window_is_the_zone_s_and_is_looked_at_when_the_job_rings() {
        assert_eq!(next("17 * * * *", "03:00-05:00", 0, Tz::Europe__Berlin, "01T00:00"), some("01T01:17:00"));
        assert_eq!(next("50 * * * *", "03:00-05:00", 15, Tz::UTC, "01T00:00"), some("01T02:50:00"));
        assert_eq!(next("50 * * * *", "03:00-05:00", 15, Tz::UTC, "01T03:50"), some("02T02:50:00"));
    }

    #[test]
    fn a_schedule_of_each_second_is_not_walked_to_the_window() {
        assert_eq!(next("* * * * * *", "03:00-03:01", 0, Tz::UTC, "01T03:01"), some("02T03:00:00"));
    }

    #[test]
    fn the_newest_of_a_year_is_the_last_in_the_window() {
        let cron = "17 * * * *".parse().unwrap();
        let window = Some("03:00-05:00".parse().unwrap());
        let times = Times { cron: &cron, zone: Tz::UTC, delay: TimeDelta::zero(), window };
        let newest = |after, until| times.newest_in(after, at(until));
        assert_eq!(newest(at("01T00:00") - TimeDelta::days(365), "20T17:00"), Some(at("20T04:17")));
        assert_eq!(newest(at("20T04:17"), "21T03:16"), None);
        assert_eq!(newest(at("20T04:17"), "21T03:17"), Some(at("21T03:17")));
    }
}
