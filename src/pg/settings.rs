//! What a server says of itself, and what every session of ours is set to, whatever the role or the database has as its own.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

/// The oldest server whose catalogs and locks pgtend was tried on.
pub const OLDEST_SERVER: i32 = 130_000;

/// Where names without a schema are looked for in SQL of ours: temporary tables last, or they would come first. [`FIRST`]
/// sets it.
pub const OWN_PATH: &str = "pg_catalog, pg_temp";

/// A setting of our own, by which [`super::ours`] knows the roles that the same config connects as.
pub(super) const ROLES: &str = "pgtend.roles";

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

/// The first words on a connection, and again whenever it comes out of the pool. Until they are said, names without a schema
/// are looked for where the database's own path says, as a rule in `public`: whoever may create there could have an operator
/// that fits better than the server's own, and its function would run as our role. So nothing comes before it.
const FIRST: &str = "SET search_path = pg_catalog, pg_temp; SET statement_timeout = 30000";

/// Takes the session out of reach of the database's search path, and asks what the server is.
pub(super) async fn facts(client: &Client) -> Result<Facts> {
    let asking = client.query_one(
        "SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(),
                (extract(epoch FROM pg_catalog.current_setting('deadlock_timeout')::interval) * 1000)::bigint,
                pg_catalog.current_setting('session_replication_role') = 'replica'",
        &[],
    );
    // Sent one after the other without waiting for an answer between them; the server takes them in this order.
    let (first, asked) = tokio::join!(biased; client.batch_execute(FIRST), asking);
    first.context("set the search path")?;
    let row = asked.context("ask the server for its version")?;
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
    let mut names =
        vec!["TimeZone", "DateStyle", "IntervalStyle", "row_security", "standard_conforming_strings", "jit"];
    // row_security: a row that is hidden from us becomes an error (42501) instead of a silence. The strings: so that a
    // backslash in a literal is a backslash, in those we write and in those of the catalog that we read. jit: what we ask the
    // catalog, and what deletes a batch, is estimated to be dear and is not: compiling it takes longer than doing it.
    let mut values = vec!["UTC".into(), "ISO, MDY".into(), "postgres".into(), "off".into(), "on".into(), "off".into()];
    if facts.version >= 140_000 {
        // The role's own idle limit is not for us.
        names.push("idle_session_timeout");
        values.push("0".into());
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
    let parameters: [&(dyn ToSql + Sync); 2] = [&names, &values];
    let setting = client.query(
        "SELECT pg_catalog.set_config(s.name, s.value, false)
         FROM unnest($1::text[], $2::text[]) AS s(name, value)",
        &parameters,
    );
    let (set, noticing) = tokio::join!(biased; setting, notice_the_end(client, facts));
    noticing?;
    set.map_err(|error| match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE && facts.triggers_off => anyhow!(error).context(
            "session_replication_role is set to replica for this role or database, so that no trigger and no foreign \
             key is looked at, and the role may not set it back: ALTER ROLE … RESET session_replication_role, or GRANT \
             SET ON PARAMETER session_replication_role",
        ),
        _ => anyhow!(error).context("set up the session"),
    })?;
    Ok(())
}

/// A statement whose client was killed ends within a second, where the server's system lets it notice. Elsewhere, as on
/// Windows, no value but 0 is valid, and the work goes on without.
async fn notice_the_end(client: &Client, facts: Facts) -> Result<()> {
    if facts.version < 140_000 {
        return Ok(());
    }
    match client.batch_execute("SET client_connection_check_interval = 1000").await {
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            tracing::debug!("the server has no client_connection_check_interval");
            Ok(())
        }
        set => set.context("set up the session"),
    }
}

/// How long a time-out is that a setting of the server takes, in milliseconds; beyond that, some 24 days, it takes none.
pub fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// How long statements of a connection outside the pool may take, and wait for a lock.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub statement: Duration,
    pub lock: Duration,
}

impl Limits {
    pub const fn new(statement: Duration, lock: Duration) -> Self {
        Self { statement, lock }
    }
}

/// Our settings on a connection outside the pool.
pub(super) async fn settle(client: &Client, limits: Limits, roles: &[String]) -> Result<Facts> {
    let facts = facts(client).await?;
    let settings = [
        ("statement_timeout", milliseconds(limits.statement).to_string()),
        ("lock_timeout", milliseconds(limits.lock).to_string()),
        ("idle_in_transaction_session_timeout", "60000".into()),
        // Of a role that only reads by default: the end of a run is written over it all the same.
        ("default_transaction_read_only", "off".into()),
        (ROLES, roles.join("\n")),
    ];
    set(client, facts, &settings).await?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_no_longer_than_the_server_takes() {
        assert_eq!(milliseconds(Duration::from_millis(300)), 300);
        assert_eq!(milliseconds(Duration::from_secs(25 * 24 * 3600)), i32::MAX);
        assert_eq!(milliseconds(Duration::MAX), i32::MAX);
    }
}
