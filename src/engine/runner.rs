//! From a ring to a record: the path that every run takes, in order.
//!
//! running here already? -> a place to run -> lock -> standby? -> in the history already? -> begin -> plan and apply,
//! within the time limit, panics caught -> outcome -> history, metrics, one log line -> lock released.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::history::{self, Beginning};
use super::hours::{Hours, hours, stop_when_due};
use super::lock::{self, Asked, JobLock};
use super::metrics::Labels;
use super::shared::{RunningHere, Shared};
use super::verdict::{Verdict, judge};
use crate::clock::{self, Reading};
use crate::config::{Config, Definition};
use crate::kinds::{Context, Mode, Reporter, Stop, StopStyle};
use crate::pg::{Access, Database, Sessions, explain};
use crate::run::{Outcome, Report, RunId, RunRecord, Skip, Trigger};
use crate::store::{Store, Stores};
use crate::testpoint;

/// A server that says nothing for so long, where it is asked for no work yet, is given up: longer than the wait for the
/// last statement of a lost run.
const SILENCE: Duration = Duration::from_secs(60);
const SILENT: &str = "the server took the connection and then gave no answer in 60 s";
/// Who waits for a place for so long is told of in the log.
const WORTH_TELLING: Duration = Duration::from_secs(5);
/// How long a run that was stopped by force may take to come to its end by itself.
const LAST_BREATH: Duration = Duration::from_secs(5);
/// How often meanwhile the server is told to cancel.
const AGAIN: Duration = Duration::from_millis(500);

/// Something that is to be run now.
#[derive(Debug, Clone)]
pub struct Ring {
    pub job: Arc<Definition>,
    pub trigger: Trigger,
    /// The scheduled time, before jitter; the same on every daemon.
    pub due_at: Option<DateTime<Utc>>,
    /// The request in `pgtend.request` that this answers.
    pub request: Option<String>,
    /// Counted from 1.
    pub attempt: u32,
}

impl Ring {
    pub fn by_hand(job: &Arc<Definition>, trigger: Trigger) -> Self {
        Self { job: Arc::clone(job), trigger, due_at: None, request: None, attempt: 1 }
    }
}

/// How the process that runs jobs comes to its end: first each run is let reach its next safe point, then it is made to.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    pub soft: CancellationToken,
    pub hard: CancellationToken,
}

/// A database, and how many runs may be at work in it at once: each needs a connection for its lock and one to work.
#[derive(Debug)]
struct Place {
    database: Arc<Database>,
    /// The same, for looking each minute: beside the runs, which may have all connections of the other.
    observed: Arc<Database>,
    runs: Arc<Semaphore>,
}

/// Runs jobs, by one reading of the config.
#[derive(Debug)]
pub struct Engine {
    pub shared: Arc<Shared>,
    places: HashMap<String, Place>,
    pub stores: Arc<Stores>,
    runs: Arc<Semaphore>,
    pub(super) host: String,
    /// The config was read again: what has not begun by this one never will.
    pub retired: CancellationToken,
}

impl Engine {
    /// # Errors
    /// A connection pool cannot be made, or a store's settings cannot be used.
    pub fn new(config: &Config, shared: Arc<Shared>) -> Result<Self> {
        let mut places = HashMap::new();
        let roles: BTreeSet<_> =
            config.databases.values().map(|database| database.conninfo.role().to_owned()).collect();
        let roles: Arc<[String]> = roles.into_iter().collect();
        for (name, database) in &config.databases {
            let conninfo = database.conninfo.clone().among(Arc::clone(&roles));
            let at_once = (database.max_connections / 2).max(1);
            let pool = database.max_connections.saturating_sub(at_once).max(1);
            let database_of_runs = Database::new(name, conninfo, pool)?.keeping(Arc::clone(&database.never));
            let place = Place {
                observed: Arc::new(database_of_runs.beside(1)?),
                database: Arc::new(database_of_runs),
                runs: shared.places(&format!("database {name}"), at_once),
            };
            places.insert(name.clone(), place);
        }
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let runs = shared.places("all", config.max_runs.max(1));
        let mut stores = Stores::new();
        for (name, store) in &config.stores {
            stores.insert(name.clone(), Arc::new(Store::new(name, &store.settings)?));
        }
        let stores = Arc::new(stores);
        Ok(Self { shared, places, stores, runs, host, retired: CancellationToken::new() })
    }

    /// This daemon, as other people's logs and requests name it.
    pub fn name(&self) -> String {
        format!("{} (pid {})", self.host, std::process::id())
    }

    /// # Errors
    /// There is no such database; a config that was loaded names none like that.
    pub(super) fn observed(&self, name: &str) -> Result<&Arc<Database>> {
        Ok(&self.places.get(name).with_context(|| format!("no database {name:?} in the config"))?.observed)
    }

    /// # Errors
    /// There is no such database; a config that was loaded names none like that.
    pub fn database(&self, name: &str) -> Result<&Arc<Database>> {
        Ok(&self.places.get(name).with_context(|| format!("no database {name:?} in the config"))?.database)
    }

