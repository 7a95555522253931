//! What tells a working session that its run still has its lock.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use super::Session;

/// So long the answer of one look is taken for true.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The run's lock, as far as its sessions have to know it.
#[derive(Debug, Clone, Copy)]
pub struct Fence {
    /// The job's lock, and the server process that holds it for us.
    pub lock_key: i64,
    pub pid: i32,
    /// The second key: held shared by each working session, and by a new run alone before it begins.
    pub work_key: i64,
}

impl Fence {
    /// Takes the second key for a new session, and then looks.
    ///
    /// # Errors
    /// The lock was lost, or the server does not answer.
    pub(super) async fn enter(&self, session: &mut Session) -> Result<()> {
        let rows = session.ask("SELECT pg_catalog.pg_try_advisory_lock_shared($1)", &[&self.work_key]).await?;
        if !rows.iter().all(|row| row.get(0)) {
            bail!(LOST);
        }
        // Asked only now: a run that begins after this waits for the key that we hold.
        self.look(session).await
    }

    /// Looks again, unless that was done a moment ago.
    ///
    /// # Errors
    /// The lock was lost, or the server does not answer.
    pub(super) async fn make_sure(&self, session: &mut Session) -> Result<()> {
        match session.sure_since {
            Some(since) if since.elapsed() < GOOD_FOR => Ok(()),
            _ => self.look(session).await,
        }
    }

    async fn look(&self, session: &mut Session) -> Result<()> {
        let asked_at = Instant::now();
        let rows = session
            .ask(
                "SELECT EXISTS (
                     SELECT FROM pg_catalog.pg_locks l
                     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = $2
                       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
                       AND l.classid::bigint = (($1::bigint >> 32) & 4294967295)
                       AND l.objid::bigint = ($1::bigint & 4294967295))",
                &[&self.lock_key, &self.pid],
            )
            .await
            .context("see whether the job's lock is still ours")?;
        if !rows.iter().all(|row| row.get(0)) {
            bail!(LOST);
        }
        session.sure_since = Some(asked_at);
        Ok(())
    }
}

const LOST: &str = "the connection that holds the job's lock was lost, and another run of the job may have begun";
