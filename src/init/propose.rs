//! What is proposed, and why. Pure: facts in, a draft out.

mod backup;
mod expire;
mod logs;
mod names;
mod partitions;
mod policies;
mod schedulers;
mod unlock;
mod views;

use super::draft::{Draft, Line, Part, Table, Value};
use super::facts::Facts;
use crate::kinds::Spec;
use crate::pg::TableName;

/// How the database is reached, as it is written down.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Without a password.
    pub url: String,
    pub password_file: Option<String>,
    /// Where the password came from, in words; nothing where none was needed, or none was given.
    pub password: Option<&'static str>,
}

/// Stands where only somebody who knows the application can say: no value, so that whoever takes the mark away has to.
pub const HOW_LONG: &str = "HOW LONG";
pub const HOW_WIDE: &str = "HOW WIDE";
pub const WHICH_STORE: &str = "WHICH STORE";

pub fn propose(facts: &Facts, way: &Way) -> Draft {
    let partitions = partitions::partitions(facts);
    let views = views::views(facts);
    let sessions = expire::sessions(facts);
    let mut parts = vec![database(facts, way), daemon()];
    parts.extend(partitions.part.clone());
    parts.extend(partitions::statistics(facts));
    parts.extend(views.clone());
    parts.extend(sessions.clone());
    parts.extend(health(facts));
    parts.push(backup::backup(facts));
    parts.extend(partitions::old(facts, &partitions));
    parts.extend(policies::policies(facts));
    parts.extend(logs::old_rows(facts));
    parts.extend(expire::others(facts));
    parts.extend(unlock::unlock(facts));
    parts.extend(logs::chains(facts));
    parts.extend(schedulers::schedulers(facts));
    let rights: Vec<Line> = [partitions.rights, expire::rights(facts), views::rights(facts)].concat();
    Draft { words: head(facts, rights), parts }
}

fn head(facts: &Facts, rights: Vec<Line>) -> Vec<Line> {
    let server = &facts.server;
    let mut words = vec![
        Line::words(format!(
            "Proposed by pgtend {} (`pgtend init`) on {}, from what database {:?} on PostgreSQL {} says of itself to role {:?}: its \
             catalog and its counters. No row of a table was read, but those of a table of retention policies and of pg_cron, if \
             there are such.",
            env!("CARGO_PKG_VERSION"),
            server.now.format("%Y-%m-%d"),
            server.database,
            server.version,
            server.role,
        )),
        Line::Blank,
        Line::words(
            "What is switched on is what the catalog proves, and loses nothing. The one thing that deletes is the job `sessions`, \
             if it is there. All else that could delete stands here switched off, with the reason: how long to keep something is \
             for its owner to say.",
        ),
        Line::Blank,
        Line::words(
            "A line that begins with # alone is config that is switched off: take the # away, from the whole of a job. Words in \
             capitals (HOW LONG) stand where you have to say; pgtend refuses them as they are.",
        ),
        Line::Blank,
        Line::words(
            "Then: `pgtend check` says what is missing, with the GRANT to run; `pgtend plan` what each job would do, changing nothing.",
        ),
    ];
    if server.standby {
        words.push(Line::Blank);
        words.push(Line::words(
            "This is a standby, where jobs that write are skipped. Add the primary's host to the url, and \
             target_session_attrs=read-write.",
        ));
    }
    let unwritable = unwritable(facts);
    if !unwritable.is_empty() {
        words.push(Line::Blank);
        words.push(Line::words(format!(
            "Left out, since a config could not name them (a name has 63 bytes in UTF-8): {}.",
            unwritable.join(", ")
        )));
    }
    if !rights.is_empty() {
        words.push(Line::Blank);
        words.push(Line::words(format!("What role {} lacks for what is switched on:", server.role)));
        words.extend(rights);
    }
    words
}

/// What no config can name: the server counts bytes in its own encoding.
fn unwritable(facts: &Facts) -> Vec<String> {
    let tables = facts.tables.iter().map(|table| &table.name);
    let names = tables.chain(facts.views.iter().map(|view| &view.name));
    names.filter(|name| !writable(name)).map(TableName::plain).collect()
}

fn writable(name: &TableName) -> bool {
    name.plain().parse::<TableName>().is_ok_and(|read| read == *name)
}

fn database(facts: &Facts, way: &Way) -> Part {
    let name = database_name(&facts.server.database);
    let mut table = Table::new(&["databases", &name], true).with("url", Value::text(&way.url));
    table = match (&way.password_file, way.password) {
        (Some(file), _) => table.with("password_file", Value::text(file)),
        (None, password) => {
            let from = password
                .map_or_else(String::new, |from| format!("The password came from {from}, and is not written here. "));
            let words = vec![Line::words(format!(
                "{from}For the daemon: a file that only its user can read, or PGPASSFILE or ~/.pgpass, as with psql."
            ))];
            table.without("password_file", Value::text("/etc/pgtend/db-password"), words)
        }
    };
    Part { words: Vec::new(), tables: vec![table] }
}

/// A name that a config may give a database, made of the one it has.
pub fn database_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(letter).take(40).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "main".into() } else { name.into() }
}

fn daemon() -> Part {
    let http = Table::new(&["http"], true).with("listen", Value::text("127.0.0.1:9934"));
    let words =
        vec![Line::words("In which a day begins and a schedule is read, unless a job or a table says otherwise.")];
    let mut defaults = Table::new(&["defaults"], true).with("timezone", Value::text("UTC"));
    defaults.entries[0].words = words;
    Part { words: Vec::new(), tables: vec![http, defaults] }
}

/// The one place where a job of kind `health` is proposed: as soon as there is that kind, and not before.
fn health(facts: &Facts) -> Option<Part> {
    if !Spec::NAMES.contains(&"health") {
        return None;
    }
    let mut words = vec![Line::words(
        "Sizes, indexes, statements, the age of transactions, replication slots, WAL and partitions, as metrics. It reads only.",
    )];
    let timed = facts.server.extensions.contains("pg_stat_statements");
    let collect = [
        ("table_sizes", true),
        ("index_usage", true),
        ("slow_queries", timed),
        ("wraparound", true),
        ("replication_slots", true),
        ("long_transactions", true),
        ("wal_archiving", true),
        ("partitions", !facts.partitioned.is_empty()),
    ];
    if !timed {
        words.push(Line::words(
            "Not slow_queries: this database has not made pg_stat_statements, and without it no statement is timed.",
        ));
    }
    let collect = collect.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| Value::text(name));
    let kind = Table::new(&["jobs", "health", "health"], true).with("collect", Value::List(collect.collect()));
    Some(Part { words, tables: vec![Table::job("health", "*/15 * * * *", true), kind] })
}

#[cfg(test)]
mod tests;
