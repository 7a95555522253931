//! The config as it is written: one field a key. The doc comments are what editors show, by way of the JSON Schema.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::notify::NotifyKeys;
use super::stores::StoreKeys;
use super::window::Window;
use crate::cron::Cron;
use crate::period::{Period, Span};
use crate::pg::Pattern;
use crate::zone::Zone;

/// The main file. What begins with an underscore is read as a piece of its own; it is named here for the schema, and to
/// be a known key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// Further files, as globs relative to this one. They may hold `[jobs.*]` only.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub include: Vec<Spanned<String>>,
    /// How long running jobs may take to reach a safe point after SIGTERM. Default: 30s.
    pub shutdown_timeout: Option<Span>,
    /// How many runs may be at work at once, over all databases. Default: 8.
    pub max_runs: Option<Count<1, 10_000>>,
    /// The databases that jobs work in, by names of your choice.
    #[serde(default, rename = "databases")]
    #[schemars(with = "BTreeMap<String, DatabaseKeys>")]
    _databases: IgnoredAny,
    /// Where backups are kept, by names of your choice.
    #[serde(default, rename = "stores")]
    #[schemars(with = "BTreeMap<String, StoreKeys>")]
    _stores: IgnoredAny,
    /// Whom to tell when a job begins to go badly, is late, or goes well again; by names of your choice.
    #[serde(default, rename = "notify")]
    #[schemars(with = "BTreeMap<String, NotifyKeys>")]
    _notify: IgnoredAny,
    #[serde(default)]
    pub http: HttpKeys,
    #[serde(default)]
    pub history: HistoryKeys,
    /// Keys that hold for every job that does not say otherwise.
    #[serde(default, rename = "defaults")]
    #[schemars(with = "JobKeys")]
    _defaults: IgnoredAny,
    /// The jobs, by names of your choice.
    #[serde(default, rename = "jobs")]
    #[schemars(with = "BTreeMap<String, JobKeys>")]
    _jobs: IgnoredAny,
}

/// A database.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseKeys {
    /// A connection string as libpq reads it: `postgresql://…` or `key=value …`. What it leaves out comes from the
    /// PG* environment variables and from libpq's defaults.
    #[schemars(with = "Option<String>")]
    pub url: Option<Spanned<String>>,
    /// A file that holds the password, read at each connection. A relative path counts from the config's folder.
    pub password_file: Option<PathBuf>,
    /// How many connections runs may have to it at once; a run takes one for its lock and one to work. Default: 8.
    pub max_connections: Option<Count<2, 10_000>>,
    /// Tables, with wildcards, of which no job may delete, move or count away a row, nor detach a partition; not even by
    /// a foreign key that takes rows along. Default: none.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub never: Vec<Pattern>,
}

/// Metrics, health, status page and trigger.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpKeys {
    /// Address and port, or "off". Default: 127.0.0.1:9934.
    #[schemars(with = "Option<String>")]
    pub listen: Option<Text<Listen>>,
    /// A file that holds the token for POST requests; without it nothing can be triggered over HTTP. A relative path
    /// counts from the config's folder.
    #[schemars(with = "Option<PathBuf>")]
    pub token_file: Option<Spanned<PathBuf>>,
}

/// The record of past runs.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryKeys {
    /// How long it is kept. Default: 90 days.
    #[schemars(with = "Option<Period>")]
    pub keep: Option<Positive<Period>>,
}

