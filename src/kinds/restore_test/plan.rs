//! What a run of `restore_test` will do, from what the server and the stores say. Pure.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::config::{RestoreTest, Roles};
use super::mark::{Known, Mark, Whose};
use crate::kinds::backup::choose::{Chosen, LATEST, choose, databases, latest_of};
use crate::kinds::backup::manifest::{Identity, Manifest};
use crate::kinds::backup::shelf::Shelf;
use crate::kinds::backup::words;
use crate::run::{Plan, Step};

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// What a run that was killed has left.
    Sweep(String),
    /// Roles that one has left.
    SweepRoles(Vec<String>),
    Test(Box<Test>),
}

/// A backup to be restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    pub store: String,
    pub place: String,
    /// When the time of the run was read.
    pub read_at: Instant,
    /// The scratch database.
    pub scratch: String,
    /// Where it will lie, if that is known.
    pub room: Option<Room>,
    /// Which one; or why there is none to be restored.
    pub backup: Result<Manifest, String>,
}

/// The server, and the role that we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `user@host:port/dbname`
    pub place: String,
    pub role: String,
    pub may: Rights,
    pub standby: bool,
    /// Where a new database would lie, if it is a disk of this host.
    pub room: Option<Room>,
    pub databases: Vec<Known>,
    /// Roles with our mark.
    pub roles: Vec<String>,
}

/// A folder of the server's, and the bytes that are free there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub folder: String,
    pub free: u64,
}

/// What our role is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub all: bool,
    pub databases: bool,
    pub roles: bool,
}

/// A store, and what it has of the job's backups.
#[derive(Debug)]
pub struct Seen {
    pub store: String,
    pub place: String,
    pub shelf: Result<Shelf, String>,
}

#[derive(Debug)]
pub struct Facts {
    pub now: DateTime<Utc>,
    /// When `now` was.
    pub read_at: Instant,
    pub mark: Mark,
    pub server: Server,
    /// Which database the backups are to be of, or why that is not known; not asked where there are none.
    pub source: Option<Result<Identity, String>>,
    pub seen: Vec<Seen>,
}

impl Facts {
    /// The backup that is to be restored from a store.
    ///
    /// # Errors
    /// There is none, or the store could not be asked.
    pub fn choose<'a>(&self, seen: &'a Seen) -> Result<Chosen<'a>, String> {
        let shelf = seen.shelf.as_ref().map_err(Clone::clone)?;
        match &self.source {
            Some(Ok(identity)) => latest_of(shelf, identity),
            source => {
                let mut chosen = choose(shelf, LATEST)?;
                if let (Some(Err(why)), 2..) = (source, databases(shelf).len()) {
                    chosen.notes.push(format!("whether that is the one that is meant is not known: {why}"));
                }
                Ok(chosen)
            }
        }
    }
}

pub fn plan(test: &RestoreTest, facts: Facts) -> Plan<Action> {
    let mut plan = Plan::default();
    for known in &facts.server.databases {
        match facts.mark.whose(known) {
            Whose::Ours => plan.actions.push(Action::Sweep(known.name.clone())),
            // Whatever else others make there is nothing to this job.
            Whose::Others(_) if !facts.mark.is_like(&known.name) => {}
            Whose::Others(why) => plan.notes.push(Step::keep(&known.name, format!("is not of this job: {why}"))),
        }
    }
    if !facts.server.roles.is_empty() {
        plan.actions.push(Action::SweepRoles(facts.server.roles.clone()));
    }
    for (nth, seen) in (1..).zip(&facts.seen) {
        let backup = match facts.choose(seen) {
            Err(why) => Err(why),
            Ok(chosen) => {
                plan.notes.extend(chosen.notes.into_iter().map(|note| Step::warn(&seen.place, note)));
                let manifest = &chosen.kept.manifest;
                obstacle(test, &facts.server, manifest).map_or_else(|| Ok(manifest.clone()), Err)
            }
        };
        let scratch = facts.mark.name(facts.now, nth);
        let (store, place, read_at) = (seen.store.clone(), seen.place.clone(), facts.read_at);
        let room = facts.server.room.clone();
        plan.actions.push(Action::Test(Box::new(Test { store, place, read_at, scratch, room, backup })));
    }
    plan
}

