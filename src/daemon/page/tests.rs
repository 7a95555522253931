use chrono::TimeDelta;

use super::partitions::runway;
use super::wrong::{Weight, troubles};
use super::*;
use crate::run::{Gauge, GaugeName, JobName, Outcome, Stretch, Timeline};

fn day(n: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + n)
}

fn view(jobs: Vec<Shown>) -> View {
    View { host: "host (pid 1)".into(), now: day(0), databases: BTreeMap::new(), jobs, visitor: Visitor::Onlooker }
}

fn job(name: &str) -> Shown {
    let status = JobStatus {
        job: JobName(name.into()),
        kind: "sql",
        database: "main".into(),
        enabled: true,
        known: true,
        schedule: None,
        timezone: "UTC".into(),
        running_since: None,
        running_on: None,
        last_started_at: None,
        last_finished_at: None,
        last_outcome: None,
        last_trigger: None,
        last_error: None,
        last_success_at: None,
        next_run_at: None,
        lag_seconds: 0.0,
        consecutive_failures: 0,
        tried_again: false,
    };
    Shown { status, past: Vec::new(), observed: Observed::default() }
}

/// A partition a day, from one day to just before another.
fn table(from: i64, to: i64) -> Timeline {
    let partitions = (from..to).map(|n| Stretch { from: Some(day(n)), to: Some(day(n + 1)) }).collect();
    Timeline { table: "public.t".into(), partitions, until: Some(day(to)), default: None, kept_from: None }
}

fn said(view: &View) -> Vec<String> {
    troubles(view).into_iter().map(|one| format!("{:?} {}: {}", one.weight, one.what, one.why)).collect()
}

#[test]
fn an_error_message_cannot_become_markup() {
    let mut view = view(vec![job("<b>\"'")]);
    let reach = Reach { up: false, standby: false, error: Some("<script>\"&".into()) };
    view.databases.insert("main".into(), reach);
    let page = render(&view);
    assert!(page.contains("&lt;script&gt;&quot;&amp;") && !page.contains("<script>"), "{page}");
    assert!(!page.contains("<b>"), "{page}");
}

#[test]
fn what_does_not_work_stands_before_what_soon_will_not() {
    let mut runs_short = job("parts");
    runs_short.observed.timelines.push(table(-3, 1));
    let mut late = job("late");
    late.status.lag_seconds = 3600.0;
    let mut failing = job("failing");
    (failing.status.last_outcome, failing.status.consecutive_failures) = (Some(Outcome::Failed), 3);
    failing.status.last_error = Some("no room".into());
    assert_eq!(
        said(&view(vec![runs_short, late, failing])),
        [
            "Bad job late: it was due 1 h ago, and no daemon has begun it",
            "Bad job failing: failed, 3 times in a row: no room",
            "Soon table public.t: there is no next partition: from 2024-10-05 00:00 (in 1 d) on inserts fail",
        ]
    );
    assert_eq!(said(&view(vec![job("new")])), [""; 0]);
}

#[test]
fn a_runway_is_short_once_the_next_partition_is_missing() {
    let weight = |timeline: &Timeline| runway(timeline, day(0)).trouble.map(|(weight, _)| weight);
    assert_eq!(weight(&table(-3, 0)), Some(Weight::Bad));
    assert_eq!(weight(&table(-3, 1)), Some(Weight::Soon));
    assert_eq!(weight(&table(-3, 2)), None);
    assert_eq!(weight(&Timeline { until: None, ..table(-3, 1) }), None);
    let default = Timeline { default: Some("public.rest".into()), ..table(-3, 0) };
    assert_eq!(runway(&default, day(0)).words, "no partition for now: rows go to the default partition public.rest");
}

#[test]
fn backups_are_wrong_when_there_is_none_when_none_was_read_back_and_when_one_is_too_small() {
    let gauge = |name, value| Gauge { name, table: "offsite".into(), value };
    let told = |gauges: Vec<Gauge>| {
        let mut backup = job("backup");
        backup.observed = gauges.into();
        said(&view(vec![backup]))
    };
    use GaugeName::{BackupLastSuccess, BackupSizeRatio, BackupVerified};
    let none = told(vec![gauge(BackupLastSuccess, 0.0), gauge(BackupVerified, 0.0)]);
    assert_eq!(none, ["Bad job backup: there is no good backup in store offsite"]);
    let unread = told(vec![gauge(BackupLastSuccess, 1e9), gauge(BackupVerified, 0.0)]);
    assert_eq!(unread, ["Soon job backup: no backup in store offsite was ever read back"]);
    let small = told(vec![gauge(BackupLastSuccess, 1e9), gauge(BackupVerified, 1e9), gauge(BackupSizeRatio, 0.1)]);
    assert_eq!(
        small,
        ["Bad job backup: the last backup in store offsite has 10 % of the size that those before it had"]
    );
}

#[test]
fn whoever_has_not_given_the_token_sees_no_buttons() {
    let page = |visitor| render(&View { visitor, ..view(vec![job("chore")]) });
    let button = "action=\"/jobs/chore/run\"";
    assert!(!page(Visitor::Onlooker).contains("<form"));
    assert!(page(Visitor::Stranger).contains("type=\"password\"") && !page(Visitor::Stranger).contains(button));
    assert!(page(Visitor::Operator).contains(button));
}

#[test]
fn a_year_of_hours_is_one_stretch() {
    let hours = (0..9000)
        .map(|n| Stretch { from: Some(day(0) + TimeDelta::hours(n)), to: Some(day(0) + TimeDelta::hours(n + 1)) });
    let mut many = job("many");
    many.observed.timelines.push(Timeline { partitions: hours.collect(), ..table(0, 0) });
    let page = render(&view(vec![many]));
    assert!(page.matches("<rect").count() < 5, "{}", page.matches("<rect").count());
    assert!(page.contains("9000 partitions"));
}
