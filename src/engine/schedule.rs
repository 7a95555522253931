//! When jobs are due. A [`Heartbeat`] asks each second; the [`Rota`] answers from the schedules and the clock alone.
//!
//! tokio-cron-scheduler is named in this file only, and gives the beat and nothing else: it knows a zone by one fixed
//! offset, lets runs overlap and forgets what it missed, so no schedule of a job is handed to it. One scheduler lives as
//! long as the process, since each one made leaves its listeners behind; a reload replaces what is in the rota.

mod rota;
mod times;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler};

pub use rota::{Due, Rota, delay, missed};
pub use times::{TIMES_LOOKED_AT, Times};

/// How long a beat may be overdue before we beat ourselves. The scheduler's own are a second apart, give or take a half.
const PATIENCE: Duration = Duration::from_secs(3);
const SECOND: Duration = Duration::from_secs(1);

/// A beat each second. Beats that nobody awaited are one.
pub struct Heartbeat {
    beats: Arc<Notify>,
    /// Ends the scheduler's loop, once set.
    ended: Arc<AtomicBool>,
    /// When we stop waiting for the scheduler. Kept between calls, which may be dropped half-way.
    deadline: Instant,
    patience: Duration,
    silent: bool,
}

impl Heartbeat {
    /// Starts the scheduler; to be called once a process.
    ///
    /// # Errors
    /// The scheduler cannot be set up.
    pub async fn start() -> Result<Self> {
        // One job that sends one message a second: a small channel never fills.
        let scheduler = JobScheduler::new_with_channel_size(16).await.context("set up the scheduler")?;
        let beats = Arc::new(Notify::new());
        let beat = Arc::clone(&beats);
        let job = Job::new_async("* * * * * *", move |_, _| {
            beat.notify_one();
            Box::pin(std::future::ready(()))
        });
        scheduler.add(job.context("set up the scheduler's beat")?).await.context("add the scheduler's beat")?;
        scheduler.start().await.context("start the scheduler")?;
        let ended = Arc::clone(&scheduler.scheduler.read().await.shutdown);
        Ok(Self::new(beats, ended, PATIENCE))
    }

    fn new(beats: Arc<Notify>, ended: Arc<AtomicBool>, patience: Duration) -> Self {
        Self { beats, ended, deadline: Instant::now() + patience, patience, silent: false }
    }

    /// Waits for the next beat. It may be dropped and called again, and loses none.
    ///
    /// The scheduler is silent after the wall clock was set back, until that clock is where it was; the beat goes on
    /// without it.
    pub async fn beat(&mut self) {
        let wait = tokio::select! {
            () = self.beats.notified() => {
                if std::mem::take(&mut self.silent) {
                    tracing::info!("the scheduler beats again");
                }
                self.patience
            }
            () = tokio::time::sleep_until(self.deadline) => {
                if !std::mem::replace(&mut self.silent, true) {
                    tracing::warn!(
                        "the scheduler has been silent for {}: was the clock set back? Schedules are kept without it",
                        crate::period::human(self.patience)
                    );
                }
                self.patience.min(SECOND)
            }
        };
        self.deadline = Instant::now() + wait;
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_scheduler_beats() {
        let mut heart = Heartbeat::start().await.unwrap();
        // So long that only the scheduler can have beaten.
        heart.deadline += Duration::from_secs(600);
        heart.patience = Duration::from_secs(600);
        heart.beat().await;
        heart.beat().await;
        assert!(!heart.silent);
    }

    #[tokio::test]
    async fn without_the_scheduler_the_beat_goes_on() {
        let beats = Arc::new(Notify::new());
        let mut heart = Heartbeat::new(Arc::clone(&beats), Arc::default(), Duration::from_millis(1));
        heart.beat().await;
        heart.beat().await;
        assert!(heart.silent);
        heart.deadline += Duration::from_secs(600);
        beats.notify_one();
        heart.beat().await;
        assert!(!heart.silent);
    }

    #[tokio::test]
    async fn beats_that_nobody_awaited_are_one() {
        let beats = Arc::new(Notify::new());
        let mut heart = Heartbeat::new(Arc::clone(&beats), Arc::default(), Duration::from_secs(600));
        beats.notify_one();
        beats.notify_one();
        heart.beat().await;
        assert!(futures_util::FutureExt::now_or_never(heart.beat()).is_none());
    }

    #[tokio::test]
    async fn a_dropped_heartbeat_ends_its_scheduler() {
        let heart = Heartbeat::start().await.unwrap();
        let ended = Arc::clone(&heart.ended);
        drop(heart);
        assert!(ended.load(Ordering::Relaxed));
    }
}
