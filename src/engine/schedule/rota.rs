//! Which job is due now: schedules, zones and times in; due jobs out. Asks no clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::times::Times;
use crate::config::{Definition, Window};
use crate::cron::{Cron, stable_fraction};
use crate::run::{JobName, Trigger};

/// Rung later than this after its time, a job is caught up, not on schedule.
const ON_TIME: TimeDelta = TimeDelta::seconds(60);

/// A clock set back by more than this was wrong before, and the times rung by it count for nothing.
const SET_RIGHT: TimeDelta = TimeDelta::days(1);

/// A job that is to run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub job: JobName,
    /// The scheduled time, before jitter: the same on every daemon.
    pub due_at: DateTime<Utc>,
    /// [`Trigger::Schedule`] or [`Trigger::CatchUp`].
    pub trigger: Trigger,
}

/// The jobs that have a schedule and are enabled, each with its next due time.
///
/// - However many times went by, a job rings once, for the newest of them.
/// - A time rung at most 60 s late is on schedule. Later, it is caught up; or passed over, where `catch_up = false`.
/// - No due time rings twice, even when the clock is set back (by up to a day; after that the history still guards it).
#[derive(Debug, Default)]
pub struct Rota {
    turns: BTreeMap<JobName, Turn>,
    /// The time of the last tick, to see the clock being set back.
    now: DateTime<Utc>,
}

/// What of a definition bears on when it runs.
#[derive(Debug, Clone)]
struct Alarm {
    cron: Cron,
    zone: Tz,
    /// The job's own share of its jitter.
    delay: TimeDelta,
    window: Option<Window>,
    catch_up: bool,
}

#[derive(Debug)]
struct Turn {
    alarm: Alarm,
    /// Times up to here are settled.
    settled: DateTime<Utc>,
    /// Whether `settled` is a due time that had its turn, and not just the moment we began to look.
    rung: bool,
    /// Since when the job is due by this schedule, where a reload gave it: nothing from before that moment is owed.
    since: Option<DateTime<Utc>>,
    /// The oldest due time not settled.
    next: Option<DateTime<Utc>>,
}

impl Rota {
    /// `last_due` is the last time each job was due, or else started, by its history. What went by since then rings at
    /// the first tick. A job without history waits for its next time.
    pub fn new(jobs: &[Arc<Definition>], last_due: &HashMap<JobName, DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        Self::with(alarms(jobs), last_due, now)
    }

    fn with(alarms: BTreeMap<JobName, Alarm>, last_due: &HashMap<JobName, DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let turns = alarms.into_iter().map(|(job, alarm)| (job, Turn::new(alarm, now, false)));
        let mut rota = Self { turns: turns.collect(), now };
        rota.recall(last_due, now);
        rota
    }

    /// Takes up the history of jobs whose database has come, or come back: those that have not rung yet begin where it
    /// ends, and a time that rang while the database was away, and so left no run, is owed again. A job that a reload has
    /// given another schedule, or switched on, owes nothing of the time before that.
    pub fn recall(&mut self, last_due: &HashMap<JobName, DateTime<Utc>>, now: DateTime<Utc>) {
        for (job, turn) in &mut self.turns {
            let Some(last) = last_due.get(job) else { continue };
            let (from, rung) = match turn.since {
                Some(since) if since > *last => (since, false),
                _ => (*last, true),
            };
            if !turn.rung || (turn.alarm.catch_up && from < turn.settled) {
                turn.settle(from, rung);
                // It may have been written by a clock that was ahead of this one.
                turn.clock_set_back(now);
            }
        }
    }

