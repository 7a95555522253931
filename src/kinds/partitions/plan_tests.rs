use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::*;
use crate::kinds::partitions::facts::{Bound, DefaultPartition, Edge, KeyFacts, Partition, Strategy, TableFacts};
use crate::kinds::partitions::policy::PartitionTable;
use crate::pg::Ident;

#[path = "plan_bounds.rs"]
mod bounds;
#[path = "plan_order.rs"]
mod order;
#[path = "plan_properties.rs"]
mod properties;
#[path = "plan_scenarios.rs"]
mod scenarios;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn table(name: &str) -> TableName {
    TableName::new("public", name).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Facts as text. First `range timestamptz`, or with `list` and any type's name; then a line for each partition,
/// `NAME FROM TO` or `NAME in VALUE, VALUE`, in which a day of a timestamptz key needs no time; `default` and `default
/// with rows`; `pending NAME FROM TO`; `vague NAME FROM TO` for a bound in which other columns say more.
pub fn facts(text: &str) -> TableFacts {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (strategy, kind) = lines.next().unwrap().split_once(' ').unwrap();
    let kind = if kind == "timestamptz" { "timestamp with time zone" } else { kind };
    let mut facts = TableFacts {
        table: table("events"),
        oid: 1,
        owner: ident("app"),
        key: KeyFacts {
            strategy: match strategy {
                "range" => Strategy::Range,
                "list" => Strategy::List,
                _ => Strategy::Hash,
            },
            column: Some(ident("at")),
            definition: format!("{} (at)", strategy.to_uppercase()),
            columns: 1,
            type_name: kind.into(),
            bytewise: true,
        },
        within: None,
        partitions: Vec::new(),
        default: None,
        references: Vec::new(),
        immutable: None,
        obstacles: Vec::new(),
    };
    let value = |text: &str| {
        let zoned = kind == "timestamp with time zone" && text.len() == 10;
        if zoned { format!("{text} 00:00:00+00") } else { text.replace('T', " ") }
    };
    let edge = |text: &str| match text {
        "min" => Edge::MinValue,
        "max" => Edge::MaxValue,
        text => Edge::Value(value(text)),
    };
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (words, detach_pending, exact) = match words[0] {
            "pending" => (&words[1..], true, true),
            "vague" => (&words[1..], false, false),
            _ => (&words[..], false, true),
        };
        let bound = match words {
            ["default", rest @ ..] => {
                facts.default = Some(DefaultPartition {
                    name: table("events_default"),
                    oid: 2,
                    is_parent: false,
                    referenced_by: Vec::new(),
                    has_rows: Some(!rest.is_empty()),
                });
                continue;
            }
            [_, "in", values @ ..] => {
                let values = values.iter().map(|value| value.trim_end_matches(','));
                Bound::List(values.map(|value| (value != "null").then(|| value.into())).collect())
            }
            [_, from, to] => Bound::Range { from: edge(from), to: edge(to), exact },
            _ => panic!("{line}"),
        };
        let name = table(words[0]);
        let oid = 3 + u32::try_from(facts.partitions.len()).unwrap();
        facts.partitions.push(Partition { name, oid, bound, detach_pending, is_parent: false });
    }
    facts
}

/// A policy by its keys, without the table.
pub fn policy(keys: &str) -> PartitionTable {
    #[derive(serde::Deserialize)]
    struct File {
        table: PartitionTable,
    }
    let text = format!("table = {{ table = \"public.events\", {keys} }}");
    toml::from_str::<File>(&text).unwrap_or_else(|error| panic!("{text}: {error}")).table
}

fn show(plan: Plan<Action>) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        let step = action.step();
        let bound = step.detail["bound"].as_str().map(|bound| format!(" {}", bound.replace("FOR VALUES ", "")));
        writeln!(text, "{} {}{}: {}", step.action, step.target, bound.unwrap_or_default(), step.reason).unwrap();
    }
    for step in plan.notes {
        writeln!(text, "{} {}: {}", step.action, step.target, step.reason).unwrap();
    }
    text.replace("public.", "").replace("create_partition ", "create ").replace(" 00:00:00+00'", "'")
}

fn plan_of(facts: &TableFacts, keys: &str, now: &str) -> Plan<Action> {
    decide(vec![wanted(facts, &policy(keys), Tz::UTC, at(now), None)], &HashSet::new())
}

/// Bounds and policy in, actions and notes out; each line of `expect` as the plan has it, without the schema and midnight.
#[track_caller]
fn check(text: &str, keys: &str, now: &str, expect: &str) {
    check_facts(&facts(text), keys, now, expect);
}

