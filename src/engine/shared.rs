//! What outlives a reload of the config: which jobs run here, how far they have come, and how many may at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::Semaphore;

use super::metrics::Metrics;
use crate::clock::Clock;
use crate::config::Definition;
use crate::cron::Cron;
use crate::kinds::Reporter;
use crate::run::JobName;

/// What outlives a reload of the config.
#[derive(Debug, Default)]
pub struct Shared {
    pub metrics: Metrics,
    pub clock: Clock,
    running: Mutex<HashMap<JobName, DateTime<Utc>>>,
    /// Since when this process knows jobs, by the schedules that they are to run by.
    known: Mutex<HashMap<JobName, Known>>,
    /// The reports of the runs that are at work.
    reports: Mutex<HashMap<JobName, Reporter>>,
    /// Places for runs, by what they are places in and how many there are: what one config has let begin counts for the
    /// next one too.
    places: Mutex<HashMap<(String, usize), Arc<Semaphore>>>,
}

/// By which schedule a job is to run, if any, and since when.
#[derive(Debug)]
struct Known {
    schedule: Option<(Cron, Tz)>,
    since: DateTime<Utc>,
    /// Until then, this process knew the job by another, or as one without.
    changed: bool,
}

/// Since when a process has known that a job runs by its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownSince {
    pub at: DateTime<Utc>,
    /// Whether a reload has brought it the schedule: nothing from before is owed by that.
    pub changed: bool,
}

impl Shared {
    pub(super) fn places(&self, of: &str, at_once: usize) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry((of.to_owned(), at_once)).or_insert_with(|| Arc::new(Semaphore::new(at_once))))
    }

    /// Since when this process has known that the job runs by its schedule; nothing where it does not.
    pub fn known_since(&self, job: &Definition, now: DateTime<Utc>) -> Option<KnownSince> {
        let schedule = job.schedule.clone().filter(|_| job.enabled).map(|cron| (cron, job.timezone));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&job.name);
        if before.is_none_or(|before| before.schedule != schedule) {
            let anew = Known { schedule, since: now, changed: before.is_some() };
            known.insert(job.name.clone(), anew);
        }
        let known = known.get(&job.name).filter(|known| known.schedule.is_some())?;
        Some(KnownSince { at: known.since, changed: known.changed })
    }

    /// A reload takes the job out of the config, or brings it: until now it ran by no schedule here.
    pub fn unscheduled(&self, job: &JobName, now: DateTime<Utc>) {
        let none = Known { schedule: None, since: now, changed: false };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(job.clone(), none);
    }

    /// Puts a job on the list of what runs here, until what is given is dropped.
    ///
    /// # Errors
    /// It is there already: since when.
    pub(super) fn enter<'a>(&'a self, job: &'a JobName, at: DateTime<Utc>) -> Result<RunningHere<'a>, DateTime<Utc>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = running.get(job) {
            return Err(*since);
        }
        running.insert(job.clone(), at);
        drop(running);
        Ok(RunningHere(self, job))
    }

    /// What a run that is at work here says of itself.
    pub(super) fn hear(&self, job: &JobName, report: &Reporter) {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).insert(job.clone(), report.clone());
    }

    /// How far a run that is at work here has come, if it says.
    pub fn progress(&self, job: &JobName) -> Option<String> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.get(job)?.lock().progress.clone()
    }

    /// Which jobs run here now, and since when.
    pub fn running(&self) -> HashMap<JobName, DateTime<Utc>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes the job off the list of what runs here, whatever way the run ends.
pub(super) struct RunningHere<'a>(&'a Shared, &'a JobName);

impl Drop for RunningHere<'_> {
    fn drop(&mut self) {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
        self.0.reports.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
    }
}
