//! Jobs as they are written -> one [`Definition`] for each job and database.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::definition::{Definition, Origin, Source};
use super::errors::{Problems, origin};
use super::files::folder;
use super::instances::{Keys, common, targets};
use super::read::read;
use super::tree::{Entry, Node, Value};
use super::written::{JobKeys, Text};
use crate::kinds::{Spec, StoreUse};
use crate::near;
use crate::run::Severity;

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
    /// Nothing where something was wrong with it.
    spec: Option<Spec>,
    /// Those that it names, as far as it could be read.
    stores: Vec<StoreUse>,
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
    let (spec, stores) = specs.into_iter().next().unwrap_or_default();
    WrittenJob { origin: place, layer, spec, stores }
}

fn read_kind(kind: Entry, source: &Arc<Source>, problems: &mut Problems) -> (Option<Spec>, Vec<StoreUse>) {
    let node = kind.node.clone();
    let read = read(kind.node, &kind.key, &[], source, problems, |node| Spec::parse(&kind.key, node));
    let Some(mut spec) = read.value else { return (None, Vec::new()) };
    spec.resolve(folder(&source.path));
    for finding in spec.validate() {
        // What is left after a mistake is not what was meant, and judging that would only add to the noise.
        if !read.clean && !stands_apart(&node, &read.cut, finding.span.as_ref()) {
            continue;
        }
        let place = origin(source, finding.span.clone().unwrap_or(kind.key_span.clone()));
        let (message, mend) = if may_show_variables(&node, finding.span.as_ref()) {
            let what = "is not right with what its variables stand for, which is not shown because it may be secret";
            (format!("`{}` {what}", kind.key), String::new())
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
    let stores = spec.stores();
    (Some(spec).filter(|_| read.clean), stores)
}

/// Whether a finding about these bytes is about one table of several in a kind's list, such as one of `tables`, and all that
/// was cut out of the kind was in others.
fn stands_apart(kind: &Node, cut: &[Range<usize>], span: Option<&Range<usize>>) -> bool {
    fn any(node: &Node, is: &dyn Fn(&Node) -> bool) -> bool {
        let within = || match &node.value {
            Value::Table(entries) => entries.iter().any(|entry| any(&entry.node, is)),
            Value::Array(items) => items.iter().any(|item| any(item, is)),
            _ => false,
        };
        is(node) || within()
    }
    let (Some(span), Value::Table(entries)) = (span, &kind.value) else { return false };
    let items = entries.iter().filter_map(|entry| match &entry.node.value {
        Value::Array(items) => Some(items),
        _ => None,
    });
    !cut.contains(&kind.span)
        && items
            .flatten()
            .any(|item| any(item, &|node| node.span == *span) && !any(item, &|node| cut.contains(&node.span)))
}

/// Whether a finding about these bytes could quote what a variable stands for; one about no bytes in particular could
/// quote all.
fn may_show_variables(node: &Node, span: Option<&Range<usize>>) -> bool {
    // The place of a table may be its header alone, but what is said of it may be about all that is in it.
    let span = span.filter(|span| **span != node.span);
    match &node.value {
        Value::Table(entries) => entries.iter().any(|entry| may_show_variables(&entry.node, span)),
        Value::Array(items) => items.iter().any(|item| may_show_variables(item, span)),
        Value::Text(text) => {
            let touches = |span: &Range<usize>| span.start < node.span.end && node.span.start < span.end;
            !text.variables.is_empty() && span.is_none_or(touches)
        }
        _ => false,
    }
}

/// Fills in defaults, finds the databases, checks what one job's keys say together.
pub fn define(
    jobs: BTreeMap<String, WrittenJob>,
    defaults: &Layer,
    databases: &BTreeSet<String>,
    stores: &BTreeSet<String>,
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
                let message = format!("this signal runs the job `{other}` already, see {}:{line}", path.display());
                problems.error(&place, message);
            } else {
                signals.insert(signal.0, (name.clone(), place));
            }
        }
        known_stores(job.stores, &job.origin.source, stores, problems);
        let after = keys.pick(|keys| &keys.after).map_or_else(Vec::new, |(names, place)| {
            names.iter().map(|name| (name.get_ref().clone(), origin(&place.source, name.span()))).collect()
        });
        let home = job.spec.as_ref().and_then(Spec::home);
        let targets = targets(&name, &job.origin, &keys, databases, home, problems);
        let timeout = job.spec.as_ref().map_or(Duration::ZERO, Spec::timeout);
        let common = common(&keys, timeout, problems);
        let enabled = common.enabled;
        let instances = job.spec.map_or_else(Vec::new, |spec| {
            targets.into_iter().map(|target| common.definition(target, spec.clone(), job.origin.clone())).collect()
        });
        drafts.push(Draft { name, enabled, after, instances });
    }
    drafts
}

