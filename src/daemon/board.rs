//! What the daemon knows at this moment, for those who ask without touching a database: the status page, `/readyz`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::Definition;
use crate::engine::JobStatus;
use crate::engine::history::{Past, Standing};
use crate::run::{JobName, Observed};

/// Shared by the daemon's loop, its watchers and its HTTP server.
#[derive(Debug, Default)]
pub struct Board(RwLock<Facts>);

#[derive(Debug, Default)]
pub struct Facts {
    pub jobs: Vec<Arc<Definition>>,
    pub databases: BTreeMap<String, Reach>,
    pub standings: HashMap<JobName, Standing>,
    /// The last runs of each job, oldest first.
    pub pasts: HashMap<JobName, Vec<Past>>,
    /// What each job's kind saw when it last looked.
    pub observed: HashMap<JobName, Observed>,
    /// Jitter included.
    pub next: HashMap<JobName, DateTime<Utc>>,
    /// When the daemon's loop last beat; nothing before it has begun, and while the daemon is ending.
    pub beaten: Option<Instant>,
    /// Without it nothing can be triggered over HTTP.
    pub token: Option<secrecy::SecretString>,
}

/// Whether a database can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    pub up: bool,
    pub standby: bool,
    /// Why not.
    pub error: Option<String>,
}

impl Default for Reach {
    fn default() -> Self {
        Self { up: false, standby: false, error: Some("not tried yet".into()) }
    }
}

impl Board {
    pub fn read(&self) -> RwLockReadGuard<'_, Facts> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Facts> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, with what runs here this moment and the next times of the rota.
    pub fn jobs(
        &self,
        running_here: &HashMap<JobName, DateTime<Utc>>,
        host: &str,
        now: DateTime<Utc>,
    ) -> Vec<JobStatus> {
        let facts = self.read();
        let mut all = JobStatus::all(facts.jobs.iter().map(AsRef::as_ref), &facts.standings, now);
        for job in &mut all {
            if let Some(since) = running_here.get(&job.job) {
                (job.running_since, job.running_on) = (Some(*since), Some(host.into()));
            }
            if let Some(next) = facts.next.get(&job.job) {
                job.next_run_at = Some(*next);
            }
        }
        all
    }
}
