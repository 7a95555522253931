//! The long-running process: signals, beats, requests and finished runs come in; runs go out. All decisions are made in
//! one loop, so that there is no moment at which two of them disagree.

mod again;
mod board;
mod http;
mod notices;
mod notify;
mod observe;
mod page;
mod signals;
mod tell;
mod tending;
mod visit;
mod watch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use signals::{Signals, Wish};
pub use tell::STATUS;

use crate::config::{self, Config, Definition};
use crate::engine::schedule::{Due, Heartbeat, Rota};
use crate::engine::{Ending, Ring, Shared, labels};
use crate::pg::{TableName, explain};
use crate::run::{JobName, Outcome, RunRecord, Skip, Trigger};
use crate::testpoint;
use again::Followers;
use board::Board;
use http::{Wanted, Web};
use tending::Tending;
use watch::Sight;

/// Of `shutdown_timeout`, what is kept for runs that have to be made to end, and for writing that down.
const FOR_THE_END: Duration = Duration::from_secs(8);

/// What the loop hears besides beats and signals.
enum Event {
    Over(Box<(Ring, RunRecord)>),
    Again(Ring),
    /// Another try, of what went badly then.
    Try(Ring, DateTime<Utc>),
    /// All that this one comes after have succeeded.
    After(JobName),
}

struct Daemon {
    path: PathBuf,
    shared: Arc<Shared>,
    board: Arc<Board>,
    /// By the config as it was last read.
    tending: Tending,
    rota: Rota,
    runs: TaskTracker,
    ending: Ending,
    events: mpsc::UnboundedSender<Event>,
    sights: mpsc::Sender<Sight>,
    wanted: mpsc::Sender<Wanted>,
    followers: Followers,
    /// The status that systemd was told last.
    told: String,
}

/// Runs the daemon until a signal ends it. `signals` were caught before anything else.
///
/// # Errors
/// The config cannot be used, or the HTTP address cannot be had. Databases that are out of reach are waited for.
pub async fn run(path: PathBuf, config: Config, mut signals: Signals) -> Result<()> {
    let (events, mut heard) = mpsc::unbounded_channel();
    let (sights, mut seen) = mpsc::channel(64);
    let (wanted, mut wishes) = mpsc::channel(16);
    let shared = Arc::new(Shared::default());
    let board = Arc::new(Board::default());
    let mut heartbeat = Heartbeat::start().await?;
    let config = Arc::new(config);
    let mut daemon = Daemon {
        tending: Tending::new(&config, &shared)?,
        rota: Rota::new(&config.jobs, &HashMap::default(), shared.clock.host()),
        path,
        shared,
        board,
        runs: TaskTracker::new(),
        ending: Ending::default(),
        events,
        sights,
        wanted,
        followers: Followers::default(),
        told: String::new(),
    };
    let listener = daemon.bind(&config).await?;
    daemon.tend(listener);
    daemon.shared.metrics.reloaded(true);
    notify::ready();
    daemon.tell_systemd();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        jobs = config.jobs.len(),
        databases = config.databases.len(),
        "pgtend tends"
    );

    let mut watchdog = notify::Watchdog::new();
    loop {
        tokio::select! {
            () = heartbeat.beat() => {
                daemon.board.write().beaten = Some(Instant::now());
                testpoint::reach("daemon.beat").await;
                daemon.beat();
                daemon.tell_systemd();
                watchdog.beat();
            }
            wish = signals.next() => match wish {
                Wish::Stop => break,
                Wish::Reload => daemon.reload().await,
                Wish::RunAll => daemon.ring_where(|job| job.enabled, Trigger::Signal, "SIGUSR1"),
                Wish::Run(n) => daemon.ring_where(|job| job.signal == Some(n), Trigger::Signal, &format!("SIGRTMIN+{n}")),
                Wish::LogStatus => daemon.log_status(),
            },
            Some(event) = heard.recv() => daemon.hear(event),
            Some(sight) = seen.recv() => daemon.see(sight),
            Some(wanted) = wishes.recv() => daemon.want(wanted),
        }
    }
    // Whoever asks for a run over HTTP from here on is refused.
    drop(wishes);
    daemon.drain(signals, &mut heard, &mut seen).await;
    Ok(())
}

impl Daemon {
    fn config(&self) -> &Config {
        &self.tending.config
    }

    /// Takes the address before anything depends on having it.
    async fn bind(&self, config: &Config) -> Result<Option<TcpListener>> {
        let Some(http) = &config.http else { return Ok(None) };
        let listener = TcpListener::bind(http.listen).await;
        let listener = listener.with_context(|| {
            format!("listen on {}: give [http] another `listen`, or \"off\" if nothing is to be served", http.listen)
        })?;
        tracing::info!(address = %http.listen, "metrics and status are served");
        Ok(Some(listener))
    }

