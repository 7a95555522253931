//! Partitioned tables: what they have ahead of them, and what lies behind.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::schedulers::working_on;
use super::{HOW_LONG, HOW_WIDE, WHICH_STORE, writable};
use crate::init::draft::{Line, Part, Row, Table, Value};
use crate::init::facts::{Facts, Partitioned};
use crate::kinds::partitions::cover::Cover;
use crate::kinds::partitions::every::Every;
use crate::kinds::partitions::facts::{DefaultRows, TableFacts};
use crate::kinds::partitions::infer::{Inferred, Unproven, infer};
use crate::kinds::partitions::key::{FIRST, Key, LAST};
use crate::kinds::partitions::plan;
use crate::kinds::partitions::policy::PartitionTable;
use crate::kinds::partitions::runway::{self, Runway};
use crate::pg::TableName;

#[derive(Default)]
pub struct Found<'a> {
    pub part: Option<Part>,
    /// What the role lacks for those that are switched on.
    pub rights: Vec<Line>,
    /// The tables whose partitions are periods.
    pub known: Vec<(&'a TableFacts, Inferred)>,
}

pub fn partitions(facts: &Facts) -> Found<'_> {
    let server = &facts.server;
    let (mut found, mut rows, mut others) = (Found::default(), Vec::new(), Vec::new());
    for one in facts.partitioned.iter().filter(|one| writable(&one.facts.table)) {
        let table = one.facts.table.plain();
        match infer(&one.facts, server.time_zone, server.now) {
            Ok(inferred) => {
                let Some(row) = row(one, &inferred, facts) else { continue };
                if row.active {
                    found.rights.extend(one.facts.obstacles.iter().map(Line::words));
                }
                rows.push(row);
                found.known.push((&one.facts, inferred));
            }
            // Below a partitioned table there are as many as it has partitions, and nothing to say of each.
            Err(_) if one.is_partition => {}
            Err(Unproven { why, may_be_time: true }) => rows.push(open(&one.facts, &why)),
            Err(Unproven { why, .. }) => others.push(Line::words(format!("{table} is left out: {why}."))),
        }
    }
    if rows.is_empty() && others.is_empty() {
        return found;
    }
    let mut words = vec![Line::words(
        "Partitions, before anyone needs them: without one for its time an INSERT fails. Each is made apart and then attached, \
         so that nobody waits; what is there is known by its bounds and left as it is. A run with nothing to do costs a few \
         looks at the catalog.",
    )];
    words.extend(others);
    let tables = if rows.is_empty() {
        Vec::new()
    } else {
        let kind = Table::rows("partitions", "partitions", "tables", rows);
        let job = Table::job("partitions", "@daily", kind.active).with("jitter", Value::text("5m"));
        vec![job.with("timeout", Value::text("45m")), kind]
    };
    found.part = Some(Part { words, tables });
    found
}

/// Nothing for a partition that is partitioned further and whose own time is over.
fn row(one: &Partitioned, inferred: &Inferred, facts: &Facts) -> Option<Row> {
    let (table, now) = (&one.facts, facts.server.now);
    let policy = policy(&table.table, inferred);
    let runway = runway::runway(table, &policy, Tz::UTC, now);
    if one.is_partition && runway.is_none() {
        return None;
    }
    let unhindered = TableFacts { obstacles: Vec::new(), ..table.clone() };
    let refusal = plan::wanted(&unhindered, &policy, Tz::UTC, now, None).refusal;
    let mut why_not = inferred.doubts.clone();
    why_not.extend(refusal);
    if runway.as_ref().is_some_and(|runway| runway.until.is_none()) {
        why_not.push("its last partition has no end (MAXVALUE), so that there is no room for another; `pgtend plan` says how to \
                      split it".into());
    }
    if facts.server.extensions.contains("pg_partman") {
        why_not.push("pg_partman is installed, and two that make partitions of one table get in each other's way: take it out of \
                      partman.part_config first, if it stands there".into());
    }
    let mut words = vec![Line::words(format!(
        "{}: {}, {} {} each.{}",
        table.table.plain(),
        table.key.definition,
        counted(table.partitions.len(), "partition"),
        of(inferred.every),
        ends(table, inferred, runway.as_ref()),
    ))];
    for job in working_on(facts, &table.table) {
        words.push(Line::words(format!("pg_cron works on it too, by its job {job}.")));
    }
    words.extend(inferred.remarks.iter().map(|remark| Line::words(format!("{}.", capital(remark)))));
    if let Some(default) = &table.default {
        words.push(Line::words(format!(
            "Rows that no partition is there for go to {}; a new partition takes its own out of it, 10,000 at most.",
            default.name.plain()
        )));
    }
    words.extend(why_not.iter().map(|why| Line::words(format!("Off: {why}."))));
    Some(Row { words, value: value(&policy, inferred), active: why_not.is_empty() })
}

