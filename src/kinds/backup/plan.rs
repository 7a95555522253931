//! What a run of `backup` will do, from what the server, the stores and the config say. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::json;

use super::config::{Backup, Keep};
use super::manifest::Identity;
use super::pg_dump::Tools;
use super::pipeline;
use super::retain::{self, Fate, Known};
use super::shelf::{Kept, Shelf};
use super::survey::{Names, Server};
use super::{naming, words};
use crate::run::{Plan, Step};
use crate::store::{Key, Parts};

/// So many backups make the size that is usual.
const USUAL: usize = 10;
/// With fewer nothing is usual.
const TOO_FEW: usize = 3;

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Dump(Box<Dump>),
    Delete(Delete),
}

/// A dump, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Dump {
    pub id: String,
    pub server: Server,
    pub tools: Tools,
    pub names: Names,
    /// Bytes as stored, as far as one can tell.
    pub expected: u64,
    /// Bytes that the last one had before packing.
    pub last_raw: Option<u64>,
    /// One for all stores: a part is there once.
    pub part_size: usize,
    pub targets: Vec<Target>,
}

/// A store, as a dump needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub store: String,
    pub place: String,
    pub most_parts: u32,
    pub in_flight: usize,
    /// Why it is out of the question.
    pub trouble: Option<String>,
    /// What dead runs have left there, and nobody is at work on.
    pub leavings: Vec<Key>,
    /// Which uploads that are not completed nobody is at work on.
    pub stale: Stale,
    /// What else there is to be said of it.
    pub warning: Option<String>,
    /// Stored bytes of the dumps before, the newest last.
    pub sizes: Vec<u64>,
    pub backups: usize,
}

/// Which ids are those of runs that are over, whether or not there is a backup.
///
/// The job's lock makes sure that no other run of it is at work, in this database, on this server. A standby has a lock of its
/// own, and so has a job of the same name in another database that shares the folder: their runs are over when their time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    ours: Ours,
    /// What began before is over, whosever it is; nothing where the time is not certain.
    before: Option<DateTime<Utc>>,
}

/// Which ids are certainly those of this server's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ours {
    /// Those with this sign, or with none.
    Sign(Option<String>),
    /// None: others may have the same.
    Unknown,
}

impl Stale {
    pub fn is(&self, id: &str) -> bool {
        let Some(id) = naming::read(id) else { return false };
        self.ours == Ours::Sign(id.sign) || self.before.is_some_and(|before| id.began < before)
    }
}

/// A backup to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    pub store: String,
    pub id: String,
    pub why: String,
    /// Its objects, the manifest aside.
    pub objects: Vec<String>,
    /// It goes only when this one is there, and was read back well.
    pub after: String,
}

/// A store of the config, and what is in it.
#[derive(Debug)]
pub struct Seen {
    pub store: String,
    pub place: String,
    pub keep: Option<Keep>,
    pub in_flight: usize,
    pub shelf: Result<Shelf, String>,
    /// For the dump that is expected.
    pub parts: Parts,
}

/// All that is known.
#[derive(Debug)]
pub struct Facts {
    pub server: Server,
    pub tools: Tools,
    pub names: Names,
    /// What tells the runs on this server from those on the primary, where it is a standby.
    pub sign: Option<String>,
    pub now: DateTime<Utc>,
    /// How the clocks are apart, where that is too much to delete anything by.
    pub apart: Option<String>,
    /// How long a run may take.
    pub timeout: Duration,
    pub zone: Tz,
    pub seen: Vec<Seen>,
}

/// How large a dump is to be expected, in bytes as stored: as the last one, or else no larger than the database. A store
/// chooses its parts so that twice as much fits.
pub fn expected<'a>(server: &Server, shelves: impl IntoIterator<Item = &'a Shelf>) -> u64 {
    let last = newest(&server.identity(), shelves).and_then(|kept| kept.manifest.dump());
    last.map_or(server.size, |dump| dump.size)
}

fn newest<'a>(identity: &Identity, shelves: impl IntoIterator<Item = &'a Shelf>) -> Option<&'a Kept> {
    shelves
        .into_iter()
        .flat_map(|shelf| &shelf.kept)
        .filter(|kept| kept.manifest.identity() == *identity)
        .max_by_key(|kept| kept.manifest.started_at)
}

