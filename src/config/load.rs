//! The way from a path to a [`Config`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::definition::{Config, DatabaseConfig, HttpConfig, Source};
use super::errors::{ConfigErrors, Problems, origin};
use super::jobs::{self, Layer};
use super::read::read;
use super::tree::{self, Env, Node};
use super::written::{Count, DatabaseKeys, HttpKeys, JobKeys, Positive, Text, Top};
use super::{after, files, neighbours, notify, stores};
use crate::period::Period;
use crate::pg::Conninfo;

const NO_DATABASE: &str = "no database is configured; add one:
[databases.main]
url = \"postgresql://pgtend@localhost/app\"
password_file = \"/etc/pgtend/password\"   # or leave it to ~/.pgpass, PGPASSFILE or PGPASSWORD";

/// Reads a config and the files it includes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// [`load`], with an environment to take `${VAR}` from.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_with(path: &Path, env: Env) -> Result<Config, ConfigErrors> {
    let mut problems = Problems::default();
    let config = gather(path, env, &mut problems);
    let warnings = problems.errors()?;
    // Nothing was wrong, so there is a config.
    config.map(|config| Config { warnings, ..config }).ok_or_else(|| ConfigErrors(Vec::new()))
}

fn gather(path: &Path, env: Env, problems: &mut Problems) -> Option<Config> {
    let main = files::source(path, None, problems)?;
    let mut tree = tree::parse(&main, env, problems)?;
    let [databases, stores, notify, defaults, job_nodes] = ["databases", "stores", "notify", "defaults", "jobs"]
        .map(|key| tree.take(key).map_or_else(Node::empty, |entry| entry.node));
    let top = read(tree, "config", &[], &main, problems, |node| Top::deserialize(node)).value?;

    let (databases, names) = self::databases(databases, &main, problems);
    let (stores, store_names) = stores::stores(stores, &main, problems);
    let http = http(top.http, &main, problems);
    let defaults = read(defaults, "defaults", &[], &main, problems, |node| JobKeys::deserialize(node));
    let defaults = Layer { keys: defaults.value.unwrap_or_default(), lost: defaults.lost, source: Arc::clone(&main) };

    let mut jobs = BTreeMap::new();
    jobs::take(job_nodes, &main, problems, &mut jobs);
    let mut sources = vec![Arc::clone(&main)];
    for (path, place) in files::included(&top.include, &main, problems) {
        let Some(source) = files::source(&path, Some(&place), problems) else { continue };
        if let Some(tree) = tree::parse(&source, env, problems) {
            jobs::take(only_jobs(tree, &source, &main, problems), &source, problems, &mut jobs);
        }
        sources.push(source);
    }
    let mut drafts = jobs::define(jobs, &defaults, &names, &store_names, problems);
    neighbours::introduce(&mut drafts);
    neighbours::refuse_never(&drafts, &databases, problems);
    let conninfo = |name: &String| databases.get(name).map(|database: &DatabaseConfig| database.conninfo.clone());
    let around = names.iter().map(|name| (name.clone(), conninfo(name))).collect();
    neighbours::look_around(&mut drafts, around, problems);
    let jobs = after::connect(drafts, problems);
    if jobs.is_empty() {
        let mend = "add [jobs.NAME], or name in `include` the files that hold them";
        problems.warn(origin(&main, 0..0), "there is no job: nothing will be done", mend);
    }
    let notify = notify::notify(notify, &main, &jobs, problems);
    Some(Config {
        sources,
        shutdown_timeout: top.shutdown_timeout.map_or(Duration::from_secs(30), |span| span.0),
        max_runs: top.max_runs.map_or(8, |Count(n)| n as usize),
        databases,
        stores,
        http,
        notify,
        history_keep: top.history.keep.map_or(Period::days(90), |Positive(keep)| keep),
        jobs,
        warnings: Vec::new(),
    })
}

/// What an included file says under `jobs`; it may say nothing else.
fn only_jobs(mut tree: Node, source: &Source, main: &Source, problems: &mut Problems) -> Node {
    let jobs = tree.take("jobs").map(|entry| entry.node);
    for entry in tree.entries() {
        let (key, main) = (&entry.key, main.path.display());
        let message = match key.as_str() {
            "include" => format!("an included file cannot include others; name them in {main}"),
            _ => format!("an included file holds jobs only, [jobs.NAME]; `{key}` belongs in {main}"),
        };
        problems.at(source, &entry.key_span, message);
    }
    jobs.unwrap_or_else(Node::empty)
}

/// The databases, and the names of all of them: also of those that something is wrong with.
fn databases(
    node: Node,
    main: &Arc<Source>,
    problems: &mut Problems,
) -> (BTreeMap<String, DatabaseConfig>, BTreeSet<String>) {
    let read = read(node, "databases", &[], main, problems, |node| {
        BTreeMap::<Spanned<String>, DatabaseKeys>::deserialize(node)
    });
    let mut names: BTreeSet<String> = read.lost.into_iter().collect();
    let written = read.value.unwrap_or_default();
    names.extend(written.keys().map(|name| name.get_ref().clone()));
    if names.is_empty() && read.clean {
        problems.at(main, &(0..0), NO_DATABASE);
    }
    let mut databases = BTreeMap::new();
    for (name, keys) in written {
        let place = origin(main, name.span());
        let name = name.into_inner();
        if let Err(message) = jobs::check_name("database", &name) {
            problems.error(&place, message);
        }
        let password_file = keys.password_file.map(|path| files::folder(&main.path).join(path));
        let url = keys.url.as_ref().map_or("", |url| url.get_ref());
        let url_place = keys.url.as_ref().map_or(place.clone(), |url| origin(main, url.span()));
        match Conninfo::parse(url, password_file.as_deref()) {
            Ok(conninfo) => {
                let max_connections = keys.max_connections.map_or(8, |Count(n)| n as usize);
                let never = keys.never.into();
                databases.insert(name, DatabaseConfig { conninfo, max_connections, never, origin: place });
            }
            Err(_) if url_place.has_variables() => {
                problems.error(&url_place, hidden_url_error(url_place.written(), password_file.as_deref()));
            }
            Err(error) => problems.error(&url_place, format!("`url`: {error}")),
        }
    }
    (databases, names)
}

/// What is wrong with a connection string whose variables may not be shown: what is wrong even without them.
fn hidden_url_error(written: &str, password_file: Option<&Path>) -> String {
    let mut without = String::new();
    let mut rest = written.trim_matches(['"', '\'']);
    while let Some((before, (_, after))) = rest.split_once("${").and_then(|(b, a)| Some((b, a.split_once('}')?))) {
        without.push_str(before);
        without.push('x');
        rest = after;
    }
    without.push_str(rest);
    match Conninfo::parse(&without, password_file) {
        Err(error) => format!("`url`: {error} (said of it with `x` for each variable, since values may be secret)"),
        Ok(_) => "`url`: not a connection string with what its variables stand for, which is not shown because it may \
                  be secret; in a URL, characters such as @ : / # in a value must be percent-encoded, which \
                  `password_file` makes needless"
            .into(),
    }
}

fn http(keys: HttpKeys, main: &Arc<Source>, problems: &mut Problems) -> Option<HttpConfig> {
    // Also read when nothing listens: a config that breaks when HTTP is turned on is no good config.
    let token = keys.token_file.and_then(|path| files::token(&path, main, problems));
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 9934));
    let listen = keys.listen.map_or(Some(usual), |Text(listen)| listen.0)?;
    Some(HttpConfig { listen, token })
}