/// The keys common to all jobs.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobKeys {
    /// When it runs: cron with 5 or 6 fields, or `@hourly` … `@yearly`. Left out: only by hand, or `after` others.
    #[schemars(with = "Option<String>")]
    pub schedule: Option<Spanned<Text<Cron>>>,
    /// The zone whose wall clock `schedule` and `window` go by. Default: UTC.
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Spanned<Text<Zone>>>,
    /// A scheduled run begins up to this much later, the same on every daemon. Default: 0s.
    #[schemars(with = "Option<Span>")]
    pub jitter: Option<Spanned<Span>>,
    /// The database it works in. Default: the only one.
    #[schemars(with = "Option<String>")]
    pub database: Option<Spanned<String>>,
    /// Instead of `database`: globs over the names under `[databases]`; one instance `JOB@DATABASE` for each.
    #[schemars(with = "Option<Vec<String>>")]
    pub databases: Option<Spanned<Vec<Spanned<String>>>>,
    /// Whether it runs on schedule, after others and on SIGUSR1; by hand it always can. Default: true.
    #[schemars(with = "Option<bool>")]
    pub enabled: Option<Spanned<bool>>,
    /// How long a run may take.
    #[schemars(with = "Option<Span>")]
    pub timeout: Option<Spanned<Positive<Span>>>,
    #[schemars(with = "Option<RetryKeys>")]
    pub retry: Option<Spanned<RetryKeys>>,
    /// Whether a time that went by unserved is made up for, once. Default: true.
    #[schemars(with = "Option<bool>")]
    pub catch_up: Option<Spanned<bool>>,
    /// Jobs that it runs after: once each of them has succeeded since it ran last.
    #[schemars(with = "Option<Vec<String>>")]
    pub after: Option<Spanned<Vec<Spanned<String>>>>,
    /// When batched work may go on, such as "22:00-06:00"; it stops cleanly at the end and goes on next time.
    #[schemars(with = "Option<Window>")]
    pub window: Option<Spanned<Window>>,
    /// How long any one lock is waited for before letting others go first. Default: 300ms.
    #[schemars(with = "Option<Span>")]
    pub lock_timeout: Option<Spanned<Positive<Span>>>,
    /// The real-time signal that makes the daemon run it: "RTMIN+0" to "RTMIN+30".
    #[schemars(with = "Option<String>")]
    pub signal: Option<Spanned<Text<RealTime>>>,
    /// An address that is asked for after each success: a dead man's switch, which tells of its silence.
    #[schemars(with = "Option<String>")]
    pub ping: Option<Spanned<String>>,
}

/// How often and how soon a scheduled run that failed is tried again.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryKeys {
    /// The first try included. Default: 1.
    pub attempts: Option<Count<1, 100>>,
    /// Before the second try; doubled after each. Default: 30s.
    pub wait: Option<Span>,
    /// The longest wait. Default: 10m.
    pub max_wait: Option<Span>,
}

/// Read with `FromStr`.
#[derive(Clone)]
pub struct Text<T>(pub T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|Text(window)| window)
    }
}

impl JsonSchema for Window {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Window".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "hours of the day: \"22:00-06:00\"",
            "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*-\s*[0-9]{1,2}:[0-9]{2}\s*$",
        })
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy)]
pub struct Count<const MIN: u32, const MAX: u32>(pub u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            n if (i64::from(MIN)..=i64::from(MAX)).contains(&n) => u32::try_from(n).map(Self).map_err(Error::custom),
            n => Err(Error::custom(format!("{n} is not from {MIN} to {MAX}"))),
        }
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Count<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("CountFrom{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A length of time that is not nothing.
#[derive(Clone, Copy)]
pub struct Positive<T>(pub T);

impl<'de, T: Deserialize<'de> + Default + PartialEq> Deserialize<'de> for Positive<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match T::deserialize(deserializer)? {
            length if length == T::default() => Err(Error::custom("must be longer than 0")),
            length => Ok(Self(length)),
        }
    }
}

/// Where HTTP is served: `None` for "off".
#[derive(Clone, Copy)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let advice =
            "write it like \"127.0.0.1:9934\", \"[::1]:9934\", \"0.0.0.0:9934\" for all interfaces, or \"off\"";
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|_| format!("{text:?} is no address with a port; {advice}"))
    }
}

/// `n` of `RTMIN+n`.
#[derive(Clone, Copy)]
pub struct RealTime(pub u8);

impl FromStr for RealTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let n = match text.strip_prefix("RTMIN") {
            Some("") => Some(0),
            Some(rest) => {
                rest.strip_prefix('+').filter(|n| n.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse().ok())
            }
            None => None,
        };
        n.filter(|n| *n <= 30)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no signal for a job; write \"RTMIN+0\" to \"RTMIN+30\""))
    }
}
