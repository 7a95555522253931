//! When a run may be at work: what keeps it from beginning, and what makes it end.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::lock::JobLock;
use super::runner::{Ending, Ring};
use crate::config::Definition;
use crate::kinds::{StopReason, StopStyle, Stopper};
use crate::run::Trigger;

/// When a run may be at work, by its job's window.
pub(super) enum Hours {
    /// It has none, or somebody has asked for the run by hand.
    Any,
    Until(DateTime<Utc>),
    Closed(String),
}

pub(super) fn hours(ring: &Ring, now: DateTime<Utc>) -> Hours {
    match (ring.trigger, &ring.job.window) {
        (Trigger::Schedule | Trigger::CatchUp | Trigger::After, Some(window)) => {
            let closed = || Hours::Closed(format!("its window {window} is closed"));
            window.closes_after(now, ring.job.timezone).map_or_else(closed, Hours::Until)
        }
        _ => Hours::Any,
    }
}

/// Gives the run its reasons to stop as they come; comes back when it is to be stopped by force.
pub(super) async fn stop_when_due(
    job: &Definition,
    ending: &Ending,
    lock: &mut JobLock,
    stopper: &Stopper,
    deadline: Instant,
    closes_in: Duration,
) {
    let closes_at = Instant::now().checked_add(closes_in);
    let window_closes = async {
        match closes_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let gently = async {
        tokio::select! {
            () = window_closes => stopper.stop(StopReason::WindowClosed),
            () = ending.soft.cancelled() => {
                stopper.stop(StopReason::Shutdown);
                if job.spec.stop_style() == StopStyle::AtOnce {
                    return;
                }
            }
        }
        ending.hard.cancelled().await;
    };
    tokio::select! {
        () = lock.lost() => stopper.stop(StopReason::LockLost),
        () = tokio::time::sleep_until(deadline) => stopper.stop(StopReason::TimedOut),
        () = gently => {}
        () = ending.hard.cancelled() => stopper.stop(StopReason::Shutdown),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config;

    #[test]
    fn a_window_binds_what_comes_by_itself_and_nobody_who_asks_by_hand() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let text = "[databases.main]\nurl = \"postgresql://a@b/c\"\n[jobs.chore]\nwindow = \"22:00-06:00\"\n\
                    [jobs.chore.sql]\nstatements = [\"SELECT 1\"]\n";
        std::fs::write(file.path(), text).unwrap();
        let job = config::load(file.path()).unwrap().jobs.remove(0);
        let at = |trigger, time: &str| {
            let ring = Ring::by_hand(&Arc::clone(&job), trigger);
            match hours(&ring, format!("2026-07-01T{time}:00Z").parse().unwrap()) {
                Hours::Any => "any".into(),
                Hours::Until(end) => end.format("%dT%H:%M").to_string(),
                Hours::Closed(why) => why,
            }
        };
        for trigger in [Trigger::Schedule, Trigger::CatchUp, Trigger::After] {
            assert_eq!(at(trigger, "22:00"), "02T06:00");
            assert_eq!(at(trigger, "21:59"), "its window 22:00-06:00 is closed");
        }
        for trigger in [Trigger::Cli, Trigger::Notify, Trigger::Http, Trigger::Signal] {
            assert_eq!(at(trigger, "12:00"), "any");
        }
    }
}
