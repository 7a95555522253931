//! What one run brings about: another try of it, the jobs that come after it; and what an earlier daemon left to be done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{Daemon, Event};
use crate::config::Definition;
use crate::engine::Ring;
use crate::engine::after::follows;
use crate::engine::history::Standing;
use crate::engine::schedule::delay;
use crate::engine::take_up::{TakeUp, is_newest, take_up};
use crate::run::{JobName, RunRecord, Skip, Trigger};
use crate::testpoint;

/// How soon a job whose lock was held elsewhere may be looked at again. A daemon's run shows in the history before that;
/// what holds the lock without one would be asked again and again.
const HELD: Duration = Duration::from_secs(30);

/// What there is to remember of jobs that come after others.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// Of each, which of those before it have succeeded here since it was begun here. Where the history cannot be read, this
    /// is all there is to go by.
    succeeded: HashSet<(JobName, JobName)>,
    /// Those that could not begin because they were at work, and when they may be looked at again: however often that was,
    /// each runs once more.
    postponed: HashMap<JobName, Instant>,
}

impl Daemon {
    /// A scheduled run that went badly is tried again, after a rest that grows.
    pub(super) fn retry(&self, ring: &Ring, record: &RunRecord) {
        let retry = ring.job.retry;
        let tries_again = |outcome| ring.job.tries_again(outcome, ring.trigger, ring.attempt);
        let (Some(_), Some(ended)) = (record.outcome.filter(|outcome| tries_again(*outcome)), record.finished_at)
        else {
            return;
        };
        let wait = retry.wait_after(ring.attempt);
        let again = Ring { attempt: ring.attempt + 1, ..ring.clone() };
        tracing::info!(job = %ring.job.name, attempt = again.attempt, of = retry.attempts, "tried again in {}", crate::period::human(wait));
        let (events, soft) = (self.events.clone(), self.ending.soft.clone());
        self.runs.spawn(async move {
            let rest = async {
                tokio::time::sleep(wait).await;
                testpoint::reach_in("daemon.try", again.job.name.as_str()).await;
            };
            if soft.run_until_cancelled(rest).await.is_some() {
                let _ = events.send(Event::Try(again, ended));
            }
        });
    }

    /// Begins another try, unless what was due has been done since the last one `ended`: by a newer due time, which counts
    /// for both, or by somebody who ran the job by hand.
    pub(super) fn try_again(&self, ring: Ring, ended: DateTime<Utc>) {
        let Some(job) = self.job(&ring.job.name) else { return };
        // What rang while that run was at work was skipped, and counts for nothing.
        let heard = |due_at: DateTime<Utc>| due_at.max(ended - delay(&job));
        if ring.due_at.is_some_and(|due_at| !is_newest(&job, heard(due_at), self.shared.clock.host())) {
            tracing::info!(job = %job.name, "not tried again: a newer due time has come");
            return;
        }
        let (engine, events, soft) = (Arc::clone(&self.tending.engine), self.events.clone(), self.ending.soft.clone());
        self.runs.spawn(async move {
            let Some(marks) = soft.run_until_cancelled(Box::pin(engine.marks(std::slice::from_ref(&job)))).await else {
                return;
            };
            // Where the history cannot be read, nothing is known against it.
            let done = marks.is_ok_and(|marks| marks.get(&job.name).is_some_and(|one| one.succeeded > Some(ended)));
            if done {
                tracing::info!(job = %job.name, "not tried again: it has succeeded meanwhile");
            } else {
                let _ = events.send(Event::Again(ring));
            }
        });
    }

    /// Starts the jobs that come after `done`, once all that they come after have succeeded.
    pub(super) fn follow(&mut self, done: &JobName) {
        let followers: Vec<_> =
            self.config().jobs.iter().filter(|job| job.enabled && job.after.contains(done)).cloned().collect();
        for job in followers {
            if job.after.len() == 1 {
                self.start_after(&job);
                continue;
            }
            self.followers.succeeded.insert((job.name.clone(), done.clone()));
            let seen = |before: &JobName| self.followers.succeeded.contains(&(job.name.clone(), before.clone()));
            let all_seen = job.after.iter().all(seen);
            self.ask_history(&job, all_seen);
        }
    }

    /// Has `job` started if the history says that all it comes after have succeeded since it began last; where the history
    /// cannot be read, if `otherwise`.
    fn ask_history(&self, job: &Arc<Definition>, otherwise: bool) {
        let concerned = self.config().jobs.iter().filter(|one| one.name == job.name || job.after.contains(&one.name));
        let (concerned, job): (Vec<_>, _) = (concerned.cloned().collect(), Arc::clone(job));
        let (engine, events, soft) = (Arc::clone(&self.tending.engine), self.events.clone(), self.ending.soft.clone());
        self.runs.spawn(async move {
            let Some(marks) = soft.run_until_cancelled(Box::pin(engine.marks(&concerned))).await else { return };
            let starts = marks.map_or_else(
                |error| {
                    let error = crate::pg::explain(&error);
                    tracing::warn!(job = %job.name, "whether it is to run after the others goes by what this daemon has seen: {error}");
                    otherwise
                },
                |marks| follows(&job, &marks),
            );
            if starts {
                let _ = events.send(Event::After(job.name.clone()));
            }
        });
    }

    pub(super) fn start_after(&mut self, job: &Arc<Definition>) {
        self.followers.succeeded.retain(|(follower, _)| *follower != job.name);
        self.followers.postponed.remove(&job.name);
        self.start(Ring::by_hand(job, Trigger::After));
    }

    /// A job that could not follow because it was at work runs once more when that is over: what was at work may not have
    /// seen what was to be followed.
    pub(super) fn postpone(&mut self, ring: &Ring, skip: Option<Skip>) {
        let rest = match skip {
            Some(Skip::Overlap) if ring.trigger == Trigger::After => Duration::ZERO,
            Some(Skip::Held) if ring.trigger == Trigger::After => testpoint::patience(HELD),
            _ => return,
        };
        let name = &ring.job.name;
        if self.followers.postponed.insert(name.clone(), Instant::now() + rest).is_none() {
            tracing::info!(job = %name, "it runs once more when the run that is at work is over");
        }
        // That may be over by now.
        if skip == Some(Skip::Overlap) && !self.shared.running().contains_key(name) {
            self.make_up(name);
        }
    }

    /// The run is over that `job` could not follow beside.
    pub(super) fn make_up(&mut self, job: &JobName) {
        if self.followers.postponed.remove(job).is_some()
            && let Some(job) = self.job(job)
        {
            self.ask_history(&job, true);
        }
    }

    /// The same, for runs of other daemons.
    pub(super) fn make_up_elsewhere(&mut self, standings: &HashMap<JobName, Standing>) {
        let (running, now) = (self.shared.running(), Instant::now());
        let free = |name: &JobName| {
            !running.contains_key(name) && standings.get(name).is_some_and(|standing| standing.running_since.is_none())
        };
        let due = self.followers.postponed.iter().filter(|(name, at)| **at <= now && free(name));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.make_up(&name);
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