pub fn plan(facts: Facts) -> Plan<Action> {
    let shelves = || facts.seen.iter().filter_map(|seen| seen.shelf.as_ref().ok());
    let identity = facts.server.identity();
    let taken: BTreeSet<String> = shelves().flat_map(|shelf| shelf.taken.iter().cloned()).collect();
    let id = naming::id(facts.now, facts.sign.as_deref(), &taken);
    let expected = expected(&facts.server, shelves());
    let last = newest(&identity, shelves()).and_then(|kept| kept.manifest.dump());
    let last_raw = last.map(|dump| dump.raw_size);
    let part_size = facts.seen.iter().filter(|seen| seen.shelf.is_ok()).map(|seen| seen.parts.size).max();
    let mut plan = Plan::default();
    let mut targets = Vec::new();
    let mut deletions = Vec::new();
    for seen in &facts.seen {
        targets.push(target(seen, &identity, &facts));
        let Ok(shelf) = &seen.shelf else {
            let why =
                "nothing can be done there, which would make the run partial, or failed where it is the only store";
            plan.notes.push(Step::warn(
                &seen.place,
                format!("{}: {why}", seen.shelf.as_ref().err().cloned().unwrap_or_default()),
            ));
            continue;
        };
        for (id, why) in &shelf.unreadable {
            plan.notes.push(Step::warn(format!("{}: {id}", seen.store), format!("is left alone: {why}")));
        }
        if let Some(others) = others(shelf, &identity) {
            plan.notes.push(Step::keep(&seen.place, others));
        }
        let fates = fates(seen, shelf, &identity, &id, &facts);
        for (kept, fate) in shelf.of(&identity).zip(fates) {
            let manifest = &kept.manifest;
            match fate {
                Fate::Keep(reasons) => {
                    plan.notes.push(Step::keep(format!("{}: {}", seen.store, manifest.id), reasons.join(", ")));
                }
                Fate::Drop(why) if facts.apart.is_some() => {
                    let reason = format!("the clocks do not agree, or it would go: {why}");
                    plan.notes.push(Step::keep(format!("{}: {}", seen.store, manifest.id), reason));
                }
                Fate::Drop(why) => deletions.push(Action::Delete(Delete {
                    store: seen.store.clone(),
                    id: manifest.id.clone(),
                    why,
                    objects: manifest.objects.iter().map(|object| object.name.clone()).collect(),
                    after: id.clone(),
                })),
            }
        }
    }
    if let Some(apart) = facts.apart.as_ref().filter(|_| facts.seen.iter().any(|seen| seen.keep.is_some())) {
        let why = "no backup is deleted until they agree; set the wrong one right (chronyc tracking, timedatectl)";
        plan.notes.push(Step::warn("keep", format!("{apart}: {why}")));
    }
    plan.notes.extend(facts.names.absent.iter().map(|absent| Step::warn(&absent.name, absent.said())));
    plan.actions.push(Action::Dump(Box::new(Dump {
        id,
        expected,
        last_raw,
        part_size: part_size.unwrap_or(8 << 20),
        targets,
        server: facts.server,
        tools: facts.tools,
        names: facts.names,
    })));
    plan.actions.extend(deletions);
    plan
}

/// What is told of the backups in the job's place that are of another database, which no run of this job deletes.
pub fn others(shelf: &Shelf, identity: &Identity) -> Option<String> {
    let others: Vec<&Kept> = shelf.kept.iter().filter(|kept| kept.manifest.identity() != *identity).collect();
    let newest = &others.last()?.manifest;
    let (many, are) =
        if others.len() == 1 { ("1 backup".to_owned(), "is") } else { (format!("{} backups", others.len()), "are") };
    Some(format!(
        "{many} in the place of this job {are} of another database, as there are after pg_upgrade, or when one is made anew; no \
         `keep` deletes what is not of this one; the newest is {} of {:?} of system {}",
        newest.id, newest.database, newest.system_identifier
    ))
}

/// What becomes of each backup of this database, once the one that is about to be made is there.
fn fates(seen: &Seen, shelf: &Shelf, identity: &Identity, id: &str, facts: &Facts) -> Vec<Fate> {
    let mut known: Vec<Known> = shelf
        .of(identity)
        .map(|kept| Known {
            id: kept.manifest.id.clone(),
            started_at: kept.manifest.started_at,
            verified: kept.is_verified(),
            restored: kept.restored.is_some(),
            damaged: kept.is_damaged(),
            intact: kept.is_intact(),
        })
        .collect();
    let new =
        Known { id: id.into(), started_at: facts.now, verified: false, restored: false, damaged: false, intact: true };
    known.push(new);
    let mut decided = retain::decide(&known, seen.keep.as_ref(), facts.now, facts.zone);
    decided.pop();
    decided.into_iter().map(|(_, fate)| fate).collect()
}

