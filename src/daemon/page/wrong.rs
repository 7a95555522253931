//! What is wrong right now: what pages somebody first, then what will.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::partitions::runway;
use super::{View, distance, whole};
use crate::period::human;
use crate::run::{GaugeName, Outcome};

/// So many letters are read at a glance.
const GLANCE: usize = 240;
/// A backup of less than this share of those before it lacks something.
const SHRUNK: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something does not work.
    Bad,
    /// Something will not.
    Soon,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub weight: Weight,
    /// `job nightly`, `table public.events`
    pub what: String,
    pub why: String,
    /// Where on the page there is more.
    pub anchor: Option<String>,
}

pub fn section(view: &View) -> Markup {
    let troubles = troubles(view);
    html! {
        section id="wrong" aria-labelledby="wrong-title" {
            h2 id="wrong-title" { @if troubles.is_empty() { "Nothing is wrong" } @else { "Wrong right now" } }
            @if !troubles.is_empty() {
                ul {
                    @for trouble in troubles {
                        li class=(if trouble.weight == Weight::Bad { "bad" } else { "soon" }) {
                            strong {
                                @if let Some(anchor) = &trouble.anchor { a href={ "#" (anchor) } { (trouble.what) } }
                                @else { (trouble.what) }
                            }
                            ": " (told(&trouble.why))
                        }
                    }
                }
            }
        }
    }
}

/// A long error tells how to mend it by hand; what it begins with is enough at a glance.
fn told(why: &str) -> Markup {
    let end = why.char_indices().nth(GLANCE).map(|(at, _)| at);
    html! {
        @match end {
            None => (why),
            Some(end) => details {
                summary { (why[..end]) "…" }
                (why)
            },
        }
    }
}

/// Pure.
pub fn troubles(view: &View) -> Vec<Trouble> {
    let mut found = Vec::new();
    for (name, reach) in view.databases.iter().filter(|(_, reach)| !reach.up) {
        let what = format!("database {name}");
        let why = reach.error.as_deref().unwrap_or("out of reach");
        let why = why.strip_prefix(&format!("{what}: ")).unwrap_or(why).to_owned();
        found.push(Trouble { weight: Weight::Bad, what, why, anchor: None });
    }
    for job in &view.jobs {
        let status = &job.status;
        let anchor = Some(format!("job-{}", status.job));
        let mut say =
            |weight, what: String, why: String| found.push(Trouble { weight, what, why, anchor: anchor.clone() });
        if let Some(outcome) = status.last_outcome.filter(|last| status.consecutive_failures > 0 && last.is_bad()) {
            let times = match status.consecutive_failures {
                1 => String::new(),
                n => format!(", {n} times in a row"),
            };
            let error = status.last_error.as_deref().unwrap_or("no error was recorded");
            say(Weight::Bad, format!("job {}", status.job), format!("{outcome}{times}: {error}"));
        }
        if status.is_overdue() {
            let lag = std::time::Duration::try_from_secs_f64(status.lag_seconds).unwrap_or_default();
            let why = format!("it was due {} ago, and no daemon has begun it", human(lag));
            say(Weight::Bad, format!("job {}", status.job), why);
        }
        for timeline in &job.observed.timelines {
            let runway = runway(timeline, view.now);
            if let Some((weight, why)) = runway.trouble {
                say(weight, format!("table {}", timeline.table), why);
            }
        }
        for gauge in &job.observed.gauges {
            match gauge.name {
                GaugeName::DefaultPartitionRows if gauge.value > 0.0 => {
                    let why = match whole(gauge.value) {
                        1 => "a row lies in its default partition".into(),
                        n => format!("{n} rows lie in its default partition"),
                    };
                    say(Weight::Soon, format!("table {}", gauge.table), why);
                }
                GaugeName::BackupLastSuccess if gauge.value == 0.0 && status.enabled => {
                    let why = format!("there is no good backup in store {}", gauge.table);
                    say(Weight::Bad, format!("job {}", status.job), why);
                }
                GaugeName::BackupSizeRatio if gauge.value < SHRUNK => {
                    let why = format!(
                        "the last backup in store {} has {:.0} % of the size that those before it had",
                        gauge.table,
                        gauge.value * 100.0
                    );
                    say(Weight::Bad, format!("job {}", status.job), why);
                }
                GaugeName::BackupVerified => {
                    let last = job.observed.gauges.iter().find(|other| {
                        other.name == GaugeName::BackupLastSuccess && other.table == gauge.table && other.value > 0.0
                    });
                    if last.is_some() && gauge.value == 0.0 {
                        let why = format!("no backup in store {} was ever read back", gauge.table);
                        say(Weight::Soon, format!("job {}", status.job), why);
                    }
                }
                _ => {}
            }
        }
    }
    found.sort_by_key(|trouble| trouble.weight);
    found
}

/// A gauge that holds a time; nothing for "never".
pub fn time(value: f64) -> Option<DateTime<Utc>> {
    #[allow(clippy::cast_possible_truncation, reason = "seconds of a year that can be written")]
    (value > 0.0).then(|| DateTime::from_timestamp(value as i64, 0)).flatten()
}

/// How a run went, as a class of the style sheet.
pub fn class(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Succeeded) => "good",
        Some(outcome) if outcome.is_bad() => "bad",
        _ => "quiet",
    }
}

/// Until when, in words.
pub fn until(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", at.format("%Y-%m-%d %H:%M"), distance(at, now))
}
