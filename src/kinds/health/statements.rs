//! Whether `pg_stat_statements` can be read, and what to do where it cannot. Pure, but for the asking.

use anyhow::{Context as _, Result};

use crate::pg::{Ident, Session};

/// What is there of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// The schema of the extension and its version, where this database has it.
    pub made: Option<(Ident, String)>,
    pub may_enter: bool,
    /// The server has loaded it when it started.
    pub loaded: bool,
    pub may_read: bool,
}

/// Why nothing is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Somebody has decided so, or not yet otherwise: no failure.
    Absent {
        why: String,
        mend: String,
    },
    Forbidden {
        why: String,
        mend: String,
    },
}

const PRELOAD: &str = "add it to shared_preload_libraries and restart the server";
const CREATE: &str = "CREATE EXTENSION pg_stat_statements";

impl There {
    /// The schema to read it from.
    ///
    /// # Errors
    /// It is not there, or not for the role.
    pub fn usable(&self, role: &str) -> Result<&Ident, Unusable> {
        let absent = |why: &str, mend: String| Unusable::Absent { why: why.into(), mend };
        let forbidden = |why: String, mend: String| Unusable::Forbidden { why, mend };
        match (&self.made, self.loaded) {
            (None, false) => Err(absent(
                "pg_stat_statements is neither loaded nor made in this database: no statement is timed",
                format!("{PRELOAD}; then, in this database, {CREATE}"),
            )),
            (None, true) => Err(absent(
                "the server has loaded pg_stat_statements, and this database has not made it",
                format!("in this database, {CREATE}"),
            )),
            (Some(_), false) => Err(absent(
                "this database has made pg_stat_statements, and the server has not loaded it: it can be asked nothing",
                PRELOAD.into(),
            )),
            (Some(_), true) if !self.may_read => Err(forbidden(
                format!("role {role} may not see the statements of other roles"),
                format!("GRANT pg_monitor TO {role} (pg_read_all_stats is enough)"),
            )),
            (Some((schema, _)), true) if !self.may_enter => Err(forbidden(
                format!("role {role} may not use schema {}, in which pg_stat_statements is", schema.as_str()),
                format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
            )),
            (Some((schema, _)), true) => Ok(schema),
        }
    }

    /// Whether its columns are those of before 1.8, which an upgraded server has until `ALTER EXTENSION … UPDATE`.
    pub fn is_before_1_8(&self) -> bool {
        let Some((_, version)) = &self.made else { return false };
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
        (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0)) < (1, 8)
    }
}

/// # Errors
/// The server does not answer.
pub async fn there(session: &Session) -> Result<There> {
    let row =
        session.query_one(include_str!("statements_there.sql"), &[]).await.context("look for pg_stat_statements")?;
    let schema = row.get::<_, Option<String>>("schema").map(Ident::found).transpose()?;
    Ok(There {
        made: schema.zip(row.get("version")),
        may_enter: row.get::<_, Option<bool>>("may_enter").unwrap_or(false),
        loaded: row.get("loaded"),
        may_read: row.get("may_read"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(version: Option<&str>, loaded: bool, may_read: bool, may_enter: bool) -> There {
        let made = version.map(|version| (Ident::new("public").unwrap(), version.to_string()));
        There { made, may_enter, loaded, may_read }
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let check = |there: There, forbidden: bool, expect: &str| {
            let said = match there.usable("watcher") {
                Ok(schema) => schema.to_string(),
                Err(Unusable::Absent { why, mend }) if !forbidden => format!("{why}; {mend}"),
                Err(Unusable::Forbidden { why, mend }) if forbidden => format!("{why}; {mend}"),
                Err(other) => panic!("{other:?}"),
            };
            assert!(said.contains(expect), "{said} does not say {expect}");
        };
        check(there(None, false, true, true), false, "then, in this database, CREATE EXTENSION");
        check(there(None, true, true, true), false, "in this database, CREATE EXTENSION pg_stat_statements");
        check(there(Some("1.10"), false, true, true), false, "shared_preload_libraries");
        check(there(Some("1.10"), true, false, true), true, "GRANT pg_monitor TO watcher");
        check(there(Some("1.10"), true, true, false), true, "GRANT USAGE ON SCHEMA \"public\" TO watcher");
        check(there(Some("1.10"), true, true, true), false, "\"public\"");
    }

    #[test]
    fn versions_are_numbers() {
        for (version, before) in [("1.7", true), ("1.8", false), ("1.10", false), ("2.0", false), ("1.4", true)] {
            assert_eq!(there(Some(version), true, true, true).is_before_1_8(), before, "{version}");
        }
    }
}
