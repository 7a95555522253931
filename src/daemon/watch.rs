//! One watcher a database: keeps it in sight, has the gauges read each minute, takes the runs that were asked for, and keeps
//! its history short. It works for the daemon, not for any run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::board::{Board, Reach};
use super::notices::Notices;
use crate::config::Definition;
use crate::cron::stable_fraction;
use crate::engine::history::{self, Standing};
use crate::engine::request::{self, Request};
use crate::engine::status::success_due;
use crate::engine::{Engine, JobStatus, labels};
use crate::kinds::Observes;
use crate::period::Period;
use crate::pg::ours::Stranger;
use crate::pg::{Limits, Link, explain};
use crate::run::JobName;
use crate::testpoint;

/// How often the gauges are read.
const MINUTE: Duration = Duration::from_secs(60);
/// How often a database is looked at that nobody listens to; well within the 10 s that `trigger` waits.
const LOOK: Duration = Duration::from_secs(4);
/// How long a look may take before the server counts as gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks for requests that notifications ask for.
const REST: Duration = Duration::from_millis(20);
/// The first and the longest wait between tries to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What a watcher tells the daemon's loop.
#[derive(Debug)]
pub enum Sight {
    /// The database has come, or come back: what was missed may be caught up.
    Came {
        standings: HashMap<JobName, Standing>,
    },
    /// How jobs stand, now and then: what another daemon has begun and not ended may be taken up.
    Stand {
        standings: HashMap<JobName, Standing>,
    },
    Asked(Taken),
}

/// Requests that were taken: they are run, or put back for other daemons.
#[derive(Debug)]
pub struct Taken {
    pub requests: Vec<Request>,
    pub database: String,
    /// Of the config by which they were taken, in which their database is.
    pub engine: Arc<Engine>,
}

impl Taken {
    /// Nobody here will run them.
    pub async fn put_back(self) {
        let ids: Vec<&str> = self.requests.iter().map(|request| request.id.as_str()).collect();
        self.engine.put_back(&self.database, &ids).await;
    }
}

/// What a watcher needs.
pub struct Watcher {
    pub database: String,
    pub jobs: Vec<Arc<Definition>>,
    pub engine: Arc<Engine>,
    pub board: Arc<Board>,
    pub sights: mpsc::Sender<Sight>,
    pub history_keep: Period,
    /// For a daemon of many databases: looks now and then, at most so many at once, instead of listening in each.
    pub polling: Option<Arc<Semaphore>>,
    pub nudge: Arc<Nudge>,
    /// Has the gauges of the catalog read.
    pub observing: Arc<Notify>,
    pub notices: Arc<Notices>,
    pub ending: CancellationToken,
    /// Held from when requests are taken until somebody has them: in between the watching does not end.
    pub taking: Arc<Mutex<()>>,
    /// The log knows that the history is kept from us.
    pub refused: AtomicBool,
}

/// Tells a watcher that a run of its database has ended here.
#[derive(Default)]
pub struct Nudge {
    wake: Notify,
    /// What its kind sees in the catalog may have changed by it.
    changed: AtomicBool,
}

impl Nudge {
    pub fn ended(&self, job: &Definition) {
        self.changed.fetch_or(job.spec.observes() != Observes::Nothing, Ordering::Relaxed);
        self.wake.notify_one();
    }
}

/// When the history was last made shorter, over however many connections.
type Pruned = Option<Instant>;

impl Watcher {
    /// Watches until told to end.
    pub async fn watch(mut self) {
        let (ending, taking) = (self.ending.clone(), Arc::clone(&self.taking));
        let ended = async {
            ending.cancelled().await;
            taking.lock_owned().await
        };
        tokio::select! {
            _none_taken = ended => {}
            () = self.watch_on() => {}
        }
    }

