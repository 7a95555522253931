//! Due times that were begun and did not come to an end, though nothing was wrong with the work: the daemon was stopped or
//! killed, or it ended before it could try again. Whichever daemon sees that takes them up. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::history::Standing;
use super::schedule::{delay, missed};
use crate::config::Definition;
use crate::run::{Outcome, Trigger};

/// A run that dies each time may be what kills the daemon: it is not begun again and again.
const DEATHS: u32 = 3;
/// So long the daemon that ran a job is given to try again by itself.
const ITS_OWN_TURN: TimeDelta = TimeDelta::seconds(60);

/// A due time that is to be tried once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeUp {
    pub due_at: DateTime<Utc>,
    pub attempt: u32,
    pub why: &'static str,
}

/// What is to be taken up of a job, by its newest run: where that was a scheduled one which
///
/// - was cancelled, since its daemon was asked to stop,
/// - or died with its daemon, for the first or second time,
/// - or went badly, and the next of its tries has not come although its time has.
///
/// Nothing where a newer due time went by, which is caught up by itself; nor with `catch_up = false`, outside its window,
/// or where somebody has run the job by hand since.
pub fn take_up(job: &Definition, standing: &Standing, now: DateTime<Utc>) -> Option<TakeUp> {
    job.schedule.as_ref().filter(|_| job.enabled && job.catch_up)?;
    let (outcome, trigger) = (standing.last_outcome?, standing.last_trigger?);
    let (due_at, ended) = (standing.last_due_at?, standing.last_finished_at?);
    let by_schedule =
        matches!(trigger, Trigger::Schedule | Trigger::CatchUp) && standing.last_run_due_at == Some(due_at);
    let is_open = job.window.is_none_or(|window| window.is_open(now, job.timezone));
    if !by_schedule || !is_open || !is_newest(job, due_at, now) || standing.running_since.is_some() {
        return None;
    }
    let attempt = u32::try_from(standing.last_attempt).ok()?;
    let why = if outcome == Outcome::Cancelled {
        "its daemon was stopped"
    } else if standing.last_died && attempt < DEATHS {
        "its daemon died"
    } else if job.tries_again(outcome, trigger, attempt) && now >= ended + waited(job, attempt) {
        "its next try has not come"
    } else {
        return None;
    };
    Some(TakeUp { due_at, attempt: attempt + 1, why })
}

/// Whether no newer due time has gone by: that one comes by itself, and counts for both.
pub fn is_newest(job: &Definition, due_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let newer = |cron| missed(cron, job.timezone, due_at, now - delay(job));
    job.schedule.as_ref().and_then(newer).is_none()
}

/// Whether the newest run went badly and another try is to come by itself.
pub fn will_be_tried_again(job: &Definition, standing: &Standing, now: DateTime<Utc>) -> bool {
    /// A daemon that takes it up sees it within a minute; then it may wait for a place.
    const TIME_TO_BEGIN: TimeDelta = TimeDelta::minutes(4);
    let newest = standing.last_outcome.zip(standing.last_trigger).zip(standing.last_finished_at);
    newest.is_some_and(|((outcome, trigger), ended)| {
        let attempt = u32::try_from(standing.last_attempt).unwrap_or_default();
        job.tries_again(outcome, trigger, attempt) && now < ended + waited(job, attempt) + TIME_TO_BEGIN
    })
}

