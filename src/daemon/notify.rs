//! What systemd is told: sd_notify(3). Without systemd all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

pub fn reloading() {
    // systemd pairs RELOADING with the READY after it by this time stamp.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Pings the watchdog from the daemon's own loop, so that a loop that hangs is noticed.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Watchdog {
    pub fn new() -> Self {
        // A third of the limit: one ping may come late, and another get lost.
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 3), last: None }
    }

    /// To be called each second or so.
    pub fn beat(&mut self) {
        let Some(every) = self.every else { return };
        if self.last.is_none_or(|last| last.elapsed() >= every) {
            self.last = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }
}
