//! Reads the gauges of the catalog, beside the watcher: what a slow look costs nobody else has to wait for, and that it fails
//! does not mean that the database is out of reach.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::board::Board;
use crate::config::Definition;
use crate::engine::{Engine, labels};
use crate::kinds::Observes;
use crate::pg::explain;
use crate::run::Observed;

/// How long the look of one job may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks for the jobs of one database, over connections that no run has to wait for, one job after the other.
pub struct Observer {
    pub jobs: Vec<Arc<Definition>>,
    pub engine: Arc<Engine>,
    pub board: Arc<Board>,
    /// Somebody wants to know how things are; what is asked for during a look is one look more.
    pub wanted: Arc<Notify>,
    /// For a daemon of many databases: so many of them are looked at in the same moment.
    pub places: Option<Arc<Semaphore>>,
}

impl Observer {
    /// Looks whenever it is wanted, for ever.
    pub async fn observe(self) {
        loop {
            self.wanted.notified().await;
            let _place = match &self.places {
                Some(places) => places.acquire().await.ok(),
                None => None,
            };
            for job in &self.jobs {
                match job.spec.observes() {
                    Observes::Nothing => {}
                    Observes::WhileEnabled if !job.enabled => self.see(job, Observed::default()),
                    Observes::WhileEnabled | Observes::Always => self.look(job).await,
                }
            }
        }
    }

    /// One that cannot be read keeps its last value and spoils no other.
    async fn look(&self, job: &Definition) {
        let observed = async { job.spec.observe(&self.engine.observing(job).await?).await };
        match timeout(PATIENCE, observed).await {
            Ok(Ok(observed)) => self.see(job, observed),
            Ok(Err(error)) => tracing::warn!(job = %job.name, "its gauges could not be read: {}", explain(&error)),
            Err(_) => tracing::warn!(job = %job.name, "its gauges could not be read in {} s", PATIENCE.as_secs()),
        }
    }

    fn see(&self, job: &Definition, observed: Observed) {
        self.engine.shared.metrics.observed(labels(job), &observed.gauges);
        self.board.write().observed.insert(job.name.clone(), observed);
    }
}
