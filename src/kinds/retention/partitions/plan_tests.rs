use std::collections::HashMap;
use std::fmt::Write as _;

use chrono_tz::Tz;

use super::*;
use crate::kinds::partitions::facts::{Bound, Edge};
use crate::kinds::partitions::plan::tests::facts as parent;
use crate::kinds::partitions::rows::Count;
use crate::kinds::retention::holds::Hold;
use crate::kinds::retention::partitions::facts::Referring;
use crate::kinds::retention::partitions::mark::Mark;
use crate::kinds::retention::policy::RetentionTable;
use crate::pg::Ident;
use crate::pg::catalog::{OnDelete, Reference};

#[path = "plan_order.rs"]
mod order;
#[path = "plan_properties.rs"]
mod properties;

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
        indexed: false,
        readable: true,
    }
}

fn leaf(name: &TableName, bound: &Bound) -> LeafFacts {
    LeafFacts {
        kind: 'r',
        owner: ident("app"),
        may_act: true,
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
        policy: policy(&parent.table.plain(), keys),
        zone,
        server: 150_000,
        references: Vec::new(),
        leaves,
        detached: Vec::new(),
        default_rows: parent.default.as_ref().filter(|d| d.has_rows == Some(true)).map(|_| Count::Exactly(7)),
        can_compare: false,
        obstacles: Vec::new(),
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
            ["foreign", name] => of(&mut facts, name).kind = 'f',
            ["taken", name] => of(&mut facts, name).name_taken = true,
            ["sub", name, sub] => of(&mut facts, name).tree.push(table(sub)),
            ["mark", name, fate] => {
                let (bound, fate) = (of(&mut facts, name).bound.clone(), fate_of(fate));
                of(&mut facts, name).comment =
                    Some(Mark { fate, parent: 1, table: table("events"), bound, comment: Some("mine".into()) }.text());
            }
            ["detached", name, from, to, fate] => {
                let edge = |value: &str| Edge::Value(format!("{value} 00:00:00+00"));
                let bound = Bound::Range { from: edge(from), to: edge(to), exact: true };
                let mark = Mark {
                    fate: fate_of(fate),
                    parent: 1,
                    table: table("events"),
                    bound: written(&bound),
                    comment: None,
                };
                let leaf = LeafFacts { bound: String::new(), ..leaf(&table(name), &bound) };
                facts.detached.push(Detached { name: table(name), oid: 99, mark, leaf });
            }
            ["referenced"] => facts.references.push(reference("results")),
            ["server", version] => facts.server = version.parse::<i32>().unwrap() * 10_000,
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

/// Four months that have begun, and one made ahead.
const MONTHS: &str = "range timestamptz
    m02 2026-02-01 2026-03-01
    m03 2026-03-01 2026-04-01
    m04 2026-04-01 2026-05-01
    m06 2026-06-01 2026-07-01
    m07 2026-07-01 2026-08-01\n";

#[test]
fn a_partition_goes_when_its_whole_range_is_older_than_the_cutoff() {
    check(
        MONTHS,
        "keep = '2 months'",
        "drop m02: ends 2026-03-01, before the cutoff 2026-04-15 12:00 (keep 2 months); detached concurrently
         drop m03: ends 2026-04-01, before the cutoff 2026-04-15 12:00 (keep 2 months); detached concurrently
         keep m04: the first after the cutoff: ends 2026-05-01, and goes on 2026-07-01",
    );
    // At the very instant, and not one microsecond before.
    check_in(
        Tz::UTC,
        MONTHS,
        "keep = '3 months'",
        "2026-06-01T00:00:00Z",
        "drop m02: ends 2026-03-01, before the cutoff 2026-03-01 (keep 3 months); detached concurrently
         keep m03: the first after the cutoff: ends 2026-04-01, and goes on 2026-07-01",
    );
    check_in(
        Tz::UTC,
        MONTHS,
        "keep = '3 months'",
        "2026-05-31T23:59:59.999999Z",
        "keep m02: the first after the cutoff: ends 2026-03-01, and goes on 2026-06-01",
    );
}

#[test]
fn months_are_those_of_the_calendar_and_days_those_of_the_zone() {
    // 3 x 365 days would have taken March 2021.
    let text = "range timestamptz\n y21 2021-03-01 2021-04-01\n y22 2022-03-01 2022-04-01";
    check_in(
        Tz::UTC,
        text,
        "keep = '36 months'",
        "2024-03-31T12:00:00Z",
        "keep y21: the first after the cutoff: ends 2021-04-01, and goes on 2024-04-01",
    );
    let berlin = "range timestamptz
        m02 2026-01-31T23:00:00+00 2026-02-28T23:00:00+00
        m03 2026-02-28T23:00:00+00 2026-03-31T22:00:00+00
        m04 2026-03-31T22:00:00+00 2026-04-30T22:00:00+00";
    check_in(
        Tz::Europe__Berlin,
        berlin,
        "keep = '2 months'",
        "2026-04-30T22:00:00Z",
        "drop m02: ends 2026-03-01, before the cutoff 2026-03-01 (keep 2 months, Europe/Berlin); detached concurrently
         keep m03: the first after the cutoff: ends 2026-04-01, and goes on 2026-06-01",
    );
}

#[test]
fn what_is_current_default_future_open_or_unreadable_never_goes() {
    check(
        "range timestamptz
         open min 2020-01-01
         far 2020-01-01 max
         default with rows",
        "keep = '1 day', keep_at_least = 1",
        "keep far: its age cannot be told, and it never goes: it reaches without end
         keep open: ends 2020-01-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 1 (keep_at_least)
         warn events_default: the default partition holds 7 rows, and never goes",
    );
    check(
        "list text
         a in 2020-01, 2020-02
         b in 2020-03, null
         c in 2020-04, 2020-4
         d in 2026-05, 2019-01
         e in 2026-06",
        "keep = '1 month', key_format = '%Y-%m'",
        "drop a: ends 2020-03-01, before the cutoff 2026-05-15 12:00 (keep 1 month); detached concurrently
         keep b: its age cannot be told, and it never goes: it holds NULL, which is never old
         keep c: its age cannot be told, and it never goes: it holds '2020-4', which is no time of the key's format
         keep d: the first after the cutoff: ends 2026-06-01, and goes on 2026-07-01",
    );
    // Other columns of the key reach into the time it ends at.
    check_in(
        Tz::UTC,
        "range timestamptz\n vague m02 2026-02-01 2026-03-01\n m04 2026-04-01 2026-05-01\n m05 2026-05-01 2026-06-01",
        "keep = '3 months'",
        "2026-06-01T00:00:00Z",
        "keep m02: the first after the cutoff: ends 2026-03-01 00:00, and goes on 2026-06-01 00:00",
    );
}

#[test]
fn keep_at_least_counts_those_that_have_begun() {
    check(
        MONTHS,
        "keep = '1 day', keep_at_least = 3",
        "drop m02: ends 2026-03-01, before the cutoff 2026-06-14 12:00 (keep 1 day); detached concurrently
         keep m03: ends 2026-04-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 3 (keep_at_least)
         keep m04: ends 2026-05-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 3 (keep_at_least)
         keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-07-02",
    );
}

#[test]
fn a_plan_that_would_leave_nothing_says_so() {
    check(
        "range timestamptz\n a 2025-01-01 2025-02-01\n b 2025-02-01 2025-03-01\n m07 2026-07-01 2026-08-01",
        "keep = '1 day'",
        "drop a: ends 2025-02-01, before the cutoff 2026-06-14 12:00 (keep 1 day); detached concurrently
         keep b: ends 2025-03-01, before the cutoff 2026-06-14 12:00 (keep 1 day), and is one of the newest 1 (keep_at_least)
         warn events: every partition that has begun ends before the cutoff 2026-06-14 12:00, so that keep_at_least alone keeps anything: is keep = \"1 day\" meant, and does anybody make its partitions?
         keep m07: the first after the cutoff: ends 2026-08-01, and goes on 2026-08-02",
    );
}

#[test]
fn no_more_than_max_partitions_go_and_what_cannot_go_takes_no_place() {
    check(
        &format!("{MONTHS} m01 2026-01-01 2026-02-01\n ! view m01\n ! held m02"),
        "keep = '1 month', max_partitions = 1",
        "refuse m01: ends 2026-02-01, before the cutoff 2026-05-15 12:00 (keep 1 month): view v depends on m01, which cannot be dropped then; let it read the partitioned table instead, or drop it; or use action = \"detach\" or \"archive\"
         drop m03: ends 2026-04-01, before the cutoff 2026-05-15 12:00 (keep 1 month); detached concurrently
         keep m02: ends 2026-03-01, before the cutoff 2026-05-15 12:00 (keep 1 month), but is held: audit
         keep events: 1 partition more before the cutoff, and at most 1 go in one run (max_partitions): the next begins with m04, which ends 2026-05-01, and the last of them ends 2026-05-01
         keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-08-01",
    );
}

const OLD: &str = "range timestamptz\n m01 2026-01-01 2026-02-01\n m06 2026-06-01 2026-07-01\n";
const NEXT: &str = "keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-09-01";

#[track_caller]
fn check_old(extra: &str, keys: &str, expect: &str) {
    let rule = "ends 2026-02-01, before the cutoff 2026-04-15 12:00 (keep 2 months)";
    check(
        &format!("{OLD}{extra}"),
        &format!("keep = '2 months'{keys}"),
        &expect.replace("RULE", rule).replace("NEXT", NEXT),
    );
}

#[test]
fn what_is_held_goes_nowhere() {
    check_old("! held events", "", "keep events: it is held: audit");
    check_old("! held m01", "", "keep m01: RULE, but is held: audit\nNEXT");
    check_old("! sub m01 m01_a\n ! held m01_a", "", "keep m01: RULE, but m01_a is held: audit\nNEXT");
    check_old("! held other", "", "drop m01: RULE; detached concurrently\nNEXT");
    check_old("! held m01\n ! detached gone 2025-01-01 2025-02-01 drop\n ! held gone", "", "
        warn gone: was detached from events by an earlier run and is left as it is: it is held: audit; to take it back: ALTER TABLE \"public\".\"events\" ATTACH PARTITION \"public\".\"gone\" FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2025-02-01 00:00:00+00'); to keep it as it is: COMMENT ON TABLE \"public\".\"gone\" IS NULL
        keep m01: RULE, but is held: audit
        NEXT");
}

#[test]
fn what_stands_in_the_way_is_refused_with_what_to_do() {
    check_old("! refers m01 5", "", "
        refuse m01: RULE: 5 rows of results refer to it (constraint fk); results has to let go of them first: this window waits
        NEXT");
    check_old("! refers m01 1001", "", "
        refuse m01: RULE: more than 1000 rows of results refer to it (constraint fk); results has to let go of them first: this window waits
        NEXT");
    check_old("! stranger m01", "", "
        refuse m01: RULE: m01 belongs to \"other\", and pgtend's role may not act as that one; GRANT \"other\" TO the role that pgtend connects as, or ALTER TABLE it OWNER TO \"app\"
        NEXT");
    check_old(
        "! foreign m01",
        "",
        "
        refuse m01: RULE: m01 is a foreign table: its rows are in another server; detach it by hand
        NEXT",
    );
    check_old(
        "! obstacle",
        "",
        "refuse events: 1 partition is before the cutoff 2026-04-15 12:00: not the owner; GRANT",
    );
    check(
        "range timestamptz\n m06 2026-06-01 2026-07-01\n ! obstacle",
        "keep = '2 months'",
        "
        warn events: not the owner; GRANT
        keep m06: the first after the cutoff: ends 2026-07-01, and goes on 2026-09-01",
    );
    check_old("! newer m01", ", newest = 'at'", "keep m01: RULE, but its newest at is 2026-01-01\nNEXT");
    for (keys, why) in [
        (
            ", where = 'x'",
            "refuse events: events is partitioned, and where and age_from are about single rows; remove them: a partition goes whole, by its bounds",
        ),
        (
            ", action = 'delete'",
            "refuse events: events is partitioned, and its partitions go whole; leave action out, or write \"drop\", \"detach\" or \"archive\"",
        ),
        (
            ", action = 'archive', to = 'a.b'",
            "refuse events: events is partitioned, and its partitions move to a schema: \"a.b\" is none; write to = \"archive\"",
        ),
    ] {
        check_old("", keys, why);
    }
}

#[test]
fn a_view_keeps_a_partition_from_being_dropped_and_from_nothing_else() {
    check_old("! view m01", ", action = 'detach'", "detach m01: RULE; detached concurrently\nNEXT");
    check_old("! view m01", ", action = 'archive', to = 'old'", "archive m01: RULE; detached concurrently\nNEXT");
    check_old(
        "! taken m01",
        ", action = 'archive', to = 'old'",
        "
        refuse m01: RULE: m01 cannot move to schema \"old\": something has its name there; rename or move one of the two
        NEXT",
    );
}

#[test]
fn what_may_not_be_deleted_is_not_dropped() {
    check_old(
        "! trigger events",
        "",
        "refuse events: 1 partition is before the cutoff 2026-04-15 12:00: trigger no_delete stands on deleting from events, and a dropped partition's rows are deleted all the same; write immutable = \"drop-after-export\" with an export if that is meant, or action = \"detach\" or \"archive\"",
    );
    check_old("! trigger m01", "", "
        refuse m01: RULE: trigger no_delete stands on deleting from m01, and a dropped partition's rows are deleted all the same; write immutable = \"drop-after-export\" with an export if that is meant, or action = \"detach\" or \"archive\"
        NEXT");
    check_old(
        "! trigger events",
        ", action = 'detach'",
        "
        detach m01: RULE; detached concurrently
        warn m01: trigger no_delete stands on deleting from it, and no longer does once it is detached
        NEXT",
    );
    check_old(
        "! trigger events",
        ", immutable = 'drop-after-export', export = 'offsite'",
        "
        export m01: RULE; written to offsite and read back before it goes
        drop m01: RULE; detached concurrently
        NEXT",
    );
}

#[test]
fn how_it_is_detached_is_part_of_the_plan() {
    check_old(
        "! referenced",
        "",
        "drop m01: RULE; detached under a lock on events, since a foreign key of results points at it\nNEXT",
    );
    check_old(
        "default",
        "",
        "drop m01: RULE; detached under a lock on events, since PostgreSQL does not do it concurrently beside a default partition, events_default\nNEXT",
    );
    check_old(
        "! server 13",
        "",
        "drop m01: RULE; detached under a lock on events, since PostgreSQL 13 does not know how to do it concurrently\nNEXT",
    );
}

#[test]
fn what_an_earlier_run_began_is_finished_if_it_would_be_begun_today() {
    let pending = "pending m02 2026-02-01 2026-03-01\n";
    check_old(
        &format!("{pending}! mark m02 drop"),
        "",
        "
        drop m02: its detaching was begun by an earlier run and not finished; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT",
    );
    check_old(
        pending,
        "",
        "
        detach m02: its detaching was begun by somebody else and not finished; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT",
    );
    check_old(&format!("{pending}! mark m02 detach"), "", "
        detach m02: its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is left as a table of its own; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT");
    check_old("pending m05 2026-05-01 2026-06-01\n ! mark m05 drop", "", "
        detach m05: its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is left as a table of its own; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT");
    check_old(
        "! detached gone 2025-01-01 2025-02-01 drop",
        "",
        "
        drop gone: was detached by an earlier run; ends 2025-02-01, before the cutoff 2026-04-15 12:00 (keep 2 months)
        drop m01: RULE; detached concurrently
        NEXT",
    );
    let left = |why: &str, from: &str, to: &str| {
        format!("
        drop m01: RULE; detached concurrently
        warn gone: was detached from events by an earlier run and is left as it is: {why}; to take it back: ALTER TABLE \"public\".\"events\" ATTACH PARTITION \"public\".\"gone\" FOR VALUES FROM ('{from} 00:00:00+00') TO ('{to} 00:00:00+00'); to keep it as it is: COMMENT ON TABLE \"public\".\"gone\" IS NULL
        NEXT")
    };
    check_old(
        "! detached gone 2025-01-01 2025-02-01 old",
        "",
        &left("it was to be archive, and the policy says drop now", "2025-01-01", "2025-02-01"),
    );
    check_old(
        "! detached gone 2026-05-01 2026-06-01 drop",
        "",
        &left("it ends 2026-06-01, after the cutoff", "2026-05-01", "2026-06-01"),
    );
    // Begun and not even detached: a mark on what stays is taken away, and one on what goes is part of the work.
    check_old(
        "! mark m06 drop",
        "",
        "
        drop m01: RULE; detached concurrently
        restore_comment m06: an earlier run was about to detach it, and by the policy it stays
        NEXT",
    );
    check_old("! mark m01 drop", "", "drop m01: RULE; detached concurrently\nNEXT");
}

#[test]
fn bounds_of_another_zone_or_format_are_refused() {
    let expect = |why: &str| format!("refuse events: {why}; until that is mended, its partitions stay");
    check_in(
        Tz::Europe__Berlin,
        MONTHS,
        "keep = '2 months'",
        "2026-06-15T12:00:00Z",
        &expect(
            "its partitions begin at midnight UTC, as 2026-02-01 00:00:00 UTC does, which reads 2026-02-01 01:00:00 in the policy's zone Europe/Berlin: partitions of both would overlap or leave gaps; set timezone to the zone that they were made in",
        ),
    );
    check(
        "list text\n a in 2020_01\n b in 2020_02\n c in 2020-03",
        "keep = '1 month', key_format = '%Y-%m'",
        &expect(
            "a holds '2020_01', which is no time of key_format \"%Y-%m\", and so do most of its partitions: set key_format to what they hold",
        ),
    );
    check(
        "range integer\n a 20200101 20200201\n b 20200201 20200301",
        "keep = '1 month', key_format = '%Y%m'",
        &expect(
            "the bound of a cannot be read by key_format \"%Y%m\", and so it is with most of its partitions: FOR VALUES FROM ('20200101') TO ('20200201')",
        ),
    );
    // Seconds, read as milliseconds: all of it would be of January 1970.
    check(
        "range bigint\n a 1767225600 1769904000\n b 1769904000 1772323200",
        "keep = '1 month', key_format = 'epoch_ms'",
        &expect(
            "read by key_format \"epoch_ms\", its newest partition ends 1970-01-21 12:18, which can hardly be meant: set key_format to how its bounds count",
        ),
    );
    check(
        "range text\n a x y",
        "keep = '1 month'",
        &expect("the key at is text: add key_format, such as \"%Y-%m\" or \"%Y_%m\", to say how it writes time"),
    );
    check(
        "hash timestamptz",
        "keep = '1 month'",
        &expect(
            "it is partitioned by HASH (at): hash partitions follow no time; pgtend makes partitions by RANGE and LIST of timestamptz, timestamp, date, and with key_format of text, integer and uuid (version 7) keys",
        ),
    );
}
