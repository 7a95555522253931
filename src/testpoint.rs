//! Named points at which a test can hold, break or panic a run of the real binary. In a release build they are nothing.
//!
//! `PGTEND_TESTPOINTS="expire.batch=hold:/tmp/x; runner.apply=panic"`: `hold:FILE` makes `FILE.reached` and waits until
//! FILE exists; `panic` panics. `runner.apply@JOB` is the point in the runs of that job alone. `PGTEND_HURRY=20` makes
//! the waits for a silent server that much shorter.

use std::time::Duration;

/// A run of `job` has come to `point`.
#[cfg(debug_assertions)]
pub async fn reach_in(point: &str, job: &str) {
    reach(point).await;
    reach(&format!("{point}@{job}")).await;
}

/// A run of `job` has come to `point-N`, which it passes again and again.
#[cfg(debug_assertions)]
pub async fn reach_nth(point: &str, n: u64, job: &str) {
    reach_in(&format!("{point}-{n}"), job).await;
}

/// The program has come to `point`.
#[cfg(debug_assertions)]
pub async fn reach(point: &str) {
    let Ok(all) = std::env::var("PGTEND_TESTPOINTS") else { return };
    for (_, action) in all.split(';').filter_map(|one| one.trim().split_once('=')).filter(|(name, _)| *name == point) {
        assert!(action != "panic", "the test point {point} was told to panic");
        if let Some(file) = action.strip_prefix("hold:") {
            let _ = std::fs::write(format!("{file}.reached"), point);
            while !std::path::Path::new(file).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[allow(clippy::unused_async, reason = "the same shape as in a debug build")]
#[inline]
pub async fn reach(_: &str) {}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[allow(clippy::unused_async, reason = "the same shape as in a debug build")]
#[inline]
pub async fn reach_in(_: &str, _: &str) {}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[allow(clippy::unused_async, reason = "the same shape as in a debug build")]
#[inline]
pub async fn reach_nth(_: &str, _: u64, _: &str) {}

/// How long to wait where a server may be silent: `usual`, but for a test in a hurry.
#[cfg(debug_assertions)]
pub fn patience(usual: Duration) -> Duration {
    let hurry = std::env::var("PGTEND_HURRY").ok().and_then(|factor| factor.parse().ok());
    usual / hurry.unwrap_or(1).max(1)
}

/// `usual`.
#[cfg(not(debug_assertions))]
#[inline]
pub fn patience(usual: Duration) -> Duration {
    usual
}
