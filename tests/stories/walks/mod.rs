//! Two years of each application, day by day, under its shipped job file: what is due on a day is run on that day, by the
//! engine that the daemon runs jobs by, as the role that the file describes, with no more than the GRANTs it gives.
//!
//! The clock is `Clock::Fixed`: one instant for host and database alike, set forward each time. The rota stays, so that each
//! day is that of a daemon which wakes at seven in the morning and catches up, once each, what went by. New rows arrive
//! before that (`tests/fixtures/days/`), and every one is written into a ledger that no job touches: what is to be there and
//! what is to be gone is counted from the ledger, never from what pgtend says.
//!
//! A run is some fifty statements on connections of its own, so that two years of each day take minutes. Among the other
//! stories the daemon is therefore awake on every tenth day only (see [`Walk::is_awake`]), and makes fewer backups (see
//! [`Walk::takes`]); all else is as it is due. By hand, and where there is room, nothing is left out:
//!
//!     make walk APP=helix SCALE=100000
//!
//! | variable | what |
//! |---|---|
//! | `PGTEND_WALK_ROWS` | how large the fixture is; each day's rows grow with it (300) |
//! | `PGTEND_WALK_DAYS` | how many days the walk takes (731: two years with a 29 February) |
//! | `PGTEND_WALK_WHOLE` | set: the daemon is awake on every day, and makes every backup that is due, as long as the fixture is not large (see [`Walk::takes`]) |
//! | `PGTEND_WALK_DIR` | where servers, buckets and backups are kept (`/tmp`); a short path, since sockets lie below |
//!
//! Not walked: that a run is tried again, and what the daemon prunes of the history, which is kept here for longer than the walk.

mod autosdlc;
mod begin;
mod calendar;
mod checks;
mod code_review;
mod helix;
mod lucy;
mod lukhas;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use futures_util::future::join_all;
use pgtend::clock::Clock;
use pgtend::config::{self, Config, Definition};
use pgtend::engine::schedule::{Due, Rota};
use pgtend::engine::{Ending, Engine, Ring, Shared};
use pgtend::run::{JobName, Outcome, RunRecord, Trigger};
use tokio_postgres::Client;

use crate::support::{Database, Pgtend, S3Server, is_by_hand};

/// An application: `jobs/NAME.toml`, `tests/fixtures/NAME.sql` and `tests/fixtures/days/NAME.sql`.
pub struct Application {
    pub name: &'static str,
    /// The role that owns its tables, as the comments of its job file call it.
    pub owner: &'static str,
    /// What the role of pgtend is given besides the GRANTs of the file: attributes of a role.
    pub attributes: &'static str,
    /// Whether it is walked through on the newest major there is, where membership in the owner is without INHERIT; else on
    /// the oldest.
    pub on_the_newest: bool,
    /// The role that the application writes by, so that it is seen to be let into what pgtend makes.
    pub writer: &'static str,
    /// What is granted to whom besides, once its tables are there.
    pub rights: &'static str,
    /// The job whose backups are restored, and the one that does it.
    pub backup: &'static str,
    pub restore_test: &'static str,
    /// Jobs that come one after the other by their times, where the outcome of the second is another without the first.
    pub in_order: &'static [(&'static str, &'static str)],
    /// Of the fixture.
    pub variables: fn(rows: i32) -> Vec<(&'static str, String)>,
    /// Tables that are at the end what they were at the beginning.
    pub never: &'static [&'static str],
    /// Whether a job restores the newest backup each month.
    pub proves_each_month: bool,
    /// In so many days at the end of the walk the daemon is always awake and makes every backup that is due: a few more than
    /// the longest `keep` in days.
    pub last_days: i64,
}

pub struct Walk {
    application: &'static Application,
    pub db: Database,
    /// Where backups go that are not to be beside the database.
    pub bucket: S3Server,
    /// The real program by the same config, for what a person does.
    pub program: Pgtend,
    config: Arc<Config>,
    /// The connections that its runs leave open are the next day's.
    engine: Arc<Engine>,
    rota: Rota,
    /// For jobs that come after several others, as the daemon has it.
    succeeded: HashSet<(JobName, JobName)>,
    /// The instant of the day.
    pub now: DateTime<Utc>,
    begin: DateTime<Utc>,
    end: DateTime<Utc>,
    rows: i32,
    /// When each job succeeded last: what its cutoffs are counted from.
    last: HashMap<String, DateTime<Utc>>,
    /// How many runs each job has been given by its schedule.
    rung: BTreeMap<String, i64>,
    /// The days that the daemon was awake on, the first one being that of the fixture.
    awake: Vec<DateTime<Utc>>,
    /// How long the runs of each job took together; told, and nothing more.
    took: BTreeMap<String, Duration>,
    /// The parts of years in which each backup was made already.
    backed_up: BTreeSet<(String, i32, u32)>,
    /// Of the application, and of this walk: UTC, as its checks count.
    sql: Client,
    /// Of whoever writes for the application.
    writes: Client,
    never: Vec<String>,
    seen: upkeep::Seen,
}