    async fn watch_on(&mut self) {
        let mut wait = BACKOFF.0;
        let mut told = false;
        let mut pruned = None;
        loop {
            let began = Instant::now();
            if let Err(error) = self.watch_once(&mut told, &mut pruned).await {
                let error = explain(&error);
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(database = %self.database, "out of reach, trying again until it comes back: {error}");
                }
                self.reach(Reach { up: false, standby: false, error: Some(error) });
            }
            if began.elapsed() > MINUTE {
                wait = BACKOFF.0;
            }
            // Daemons that lost the same server do not all come back in the same moment.
            tokio::time::sleep(wait.mul_f64(0.75 + stable_fraction(&self.engine.name()) / 2.0)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    fn reach(&self, reach: Reach) {
        let up = reach.up;
        self.board.write().databases.insert(self.database.clone(), reach);
        // The page first: whoever sees the metric move may look there.
        self.engine.shared.metrics.up(&self.database, up);
    }

    /// One connection, from its beginning to its end. `told`: whether the log knows that the database is out of reach.
    async fn watch_once(&self, told: &mut bool, pruned: &mut Pruned) -> Result<()> {
        let (mut link, standby) = self.connect().await?;
        // Before anybody is told that the database is there: who hears so may at once ask for a run by way of it.
        let ensured = if standby { Ok(()) } else { history::ensure(&link.client).await };
        if std::mem::replace(told, false) {
            tracing::info!(database = %self.database, "within reach again");
        }
        self.reach(Reach { up: true, standby, error: None });
        if let Err(error) = ensured {
            self.engine.shared.metrics.history_write_failed();
            tracing::error!(database = %self.database, "runs go unrecorded, and no trigger reaches this database: {}", explain(&error));
            self.refused.store(true, Ordering::Relaxed);
        }
        if !standby {
            self.close_dead(&link).await?;
        }
        let standings = self.standings(&link, standby).await?;
        self.observing.notify_one();
        self.tell(Sight::Came { standings }).await;
        if !standby {
            self.prune(&link, pruned).await?;
        }
        match &self.polling {
            Some(places) => {
                drop(link);
                self.look_now_and_then(places, standby, pruned).await
            }
            None => self.listen(&mut link, standby, pruned).await,
        }
    }

    async fn connect(&self) -> Result<(Link, bool)> {
        let limits = Limits::new(PATIENCE, Duration::from_secs(2));
        let (link, facts) = self.engine.database(&self.database)?.connect("pgtend", limits).await?;
        Ok((link, facts.is_standby))
    }

    /// What nobody hears because the daemon is ending is of no use to anybody.
    async fn tell(&self, sight: Sight) {
        let _ = self.sights.send(sight).await;
    }

    /// Listens on one connection, for as long as it lives.
    async fn listen(&self, link: &mut Link, standby: bool, pruned: &mut Pruned) -> Result<()> {
        // A standby takes no LISTEN; nor are there requests on it.
        if !standby {
            link.client.batch_execute(&format!("LISTEN {}", request::CHANNEL)).await.context("listen for triggers")?;
            self.take(link).await?;
        }
        let mut minute = self.each_minute();
        // A standby tells nobody that it is promoted, and triggers are waited for no longer than 10 s.
        let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = link.heard.recv() => match heard {
                    // Whoever may connect may notify, as often as they like.
                    Some(()) => {
                        timeout(PATIENCE, self.take(link)).await.context("no answer from the server")??;
                        tokio::time::sleep(REST).await;
                    }
                    None => bail!("the connection to database {} has ended", self.database),
                },
                () = self.nudge.wake.notified() => {
                    timeout(testpoint::patience(PATIENCE), self.news(link, standby)).await.context("no answer from the server")??;
                }
                _ = look.tick() => {
                    if standby {
                        timeout(PATIENCE, self.unchanged(link, standby)).await.context("no answer from the server")??;
                    }
                    // Not after each run of a job that runs each second.
                    if self.nudge.changed.swap(false, Ordering::Relaxed) {
                        self.observing.notify_one();
                    }
                }
                _ = minute.tick() => {
                    timeout(testpoint::patience(PATIENCE), self.minute(link, standby, pruned)).await.context("no answer from the server")??;
                }
            }
        }
    }

    /// Looks every few seconds over a connection made for it.
    async fn look_now_and_then(&self, places: &Semaphore, standby: bool, pruned: &mut Pruned) -> Result<()> {
        let mut minute = self.each_minute();
        let mut look = tokio::time::interval_at(Instant::now() + LOOK.mul_f64(stable_fraction(&self.database)), LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let gauges = tokio::select! {
                _ = look.tick() => false,
                _ = minute.tick() => true,
                () = self.nudge.wake.notified() => true,
            };
            let _place = places.acquire().await;
            let looked = async {
                let (link, is_standby) = self.connect().await?;
                if is_standby != standby {
                    bail!("database {} has changed between primary and standby", self.database);
                }
                if gauges {
                    self.minute(&link, standby, pruned).await
                } else if standby {
                    Ok(())
                } else {
                    self.take(&link).await
                }
            };
            timeout(testpoint::patience(PATIENCE), looked).await.context("no answer from the server")??;
        }
    }

    /// A tick a minute, at another second for each database.
    fn each_minute(&self) -> tokio::time::Interval {
        let every = testpoint::patience(MINUTE);
        let first = every.mul_f64(stable_fraction(&self.database).max(0.1));
        let mut minute = tokio::time::interval_at(Instant::now() + first, every);
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        minute
    }

    /// # Errors
    /// A standby was promoted, which is the end of watching it as one.
    async fn unchanged(&self, link: &Link, standby: bool) -> Result<()> {
        let recovering: bool = link.client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await?.get(0);
        if recovering != standby {
            bail!("database {} has changed between primary and standby", self.database);
        }
        Ok(())
    }

    async fn minute(&self, link: &Link, standby: bool, pruned: &mut Pruned) -> Result<()> {
        self.unchanged(link, standby).await?;
        self.news(link, standby).await?;
        self.observing.notify_one();
        if standby {
            return Ok(());
        }
        // Notifications are not lost while a session lives, but one that was sent before it listened is.
        self.take(link).await?;
        self.close_dead(link).await?;
        self.prune(link, pruned).await
    }

