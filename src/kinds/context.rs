//! What a kind is given to work with: the time, the database, a place to report, and a reason to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::pg::{Session, Sessions};
use crate::run::{Counted, JobName, Report, RunId, Step};
use crate::store::Stores;

/// Everything one run may use. `now` was read once, so that a run has one cutoff however long it takes.
#[derive(Debug, Clone)]
pub struct Context {
    pub job: JobName,
    /// Its row in the history; none in a rehearsal, or where the history cannot be written.
    pub run: Option<RunId>,
    pub now: DateTime<Utc>,
    /// How the host's clock and the database's are apart, where that is too much to delete anything by; never in a run of
    /// what takes old rows or partitions, which is refused then.
    pub apart: Option<String>,
    pub timezone: Tz,
    pub pg: Sessions,
    /// The stores of the config, by name; those that the kind names are all there.
    pub stores: Arc<Stores>,
    pub stop: Stop,
    pub report: Reporter,
    /// When the run's `timeout` is over.
    pub deadline: Instant,
    /// All of that time.
    pub timeout: Duration,
    /// At most this long is waited for any one lock; also the length of a round of tries.
    pub lock_timeout: Duration,
    /// A session that one action leaves to the next.
    pub kept: Arc<tokio::sync::Mutex<Option<Session>>>,
}

impl Context {
    /// A session on the job's database, with the run's settings and the job's second key, for SQL of ours: nothing in it is
    /// taken for anything but the server's own. For the operator's there is [`Session::by_their_path`].
    ///
    /// # Errors
    /// No connection can be had.
    pub async fn session(&self) -> anyhow::Result<Session> {
        self.pg.open().await
    }

    /// The session that an action before left with [`Context::leave`], or a new one. Opening one is several round trips,
    /// of which a run of many small actions can spare all but the first.
    ///
    /// # Errors
    /// No connection can be had, or the run may not go on.
    pub async fn kept_session(&self) -> anyhow::Result<Session> {
        if let Some(mut session) = self.kept.lock().await.take() {
            let may = self.pg.may_go_on(&mut session).await;
            // One that was lost meanwhile is replaced.
            if !session.is_closed() {
                may?;
                return Ok(session);
            }
        }
        self.session().await
    }

    /// Leaves a session to the next action: one without a transaction or a setting of its own. The runner closes the last.
    pub async fn leave(&self, session: Session) {
        *self.kept.lock().await = Some(session);
    }

    /// Waits, unless there is a reason to stop. Gives the reason, if there was one.
    pub async fn pause(&self, length: Duration) -> Option<StopReason> {
        tokio::select! {
            reason = self.stop.requested_at_last() => Some(reason),
            () = tokio::time::sleep(length) => self.stop.requested(),
        }
    }
}

/// Why a run is asked to end before its work does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The daemon is ending, or somebody pressed Ctrl-C.
    Shutdown,
    /// The job's `window` closed.
    WindowClosed,
    /// The job's `budget` is spent: the rest is for the next run.
    BudgetSpent,
    /// Its `timeout` is over.
    TimedOut,
    /// The lock's connection is gone: another daemon may start the job at any moment.
    LockLost,
}

impl StopReason {
    pub const fn sentence(self) -> &'static str {
        match self {
            StopReason::Shutdown => "the daemon was asked to stop",
            StopReason::WindowClosed => "the job's window closed",
            StopReason::BudgetSpent => "the job's budget was spent",
            StopReason::TimedOut => "the job's timeout was over",
            StopReason::LockLost => "the connection that holds the job's lock was lost",
        }
    }
}

/// The run's ear for a reason to stop; kinds look at it at each safe point.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<StopReason>>);

/// The other end: the first reason given stays.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<StopReason>>);

impl Stop {
    pub fn pair() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(None);
        (Stopper(sender), Stop(receiver))
    }

    /// The reason to stop now, if there is one.
    pub fn requested(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    /// Waits until there is a reason; for ever if there never is.
    pub async fn requested_at_last(&self) -> StopReason {
        let mut receiver = self.0.clone();
        let reason = match receiver.wait_for(Option::is_some).await {
            Ok(reason) => *reason,
            Err(_) => None,
        };
        match reason {
            Some(reason) => reason,
            // The other end is gone without ever having asked: nobody will.
            None => std::future::pending().await,
        }
    }
}

impl Stopper {
    pub fn stop(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(reason);
            first
        });
    }
}

/// The report of a run in progress. Shared, so that what was done is known even if the run is ended by force.
#[derive(Debug, Clone, Default)]
pub struct Reporter(Arc<Mutex<Report>>);

impl Reporter {
    pub fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, what: Counted, table: &str, n: u64) {
        self.lock().count(what, table, n);
    }

    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!("{text}");
        self.lock().warn(text);
    }

    /// What a plan has noted: what is a warning is one of the run; what is left alone because somebody has said so, or has no
    /// time, stands in its details, and alarms nobody day by day.
    pub fn note(&self, note: &Step) {
        if note.action == "warn" {
            self.warn(format!("{}: {}", note.target, note.reason));
        } else if self.lock().left_alone(note) {
            tracing::info!(object = %note.target, "left alone: {}", note.reason);
        }
    }

    pub fn fail(&self, target: impl Into<String>, error: impl Into<String>) {
        let (target, error) = (target.into(), error.into());
        // The run's own line says it once, at its end.
        tracing::debug!(object = %target, "failed: {error}");
        self.lock().fail(target, error);
    }

    /// What has been reported so far.
    pub fn snapshot(&self) -> Report {
        self.lock().clone()
    }
}