    /// Connections that no run has used for a while are closed.
    pub fn close_idle_connections(&self) {
        for place in self.places.values() {
            place.database.close_idle(Duration::from_secs(60));
            place.observed.close_idle(Duration::from_secs(60));
        }
    }

    /// Runs what the ring asks for, to its end. Never fails: what goes wrong is in the record.
    pub async fn run(&self, ring: &Ring, ending: &Ending) -> RunRecord {
        let started_at = self.shared.clock.host();
        // What a kind does is caught nearer to it; this is so that no panic is the silent end of a job.
        let record = AssertUnwindSafe(self.run_here(ring, ending, started_at)).catch_unwind().await;
        let record = record.unwrap_or_else(|panic| {
            self.shared.metrics.ended(labels(&ring.job), Outcome::Failed);
            self.record(ring, started_at, None, &judge(Some(Err(panic)), None, Report::default()))
        });
        if record.skip() == Some(Skip::Reload) {
            // Not its end: it is rung anew.
            return record;
        }
        self.log(ring, &record);
        match &ring.request {
            // Nothing of it was begun.
            Some(id) if record.skip() == Some(Skip::Shutdown) => self.put_back(&ring.job.database, &[id]).await,
            Some(id) => self.answer(ring, id, &record).await,
            None => {}
        }
        record
    }

    async fn run_here(&self, ring: &Ring, ending: &Ending, started_at: DateTime<Utc>) -> RunRecord {
        let job = &ring.job;
        if ending.soft.is_cancelled() {
            return self.stopped_before(ring, started_at);
        }
        let running = match self.shared.enter(&job.name, started_at) {
            Ok(running) => running,
            Err(since) => {
                let why = format!("it has been running here since {}", since.format("%Y-%m-%d %H:%M:%SZ"));
                return self.skipped(ring, started_at, Skip::Overlap, why);
            }
        };
        // Before the wait for a place, so as not to wait in vain; and again after it.
        if let Hours::Closed(why) = hours(ring, started_at) {
            return self.skipped(ring, started_at, Skip::Window, why);
        }
        let _slots = tokio::select! {
            slots = self.slots(job) => slots,
            () = ending.soft.cancelled() => {
                return self.stopped_before(ring, started_at);
            }
            () = self.retired.cancelled() => {
                let why = "the config was read again before its turn came";
                return self.skipped(ring, started_at, Skip::Reload, why.into());
            }
            never = self.show_waiting(ring) => match never {}
        };
        match self.run_locked(ring, ending, running).await {
            Ok(record) => record,
            Err(error) => {
                let error = explain(&error);
                self.shared.metrics.ended(labels(job), Outcome::Failed);
                self.record(
                    ring,
                    started_at,
                    None,
                    &Verdict { outcome: Outcome::Failed, error: Some(error), report: Report::default() },
                )
            }
        }
    }

    /// A place among the runs of the database, and among all.
    async fn slots(&self, job: &Definition) -> (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>) {
        let slots = async {
            // The database's first: whoever waits for a busy database must not keep a place from the others.
            let place = match self.places.get(&job.database) {
                Some(place) => Arc::clone(&place.runs).acquire_owned().await.ok(),
                None => None,
            };
            (place, Arc::clone(&self.runs).acquire_owned().await.ok())
        };
        tokio::pin!(slots);
        tokio::select! {
            slots = &mut slots => return slots,
            () = tokio::time::sleep(testpoint::patience(WORTH_TELLING)) => {}
        }
        tracing::info!(
            job = %job.name, database = %job.database,
            "waits for a place: as many runs are at work as max_runs, or half of the database's max_connections, allow"
        );
        slots.await
    }

