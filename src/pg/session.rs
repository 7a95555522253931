//! Sessions with our settings: for work, from a pool; each holds its job's second key, so that a new run can tell that no
//! statement of a lost one is still at work.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connect::{Connector, bare, pool_error};
use super::fence::Fence;
use super::settings::{Facts, Limits, OWN_PATH, ROLES, facts, milliseconds, set};
use super::{Canceller, Conninfo, Link, Pattern, application_name, connect, pooler};

/// A database of the config: where it is, and a pool of connections for the runs that work in it.
#[derive(Debug)]
pub struct Database {
    pub name: String,
    pub conninfo: Conninfo,
    /// Tables of which nothing may go, whatever a job says.
    pub never: Arc<[Pattern]>,
    pool: Pool,
    /// Set once it is known that no pooler mixes up our sessions.
    direct: Arc<OnceCell<()>>,
}

const ENDING: &str = "the run is being ended, and begins nothing new";

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The server refuses every write: a rehearsal cannot change a thing even by mistake.
    ReadOnly,
    ReadWrite,
}

/// Opens the sessions of one run. Clones share the list of what is open, so that all of it can be cancelled.
#[derive(Debug, Clone)]
pub struct Sessions {
    database: Arc<Database>,
    application_name: String,
    access: Access,
    lock_timeout: Duration,
    deadline: Instant,
    /// The run's lock, which every session makes sure of.
    fence: Option<Fence>,
    open: Arc<Mutex<Open>>,
}

/// The sessions of a run.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) cancellers: HashMap<u64, Canceller>,
    /// The run is being made to end: no session is opened any more, and none goes back to the pool.
    cancelled: bool,
}

/// A session from the pool. [`Session::close`] gives it back clean; dropping it closes its connection.
pub struct Session {
    object: Option<Object>,
    /// `server_version_num`: 150018 is 15.18.
    pub version: i32,
    /// Tables of which nothing may go, whatever a job says.
    pub never: Arc<[Pattern]>,
    pub pid: i32,
    pub is_standby: bool,
    /// The lock time-out in force: the job's, or half the server's `deadlock_timeout` if that is less, so that in a
    /// deadlock we give way and not the application.
    pub lock_timeout: Duration,
    /// When it was last seen that its run has its lock.
    pub(super) sure_since: Option<Instant>,
    /// It goes back to no pool.
    pub(super) spoiled: AtomicBool,
    /// Names without a schema mean what they mean to everybody in the database.
    everybodys: AtomicBool,
    pub(super) number: u64,
    pub(super) open: Arc<Mutex<Open>>,
}