fn known_stores(uses: Vec<StoreUse>, source: &Arc<Source>, stores: &BTreeSet<String>, problems: &mut Problems) {
    for StoreUse { store, span, .. } in uses {
        if !stores.contains(&store) {
            let place = origin(source, span);
            let known: Vec<&str> = stores.iter().map(String::as_str).collect();
            let advice = if known.is_empty() {
                "; there is none: add [stores.NAME.s3] or [stores.NAME.directory]".into()
            } else {
                near::advice(&store, &known, "store")
            };
            problems.error(&place, format!("there is no store {}{advice}", shown(&place, &store)));
        }
    }
}

fn one_of_database_and_databases(layer: &Layer, problems: &mut Problems) {
    if let (Some(_), Some(several)) = (&layer.keys.database, &layer.keys.databases) {
        let message = "`database` is given as well; keep one of `database` and `databases`";
        problems.at(&layer.source, &several.span(), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    /// Whether a finding about `part` of this file is kept from being shown.
    fn hidden(text: &str, part: Option<&str>) -> bool {
        let source = Source { path: "f".into(), text: text.into() };
        let tree = tree::parse(&source, &|_| Some("s3cr-et".into()), &mut Problems::default()).unwrap();
        let span = part.map(|part| text.find(part).map(|at| at..at + part.len()).unwrap());
        may_show_variables(&tree, span.as_ref())
    }

    #[test]
    fn a_store_that_is_not_there_is_a_mistake_where_it_is_named() {
        let text = "to = [\"offsiet\", \"local\", \"elsewhere\", \"${NAME}\"]";
        let source = Arc::new(Source { path: "f".into(), text: text.into() });
        let of = |written: &str, store: &str| {
            let at = text.find(written).unwrap();
            StoreUse { store: store.into(), span: at..at + written.len(), deletes: false, foreign: false }
        };
        let said = |stores: &[&str]| {
            let uses = vec![
                of("\"offsiet\"", "offsiet"),
                of("\"local\"", "local"),
                of("\"elsewhere\"", "elsewhere"),
                of("\"${NAME}\"", "s3cr-et"),
            ];
            let mut problems = Problems::default();
            known_stores(uses, &source, &stores.iter().map(|name| (*name).into()).collect(), &mut problems);
            problems.errors().unwrap_err().to_string()
        };
        insta::assert_snapshot!(said(&["offsite", "local"]), @r"
        f:1:7: there is no store `offsiet`; did you mean `offsite`?
        f:1:27: there is no store `elsewhere`; known are local, offsite
        f:1:40: there is no store `${NAME}`; known are local, offsite
        ");
        assert!(said(&[]).contains("`local`; there is none: add [stores.NAME.s3] or [stores.NAME.directory]"));
    }

    #[test]
    fn what_a_kind_says_of_a_value_with_a_variable_is_not_shown() {
        let text = "[sql]\nstatements = [\"SELECT 1\", \"SELECT '${SECRET}'\"]\n[sql.more]\na = 1";
        assert!(hidden(text, Some("\"SELECT '${SECRET}'\"")));
        assert!(hidden(text, Some("[\"SELECT 1\", \"SELECT '${SECRET}'\"]")));
        assert!(hidden(text, Some("[sql]")));
        assert!(hidden(text, None));
        assert!(!hidden(text, Some("\"SELECT 1\"")));
        assert!(!hidden(text, Some("[sql.more]")));
        assert!(!hidden("a = 'x'", None));
    }
}