/// What is known beforehand to keep a backup from being restored.
pub fn obstacle(test: &RestoreTest, server: &Server, manifest: &Manifest) -> Option<String> {
    if let Some(why) = forbidden(test, server).into_iter().next() {
        return Some(format!("{}: {}", why.0, why.1));
    }
    let size = needs(manifest);
    if let Some(most) = test.max_size.map(|most| most.0).filter(|most| size > *most) {
        return Some(format!(
            "it takes about {}, which is more than `max_size`, {}, allows",
            words::size(size),
            words::size(most)
        ));
    }
    let room = server.room.as_ref().filter(|room| size > room.free)?;
    Some(format!("it takes about {}, and {} is free in {}", words::size(size), words::size(room.free), room.folder))
}

/// What the role may not do on the server, with the mend.
pub fn forbidden(test: &RestoreTest, server: &Server) -> Vec<(String, String)> {
    let Server { role, place, .. } = server;
    let mut found = Vec::new();
    if server.standby {
        found.push((
            format!("{place} is a standby, where no database can be made"),
            "name a primary as `server`".into(),
        ));
    }
    if !server.may.all && !server.may.databases {
        found.push((format!("role {role} may make no database on {place}"), format!("ALTER ROLE {role} CREATEDB")));
    }
    if test.roles == Roles::Make && !server.may.all && !server.may.roles {
        let mend = format!("ALTER ROLE {role} CREATEROLE, or set `roles` to \"auto\"");
        found.push((format!("role {role} may make no role on {place}, as `roles` asks for"), mend));
    }
    found
}

/// What is known of the disk.
pub fn disk(room: Option<&Room>) -> String {
    let known = |room: &Room| format!("{} is free in {}", words::size(room.free), room.folder);
    room.map_or_else(|| "whether its disk has that much is not known to SQL, and is not looked at".into(), known)
}

/// How much room a restore takes: as much as the database had, or where that is not known, at least its rows.
pub fn needs(manifest: &Manifest) -> u64 {
    manifest.database_size.unwrap_or_else(|| manifest.dump().map_or(0, |dump| dump.raw_size))
}

impl Test {
    pub fn step(&self, test: &RestoreTest) -> Step {
        let disk = disk(self.room.as_ref());
        let target = match &self.backup {
            Ok(manifest) => format!("{} of {}", manifest.id, self.place),
            Err(_) => self.place.clone(),
        };
        let reason = match &self.backup {
            Ok(manifest) => format!(
                "into {:?} on the server of {}, which takes about {} there; {disk}",
                self.scratch,
                test.server_name(),
                words::size(needs(manifest))
            ),
            Err(why) => format!("cannot be done: {why}"),
        };
        let compared = self.backup.as_ref().ok().and_then(|manifest| Some(manifest.row_counts.as_ref()?.len()));
        let detail = json!({
            "store": self.store, "backup": self.backup.as_ref().ok().map(|manifest| &manifest.id), "scratch": self.scratch,
            "expected_bytes": self.backup.as_ref().ok().map(needs), "tables_to_compare": compared,
            "queries": test.queries.len(), "error": self.backup.as_ref().err(),
        });
        Step { action: "restore_test", target, reason, detail, sql: None }
    }
}

impl Action {
    pub fn step(&self, test: &RestoreTest) -> Step {
        let left = "a run that was killed has left it";
        match self {
            Action::Test(one) => one.step(test),
            Action::Sweep(name) => Step { action: "drop_database", ..Step::keep(name, left) },
            Action::SweepRoles(names) => Step { action: "drop_role", ..Step::keep(names.join(", "), left) },
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
