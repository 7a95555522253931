//! Each job with its last runs: how they went, by colour and by a mark for whoever sees no colours, and how long they took.

use std::time::Duration;

use maud::{Markup, html};

use super::wrong::class;
use super::{Shown, View, Visitor, when};
use crate::engine::history::Past;
use crate::period::human;
use crate::run::Outcome;

/// In pixels.
const BAR: usize = 7;
const HEIGHT: f64 = 24.0;

pub fn section(view: &View) -> Markup {
    html! {
        section aria-labelledby="jobs-title" {
            h2 id="jobs-title" { "Jobs" }
            @if view.jobs.is_empty() { p { "The config has no jobs." } } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Table of jobs" {
                    table {
                        thead { tr {
                            th scope="col" { "Job" }
                            th scope="col" { "Last runs" }
                            th scope="col" { "Last run" }
                            th scope="col" { "Took" }
                            th scope="col" { "Last success" }
                            th scope="col" { "Next run" }
                            @if view.visitor == Visitor::Operator { th scope="col" { span class="hidden" { "Run it" } } }
                        } }
                        tbody { @for job in &view.jobs { (row(view, job)) } }
                    }
                }
            }
        }
    }
}

fn row(view: &View, job: &Shown) -> Markup {
    let status = &job.status;
    let outcome = match (status.running_since, status.last_outcome) {
        (Some(since), _) => format!("running for {}", human((view.now - since).to_std().unwrap_or_default())),
        (None, Some(outcome)) => outcome.to_string(),
        (None, None) if !status.known => "not known yet".into(),
        (None, None) => "has not run yet".into(),
    };
    let last = job.past.iter().rev().find_map(|past| past.seconds);
    html! {
        tr id={ "job-" (status.job) } {
            th scope="row" {
                (status.job)
                span class="aside" {
                    (status.kind) ", " (status.database)
                    @if let Some(schedule) = &status.schedule { ", " code { (schedule) } }
                }
            }
            td { (strip(&job.past)) }
            td {
                span class=(class(status.last_outcome.filter(|_| status.running_since.is_none()))) { (outcome) }
                @if let Some(at) = status.last_finished_at { " " span class="aside" { (when(at, view.now)) } }
            }
            td {
                @if let Some(last) = last { (time(last)) }
                @if let Some(usual) = median(&job.past) { span class="aside" { "usually " (time(usual)) } }
            }
            td { @match status.last_success_at { Some(at) => (when(at, view.now)), None if status.known => "never", None => "not known yet" } }
            td {
                @match (status.enabled, status.next_run_at) {
                    (false, _) => span class="quiet" { "disabled" },
                    (true, Some(at)) => (when(at, view.now)),
                    (true, None) => span class="quiet" { "by hand" },
                }
            }
            @if view.visitor == Visitor::Operator {
                td { form method="post" action={ "/jobs/" (escaped(status.job.as_str())) "/run" } {
                    button aria-label={ "Run " (status.job) " now" } { "Run" }
                } }
            }
        }
    }
}

/// A job's name in a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A bar a run, the newest on the right, as high as it took long beside the others.
fn strip(past: &[Past]) -> Markup {
    if past.is_empty() {
        return html! { span class="quiet" { "none" } };
    }
    let longest = past.iter().filter_map(|past| past.seconds).fold(0.0_f64, f64::max);
    html! {
        svg class="strip" role="img" aria-label=(summary(past)) width=(past.len() * BAR) height=(HEIGHT) {
            @for (n, past) in past.iter().enumerate() {
                @let share = past.seconds.filter(|_| longest > 0.0).map_or(1.0, |seconds| (seconds / longest).sqrt());
                @let height = (share * HEIGHT).max(4.0);
                rect class=(class(past.outcome)) x=(n * BAR) y=(format!("{:.1}", HEIGHT - height)) width=(BAR - 2)
                    height=(format!("{height:.1}")) { title { (label(past)) } }
                @if past.outcome.is_some_and(Outcome::is_bad) {
                    path class="mark" d=(format!("M{} 1l{w} {w}m0-{w}l-{w} {w}", n * BAR, w = BAR - 2)) {}
                }
            }
        }
    }
}

/// What the bars say, for whoever does not see them.
fn summary(past: &[Past]) -> String {
    let count = |is: fn(&Past) -> bool| past.iter().filter(|past| is(past)).count();
    let good = count(|past| past.outcome == Some(Outcome::Succeeded));
    let bad = count(|past| past.outcome.is_some_and(Outcome::is_bad));
    let runs = if past.len() == 1 { "The last run".into() } else { format!("The last {} runs", past.len()) };
    let longest = past.iter().filter_map(|past| past.seconds).fold(0.0_f64, f64::max);
    format!("{runs}: {good} succeeded, {bad} failed; the longest took {}", time(longest))
}

fn label(past: &Past) -> String {
    let outcome = past.outcome.map_or("running".into(), |outcome| outcome.to_string());
    let took = past.seconds.map(|seconds| format!(", {}", time(seconds))).unwrap_or_default();
    format!("{} UTC: {outcome}{took}", past.started_at.format("%Y-%m-%d %H:%M:%S"))
}

fn time(seconds: f64) -> String {
    human(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Of those that went well; nothing where there are too few to speak of.
fn median(past: &[Past]) -> Option<f64> {
    let good = past.iter().filter(|past| past.outcome == Some(Outcome::Succeeded));
    let mut seconds: Vec<f64> = good.filter_map(|past| past.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    (seconds.len() >= 3).then(|| seconds[seconds.len() / 2])
}
