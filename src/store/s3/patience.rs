//! Trying again what may go well a little later.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::failure::Failure;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// Does it, and does it again when it failed for a reason that may pass, `attempts` times in all.
///
/// # Errors
/// The last failure.
pub async fn try_often<T, F>(attempts: u32, mut action: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut tries = 0;
    loop {
        let failure = match action().await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        tries += 1;
        if !failure.passing || tries >= attempts {
            return Err(failure.after(tries));
        }
        rest(tries, &failure).await;
    }
}

/// The rest after so many tries: doubled each time, and drawn by lot, so that many who failed together do not come back
/// together.
pub async fn rest(tries: u32, after: &Failure) {
    let longest = FIRST.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST);
    let lot = RandomState::new().hash_one(tries) % 1024;
    let length = longest / 2 + longest.mul_f64(lot as f64 / 2048.0);
    tracing::info!("{after}; trying again in {} ms", length.as_millis());
    tokio::time::sleep(length).await;
}
