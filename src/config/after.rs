//! Which instance runs after which.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::{Definition, Origin};
use super::errors::Problems;
use super::jobs::{Draft, shown};
use crate::near;
use crate::run::JobName;

/// Turns the names in `after` into instances: of the same database where both jobs have one there, otherwise all.
pub fn connect(drafts: Vec<Draft>, problems: &mut Problems) -> Vec<Arc<Definition>> {
    let edges = edges(&drafts, problems);
    circles(&edges, problems);
    windows(&drafts, &edges, problems);

    let instances: BTreeMap<String, Vec<(JobName, String)>> = drafts
        .iter()
        .map(|draft| {
            (draft.name.clone(), draft.instances.iter().map(|one| (one.name.clone(), one.database.clone())).collect())
        })
        .collect();
    let mut jobs = Vec::new();
    for draft in drafts {
        let earlier: Vec<_> = edges[&draft.name].iter().map(|(name, _)| &instances[name]).collect();
        for mut job in draft.instances {
            for those in &earlier {
                let same = those.iter().find(|(_, database)| *database == job.database);
                match same {
                    Some((name, _)) => job.after.push(name.clone()),
                    None => job.after.extend(those.iter().map(|(name, _)| name.clone())),
                }
            }
            jobs.push(Arc::new(job));
        }
    }
    jobs.sort_by(|a, b| a.name.cmp(&b.name));
    jobs
}

type Edges = BTreeMap<String, Vec<(String, Origin)>>;

/// The names in `after` that are jobs, each once; complains about the others.
fn edges(drafts: &[Draft], problems: &mut Problems) -> Edges {
    let names: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
    let mut edges = Edges::new();
    for draft in drafts {
        let known = edges.entry(draft.name.clone()).or_default();
        for (name, place) in &draft.after {
            match drafts.iter().find(|other| other.name == *name) {
                Some(other) if other.name == draft.name => {
                    problems.error(place, format!("the job `{name}` is to run after itself; take it out of `after`"));
                }
                Some(other) => {
                    if !other.enabled && draft.enabled {
                        let message = format!("the job `{}` runs after `{name}`, which is not enabled", draft.name);
                        let mend = format!(
                            "it follows only when a daemon is asked to run the other, as by `pgtend trigger {name}`"
                        );
                        problems.warn(place.clone(), message, mend);
                    }
                    if known.iter().all(|(earlier, _)| earlier != name) {
                        known.push((name.clone(), place.clone()));
                    }
                }
                // It may stand in the file that could not be read.
                None if problems.unread => {}
                None => {
                    let others: Vec<&str> = names.iter().copied().filter(|other| *other != draft.name).collect();
                    problems.error(
                        place,
                        format!("there is no job {}{}", shown(place, name), near::advice(name, &others, "other job")),
                    );
                }
            }
        }
    }
    edges
}

/// Warns of jobs that come after others and after nothing else, and that a closed window lets pass for good: what is skipped
/// then no schedule makes up for.
fn windows(drafts: &[Draft], edges: &Edges, problems: &mut Problems) {
    for draft in drafts.iter().filter(|draft| draft.enabled) {
        let window = draft.instances.first().filter(|job| job.schedule.is_none()).and_then(|job| job.window);
        let (Some(window), Some((other, place))) = (window, edges[&draft.name].first()) else { continue };
        let message = format!(
            "the job `{}` runs after `{other}`, within its window {window} alone: when that one ends outside of it, this one \
             is skipped, and not made up for",
            draft.name
        );
        problems.warn(place.clone(), message, "give it a `schedule` within the window as well, or no `window`");
    }
}

/// Complains about each circle once, at the name that closes it.
fn circles(edges: &Edges, problems: &mut Problems) {
    let mut left = edges.clone();
    loop {
        // Whoever waits for nobody that is left is in no circle.
        while let Some(free) = left.iter().find(|(_, after)| after.iter().all(|(name, _)| !left.contains_key(name))) {
            let free = free.0.clone();
            left.remove(&free);
        }
        // From anywhere in what remains, going on leads into a circle.
        let Some(start) = left.keys().next() else { return };
        let mut way: Vec<&String> = vec![start];
        let (begin, place) = loop {
            let here = way[way.len() - 1];
            let Some((next, place)) = left[here].iter().find(|(name, _)| left.contains_key(name)) else { return };
            match way.iter().position(|name| *name == next) {
                Some(begin) => break (begin, place),
                None => way.push(next),
            }
        };
        let circle: Vec<String> = way[begin..].iter().map(|name| (*name).clone()).collect();
        let said: Vec<_> = circle.iter().chain(circle.first()).map(|name| format!("`{name}`")).collect();
        problems.error(
            place,
            format!("jobs run in a circle, {}, and would set each other off for ever", said.join(" after ")),
        );
        for name in circle {
            left.remove(&name);
        }
    }
}
