//! Jobs as they are written -> one [`Definition`] for each job and database.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use serde::Deserialize;
use toml::Spanned;

use super::definition::{Definition, Origin, Retry, Source};
use super::errors::{Problems, origin};
use super::near;
use super::read::read;
use super::tree::{Entry, Node, Value};
use super::written::{Count, JobKeys, Positive, RetryKeys, Text};
use crate::cron::Cron;
use crate::kinds::Spec;
use crate::period::human;
use crate::run::{JobName, Severity};

/// The common keys from one place of the config: a job's own, or the defaults.
pub struct Layer {
    pub keys: JobKeys,
    /// What was cut out because it was wrong.
    pub lost: HashSet<String>,
    pub source: Arc<Source>,
}

/// A job, read but not yet connected with anything.
pub struct WrittenJob {
    origin: Origin,
    layer: Layer,
    spec: Option<Spec>,
}

/// A job with its instances.
pub struct Draft {
    pub name: String,
    pub enabled: bool,
    pub after: Vec<(String, Origin)>,
    /// Empty when something was wrong with it.
    pub instances: Vec<Definition>,
}

/// What is wrong with the name of a job or database. It goes into locks, metrics, paths and shells.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match name.chars().find(|c| !allowed(*c)) {
        _ if name.is_empty() => Err(format!("the name of a {what} cannot be empty")),
        Some(c) => Err(format!("{c:?} cannot be in the name of a {what}; letters, digits, `_`, `.` and `-` can")),
        None if name.len() > 63 => {
            Err(format!("the name of this {what} is {} bytes long; at most 63 are allowed", name.len()))
        }
        None => Ok(()),
    }
}

/// A value for a message: as it is written where variables are in it, since what they stand for may be secret.
pub fn shown(place: &Origin, value: &str) -> String {
    if place.has_variables() {
        format!("`{}`", place.written().trim_matches(['"', '\'']))
    } else {
        format!("`{value}`")
    }
}

/// Reads all jobs of a file.
pub fn take(node: Node, source: &Arc<Source>, problems: &mut Problems, jobs: &mut BTreeMap<String, WrittenJob>) {
    if !node.is_table() {
        problems.at(source, &node.span, "`jobs`: expected tables, [jobs.NAME]");
    }
    for Entry { key: name, key_span, node } in node.entries() {
        let place = origin(source, key_span);
        if let Err(message) = check_name("job", &name) {
            problems.error(&place, message);
        }
        if let Some(first) = jobs.get(&name) {
            let (path, line) = first.origin.place(None);
            problems.error(
                &place,
                format!("the job `{name}` is there already, in {}:{line}; rename one of them", path.display()),
            );
        }
        let job = read_job(&name, place, node, problems);
        jobs.entry(name).or_insert(job);
    }
}

fn read_job(name: &str, place: Origin, mut node: Node, problems: &mut Problems) -> WrittenJob {
    let source = &Arc::clone(&place.source);
    let mut kinds: Vec<Entry> = Spec::NAMES.iter().filter_map(|kind| node.take(kind)).collect();
    kinds.sort_by_key(|kind| kind.key_span.start);
    let readable = node.is_table();
    let keys = read(node, name, Spec::NAMES, source, problems, |node| JobKeys::deserialize(node));
    match kinds.as_slice() {
        // A table with an unknown name was meant to be the kind, and has been reported.
        [] if readable && keys.unknown_kinds == 0 => {
            let example = format!("[jobs.{name}.{}]", Spec::NAMES[0]);
            let message = format!("the job `{name}` does not say what it does; add a table named after its kind");
            problems.error(&place, format!("{message}, such as {example}; kinds are {}", near::list(Spec::NAMES)));
        }
        [] | [_] => {}
        [first, second, ..] => {
            let message = format!("the job `{name}` has a table `{}` already", first.key);
            problems.at(source, &second.key_span, format!("{message}; one job is of one kind, so make two jobs of it"));
        }
    }
    let specs: Vec<_> = kinds.into_iter().map(|kind| read_kind(kind, source, problems)).collect();
    let layer = Layer { keys: keys.value.unwrap_or_default(), lost: keys.lost, source: Arc::clone(source) };
    WrittenJob { origin: place, layer, spec: specs.into_iter().next().flatten() }
}

fn read_kind(kind: Entry, source: &Arc<Source>, problems: &mut Problems) -> Option<Spec> {
    let node = kind.node.clone();
    let spec = read(kind.node, &kind.key, &[], source, problems, |node| Spec::parse(&kind.key, node));
    // What is left after a mistake is not what was meant; judging it would only add to the noise.
    let spec = spec.value.filter(|_| spec.clean)?;
    for finding in spec.validate() {
        let place = origin(source, finding.span.clone().unwrap_or(kind.key_span.clone()));
        let (message, mend) = if may_show_variables(&node, finding.span.as_ref()) {
            (
                format!(
                    "`{}` is not right with what its variables stand for, which is not shown because it may be secret",
                    kind.key
                ),
                String::new(),
            )
        } else {
            (finding.message, finding.mend)
        };
        match finding.severity {
            Severity::Error if mend.is_empty() => problems.error(&place, message),
            Severity::Error => problems.error(&place, format!("{message}; {mend}")),
            Severity::Warning => problems.warn(place, message, mend),
            Severity::Ok => {}
        }
    }
    Some(spec)
}

