//! The one engine for work on rows: many short transactions, none of which anybody has to wait for.
//!
//! It goes through a leaf once, oldest first by an index or block by block, and passes over rows that somebody has locked.
//! Then it comes back to those, and only there waits for a lock as long as `lock_timeout` allows. Between batches it rests,
//! looks at the replicas, and listens for a reason to stop: that is its safe point, and the next run goes on from there,
//! since what is gone is no longer due.

mod children;
mod full;
mod into;
mod lag;
mod objects;
mod odd;
mod one;
mod place;
mod size;
mod statement;
mod summary;
mod trouble;
mod walk;
mod work;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use into::{Archive, Into};
pub use objects::{Objects, Removed};
pub use size::Size;
pub use statement::{Access, Cutoff, Deletion, Form, parenthesized};
pub use summary::Summary;

use self::lag::Replicas;
use self::work::Work;
use super::{Session, Sessions};
use crate::period::Span;

/// A batch that takes longer than this is cut short by the server and made smaller.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// So many rows are remembered as left for the second pass; where more are, the first one ends early.
const MOST_LEFT: usize = 1_000;

/// `batch = { … }` of a kind that works on rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Rows a batch has at most; left out, the size follows `target`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// How long a batch should take.
    pub target: Span,
    /// The rest between two batches; left out, a quarter of the time the last one took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Span>,
    /// The work waits while a replica is further behind than this; `"0s"`: do not look.
    pub max_replica_lag: Span,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            rows: None,
            target: Span(Duration::from_millis(250)),
            pause: None,
            max_replica_lag: Span(Duration::from_secs(10)),
        }
    }
}

impl Batch {
    /// What of it cannot be meant.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.rows.is_some_and(|rows| rows == 0 || rows > 100_000) {
            mistakes.push("batch.rows must be between 1 and 100000".into());
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(20)).contains(&self.target.0) {
            mistakes.push("batch.target must be between 1ms and 20s".into());
        }
        mistakes
    }
}

/// The run that the engine works for.
pub trait Host: Sync {
    type Reason: Send;
    /// What a row with [`Objects`] stands for.
    type Object: Clone + Ord + Send + Sync;

    /// The reason to stop, if there is one.
    fn requested(&self) -> Option<Self::Reason>;
    /// Waits, or gives the reason to stop.
    fn pause(&self, length: Duration) -> impl Future<Output = Option<Self::Reason>> + Send;
    /// Why the rows are to stay from now on, in words; asked before each batch.
    fn held(&self, session: &Session) -> impl Future<Output = Result<Option<String>>> + Send;
    /// A batch was committed: rows deleted, and for each of [`Deletion::followed_by`] the rows that went with them.
    fn deleted(&self, rows: u64, followers: &[u64]);
    /// Something a person should know.
    fn warn(&self, text: String);

    /// The object at an address that a row has.
    ///
    /// # Errors
    /// It is none that may be deleted; why, in words.
    fn locate(&self, address: &str) -> Result<Self::Object, String>;
    /// The object that an address means, however it is written; nothing where it is none.
    fn meant(&self, address: &str) -> Option<Self::Object>;
    /// The addresses at which other rows may have it.
    fn spelled(&self, object: &Self::Object) -> Vec<String>;
    /// Deletes objects, each in a few seconds and all of them in not many more: rows are locked meanwhile. What became of
    /// each, in their order.
    fn remove(&self, objects: &[Self::Object]) -> impl Future<Output = Vec<Removed>> + Send;
    /// A batch was committed: objects deleted, objects that other rows have, rows that stay.
    fn cleared(&self, deleted: u64, kept: u64, stayed: u64);
}

/// How the work on a leaf ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended<R> {
    /// Every row that was due is gone.
    Done,
    /// Every row that could go is gone; the text says which stay, and why. `moved`: whether any went.
    Stayed {
        why: String,
        moved: bool,
    },
    /// Somebody wants the rows left alone; the text says who.
    Held(String),
    /// A lock was not had in time; the text says whose it is. The work goes on where it was if it is called again.
    Locked(String),
    Stopped(R),
}

/// How far the work on a leaf has come, so that a second try does not read the table again.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Left>);

#[derive(Debug, Default, Clone)]
struct Left {
    /// The file that what follows is about.
    file: Option<u32>,
    /// Whether the first pass is over.
    passed: bool,
    /// Blocks with rows that somebody had locked.
    blocks: BTreeSet<u32>,
    /// Rows that a trigger kept, by ctid.
    kept: BTreeSet<String>,
    /// Groups of a summary whose count has no room for their rows.
    full: Vec<String>,
    /// Rows that stay for their objects' sake.
    objects: objects::Kept,
    /// Whether any row went.
    moved: bool,
}

/// Deletes what `deletion` says, batch by batch.
///
/// # Errors
/// PostgreSQL refuses: a privilege, a foreign key, a trigger that keeps rows. What was deleted before stays deleted.
pub async fn delete<H: Host>(
    host: &H,
    sessions: &Sessions,
    deletion: &Deletion,
    settings: &Batch,
    progress: &Progress,
) -> Result<Ended<H::Reason>> {
    let left = progress.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let session = ready(sessions, &deletion.access).await?;
    let mut deletion = deletion.clone();
    if let Some(Into::Summary(summary)) = &mut deletion.into {
        summary.full.clone_from(&left.full);
    }
    let mut settings = settings.clone();
    if deletion.objects.is_some() {
        settings.rows = Some(settings.rows.map_or(objects::MOST_ROWS, |rows| rows.min(objects::MOST_ROWS)));
    }
    let replicas = Replicas::new(settings.max_replica_lag.0);
    let mut work =
        Work { host, sessions, deletion, settings: &settings, session, replicas, left, odd: BTreeSet::new() };
    let ended = work.all().await;
    work.tell_objects(&ended);
    *progress.0.lock().unwrap_or_else(PoisonError::into_inner) = work.left;
    work.session.close().await;
    ended
}

/// A session that finds rows the way that was planned, however the planner would weigh it today.
async fn ready(sessions: &Sessions, access: &Access) -> Result<Session> {
    let session = sessions.open().await?;
    // What is turned off for the planner counts as very dear, and what is dear is compiled, which takes longer than a batch.
    session.batch_execute(&format!("{}; SET jit = off", planner_settings(access))).await?;
    session
        .query(
            "SELECT pg_catalog.set_config('statement_timeout', least($1::bigint, setting::bigint)::text, false)
             FROM pg_catalog.pg_settings WHERE name = 'statement_timeout' AND setting::bigint > 0",
            &[&i64::try_from(BATCH_TIMEOUT.as_millis()).unwrap_or(i64::MAX)],
        )
        .await?;
    Ok(session)
}

/// By the index: in its order, so that a batch reads no more than it takes. By blocks: that range and nothing else.
pub const fn planner_settings(access: &Access) -> &'static str {
    match access {
        Access::Index(_) => "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off",
        Access::Blocks => "SET enable_seqscan = off",
    }
}
