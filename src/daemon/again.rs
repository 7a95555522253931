//! What one run brings about: another try of it, the jobs that come after it; and what an earlier daemon left to be done.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Daemon, Event};
use crate::engine::Ring;
use crate::engine::history::Standing;
use crate::engine::take_up::{TakeUp, take_up};
use crate::run::{JobName, RunRecord, Trigger};

impl Daemon {
    /// A scheduled run that went badly is tried again, after a rest that grows.
    pub(super) fn retry(&self, ring: &Ring, record: &RunRecord) {
        let retry = ring.job.retry;
        if !record.outcome.is_some_and(|outcome| ring.job.tries_again(outcome, ring.trigger, ring.attempt)) {
            return;
        }
        let wait = retry.wait_after(ring.attempt);
        let again = Ring { attempt: ring.attempt + 1, ..ring.clone() };
        tracing::info!(job = %ring.job.name, attempt = again.attempt, of = retry.attempts, "tried again in {}", crate::period::human(wait));
        let (events, soft) = (self.events.clone(), self.ending.soft.clone());
        self.runs.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => { let _ = events.send(Event::Again(again)); }
                () = soft.cancelled() => {}
            }
        });
    }

    /// Starts the jobs that come after `done`, once all that they come after have succeeded.
    pub(super) fn follow(&mut self, done: &JobName) {
        let followers: Vec<_> =
            self.config().jobs.iter().filter(|job| job.enabled && job.after.contains(done)).cloned().collect();
        for job in followers {
            self.succeeded.insert((job.name.clone(), done.clone()));
            let complete = job.after.iter().all(|before| self.succeeded.contains(&(job.name.clone(), before.clone())));
            if complete {
                self.succeeded.retain(|(follower, _)| *follower != job.name);
                self.start(Ring::by_hand(&job, Trigger::After));
            }
        }
    }

    /// Begins again what a daemon, this one before or another, has begun and not brought to its end.
    pub(super) fn take_up(&self, standings: &HashMap<JobName, Standing>) {
        let running = self.shared.running();
        for job in self.config().jobs.iter().filter(|job| !running.contains_key(&job.name)) {
            let Some(standing) = standings.get(&job.name) else { continue };
            if let Some(TakeUp { due_at, attempt, why }) = take_up(job, standing, self.shared.clock.host()) {
                tracing::info!(job = %job.name, %due_at, attempt, "what was due then is taken up again: {why}");
                let (job, trigger) = (Arc::clone(job), Trigger::CatchUp);
                self.start(Ring { job, trigger, due_at: Some(due_at), request: None, attempt });
            }
        }
    }
}
