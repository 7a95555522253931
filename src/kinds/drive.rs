//! From plan to report: the one loop that all kinds are driven by.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::{Applied, Context, Kind, StopReason};
use crate::pg::explain;
use crate::run::{Counted, Outcome, Step};

/// Whether the plan is also applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Apply,
    /// `plan`: says what would be done, in sessions that can only read.
    Rehearse,
}

/// How the driving ended, before the runner turns it into an outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ended {
    /// The plan, notes after actions.
    pub steps: Vec<Step>,
    /// Actions, and targets that needed none.
    pub done: usize,
    pub failed: usize,
    /// Actions whose lock was never had.
    pub locked: usize,
    pub stopped: Option<StopReason>,
}

impl Ended {
    /// The one outcome this amounts to.
    pub fn outcome(&self) -> Outcome {
        match self.stopped {
            Some(StopReason::Shutdown) => return Outcome::Cancelled,
            // Locks that were not had leave some targets as they were, and the others are done.
            Some(StopReason::TimedOut) if self.locked > 0 && self.done > 0 => return Outcome::Partial,
            Some(StopReason::TimedOut) => return Outcome::TimedOut,
            Some(StopReason::LockLost) => return Outcome::Failed,
            // Work that its window or budget ended cleanly is in order, whatever of it is left.
            Some(StopReason::WindowClosed | StopReason::BudgetSpent) | None => {}
        }
        match (self.failed + self.locked, self.done) {
            (0, _) => Outcome::Succeeded,
            (_, 1..) => Outcome::Partial,
            (_, 0) if self.failed == 0 => Outcome::TimedOut,
            (_, 0) => Outcome::Failed,
        }
    }
}

/// Makes the plan, logs it, and applies it action by action. One action's failure stops no other; one whose lock is not
/// had goes to the end of the queue and is tried in rounds until the run's time is over.
///
/// # Errors
/// The plan could not be made.
pub async fn drive<K: Kind>(kind: &K, cx: &Context, mode: Mode) -> Result<Ended> {
    let plan = kind.plan(cx).await.context("make the plan")?;
    let mut ended = Ended { done: plan.in_order, ..Ended::default() };
    for action in &plan.actions {
        let step = kind.step(action);
        tracing::debug!(action = step.action, object = %step.target, "planned: {}", step.reason);
        ended.steps.push(step);
    }
    if mode == Mode::Apply {
        plan.notes.iter().for_each(|note| cx.report.note(note));
    }
    ended.steps.extend(plan.notes);
    if mode == Mode::Rehearse {
        return Ok(ended);
    }

    let mut queue: VecDeque<(K::Action, Option<String>)> =
        plan.actions.into_iter().map(|action| (action, None)).collect();
    let mut round = 0;
    while !queue.is_empty() {
        let done_before = ended.done;
        for _ in 0..queue.len() {
            let Some((action, before)) = queue.pop_front() else { break };
            if let Some(reason) = cx.stop.requested() {
                queue.push_front((action, before));
                return Ok(stopped(kind, cx, ended, reason, &queue));
            }
            let target = kind.step(&action).target;
            match kind.apply(cx, &action).await {
                Ok(Applied::Done) => ended.done += 1,
                Ok(Applied::Partly(why)) => {
                    ended.done += 1;
                    ended.failed += 1;
                    cx.report.fail(target, why);
                }
                Ok(Applied::NotYet(why)) => {
                    tracing::info!(object = %target, "not yet: {why}");
                    queue.push_back((action, Some(why)));
                }
                Ok(Applied::Locked(by)) => {
                    cx.report.count(Counted::LockTimeouts, &kind.label(&action), 1);
                    tracing::info!(object = %target, "lock not had in time, trying again later: {by}");
                    let by = format!("its lock was not had before the job's timeout: {by}");
                    if K::IN_ORDER {
                        queue.push_front((action, Some(by)));
                        break;
                    }
                    queue.push_back((action, Some(by)));
                }
                Ok(Applied::Stopped(reason)) => {
                    queue.push_front((action, before));
                    return Ok(stopped(kind, cx, ended, reason, &queue));
                }
                Err(error) => {
                    ended.failed += 1;
                    cx.report.fail(target, explain(&error));
                    if K::IN_ORDER {
                        queue.retain(|(rest, _)| {
                            let hangs = kind.hangs_on(&action, rest);
                            if hangs {
                                let target = kind.step(rest).target;
                                cx.report.warn(format!("{target}: not run, because an earlier one failed"));
                            }
                            !hangs
                        });
                    }
                }
            }
        }
        if queue.is_empty() {
            break;
        }
        // What got on will soon get on again: the rests grow only while nothing moves.
        round = if ended.done > done_before { 1 } else { round + 1 };
        let rest = backoff(round, cx.lock_timeout, cx.job.as_str());
        if Instant::now() + rest >= cx.deadline {
            break;
        }
        if let Some(reason) = cx.pause(rest).await {
            return Ok(stopped(kind, cx, ended, reason, &queue));
        }
    }
    for (action, why) in queue {
        ended.locked += 1;
        cx.report.fail(kind.step(&action).target, why.unwrap_or_default());
    }
    Ok(ended)
}

