//! Tables that are written to and not changed: how long they are kept, and whether their chain of hashes holds.

use super::expire::{beside, size, written, written_at};
use super::names::{self, snake};
use super::{HOW_LONG, writable};
use crate::init::draft::{Line, Part, Row, Table as Toml, Value};
use crate::init::facts::{Column, Facts, Partitioned, Table};
use crate::kinds::partitions::facts::Strategy;
use crate::pg::Ident;

/// By how many times more rows are inserted than changed or deleted where nobody changes them.
const RARELY: i64 = 20;

pub fn old_rows(facts: &Facts) -> Option<Part> {
    let mut rows = Vec::new();
    let policies = |table: &Table| facts.policies.iter().any(|policies| policies.table == table.name);
    let candidates = facts.tables.iter().filter(|table| !by_partition(table, facts) && !policies(table));
    for table in candidates.filter(|table| writable(&table.name)) {
        let Some(time) = written_at(table) else { continue };
        let Some(why) = why(table) else { continue };
        let mut words = vec![Line::words(format!("{}: {why}.", table.plain()))];
        words.extend(size(table, facts));
        let mut remarks = beside(table);
        if !time.not_null {
            remarks.push(format!("{} may be NULL, and such a row is never old", time.name.as_str()));
        }
        if !table.indexed.contains(&time.name) {
            remarks
                .push(format!("no index begins with {}, so that each run reads the whole table", time.name.as_str()));
        }
        let state = table.columns.iter().find(|column| {
            matches!(
                snake(column.name.as_str()).as_str(),
                "status" | "state" | "acknowledged" | "resolved" | "processed"
            )
        });
        if let Some(state) = state {
            remarks.push(format!(
                "{} may say that something is still to come of a row: leave those out with `where`",
                state.name.as_str()
            ));
        }
        if let Some(summary) = summary(table, facts) {
            remarks.push(format!(
                "{} looks like a summary of it: kind summarize counts rows there in the statement that deletes them",
                summary.plain()
            ));
        }
        if !remarks.is_empty() {
            words.push(Line::words(format!("Look at this first: {}.", remarks.join("; "))));
        }
        let pairs = vec![
            ("table", Value::text(table.plain())),
            ("keep", Value::text(HOW_LONG)),
            ("column", Value::text(written(&time.name))),
        ];
        rows.push(Row { words, value: Value::Inline(pairs), active: false });
    }
    if rows.is_empty() {
        return None;
    }
    let words = vec![Line::words(
        "Tables that only grow, by their names or by their shape. Whether their rows may go, and when, their owner knows: some of \
         them may be meant to stay for ever. Rows are deleted in small batches, or moved to another table (`action = \"archive\"`, \
         `to = \"archive.NAME\"`).",
    )];
    let job = Toml::job("old-rows", "30 2 * * *", false).with("timeout", Value::text("3h"));
    Some(Part { words, tables: vec![job, Toml::rows("old-rows", "retention", "tables", rows)] })
}

/// Whether its rows go by whole partitions.
fn by_partition(table: &Table, facts: &Facts) -> bool {
    let is_it = |one: &&Partitioned| one.facts.oid == table.oid;
    table.partitioned && facts.partitioned.iter().find(is_it).is_none_or(|one| one.facts.key.strategy != Strategy::Hash)
}

/// Why it looks as if nobody changed its rows.
fn why(table: &Table) -> Option<String> {
    let counters = table.counters;
    let changed = counters.updated + counters.deleted;
    if names::is_log(table.name.name.as_str()) {
        let often = counters.updated > counters.inserted / 2 && counters.updated > 0;
        return Some(if often {
            "a log by its name, whose rows are changed all the same".into()
        } else {
            "a log by its name".into()
        });
    }
    let key = table.primary_key.iter().filter_map(|name| table.columns.iter().find(|column| column.name == *name));
    let generated = table.primary_key.len() == 1 && key.clone().all(|column| column.given);
    let other = |column: &Column| names::is_of_change(column.name.as_str()) || names::is_expiry(column.name.as_str());
    let shape = generated
        && table.unique.is_empty()
        && table.referenced_by.is_empty()
        && !table.columns.iter().any(other)
        && changed * RARELY <= counters.inserted.max(RARELY * 2);
    shape.then(|| {
        "by its shape: a key that the server gives, a time, nothing that refers to it, nothing that is unique, no column for a \
         change"
            .into()
    })
}

/// `error_log_summary` beside `error_log`.
fn summary<'a>(table: &Table, facts: &'a Facts) -> Option<&'a Table> {
    let name = table.name.name.as_str();
    facts.tables.iter().find(|other| {
        let rest = other.name.name.as_str().strip_prefix(name);
        other.name.schema == table.name.schema
            && matches!(rest, Some("_summary" | "_summaries" | "_daily" | "_by_day" | "_stats"))
    })
}

/// Logs in which each row has the hash of the one before.
pub fn chains(facts: &Facts) -> Option<Part> {
    let mut tables = Vec::new();
    for table in facts.tables.iter().filter(|table| writable(&table.name)) {
        let Some((hash, previous)) = links(table) else { continue };
        let Some(order) = order(table) else { continue };
        let name = if tables.is_empty() { "chain".into() } else { format!("chain-{}", tables.len() / 2 + 1) };
        tables.push(Toml::job(&name, "0 5 * * 0", false));
        let kind = Toml::new(&["jobs", &name, "verify_chain"], false)
            .with("table", Value::text(table.plain()))
            .with("order_by", Value::text(written(order)))
            .with("hash", Value::text(written(hash)))
            .with("previous", Value::text(written(previous)));
        tables.push(kind);
    }
    if tables.is_empty() {
        return None;
    }
    let words = vec![Line::words(
        "Chains of hashes: by the names of its columns each row has the hash of the one before. The job follows the chain and \
         fails where a link is missing; it reads only. Off, since it reads the whole table in one transaction, which keeps VACUUM \
         from what is deleted meanwhile, and since nothing proves that these are the columns.",
    )];
    Some(Part { words, tables })
}

fn links(table: &Table) -> Option<(&Ident, &Ident)> {
    const PREVIOUS: &[&str] = &[
        "prev_hash",
        "previous_hash",
        "prev_signature",
        "previous_signature",
        "prev_digest",
        "previous_digest",
        "hash_prev",
        "parent_hash",
    ];
    const OWN: &[&str] = &[
        "hash",
        "row_hash",
        "entry_hash",
        "record_hash",
        "event_hash",
        "current_hash",
        "signature",
        "digest",
        "chain_hash",
    ];
    let find = |names: &[&str]| {
        names.iter().find_map(|name| table.columns.iter().find(|column| snake(column.name.as_str()) == **name))
    };
    Some((&find(OWN)?.name, &find(PREVIOUS)?.name))
}

/// The column by which the rows are more or less in the order of the chain: a number of the key, or else a time.
fn order(table: &Table) -> Option<&Ident> {
    let key = |name: &&Ident| table.columns.iter().any(|column| column.name == **name && column.is_whole());
    table.primary_key.iter().find(key).or_else(|| written_at(table).map(|column| &column.name))
}
