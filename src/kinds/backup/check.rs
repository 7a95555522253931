//! What would keep a dump from being made, or from being whole.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::config::Backup;
use super::crypt::Identities;
use super::directory;
use super::plan::{Action, Dump, Facts, others, plan};
use super::survey::{Absent, Names};
use super::words;
use crate::pg::{Ident, Session, TableName, explain};
use crate::run::{Finding, Severity};

/// A table or sequence that a dump would fail at.
struct Trouble {
    table: TableName,
    what: What,
    closed: bool,
    unreadable: bool,
    hidden: bool,
    role: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Table,
    Sequence,
}

/// # Errors
/// The server does not answer.
pub async fn privileges(session: &Session, backup: &Backup, names: &Names) -> Result<Vec<Finding>> {
    let rows = session.query(include_str!("check.sql"), &[]).await.context("look at privileges")?;
    let mut troubles = Vec::new();
    for row in rows {
        let table = TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?;
        let trouble = Trouble {
            table,
            what: if row.get::<_, String>("kind") == "S" { What::Sequence } else { What::Table },
            closed: row.get("closed"),
            unreadable: row.get("unreadable"),
            hidden: row.get("hidden"),
            role: row.get("role"),
        };
        if takes(backup, names, &trouble.table) {
            troubles.push(trouble);
        }
    }
    let mut found = findings(&troubles);
    if backup.is_whole() {
        found.extend(locks(session).await?);
    }
    Ok(found)
}

/// Whether a dump, which locks all tables at once, has room for that.
async fn locks(session: &Session) -> Result<Option<Finding>> {
    let row = session.query_one(include_str!("locks.sql"), &[]).await.context("count the locks of a dump")?;
    let (tables, each, transactions): (i64, i64, i64) =
        (row.get("tables"), row.get("per_transaction"), row.get("transactions"));
    if tables <= each * transactions {
        return Ok(None);
    }
    let message = format!(
        "a dump locks {tables} tables, and the server has room for {} locks (max_locks_per_transaction = {each}, times \
         {transactions} transactions): it may fail with \"out of shared memory\" (53200), or others beside it",
        each * transactions
    );
    // A quarter more, for what others lock meanwhile.
    let enough = (tables * 5 / 4) / transactions.max(1) + 1;
    let mend = format!("set max_locks_per_transaction = {enough} or more in postgresql.conf, and restart the server");
    Ok(Some(Finding::warning(message, mend)))
}

/// Whether the dump reads it.
pub fn takes(backup: &Backup, names: &Names, table: &TableName) -> bool {
    (backup.schemas.is_empty() || backup.schemas.contains(&table.schema))
        && !backup.exclude_schemas.contains(&table.schema)
        && (names.tables.is_empty() || names.tables.contains(table))
        && !names.exclude_tables.contains(table)
}

fn findings(troubles: &[Trouble]) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(role) = troubles.first().map(|trouble| &trouble.role) else { return found };
    let mut closed: BTreeMap<&Ident, usize> = BTreeMap::new();
    for trouble in troubles.iter().filter(|trouble| trouble.closed) {
        *closed.entry(&trouble.table.schema).or_default() += 1;
    }
    for schema in closed.keys() {
        found.push(Finding::error(
            format!("role {role} may not use schema {schema}, so a dump fails"),
            format!("GRANT USAGE ON SCHEMA {schema} TO {role}; or, for all of the database, GRANT pg_read_all_data TO {role} (PostgreSQL 14)"),
        ));
    }
    for (kind, what, grant) in [(What::Table, "table", "TABLES"), (What::Sequence, "sequence", "SEQUENCES")] {
        let unreadable: Vec<_> = troubles.iter().filter(|trouble| trouble.unreadable && trouble.what == kind).collect();
        if let Some(first) = unreadable.first() {
            found.push(Finding::error(
                format!("role {role} may not read {}, so a dump fails", several(&unreadable, what)),
                format!(
                    "GRANT SELECT ON ALL {grant} IN SCHEMA {} TO {role}; or, for all of the database and what comes, \
                     GRANT pg_read_all_data TO {role} (PostgreSQL 14)",
                    first.table.schema
                ),
            ));
        }
    }
    let hidden: Vec<_> = troubles.iter().filter(|trouble| trouble.hidden).collect();
    if !hidden.is_empty() {
        found.push(Finding::error(
            format!("row security hides rows of {} from role {role}, so a dump fails", several(&hidden, "table")),
            format!("ALTER ROLE {role} BYPASSRLS"),
        ));
    }
    found
}

