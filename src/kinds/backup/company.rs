//! A dump beside our own schema changes: while it runs, none that it would not survive begins, in this database, in any
//! daemon. One that is under way is waited for.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::kinds::{Context, StopReason};
use crate::period::human;
use crate::pg::settings::milliseconds;
use crate::pg::{Conninfo, Limits, Link, application_name, connect as connect_to, ddl, exclusion, words};

/// So long it stands in the queue before it looks again who is in its way.
const QUEUED: Duration = Duration::from_secs(5);
const AWAKE: Duration = Duration::from_secs(30);

/// A connection that does nothing but hold the key: one of the pool's would be missed there for as long as the dump takes.
/// Also how `pg_dump` is to connect: so that the server notices within a second that it is gone, unless a pooler in between
/// refuses to hand that on.
///
/// # Errors
/// The database cannot be reached.
pub async fn connect(cx: &Context, version_num: i32) -> Result<(Link, Conninfo)> {
    let database = cx.pg.database();
    database.refuse_transaction_pooler().await?;
    let name = application_name(cx.job.as_str(), " (beside the dump)");
    let mut conninfo = database.conninfo.clone();
    if version_num >= 140_000 {
        conninfo = conninfo.with_setting("client_connection_check_interval", "1000");
    }
    let limits = Limits::new(AWAKE, cx.lock_timeout);
    let (link, _) = match connect_to(&conninfo, &name, limits).await {
        Ok(link) => link,
        Err(error) if !refuses_setting(&error) => return Err(error.context(format!("database {}", database.name))),
        Err(_) => {
            conninfo = database.conninfo.clone();
            connect_to(&conninfo, &name, limits).await.with_context(|| format!("database {}", database.name))?
        }
    };
    Ok((link, conninfo))
}

/// Whether a connection was refused for a setting that it began with: a pooler knows none but its own (08P01, protocol violation),
/// and a server may not be able to do what the setting wants.
pub fn refuses_setting(error: &anyhow::Error) -> bool {
    let codes = [
        SqlState::PROTOCOL_VIOLATION,
        SqlState::UNDEFINED_OBJECT,
        SqlState::INVALID_PARAMETER_VALUE,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    ddl::sqlstate(error).is_some_and(|code| codes.contains(code))
}

/// Waits until no such change is under way, and lets none begin for as long as the connection lives.
///
/// # Errors
/// One did not end within `patience`, or the server does not answer.
pub async fn keep_out_changes(cx: &Context, client: &Client, patience: Duration) -> Result<Option<StopReason>> {
    let key = exclusion::key();
    let until = Instant::now() + patience;
    let parameters: [&(dyn ToSql + Sync); 1] = [&key];
    let mut told = false;
    loop {
        // In the queue, and not by trying: a run that detaches many partitions has it nearly all the time.
        let asked = tokio::select! {
            asked = client.query("SELECT pg_catalog.pg_advisory_lock_shared($1)", &parameters) => asked,
            reason = cx.stop.requested_at_last() => return Ok(Some(reason)),
        };
        match asked {
            Ok(_) => return Ok(None),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
            Err(error) => return Err(error).context("make sure that no table is being detached or dropped"),
        }
        let holder = exclusion::holder(client, key).await;
        if Instant::now() >= until {
            bail!("a change of the schema by pgtend has been under way for {}: it is {holder}", human(patience));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(job = %cx.job, "the dump waits for a change of the schema by pgtend, {holder}");
        }
        let left = until.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), QUEUED);
        client.batch_execute(&format!("SET lock_timeout = {}", milliseconds(left))).await.context("wait for longer")?;
    }
}

/// Keeps an idle connection from being forgotten by a firewall; comes back only when it is lost.
pub async fn keep_awake(client: &Client) {
    loop {
        tokio::time::sleep(AWAKE).await;
        if client.simple_query("").await.is_err() {
            return;
        }
    }
}

/// Ends what the server is still doing for the dump: a `pg_dump` that was killed has told it nothing. Best effort.
pub async fn end_backend(client: &Client, application_name: &str) {
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&application_name];
    let ended = client.query_one(
        "SELECT count(pg_catalog.pg_terminate_backend(a.pid)) FROM pg_catalog.pg_stat_activity a
         WHERE a.datname = current_database() AND a.usename = CURRENT_USER AND a.application_name = $1
           AND a.pid <> pg_catalog.pg_backend_pid()",
        &parameters,
    );
    match tokio::time::timeout(Duration::from_millis(500), ended).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!("the dump's session was left to end by itself: {}", words::said(&error)),
        Err(_) => tracing::debug!("the dump's session was left to end by itself: no answer from the server"),
    }
}