fn waited(job: &Definition, attempt: u32) -> TimeDelta {
    TimeDelta::from_std(job.retry.wait_after(attempt)).unwrap_or(TimeDelta::MAX) + ITS_OWN_TURN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-07-{text}Z").parse().unwrap()
    }

    fn job(keys: &str) -> std::sync::Arc<Definition> {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let text = format!(
            "[databases.main]\nurl = \"postgresql://a@b/c\"\n[jobs.chore]\nschedule = \"0 3 * * *\"\n{keys}\n\
             [jobs.chore.sql]\nstatements = [\"SELECT 1\"]\n"
        );
        std::fs::write(file.path(), text).unwrap();
        config::load(file.path()).unwrap().jobs.remove(0)
    }

    /// The run of three o'clock, first try, as it ended at ten past.
    fn ended(outcome: Outcome) -> Standing {
        Standing {
            last_finished_at: Some(at("05T03:10:00")),
            last_outcome: Some(outcome),
            last_trigger: Some(Trigger::Schedule),
            last_attempt: 1,
            last_run_due_at: Some(at("05T03:00:00")),
            last_due_at: Some(at("05T03:00:00")),
            ..Standing::default()
        }
    }

    fn taken(keys: &str, standing: &Standing, now: &str) -> Option<(String, u32)> {
        take_up(&job(keys), standing, at(now)).map(|up| (up.due_at.format("%dT%H:%M").to_string(), up.attempt))
    }

    #[test]
    fn what_a_stop_has_cut_short_is_taken_up_at_once() {
        let cut = ended(Outcome::Cancelled);
        assert_eq!(taken("", &cut, "05T03:10:01"), Some(("05T03:00".into(), 2)));
        assert_eq!(taken("", &Standing { last_attempt: 9, ..cut.clone() }, "05T03:10:01").unwrap().1, 10);
        // The next night comes by itself, and counts for both.
        assert_eq!(taken("", &cut, "06T03:00:00"), None);
        assert_eq!(taken("catch_up = false", &cut, "05T03:10:01"), None);
        assert_eq!(taken("enabled = false", &cut, "05T03:10:01"), None);
        assert_eq!(taken("window = \"03:00-03:05\"", &cut, "05T03:10:01"), None);
    }

    #[test]
    fn what_somebody_has_run_since_or_is_running_is_left() {
        let by_hand = Standing { last_trigger: Some(Trigger::Cli), last_run_due_at: None, ..ended(Outcome::Cancelled) };
        assert_eq!(taken("", &by_hand, "05T03:20:00"), None);
        let running = Standing { running_since: Some(at("05T03:11:00")), ..ended(Outcome::Cancelled) };
        assert_eq!(taken("", &running, "05T03:20:00"), None);
        assert_eq!(taken("", &ended(Outcome::Succeeded), "05T03:20:00"), None);
        assert_eq!(taken("", &Standing::default(), "05T03:20:00"), None);
    }

    #[test]
    fn what_died_is_taken_up_twice_and_no_more() {
        let died = |attempt| Standing { last_died: true, last_attempt: attempt, ..ended(Outcome::Failed) };
        assert_eq!(taken("", &died(1), "05T03:10:01").unwrap().1, 2);
        assert_eq!(taken("", &died(2), "05T03:10:01").unwrap().1, 3);
        assert_eq!(taken("", &died(3), "05T03:10:01"), None);
        assert_eq!(taken("", &ended(Outcome::Failed), "05T03:10:01"), None, "it failed by itself");
    }

    #[test]
    fn a_try_that_has_not_come_is_taken_up_when_its_own_daemon_had_the_time_to() {
        let keys = "retry = { attempts = 3, wait = \"10m\", max_wait = \"1h\" }";
        let failed = ended(Outcome::Failed);
        assert_eq!(taken(keys, &failed, "05T03:20:30"), None);
        assert_eq!(taken(keys, &failed, "05T03:21:00").unwrap().1, 2);
        let second = Standing { last_attempt: 2, ..failed.clone() };
        assert_eq!(taken(keys, &second, "05T03:21:00"), None, "the wait has doubled");
        assert_eq!(taken(keys, &second, "05T03:31:00").unwrap().1, 3);
        assert_eq!(taken(keys, &Standing { last_attempt: 3, ..failed }, "05T04:00:00"), None);
    }

    #[test]
    fn a_try_that_does_not_come_is_not_waited_for_for_ever() {
        let job = job("retry = { attempts = 2, wait = \"10m\" }");
        assert!(will_be_tried_again(&job, &ended(Outcome::Failed), at("05T03:24:00")));
        assert!(!will_be_tried_again(&job, &ended(Outcome::Failed), at("05T03:25:00")));
        assert!(!will_be_tried_again(&job, &ended(Outcome::Succeeded), at("05T03:11:00")));
    }
}