    /// Begins to tend by `self.tending`: its databases are watched, its jobs known, its address served.
    fn tend(&mut self, listener: Option<TcpListener>) {
        self.tending.begin(&self.board, &self.sights);
        for job in &self.config().jobs {
            self.shared.metrics.know(labels(job));
            let tables: Vec<_> = job.spec.tends().into_iter().map(TableName::plain).collect();
            self.shared.metrics.know_counters(labels(job), job.spec.counts(), &tables);
        }
        if let Some(listener) = listener {
            let web = Web {
                shared: Arc::clone(&self.shared),
                board: Arc::clone(&self.board),
                wanted: self.wanted.clone(),
                host: self.tending.engine.name(),
                seal: visit::Seal::new(),
            };
            self.tending.serve(http::serve(listener, web, CancellationToken::clone(&self.tending.serving)));
        }
        self.show_next();
    }

    /// The gauges and pages of when jobs run next.
    fn show_next(&self) {
        let next = self.rota.next_times();
        for job in &self.config().jobs {
            self.shared.metrics.next_run(labels(job), next.get(&job.name).copied());
        }
        self.board.write().next = next;
    }

    fn beat(&mut self) {
        let due = self.rota.tick(self.shared.clock.host());
        if due.is_empty() {
            return;
        }
        for Due { job, due_at, trigger } in due {
            if let Some(job) = self.job(&job) {
                self.start(Ring { job, trigger, due_at: Some(due_at), request: None, attempt: 1 });
            }
        }
        self.show_next();
    }

    fn job(&self, name: &JobName) -> Option<Arc<Definition>> {
        self.config().jobs.iter().find(|job| job.name == *name).cloned()
    }

    fn start(&self, ring: Ring) {
        let (engine, ending, events) = (Arc::clone(&self.tending.engine), self.ending.clone(), self.events.clone());
        self.runs.spawn(async move {
            let record = engine.run(&ring, &ending).await;
            let _ = events.send(Event::Over(Box::new((ring, record))));
        });
    }

    /// Starts every job that `which` names, for somebody who asked for it.
    fn ring_where(&self, which: impl Fn(&Definition) -> bool, trigger: Trigger, who: &str) {
        let jobs: Vec<_> = self.config().jobs.iter().filter(|job| which(job)).cloned().collect();
        if jobs.is_empty() {
            tracing::warn!("{who}: no job of this config is meant by it");
        }
        for job in &jobs {
            tracing::info!(job = %job.name, "{who}: runs now");
            self.start(Ring::by_hand(job, trigger));
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Over(over) => {
                let (ring, record) = *over;
                if record.skip() == Some(Skip::Reload) {
                    return self.hear(Event::Again(ring));
                }
                // Its end has set gauges of a job that may have left the config meanwhile.
                if self.job(&ring.job.name).is_none_or(|job| labels(&job) != labels(&ring.job)) {
                    self.shared.metrics.forget(labels(&ring.job));
                }
                self.tending.nudge(&ring.job);
                self.postpone(&ring, record.skip());
                if record.skip().is_none() {
                    self.make_up(&ring.job.name);
                }
                self.retry(&ring, &record);
                if record.outcome == Some(Outcome::Succeeded) {
                    self.follow(&ring.job.name);
                    self.tending.ping(&ring.job);
                }
                self.tell_systemd();
            }
            // The definition may have changed, or gone, since.
            Event::Again(ring) => {
                let by_name = ring.request.is_some() || matches!(ring.trigger, Trigger::Http | Trigger::Notify);
                if let Some(job) = self.job(&ring.job.name).filter(|job| job.enabled || by_name) {
                    self.start(Ring { job, ..ring });
                } else if let Some(id) = ring.request {
                    let engine = Arc::clone(&self.tending.engine);
                    self.runs.spawn(async move { engine.put_back(&ring.job.database, &[&id]).await });
                }
            }
            Event::Try(ring, ended) => self.try_again(ring, ended),
            Event::After(name) => {
                if let Some(job) = self.job(&name).filter(|job| job.enabled) {
                    self.start_after(&job);
                }
            }
        }
    }

    fn see(&mut self, sight: Sight) {
        match sight {
            Sight::Came { standings } => {
                // Whatever ran a job last, it saw all that was there to do until then.
                let last = standings.iter().filter_map(|(job, standing)| {
                    Some((job.clone(), standing.last_due_at.max(standing.last_started_at)?))
                });
                self.rota.recall(&last.collect(), self.shared.clock.host());
                self.beat();
                self.make_up_elsewhere(&standings);
                self.take_up(&standings);
            }
            Sight::Stand { standings } => {
                self.make_up_elsewhere(&standings);
                self.take_up(&standings);
            }
            Sight::Asked(mut taken) => {
                for request in taken.requests.extract_if(.., |request| self.job(&request.job).is_some()) {
                    if let Some(job) = self.job(&request.job) {
                        self.start(Ring { request: Some(request.id), ..Ring::by_hand(&job, Trigger::Notify) });
                    }
                }
                // A reload has taken the job away since; another daemon may have it.
                if !taken.requests.is_empty() {
                    self.runs.spawn(taken.put_back());
                }
            }
        }
    }