fn several(troubles: &[&Trouble], what: &str) -> String {
    let first = troubles.first().map(|trouble| trouble.table.plain()).unwrap_or_default();
    match troubles.len() {
        1 => format!("{what} {first}"),
        n => format!("{n} {what}s, {first} among them"),
    }
}

/// What the config names and is not there: what was to be dumped keeps any dump from being made, what was to be left out
/// is not.
pub fn absences(names: &Names) -> Vec<Finding> {
    let finding = |absent: &Absent| {
        if absent.is_wanted() {
            Finding::error(absent.said(), Absent::MEND)
        } else {
            Finding::warning(absent.said(), Absent::MEND)
        }
    };
    names.absent.iter().map(finding).collect()
}

/// What a run would be like: sizes, memory, and what the config leaves out.
pub fn prospects(backup: &Backup, facts: Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in &facts.seen {
        if let Ok(shelf) = &seen.shelf {
            for (id, why) in &shelf.unreadable {
                found.push(Finding::warning(
                    format!("{}: the backup {id} is left alone: {why}", seen.place),
                    "look at its manifest.json; delete the folder if it is of no use",
                ));
            }
            if let Some(others) = others(shelf, &facts.server.identity()) {
                let mend = "`pgtend backup list` shows them; delete their folders when they are of no use any more";
                found.push(Finding::warning(format!("{}: {others}", seen.place), mend));
            }
        }
    }
    if !backup.schemas.is_empty() || !backup.tables.is_empty() {
        found.push(Finding::warning(
            "the dump is of chosen schemas or tables: it lacks extensions, large objects, and whatever else they need",
            "keep a dump of the whole database for recovery",
        ));
    }
    found.extend(keys(backup));
    if backup.globals && !facts.server.reads_passwords {
        found.push(Finding::warning(
            "globals.sql will have the roles without their passwords, which only a superuser or a member of pg_read_all_data may read",
            "have the passwords ready elsewhere, or set `globals = false`",
        ));
    }
    if facts.names.see_that_all_are_there().is_err() {
        return found;
    }
    let folder = facts.tools.folder.display().to_string();
    for action in plan(facts).actions {
        let Action::Dump(dump) = action else { continue };
        let message = format!(
            "dumps {} (PostgreSQL {}) with pg_dump {} of {folder}, about {} as stored in parts of {}, with up to {} of memory",
            dump.server.database,
            dump.server.version,
            dump.tools.version,
            words::size(dump.expected),
            words::size(dump.part_size as u64),
            words::size(dump.memory()),
        );
        found.push(Finding { severity: Severity::Ok, span: None, message, mend: String::new() });
        found.extend(unsaid_spool(backup));
        found.extend(spool(backup, &dump));
    }
    found
}

/// What the config leaves open of the place where a dump lies before it is stored. It asks the file system.
fn unsaid_spool(backup: &Backup) -> Option<Finding> {
    let (spooling, span) = (backup.spooling()?, backup.format.as_ref()?.span());
    let folder = spooling.folder.display();
    let free = directory::spool::free(&spooling.folder).map_or_else(|_| "nobody knows how much".into(), words::size);
    let most = spooling.limit().map_or_else(|_| "half of it".into(), words::size);
    let (message, mend) = match (&backup.spool, &backup.spool_max) {
        (Some(_), Some(_)) => return None,
        (None, _) => (
            format!(
                "spool is not set: a dump lies in {folder} until it is stored, and may take {most} of the {free} that are free"
            ),
            "set `spool` to a folder on a disk with room for a dump as it is before it is packed, and `spool_max` to what it may take there",
        ),
        (Some(_), None) => (
            format!(
                "spool_max is not set: a dump may take half of what is free in {folder} when it begins, now {most}"
            ),
            "set `spool_max` to what it may take there",
        ),
    };
    Some(Finding::warning(message, mend).at(span))
}