fn target(seen: &Seen, identity: &Identity, facts: &Facts) -> Target {
    let nothing = Shelf::default();
    let (shelf, trouble) = match &seen.shelf {
        Ok(shelf) => (shelf, None),
        Err(error) => (&nothing, Some(error.clone())),
    };
    let dumps: Vec<u64> = shelf
        .of(identity)
        .filter(|kept| !kept.is_damaged())
        .filter_map(|kept| kept.manifest.dump())
        .map(|dump| dump.size)
        .collect();
    let other = shelf.kept.iter().rev().find(|kept| kept.manifest.identity() != *identity);
    let ours = if other.is_none() { Ours::Sign(facts.sign.clone()) } else { Ours::Unknown };
    let stale = Stale { ours, before: over(facts) };
    let leavings = shelf.leavings.iter().filter(|(id, _)| stale.is(id)).map(|(_, key)| key.clone()).collect();
    Target {
        store: seen.store.clone(),
        place: seen.place.clone(),
        most_parts: seen.parts.most,
        in_flight: seen.in_flight,
        trouble,
        leavings,
        stale,
        warning: other.and_then(|other| company(other, facts.now)),
        sizes: dumps[dumps.len().saturating_sub(USUAL)..].to_vec(),
        backups: shelf.of(identity).count(),
    }
}

/// A run that began before is over: its time was, a while ago.
fn over(facts: &Facts) -> Option<DateTime<Utc>> {
    let time = TimeDelta::from_std(facts.timeout).ok()?.checked_add(&TimeDelta::hours(1))?;
    facts.now.checked_sub_signed(time).filter(|_| facts.apart.is_none())
}

/// What there is to be said of a database that was dumped into the same folder lately.
fn company(other: &Kept, now: DateTime<Utc>) -> Option<String> {
    let manifest = &other.manifest;
    (now - manifest.started_at < TimeDelta::days(7)).then(|| {
        format!(
            "the folder of this job holds a backup of another database, {} of {}: what runs that were killed have left \
             there is cleared away only when it is older than the job's `timeout`, since it may be at work; give one of the \
             jobs another name, or another `prefix` in the store",
            manifest.id, manifest.database
        )
    })
}

/// A size beside the median of those before; nothing where there are too few.
pub fn ratio(size: u64, before: &[u64]) -> Option<f64> {
    if before.len() < TOO_FEW {
        return None;
    }
    let mut sorted = before.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    let median =
        if sorted.len().is_multiple_of(2) { u64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] };
    (median > 0).then(|| size as f64 / median as f64)
}

impl Dump {
    /// Parts on their way at once, over all stores.
    pub fn in_flight(&self) -> usize {
        self.targets.iter().map(|target| target.in_flight).max().unwrap_or(1)
    }

    pub fn memory(&self) -> u64 {
        pipeline::memory(self.part_size, self.in_flight())
    }

    pub fn step(&self, backup: &Backup) -> Step {
        let places: Vec<_> = self.targets.iter().map(|target| target.place.as_str()).collect();
        let stores: Vec<_> = self
            .targets
            .iter()
            .map(|target| {
                json!({
                    "store": target.store, "place": target.place, "max_parts": target.most_parts,
                    "parts_in_flight": target.in_flight, "backups": target.backups, "error": target.trouble,
                })
            })
            .collect();
        let spooling = backup.spooling();
        let by = match &spooling {
            Some(spooling) => {
                let folder = spooling.folder.display();
                let most = spooling.most.map_or_else(|| "half of what is free".into(), words::size);
                format!(" with {} jobs, by way of {folder}, where it may take {most}", spooling.jobs)
            }
            None => String::new(),
        };
        let reason = format!(
            "by pg_dump {}{by}, of about {} as stored, using up to {} of memory",
            self.tools.version,
            words::size(self.expected),
            words::size(self.memory())
        );
        Step {
            action: "backup",
            target: places.join(", "),
            reason,
            detail: json!({
                "backup": self.id, "database": self.server.database, "format": backup.format(),
                "compression": backup.compression, "encrypt_to": backup.recipients(), "expected_bytes": self.expected, "part_size": self.part_size,
                "memory_bytes": self.memory(), "pg_dump": self.tools.version, "stores": stores,
                "jobs": spooling.as_ref().map(|spooling| spooling.jobs),
                "spool": spooling.as_ref().map(|spooling| &spooling.folder),
                "spool_max_bytes": spooling.as_ref().and_then(|spooling| spooling.most),
            }),
            sql: None,
        }
    }
}

impl Delete {
    pub fn step(&self) -> Step {
        Step {
            action: "delete_backup",
            target: format!("{}: {}", self.store, self.id),
            reason: self.why.clone(),
            detail: json!({ "store": self.store, "backup": self.id, "after": self.after }),
            sql: None,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