    /// Somebody has asked for it, and it will not be run here.
    async fn put_back(&self, ring: &Ring) {
        if let Some(id) = &ring.request {
            self.tending.engine.put_back(&ring.job.database, &[id]).await;
        }
    }

    fn want(&self, wanted: Wanted) {
        let jobs = self.config().instances(&wanted.job);
        let answer = if jobs.is_empty() {
            Err(format!("no job {:?} in the config", wanted.job))
        } else {
            for job in &jobs {
                self.start(Ring::by_hand(job, Trigger::Http));
            }
            Ok(jobs.iter().map(|job| job.name.clone()).collect())
        };
        let _ = wanted.answer.send(answer);
    }

    /// Reads the config again; one that is not valid, or not to be had, is refused whole and the old one goes on.
    async fn reload(&mut self) {
        notify::reloading();
        match self.try_reload().await {
            Ok(()) => {
                self.shared.metrics.reloaded(true);
                tracing::info!(jobs = self.config().jobs.len(), "config reloaded");
            }
            Err(error) => {
                self.shared.metrics.reloaded(false);
                tracing::error!("the config was not reloaded, the old one goes on: {}", explain(&error));
            }
        }
        notify::ready();
    }

    async fn try_reload(&mut self) -> Result<()> {
        let config = Arc::new(config::load(&self.path)?);
        let moved = config.http.as_ref().map(|http| http.listen) != self.config().http.as_ref().map(|http| http.listen);
        // What can fail comes first.
        let listener = if moved { self.bind(&config).await? } else { None };
        let next = Tending::new(&config, &self.shared)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let old = self.tending.replace(next, moved);
        if config.jobs.is_empty() && !old.jobs.is_empty() {
            // Their gauges go with them, and so do the alerts on these.
            tracing::warn!(before = old.jobs.len(), "the new config has no job: all there were are gone");
        }
        for job in old.jobs.iter().filter(|job| !config.jobs.iter().any(|new| labels(new) == labels(job))) {
            self.shared.metrics.forget(labels(job));
        }
        for gone in old.databases.keys().filter(|name| !config.databases.contains_key(*name)) {
            self.shared.metrics.forget_database(gone);
        }
        let now = self.shared.clock.host();
        let is_among = |jobs: &[Arc<Definition>], name: &JobName| jobs.iter().any(|job| job.name == *name);
        let gone = old.jobs.iter().filter(|job| !is_among(&config.jobs, &job.name));
        for job in gone.chain(config.jobs.iter().filter(|job| !is_among(&old.jobs, &job.name))) {
            self.shared.unscheduled(&job.name, now);
        }
        self.rota.replace(&config.jobs, now);
        self.tend(listener);
        Ok(())
    }

    /// Lets every run come to its next safe point, then makes it.
    async fn drain(
        mut self,
        mut signals: Signals,
        heard: &mut mpsc::UnboundedReceiver<Event>,
        seen: &mut mpsc::Receiver<Sight>,
    ) {
        notify::stopping();
        // The loop has ended as it should.
        self.board.write().beaten = None;
        let limit = self.config().shutdown_timeout;
        tracing::info!(running = self.shared.running().len(), "stopping, within {}", crate::period::human(limit));
        self.ending.soft.cancel();
        // No request is taken from here on, and those that were are put back as they come to their turn.
        seen.close();
        while let Some(sight) = seen.recv().await {
            if matches!(sight, Sight::Asked(_)) {
                self.see(sight);
            }
        }
        self.runs.close();
        let gently = limit.saturating_sub(FOR_THE_END.min(limit / 2));
        let hard = self.ending.hard.clone();
        let drained = async {
            if tokio::time::timeout(gently, self.runs.wait()).await.is_err() {
                tracing::warn!("runs that came to no safe point in time are cancelled");
                hard.cancel();
                self.runs.wait().await;
            }
        };
        let end = async {
            tokio::select! {
                drained = tokio::time::timeout(limit, drained) => {
                    if drained.is_err() {
                        tracing::error!("some runs did not end in time; the next daemon closes their records");
                    }
                }
                wish = async { loop { if signals.next().await == Wish::Stop { break } } } => {
                    let () = wish;
                    tracing::warn!("a second signal: ending at once");
                    std::process::exit(1);
                }
            }
        };
        end.await;
        while let Ok(event) = heard.try_recv() {
            match event {
                // Whoever waits for the ping of a run that came to a good end in time must not be alarmed by our going.
                Event::Over(over) if over.1.outcome == Some(Outcome::Succeeded) => self.tending.ping(&over.0.job),
                // A reload was to have it rung anew.
                Event::Over(over) if over.1.skip() == Some(Skip::Reload) => self.put_back(&over.0).await,
                Event::Again(ring) => self.put_back(&ring).await,
                _ => {}
            }
        }
        self.tending.end().await;
        tracing::info!("stopped");
    }
}
