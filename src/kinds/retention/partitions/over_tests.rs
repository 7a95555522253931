use chrono_tz::Tz;

use super::*;
use crate::kinds::partitions::facts::TableFacts as Parent;
use crate::kinds::partitions::plan::tests::facts as parent;
use crate::kinds::retention::partitions::facts::TableFacts;
use crate::kinds::retention::policy::RetentionTable;

fn made(parent: Parent, keys: &str) -> TableFacts {
    let policy: RetentionTable = toml::from_str(&format!("table = 'events'\n{}", keys.replace(", ", "\n"))).unwrap();
    TableFacts {
        lineage: vec![parent.table.clone()],
        parent,
        policy: RetentionTable { timezone: Some(Tz::UTC), ..policy },
        zone: Tz::UTC,
        server: 150_000,
        references: Vec::new(),
        leaves: std::collections::HashMap::new(),
        detached: Vec::new(),
        default_rows: None,
        obstacles: Vec::new(),
        never: None,
    }
}

/// Bounds and policy in; leaves with why and the cutoff, or why their rows stay, out.
#[track_caller]
fn check(text: &str, keys: &str, expect: &[&str]) {
    let facts = made(parent(text), keys);
    let now = "2026-06-15T12:00:00Z".parse().unwrap();
    let ages = Ages::of(&facts.parent, &facts.policy, facts.zone, now).unwrap();
    let fate = Fate::of(&facts.policy).unwrap();
    let said: Vec<String> = leaves(&facts, &ages)
        .iter()
        .map(|over| match wanted(&facts, &ages, &fate, over) {
            Ok(OldRows::Archive(_, to)) => format!("{}: {}: to {}", over.leaf.name.as_str(), over.what, to.plain()),
            Ok(OldRows::Delete(wanted)) => {
                format!("{}: {}: before {}", over.leaf.name.as_str(), over.what, wanted.before.format("%Y-%m-%d %H:%M"))
            }
            Err(step) => format!("{}: {}", over.leaf.name.as_str(), step.reason),
        })
        .collect();
    assert_eq!(said, expect, "{text}");
}

#[test]
fn leaves_that_do_not_go_by_themselves_are_looked_at_row_by_row() {
    check(
        "range timestamptz
         early min 2026-05-01
         m05 2026-05-01 2026-06-01
         m06 2026-06-01 2026-07-01
         late 2026-08-01 max
         default with rows",
        "keep = '2 months'",
        &[
            "events_default: the default partition: before 2026-04-15 12:00",
            "early: a partition without end: before 2026-04-15 12:00",
        ],
    );
    // Twice as long as keep, and twice as long as most.
    check(
        "range timestamptz\n a 2026-01-01 2026-06-01",
        "keep = '2 months'",
        &["a: a partition more than twice as long as keep (151 days): before 2026-04-15 12:00"],
    );
    check(
        "range timestamptz\n a 2026-03-01 2026-06-01\n m06 2026-06-01 2026-07-01\n m07 2026-07-01 2026-08-01",
        "keep = '2 months'",
        &["a: a partition more than twice as long as most (92 days): before 2026-04-15 12:00"],
    );
    check("range timestamptz\n a 2026-03-01 2026-06-01", "keep = '2 months'", &[]);
    // None that the cutoff does not cut.
    check(
        "range timestamptz\n a min 2026-04-01\n b 2026-04-01 2026-05-01\n c 2026-05-01 max\n default",
        "keep = '2 months'",
        &[],
    );
}

#[test]
fn a_value_is_old_when_all_that_it_stands_for_is() {
    check(
        "range date\n default with rows",
        "keep = '2 months'",
        &["events_default: the default partition: before 2026-04-15 00:00"],
    );
    check(
        "range timestamp without time zone\n default with rows",
        "keep = '2 months'",
        &["events_default: the default partition: before 2026-04-15 12:00"],
    );
    check(
        "list text\n default with rows",
        "keep = '2 months', key_format = '%Y-%m'",
        &["events_default: the default partition: before 2026-04-01 00:00"],
    );
    check(
        "list integer\n default with rows",
        "keep = '2 months', key_format = '%Y'",
        &["events_default: the default partition: before 2026-01-01 00:00"],
    );
    check(
        "range bigint\n default with rows",
        "keep = '2 months', key_format = 'epoch'",
        &["events_default: the default partition: before 2026-04-15 12:00"],
    );
}

#[test]
fn rows_that_must_not_go_are_only_reported() {
    let text = "range timestamptz\n default with rows";
    let said =
        |why: &str| format!("events_default: the default partition may hold rows of before 2026-04-15 12:00: {why}");
    for (keys, why) in [
        (", action = 'detach'", "single rows cannot be detached, and they stay"),
        (", newest = 'made'", "by \"made\" some of them may be newer, and they stay"),
        (", immutable = 'drop-after-export', export = 'x'", "single rows are not exported, and they stay"),
    ] {
        check(text, &format!("keep = '2 months'{keys}"), &[&said(why)]);
    }
    check(
        text,
        "keep = '2 months', action = 'archive', to = 'old'",
        &["events_default: the default partition: to old.events"],
    );
    let mut parent = parent(text);
    parent.immutable = Some(Ident::new("no_delete").unwrap());
    let facts = made(parent, "keep = '2 months'");
    let now = "2026-06-15T12:00:00Z".parse().unwrap();
    let ages = Ages::of(&facts.parent, &facts.policy, facts.zone, now).unwrap();
    let over = leaves(&facts, &ages);
    let note = wanted(&facts, &ages, &Fate::Drop, &over[0]).unwrap_err();
    assert!(note.reason.ends_with("trigger no_delete stands on deleting them, and they stay"), "{note:?}");
}