/// Whether nothing is to be left out.
fn is_whole() -> bool {
    is_by_hand()
}

fn engine(config: &Config) -> Engine {
    Engine::new(config, Arc::default()).expect("an engine")
}

impl Walk {
    /// The next day that the daemon is awake on: what is due is run to its good end. Rows arrive on every day, before that.
    /// `false` when two years are over.
    pub async fn day(&mut self) -> bool {
        if self.now >= self.end {
            self.tell().await;
            return false;
        }
        // The server counts changes at once, and not when it gets to it: what is made from them is looked at below.
        let counted = if self.db.cluster().major() < 15 { "" } else { ", pg_stat_force_next_flush()" };
        let arrive = &format!("SELECT walk.day($1, $2){counted}");
        loop {
            self.now += TimeDelta::days(1);
            // A thousand rows of the fixture make thirty a day.
            let arrived = self.writes.execute(arrive, &[&self.now, &(self.rows / 30).max(3)]).await;
            arrived.unwrap_or_else(|e| panic!("{}: {e:?}", self.now));
            if self.is_awake() {
                break;
            }
        }
        self.awake.push(self.now);
        self.set_clock(self.now);
        // A daemon that was asleep begins all that it owes at one time, in whatever order it was due; so does this, and what
        // gets into each other's way has to get out of it. But where one job is to find what another has left, which of them
        // is quicker would decide between two good outcomes (what has left the queue today lets its message go today, or only
        // a week later), and the ledger could not tell which is to be there: those keep their order.
        let due = self.rota.tick(self.now);
        let is_due = |name: &str| due.iter().any(|due| due.job.as_str() == name);
        let waits = |due: &Due| {
            let mut pairs = self.application.in_order.iter();
            pairs.any(|(before, then)| due.job.as_str() == *then && is_due(before))
        };
        let (later, first): (Vec<_>, Vec<_>) = due.iter().partition(|due| waits(due));
        for together in [first, later] {
            let rings: Vec<Ring> = together.into_iter().filter_map(|due| self.ring(due)).collect();
            self.run(rings).await;
        }
        true
    }

    /// How long it took, and how much room.
    async fn tell(&self) {
        let name = self.application.name;
        eprintln!("{name}: {} days, and its jobs took {:.1?}", self.days(), self.took);
        let database: i64 = self.one("SELECT pg_database_size(current_database())").await;
        let ledger: i64 = self.one("SELECT pg_total_relation_size('walk.ledger')").await;
        let bucket: usize = self.bucket.objects().values().map(|stored| stored.bytes.len()).sum();
        eprintln!(
            "{name}: at {} rows, the database has {database} bytes, {ledger} of them the ledger's, the bucket {bucket}",
            self.rows
        );
    }

    /// On the first of each month and every tenth day after it, and on each of the last days: what was due on the days between
    /// is caught up.
    fn is_awake(&self) -> bool {
        is_whole() || self.now.day() % 10 == 1 || self.is_among_the_last(self.now)
    }

    fn ring(&mut self, due: &Due) -> Option<Ring> {
        let job = Arc::clone(self.config.jobs.iter().find(|job| job.name == due.job).expect("a job of the config"));
        let (trigger, due_at) = (due.trigger, Some(due.due_at));
        self.takes(&job).then_some(Ring { job, trigger, due_at, request: None, attempt: 1 })
    }

    /// Everything is run as it is due, but for backups. Each is a `pg_dump` that reads all there is, is read back, and takes a
    /// second: all of the two years would be half an hour of this test. So a backup is made when it is due for the
    /// first time in a quarter, or where a job restores the newest one each month, in a month; and each time it is due
    /// in the last days of the walk, more of them than the longest `keep` of the application in days, to see which stay. So it
    /// is of a large fixture, too, where nothing else is left out: a bucket that keeps all would fill any disk.
    fn takes(&mut self, job: &Definition) -> bool {
        if job.spec.kind() != "backup" || self.makes_every_backup() {
            return true;
        }
        let months = if self.application.proves_each_month { 1 } else { 3 };
        let first = self.backed_up.insert((job.name.to_string(), self.now.year(), self.now.month0() / months));
        first || self.is_among_the_last(self.now)
    }