/// Whether there is room for the dump where it lies before it is stored. It asks the file system.
fn spool(backup: &Backup, dump: &Dump) -> Option<Finding> {
    let spooling = backup.spooling()?;
    let span = backup.spool.as_ref().map(toml::Spanned::span).or_else(|| Some(backup.format.as_ref()?.span()))?;
    let need = directory::dump::need(backup, dump)?;
    let looked = directory::spool::free(&spooling.folder)
        .and_then(|free| directory::spool::enough(&spooling, need, free).map(|()| free));
    Some(match looked {
        Ok(free) => {
            let message = format!(
                "needs about {} in {}, where {} are free, until it is stored",
                words::size(need.bytes),
                spooling.folder.display(),
                words::size(free)
            );
            Finding { severity: Severity::Ok, span: None, message, mend: String::new() }
        }
        Err(error) => {
            let mend =
                "make room, name another `spool`, or raise `spool_max`; or use the format \"custom\", which needs none";
            Finding::error(explain(&error), mend).at(span)
        }
    })
}

/// Whether what is written now can be read with the key at hand. It reads a small file.
fn keys(backup: &Backup) -> Option<Finding> {
    let (file, span) = (backup.identity_file()?, backup.identity_file.as_ref()?.span());
    let found = match (Identities::read(file), backup.keys()) {
        (Err(error), _) => Finding::error(
            format!("{}, so encrypted backups cannot be read back", explain(&error)),
            "name a file that `age-keygen -o` has written, readable for pgtend alone; or leave `identity_file` out",
        ),
        (Ok(identities), Ok(keys)) if !keys.is_empty() && !identities.fit(&keys) => Finding::warning(
            format!(
                "no identity of {} belongs to a key of `encrypt_to`: what is written now cannot be read with it",
                file.display()
            ),
            "name its public key (`age-keygen -y FILE` prints it) in `encrypt_to`, or another file",
        ),
        (Ok(identities), Ok(keys)) if !keys.is_empty() && identities.fit_all(&keys) => Finding::warning(
            format!(
                "{} has the identity of every key of `encrypt_to`: when this host is lost, so is what opens the backups",
                file.display()
            ),
            "name a second key in `encrypt_to`, whose identity is kept elsewhere",
        ),
        _ => return None,
    };
    Some(found.at(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(name: &str) -> Trouble {
        let table = TableName::new("public", name).unwrap();
        Trouble { table, what: What::Table, closed: false, unreadable: false, hidden: false, role: "backup".into() }
    }

    #[test]
    fn each_kind_of_trouble_is_told_once_with_its_mend() {
        let troubles = [
            Trouble { unreadable: true, ..trouble("a") },
            Trouble { unreadable: true, ..trouble("b") },
            Trouble { unreadable: true, what: What::Sequence, ..trouble("s") },
            Trouble { hidden: true, ..trouble("c") },
            trouble("d"),
        ];
        let said: Vec<_> = findings(&troubles).iter().map(|f| format!("{}: {}", f.message, f.mend)).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("2 tables, public.a among them"), "{said:?}");
        assert!(said[1].contains("sequence public.s") && said[1].contains("SEQUENCES"), "{said:?}");
        assert!(said[2].contains("table public.c") && said[2].contains("BYPASSRLS"), "{said:?}");
        assert!(findings(&[trouble("d")]).is_empty());
    }
}