#[track_caller]
fn check_facts(facts: &TableFacts, keys: &str, now: &str, expect: &str) {
    let expect: String = expect
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(show(plan_of(facts, keys, now)), expect);
}

const NOVEMBER: &str = "2026-11-15T12:00:00Z";

#[test]
fn a_parent_without_partitions_is_a_normal_start() {
    check(
        "range timestamptz",
        "ahead = 2",
        NOVEMBER,
        "create events_2026_11 FROM ('2026-11-01') TO ('2026-12-01'): 2026-11 is the current period
         create events_2026_12 FROM ('2026-12-01') TO ('2027-01-01'): 2026-12 is 1 period ahead
         create events_2027_01 FROM ('2027-01-01') TO ('2027-02-01'): 2027-01 is 2 periods ahead
         warn events: as it stands, there is no partition for now: inserts fail",
    );
}

#[test]
fn where_everything_is_there_nothing_is_made_and_the_plan_says_how_far_it_reaches() {
    check(
        "range timestamptz
         a 2026-11-01 2026-12-01
         whatever 2026-12-01 2027-02-01",
        "ahead = 2",
        NOVEMBER,
        "keep events: the first insert would fail at 2027-02-01 00:00:00Z",
    );
}

#[test]
fn obstacles_are_told_together_and_only_stop_what_is_needed() {
    let mut facts = facts("range timestamptz\n a 2026-11-01 2026-12-01");
    facts.obstacles = vec!["role tend is no member of app".into(), "app lacks CREATE on schema public".into()];
    check_facts(
        &facts,
        "ahead = 1",
        NOVEMBER,
        "refuse events: no partition can be made: role tend is no member of app; app lacks CREATE on schema public (the \
         first insert would fail at 2026-12-01 00:00:00Z)",
    );
    check_facts(
        &facts,
        "ahead = 0",
        NOVEMBER,
        "warn events: no partition can be made: role tend is no member of app; app lacks CREATE on schema public
         keep events: the first insert would fail at 2026-12-01 00:00:00Z",
    );
}

#[test]
fn a_default_partition_gets_its_work_and_takes_the_rows_that_come_after() {
    let mut facts = facts("range timestamptz\n a 2026-11-01 2026-12-01\n default with rows");
    facts.immutable = Some(ident("no_delete"));
    let plan = plan_of(&facts, "ahead = 1, default_rows = 'refuse', default_rows_max = 7", NOVEMBER);
    let Action::Create(create) = &plan.actions[0] else { panic!("{plan:?}") };
    let work = create.default.as_ref().unwrap();
    assert_eq!(
        (work.max_rows, work.mode, &work.immutable),
        (7, super::super::facts::DefaultRows::Refuse, &facts.immutable)
    );
    let note = &plan.notes[0].reason;
    assert!(
        note.ends_with("rows from 2026-12-01 00:00:00Z on would go to the default partition public.events_default")
    );
    facts.default.as_mut().unwrap().referenced_by = vec!["results (results_event_fkey)".into()];
    let text = show(plan_of(&facts, "ahead = 1", NOVEMBER));
    assert!(text.contains("foreign keys point at it from results (results_event_fkey)"), "{text}");
}

#[test]
fn a_table_that_has_its_partitions_is_in_order() {
    let in_order = |text: &str, keys: &str| plan_of(&facts(text), keys, NOVEMBER).in_order;
    assert_eq!(in_order("range timestamptz\n a 2026-11-01 2026-12-01", "ahead = 0"), 1);
    assert_eq!(in_order("range timestamptz\n a 2026-11-01 2026-12-01", "ahead = 1"), 0);
    assert_eq!(in_order("hash timestamptz", "ahead = 1"), 0);
}

#[test]
fn nothing_is_made_behind_a_retention_cutoff() {
    let facts = facts("range timestamptz\n a 2026-11-01 2026-12-01");
    let cutoff = Some(at("2026-10-01T00:00:00Z"));
    let made = wanted(&facts, &policy("ahead = 0, behind = 5"), Tz::UTC, at(NOVEMBER), cutoff);
    let names: Vec<_> = made.creates.iter().map(|made| made.create.name.name.as_str()).collect();
    assert_eq!(names, ["events_2026_10"]);
}

#[test]
fn a_plan_beyond_all_measure_is_refused() {
    let text = show(plan_of(&facts("range timestamptz"), "every = '1 hour', ahead = 10000", NOVEMBER));
    assert!(text.starts_with("refuse events: more than 10000 partitions would be made"), "{text}");
    let text = show(plan_of(&facts("range timestamptz"), "every = '100 years', ahead = 90", NOVEMBER));
    assert!(text.starts_with("refuse events: its periods of 100 years reach beyond the years 1 to 9999"), "{text}");
}
