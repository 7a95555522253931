//! The roles of a backup, made where they are missing. A role that is there belongs to the server's owner: its password,
//! attributes and memberships stay as they are. Tablespaces are directories of a machine, and are left to people.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow};
use tokio_postgres::Client;

use super::target::literal;
use crate::kinds::backup::read::{self, Source};
use crate::kinds::backup::words::size;
use crate::pg::ident::quoted_name;
use crate::pg::{Ident, split, words};

/// Roles are kilobytes.
const MOST: u64 = 64 << 20;

/// What came of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Made {
    pub created: Vec<String>,
    pub skipped: Vec<String>,
}

/// The roles as SQL, once they were seen to be what had been written.
///
/// # Errors
/// The store cannot be read, or what it has is damaged.
pub async fn read(source: Source<'_>) -> Result<String> {
    if source.object.raw_size > MOST {
        return Err(anyhow!("it has {}, and so is none of pgtend's", size(source.object.raw_size)));
    }
    let mut sql = Vec::new();
    read::read(source, async |raw| {
        while let Some(chunk) = raw.recv().await {
            sql.extend_from_slice(&chunk);
        }
        Ok(())
    })
    .await?;
    String::from_utf8(sql)
        .map_err(|_| anyhow!("it is not in UTF-8: `pgtend backup fetch --globals`, then psql, restores it"))
}

/// Makes the roles, all of them or none.
///
/// # Errors
/// The role we are may not, or the text is not what `pg_dumpall` writes.
pub async fn make(client: &Client, globals: &str) -> Result<Made> {
    make_and(client, globals, |_| String::new()).await
}

/// The same for a while: nobody can log in as them, and a comment tells what they are.
///
/// # Errors
/// Those of [`make`].
pub async fn make_for_a_test(client: &Client, globals: &str, comment: &str) -> Result<Made> {
    let comment = literal(comment);
    make_and(client, globals, |role| {
        format!("ALTER ROLE {role} NOLOGIN PASSWORD NULL; COMMENT ON ROLE {role} IS {comment}")
    })
    .await
}

/// The roles that the server does not have.
///
/// # Errors
/// It does not answer.
pub async fn missing(client: &Client, globals: &str) -> Result<Vec<String>> {
    Ok(chosen(globals, &existing(client).await?).1.created)
}

async fn existing(client: &Client) -> Result<BTreeSet<String>> {
    let rows =
        client.query("SELECT r.rolname::text FROM pg_catalog.pg_roles r", &[]).await.context("look up the roles")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn make_and(client: &Client, globals: &str, after: impl Fn(&Ident) -> String) -> Result<Made> {
    let (statements, made) = chosen(globals, &existing(client).await?);
    if statements.is_empty() {
        return Ok(made);
    }
    // Passwords stand in them: the server's own log is kept from them where the role may do that.
    for quiet in ["log_statement = 'none'", "log_min_duration_statement = -1", "log_min_error_statement = 'panic'"] {
        if let Err(error) = client.batch_execute(&format!("SET {quiet}")).await {
            tracing::debug!("SET {quiet} is not for this role: {}", words::said(&error));
        }
    }
    client.batch_execute("BEGIN").await?;
    for Statement { about, text } in statements {
        // The text is told to nobody.
        client.batch_execute(text).await.with_context(|| format!("restore role {about:?}; no role was made"))?;
    }
    for role in &made.created {
        let sql = after(&Ident::found(role.as_str())?);
        client.batch_execute(&sql).await.with_context(|| format!("restore role {role:?}; no role was made"))?;
    }
    client.batch_execute("COMMIT").await.context("restore the roles")?;
    Ok(made)
}

/// A statement of `globals.sql` that is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Statement<'a> {
    /// The role it is about.
    about: String,
    text: &'a str,
}

