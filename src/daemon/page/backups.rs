//! The backups of each job in each store: how old, how large, and whether anybody has seen that they can be restored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::wrong::time;
use super::{View, when, whole};
use crate::kinds::backup::words::size;
use crate::period::human;
use crate::run::{Gauge, GaugeName};

/// What the gauges of all jobs say of one store.
#[derive(Debug, Default)]
struct Stored<'a> {
    job: &'a str,
    store: &'a str,
    last: Option<f64>,
    bytes: Option<f64>,
    backups: Option<f64>,
    verified: Option<f64>,
    restored: Option<f64>,
    restored_in: Option<f64>,
}

pub fn section(view: &View) -> Markup {
    let stored = stored(view);
    html! {
        @if !stored.is_empty() {
            section aria-labelledby="backups-title" {
                h2 id="backups-title" { "Backups" }
                div class="scroll" tabindex="0" role="region" aria-label="Table of backups" {
                    table {
                        thead { tr {
                            th scope="col" { "Job" } th scope="col" { "Store" } th scope="col" { "Last good one" }
                            th scope="col" { "Size" } th scope="col" { "Kept" } th scope="col" { "Read back" }
                            th scope="col" { "Restored" }
                        } }
                        tbody {
                            @for one in stored {
                                tr {
                                    th scope="row" { (one.job) }
                                    td { (one.store) }
                                    td { (ago(one.last, view.now, "none", "bad")) }
                                    td { @if let Some(bytes) = one.bytes { (size(whole(bytes))) } }
                                    td { @if let Some(backups) = one.backups { (whole(backups)) } }
                                    td { (ago(one.verified, view.now, "never", "soon")) }
                                    td {
                                        (ago(one.restored, view.now, "never", "quiet"))
                                        @if let Some(seconds) = one.restored_in {
                                            " " span class="aside" { "in " (human(Duration::try_from_secs_f64(seconds).unwrap_or_default())) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn ago(value: Option<f64>, now: DateTime<Utc>, never: &str, class: &str) -> Markup {
    html! {
        @match value.and_then(time) {
            Some(at) => (when(at, now)),
            None => span class=(class) { (never) },
        }
    }
}

/// A backup's own job tells of it, and a restore test of what it has proven, by the name of the store.
fn stored(view: &View) -> Vec<Stored<'_>> {
    let mut all: Vec<Stored<'_>> = Vec::new();
    for job in &view.jobs {
        let is_new = |gauge: &&Gauge| gauge.name == GaugeName::BackupLastSuccess;
        let name = job.status.job.as_str();
        all.extend(job.observed.gauges.iter().filter(is_new).map(|gauge| Stored {
            job: name,
            store: &gauge.table,
            last: Some(gauge.value),
            ..Stored::default()
        }));
        for gauge in &job.observed.gauges {
            let tested = matches!(gauge.name, GaugeName::BackupRestoreTested | GaugeName::BackupRestoreDuration);
            let Some(one) = all.iter_mut().find(|one| one.store == gauge.table && (tested || one.job == name)) else {
                continue;
            };
            let field = match gauge.name {
                GaugeName::BackupSize => &mut one.bytes,
                GaugeName::Backups => &mut one.backups,
                GaugeName::BackupVerified => &mut one.verified,
                GaugeName::BackupRestoreTested => &mut one.restored,
                GaugeName::BackupRestoreDuration => &mut one.restored_in,
                _ => continue,
            };
            *field = Some(gauge.value);
        }
    }
    all
}