/// `of one month`
fn of(every: Every) -> String {
    let text = every.to_string();
    text.strip_prefix("1 ")
        .map_or_else(|| format!("of {text}"), |unit| format!("of a {unit}").replace("a hour", "an hour"))
}

fn ends(table: &TableFacts, inferred: &Inferred, runway: Option<&Runway>) -> String {
    let last = format!(" Its last partition ends on {}", inferred.to.format("%Y-%m-%d %H:%M"));
    let last = last.trim_end_matches(" 00:00");
    let empty = table.partitions.is_empty();
    let runway = runway.map(|runway| format!("; as it stands, {}", runway.sentence())).unwrap_or_default();
    if empty { String::new() } else { format!("{last}{runway}.") }
}

/// A table of which it is not known how wide its partitions are to be.
fn open(table: &TableFacts, why: &str) -> Row {
    let mut pairs = vec![
        ("table", Value::text(table.table.plain())),
        ("every", Value::text(HOW_WIDE)),
        ("ahead", Value::Number(12)),
    ];
    if Key::read(&table.key, None).is_err() {
        pairs.push(("key_format", Value::text("HOW THE KEY SAYS ITS TIME")));
    }
    let words = vec![
        Line::words(format!("{}: {} ({}).", table.table.plain(), table.key.definition, table.key.type_name)),
        Line::words(format!("Off: {why}.")),
    ];
    Row { words, value: Value::Inline(pairs), active: false }
}

fn policy(table: &TableName, inferred: &Inferred) -> PartitionTable {
    PartitionTable {
        table: table.clone(),
        every: inferred.every.to_string().parse().unwrap_or_default(),
        ahead: ahead(inferred.every),
        behind: 0,
        name: inferred.name.clone(),
        timezone: Some(inferred.zone),
        key_format: inferred.key_format.clone(),
        tablespace: None,
        default_rows: DefaultRows::default(),
        default_rows_max: 10_000,
        kept: Vec::new(),
    }
}

/// Time enough to notice that something keeps the job from its work, and to mend it.
fn ahead(every: Every) -> u32 {
    match every {
        Every::Hours(hours) => 72 / hours.max(1),
        Every::Days(days) if days < 7 => 30 / days.max(1),
        Every::Days(days) => (84 / days).max(3),
        Every::Months(months) => (12 / months).max(2),
    }
}

fn value(policy: &PartitionTable, inferred: &Inferred) -> Value {
    let mut pairs = vec![
        ("table", Value::text(policy.table.plain())),
        ("every", Value::text(inferred.every.to_string())),
        ("ahead", Value::Number(policy.ahead)),
    ];
    pairs.extend(inferred.name.as_ref().map(|name| ("name", Value::text(name.to_string()))));
    if inferred.zone != Tz::UTC {
        pairs.push(("timezone", Value::text(inferred.zone.name())));
    }
    pairs.extend(inferred.key_format.as_ref().map(|format| ("key_format", Value::text(format.to_string()))));
    Value::Inline(pairs)
}

/// ANALYZE of the parents, which autovacuum never does.
pub fn statistics(facts: &Facts) -> Option<Part> {
    let top = facts.partitioned.iter().filter(|one| !one.is_partition && writable(&one.facts.table));
    let row = |one: &Partitioned| Row { words: Vec::new(), value: Value::text(one.facts.table.plain()), active: true };
    let rows: Vec<Row> = top.map(row).collect();
    if rows.is_empty() {
        return None;
    }
    let words = vec![Line::words(
        "Autovacuum looks after each partition and never after the table that they are partitions of, whose statistics queries \
         over several partitions are planned by. What was analyzed within a day is left alone. For the rest of the database a \
         job of kind vacuum or analyze without `tables` would do the same.",
    )];
    let kind = Table::rows("statistics", "analyze", "tables", rows).with("skip_if_within", Value::text("23h"));
    let job = Table::job("statistics", "30 4 * * *", true).with("jitter", Value::text("5m"));
    Some(Part { words, tables: vec![job, kind] })
}

