//! Two years of each application, day by day, under its shipped job file: what is due on a day is run on that day, by the
//! engine that the daemon runs jobs by, as the role that the file describes, with no more than the GRANTs it gives.
//!
//! The clock is `Clock::Fixed`: one instant for host and database alike, set forward each time. The rota stays, so that each
//! day is that of a daemon which wakes at seven in the morning and catches up, once each, what went by. New rows arrive
//! before that (`tests/fixtures/days/`), and every one is written into a ledger that no job touches: what is to be there and
//! what is to be gone is counted from the ledger, never from what pgtend says.
//!
//! A run is some fifty statements on connections of its own, so that two years of each day take minutes. Among the other
//! stories the daemon is therefore awake on every fifth day only (see [`Walk::is_awake`]), and makes fewer backups (see
//! [`Walk::takes`]); all else is as it is due. By hand, and where there is room, nothing is left out:
//!
//!     make walk APP=helix SCALE=100000
//!
//! | variable | what |
//! |---|---|
//! | `PGTEND_WALK_ROWS` | how large the fixture is; each day's rows grow with it (300) |
//! | `PGTEND_WALK_DAYS` | how many days the walk takes (731: two years with a 29 February) |
//! | `PGTEND_WALK_WHOLE` | set: the daemon is awake on every day, and makes every backup that is due |

mod autosdlc;
mod checks;
mod code_review;
mod helix;
mod lucy;
mod lukhas;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};
use futures_util::future::join_all;
use pgtend::clock::Clock;
use pgtend::config::{self, Config, Definition};
use pgtend::engine::schedule::{self, Rota};
use pgtend::engine::{Ending, Engine, Ring, Shared};
use pgtend::run::{JobName, Outcome, RunRecord, Trigger};
use tokio_postgres::Client;

use crate::backup::bin;
use crate::shipped_partitions::{alone, scratch};
use crate::shipped_retention::grants;
use crate::support::{Cluster, Database, Pgtend, S3Server, majors};

/// An application: `jobs/NAME.toml`, `tests/fixtures/NAME.sql` and `tests/fixtures/days/NAME.sql`.
pub struct Application {
    pub name: &'static str,
    /// The role that owns its tables, as the comments of its job file call it.
    pub owner: &'static str,
    /// What the role of pgtend is given besides the GRANTs of the file: attributes of a role.
    pub attributes: &'static str,
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

/// The moment of the fixture. Later than the clock of whoever runs the tests, so that what the server writes down by its own
/// clock (when it analyzed a table, say) is never in the future.
const BEGIN: &str = "2027-06-15T07:00:00Z";

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
    never: Vec<String>,
}

/// A job file, and what it leaves to its reader: the server on which a restore test that is switched off would restore; and the
/// programs of this server's major, which need not be on the PATH of the tests.
fn as_here(db: &Database, file: &str) -> String {
    let pg_bin = format!("]\npg_bin = \"{}\"\n", bin(db).display());
    let with_programs = ["backup", "restore_test"]
        .iter()
        .fold(file.to_owned(), |text, kind| text.replace(&format!(".{kind}]\n"), &format!(".{kind}{pg_bin}")));
    with_programs.replace("# server = \"scratch\"", "server = \"scratch\"")
}

/// What job files name, as they name it: a bucket, and a directory.
fn stores(bucket: &S3Server) -> String {
    let file = bucket.settings().credentials_file.expect("credentials");
    let s3 = |name: &str| format!("{}credentials_file = \"{}\"\n", bucket.config(name), file.display());
    let artifacts = s3("artifacts").replace("prefix = \"pg\"", "prefix = \"artifacts\"");
    format!("{}{artifacts}[stores.local.directory]\npath = \"local\"\n", s3("offsite"))
}

/// Whether nothing is to be left out.
fn is_whole() -> bool {
    std::env::var_os("PGTEND_WALK_WHOLE").is_some_and(|value| !value.is_empty())
}

fn engine(config: &Config) -> Engine {
    Engine::new(config, Arc::default()).expect("an engine")
}

fn number(variable: &str, otherwise: i32) -> i32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

impl Walk {
    /// The application as its fixture leaves it, on a server of its own, and its job file read.
    pub async fn begin(application: &'static Application) -> Self {
        let Application { name, owner, .. } = application;
        let cluster = Cluster::own(majors()[0]);
        let db = cluster.database().await;
        let (begin, rows) = (BEGIN.parse::<DateTime<Utc>>().expect("a time"), number("PGTEND_WALK_ROWS", 300));
        let end = begin + TimeDelta::days(number("PGTEND_WALK_DAYS", 731).into());
        let database = format!("\"{}\"", db.name());
        db.execute(&format!(
            "CREATE ROLE {owner} LOGIN CREATEROLE; ALTER DATABASE {database} OWNER TO {owner};
             CREATE ROLE pgtend LOGIN {}; GRANT CREATE ON DATABASE {database} TO pgtend;",
            application.attributes
        ))
        .await;
        let now = begin.to_rfc3339();
        let mut variables = vec![("rows", rows.to_string()), ("now", now.clone())];
        variables.extend((application.variables)(rows));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        db.load_as(owner, &format!("{name}.sql"), &variables);
        db.load_as(owner, &format!("days/{name}.sql"), &variables);
        let file = alone(&format!("{name}.toml"));
        for grant in grants(&file) {
            db.execute(&grant).await;
        }
        let bucket = S3Server::start();
        let program = Pgtend::new(&format!(
            "[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"off\"\n{}\n{}{}",
            db.url_as("pgtend"),
            as_here(&db, &file),
            stores(&bucket),
            scratch(&Database::named(cluster, "postgres").url()),
        ));
        let config = Arc::new(config::load(&program.config()).unwrap_or_else(|error| panic!("{error:?}")));
        let sql = db.client().await;
        sql.batch_execute("SET timezone = 'UTC'").await.expect("UTC");
        let engine = Arc::new(engine(&config));
        let rota = Rota::new(&config.jobs, &HashMap::new(), begin);
        let (last, rung, took, backed_up, succeeded) = Default::default();
        let mut walk = Self {
            application,
            db,
            bucket,
            program,
            config,
            engine,
            rota,
            succeeded,
            now: begin,
            begin,
            end,
            rows,
            last,
            rung,
            took,
            backed_up,
            sql,
            awake: vec![begin],
            never: Vec::new(),
        };
        walk.never = walk.fingerprints().await;
        walk
    }

