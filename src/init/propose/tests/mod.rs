mod partitions_and_views;
mod rows;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::init::facts::{
    Column, Counters, Cron, HeldPolicy, Outgoing, Partitioned, PolicyColumns, PolicyTable, Reference, Table as Known,
};
use crate::init::print;
use crate::kinds::partitions::plan::tests::facts as partitions;
use crate::kinds::refresh::facts::{Index, Near, View};
use crate::pg::Ident;
use crate::pg::catalog::OnDelete;
use crate::pg::pg_cron::CronJob;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

/// `name: column type, column type!, …`, an exclamation mark for NOT NULL; the first column is the primary key and given.
pub(super) fn table(text: &str) -> Known {
    let (name, columns) = text.split_once(':').unwrap();
    let columns: Vec<Column> = columns
        .split(',')
        .enumerate()
        .map(|(at, column)| {
            let (name, kind) = column.trim().split_once(' ').unwrap();
            let type_name = match kind.trim_end_matches('!') {
                "timestamptz" => "timestamp with time zone",
                "timestamp" => "timestamp without time zone",
                other => other,
            };
            Column { name: ident(name), type_name: type_name.into(), not_null: kind.ends_with('!'), given: at == 0 }
        })
        .collect();
    Known {
        oid: 7,
        name: name.parse().unwrap(),
        partitioned: false,
        has_children: false,
        owner: ident("app"),
        primary_key: vec![columns[0].name.clone()],
        columns,
        unique: Vec::new(),
        indexed: ["expires_at".into(), "created_at".into()].iter().map(|name: &String| ident(name)).collect(),
        referenced_by: Vec::new(),
        references: Vec::new(),
        row_security: false,
        triggers: Vec::new(),
        rows: None,
        bytes: 0,
        counters: Counters::default(),
        lacking: Vec::new(),
    }
}

fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.server.version = "15.18".into();
    facts.server.database = "app".into();
    facts.server.role = "admin".into();
    facts.server.now = "2026-11-21T12:00:00Z".parse().unwrap();
    facts
}

pub(super) fn with(tables: Vec<Known>) -> Facts {
    Facts { tables, ..facts() }
}

fn way() -> Way {
    Way { url: "postgresql://admin@db/app".into(), ..Way::default() }
}

pub(super) fn shown(facts: &Facts) -> String {
    print(&propose(facts, &way()))
}

/// The config that is switched on; it has to be one.
#[track_caller]
fn active(text: &str) -> toml::Table {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgtend.toml");
    std::fs::write(&path, text).unwrap();
    if let Err(errors) = config::load_with(&path, &|_| None) {
        panic!("{errors}\n{text}");
    }
    text.parse().unwrap()
}

/// With all marks taken away. It has placeholders, so that it is no config yet, but it is TOML.
pub(super) fn all_on(text: &str) -> String {
    let on = |line: &str| {
        let rest = line.trim_start();
        let indent = &line[..line.len() - rest.len()];
        match rest.strip_prefix('#') {
            Some(config) if !config.is_empty() && !config.starts_with(' ') => format!("{indent}{config}\n"),
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(on).collect()
}

/// Those that are switched on; but for `health`, which every database has once there is that kind.
pub(super) fn jobs(text: &str) -> Vec<String> {
    let config = active(text);
    let jobs = config.get("jobs").and_then(|jobs| jobs.as_table()).into_iter().flat_map(|jobs| jobs.keys());
    jobs.filter(|job| *job != "health").cloned().collect()
}

const SESSIONS: &str =
    "public.sessions: id uuid!, user_id uuid!, token_hash text!, expires_at timestamptz!, created_at timestamptz";

fn partitioned(text: &str) -> Partitioned {
    Partitioned { is_partition: false, facts: partitions(text) }
}

fn view(name: &str, index: Index) -> View {
    View {
        oid: 1,
        name: name.parse().unwrap(),
        owner: ident("app"),
        role: Ok(ident("app")),
        populated: true,
        index,
        temporary: true,
        dead: 0,
        living: 0,
        file: None,
        change: None,
    }
}

#[test]
fn an_empty_database_gives_a_config_without_jobs() {
    assert_eq!(jobs(&shown(&facts())), Vec::<String>::new());
    assert_eq!(database_name("my db"), "my-db");
    assert_eq!(database_name("βάση"), "main");
    assert_eq!(database_name(&"x".repeat(63)).len(), 40);
}

#[test]
fn a_health_job_is_proposed_as_soon_as_there_is_that_kind() {
    assert_eq!(shown(&facts()).contains("[jobs.health"), Spec::NAMES.contains(&"health"));
}

#[test]
fn health_reads_what_there_is_to_read() {
    let collect = |facts: &Facts| {
        let config = active(&shown(facts));
        let collect = config["jobs"]["health"]["health"]["collect"].as_array().unwrap().clone();
        let names = collect.iter().map(|name| name.as_str().unwrap());
        names.filter(|name| ["slow_queries", "partitions"].contains(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut facts = facts();
    assert_eq!(collect(&facts), [""; 0]);
    facts.server.extensions.insert("pg_stat_statements".into());
    assert_eq!(collect(&facts), ["slow_queries"]);
    facts.partitioned.push(partitioned("hash integer"));
    assert_eq!(collect(&facts), ["slow_queries", "partitions"]);
}

#[test]
fn what_the_password_is_stays_where_it_was() {
    let file = Way { password_file: Some("/etc/pw".into()), ..way() };
    let text = print(&propose(&facts(), &file));
    assert_eq!(active(&text)["databases"]["app"]["password_file"].as_str(), Some("/etc/pw"));
    let given = Way { password: Some("PGPASSWORD"), ..way() };
    let text = print(&propose(&facts(), &given));
    assert!(text.contains("The password came from PGPASSWORD") && text.contains("\n#password_file"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A config that says what was meant, and nothing else; also when all of it is switched on.
    #[test]
    fn whatever_the_names_it_is_a_config(schema in "[^\0]{1,12}", name in "[^\0]{1,12}", other in "\\PC{1,12}") {
        let table_name = TableName::new(&*schema, &*name).unwrap();
        let mut sessions = table(SESSIONS);
        sessions.name = table_name.clone();
        sessions.columns[1].name = ident(&other);
        let mut log = table("public.error_log: id bigint!, signature text, prev_hash text, created_at timestamptz!");
        log.name = TableName::new(&*other, format!("{name}_log")).unwrap();
        log.columns[0].name = ident(&other);
        log.primary_key = vec![ident(&other)];
        let mut events = partitioned("range timestamptz\n events_2026_11 2026-11-01 2026-12-01");
        events.facts.table = TableName::new(&*other, &*name).unwrap();
        events.facts.partitions[0].name = TableName::new(&*other, format!("{name}_2026_11")).unwrap();
        let mut plain = view("public.v", Index::Usable(name.clone()));
        plain.name = table_name.clone();
        let mut facts = Facts { tables: vec![sessions, log], partitioned: vec![events], views: vec![plain], ..facts() };
        facts.server.database = name.clone();
        facts.server.role = other.clone();
        let text = shown(&facts);
        let config = active(&text);
        let made = config["jobs"]["partitions"]["partitions"]["tables"].as_array().unwrap();
        prop_assert_eq!(made.len(), 1);
        let views = config["jobs"]["views"]["refresh"]["views"].as_array().unwrap();
        let read: TableName = views[0].as_str().unwrap().replace("$${", "${").parse().unwrap();
        prop_assert_eq!(read, table_name);
        prop_assert!(all_on(&text).parse::<toml::Table>().is_ok(), "{}", text);
    }
}
