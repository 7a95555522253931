//! A transaction of schema changes that never makes the application wait for long: each lock is waited for no longer than
//! the session's `lock_timeout`, and all its statements together no longer than a limit, which is [`LIMIT`] unless the work
//! is known to take longer. Then it is rolled back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyOutStream, Row};

use super::settings::{OWN_PATH, milliseconds};
use super::{Ident, Session};
use crate::period::human;

/// How long all statements of one transaction may take together. `lock_timeout` counts for each lock anew, so that a
/// transaction that needs five of them could otherwise keep others waiting for five times as long.
pub const LIMIT: Duration = Duration::from_secs(1);

/// A transaction with a deadline. It must be ended with [`Ddl::commit`] or [`Ddl::rollback`].
#[derive(Debug)]
pub struct Ddl<'a> {
    session: &'a Session,
    until: Instant,
    limit: Duration,
    /// What the last statement was given, in milliseconds.
    given: AtomicU64,
    /// For how long it has waited patiently, in milliseconds: that counts for nothing.
    waited: AtomicU64,
}

/// The deadline came before the next statement could be sent.
#[derive(Debug, thiserror::Error)]
#[error("the {} that a transaction of schema changes may take are over", human(*.0))]
pub struct DeadlineOver(pub Duration);

impl<'a> Ddl<'a> {
    /// Begins, as `role`: what is made belongs to it.
    ///
    /// # Errors
    /// The session's role is not a member of `role`, or the connection is gone.
    pub async fn begin(session: &'a Session, role: &Ident) -> Result<Self> {
        Self::within(session, role, LIMIT).await
    }

