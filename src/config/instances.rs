//! From the keys of a job to what its instances have in common, and to the databases they work in.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use toml::Spanned;

use super::definition::{Address, Definition, Origin, Retry};
use super::errors::{Problems, origin};
use super::jobs::{Layer, shown};
use super::notify::address;
use super::window::Window;
use super::written::{Count, JobKeys, Positive, RetryKeys, Text};
use crate::cron::Cron;
use crate::kinds::Spec;
use crate::near;
use crate::period::human;
use crate::run::JobName;

/// The keys of a job, with the defaults behind them.
pub struct Keys<'a> {
    pub own: &'a Layer,
    pub defaults: &'a Layer,
}

impl<'a> Keys<'a> {
    /// The value of a key, the job's own before the default, and where it stands.
    pub fn pick<T: 'a>(&self, key: impl Fn(&'a JobKeys) -> &'a Option<Spanned<T>>) -> Option<(&'a T, Origin)> {
        let placed = |layer: &'a Layer| Some((key(&layer.keys).as_ref()?, &layer.source));
        let (value, source) = placed(self.own).or_else(|| placed(self.defaults))?;
        Some((value.get_ref(), origin(source, value.span())))
    }

    fn value<T: Clone + 'a>(&self, key: impl Fn(&'a JobKeys) -> &'a Option<Spanned<T>>) -> Option<T> {
        self.pick(key).map(|(value, _)| value.clone())
    }
}

/// The databases of a job, with the names of its instances. `home` is the one where nothing is said.
pub fn targets(
    job: &str,
    place: &Origin,
    keys: &Keys,
    databases: &BTreeSet<String>,
    home: Option<&str>,
    problems: &mut Problems,
) -> Vec<(JobName, String)> {
    let known: Vec<&str> = databases.iter().map(String::as_str).collect();
    if known.is_empty() {
        // That there is none has been said once.
        return Vec::new();
    }
    for Layer { keys, lost, source } in [keys.own, keys.defaults] {
        if let Some(name) = &keys.database {
            let place = origin(source, name.span());
            let name = known_database(name.get_ref(), &place, &known, problems);
            return name.into_iter().map(|name| (JobName(job.into()), name)).collect();
        }
        if let Some(patterns) = &keys.databases {
            let place = origin(source, patterns.span());
            if patterns.get_ref().is_empty() {
                problems.error(&place, "`databases` is empty; name one, or \"*\" for all");
            }
            let names: BTreeSet<String> = patterns
                .get_ref()
                .iter()
                .flat_map(|pattern| matching(pattern.get_ref(), &origin(source, pattern.span()), &known, problems))
                .collect();
            return names.into_iter().map(|name| (JobName(format!("{job}@{name}")), name)).collect();
        }
        if lost.contains("database") || lost.contains("databases") {
            return Vec::new();
        }
    }
    if let [only] = known.as_slice() {
        return vec![(JobName(job.into()), (*only).into())];
    }
    if let Some(home) = home {
        // One that is not there is told where it is named.
        let home = if known.contains(&home) { home } else { known[0] };
        return vec![(JobName(job.into()), home.into())];
    }
    let message = format!(
        "the job `{job}` does not say which database it works in; add `database = \"{}\"` or another of {}",
        known[0],
        near::list(&known)
    );
    problems.error(place, message);
    Vec::new()
}

fn known_database(name: &str, place: &Origin, known: &[&str], problems: &mut Problems) -> Option<String> {
    if known.contains(&name) {
        return Some(name.into());
    }
    let message = format!("there is no database {}{}", shown(place, name), near::advice(name, known, "database"));
    problems.error(place, message);
    None
}

fn matching(pattern: &str, place: &Origin, known: &[&str], problems: &mut Problems) -> Vec<String> {
    if !pattern.contains(['*', '?', '[']) {
        return known_database(pattern, place, known, problems).into_iter().collect();
    }
    let glob = match glob::Pattern::new(pattern) {
        Ok(glob) => glob,
        Err(error) => {
            problems.error(place, format!("{} is not a glob: {}", shown(place, pattern), error.msg));
            return Vec::new();
        }
    };
    let names: Vec<String> = known.iter().filter(|name| glob.matches(name)).map(|name| (*name).into()).collect();
    if names.is_empty() {
        problems
            .error(place, format!("{} matches no database; known are {}", shown(place, pattern), near::list(known)));
    }
    names
}

