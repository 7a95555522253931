//! Which days a walk has gone, and what a schedule makes of them, counted by the calendar alone: neither the rota nor the
//! history is asked.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};

use super::{Walk, is_whole};

impl Walk {
    /// Whether a month has just begun.
    pub fn is_months_edge(&self) -> bool {
        self.now.day() == 1
    }

    /// Whether the newest backup is to come back now: at the edge of each half of a year, and at the end; where nothing is left
    /// out, at the edge of each month. On such a day the daemon is always awake.
    pub fn is_to_be_proven(&self) -> bool {
        self.is_at_its_end() || (self.is_months_edge() && (is_whole() || matches!(self.now.month(), 1 | 7)))
    }

    pub fn is_at_its_end(&self) -> bool {
        self.now >= self.end
    }

    /// Whether each backup is made that is due.
    pub fn makes_every_backup(&self) -> bool {
        is_whole() && self.rows <= 10_000
    }

    /// Whether a day is among those at the end on which every backup is made.
    pub fn is_among_the_last(&self, day: DateTime<Utc>) -> bool {
        self.end - day < TimeDelta::days(self.application.last_days)
    }

    /// How many days the walk has gone.
    pub fn days(&self) -> i64 {
        (self.now - self.begin).num_days()
    }

    /// The days on which the daemon was awake and found a job due, one that is due on such days at an hour before seven: days
    /// that went by since the last one are caught up in one run.
    fn found_due(&self, is_due: impl Fn(DateTime<Utc>) -> bool) -> Vec<DateTime<Utc>> {
        let days = |since: DateTime<Utc>, to: DateTime<Utc>| {
            (1..=(to - since).num_days()).map(move |day| since + TimeDelta::days(day))
        };
        let found = self.awake.windows(2).filter(|pair| days(pair[0], pair[1]).any(&is_due));
        found.map(|pair| pair[1]).collect()
    }

    /// How many runs a job has that is due on such days.
    pub fn runs(&self, is_due: impl Fn(DateTime<Utc>) -> bool) -> i64 {
        i64::try_from(self.found_due(is_due).len()).expect("a number of days")
    }

    /// How many runs a job has that is due each day.
    pub fn daily_runs(&self) -> i64 {
        self.runs(|_| true)
    }

    /// How many runs a job has that is due on Sundays.
    pub fn sunday_runs(&self) -> i64 {
        self.runs(is_sunday)
    }

    /// How many backups a job makes that is due on such days: all of them, or those that [`Walk::takes`] lets it make.
    pub fn backups(&self, is_due: impl Fn(DateTime<Utc>) -> bool) -> i64 {
        let months = if self.application.proves_each_month { 1 } else { 3 };
        let mut parts = BTreeSet::new();
        let made = self.found_due(is_due).into_iter().filter(|day| {
            let first = parts.insert((day.year(), day.month0() / months));
            self.makes_every_backup() || first || self.is_among_the_last(*day)
        });
        i64::try_from(made.count()).expect("a number of backups")
    }
}

pub fn each_day(_: DateTime<Utc>) -> bool {
    true
}

pub fn is_sunday(day: DateTime<Utc>) -> bool {
    day.weekday() == Weekday::Sun
}

pub fn is_no_sunday(day: DateTime<Utc>) -> bool {
    !is_sunday(day)
}

pub fn is_saturday(day: DateTime<Utc>) -> bool {
    day.weekday() == Weekday::Sat
}