    /// The same, with another limit.
    ///
    /// # Errors
    /// As [`Ddl::begin`].
    pub async fn within(session: &'a Session, role: &Ident, limit: Duration) -> Result<Self> {
        // READ COMMITTED whatever the role's default is: rows are counted and moved after the lock is had, and must be
        // those of that moment.
        let ddl =
            Self { session, until: Instant::now() + limit, limit, given: AtomicU64::new(0), waited: AtomicU64::new(0) };
        // The deadline is kept by us; should this process stand still between two statements, the server ends the session.
        let idle = milliseconds(limit.saturating_mul(2));
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL ROLE {role}; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}"
        );
        if let Err(error) = session.batch_execute(&begin).await {
            ddl.rollback().await;
            return Err(anyhow::Error::from(error).context(format!("begin a transaction as the owner, {role}")));
        }
        Ok(ddl)
    }

    /// What gives the server what is left of the time, for each statement that follows in one message. All that can go
    /// in one does: over a slow network the time would otherwise go into waiting for answers.
    fn tick(&self) -> Result<String> {
        let waited = Duration::from_millis(self.waited.load(Ordering::Relaxed));
        let left = milliseconds((self.until + waited).saturating_duration_since(Instant::now()));
        self.given.store(left.unsigned_abs().into(), Ordering::Relaxed);
        if left == 0 {
            return Err(DeadlineOver(self.limit).into());
        }
        Ok(format!("SET LOCAL statement_timeout = {left}"))
    }

    /// Runs statements, separated by `;`.
    ///
    /// # Errors
    /// What the server says, or [`DeadlineOver`].
    pub async fn run(&self, statements: &str) -> Result<()> {
        let tick = self.tick()?;
        // What they set off, an event trigger or the function of a constraint, finds what it finds for everybody else.
        self.session
            .batch_execute(&format!("{tick}; SET LOCAL search_path TO DEFAULT; {statements}"))
            .await
            .map_err(Into::into)
    }

    /// Runs one statement that may wait for locks and for transactions as long as `patience`, which counts for nothing. It
    /// is for who looks meanwhile whether somebody waits for it; see [`super::waits::patiently`].
    ///
    /// # Errors
    /// What the server says, or [`DeadlineOver`].
    pub async fn run_patiently(&self, statement: &str, patience: Duration) -> Result<()> {
        self.tick()?;
        let began = Instant::now();
        let (usual, most) = (milliseconds(self.session.lock_timeout), milliseconds(patience).max(1));
        let statements = format!(
            "SET LOCAL statement_timeout = {most}; SET LOCAL lock_timeout = {most}; SET LOCAL search_path TO DEFAULT; \
             {statement}; SET LOCAL lock_timeout = {usual}"
        );
        let done = self.session.batch_execute(&statements).await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waited.fetch_add(took, Ordering::Relaxed);
        done.map_err(Into::into)
    }

    /// Runs one statement of ours that gives rows.
    ///
    /// # Errors
    /// What the server says, or [`DeadlineOver`].
    pub async fn rows(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let tick = format!("{}; SET LOCAL search_path TO {OWN_PATH}", self.tick()?);
        // Sent one after the other without waiting for an answer between them.
        let (ticked, rows) =
            tokio::join!(biased; self.session.batch_execute(&tick), self.session.query(statement, parameters));
        ticked?;
        Ok(rows?)
    }

    /// Runs statements, and asks in the same round trip how things are after them. Only questions go along so: whatever
    /// changes anything is sent when it is known that all before it went well.
    ///
    /// # Errors
    /// What the server says, or [`DeadlineOver`].
    pub async fn run_and_ask(
        &self,
        statements: &str,
        question: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let statements = format!(
            "{}; SET LOCAL search_path TO DEFAULT; {statements}; SET LOCAL search_path TO {OWN_PATH}",
            self.tick()?
        );
        let (ran, rows) =
            tokio::join!(biased; self.session.batch_execute(&statements), self.session.ask(question, parameters));
        ran?;
        Ok(rows?)
    }

    /// Begins a `COPY … TO STDOUT` of ours.
    ///
    /// # Errors
    /// What the server says, or [`DeadlineOver`].
    pub async fn copy_out(&self, statement: &str) -> Result<CopyOutStream> {
        let tick = format!("{}; SET LOCAL search_path TO {OWN_PATH}", self.tick()?);
        self.session.batch_execute(&tick).await?;
        Ok(self.session.copy_out(statement).await?)
    }

    /// Takes back what was done since the savepoint, after an error: until then the server takes nothing else.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn rollback_to(&self, savepoint: &str) -> Result<()> {
        let sql = format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}");
        self.session.batch_execute(&sql).await.context("take back a part of the transaction")
    }

    /// The role of the session for the statements that follow: for what the owner of the table may not read.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn as_ourselves(&self) -> Result<()> {
        self.session.batch_execute("SET LOCAL ROLE NONE").await.context("act as ourselves")
    }

    /// Another role for the statements that follow.
    ///
    /// # Errors
    /// The session's role may not act as that one.
    pub async fn act_as(&self, role: &Ident) -> Result<()> {
        self.session.batch_execute(&format!("SET LOCAL ROLE {role}")).await.with_context(|| format!("act as {role}"))
    }

    /// The session, for SQL of ours that asks more than one thing; see [`Ddl::rows`].
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn own(&self) -> Result<&'a Session> {
        self.session.batch_execute(&format!("SET LOCAL search_path TO {OWN_PATH}")).await.context("go on")?;
        Ok(self.session)
    }

    /// How long the last statement might take at most; one that ran out of time has taken that long.
    pub fn given(&self) -> Duration {
        Duration::from_millis(self.given.load(Ordering::Relaxed))
    }

    /// # Errors
    /// What the server says; whether it was committed is then known only from the catalog.
    pub async fn commit(self) -> Result<()> {
        self.session.batch_execute("COMMIT").await.context("commit")
    }

    /// Where it fails the connection is gone, and the transaction with it.
    pub async fn rollback(self) {
        let _ = self.session.batch_execute("ROLLBACK").await;
    }
}

/// The SQLSTATE that the server answered with, if it is the cause of the error.
pub fn sqlstate(error: &anyhow::Error) -> Option<&SqlState> {
    error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()).and_then(tokio_postgres::Error::code)
}

/// Whether a lock was not had in time, or we were the one to give way in a deadlock: worth another try.
pub fn is_locked(error: &anyhow::Error) -> bool {
    let given_way = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
    sqlstate(error).is_some_and(|code| given_way.contains(code))
}

/// Whether the server has ended the session, which the driver may not have noticed yet: also because nothing was asked of it
/// in a transaction for too long, since this process stood still.
pub fn is_lost(error: &anyhow::Error) -> bool {
    sqlstate(error).is_some_and(ends_session)
}

/// As [`is_lost`], by the SQLSTATE.
pub fn ends_session(code: &SqlState) -> bool {
    let ended = [SqlState::ADMIN_SHUTDOWN, SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT];
    ended.contains(code) || code.code().starts_with("08")
}

/// Whether the transaction's own time was over.
pub fn is_over(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<DeadlineOver>()) || sqlstate(error) == Some(&SqlState::QUERY_CANCELED)
}