impl Database {
    /// # Errors
    /// The pool cannot be made.
    pub fn new(name: impl Into<String>, conninfo: Conninfo, max_connections: usize) -> Result<Self> {
        let manager = Manager::from_connect(
            tokio_postgres::Config::new(),
            Connector(conninfo.clone()),
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let pool = Pool::builder(manager).max_size(max_connections.max(1)).build().context("make a connection pool")?;
        Ok(Self { name: name.into(), conninfo, never: Arc::default(), pool, direct: Arc::default() })
    }

    /// The same, where nothing of these tables may go.
    #[must_use]
    pub fn keeping(self, never: Arc<[Pattern]>) -> Self {
        Self { never, ..self }
    }

    /// The same database, with a pool of its own.
    ///
    /// # Errors
    /// The pool cannot be made.
    pub fn beside(&self, max_connections: usize) -> Result<Self> {
        let other = Self::new(self.name.as_str(), self.conninfo.clone(), max_connections)?;
        Ok(Self { direct: Arc::clone(&self.direct), never: Arc::clone(&self.never), ..other })
    }

    /// A connection outside the pool, with our settings: for a lock, or for listening.
    ///
    /// # Errors
    /// The database cannot be reached, or only through a pooler in transaction mode: our settings and locks would stay
    /// behind in sessions of the application's.
    pub async fn connect(&self, application_name: &str, limits: Limits) -> Result<(Link, Facts)> {
        self.refuse_transaction_pooler().await?;
        connect(&self.conninfo, application_name, limits).await.with_context(|| format!("database {}", self.name))
    }

    async fn bare(&self) -> Result<Link> {
        bare(&self.conninfo, "pgtend").await.with_context(|| format!("database {}", self.name))
    }

    /// # Errors
    /// A pooler in transaction mode stands in between, or the database cannot be reached.
    pub async fn refuse_transaction_pooler(&self) -> Result<()> {
        self.direct
            .get_or_try_init(|| async {
                let (first, second) = tokio::try_join!(self.bare(), self.bare())?;
                pooler::refuse_transaction_mode(&first, &second, &self.name).await
            })
            .await
            .copied()
    }

    /// Closes the connections that have been idle for `longer_than`; a daemon of many databases keeps none it does not use.
    pub fn close_idle(&self, longer_than: Duration) {
        self.pool.retain(|_, metrics| metrics.last_used() < longer_than);
    }
}

impl Sessions {
    pub fn new(database: Arc<Database>, job: &str, access: Access, lock_timeout: Duration, deadline: Instant) -> Self {
        let application_name = application_name(job, "");
        Self { database, application_name, access, lock_timeout, deadline, fence: None, open: Arc::default() }
    }

    /// The same, within the lock of a run.
    #[must_use]
    pub fn within(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// A session for SQL of ours: names in it are the server's own, and no function of a schema that somebody may create in is
    /// taken for one of them, as one whose arguments fit better would be. [`Session::by_their_path`] is for the operator's.
    ///
    /// # Errors
    /// No connection can be had, the server is too old, the run is being made to end, or a newer run of the job has begun.
    pub async fn open(&self) -> Result<Session> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let object = self.database.pool.get().await.map_err(pool_error)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let canceller = self.database.conninfo.canceller(&object);
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.cancelled {
                bail!(ENDING);
            }
            open.cancellers.insert(number, canceller);
        }
        // From here on an error drops the session, and with it the connection.
        let mut session = Session {
            object: Some(object),
            version: 0,
            never: Arc::clone(&self.database.never),
            pid: 0,
            is_standby: false,
            lock_timeout: self.lock_timeout,
            sure_since: None,
            spoiled: AtomicBool::new(false),
            everybodys: AtomicBool::new(false),
            number,
            open: Arc::clone(&self.open),
        };
        let facts = facts(&session).await?;
        session.version = facts.version;
        session.pid = facts.pid;
        session.is_standby = facts.is_standby;
        session.lock_timeout = self.lock_timeout.min(facts.deadlock_timeout / 2).max(Duration::from_millis(1));
        self.settle(&session, facts).await?;
        if let Some(fence) = self.fence {
            fence.enter(&mut session).await?;
        }
        Ok(session)
    }

    /// Makes sure that a session which has been at work may go on: each second that the run still has its lock.
    ///
    /// # Errors
    /// The run is being made to end, or a newer run of the job has begun; or the connection is gone.
    pub async fn may_go_on(&self, session: &mut Session) -> Result<()> {
        if self.open.lock().unwrap_or_else(PoisonError::into_inner).cancelled {
            bail!(ENDING);
        }
        match self.fence {
            Some(fence) => fence.make_sure(session).await,
            None => Ok(()),
        }
    }