/// What of the partitions could go, one day, if somebody says when.
pub fn old(facts: &Facts, found: &Found<'_>) -> Option<Part> {
    let rows: Vec<Row> = found.known.iter().map(|(table, inferred)| keep(table, inferred, facts)).collect();
    if rows.is_empty() {
        return None;
    }
    let words = vec![Line::words(
        "Old partitions. How long they are kept is nobody's guess: by law, by contract or by habit, the owner of the data knows. \
         A partition goes when all of it is older than `keep`: it is detached and dropped, or moved to another schema (`action = \
         \"archive\"`, `to`), never with CASCADE; with `export` it is written to a store and read back first.",
    )];
    let kind = Table::rows("old-partitions", "retention", "tables", rows);
    Some(Part { words, tables: vec![Table::job("old-partitions", "30 3 * * *", false), kind] })
}

fn keep(table: &TableFacts, inferred: &Inferred, facts: &Facts) -> Row {
    let now = facts.server.now;
    let name = table.table.plain();
    let mut words = Vec::new();
    if let Some((oldest, line)) = oldest(table, inferred) {
        let over = gone(table, inferred, now);
        words.push(Line::words(format!(
            "{name}: the oldest of its {} is {} old, from {line} ({}). Kept for 12 months, {over} would go at once.",
            counted(table.partitions.len(), "partition"),
            age(now, inferred.from.and_utc()),
            oldest.plain(),
        )));
    }
    let mut pairs = vec![("table", Value::text(&name)), ("keep", Value::text(HOW_LONG))];
    if let Some(trigger) = &table.immutable {
        words.push(Line::words(format!(
            "It refuses DELETE, by trigger {trigger}: so somebody meant it to stay. DETACH and DROP ask no trigger, which is why \
             it goes after an export only, if at all."
        )));
        pairs.push(("immutable", Value::text("drop-after-export")));
        pairs.push(("export", Value::text(WHICH_STORE)));
    }
    if let Some(known) = facts.tables.iter().find(|known| known.oid == table.oid) {
        for reference in &known.referenced_by {
            words.push(Line::words(format!(
                "Rows of {} refer to it: theirs go first, or theirs keep it.",
                reference.table.plain()
            )));
        }
    }
    Row { words, value: Value::Inline(pairs), active: false }
}

fn oldest<'a>(table: &'a TableFacts, inferred: &Inferred) -> Option<(&'a TableName, String)> {
    let key = Key::read(&table.key, inferred.key_format.as_ref()).ok()?;
    let cover = Cover::of(table, &key);
    let first = cover.stretches.iter().find(|stretch| stretch.from != FIRST && stretch.to != LAST)?;
    Some((&first.partition.name, first.from.format("%Y-%m-%d").to_string()))
}

/// How many partitions are older than twelve months.
fn gone(table: &TableFacts, inferred: &Inferred, now: DateTime<Utc>) -> String {
    let Ok(key) = Key::read(&table.key, inferred.key_format.as_ref()) else { return "some".into() };
    let cutoff = now - chrono::Months::new(12);
    let cover = Cover::of(table, &key);
    let mut over: Vec<u32> = Vec::new();
    let mut younger: Vec<u32> = Vec::new();
    for stretch in &cover.stretches {
        let ended = stretch.to != LAST && key.line().instant(stretch.to, inferred.zone) <= cutoff;
        if ended { &mut over } else { &mut younger }.push(stretch.partition.oid);
    }
    over.retain(|oid| !younger.contains(oid));
    over.dedup();
    if over.is_empty() { "none".into() } else { over.len().to_string() }
}

/// `22 months`, of something that began then.
fn age(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    let days = (now - then).num_days().max(0);
    match days {
        0..60 => counted(usize::try_from(days).unwrap_or_default(), "day"),
        60..1100 => format!("{} months", days * 12 / 365),
        _ => format!("{} years", days / 365),
    }
}

pub fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
