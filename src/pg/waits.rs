//! Statements that wait, seen from outside while they do: afterwards nothing tells any more whom they waited for, and while
//! they wait somebody may be waiting for them.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, timeout};
use tokio_postgres::types::ToSql;

use super::session::Sessions;
use super::{Limits, Link, Session, others};

/// Runs `work` on `session`. If it takes longer than most of the session's lock time-out, another connection looks whom it
/// waits for: the answer comes along, for the case that the lock is not had.
pub async fn watched<T, E>(
    sessions: &Sessions,
    session: &Session,
    work: impl Future<Output = Result<T, E>>,
) -> (Result<T, E>, Option<String>) {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return (done, None),
        () = tokio::time::sleep(session.lock_timeout.mul_f64(0.6)) => {}
    }
    let mut looking = pin!(timeout(ANSWER, async { blockers(&connect(sessions).await?, session.pid).await }));
    let seen = |seen: Result<Result<Option<String>>, _>| seen.ok().and_then(Result::ok).flatten();
    tokio::select! {
        biased;
        // What has gone well may have locks that it is not to keep for the sake of a look.
        done = &mut work => match done {
            Ok(done) => (Ok(done), None),
            Err(error) => (Err(error), seen(looking.await)),
        },
        by = &mut looking => (work.await, seen(by)),
    }
}

/// How long a statement may wait, where nobody waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub until: Instant,
    /// While it waits for transactions to end it holds no lock: nobody need be looked for then.
    pub free_while_others_end: bool,
}

/// So long is waited for what was cancelled before it is cancelled again.
const AGAIN: Duration = Duration::from_millis(200);
/// The server answers within this, or is taken to be out of reach.
const ANSWER: Duration = Duration::from_secs(2);

/// Why a statement that waited was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenOff {
    /// Somebody else waited for it.
    ToGiveWay,
    /// Its time was over.
    Over,
    /// The run is to stop.
    ToStop,
    /// It could not be seen whether anybody waited for it.
    Blind,
}

/// A statement that waited.
#[derive(Debug)]
pub struct Waited<T> {
    pub done: T,
    /// Whom it waited for, as it was last seen.
    pub by: Option<String>,
    pub broken_off: Option<BrokenOff>,
}

/// Runs `work`, one statement without a lock time-out to speak of, which waits for as long as `patience` lets it and nobody
/// waits for it in turn. Who does waits no longer than for a lock of ours anywhere else: then it is broken off. So it is
/// when `stop` comes. `lock_timeout` could not do it, since it knows nothing of others.
pub async fn patiently<T>(
    sessions: &Sessions,
    session: &Session,
    patience: Patience,
    stop: impl Future,
    work: impl Future<Output = T>,
) -> Waited<T> {
    let mut work = pin!(work);
    let watcher = Watcher { sessions, session, patience, link: Mutex::default(), by: Mutex::default() };
    let why = tokio::select! {
        biased;
        done = &mut work => return Waited { done, by: watcher.seen(), broken_off: None },
        _ = stop => BrokenOff::ToStop,
        why = watcher.watch() => why,
    };
    let done = loop {
        // Not left half-way: the server might do it late, to the next statement.
        watcher.cancel().await;
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = tokio::time::sleep(AGAIN) => {}
        }
    };
    Waited { done, by: watcher.seen(), broken_off: Some(why) }
}

/// The first version that tells since when a session has been waiting for a lock.
const WAITSTART: i32 = 140_000;
/// So often a statement is looked at that may take hours.
const GLANCE: Duration = Duration::from_secs(1);

