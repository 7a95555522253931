//! Everything that belongs to one reading of the config, and ends with it: the engine, the watchers, the HTTP server.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::{Board, Reach};
use super::notices::{Notices, Sender};
use super::observe::Observer;
use super::watch::{Nudge, Sight, Watcher};
use crate::config::{Config, Definition};
use crate::engine::{Engine, Shared};
use crate::run::JobName;

/// With more databases than this none is listened to: each is looked at every few seconds instead.
const LISTENED_TO: usize = 50;
/// How many databases are looked at in the same moment.
const LOOKS_AT_ONCE: usize = 4;

pub struct Tending {
    pub config: Arc<Config>,
    pub engine: Arc<Engine>,
    /// Ends the HTTP server; it outlives a reload that leaves its address alone.
    pub serving: CancellationToken,
    server: TaskTracker,
    watchers: TaskTracker,
    watching: CancellationToken,
    nudges: HashMap<String, Arc<Nudge>>,
    notices: Arc<Notices>,
}

impl Tending {
    /// # Errors
    /// A connection pool cannot be made, or TLS cannot be set up.
    pub fn new(config: &Arc<Config>, shared: &Arc<Shared>) -> Result<Self> {
        let targets = config.notify.clone();
        Ok(Self {
            notices: Arc::new(Notices::new(targets, Sender::new()?, Arc::clone(shared))),
            engine: Arc::new(Engine::new(config, Arc::clone(shared))?),
            config: Arc::clone(config),
            serving: CancellationToken::new(),
            server: TaskTracker::new(),
            watchers: TaskTracker::new(),
            watching: CancellationToken::new(),
            nudges: HashMap::new(),
        })
    }

    /// Puts what the config says on the board, and watches its databases.
    pub fn begin(&mut self, board: &Arc<Board>, sights: &mpsc::Sender<Sight>) {
        {
            let mut facts = board.write();
            facts.jobs.clone_from(&self.config.jobs);
            facts.token = self.config.http.as_ref().and_then(|http| http.token.clone());
            let known = |name: &JobName| self.config.jobs.iter().any(|job| job.name == *name);
            facts.standings.retain(|name, _| known(name));
            facts.pasts.retain(|name, _| known(name));
            facts.observed.retain(|name, _| known(name));
            let reach = |name: &String| (name.clone(), facts.databases.get(name).cloned().unwrap_or_default());
            let databases: std::collections::BTreeMap<String, Reach> =
                self.config.databases.keys().map(reach).collect();
            facts.databases = databases;
        }
        let many = || Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        let observed_at_once = (self.config.databases.len() > LISTENED_TO).then(many);
        let polling = (self.config.databases.len() > LISTENED_TO).then(many);
        for name in self.config.databases.keys() {
            let nudge = Arc::new(Nudge::default());
            self.nudges.insert(name.clone(), Arc::clone(&nudge));
            let jobs: Vec<_> = self.config.jobs.iter().filter(|job| job.database == *name).cloned().collect();
            let observing = Arc::new(Notify::new());
            let observer = Observer {
                jobs: jobs.clone(),
                engine: Arc::clone(&self.engine),
                board: Arc::clone(board),
                wanted: Arc::clone(&observing),
                places: observed_at_once.clone(),
            };
            let ending = self.watching.clone();
            self.watchers.spawn(async move {
                Box::pin(ending.run_until_cancelled(observer.observe())).await;
            });
            let watcher = Watcher {
                database: name.clone(),
                jobs,
                engine: Arc::clone(&self.engine),
                board: Arc::clone(board),
                sights: sights.clone(),
                history_keep: self.config.history_keep,
                polling: polling.clone(),
                nudge,
                observing,
                notices: Arc::clone(&self.notices),
                ending: self.watching.clone(),
                taking: Arc::default(),
                refused: AtomicBool::default(),
            };
            self.watchers.spawn(watcher.watch());
        }
        let (engine, ending) = (Arc::clone(&self.engine), self.watching.clone());
        self.watchers.spawn(async move {
            while tokio::time::timeout(Duration::from_secs(30), ending.cancelled()).await.is_err() {
                engine.close_idle_connections();
            }
        });
    }

    pub fn serve(&self, server: impl Future<Output = ()> + Send + 'static) {
        self.server.spawn(server);
    }

    /// A job has succeeded: whoever waits for that hears of it.
    pub fn ping(&self, job: &Definition) {
        self.notices.ping(job);
    }

    /// A run has ended: what is known of its database is old.
    pub fn nudge(&self, job: &Definition) {
        if let Some(nudge) = self.nudges.get(&job.database) {
            nudge.ended(job);
        }
    }

    /// Puts `next` in the place of this one, and gives the config that it was. Watching by the old config ends; runs that
    /// began by it go on to their end. The HTTP server ends only where `moved`.
    pub fn replace(&mut self, next: Self, moved: bool) -> Arc<Config> {
        let old = std::mem::replace(self, next);
        old.watching.cancel();
        old.engine.retired.cancel();
        if moved {
            old.serving.cancel();
        } else {
            self.serving = old.serving;
            self.server = old.server;
        }
        old.config
    }

    pub async fn end(&mut self) {
        self.watching.cancel();
        self.serving.cancel();
        self.watchers.close();
        self.server.close();
        // A client that keeps its connection open must not keep the daemon.
        let all = async { tokio::join!(self.watchers.wait(), self.server.wait()) };
        let all = tokio::time::timeout(Duration::from_secs(1), all);
        // Nor must somebody who does not answer; but who does, hears.
        let told = tokio::time::timeout(Duration::from_secs(3), self.notices.end());
        let _ = tokio::join!(all, told);
    }
}
