//! Sees, from another connection, that a detaching which waits is ours, and has its mark say so.
//!
//! DETACH CONCURRENTLY allows no transaction around it, so the mark that it is to leave is written before, when anybody
//! else may still be quicker; and what it leaves behind does not tell who did it. But whoever sees our session wait for
//! transactions to end, or for the last users of the partition, knows that the first of its two transactions is committed:
//! had the partition been detached by somebody else, our statement would have failed there. So a run that is killed while it
//! waits leaves a mark that the next may trust.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::facts::Going;
use crate::kinds::Context;
use crate::pg::{Limits, Link, Session};

/// So long is a detaching at least that is looked at: most take less.
const EVERY: Duration = Duration::from_millis(30);
/// There are no more looks.
const NO_MORE: u64 = u64::MAX;

/// Watches one detaching.
pub struct Witness<'a> {
    cx: &'a Context,
    session: &'a Session,
    going: &'a Going,
    /// The statements that have the mark say so.
    say: &'a str,
    looks: watch::Sender<u64>,
}

impl<'a> Witness<'a> {
    pub fn new(cx: &'a Context, session: &'a Session, going: &'a Going, say: &'a str) -> Self {
        Self { cx, session, going, say, looks: watch::Sender::new(0) }
    }

    /// Looks until it has seen enough, or until the statement is `over`; never given up half-way, or the mark might be
    /// written late, on what has become of the table by then. Where it cannot look nothing is known: that is no failure.
    pub async fn watch(&self, over: &CancellationToken) {
        if let Some(link) = self.connected(over).await {
            let mut pause = EVERY;
            loop {
                let began = Instant::now();
                let Ok(Ok(seen)) = timeout(self.patience(), self.look(&link)).await else { break };
                if seen {
                    self.going.ledger.begin(self.going.oid);
                    if timeout(self.patience(), link.client.batch_execute(self.say))
                        .await
                        .is_ok_and(|said| said.is_ok())
                    {
                        break;
                    }
                    // Somebody has it locked: a VACUUM, or our own statement at its end.
                    link.client.batch_execute("ROLLBACK").await.ok();
                }
                self.looks.send_modify(|looks| *looks += 1);
                // On a server of very many locks a look is dear: then there are fewer.
                pause = pause.max(began.elapsed() * 4);
                tokio::select! {
                    () = over.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
        self.looks.send_replace(NO_MORE);
    }

    /// Waits for one look more, before the statement is broken off.
    pub async fn once_more(&self) {
        let mut looks = self.looks.subscribe();
        let seen = *looks.borrow();
        // The one that is on its way may have been too early.
        let more = looks.wait_for(|looks| *looks == NO_MORE || *looks > seen.saturating_add(1));
        timeout(2 * self.patience(), more).await.ok();
    }

    fn patience(&self) -> Duration {
        2 * self.session.lock_timeout
    }

    async fn connected(&self, over: &CancellationToken) -> Option<Link> {
        tokio::select! {
            () = over.cancelled() => return None,
            () = tokio::time::sleep(EVERY) => {}
        }
        let limits = Limits::new(self.patience(), self.session.lock_timeout);
        let link = self.cx.pg.database().connect("pgtend", limits);
        tokio::select! {
            () = over.cancelled() => None,
            link = timeout(2 * self.patience(), link) => Some(link.ok()?.ok()?.0),
        }
    }

    async fn look(&self, link: &Link) -> Result<bool, tokio_postgres::Error> {
        let Going { oid, parent_oid, .. } = self.going;
        let row = link.client.query_one(include_str!("witness.sql"), &[&self.session.pid, oid, parent_oid]).await?;
        Ok(row.get(0))
    }
}
