//! Tells people by webhooks: when a job begins to go badly, when no daemon has begun it in time, and when it goes well again.
//!
//! Told is what has changed since it was told last. That stands in `pgtend.notice`, so that one daemon of several tells it,
//! whichever ran the job, and a restart tells nothing anew. It is written after the telling: who could not be told is told
//! again a minute later.

mod send;
mod state;
mod told;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio_util::task::TaskTracker;

pub use send::Sender;
use state::Notice;

use crate::config::{Definition, NotifyConfig};
use crate::engine::{Engine, JobStatus, Shared};
use crate::pg::{Link, explain};
use crate::run::JobName;

/// Whom to tell, by one reading of the config.
pub struct Notices {
    targets: BTreeMap<String, NotifyConfig>,
    sender: Sender,
    shared: Arc<Shared>,
    /// What was told of jobs whose database has no place to write it down.
    here: Mutex<HashMap<JobName, String>>,
    /// Who has heard of what others could not be told yet, and is not told again with them.
    heard: Mutex<Heard>,
    tasks: TaskTracker,
}

/// Names of targets, by job and state.
type Heard = HashMap<(JobName, &'static str), HashSet<String>>;

impl Notices {
    pub fn new(targets: BTreeMap<String, NotifyConfig>, sender: Sender, shared: Arc<Shared>) -> Self {
        Self { targets, sender, shared, here: Mutex::default(), heard: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Tells what has changed about the jobs of a database. Comes back at once: telling takes as long as others take.
    pub async fn consider(self: &Arc<Self>, engine: &Arc<Engine>, database: &str, link: &Link, jobs: Vec<JobStatus>) {
        if self.targets.is_empty() {
            return;
        }
        let told = match told::all(&link.client).await {
            Ok(told) => told,
            Err(error) => return tracing::warn!(database, "what was told of jobs cannot be read: {}", explain(&error)),
        };
        let before = told.clone().unwrap_or_else(|| self.here().clone());
        let now = self.shared.clock.host();
        for job in jobs {
            let last = before.get(&job.job).map_or(state::WELL, String::as_str);
            if let Some(notice) = state::notice(&job, last, now) {
                let (notices, engine, database) = (Arc::clone(self), Arc::clone(engine), database.to_owned());
                let kept = told.is_some();
                self.tasks.spawn(async move {
                    let job = notice.job.clone();
                    if let Err(error) = notices.tell(&engine, &database, &notice, kept).await {
                        tracing::error!(%job, "somebody was not told of it, and will be in a minute: {}", explain(&error));
                    }
                });
            }
        }
    }

    /// Asks for a job's `ping`.
    pub fn ping(&self, job: &Definition) {
        let Some(address) = job.ping.clone() else { return };
        let (sender, shared, job) = (self.sender.clone(), Arc::clone(&self.shared), job.name.clone());
        self.tasks.spawn(async move {
            let answered = sender.ping(&address).await;
            shared.metrics.notified("ping", answered.is_ok());
            if let Err(error) = answered {
                tracing::error!(%job, "its ping was not answered: {}", explain(&error));
            }
        });
    }

    /// Waits for what is being told.
    pub async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Tells one thing, to all who want to hear it.
    ///
    /// # Errors
    /// Somebody could not be told, or the database could not be asked.
    async fn tell(&self, engine: &Engine, database: &str, notice: &Notice, kept: bool) -> Result<()> {
        if !kept {
            let state = notice.state.to_owned();
            let before = self.here().insert(notice.job.clone(), state.clone());
            if before.as_ref() == Some(&state) {
                return Ok(());
            }
            let sent = self.send(notice, &engine.name()).await;
            if sent.is_err() {
                self.here().insert(notice.job.clone(), before.unwrap_or_else(|| state::WELL.into()));
            }
            return sent;
        }
        let link = engine.database(database)?.connect("pgtend/notify").await?;
        let Some(claim) = told::claim(&link.client, notice).await? else { return Ok(()) };
        self.send(notice, &engine.name()).await?;
        claim.done().await
    }

    fn here(&self) -> MutexGuard<'_, HashMap<JobName, String>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, notice: &Notice, host: &str) -> Result<()> {
        let mut failed = None;
        let key = (notice.job.clone(), notice.state);
        for (name, target) in &self.targets {
            let wants =
                target.on.contains(&notice.event) && target.jobs.iter().any(|glob| glob.matches(notice.job.as_str()));
            if !wants || self.heard().get(&key).is_some_and(|heard| heard.contains(name)) {
                continue;
            }
            let sent = self.sender.post(target, &notice.body(target.format, host)).await;
            self.shared.metrics.notified(name, sent.is_ok());
            match sent {
                Ok(()) => {
                    tracing::info!(job = %notice.job, notify = name, event = notice.event.as_str(), "told");
                    self.heard().entry(key.clone()).or_default().insert(name.clone());
                }
                Err(error) => failed = Some(error.context(format!("tell {name}"))),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.heard().remove(&key);
        Ok(())
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
