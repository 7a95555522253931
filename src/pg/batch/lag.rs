//! Replicas: work waits while one of them is behind.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;
use tokio_postgres::Client;

/// How often the server is asked.
const EVERY: Duration = Duration::from_secs(1);

/// This much left to replay is a replica behind, where the server knows no time for it: 256 MiB.
const MANY_BYTES: i64 = 256 << 20;

/// Watches the replicas, at most once a second.
#[derive(Debug)]
pub struct Replicas {
    most: Duration,
    next: Option<Instant>,
    told: bool,
}

/// What there is to say of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lag {
    Fine,
    /// There are some, and the role may not see how far they are. Said once.
    Unseen,
    /// The worst of them, in words.
    Behind(String),
}

impl Replicas {
    /// `most` of zero: do not look.
    pub fn new(most: Duration) -> Self {
        Self { most, next: None, told: false }
    }

    /// Whether they are to be looked at again.
    pub fn is_time(&self) -> bool {
        !self.most.is_zero() && self.next.is_none_or(|next| Instant::now() >= next)
    }

    /// # Errors
    /// The server cannot be asked.
    pub async fn look(&mut self, client: &Client) -> Result<Lag> {
        let now = Instant::now();
        let rows = client
            .query(
                "SELECT coalesce(application_name, ''), state, extract(epoch FROM replay_lag)::float8,
                        pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn)::bigint
                 FROM pg_catalog.pg_stat_replication WHERE state IS NULL OR state IN ('streaming', 'catchup')",
                &[],
            )
            .await
            .context("ask how far the replicas are")?;
        let mut worst: Option<(f64, String)> = None;
        for row in &rows {
            let (name, state): (String, Option<String>) = (row.get(0), row.get(1));
            let (seconds, bytes): (Option<f64>, Option<i64>) = (row.get(2), row.get(3));
            if state.is_none() {
                if std::mem::replace(&mut self.told, true) {
                    continue;
                }
                self.next = Some(now + EVERY);
                return Ok(Lag::Unseen);
            }
            let behind = match (seconds, bytes) {
                (Some(seconds), _) if seconds > self.most.as_secs_f64() => {
                    (seconds, format!("replica {name} is {seconds:.1} s behind"))
                }
                (None, Some(bytes)) if bytes > MANY_BYTES => {
                    (0.0, format!("replica {name} has {} MiB still to replay", bytes >> 20))
                }
                _ => continue,
            };
            if worst.as_ref().is_none_or(|(most, _)| behind.0 > *most) {
                worst = Some(behind);
            }
        }
        Ok(match worst {
            Some((_, words)) => Lag::Behind(words),
            None => {
                self.next = Some(now + EVERY);
                Lag::Fine
            }
        })
    }
}
