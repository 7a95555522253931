//! What a server says of itself, and what every session of ours is set to, whatever the role or the database has as its own.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The oldest server whose catalogs and locks pgtend was tried on.
pub const OLDEST_SERVER: i32 = 130_000;

/// Where names without a schema are looked for in SQL of ours: temporary tables last, or they would come first.
pub const OWN_PATH: &str = "pg_catalog, pg_temp";

/// What a server says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub version: i32,
    pub pid: i32,
    pub is_standby: bool,
    pub deadlock_timeout: Duration,
    /// `session_replication_role` is `replica`: the role's or the database's own setting.
    triggers_off: bool,
}

pub(super) async fn facts(client: &Client) -> Result<Facts> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(),
                    (extract(epoch FROM current_setting('deadlock_timeout')::interval) * 1000)::bigint,
                    current_setting('session_replication_role') = 'replica'",
            &[],
        )
        .await
        .context("ask the server for its version")?;
    let version = row.get(0);
    if version < OLDEST_SERVER {
        bail!(
            "the server is PostgreSQL {}; pgtend needs 13 or newer, since it relies on catalogs and lock behaviour that \
             older ones do not have",
            version / 10_000
        );
    }
    let deadlock_timeout = Duration::from_millis(u64::try_from(row.get::<_, i64>(3)).unwrap_or(1000));
    Ok(Facts { version, pid: row.get(1), is_standby: row.get(2), deadlock_timeout, triggers_off: row.get(4) })
}

/// Settings by name, for the session, with those that every session of ours has.
pub(super) async fn set(client: &Client, facts: Facts, settings: &[(&str, String)]) -> Result<()> {
    let mut names = vec!["TimeZone", "DateStyle", "IntervalStyle", "row_security", "standard_conforming_strings"];
    // row_security: a row that is hidden from us becomes an error (42501) instead of a silence. The strings: so that a
    // backslash in a literal is a backslash, in those we write and in those of the catalog that we read.
    let mut values = vec!["UTC".into(), "ISO, MDY".into(), "postgres".into(), "off".into(), "on".into()];
    if facts.version >= 140_000 {
        // A statement whose client was killed ends within a second; and the role's own idle limit is not for us.
        names.extend(["client_connection_check_interval", "idle_session_timeout"]);
        values.extend(["1000".into(), "0".into()]);
    }
    if facts.version >= 170_000 {
        names.push("transaction_timeout");
        values.push("0".into());
    }
    if facts.triggers_off {
        // Foreign keys would not be looked at, and triggers that keep rows would not be asked.
        names.push("session_replication_role");
        values.push("origin".into());
    }
    for (name, value) in settings {
        names.push(name);
        values.push(value.clone());
    }
    client
        .query(
            "SELECT pg_catalog.set_config(s.name, s.value, false) FROM unnest($1::text[], $2::text[]) AS s(name, value)",
            &[&names, &values],
        )
        .await
        .map_err(|error| match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE && facts.triggers_off => anyhow!(error).context(
                "session_replication_role is set to replica for this role or database, so that no trigger and no foreign \
                 key is looked at, and the role may not set it back: ALTER ROLE … RESET session_replication_role, or GRANT \
                 SET ON PARAMETER session_replication_role",
            ),
            _ => anyhow!(error).context("set up the session"),
        })?;
    Ok(())
}

/// Our settings on a connection outside the pool.
///
/// # Errors
/// The server is too old, or does not answer.
pub async fn settle_link(client: &Client, statement_timeout: Duration, lock_timeout: Duration) -> Result<Facts> {
    let facts = facts(client).await?;
    let settings = [
        ("statement_timeout", statement_timeout.as_millis().to_string()),
        ("lock_timeout", lock_timeout.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", "60000".into()),
        // No SQL but ours goes over it: nobody's function in schema public is to be taken for the server's own.
        ("search_path", OWN_PATH.into()),
    ];
    set(client, facts, &settings).await?;
    Ok(facts)
}