/// Those that make roles that are missing, or are about what is made.
fn chosen<'a>(globals: &'a str, existing: &BTreeSet<String>) -> (Vec<Statement<'a>>, Made) {
    let mut made = Made::default();
    let mut statements = Vec::new();
    let all: Vec<(&str, Vec<String>)> =
        split::statements(globals).into_iter().map(without_meta).map(|text| (text, words(text, 6))).collect();
    for (_, words) in &all {
        if let [create, role, name, ..] = words.as_slice()
            && (create.as_str(), role.as_str()) == ("CREATE", "ROLE")
        {
            let list = if existing.contains(name) { &mut made.skipped } else { &mut made.created };
            list.push(name.clone());
        }
    }
    for (text, words) in &all {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let is_new = |name: &str| made.created.iter().any(|created| created == name);
        let about = match words.as_slice() {
            ["CREATE" | "ALTER", "ROLE", name, ..] | ["COMMENT", "ON", "ROLE", name, ..] if is_new(name) => name,
            // What is new may be given to whoever is there: without it they had less than they were meant to have.
            ["GRANT", role, "TO", member, ..] if is_new(role) || is_new(member) => member,
            _ => continue,
        };
        statements.push(Statement { about: (*about).to_owned(), text });
    }
    (statements, made)
}

/// Newer versions begin and end with a line for psql, `\restrict` and a key.
fn without_meta(statement: &str) -> &str {
    let mut rest = statement.trim_start();
    loop {
        let line = rest.lines().next().unwrap_or_default();
        if !(line.starts_with("--") || line.starts_with('\\') || (line.is_empty() && !rest.is_empty())) {
            return rest;
        }
        rest = rest[line.len()..].trim_start();
    }
}

/// The first words of a statement: names as they are meant, keywords in capitals as `pg_dumpall` writes them.
fn words(statement: &str, most: usize) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = statement.trim_start();
    while !rest.is_empty() && words.len() < most {
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some((name, tail)) = quoted_name(quoted) else { return words };
            words.push(name);
            rest = tail.trim_start();
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len()).max(1);
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBALS: &str = r#"--
-- PostgreSQL database cluster dump
--

\restrict aBc123

SET default_transaction_read_only = off;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:old';
CREATE ROLE "Ελένη ""x""; y";
ALTER ROLE "Ελένη ""x""; y" WITH NOSUPERUSER PASSWORD 'SCRAM;';
ALTER ROLE "Ελένη ""x""; y" SET search_path TO 'a', 'b';
CREATE ROLE app;
ALTER ROLE app WITH LOGIN;
COMMENT ON ROLE app IS 'it''s; mine';
COMMENT ON ROLE postgres IS 'x';

GRANT app TO "Ελένη ""x""; y" WITH ADMIN OPTION GRANTED BY postgres;
GRANT app TO postgres GRANTED BY postgres;
GRANT pg_monitor TO postgres GRANTED BY postgres;
CREATE TABLESPACE fast OWNER app LOCATION '/srv/fast';
GRANT ALL ON TABLESPACE fast TO app;
GRANT ALL ON PARAMETER work_mem TO app;

\unrestrict aBc123

--
-- PostgreSQL database cluster dump complete
--
"#;

    #[test]
    fn roles_that_are_there_stay_as_they_are() {
        let existing = BTreeSet::from(["postgres".to_owned()]);
        let (statements, made) = chosen(GLOBALS, &existing);
        assert_eq!(made.created, [r#"Ελένη "x"; y"#, "app"]);
        assert_eq!(made.skipped, ["postgres"]);
        let texts: Vec<&str> = statements.iter().map(|statement| statement.text).collect();
        assert_eq!(
            texts,
            [
                r#"CREATE ROLE "Ελένη ""x""; y""#,
                r#"ALTER ROLE "Ελένη ""x""; y" WITH NOSUPERUSER PASSWORD 'SCRAM;'"#,
                r#"ALTER ROLE "Ελένη ""x""; y" SET search_path TO 'a', 'b'"#,
                "CREATE ROLE app",
                "ALTER ROLE app WITH LOGIN",
                "COMMENT ON ROLE app IS 'it''s; mine'",
                r#"GRANT app TO "Ελένη ""x""; y" WITH ADMIN OPTION GRANTED BY postgres"#,
                "GRANT app TO postgres GRANTED BY postgres",
            ]
        );
    }

    #[test]
    fn where_all_are_there_nothing_is_done() {
        let existing = ["postgres", "app", "Ελένη \"x\"; y"].map(str::to_owned).into();
        let (statements, made) = chosen(GLOBALS, &existing);
        assert!(statements.is_empty() && made.created.is_empty(), "{statements:?}");
    }
}
