//! Named points at which a test can hold, break or panic a run of the real binary. In a release build they are nothing.
//!
//! `PGTEND_TESTPOINTS="expire.batch=hold:/tmp/x; runner.apply=panic"`: `hold:FILE` makes `FILE.reached` and waits until
//! FILE exists; `panic` panics.

/// The run has come to `point`.
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