    /// The next day that the daemon is awake on: what is due is run to its good end. Rows arrive on every day, before that.
    /// `false` when two years are over.
    pub async fn day(&mut self) -> bool {
        if self.now >= self.end {
            eprintln!("{}: {} days, and its jobs took {:.1?}", self.application.name, self.days(), self.took);
            return false;
        }
        // The server counts changes at once, and not when it gets to it: what is made from them is looked at below.
        let counted = if self.db.cluster().major() < 15 { "" } else { ", pg_stat_force_next_flush()" };
        let arrive = &format!("SELECT walk.day($1, $2){counted}");
        loop {
            self.now += TimeDelta::days(1);
            // A thousand rows of the fixture make thirty a day.
            let arrived = self.sql.execute(arrive, &[&self.now, &(self.rows / 30).max(3)]).await;
            arrived.unwrap_or_else(|e| panic!("{}: {e:?}", self.now));
            if self.is_awake() {
                break;
            }
        }
        self.awake.push(self.now);
        self.set_clock(self.now);
        let mut due = self.rota.tick(self.now);
        due.sort_by_key(|ring| ring.due_at);
        // What is due at one time begins at one time; what is due later, later.
        for together in due.chunk_by(|one, other| one.due_at == other.due_at) {
            let rings: Vec<Ring> = together.iter().filter_map(|ring| self.ring(ring)).collect();
            self.run(rings).await;
        }
        true
    }

    /// On the first of each month and every fifth day after it, and on each of the last days: what was due on the days between
    /// is caught up.
    fn is_awake(&self) -> bool {
        is_whole() || self.now.day() % 5 == 1 || self.is_among_the_last()
    }

    fn is_among_the_last(&self) -> bool {
        self.end - self.now < TimeDelta::days(self.application.last_days)
    }

    fn ring(&mut self, ring: &schedule::Ring) -> Option<Ring> {
        let job = Arc::clone(self.config.jobs.iter().find(|job| job.name == ring.job).expect("a job of the config"));
        let (trigger, due_at) = (ring.trigger, Some(ring.due_at));
        self.takes(&job).then_some(Ring { job, trigger, due_at, request: None, attempt: 1 })
    }

    /// Everything is run as it is due, but for backups. Each is a `pg_dump` that reads all there is, is read back, and takes a
    /// second: all of the two years would be half an hour of this test. So a backup is made when it is due for the
    /// first time in a quarter, or where a job restores the newest one each month, in a month; and each time it is due
    /// in the last days of the walk, more of them than the longest `keep` of the application in days, to see which stay.
    fn takes(&mut self, job: &Definition) -> bool {
        if job.spec.kind() != "backup" || is_whole() {
            return true;
        }
        let months = if self.application.proves_each_month { 1 } else { 3 };
        let first = self.backed_up.insert((job.name.to_string(), self.now.year(), self.now.month0() / months));
        first || self.is_among_the_last()
    }

    /// Runs these, and what comes after them.
    async fn run(&mut self, mut rings: Vec<Ring>) {
        let engine = Arc::clone(&self.engine);
        while !rings.is_empty() {
            let ending = Ending::default();
            let records = join_all(rings.iter().map(async |ring| {
                let began = Instant::now();
                (engine.run(ring, &ending).await, began.elapsed())
            }))
            .await;
            rings.clear();
            for (record, took) in records {
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

    /// Whether a month has just begun.
    pub fn is_months_edge(&self) -> bool {
        self.now.day() == 1
    }

    /// Whether the half of a year has just gone by, or the walk is at its end.
    pub fn is_half_year(&self) -> bool {
        (self.now.day() == 15 && matches!(self.now.month(), 6 | 12)) || self.now >= self.end
    }

    pub fn is_at_its_end(&self) -> bool {
        self.now >= self.end
    }

    /// How many days the walk has gone.
    pub fn days(&self) -> i64 {
        (self.now - self.begin).num_days()
    }

    /// How many runs a job has that is due on such days at an hour before seven: days that went by since the last one are
    /// caught up in one run.
    pub fn runs(&self, is_due: impl Fn(DateTime<Utc>) -> bool) -> i64 {
        let days = |since: DateTime<Utc>, to: DateTime<Utc>| {
            (1..=(to - since).num_days()).map(move |day| since + TimeDelta::days(day))
        };
        let caught_up = self.awake.windows(2).filter(|pair| days(pair[0], pair[1]).any(&is_due)).count();
        i64::try_from(caught_up).expect("a number of days")
    }

    /// How many runs a job has that is due each day.
    pub fn daily_runs(&self) -> i64 {
        self.runs(|_| true)
    }

    /// How many runs a job has that is due on Sundays.
    pub fn sunday_runs(&self) -> i64 {
        self.runs(|day| day.weekday() == Weekday::Sun)
    }

    /// When this job has succeeded last, as SQL; where it never has, when the walk began.
    pub fn last(&self, job: &str) -> String {
        let at = self.last.get(job).unwrap_or(&self.begin);
        format!("'{}'::timestamptz", at.to_rfc3339())
    }
}
