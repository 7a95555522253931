//! What a config comes to, once it has been read and found right: databases, and one [`Definition`] for each job in each
//! of its databases.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::cron::Cron;
use crate::kinds::Spec;
use crate::period::Period;
use crate::pg::{Conninfo, Pattern};
use crate::run::{JobName, Outcome, Trigger};
use crate::store;

/// A file of the config, kept to say where things stand. `Debug` leaves the text out: a password may stand in it.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// The line of a byte, counted from 1.
    pub fn line(&self, byte: usize) -> usize {
        self.before(byte).iter().filter(|b| **b == b'\n').count() + 1
    }

    /// The column of a byte, counted from 1, in characters.
    pub fn column(&self, byte: usize) -> usize {
        let line = self.before(byte).rsplit(|b| *b == b'\n').next().unwrap_or_default();
        // Every byte of UTF-8 that does not continue a character begins one.
        line.iter().filter(|b| **b & 0b1100_0000 != 0b1000_0000).count() + 1
    }

    fn before(&self, byte: usize) -> &[u8] {
        &self.text.as_bytes()[..byte.min(self.text.len())]
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path.display())
    }
}

/// Where something of the config was written.
#[derive(Debug, Clone)]
pub struct Origin {
    pub source: Arc<Source>,
    pub span: Range<usize>,
}

impl Origin {
    /// `file:line` of this, or of `span` in the same file.
    pub fn place(&self, span: Option<&Range<usize>>) -> (PathBuf, usize) {
        (self.source.path.clone(), self.source.line(span.unwrap_or(&self.span).start))
    }

    /// The text that stands there.
    pub(super) fn written(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or_default()
    }

    /// Whether `${VAR}` stands in it: then what it came to may be secret.
    pub(super) fn has_variables(&self) -> bool {
        self.written().contains("${")
    }
}

/// Something that is allowed, and probably not meant.
#[derive(Debug, Clone)]
pub struct Warning {
    pub origin: Origin,
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = self.origin.place(None);
        write!(f, "{}:{line}: {}; {}", file.display(), self.message, self.mend)
    }
}

/// The whole config.
#[derive(Debug, Clone)]
pub struct Config {
    /// The first is the one named on the command line.
    pub sources: Vec<Arc<Source>>,
    pub shutdown_timeout: Duration,
    /// How many runs may be at work at once, over all databases.
    pub max_runs: usize,
    pub databases: BTreeMap<String, DatabaseConfig>,
    pub stores: BTreeMap<String, StoreConfig>,
    /// `None`: `listen = "off"`.
    pub http: Option<HttpConfig>,
    /// Whom to tell, by name.
    pub notify: BTreeMap<String, NotifyConfig>,
    pub history_keep: Period,
    /// One for each job and database, sorted by name.
    pub jobs: Vec<Arc<Definition>>,
    pub warnings: Vec<Warning>,
}

/// How often a store is tried for somebody who only looks.
const LOOKS: u32 = 3;

impl Config {
    /// The instances that `name` means: one by `JOB@DATABASE`, all of the job's by `JOB`.
    pub fn instances(&self, name: &str) -> Vec<Arc<Definition>> {
        self.jobs.iter().filter(|job| job.name.as_str() == name || job.name.definition() == name).cloned().collect()
    }

    /// For somebody who only looks, and waits for the answer: stores that do not answer are soon given up.
    #[must_use]
    pub fn in_haste(mut self) -> Self {
        self.stores.values_mut().for_each(|store| store.settings.try_at_most(LOOKS));
        self
    }
}

#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    pub conninfo: Conninfo,
    /// How many connections the runs may have to it at once. The daemon has one more, for triggers and gauges.
    pub max_connections: usize,
    /// Tables of which no job may take anything.
    pub never: Arc<[Pattern]>,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub settings: store::Settings,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// Without it nothing can be triggered over HTTP.
    pub token: Option<SecretString>,
}

/// Somebody to be told.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    pub address: Address,
    pub format: NotifyFormat,
    pub on: Vec<NotifyOn>,
    /// Of which jobs.
    pub jobs: Vec<glob::Pattern>,
    pub token: Option<SecretString>,
}

/// Where a webhook is. Whoever knows it can often use it.
#[derive(Debug, Clone)]
pub struct Address(pub SecretString);

impl Address {
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What a webhook is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyFormat {
    /// An object with fields.
    #[default]
    Json,
    /// A text, as Slack, Mattermost and Rocket.Chat take it.
    Slack,
}

/// Of what somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyOn {
    /// A job that went well has failed, and will not be tried again by itself.
    Failure,
    /// It goes well again.
    Recovery,
    /// It was due ten minutes ago, and no daemon has begun it.
    Overdue,
}

impl NotifyOn {
    pub const ALL: [NotifyOn; 3] = [NotifyOn::Failure, NotifyOn::Recovery, NotifyOn::Overdue];

    pub const fn as_str(self) -> &'static str {
        match self {
            NotifyOn::Failure => "failure",
            NotifyOn::Recovery => "recovery",
            NotifyOn::Overdue => "overdue",
        }
    }
}

/// A job in one database.
#[derive(Debug)]
pub struct Definition {
    /// `JOB`, or `JOB@DATABASE` where the job names several.
    pub name: JobName,
    pub database: String,
    pub spec: Spec,
    pub schedule: Option<Cron>,
    pub timezone: Tz,
    pub jitter: Duration,
    pub enabled: bool,
    pub timeout: Duration,
    pub retry: Retry,
    pub catch_up: bool,
    /// Instances this one runs after, once they have succeeded.
    pub after: Vec<JobName>,
    pub window: Option<Window>,
    pub lock_timeout: Duration,
    /// `n` of `RTMIN+n`.
    pub signal: Option<u8>,
    /// Asked for after each success, by a dead man's switch that tells of its silence.
    pub ping: Option<Address>,
    pub origin: Origin,
}

impl Definition {
    /// Whether a run that ended so is tried again.
    pub fn tries_again(&self, outcome: Outcome, trigger: Trigger, attempt: u32) -> bool {
        matches!(outcome, Outcome::Failed | Outcome::Partial | Outcome::TimedOut)
            && matches!(trigger, Trigger::Schedule | Trigger::CatchUp)
            && attempt < self.retry.attempts
    }
}

/// How often and how soon a scheduled run that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The first try included.
    pub attempts: u32,
    /// Doubled after each try, up to `max_wait`.
    pub wait: Duration,
    pub max_wait: Duration,
}

impl Retry {
    /// The rest after that try, counted from 1, before the next.
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        self.wait.saturating_mul(2u32.saturating_pow(doublings)).min(self.max_wait)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, wait: Duration::from_secs(30), max_wait: Duration::from_secs(600) }
    }
}
