use std::collections::HashMap;
use std::fmt::Write as _;

use chrono_tz::Tz;

use super::*;
use crate::kinds::partitions::facts::{Bound, Edge};
use crate::kinds::partitions::plan::tests::facts as parent;
use crate::kinds::partitions::rows::Count;
use crate::kinds::retention::holds::Hold;
use crate::kinds::retention::partitions::facts::{Detached, LeafFacts, Newest, Referring};
use crate::kinds::retention::partitions::mark::Mark;
use crate::kinds::retention::policy::RetentionTable;
use crate::pg::Ident;
use crate::pg::catalog::{OnDelete, Reference};

#[path = "plan_begun.rs"]
mod begun;
#[path = "plan_order.rs"]
mod order;
#[path = "plan_properties.rs"]
mod properties;
#[path = "plan_rules.rs"]
mod rules;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn table(name: &str) -> TableName {
    TableName::new("public", name).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A policy by its keys, without the table.
fn policy(name: &str, keys: &str) -> RetentionTable {
    let text = format!("table = \"{name}\"\n{}", keys.replace(", ", "\n"));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn reference(from: &str) -> Reference {
    Reference {
        constraint: "fk".into(),
        table: table(from),
        on_delete: OnDelete::Refuse,
        columns: vec![ident("a")],
        referenced: vec![ident("b")],
        operators: vec!["OPERATOR(pg_catalog.=)".into()],
        indexed: false,
        readable: true,
    }
}

fn leaf(name: &TableName, bound: &Bound) -> LeafFacts {
    LeafFacts {
        kind: 'r',
        owner: ident("app"),
        may_act: true,
        may_lock: true,
        bound: written(bound),
        bytes: Some(8192),
        rows: Some(10),
        tree: vec![name.clone()],
        comment: None,
        delete_triggers: Vec::new(),
        dependents: Vec::new(),
        references: Vec::new(),
        referring: Vec::new(),
        newest: Newest::NotAsked,
        name_taken: false,
    }
}

/// As the server would.
fn written(bound: &Bound) -> String {
    let edge = |edge: &Edge| match edge {
        Edge::MinValue => "MINVALUE".into(),
        Edge::MaxValue => "MAXVALUE".into(),
        Edge::Value(value) => format!("'{value}'"),
    };
    match bound {
        Bound::Range { from, to, .. } => format!("FOR VALUES FROM ({}) TO ({})", edge(from), edge(to)),
        Bound::List(values) => {
            let values: Vec<_> =
                values.iter().map(|v| v.as_ref().map_or("NULL".into(), |value| format!("'{value}'"))).collect();
            format!("FOR VALUES IN ({})", values.join(", "))
        }
        Bound::Unread(text) => text.clone(),
    }
}

/// Facts as text: those of [`parent`], and lines that begin with `!` for what retention knows besides.
fn facts(text: &str, keys: &str, zone: Tz) -> (TableFacts, Holds) {
    let (extra, plain): (Vec<&str>, Vec<&str>) = text.lines().map(str::trim).partition(|line| line.starts_with('!'));
    let parent = parent(&plain.join("\n"));
    let leaves: HashMap<u32, LeafFacts> = parent.partitions.iter().map(|p| (p.oid, leaf(&p.name, &p.bound))).collect();
    let mut facts = TableFacts {
        lineage: vec![parent.table.clone()],
        // Said, as a `partitions` job would.
        policy: RetentionTable { timezone: Some(zone), ..policy(&parent.table.plain(), keys) },
        zone,
        server: 150_000,
        references: Vec::new(),
        leaves,
        detached: Vec::new(),
        default_rows: parent.default.as_ref().filter(|d| d.has_rows == Some(true)).map(|_| Count::Exactly(7)),
        obstacles: Vec::new(),
        never: None,
        parent,
    };
    let mut holds = Holds::default();
    for line in extra {
        let words: Vec<&str> = line.trim_start_matches("! ").split_whitespace().collect();
        match words[..] {
            ["held", name] => {
                let hold = Hold { relation: table(name), reason: "audit".into(), until: None, exists: true };
                holds.0.push(hold);
            }
            ["view", name] => of(&mut facts, name).dependents.push("view public.v".into()),
            ["refers", name, rows] => of(&mut facts, name).referring.push(Referring {
                table: table("results"),
                constraint: "fk".into(),
                rows: rows.parse().unwrap(),
            }),
            ["trigger", "events"] => facts.parent.immutable = Some(ident("no_delete")),
            ["trigger", name] => of(&mut facts, name).delete_triggers.push("no_delete".into()),
            ["newer", name] => of(&mut facts, name).newest = Newest::Newer("2026-01-01".into()),
            ["stranger", name] => {
                of(&mut facts, name).may_act = false;
                of(&mut facts, name).owner = ident("other");
            }
            ["unlockable", name] => of(&mut facts, name).may_lock = false,
            ["foreign", name] => of(&mut facts, name).kind = 'f',
            ["taken", name] => of(&mut facts, name).name_taken = true,
            ["sub", name, sub] => of(&mut facts, name).tree.push(table(sub)),
            [word @ ("mark" | "intent"), name, fate] => {
                let (bound, fate) = (of(&mut facts, name).bound.clone(), fate_of(fate));
                of(&mut facts, name).comment = Some(
                    Mark {
                        fate,
                        parent: 1,
                        leaf: None,
                        table: table("events"),
                        bound,
                        begun: word == "mark",
                        comment: Some("mine".into()),
                    }
                    .text(),
                );
            }
            [word @ ("detached" | "doubtful"), name, from, to, fate] => {
                let edge = |value: &str| Edge::Value(format!("{value} 00:00:00+00"));
                let bound = Bound::Range { from: edge(from), to: edge(to), exact: true };
                let mark = Mark {
                    fate: fate_of(fate),
                    leaf: None,
                    parent: 1,
                    table: table("events"),
                    bound: written(&bound),
                    begun: word == "detached",
                    comment: None,
                };
                let leaf = LeafFacts { bound: String::new(), ..leaf(&table(name), &bound) };
                facts.detached.push(Detached { name: table(name), oid: 99, mark, leaf });
            }
            ["referenced"] => facts.references.push(reference("results")),
            ["server", version] => facts.server = version.parse::<i32>().unwrap() * 10_000,
            ["zoneless"] => facts.policy.timezone = None,
            ["never"] => facts.never = Some(Refusal::new("nothing of it may go", "ask")),
            ["obstacle"] => facts.obstacles.push(Refusal::new("not the owner", "GRANT")),
            _ => panic!("{line}"),
        }
    }
    (facts, holds)
}

fn of<'a>(facts: &'a mut TableFacts, name: &str) -> &'a mut LeafFacts {
    let oid = facts.parent.partitions.iter().find(|p| p.name.name.as_str() == name).unwrap().oid;
    facts.leaves.get_mut(&oid).unwrap()
}