    /// Shortens the history: once an hour, or each minute as long as there is more to forget than one go takes.
    async fn prune(&self, link: &Link, pruned: &mut Pruned) -> Result<()> {
        if pruned.is_some_and(|at| at.elapsed() < 60 * MINUTE) {
            return Ok(());
        }
        *pruned = Some(Instant::now());
        let now = self.engine.shared.clock.earlier(&link.client).await?;
        let Some(before) = self.history_keep.before(now, chrono_tz::UTC) else { return Ok(()) };
        let asked = async {
            if !history::exists(&link.client).await? {
                return Ok((0, false));
            }
            history::prune(&link.client, before).await
        };
        let (gone, more) = self.unless_refused(asked.await)?;
        if more {
            *pruned = None;
        }
        if gone > 0 {
            tracing::info!(database = %self.database, rows = gone, "old history pruned");
        }
        Ok(())
    }

    /// Nothing, where the server is there but keeps the history from us: a database that can be reached is not called out
    /// of reach, and its jobs run.
    fn unless_refused<T: Default>(&self, asked: Result<T>) -> Result<T> {
        let Err(error) = asked else { return asked };
        // Class 42: a missing privilege, or tables that are not as we made them.
        let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
        if !code.is_some_and(|code| code.code().starts_with("42")) && !error.is::<Stranger>() {
            return Err(error);
        }
        if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::error!(
                database = %self.database,
                "the history can be neither kept nor read, and no trigger reaches this database; give schema pgtend and \
                 what is in it to the role that pgtend connects as: {error:#}"
            );
        }
        Ok(T::default())
    }

    fn names(&self) -> Vec<&JobName> {
        self.jobs.iter().map(|job| &job.name).collect()
    }

    /// How the jobs stand now, for the gauges and for whoever is to be told. On a standby nobody is: its primary's daemons do.
    async fn news(&self, link: &Link, standby: bool) -> Result<()> {
        let standings = self.standings(link, standby).await?;
        if !standby {
            let now = self.engine.shared.clock.host();
            let jobs = JobStatus::all(self.jobs.iter().map(AsRef::as_ref), &standings, now);
            self.notices.consider(&self.engine, &self.database, link, jobs).await;
            self.tell(Sight::Stand { standings }).await;
        }
        Ok(())
    }

    /// Reads the gauges of all the database's jobs, whoever ran them.
    async fn standings(&self, link: &Link, standby: bool) -> Result<HashMap<JobName, Standing>> {
        let asked = async {
            if !history::exists(&link.client).await? {
                // Nothing has ever run, which is known; on a standby nothing is.
                let none = |job: &Arc<Definition>| (job.name.clone(), Standing { known: true, ..Standing::default() });
                let standings = self.jobs.iter().filter(|_| !standby).map(none).collect();
                return Ok((standings, HashMap::new()));
            }
            let names = self.names();
            Ok((history::standings(&link.client, &names).await?, history::pasts(&link.client, &names).await?))
        };
        let (mut standings, pasts) = self.unless_refused(asked.await)?;
        let (metrics, now) = (&self.engine.shared.metrics, self.engine.shared.clock.host());
        for job in &self.jobs {
            if let Some(standing) = standings.get(&job.name) {
                metrics.standing(labels(job), standing);
            }
            let standing = standings.entry(job.name.clone()).or_default();
            // What runs on a standby leaves no history there.
            standing.known_since = self.engine.shared.known_since(job, now).filter(|_| !standby);
            metrics.success_due(labels(job), success_due(job, standing, now));
        }
        let mut board = self.board.write();
        board.standings.extend(standings.clone());
        board.pasts.extend(pasts);
        drop(board);
        Ok(standings)
    }

    /// Takes what was asked for and hands it to the daemon's loop. An ending daemon, which has none, leaves it to others.
    async fn take(&self, link: &Link) -> Result<()> {
        let _until_handed_on = self.taking.lock().await;
        if self.sights.is_closed() {
            return Ok(());
        }
        let asked = async {
            if !history::exists(&link.client).await? {
                return Ok(Vec::new());
            }
            request::take(&link.client, &self.names(), &self.engine.name()).await
        };
        let requests = self.unless_refused(asked.await)?;
        if !requests.is_empty() {
            testpoint::reach("daemon.taken").await;
            let taken = Taken { requests, database: self.database.clone(), engine: Arc::clone(&self.engine) };
            if let Err(SendError(Sight::Asked(taken))) = self.sights.send(Sight::Asked(taken)).await {
                taken.put_back().await;
            }
        }
        Ok(())
    }

    async fn close_dead(&self, link: &Link) -> Result<()> {
        let now = self.engine.shared.clock.host();
        let asked = async {
            if !history::exists(&link.client).await? {
                return Ok(Vec::new());
            }
            history::close_dead(&link.client, &self.names(), now).await
        };
        for (id, job) in self.unless_refused(asked.await)? {
            tracing::warn!(%job, run = %id, database = %self.database, "closed a run whose daemon had died");
        }
        Ok(())
    }
}
