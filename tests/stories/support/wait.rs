//! Waiting for a condition.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::keeper;

/// Far above what anything here takes, so that only what never comes runs into it. A walk by hand is as large as somebody likes.
static LIMIT: LazyLock<Duration> =
    LazyLock::new(|| Duration::from_secs(if keeper::is_by_hand() { 24 * 3600 } else { 60 }));

const PAUSE: Duration = Duration::from_millis(20);

/// Returns when the condition holds.
///
/// # Panics
/// It did not within [`LIMIT`]; the text says what was waited for.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    wait_for(what, async || condition().await.then_some(())).await;
}

/// Returns what comes, when it comes.
///
/// # Panics
/// It did not within [`LIMIT`]; the text says what was waited for.
pub async fn wait_for<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    wait_or_explain(what, condition, String::new).await
}

/// As [`wait_for`], with more to say when it does not come.
pub async fn wait_or_explain<T>(
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
    explain: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + *LIMIT;
    loop {
        if let Some(result) = condition().await {
            return result;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}\n{}", LIMIT.as_secs(), explain());
        sleep(PAUSE).await;
    }
}