fn fate_of(word: &str) -> Fate {
    match word {
        "drop" => Fate::Drop,
        "detach" => Fate::Detach,
        to => Fate::Archive(ident(to)),
    }
}

fn show(plan: &Plan<Action>) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        let step = action.step();
        writeln!(text, "{} {}: {}", step.action, step.target, step.reason).unwrap();
    }
    for step in &plan.notes {
        writeln!(text, "{} {}: {}", step.action, step.target, step.reason).unwrap();
    }
    text.replace("public.", "").replace("_partition ", " ").replace("; about 10 rows, 8.2 kB", "")
}

/// Bounds, policy and now in, actions and notes out.
#[track_caller]
fn check_in(zone: Tz, text: &str, keys: &str, now: &str, expect: &str) {
    let (facts, holds) = facts(text, keys, zone);
    let plan = decide(vec![Ok(facts)], &holds, at(now));
    let expect: String =
        expect.lines().map(str::trim).filter(|line| !line.is_empty()).map(|l| format!("{l}\n")).collect();
    assert_eq!(show(&plan), expect, "{text}\n{keys}");
}

#[track_caller]
fn check(text: &str, keys: &str, expect: &str) {
    check_in(Tz::UTC, text, keys, "2026-06-15T12:00:00Z", expect);
}
