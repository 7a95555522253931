//! People who are locked out until a time: the row stays, and the lock goes.

use super::names;
use super::writable;
use crate::init::draft::{Line, Part, Table as Toml, Value};
use crate::init::facts::{Column, Facts, Table};

pub fn unlock(facts: &Facts) -> Option<Part> {
    let mut words = vec![Line::words(
        "Locks that end by the name of a column. An application that compares it with the time has let whoever it is in again, and \
         needs no job; one that only looks whether it is NULL does. Off, since only its owner knows which, and whether the count \
         of failures is to begin anew.",
    )];
    let mut statements = Vec::new();
    for table in facts.tables.iter().filter(|table| writable(&table.name)) {
        // One that is never NULL has some other way of saying that nobody is locked out.
        let is_lock = |column: &&Column| names::is_lock(column.name.as_str()) && column.is_time() && !column.not_null;
        for column in table.columns.iter().filter(is_lock) {
            if column.type_name != "timestamp with time zone" {
                words.push(Line::words(format!(
                    "{}, {}: it is a {}, which the job reads as a time in UTC.",
                    table.plain(),
                    column.name.as_str(),
                    column.type_name
                )));
            }
            statements.push(Value::text(statement(table, column)));
        }
    }
    if statements.is_empty() {
        return None;
    }
    let kind = Toml::new(&["jobs", "unlock", "sql"], false).with("statements", Value::List(statements));
    Some(Part { words, tables: vec![Toml::job("unlock", "*/15 * * * *", false), kind] })
}

fn statement(table: &Table, lock: &Column) -> String {
    let attempts =
        table.columns.iter().filter(|column| names::is_of_attempts(column.name.as_str()) && column.is_whole());
    let attempts: String = attempts.map(|column| format!(", {} = 0", column.name)).collect();
    format!("UPDATE {} SET {} = NULL{attempts} WHERE {} < now()", table.name, lock.name, lock.name)
}
