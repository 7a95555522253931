//! What outlives a reload of the config: which jobs run here, how far they have come, and how many may at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
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
    known: Mutex<HashMap<JobName, (Cron, DateTime<Utc>)>>,
    /// The reports of the runs that are at work.
    reports: Mutex<HashMap<JobName, Reporter>>,
    /// Places for runs, by what they are places in and how many there are: what one config has let begin counts for the
    /// next one too.
    places: Mutex<HashMap<(String, usize), Arc<Semaphore>>>,
}

impl Shared {
    pub(super) fn places(&self, of: &str, at_once: usize) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry((of.to_owned(), at_once)).or_insert_with(|| Arc::new(Semaphore::new(at_once))))
    }

    /// Since when this process has known that the job runs by its schedule; nothing where it does not.
    pub fn known_since(&self, job: &Definition, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(schedule) = job.schedule.as_ref().filter(|_| job.enabled) else {
            known.remove(&job.name);
            return None;
        };
        match known.get(&job.name) {
            Some((before, since)) if before == schedule => Some(*since),
            _ => {
                known.insert(job.name.clone(), (schedule.clone(), now));
                Some(now)
            }
        }
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