    /// # Errors
    /// The database cannot be reached, or the lock cannot be asked for.
    async fn run_locked(&self, ring: &Ring, ending: &Ending, running: RunningHere<'_>) -> Result<RunRecord> {
        let job = &ring.job;
        let database = self.database(&job.database)?;
        let asked = tokio::select! {
            asked = tokio::time::timeout(testpoint::patience(SILENCE), lock::ask(database, &job.name)) => asked.context(SILENT)??,
            // A server that does not answer keeps nobody from ending.
            () = ending.soft.cancelled() => return Ok(self.stopped_before(ring, self.shared.clock.host())),
        };
        let mut lock = match asked {
            Asked::Got(lock) => lock,
            Asked::Held(by) => {
                return Ok(self.skipped(ring, self.shared.clock.host(), Skip::Held, format!("its lock is {by}")));
            }
        };
        let started_at = self.shared.clock.host();
        if lock.is_standby && job.spec.writes() {
            let why = format!("the server of database {} is a standby, where nothing can be written", job.database);
            lock.release().await;
            return Ok(self.skipped(ring, started_at, Skip::Standby, why));
        }
        let closes_in = match hours(ring, started_at) {
            Hours::Closed(why) => {
                lock.release().await;
                return Ok(self.skipped(ring, started_at, Skip::Window, why));
            }
            Hours::Until(end) if job.spec.stop_style() == StopStyle::AtSafePoint => {
                (end - started_at).to_std().unwrap_or_default()
            }
            Hours::Until(_) | Hours::Any => Duration::MAX,
        };
        let begun = tokio::time::timeout(testpoint::patience(SILENCE), self.begin(ring, &lock, started_at));
        let id = match begun.await.context(SILENT)? {
            // What only reads runs on a standby too, which takes no history: nothing is wrong with that.
            Err(_) if lock.is_standby => None,
            Ok(Some(id)) => Some(id),
            Ok(None) => {
                lock.release().await;
                let why = "this due time, or this request, was run already, here or by another daemon".into();
                return Ok(self.skipped(ring, started_at, Skip::Done, why));
            }
            Err(error) => {
                self.history_failed(job, &error);
                None
            }
        };
        testpoint::reach_in("runner.begun", job.name.as_str()).await;
        self.shared.metrics.started(labels(job));
        let clock = Instant::now();
        let result = self.drive(ring, id, ending, &mut lock, database, closes_in).await;
        let record = self.record(ring, started_at, id, &result);
        let seconds = clock.elapsed().as_secs_f64();
        // The record first: whoever sees the metric move may look for it.
        self.finish(ring, &lock, &record).await;
        self.shared.metrics.finished(labels(job), result.outcome, seconds, &result.report);
        // Before the lock: whoever sees that free may run the job, here as anywhere.
        drop(running);
        lock.release().await;
        Ok(record)
    }

    async fn begin(&self, ring: &Ring, lock: &JobLock, started_at: DateTime<Utc>) -> Result<Option<RunId>> {
        if lock.is_standby {
            return Err(anyhow!("a standby takes no history"));
        }
        history::ensure(lock.client()).await?;
        let beginning = Beginning {
            job: &ring.job.name,
            kind: ring.job.spec.kind(),
            trigger: ring.trigger,
            host: &self.host,
            attempt: i32::try_from(ring.attempt).unwrap_or(i32::MAX),
            due_at: ring.due_at,
            request: ring.request.as_deref(),
            started_at,
        };
        history::begin(lock.client(), &beginning).await
    }

    /// Plans and applies, and ends it when it must end.
    async fn drive(
        &self,
        ring: &Ring,
        run: Option<RunId>,
        ending: &Ending,
        lock: &mut JobLock,
        database: &Arc<Database>,
        closes_in: Duration,
    ) -> Verdict {
        let job = &ring.job;
        let deadline = Instant::now() + job.timeout;
        let (stopper, stop) = Stop::pair();
        let report = Reporter::default();
        self.shared.hear(&job.name, &report);
        let sessions =
            Sessions::new(Arc::clone(database), job.name.as_str(), Access::ReadWrite, job.lock_timeout, deadline)
                .within(lock.fence());
        // What takes away by age goes by clocks that agree, or not at all. A kind that only reads says itself what it means.
        let read = self.shared.clock.database(lock.client()).await;
        let read = read.and_then(|read| if job.spec.takes_old() { read.agreed().map(|_| read) } else { Ok(read) });
        let Reading { now, apart } = match read {
            Ok(read) => read,
            Err(error) => {
                return Verdict { outcome: Outcome::Failed, error: Some(explain(&error)), report: Report::default() };
            }
        };
        if let Some(apart) = apart.as_ref().filter(|_| job.spec.writes()) {
            report.warn(format!("{apart}: {}", clock::MEND));
        }
        let cx = Context {
            job: job.name.clone(),
            run,
            now,
            apart,
            timezone: job.timezone,
            pg: sessions.clone(),
            stores: Arc::clone(&self.stores),
            stop,
            report: report.clone(),
            deadline,
            timeout: job.timeout,
            lock_timeout: job.lock_timeout,
            kept: Arc::default(),
        };
        let work = AssertUnwindSafe(async {
            testpoint::reach_in("runner.apply", job.name.as_str()).await;
            job.spec.drive(&cx, Mode::Apply).await
        })
        .catch_unwind();
        tokio::pin!(work);
        let finished = tokio::select! {
            finished = &mut work => Some(finished),
            () = stop_when_due(job, ending, lock, &stopper, deadline, closes_in) => {
                // From here on it is made to end: what the server is doing for it is cancelled, and again what began just
                // after the cancel.
                tokio::time::timeout(testpoint::patience(LAST_BREATH), async {
                    loop {
                        tokio::select! {
                            finished = &mut work => break finished,
                            () = async { sessions.cancel_all().await; tokio::time::sleep(AGAIN).await } => {}
                        }
                    }
                }).await.ok()
            }
        };
        if finished.is_some()
            && let Some(session) = cx.kept.lock().await.take()
        {
            session.close().await;
        }
        judge(finished, cx.stop.requested(), report.snapshot())
    }
}

/// The labels of a job's metrics.
pub fn labels(job: &Definition) -> Labels<'_> {
    Labels { job: job.name.as_str(), kind: job.spec.kind(), database: &job.database }
}
