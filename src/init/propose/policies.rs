//! A table of the database that says how long others keep their rows.

use super::expire::written;
use super::writable;
use crate::init::draft::{Line, Part, Row, Table as Toml, Value};
use crate::init::facts::{Facts, HeldPolicy, PolicyTable, Table};

pub fn policies(facts: &Facts) -> Vec<Part> {
    let found = facts.policies.iter().filter(|policies| writable(&policies.table));
    found.enumerate().map(|(at, policies)| part(facts, policies, at)).collect()
}

fn part(facts: &Facts, policies: &PolicyTable, at: usize) -> Part {
    let table = policies.table.plain();
    let mut words = vec![Line::words(format!(
        "Policies that stand in {table}: kind retention carries them out as they are there, and tells the table when. Off, since it \
         moves and deletes what they name."
    ))];
    let held = match &policies.held {
        Ok(held) => {
            words.push(Line::words(if held.is_empty() { "It holds none." } else { "What it holds:" }));
            held.as_slice()
        }
        Err(why) => {
            words.push(Line::words(format!("What it holds could not be read: {why}.")));
            &[]
        }
    };
    let exceptions: Vec<Row> = held.iter().filter_map(|policy| exception(facts, policy)).collect();
    words.extend(held.iter().map(|policy| Line::code(said(policy))));
    let name = if at == 0 { "policies".into() } else { format!("policies-{}", at + 1) };
    let mut kind = Toml::new(&["jobs", &name, "retention", "policies"], false).with("table", Value::text(&table));
    let columns = &policies.columns;
    let called = [
        ("table_name", Some(&columns.table_name)),
        ("retention_days", Some(&columns.retention_days)),
        ("archive_enabled", columns.archive_enabled.as_ref()),
        ("delete_enabled", columns.delete_enabled.as_ref()),
    ];
    for (key, column) in called {
        match column {
            Some(column) if column.as_str() == key => {}
            Some(column) => kind = kind.with(key, Value::text(written(column))),
            None => words.push(Line::words(format!("It has no column like {key}, which the kind asks for."))),
        }
    }
    if held.iter().any(|policy| policy.archive == Some(true)) {
        let to = if facts.server.has_archive { "archive" } else { "WHICH SCHEMA" };
        kind = kind.with("to", Value::text(to));
    }
    if !exceptions.is_empty() {
        kind = kind.with("except", Value::Rows(exceptions));
    }
    Part { words, tables: vec![Toml::job(&name, "0 1 * * *", false), kind] }
}

/// `agent_outputs: 90 days, archive`
fn said(policy: &HeldPolicy) -> String {
    let days = policy.days.map_or_else(|| "no number of days".into(), |days| format!("{days} days"));
    let what = match (policy.archive, policy.delete) {
        (Some(true), _) => ", then moved to the archive",
        (Some(false), Some(true)) => ", then deleted",
        (Some(false), Some(false)) => ", then neither moved nor deleted",
        _ => "",
    };
    format!("{}: {days}{what}", policy.table)
}

/// Of a table without a time of its own, the table that has it: the only one it refers to that does.
fn exception(facts: &Facts, policy: &HeldPolicy) -> Option<Row> {
    let name = policy.table.rsplit('.').next()?;
    let mut named =
        facts.tables.iter().filter(|table| table.name.name.as_str() == name && table.name.schema.as_str() != "archive");
    let table = named.next().filter(|_| named.next().is_none())?;
    if table.column("created_at").is_some() || !writable(&table.name) {
        return None;
    }
    let parents = table.references.iter().filter(|reference| reference.columns.len() == 1);
    let mut parents = parents.filter_map(|reference| {
        let parent = facts.tables.iter().find(|parent| parent.oid == reference.to)?;
        has_time(parent).then_some((parent, &reference.columns[0]))
    });
    let (parent, key) = parents.next().filter(|_| parents.next().is_none())?;
    let from = vec![
        ("table", Value::text(parent.plain())),
        ("key", Value::text(written(key))),
        ("column", Value::text("created_at")),
    ];
    let words = vec![Line::words(format!(
        "{} has no created_at: a row is as old as the row of {} that it refers to.",
        table.plain(),
        parent.plain()
    ))];
    let pairs = vec![("table", Value::text(table.plain())), ("age_from", Value::Inline(from))];
    Some(Row { words, value: Value::Inline(pairs), active: true })
}

fn has_time(table: &Table) -> bool {
    table.column("created_at").is_some_and(|column| column.is_time())
}
