//! Which backups are kept, and why. Pure.
//!
//! The clock is the newest good backup's beginning, never the time of day: after thirty days without a backup the old ones
//! are worth more, not less. A backup is as old as its recorded beginning says; `days = 7` keeps those begun within seven
//! times 24 hours before the newest, the one of exactly seven days ago included.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use chrono_tz::Tz;

use super::config::Keep;

/// A complete backup, as its manifest and sidecar have it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is seen by itself: what was restored may be found damaged later"
)]
pub struct Known {
    pub id: String,
    pub started_at: DateTime<Utc>,
    /// It was read back, and was good.
    pub verified: bool,
    /// It was restored, and was whole.
    pub restored: bool,
    /// It was read back, and was not good.
    pub damaged: bool,
    /// What is stored was what had been written, all the same.
    pub intact: bool,
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Keep(Vec<String>),
    Drop(String),
}

/// Decides on the backups of one job and one database in one store, in the order they are given; days are those of `zone`.
/// What claims to be of a time after `now` is kept, and counts for nothing.
pub fn decide(backups: &[Known], keep: Option<&Keep>, now: DateTime<Utc>, zone: Tz) -> Vec<(String, Fate)> {
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); backups.len()];
    for (backup, reasons) in backups.iter().zip(&mut reasons) {
        if backup.started_at > now {
            reasons.push("it claims to be of the future".into());
        }
        if keep.is_none() {
            reasons.push("without `keep` nothing is deleted".into());
        }
    }
    // Newest first, by recorded beginning, never by name.
    let mut good: Vec<usize> =
        (0..backups.len()).filter(|at| backups[*at].started_at <= now && !backups[*at].damaged).collect();
    good.sort_by_key(|at| std::cmp::Reverse((backups[*at].started_at, backups[*at].id.clone())));
    match good.first() {
        Some(newest) => reasons[*newest].push("the newest".into()),
        // Nothing good is left: whatever there is may be all there is.
        None => reasons.iter_mut().for_each(|reasons| reasons.push("there is no good one".into())),
    }
    if let Some(newest) = good.iter().find(|at| backups[**at].verified) {
        reasons[*newest].push("the newest that was verified".into());
    }
    // Read back is not had again: only a restore proves that it can be.
    if let Some(newest) = good.iter().find(|at| backups[**at].restored) {
        reasons[*newest].push("the newest that was restored".into());
    }
    if let (Some(keep), Some(newest)) = (keep, good.first()) {
        let newest = backups[*newest].started_at;
        for (rule, count) in keep.rules() {
            let Some(count) = count.filter(|count| *count > 0) else { continue };
            let mut buckets = BTreeSet::new();
            for at in &good {
                let began = backups[*at].started_at;
                let fits = match rule {
                    "last" => buckets.insert(buckets.len().to_string()) && buckets.len() <= count as usize,
                    "days" => newest - began <= TimeDelta::days(count.into()),
                    rule => buckets.insert(bucket(rule, began, zone)) && buckets.len() <= count as usize,
                };
                if fits {
                    reasons[*at].push(format!("{rule} {count}"));
                }
            }
        }
    }
    // What was complained of, and is what was written, may have been wronged: it counts for nothing, and goes with the good
    // ones of its age.
    let oldest = good.iter().filter(|at| !reasons[**at].is_empty()).map(|at| backups[*at].started_at).min();
    for (backup, reasons) in backups.iter().zip(&mut reasons) {
        if backup.damaged && backup.intact && oldest.is_some_and(|oldest| backup.started_at >= oldest) {
            reasons.push("it is what was written, and an older one is kept".into());
        }
    }
    let fate = |backup: &Known, reasons: Vec<String>| match (reasons.is_empty(), backup.damaged) {
        (false, _) => Fate::Keep(reasons),
        (true, true) => Fate::Drop("it is damaged, and there is a good one".into()),
        (true, false) => Fate::Drop("no rule of `keep` asks for it any more".into()),
    };
    backups.iter().zip(reasons).map(|(backup, reasons)| (backup.id.clone(), fate(backup, reasons))).collect()
}

/// The day, week, month or year that an instant falls in.
fn bucket(rule: &str, at: DateTime<Utc>, zone: Tz) -> String {
    let day = at.with_timezone(&zone).date_naive();
    match rule {
        "daily" => day.to_string(),
        // With the year that the week belongs to: 2025-01-01 and 2025-12-30 are both in a week 1.
        "weekly" => format!("{}-{:02}", day.iso_week().year(), day.iso_week().week()),
        "monthly" => format!("{}-{:02}", day.year(), day.month()),
        _ => day.year().to_string(),
    }
}

#[cfg(test)]
#[path = "retain_tests.rs"]
mod tests;
