//! Who a statement waits for, seen from outside while it waits: afterwards nothing tells any more.

use std::future::Future;
use std::pin::pin;

use anyhow::Result;

use super::Session;
use super::session::Sessions;

/// Runs `work` on `session`. If it takes longer than most of the session's lock time-out, another connection looks whom it
/// waits for: the answer comes along, for the case that the lock is not had.
pub async fn watched<T>(sessions: &Sessions, session: &Session, work: impl Future<Output = T>) -> (T, Option<String>) {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return (done, None),
        () = tokio::time::sleep(session.lock_timeout.mul_f64(0.6)) => {}
    }
    let (done, seen) = tokio::join!(work, blockers(sessions, session.pid));
    (done, seen.ok().flatten())
}

async fn blockers(sessions: &Sessions, pid: i32) -> Result<Option<String>> {
    let link = sessions.database().connect("pgtend").await?;
    let rows = link.client.query(include_str!("waits.sql"), &[&pid]).await?;
    let said: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok((!said.is_empty()).then(|| said.join("; ")))
}