    /// Runs these, and what comes after them.
    async fn run(&mut self, mut rings: Vec<Ring>) {
        let engine = Arc::clone(&self.engine);
        while !rings.is_empty() {
            // Each a task of its own, as the daemon has it: what one of them computes does not keep another from hearing its store.
            let runs = rings.drain(..).map(|ring| {
                let engine = Arc::clone(&engine);
                #[expect(clippy::disallowed_methods, reason = "it is waited for")]
                tokio::spawn(async move {
                    let began = Instant::now();
                    (engine.run(&ring, &Ending::default()).await, began.elapsed())
                })
            });
            let records = join_all(runs).await;
            for record in records {
                let (record, took) = record.expect("a run that ends");
                self.is_good(&record);
                *self.took.entry(record.job.to_string()).or_default() += took;
                rings.extend(self.followers(&record.job));
            }
        }
    }

    fn is_good(&mut self, record: &RunRecord) {
        let job = record.job.as_str();
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}, {job}: {record:#?}", self.now);
        self.last.insert(job.into(), record.started_at);
        if record.trigger != Trigger::Cli {
            *self.rung.entry(job.into()).or_default() += 1;
        }
    }

    /// What the daemon begins when a job has succeeded.
    fn followers(&mut self, done: &JobName) -> Vec<Ring> {
        let mut rings = Vec::new();
        for job in self.config.jobs.iter().filter(|job| job.enabled && job.after.contains(done)) {
            self.succeeded.insert((job.name.clone(), done.clone()));
            if job.after.iter().all(|before| self.succeeded.contains(&(job.name.clone(), before.clone()))) {
                self.succeeded.retain(|(follower, _)| *follower != job.name);
                rings.push(Ring::by_hand(job, Trigger::After));
            }
        }
        rings
    }

    /// Runs a job by hand, so long after the day's instant.
    pub async fn by_hand(&mut self, job: &str, later: TimeDelta) {
        let [ring] = self.config.instances(job).try_into().unwrap_or_else(|_| panic!("one job {job}"));
        self.set_clock(self.now + later);
        self.run(vec![Ring::by_hand(&ring, Trigger::Cli)]).await;
    }

    /// The newest backup comes back, as the job says that restores it. It is of this very day, for which one more is made where
    /// none was due; but for the end, where what is left of them is counted.
    pub async fn is_proven(&mut self) {
        let Application { backup, restore_test, .. } = *self.application;
        if self.last.get(backup) != Some(&self.now) && !self.is_at_its_end() {
            self.by_hand(backup, TimeDelta::minutes(20)).await;
        }
        self.by_hand(restore_test, TimeDelta::minutes(30)).await;
        let restored = self.restored().await;
        assert!(restored.starts_with(&self.today()) || self.is_at_its_end(), "{}: {restored} was restored", self.now);
    }

    /// The backup that was restored last, by its id.
    pub async fn restored(&self) -> String {
        let job = self.application.restore_test;
        self.one(&format!(
            "SELECT details->>'backup' FROM pgtend.run WHERE job = '{job}' ORDER BY started_at DESC LIMIT 1"
        ))
        .await
    }

    /// As the ids of the day's backups begin.
    pub fn today(&self) -> String {
        self.now.format("%Y-%m-%dT").to_string()
    }

    /// Changes the config, as an operator who has read its comments would; the daemon is told to read it again.
    pub fn reconfigure(&mut self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.program.config()).expect("the config");
        let changed = change(&text);
        assert_ne!(text, changed, "nothing was changed");
        self.program.configure(&changed);
        self.config = Arc::new(config::load(&self.program.config()).unwrap_or_else(|error| panic!("{error:?}")));
        self.engine = Arc::new(engine(&self.config));
        self.rota.replace(&self.config.jobs, self.now);
    }

    /// What outlives a run and is new here each day holds a clock, and counters that a walk does not read.
    fn set_clock(&mut self, now: DateTime<Utc>) {
        let mut shared = Shared::default();
        shared.clock = Clock::Fixed(now);
        Arc::get_mut(&mut self.engine).expect("no run is at work").shared = Arc::new(shared);
    }

    /// When this job has succeeded last, as SQL; where it never has, when the walk began.
    pub fn last(&self, job: &str) -> String {
        let at = self.last.get(job).unwrap_or(&self.begin);
        format!("'{}'::timestamptz", at.to_rfc3339())
    }
}