fn stopped<K: Kind>(
    kind: &K,
    cx: &Context,
    mut ended: Ended,
    reason: StopReason,
    left: &VecDeque<(K::Action, Option<String>)>,
) -> Ended {
    if reason == StopReason::TimedOut {
        // What was tried in vain until then is no different from what was tried in vain for the last time just before.
        for (action, why) in left {
            if let Some(why) = why {
                ended.locked += 1;
                cx.report.fail(kind.step(action).target, why.clone());
            }
        }
    }
    let names: Vec<_> = left.iter().take(10).map(|(action, _)| how_much(&kind.step(action))).collect();
    let more = if left.len() > 10 { format!(" and {} more", left.len() - 10) } else { String::new() };
    cx.report.lock().left_for_next_time =
        Some(format!("{}; not finished: {}{more}", reason.sentence(), names.join(", ")));
    ended.stopped = Some(reason);
    ended
}

/// What is left, with the rows that it had when the run began, where those were counted: `public.sessions (of 15000 rows)`.
fn how_much(step: &Step) -> String {
    match step.detail.get("rows").and_then(serde_json::Value::as_u64) {
        Some(rows @ 1..) => {
            let about = if step.detail.get("exact") == Some(&true.into()) { "" } else { "about " };
            format!("{} (of {about}{rows} rows)", step.target)
        }
        _ => step.target.clone(),
    }
}

/// The rest before round `round`: growing, and different for each job, so that two daemons that want the same lock do not
/// ask for it in step for ever.
fn backoff(round: u32, lock_timeout: Duration, job: &str) -> Duration {
    let base = lock_timeout.max(Duration::from_millis(50)) * 2u32.saturating_pow(round.min(6));
    let jitter = crate::cron::stable_fraction(&format!("{job}#{round}"));
    base.min(Duration::from_secs(15)).mul_f64(0.5 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(done: usize, failed: usize, locked: usize, stopped: Option<StopReason>) -> Outcome {
        Ended { done, failed, locked, stopped, steps: Vec::new() }.outcome()
    }

    #[test]
    fn what_is_left_is_told_with_its_rows_where_they_are_known() {
        let said = |detail| how_much(&Step { detail, ..Step::warn("t", "") });
        assert_eq!(said(serde_json::json!({ "rows": 7, "exact": true })), "t (of 7 rows)");
        assert_eq!(said(serde_json::json!({ "rows": 7 })), "t (of about 7 rows)");
        assert_eq!(said(serde_json::json!({ "rows": null })), "t");
        assert_eq!(said(serde_json::json!({})), "t");
    }

    #[test]
    fn an_outcome_never_says_better_than_it_was() {
        assert_eq!(outcome(0, 0, 0, None), Outcome::Succeeded);
        assert_eq!(outcome(3, 0, 0, None), Outcome::Succeeded);
        assert_eq!(outcome(2, 1, 0, None), Outcome::Partial);
        assert_eq!(outcome(0, 1, 0, None), Outcome::Failed);
        assert_eq!(outcome(0, 1, 1, None), Outcome::Failed);
        assert_eq!(outcome(1, 0, 1, None), Outcome::Partial);
        assert_eq!(outcome(0, 0, 1, None), Outcome::TimedOut);
        assert_eq!(outcome(5, 0, 0, Some(StopReason::Shutdown)), Outcome::Cancelled);
        assert_eq!(outcome(5, 0, 0, Some(StopReason::LockLost)), Outcome::Failed);
        assert_eq!(outcome(5, 0, 0, Some(StopReason::TimedOut)), Outcome::TimedOut);
        assert_eq!(outcome(5, 0, 2, Some(StopReason::TimedOut)), Outcome::Partial);
        assert_eq!(outcome(0, 0, 2, Some(StopReason::TimedOut)), Outcome::TimedOut);
        assert_eq!(outcome(5, 0, 0, Some(StopReason::WindowClosed)), Outcome::Succeeded);
        assert_eq!(outcome(5, 1, 0, Some(StopReason::WindowClosed)), Outcome::Partial);
        assert_eq!(outcome(5, 0, 0, Some(StopReason::BudgetSpent)), Outcome::Succeeded);
    }
}