/// What all instances of a job have in common.
pub struct Common {
    schedule: Option<Cron>,
    timezone: Tz,
    jitter: Duration,
    pub enabled: bool,
    timeout: Duration,
    retry: Retry,
    catch_up: bool,
    window: Option<Window>,
    lock_timeout: Duration,
    signal: Option<u8>,
    ping: Option<Address>,
}

/// Reads the common keys, and checks what they say together; `timeout` is that of the kind.
pub fn common(keys: &Keys, timeout: Duration, problems: &mut Problems) -> Common {
    let common = Common {
        schedule: keys.value(|keys| &keys.schedule).map(|Text(cron)| cron),
        timezone: keys.value(|keys| &keys.timezone).map_or(Tz::UTC, |Text(zone)| zone.0),
        jitter: keys.value(|keys| &keys.jitter).unwrap_or_default().0,
        enabled: keys.value(|keys| &keys.enabled).unwrap_or(true),
        timeout: keys.value(|keys| &keys.timeout).map_or(timeout, |Positive(span)| span.0),
        retry: keys
            .pick(|keys| &keys.retry)
            .map_or_else(Retry::default, |(retry, place)| self::retry(retry, &place, problems)),
        catch_up: keys.value(|keys| &keys.catch_up).unwrap_or(true),
        window: keys.value(|keys| &keys.window),
        lock_timeout: keys.value(|keys| &keys.lock_timeout).map_or(Duration::from_millis(300), |Positive(span)| span.0),
        signal: keys.value(|keys| &keys.signal).map(|Text(signal)| signal.0),
        ping: keys.pick(|keys| &keys.ping).and_then(|(ping, place)| address("ping", ping, &place, problems)),
    };
    if let (Some(cron), Some((_, place)), false) =
        (&common.schedule, keys.pick(|keys| &keys.jitter), common.jitter.is_zero())
        && let Some(gap) = shortest_gap(cron, common.timezone)
        && common.jitter >= gap
    {
        problems.warn(
            place,
            format!("`jitter` is no shorter than the {} that may lie between two scheduled times", human(gap)),
            "make it shorter, or runs may be skipped because the one before has not begun",
        );
    }
    common
}

fn retry(keys: &RetryKeys, place: &Origin, problems: &mut Problems) -> Retry {
    let usual = Retry::default();
    let wait = keys.wait.map_or(usual.wait, |span| span.0);
    let max_wait = keys.max_wait.map_or(usual.max_wait.max(wait), |span| span.0);
    if keys.wait.is_some() && max_wait < wait {
        problems.error(place, "`retry`: `max_wait` is shorter than `wait`");
    }
    Retry { attempts: keys.attempts.map_or(usual.attempts, |Count(n)| n), wait: wait.min(max_wait), max_wait }
}

/// The shortest time between two firings, as far as the first few hundred tell.
fn shortest_gap(cron: &Cron, zone: Tz) -> Option<Duration> {
    const FIRINGS: usize = 400;
    let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let times = std::iter::successors(cron.next_after(start, zone), |at| cron.next_after(*at, zone));
    let times: Vec<_> = times.take(FIRINGS).collect();
    times.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok()).min()
}

impl Common {
    pub fn definition(&self, (name, database): (JobName, String), spec: Spec, origin: Origin) -> Definition {
        Definition {
            name,
            database,
            spec,
            schedule: self.schedule.clone(),
            timezone: self.timezone,
            jitter: self.jitter,
            enabled: self.enabled,
            timeout: self.timeout,
            retry: self.retry,
            catch_up: self.catch_up,
            after: Vec::new(),
            window: self.window,
            lock_timeout: self.lock_timeout,
            signal: self.signal,
            ping: self.ping.clone(),
            origin,
        }
    }
}
