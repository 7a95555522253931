//! Whatever happened to a run, turned into one outcome. Outcomes never lie: the reason to stop stands before the errors
//! that stopping made, and a run that did all it had to has succeeded whatever was asked of it meanwhile.

use std::any::Any;

use anyhow::Result;

use crate::kinds::{Ended, StopReason};
use crate::pg::explain;
use crate::run::{Outcome, Report};

/// What became of a run, before it is written down.
pub struct Verdict {
    pub outcome: Outcome,
    pub error: Option<String>,
    pub report: Report,
}

pub type Finished = std::result::Result<Result<Ended>, Box<dyn Any + Send>>;

/// Turns whatever happened into one outcome.
pub fn judge(finished: Option<Finished>, stopped: Option<StopReason>, report: Report) -> Verdict {
    let by_reason = |reason: StopReason| Ended { stopped: Some(reason), ..Ended::default() }.outcome();
    let (outcome, error) = match (finished, stopped) {
        // It did all it had to, whatever was asked of it meanwhile.
        (Some(Ok(Ok(ended))), _) if ended.stopped.is_none() && ended.outcome() == Outcome::Succeeded => {
            (Outcome::Succeeded, None)
        }
        // Its time was over while it waited for the locks of what is left.
        (Some(Ok(Ok(ended))), Some(reason @ StopReason::TimedOut)) if ended.locked > 0 && ended.done > 0 => {
            let failed = failures(&report).map(|f| format!("; {f}")).unwrap_or_default();
            (Outcome::Partial, Some(format!("{}{failed}", reason.sentence())))
        }
        (Some(Ok(Ok(_))), Some(reason @ (StopReason::TimedOut | StopReason::LockLost | StopReason::Shutdown))) => {
            let failed = failures(&report).map(|f| format!("; {f}")).unwrap_or_default();
            (by_reason(reason), Some(format!("{}{failed}", reason.sentence())))
        }
        (Some(Ok(Ok(ended))), _) => (ended.outcome(), failures(&report)),
        (Some(Ok(Err(error))), None | Some(StopReason::WindowClosed | StopReason::BudgetSpent)) => {
            (Outcome::Failed, Some(explain(&error)))
        }
        (Some(Err(panic)), _) => {
            (Outcome::Failed, Some(format!("pgtend's own code panicked, which is a bug: {}", message(&*panic))))
        }
        (Some(Ok(Err(_))) | None, Some(reason)) => (by_reason(reason), Some(reason.sentence().into())),
        (None, None) => {
            (Outcome::Failed, Some("the run was given up without a reason, which is a bug of pgtend".into()))
        }
    };
    Verdict { outcome, error, report }
}

/// The failures of a report in one line.
fn failures(report: &Report) -> Option<String> {
    const SHOWN: usize = 5;
    let mut lines: Vec<_> = report.failures.iter().take(SHOWN).map(|f| format!("{}: {}", f.target, f.error)).collect();
    if report.failures.len() > SHOWN {
        lines.push(format!("and {} more in details.failures", report.failures.len() - SHOWN));
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn check(finished: Option<Finished>, stopped: Option<StopReason>, outcome: Outcome, words: &str) {
        let mut report = Report::default();
        report.fail("public.t", "it broke");
        let verdict = judge(finished, stopped, report);
        assert_eq!(verdict.outcome, outcome);
        let error = verdict.error.unwrap_or_default();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }

    fn ended(done: usize, failed: usize, stopped: Option<StopReason>) -> Option<Finished> {
        Some(Ok(Ok(Ended { done, failed, stopped, ..Ended::default() })))
    }

    #[test]
    fn what_was_done_decides_unless_it_was_stopped() {
        check(ended(1, 0, None), None, Outcome::Succeeded, "");
        check(ended(1, 1, None), None, Outcome::Partial, "public.t: it broke");
        check(ended(0, 1, None), None, Outcome::Failed, "public.t: it broke");
        check(ended(1, 0, None), Some(StopReason::Shutdown), Outcome::Succeeded, "");
    }

    #[test]
    fn a_run_that_was_stopped_says_by_what() {
        check(ended(1, 0, Some(StopReason::Shutdown)), Some(StopReason::Shutdown), Outcome::Cancelled, "asked to stop");
        check(ended(0, 1, None), Some(StopReason::TimedOut), Outcome::TimedOut, "timeout");
        check(ended(0, 1, None), Some(StopReason::TimedOut), Outcome::TimedOut, "public.t: it broke");
        check(None, Some(StopReason::LockLost), Outcome::Failed, "lock was lost");
        check(Some(Ok(Err(anyhow!("cancelled")))), Some(StopReason::TimedOut), Outcome::TimedOut, "timeout");
    }

    #[test]
    fn what_is_a_bug_of_ours_says_so() {
        check(Some(Err(Box::new("index out of bounds"))), None, Outcome::Failed, "index out of bounds");
        check(None, None, Outcome::Failed, "bug of pgtend");
    }
}