/// Runs `work`, one statement that may take hours and lets nobody have its table meanwhile who wants to change it. Each second
/// is looked whether somebody has been waiting for it for longer than a lock of ours is waited for: then it is broken off,
/// which the answer tells. Where nobody can look it goes on.
pub async fn giving_way<T>(sessions: &Sessions, session: &Session, work: impl Future<Output = T>) -> (T, bool) {
    if session.version < WAITSTART {
        return (work.await, false);
    }
    let mut work = pin!(work);
    let patience = Patience { until: Instant::now(), free_while_others_end: false };
    let watcher = Watcher { sessions, session, patience, link: Mutex::default(), by: Mutex::default() };
    tokio::select! {
        biased;
        done = &mut work => return (done, false),
        () = watcher.glance() => {}
    }
    loop {
        watcher.cancel().await;
        tokio::select! {
            biased;
            done = &mut work => return (done, true),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

struct Watcher<'a> {
    sessions: &'a Sessions,
    session: &'a Session,
    patience: Patience,
    link: Mutex<Option<Arc<Link>>>,
    by: Mutex<Option<String>>,
}

impl Watcher<'_> {
    fn seen(&self) -> Option<String> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks until there is a reason to break it off.
    async fn watch(&self) -> BrokenOff {
        let lock_timeout = self.session.lock_timeout;
        tokio::time::sleep(lock_timeout.mul_f64(0.6)).await;
        let Ok(Ok(link)) = timeout(2 * lock_timeout, connect(self.sessions)).await else { return BrokenOff::Blind };
        let link = Arc::new(link);
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        let mut asked_whom = None::<Instant>;
        loop {
            let began = Instant::now();
            let Ok(Ok(kept)) = timeout(lock_timeout, self.kept_waiting(&link)).await else { return BrokenOff::Blind };
            // Half of what they may have to wait: the look may come late, and breaking off takes its time.
            let gives_way = kept >= lock_timeout / 2;
            let over = Instant::now() >= self.patience.until;
            if gives_way || over || asked_whom.is_none_or(|at| at.elapsed() > Duration::from_secs(5)) {
                asked_whom = Some(Instant::now());
                if let Ok(Ok(Some(by))) = timeout(lock_timeout, blockers(&link, self.session.pid)).await {
                    *self.by.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
                }
            }
            if gives_way {
                return BrokenOff::ToGiveWay;
            }
            if over {
                return BrokenOff::Over;
            }
            // On a server of very many locks a look is dear: then there are fewer.
            tokio::time::sleep((lock_timeout / 6).max(began.elapsed() * 4).min(lock_timeout / 2)).await;
        }
    }

    /// Comes back when somebody waits for it. Jobs of ours never do: they give up sooner.
    async fn glance(&self) {
        loop {
            tokio::time::sleep(GLANCE).await;
            let link = match self.link() {
                Some(link) => link,
                None => match timeout(ANSWER, connect(self.sessions)).await {
                    Ok(Ok(link)) => Arc::new(link),
                    _ => continue,
                },
            };
            match timeout(ANSWER, self.kept_waiting(&link)).await {
                Ok(Ok(kept)) if kept > self.session.lock_timeout => {
                    *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
                    return;
                }
                Ok(Ok(_)) => *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link),
                // Another connection, if there is to be one at all.
                _ => *self.link.lock().unwrap_or_else(PoisonError::into_inner) = None,
            }
        }
    }

    /// For how long somebody has been waiting for it.
    async fn kept_waiting(&self, link: &Link) -> Result<Duration> {
        let free = self.patience.free_while_others_end;
        let row = link.client.query_opt(include_str!("waited_for.sql"), &[&self.session.pid, &free]).await?;
        let row = row.ok_or_else(|| anyhow!("the session is gone"))?;
        Ok(Duration::try_from_secs_f64(row.get(0)).unwrap_or_default())
    }

    async fn cancel(&self) {
        if let Some(link) = self.link() {
            // By the time it answers the server has done it.
            let parameters: [&(dyn ToSql + Sync); 1] = [&self.session.pid];
            let asked = link.client.query("SELECT pg_catalog.pg_cancel_backend($1)", &parameters);
            if let Ok(Ok(_)) = timeout(ANSWER, asked).await {
                return;
            }
        }
        // This may come late, to another statement.
        self.session.spoiled.store(true, Ordering::Relaxed);
        let canceller = {
            let open = self.session.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.cancellers.get(&self.session.number).cloned()
        };
        if let Some(canceller) = canceller
            && let Ok(Err(error)) = timeout(ANSWER, canceller.cancel()).await
        {
            tracing::warn!("a statement that waits could not be cancelled: {error:#}");
        }
    }
}

async fn connect(sessions: &Sessions) -> Result<Link> {
    let (link, _) = sessions.database().connect("pgtend", Limits::new(ANSWER, ANSWER)).await?;
    Ok(link)
}

async fn blockers(link: &Link, pid: i32) -> Result<Option<String>> {
    let rows = link.client.query(include_str!("waits.sql"), &[&pid]).await?;
    let said: Vec<String> = rows.iter().map(others::said).collect();
    Ok((!said.is_empty()).then(|| said.join("; ")))
}