/// Whether a finding about these bytes could quote what a variable stands for.
fn may_show_variables(node: &Node, span: Option<&Range<usize>>) -> bool {
    match &node.value {
        Value::Table(entries) => entries.iter().any(|entry| may_show_variables(&entry.node, span)),
        Value::Array(items) => items.iter().any(|item| may_show_variables(item, span)),
        Value::Text(text) => {
            !text.variables.is_empty()
                && span.is_none_or(|span| span.start < node.span.end && node.span.start < span.end)
        }
        _ => false,
    }
}

/// Fills in defaults, finds the databases, checks what one job's keys say together.
pub fn define(
    jobs: BTreeMap<String, WrittenJob>,
    defaults: &Layer,
    databases: &BTreeSet<String>,
    problems: &mut Problems,
) -> Vec<Draft> {
    one_of_database_and_databases(defaults, problems);
    let mut signals: HashMap<u8, (String, Origin)> = HashMap::new();
    let mut drafts = Vec::new();
    for (name, job) in jobs {
        one_of_database_and_databases(&job.layer, problems);
        let keys = Keys { own: &job.layer, defaults };
        if let Some((Text(signal), place)) = keys.pick(|keys| &keys.signal) {
            if let Some((other, first)) = signals.get(&signal.0) {
                let (path, line) = first.place(None);
                problems.error(
                    &place,
                    format!("RTMIN+{} runs the job `{other}` already, see {}:{line}", signal.0, path.display()),
                );
            } else {
                signals.insert(signal.0, (name.clone(), place));
            }
        }
        let after = keys.pick(|keys| &keys.after).map_or_else(Vec::new, |(names, place)| {
            names.iter().map(|name| (name.get_ref().clone(), origin(&place.source, name.span()))).collect()
        });
        let targets = targets(&name, &job.origin, &keys, databases, problems);
        let common = common(&keys, problems);
        let enabled = common.enabled;
        let instances = job.spec.map_or_else(Vec::new, |spec| {
            targets.into_iter().map(|target| common.definition(target, spec.clone(), job.origin.clone())).collect()
        });
        drafts.push(Draft { name, enabled, after, instances });
    }
    drafts
}

/// The keys of a job, with the defaults behind them.
struct Keys<'a> {
    own: &'a Layer,
    defaults: &'a Layer,
}

impl<'a> Keys<'a> {
    fn pick<T: 'a>(&self, key: impl Fn(&'a JobKeys) -> &'a Option<Spanned<T>>) -> Option<(&'a T, Origin)> {
        let placed = |layer: &'a Layer| Some((key(&layer.keys).as_ref()?, &layer.source));
        let (value, source) = placed(self.own).or_else(|| placed(self.defaults))?;
        Some((value.get_ref(), origin(source, value.span())))
    }

    fn value<T: Clone + 'a>(&self, key: impl Fn(&'a JobKeys) -> &'a Option<Spanned<T>>) -> Option<T> {
        self.pick(key).map(|(value, _)| value.clone())
    }
}

fn one_of_database_and_databases(layer: &Layer, problems: &mut Problems) {
    if let (Some(_), Some(several)) = (&layer.keys.database, &layer.keys.databases) {
        problems.at(
            &layer.source,
            &several.span(),
            "`database` is given as well; keep one of `database` and `databases`",
        );
    }
}

/// The databases of a job, with the names of its instances.
fn targets(
    job: &str,
    place: &Origin,
    keys: &Keys,
    databases: &BTreeSet<String>,
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
struct Common {
    schedule: Option<Cron>,
    timezone: Tz,
    jitter: Duration,
    enabled: bool,
    timeout: Duration,
    retry: Retry,
    catch_up: bool,
    window: Option<super::Window>,
    lock_timeout: Duration,
    signal: Option<u8>,
}

fn common(keys: &Keys, problems: &mut Problems) -> Common {
    let common = Common {
        schedule: keys.value(|keys| &keys.schedule).map(|Text(cron)| cron),
        timezone: keys.value(|keys| &keys.timezone).map_or(Tz::UTC, |Text(zone)| zone.0),
        jitter: keys.value(|keys| &keys.jitter).unwrap_or_default().0,
        enabled: keys.value(|keys| &keys.enabled).unwrap_or(true),
        timeout: keys.value(|keys| &keys.timeout).map_or(Duration::from_secs(3600), |Positive(span)| span.0),
        retry: keys
            .pick(|keys| &keys.retry)
            .map_or_else(Retry::default, |(retry, place)| self::retry(retry, &place, problems)),
        catch_up: keys.value(|keys| &keys.catch_up).unwrap_or(true),
        window: keys.value(|keys| &keys.window),
        lock_timeout: keys.value(|keys| &keys.lock_timeout).map_or(Duration::from_millis(300), |Positive(span)| span.0),
        signal: keys.value(|keys| &keys.signal).map(|Text(signal)| signal.0),
    };
    if let (Some(cron), Some((_, place)), false) =
        (&common.schedule, keys.pick(|keys| &keys.jitter), common.jitter.is_zero())
        && let Some(gap) = shortest_gap(cron, common.timezone)
        && common.jitter >= gap
    {
        problems.warn(
            place,
            format!(
                "jitter of up to {} is no shorter than the {} between two runs of \"{}\"",
                human(common.jitter),
                human(gap),
                cron.as_str()
            ),
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
        problems.error(
            place,
            format!("`retry`: `max_wait` ({}) is shorter than `wait` ({})", human(max_wait), human(wait)),
        );
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
    fn definition(&self, (name, database): (JobName, String), spec: Spec, origin: Origin) -> Definition {
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
            origin,
        }
    }
}