    /// Our settings, whatever the role or the database has as its own.
    async fn settle(&self, session: &Session, facts: Facts) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // The runner cancels at the deadline; the server's own limit is for the case that we are no longer there to do it.
        let statement_timeout = milliseconds(left.saturating_add(Duration::from_secs(2)));
        let settings = [
            // The server keeps 63 bytes and would cut a name of many in the middle of a letter.
            ("application_name", self.application_name.chars().take(63).collect()),
            ("statement_timeout", statement_timeout.to_string()),
            ("lock_timeout", milliseconds(session.lock_timeout).to_string()),
            ("idle_in_transaction_session_timeout", "60000".into()),
            (ROLES, self.database.conninfo.roles.join("\n")),
            ("default_transaction_read_only", if self.access == Access::ReadOnly { "on" } else { "off" }.into()),
        ];
        set(session, facts, &settings).await
    }

    /// Cancels what any session of the run has the server doing, and lets it open no other. A statement that begins
    /// between two of these is for the next.
    pub async fn cancel_all(&self) {
        let cancellers: Vec<_> = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.cancelled = true;
            open.cancellers.values().cloned().collect()
        };
        for canceller in cancellers {
            match tokio::time::timeout(Duration::from_secs(5), canceller.cancel()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("a running statement could not be cancelled: {error:#}"),
                Err(_) => {
                    tracing::warn!("a running statement could not be cancelled: no answer from the server in 5 s");
                }
            }
        }
    }
}

impl Session {
    /// From here on names without a schema mean what they mean to everybody else in the database: for the operator's SQL, and
    /// for statements that set off triggers of the application's. SQL of ours in these must not depend on it: each name and
    /// each operator in it bears its schema. Not for the middle of a transaction, with which it would be taken back.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn by_their_path(&self) -> Result<(), tokio_postgres::Error> {
        self.look_up(true).await
    }

    /// From here on SQL of ours alone, as a session begins.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn by_our_path(&self) -> Result<(), tokio_postgres::Error> {
        self.look_up(false).await
    }

    async fn look_up(&self, everybodys: bool) -> Result<(), tokio_postgres::Error> {
        if self.everybodys.load(Ordering::Relaxed) != everybodys {
            let path = if everybodys { "DEFAULT" } else { OWN_PATH };
            self.batch_execute(&format!("SET search_path TO {path}")).await?;
            self.everybodys.store(everybodys, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The rows of a question that is asked again and again: the connection prepares it once, and from then on it takes
    /// one round trip. A fixed text, since all that was prepared is kept for as long as the connection.
    ///
    /// # Errors
    /// What the server says.
    pub async fn ask(
        &self,
        question: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let object = self.object.as_ref().expect(OPEN);
        self.query(&object.prepare_cached(question).await?, parameters).await
    }

    /// Nobody knows any more as whom it works, and by which settings: it goes back to no pool.
    pub fn spoil(&self) {
        self.spoiled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Session::spoil`] was called.
    pub fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Relaxed)
    }

    /// Gives the connection back to the pool, without locks and settings. Where that fails it is closed instead.
    pub async fn close(mut self) {
        if self.object.is_none() {
            return;
        }
        // BEGIN first: a ROLLBACK where there is no transaction is a warning in the server's log. Then all of DISCARD
        // ALL but for what the driver has prepared. RESET ALL leaves the role as it was set.
        let clean = self
            .batch_execute(
                "BEGIN; ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; \
                 SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES",
            )
            .await;
        // Let go of before `self` is dropped, which asks for it too.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.cancellers.remove(&self.number);
        // A cancel that is still on its way must not reach whoever has the connection next.
        if clean.is_ok() && !open.cancelled && !self.spoiled.load(Ordering::Relaxed) {
            // The pool takes it back as it is dropped.
            drop(self.object.take());
        }
        drop(open);
    }

    /// Closes a connection that is of no use any more, so that there is room in the pool for another. Nothing but
    /// [`Session::close`] and being replaced may come after.
    pub fn give_up(&mut self) {
        if let Some(object) = self.object.take() {
            // Nobody knows what state it is in: out of the pool, and closed.
            drop(Object::take(object));
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("pid", &self.pid).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).cancellers.remove(&self.number);
        self.give_up();
    }
}

const OPEN: &str = "a session has its connection until it is closed or dropped";

impl Deref for Session {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        self.object.as_ref().expect(OPEN)
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.object.as_mut().expect(OPEN)
    }
}
