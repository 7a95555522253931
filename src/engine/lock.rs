//! One run of a job at a time, whoever starts it: a session advisory lock on a connection of its own.
//!
//! Keys are per database; see the manual, 13.3.5 "Advisory Locks". Besides the job's key there is a second one, which
//! every working session of a run holds shared: a new run begins only after it has had that key exclusively, so that no
//! statement of a run that lost its lock is still at work.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::error::SqlState;

use crate::pg::exclusion::{advisory_key, holder};
use crate::pg::{Database, Fence, Limits, Link, application_name};
use crate::run::JobName;
use crate::testpoint;

/// How long a new run waits for the last statement of a lost one. The server ends such statements within a second or so
/// of noticing that their client is gone.
const LAST_STATEMENT: Duration = Duration::from_secs(20);

/// The lock, for as long as this lives and [`JobLock::lost`] has not ended.
pub struct JobLock {
    link: Link,
    fence: Fence,
    pub is_standby: bool,
}

/// What came of asking for the lock.
pub enum Asked {
    Got(JobLock),
    /// Somebody else has it; the text says who.
    Held(String),
}

/// The advisory key of a job.
pub fn key(job: &JobName) -> i64 {
    hash("run", job)
}

/// Who tells people of a job.
pub fn notice_key(job: &JobName) -> i64 {
    hash("notice", job)
}

fn hash(what: &str, job: &JobName) -> i64 {
    advisory_key(&format!("{what}\0{job}"))
}

/// Asks for the job's lock, without waiting for whoever has it.
///
/// # Errors
/// The database cannot be reached, or is reached through a pooler that hands out its sessions by the transaction.
pub async fn ask(database: &Database, job: &JobName) -> Result<Asked> {
    let limits = Limits::new(LAST_STATEMENT + Duration::from_secs(10), LAST_STATEMENT);
    let (link, facts) = database.connect(&application_name(job.as_str(), " (lock)"), limits).await?;
    let (key, work_key) = (key(job), hash("work", job));
    let got: bool = link.client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&key]).await?.get(0);
    if !got {
        return Ok(Asked::Held(holder(&link.client, key).await));
    }
    match link.client.execute("SELECT pg_catalog.pg_advisory_lock($1)", &[&work_key]).await {
        Ok(_) => {}
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            return Ok(Asked::Held(format!(
                "a statement of an earlier run is still at work: {}",
                holder(&link.client, work_key).await
            )));
        }
        Err(error) => return Err(error).context("wait for the last statement of an earlier run"),
    }
    link.client.execute("SELECT pg_catalog.pg_advisory_unlock($1)", &[&work_key]).await?;
    let fence = Fence { lock_key: key, pid: facts.pid, work_key };
    Ok(Asked::Got(JobLock { link, fence, is_standby: facts.is_standby }))
}

impl JobLock {
    /// What working sessions make sure of.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// The lock's connection, for the run's records.
    pub fn client(&self) -> &tokio_postgres::Client {
        &self.link.client
    }

    /// Ends when the lock is lost, and not before. Asks the server now and then: a peer that vanished without a word is
    /// noticed by nothing else, and firewalls forget idle connections.
    pub async fn lost(&mut self) {
        let ask_every = testpoint::patience(Duration::from_secs(15));
        loop {
            match tokio::time::timeout(ask_every, self.link.heard.recv()).await {
                Ok(Some(())) => {}
                Ok(None) => return,
                Err(_) => {
                    let answer = tokio::time::timeout(ask_every, self.link.client.simple_query("")).await;
                    if !matches!(answer, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }

    /// Lets the next one have it at once; dropping does the same as soon as the server notices.
    pub async fn release(self) {
        let unlock = async {
            self.link.client.execute("SELECT pg_catalog.pg_advisory_unlock($1)", &[&self.fence.lock_key]).await
        };
        if !matches!(tokio::time::timeout(Duration::from_secs(5), unlock).await, Ok(Ok(_))) {
            tracing::debug!("the lock could not be released in words; closing its connection releases it");
        }
        // A process that ended before the server heard goodbye would leave a complaint in the server's log.
        let Link { client, mut heard } = self.link;
        drop(client);
        let goodbye = async { while heard.recv().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_job_are_the_same_in_every_version() {
        // Two versions of the daemon side by side must exclude each other.
        let job = JobName("sessions".into());
        assert_eq!(key(&job), hash("run", &job));
        assert_ne!(key(&job), hash("work", &job));
        assert_ne!(key(&job), key(&JobName("sessions@main".into())));
    }
}
