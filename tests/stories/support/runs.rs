//! The history as stories read it, and `sql` jobs that wait until a story lets them go on.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::database::Database;
use super::program::Pgtend;
use super::wait::{wait_for, wait_until};

/// A row of `pgtend.run`.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub trigger: String,
    pub host: String,
    pub pid: i32,
    pub due_at: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// `open` while it has none.
    pub outcome: String,
    pub error: String,
    pub details: Value,
}

/// A job that works until the table `gate` has a row, and is counted in the table `done` once it is through. It polls,
/// since a wait for a lock would be cut off by `lock_timeout`; and it is one statement, so that the server works on it
/// all the time. See [`Database::add_gate`].
pub const GATED: &str = "
[jobs.gated.sql]
statements = ['''DO $$ BEGIN
  WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
  INSERT INTO done DEFAULT VALUES;
END $$''']
";

impl Database {
    /// All runs of a job, the oldest first; none where there is no history yet.
    pub async fn runs(&self, job: &str) -> Vec<Run> {
        let client = self.client().await;
        let there = client.query_one("select to_regclass('pgtend.run') is not null", &[]).await.expect("look for it");
        if !there.get::<_, bool>(0) {
            return Vec::new();
        }
        let rows = client.query("select * from pgtend.run where job = $1 order by id", &[&job]).await;
        let text = |text: Option<String>, otherwise: &str| text.unwrap_or_else(|| otherwise.into());
        rows.expect("read the history")
            .iter()
            .map(|row| Run {
                trigger: row.get("trigger"),
                host: row.get("host"),
                pid: row.get("pid"),
                due_at: row.get("due_at"),
                started_at: row.get("started_at"),
                finished_at: row.get("finished_at"),
                outcome: text(row.get("outcome"), "open"),
                error: text(row.get("error"), ""),
                details: row.get("details"),
            })
            .collect()
    }

    /// How the job's runs ended, the oldest first.
    pub async fn outcomes(&self, job: &str) -> Vec<String> {
        self.runs(job).await.into_iter().map(|run| run.outcome).collect()
    }

    /// Waits until the job has so many runs that have ended, the last of which has let go of the job, and gives all of its
    /// runs.
    pub async fn wait_for_ended(&self, job: &str, count: usize) -> Vec<Run> {
        wait_for(&format!("{count} runs of {job} that have ended"), async || {
            let runs = self.runs(job).await;
            let free = self.is_let_go(job).await;
            let ended = runs.iter().filter(|run| run.finished_at.is_some()).count();
            (ended >= count && (free || ended < runs.len())).then_some(runs)
        })
        .await
    }

    /// A run is in the history a moment before its lock is free, and what asks for the job in that moment is skipped.
    pub async fn is_let_go(&self, job: &str) -> bool {
        self.backends(&format!("pgtend/{job} (lock)")).await.is_empty()
    }

    /// What [`GATED`] works with.
    pub async fn add_gate(&self) {
        self.execute("create table gate (); create table done (at timestamptz default clock_timestamp())").await;
    }

    pub async fn open_gate(&self) {
        self.execute("insert into gate default values").await;
    }

    /// The server processes of the sessions of such a name; the name is a pattern of LIKE.
    pub async fn backends(&self, application_name: &str) -> Vec<i32> {
        self.column(&format!(
            "select pid from pg_stat_activity where datname = current_database() \
             and application_name like '{application_name}'"
        ))
        .await
    }

    /// How many advisory locks are held here, or waited for.
    pub async fn advisory_locks(&self, granted: bool) -> i64 {
        self.scalar(&format!(
            "select count(*) from pg_locks where locktype = 'advisory' and granted = {granted} \
             and database = (select oid from pg_database where datname = current_database())"
        ))
        .await
    }

    /// How many sessions of such a name the server is busy for; the name is a pattern of LIKE.
    pub async fn busy(&self, application_name: &str) -> i64 {
        self.scalar(&format!(
            "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
             and application_name like '{application_name}' and pid <> pg_backend_pid()"
        ))
        .await
    }

    pub async fn wait_for_busy(&self, application_name: &str, count: i64) {
        let what = format!("{count} statements at work for {application_name}");
        wait_until(&what, async || self.busy(application_name).await == count).await;
    }

    /// Waits until nobody holds a job's lock, nor its second key.
    pub async fn wait_until_unlocked(&self) {
        wait_until("no advisory lock to be held", async || self.advisory_locks(true).await == 0).await;
    }
}

/// A place in the program's path at which it waits until told to go on.
pub struct Hold(PathBuf);

impl Pgtend {
    /// Makes all that is started from here on wait at a test point (`POINT`, or `POINT@JOB`), until it is told to go on.
    #[must_use]
    pub fn holding(self, point: &str) -> (Self, Hold) {
        let file = self.folder().join(format!("go-{point}"));
        let program = self.env("PGTEND_TESTPOINTS", &format!("{point}=hold:{}", file.display()));
        (program, Hold(file))
    }

    /// Makes all that is started from here on panic at a test point.
    #[must_use]
    pub fn panicking(self, point: &str) -> Self {
        self.env("PGTEND_TESTPOINTS", &format!("{point}=panic"))
    }
}

impl Hold {
    /// Waits until the program has come there.
    pub async fn reached(&self) {
        let file = PathBuf::from(format!("{}.reached", self.0.display()));
        wait_until(&format!("{} to be made", file.display()), async || Path::exists(&file)).await;
    }

    pub fn go_on(&self) {
        std::fs::write(&self.0, "").expect("let it go on");
    }
}