    /// What is due by `now`, each job at most once.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Vec<Due> {
        if now < self.now {
            self.turns.values_mut().for_each(|turn| turn.clock_set_back(now));
        }
        self.now = now;
        self.turns.iter_mut().filter_map(|(job, turn)| turn.tick(job, now)).collect()
    }

    /// When each job runs next, jitter included: a ring outside of its window is skipped.
    pub fn next_times(&self) -> HashMap<JobName, DateTime<Utc>> {
        let next = |(job, turn): (&JobName, &Turn)| Some((job.clone(), turn.runs_at()?));
        self.turns.iter().filter_map(next).collect()
    }

    /// Takes up a reloaded config. A job whose schedule and zone are as they were keeps what it still owes.
    pub fn replace(&mut self, jobs: &[Arc<Definition>], now: DateTime<Utc>) {
        self.replace_with(alarms(jobs), now);
    }

    fn replace_with(&mut self, alarms: BTreeMap<JobName, Alarm>, now: DateTime<Utc>) {
        let mut before = std::mem::take(&mut self.turns);
        let turns = alarms.into_iter().map(|(job, alarm)| {
            let turn = match before.remove(&job) {
                Some(old) if old.alarm.cron == alarm.cron && old.alarm.zone == alarm.zone => Turn { alarm, ..old },
                Some(old) if old.rung && old.settled > now => Turn::anew(alarm, old.settled, true),
                _ => Turn::anew(alarm, now, false),
            };
            (job, turn)
        });
        self.turns = turns.collect();
    }
}

impl Turn {
    fn new(alarm: Alarm, settled: DateTime<Utc>, rung: bool) -> Self {
        let next = alarm.cron.next_after(settled, alarm.zone);
        Self { alarm, settled, rung, since: None, next }
    }

    /// By a schedule that was not the job's until then.
    fn anew(alarm: Alarm, settled: DateTime<Utc>, rung: bool) -> Self {
        Self { since: Some(settled), ..Self::new(alarm, settled, rung) }
    }

    fn settle(&mut self, at: DateTime<Utc>, rung: bool) {
        self.settled = at;
        self.rung = rung;
        self.next = self.alarm.cron.next_after(at, self.alarm.zone);
    }

    fn ring_at(&self) -> Option<DateTime<Utc>> {
        Some(self.next? + self.alarm.delay)
    }

    /// The next ring that finds the window open.
    fn runs_at(&self) -> Option<DateTime<Utc>> {
        let Alarm { cron, zone, delay, window, .. } = &self.alarm;
        let times = Times { cron, zone: *zone, delay: *delay, window: *window };
        Some(times.next_after(self.settled)? + *delay)
    }

    fn tick(&mut self, job: &JobName, now: DateTime<Utc>) -> Option<Due> {
        if self.ring_at()? > now {
            return None;
        }
        let oldest = self.next?;
        let due_at = missed(&self.alarm.cron, self.alarm.zone, self.settled, now - self.alarm.delay)?;
        self.settle(due_at, true);
        let on_time = now - due_at - self.alarm.delay <= ON_TIME;
        match (on_time, self.alarm.catch_up) {
            (true, _) => Some(Due { job: job.clone(), due_at, trigger: Trigger::Schedule }),
            (false, true) => {
                tracing::info!(%job, %oldest, newest = %due_at, "due times went by; they are caught up in one run");
                Some(Due { job: job.clone(), due_at, trigger: Trigger::CatchUp })
            }
            (false, false) => {
                tracing::info!(%job, %oldest, newest = %due_at, "due times went by, and catch_up is false: none is made up for");
                None
            }
        }
    }

    /// A moment to come cannot be where we began to look; but a time that rang has rung.
    fn clock_set_back(&mut self, now: DateTime<Utc>) {
        let keep = self.settled <= now || (self.rung && self.settled - now <= SET_RIGHT);
        if !keep {
            self.settle(now, false);
            self.since = self.since.map(|since| since.min(now));
        }
    }
}

/// The newest due time in (`last`, `now`]: what there is to catch up.
pub fn missed(cron: &Cron, zone: Tz, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    cron.newest_in(last, now, zone)
}

/// How much later than its due times the job rings: its own share of its jitter.
pub fn delay(job: &Definition) -> TimeDelta {
    TimeDelta::from_std(job.jitter.mul_f64(stable_fraction(job.name.as_str()))).unwrap_or_default()
}

