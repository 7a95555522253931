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

#[cfg(test)]
mod tests {
    use super::super::tests::{all_on, jobs, shown, table, with};

    #[test]
    fn whoever_is_locked_out_is_let_in_again_and_stays() {
        let statements = |columns: &str| {
            let text = shown(&with(vec![table(&format!("auth.users: id uuid!, {columns}"))]));
            assert_eq!(jobs(&text), Vec::<String>::new(), "{text}");
            let config: toml::Table = all_on(&text).parse().unwrap();
            let Some(job) = config["jobs"].get("unlock") else { return Vec::new() };
            assert!(job.get("schedule").is_some(), "{text}");
            let statements = job["sql"]["statements"].as_array().unwrap();
            statements.iter().map(|statement| statement.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            statements("failed_login_attempts integer, locked_until timestamptz"),
            [
                r#"UPDATE "auth"."users" SET "locked_until" = NULL, "failed_login_attempts" = 0 WHERE "locked_until" < now()"#
            ]
        );
        assert_eq!(statements("lockout_end date").len(), 1);
        assert_eq!(statements("locked_until timestamptz!").len() + statements("locked_until integer").len(), 0);
    }
}
