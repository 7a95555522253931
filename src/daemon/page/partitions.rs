//! Each partitioned table as a line of time: what is past its keep, what is past, the partition of now, what is ahead.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::View;
use super::wrong::{Weight, until};
use crate::run::{Stretch, Timeline};

/// The width of a line, in units of its own.
const WIDTH: f64 = 1000.0;
/// With more partitions than this, those that touch are drawn as one.
const MANY: usize = 150;

/// How far the partitions of a table reach.
pub struct Runway {
    pub words: String,
    pub trouble: Option<(Weight, String)>,
}

/// Pure. Trouble begins where the next period has no partition yet.
pub fn runway(timeline: &Timeline, now: DateTime<Utc>) -> Runway {
    let Some(end) = timeline.until else { return Runway { words: "reaches without end".into(), trouble: None } };
    let fate = match &timeline.default {
        Some(default) => format!("rows go to the default partition {default}"),
        None => "inserts fail".into(),
    };
    if end <= now {
        let words = format!("no partition for now: {fate}");
        return Runway { trouble: Some((Weight::Bad, words.clone())), words };
    }
    let here = timeline.partitions.iter().find(|stretch| stretch.holds(now));
    let width = here.and_then(|here| Some(here.to? - here.from?)).unwrap_or_default();
    let words = format!("reaches to {}", until(end, now));
    let short = end - now < width || here.is_some_and(|here| here.to == Some(end));
    let why = || format!("there is no next partition: from {} on {fate}", until(end, now));
    Runway { trouble: short.then(|| (Weight::Soon, why())), words }
}

pub fn section(view: &View) -> Markup {
    let tables: Vec<&Timeline> = view.jobs.iter().flat_map(|job| &job.observed.timelines).collect();
    html! {
        @if !tables.is_empty() {
            section aria-labelledby="partitions-title" {
                h2 id="partitions-title" { "Partitions" }
                @for timeline in tables { (line(timeline, view.now)) }
                p class="legend" aria-hidden="true" {
                    span class="key old" {} " past its keep "
                    span class="key past" {} " past "
                    span class="key here" {} " now "
                    span class="key ahead" {} " ahead"
                }
            }
        }
    }
}

fn line(timeline: &Timeline, now: DateTime<Utc>) -> Markup {
    let runway = runway(timeline, now);
    let scale = Scale::of(timeline, now);
    let old = timeline.kept_from.map_or(0, |kept| timeline.partitions.iter().filter(|one| is_old(one, kept)).count());
    let ahead = timeline.partitions.iter().filter(|one| one.from.is_some_and(|from| from > now)).count();
    let counts = format!("{} partitions, {ahead} of them ahead, {old} past their keep", timeline.partitions.len());
    html! {
        div class="timeline" {
            h3 { (timeline.table) }
            p class=(match &runway.trouble { Some((Weight::Bad, _)) => "bad", Some(_) => "soon", None => "fine" }) { (runway.words) }
            svg role="img" aria-label={ (timeline.table) ": " (counts) "; " (runway.words) } viewBox="0 0 1000 22"
                preserveAspectRatio="none" {
                rect class="ground" x="0" y="8" width="1000" height="6" {}
                @for one in drawn(&timeline.partitions) {
                    @let (from, to) = (scale.place(one.from, 0.0), scale.place(one.to, WIDTH));
                    @let class = class(&one, timeline, now);
                    rect class=(class) x=(format!("{from:.1}")) y="4" width=(format!("{:.1}", (to - from - 1.5).max(1.0))) height="14" {
                        title { (words(&one)) }
                    }
                }
                @if let Some(kept) = timeline.kept_from {
                    @let x = format!("{:.1}", scale.place(Some(kept), 0.0));
                    line class="kept" x1=(x) x2=(x) y1="0" y2="22" { title { "kept from " (kept.format("%Y-%m-%d %H:%M")) " on" } }
                }
                @let x = format!("{:.1}", scale.place(Some(now), 0.0));
                line class="now" x1=(x) x2=(x) y1="0" y2="22" { title { "now" } }
            }
            p class="ends" {
                span { (scale.from.format("%Y-%m-%d")) }
                span { (counts) }
                span { (scale.to.format("%Y-%m-%d")) }
            }
        }
    }
}

fn is_old(one: &Stretch, kept: DateTime<Utc>) -> bool {
    one.to.is_some_and(|to| to <= kept)
}

fn class(one: &Stretch, timeline: &Timeline, now: DateTime<Utc>) -> &'static str {
    match timeline.kept_from {
        Some(kept) if is_old(one, kept) => "old",
        _ if one.holds(now) => "here",
        _ if one.from.is_some_and(|from| from > now) => "ahead",
        _ => "past",
    }
}

fn words(one: &Stretch) -> String {
    let end = |at: Option<DateTime<Utc>>, open: &str| {
        at.map_or(open.to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string())
    };
    format!("{} to {}", end(one.from, "the beginning"), end(one.to, "the end"))
}

/// Hourly partitions of a year would be a line of hairs: those that touch become one.
fn drawn(partitions: &[Stretch]) -> Vec<Stretch> {
    if partitions.len() <= MANY {
        return partitions.to_vec();
    }
    let mut merged: Vec<Stretch> = Vec::new();
    for one in partitions {
        match merged.last_mut() {
            Some(last) if last.to.is_some() && last.to == one.from => last.to = one.to,
            _ => merged.push(*one),
        }
    }
    merged
}

/// The stretch of time that is drawn.
struct Scale {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Scale {
    fn of(timeline: &Timeline, now: DateTime<Utc>) -> Self {
        let ends = timeline
            .partitions
            .iter()
            .flat_map(|one| [one.from, one.to])
            .flatten()
            .chain(timeline.kept_from)
            .chain([now]);
        let (from, to) = ends.fold((now, now), |(from, to), at| (from.min(at), to.max(at)));
        // Never without width, and the last partition does not end at the edge.
        let margin = ((to - from) / 50).max(TimeDelta::hours(1));
        Self { from: from - margin, to: to + margin }
    }

    fn place(&self, at: Option<DateTime<Utc>>, open: f64) -> f64 {
        let Some(at) = at else { return open };
        let share = (at - self.from).num_seconds() as f64 / (self.to - self.from).num_seconds().max(1) as f64;
        (share * WIDTH).clamp(0.0, WIDTH)
    }
}