fn alarms(jobs: &[Arc<Definition>]) -> BTreeMap<JobName, Alarm> {
    let alarm = |job: &Arc<Definition>| {
        let cron = job.schedule.clone().filter(|_| job.enabled)?;
        let (zone, delay, window, catch_up) = (job.timezone, delay(job), job.window, job.catch_up);
        Some((job.name.clone(), Alarm { cron, zone, delay, window, catch_up }))
    };
    jobs.iter().filter_map(alarm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-07-{text}Z").parse().unwrap()
    }

    fn alarm(cron: &str) -> Alarm {
        let (zone, delay) = (Tz::UTC, TimeDelta::zero());
        Alarm { cron: cron.parse().unwrap(), zone, delay, window: None, catch_up: true }
    }

    fn one(alarm: Alarm) -> BTreeMap<JobName, Alarm> {
        BTreeMap::from([(JobName("job".into()), alarm)])
    }

    /// A rota of one job that last ran at `last`, if ever, as a daemon started at `now` has it.
    fn rota(alarm: Alarm, last: Option<&str>, now: &str) -> Rota {
        let last = last.map(|last| (JobName("job".into()), at(last)));
        Rota::with(one(alarm), &last.into_iter().collect(), at(now))
    }

    /// `DAY HH:MM:SS TRIGGER` of the ring at `now`.
    fn tick(rota: &mut Rota, now: &str) -> Option<String> {
        let mut due = rota.tick(at(now));
        assert!(due.len() <= 1);
        due.pop().map(|due| format!("{} {}", due.due_at.format("%dT%H:%M:%S"), due.trigger))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn a_job_rings_once_at_its_time() {
        let mut rota = rota(alarm("0 * * * *"), None, "01T09:30:00");
        assert_eq!(tick(&mut rota, "01T09:59:59"), None);
        assert_eq!(tick(&mut rota, "01T10:00:00.4"), some("01T10:00:00 schedule"));
        assert_eq!(tick(&mut rota, "01T10:00:01.4"), None);
        assert_eq!(tick(&mut rota, "01T11:00:00"), some("01T11:00:00 schedule"));
    }

    #[test]
    fn a_job_without_history_waits_for_its_next_time() {
        let mut rota = rota(alarm("@daily"), None, "01T00:00:01");
        assert_eq!(tick(&mut rota, "01T00:00:01"), None);
        assert_eq!(tick(&mut rota, "02T00:00:00"), some("02T00:00:00 schedule"));
    }

    #[test]
    fn what_a_stopped_daemon_missed_is_caught_up_once() {
        let mut rota = rota(alarm("0 * * * *"), Some("01T02:00:00"), "03T09:30:00");
        assert_eq!(tick(&mut rota, "03T09:30:00"), some("03T09:00:00 catch_up"));
        assert_eq!(tick(&mut rota, "03T09:30:01"), None);
        assert_eq!(tick(&mut rota, "03T10:00:00"), some("03T10:00:00 schedule"));
    }

    #[test]
    fn history_that_is_read_late_is_caught_up_and_so_is_a_ring_that_left_no_run() {
        let history = |last| HashMap::from([(JobName("job".into()), at(last))]);
        let mut rota = rota(alarm("0 * * * *"), None, "01T09:30:00");
        assert_eq!(tick(&mut rota, "01T09:31:00"), None);
        rota.recall(&history("01T02:00:00"), at("01T09:32:00"));
        assert_eq!(tick(&mut rota, "01T09:32:00"), some("01T09:00:00 catch_up"));
        rota.recall(&history("01T09:00:00"), at("01T09:33:00"));
        assert_eq!(tick(&mut rota, "01T09:33:00"), None);
        rota.recall(&history("01T02:00:00"), at("01T09:34:00"));
        assert_eq!(tick(&mut rota, "01T09:34:00"), some("01T09:00:00 catch_up"));
    }

    #[test]
    fn a_restart_right_after_a_due_time_that_ran_rings_nothing() {
        let mut rota = rota(alarm("0 * * * *"), Some("01T09:00:00"), "01T09:00:05");
        assert_eq!(tick(&mut rota, "01T09:00:05"), None);
    }

    #[test]
    fn waking_from_suspend_is_one_catch_up() {
        let mut rota = rota(alarm("*/10 * * * *"), None, "01T09:55:00");
        assert_eq!(tick(&mut rota, "01T10:00:00"), some("01T10:00:00 schedule"));
        assert_eq!(tick(&mut rota, "01T14:05:00"), some("01T14:00:00 catch_up"));
        assert_eq!(tick(&mut rota, "01T14:05:01"), None);
    }

    #[test]
    fn a_late_tick_within_a_minute_is_on_schedule() {
        let mut rota = rota(alarm("0 * * * *"), None, "01T09:30:00");
        assert_eq!(tick(&mut rota, "01T10:01:00"), some("01T10:00:00 schedule"));
        assert_eq!(tick(&mut rota, "01T11:01:01"), some("01T11:00:00 catch_up"));
    }

    #[test]
    fn without_catch_up_a_missed_time_is_passed_over() {
        let alarm = Alarm { catch_up: false, ..alarm("0 * * * *") };
        let mut rota = rota(alarm, Some("01T02:00:00"), "01T09:30:00");
        assert_eq!(tick(&mut rota, "01T09:30:00"), None);
        assert_eq!(tick(&mut rota, "01T10:00:30"), some("01T10:00:00 schedule"));
    }

    #[test]
    fn the_next_run_is_the_next_ring_within_the_window() {
        let window = Some("03:00-05:00".parse().unwrap());
        let mut rota = rota(Alarm { window, ..alarm("17 * * * *") }, None, "01T04:30:00");
        let next = |rota: &Rota| rota.next_times()[&JobName("job".into())];
        assert_eq!(next(&rota), at("02T03:17:00"));
        // It rings all the same, and the run says that it is skipped.
        assert_eq!(tick(&mut rota, "01T05:17:00"), some("01T05:17:00 schedule"));
        assert_eq!(next(&rota), at("02T03:17:00"));
        assert_eq!(tick(&mut rota, "02T03:17:00"), some("02T03:17:00 schedule"));
        assert_eq!(next(&rota), at("02T04:17:00"));
    }

    #[test]
    fn jitter_delays_the_ring_and_not_the_due_time() {
        let alarm = Alarm { delay: TimeDelta::minutes(20), ..alarm("0 * * * *") };
        // Started between the due time and its ring: that ring is still to come.
        let mut rota = rota(alarm, Some("01T09:00:00"), "01T10:10:00");
        assert_eq!(rota.next_times()[&JobName("job".into())], at("01T10:20:00"));
        assert_eq!(tick(&mut rota, "01T10:19:59"), None);
        assert_eq!(tick(&mut rota, "01T10:20:00"), some("01T10:00:00 schedule"));
        assert_eq!(tick(&mut rota, "01T11:00:00"), None);
        // 13:00 is over, its ring is not: the newest that is to ring by now is noon.
        assert_eq!(tick(&mut rota, "01T13:10:00"), some("01T12:00:00 catch_up"));
        assert_eq!(tick(&mut rota, "01T13:20:00"), some("01T13:00:00 schedule"));
    }

    #[test]
    fn a_clock_set_back_rings_no_time_twice() {
        let mut rota = rota(alarm("0 * * * *"), None, "01T09:30:00");
        assert_eq!(tick(&mut rota, "01T10:00:00"), some("01T10:00:00 schedule"));
        assert_eq!(tick(&mut rota, "01T09:15:00"), None);
        assert_eq!(tick(&mut rota, "01T10:00:00"), None);
        assert_eq!(tick(&mut rota, "01T11:00:00"), some("01T11:00:00 schedule"));
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_not_waited_for() {
        let mut rota = rota(alarm("0 * * * *"), None, "28T09:30:00");
        assert_eq!(tick(&mut rota, "28T10:00:00"), some("28T10:00:00 schedule"));
        assert_eq!(tick(&mut rota, "01T09:15:00"), None);
        assert_eq!(tick(&mut rota, "01T10:00:00"), some("01T10:00:00 schedule"));
        // Nor where the history is all that is left of it, or where nothing has rung yet.
        let mut restarted = self::rota(alarm("0 * * * *"), Some("28T10:00:00"), "01T09:15:00");
        assert_eq!(tick(&mut restarted, "01T10:00:00"), some("01T10:00:00 schedule"));
        let mut quiet = self::rota(alarm("0 * * * *"), None, "02T10:30:00");
        assert_eq!(tick(&mut quiet, "02T09:15:00"), None);
        assert_eq!(tick(&mut quiet, "02T10:00:00"), some("02T10:00:00 schedule"));
    }

    #[test]
    fn a_clock_slewed_back_a_little_loses_no_time_that_is_due() {
        let alarm = Alarm { delay: TimeDelta::minutes(20), ..alarm("0 * * * *") };
        let mut rota = rota(alarm, Some("01T09:00:00"), "01T10:10:00");
        assert_eq!(tick(&mut rota, "01T10:10:01"), None);
        assert_eq!(tick(&mut rota, "01T10:10:00.9"), None);
        assert_eq!(tick(&mut rota, "01T10:20:00"), some("01T10:00:00 schedule"));
    }

    #[test]
    fn a_reload_keeps_what_is_owed_and_takes_up_what_is_new() {
        let mut rota = rota(Alarm { delay: TimeDelta::minutes(20), ..alarm("0 * * * *") }, None, "01T09:30:00");
        rota.replace_with(one(Alarm { delay: TimeDelta::minutes(5), ..alarm("0 * * * *") }), at("01T10:02:00"));
        assert_eq!(tick(&mut rota, "01T10:05:00"), some("01T10:00:00 schedule"));
        rota.replace_with(one(alarm("30 * * * *")), at("01T10:31:00"));
        assert_eq!(tick(&mut rota, "01T10:31:00"), None);
        assert_eq!(tick(&mut rota, "01T11:30:00"), some("01T11:30:00 schedule"));
        rota.replace_with(BTreeMap::new(), at("01T11:40:00"));
        assert!(rota.next_times().is_empty());
        assert_eq!(tick(&mut rota, "01T12:30:00"), None);
    }

    #[test]
    fn a_job_that_a_reload_moves_or_switches_on_owes_nothing_of_the_time_before() {
        let ran = HashMap::from([(JobName("job".into()), at("01T03:00:00"))]);
        let mut moved = rota(alarm("0 3 * * *"), Some("01T03:00:00"), "01T11:00:00");
        moved.replace_with(one(alarm("0 5 * * *")), at("01T12:00:00"));
        moved.recall(&ran, at("01T12:00:00"));
        assert_eq!(tick(&mut moved, "01T12:00:01"), None);
        assert_eq!(moved.next_times()[&JobName("job".into())], at("02T05:00:00"));
        // What rings from then on without a run is owed as ever.
        assert_eq!(tick(&mut moved, "02T05:00:00"), some("02T05:00:00 schedule"));
        moved.recall(&ran, at("02T05:10:00"));
        assert_eq!(tick(&mut moved, "02T05:10:00"), some("02T05:00:00 catch_up"));
        // And a reload that changes nothing takes nothing back.
        moved.replace_with(one(alarm("0 5 * * *")), at("02T05:20:00"));
        moved.recall(&ran, at("02T05:20:00"));
        assert_eq!(tick(&mut moved, "02T05:20:00"), some("02T05:00:00 catch_up"));

        let mut off = rota(alarm("0 3 * * *"), Some("01T03:00:00"), "01T11:00:00");
        off.replace_with(BTreeMap::new(), at("01T12:00:00"));
        off.replace_with(one(alarm("0 3 * * *")), at("07T12:00:00"));
        off.recall(&ran, at("07T12:00:00"));
        assert_eq!(tick(&mut off, "07T12:00:01"), None);
        assert_eq!(tick(&mut off, "08T03:00:00"), some("08T03:00:00 schedule"));
    }

    #[test]
    fn a_job_that_waits_for_its_database_at_the_start_owes_what_went_by_whatever_else_is_reloaded() {
        let mut rota = rota(alarm("0 * * * *"), None, "01T09:30:00");
        rota.replace_with(one(alarm("0 * * * *")), at("01T09:31:00"));
        rota.recall(&HashMap::from([(JobName("job".into()), at("01T02:00:00"))]), at("01T09:32:00"));
        assert_eq!(tick(&mut rota, "01T09:32:00"), some("01T09:00:00 catch_up"));
    }

    #[test]
    fn a_year_of_missed_seconds_is_found_without_walking_them() {
        let cron = "* * * * * *".parse().unwrap();
        let last = at("01T00:00:00") - TimeDelta::days(365);
        assert_eq!(missed(&cron, Tz::UTC, last, at("01T00:00:00.7")), Some(at("01T00:00:00")));
        assert_eq!(missed(&cron, Tz::UTC, at("01T00:00:00"), at("01T00:00:00.7")), None);
        assert_eq!(missed(&cron, Tz::UTC, at("01T00:00:00"), at("01T00:00:02")), Some(at("01T00:00:02")));
    }
}
