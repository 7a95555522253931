//! One view refreshed, or vacuumed: in one transaction or statement of its own, as its owner.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::config::Refresh;
use super::facts::{Going, How, Sweep};
use super::survey;
use crate::kinds::{Applied, Context};
use crate::period::human;
use crate::pg::blockers::{self, Wanted};
use crate::pg::ddl::{self, Ddl};
use crate::pg::exclusion::{self, For};
use crate::pg::{Session, explain, waits};
use crate::testpoint;

/// A dump, or another schema change of ours, is at work.
#[derive(Debug, thiserror::Error)]
#[error("a dump, or another schema change of pgtend's, is at work in this database: {0}")]
struct Busy(String);

/// What came of a refresh, by the server's own counters.
struct Done {
    written: i64,
    removed: i64,
    file: Option<u32>,
    /// By the server's clock, when it began.
    at: DateTime<Utc>,
}

/// # Errors
/// It was not refreshed, and holds what it held.
pub async fn refresh(cx: &Context, config: &Refresh, going: &Going) -> Result<Applied> {
    for (oid, name) in &going.after {
        match going.ledger.get(*oid) {
            Some(true) => {}
            Some(false) => {
                going.ledger.note(going.oid, false);
                return Err(anyhow!("left as it is, since it is made from {}, which was not refreshed", name.plain()));
            }
            None => return Ok(Applied::NotYet(format!("it comes after {}", name.plain()))),
        }
    }
    let session = cx.kept_session().await?;
    let done = attempt(cx, config, &session, going).await;
    if !session.is_closed() {
        cx.leave(session).await;
    }
    match &done {
        Ok(Applied::Done) => going.ledger.note(going.oid, true),
        Err(_) => going.ledger.note(going.oid, false),
        Ok(_) => {}
    }
    done
}

async fn attempt(cx: &Context, config: &Refresh, session: &Session, going: &Going) -> Result<Applied> {
    // Before the refresh begins: what is changed while it runs is then for the next one, if it came too late for this.
    let made_from = if going.noted {
        survey::change(session, &[going.oid]).await?.remove(&going.oid).map(|(digest, _)| digest)
    } else {
        None
    };
    let left = cx.deadline.saturating_duration_since(Instant::now());
    let limit = if going.how == How::Plainly { left.min(config.refresh_timeout.0) } else { left };
    let began = Instant::now();
    let work = async {
        let ddl = Ddl::within(session, &going.role, limit).await?;
        let done = steps(&ddl, going).await;
        match done {
            Ok(done) => ddl.commit().await.map(|()| done),
            Err(error) => {
                ddl.rollback().await;
                Err(error)
            }
        }
    };
    let (done, by) = waits::watched(&cx.pg, session, work).await;
    let done = match done {
        Ok(done) => done,
        Err(error) => return failed(cx, config, session, going, by, error).await,
    };
    note(cx, going, &done, began.elapsed(), made_from);
    if session.version >= 150_000 {
        // What was counted is seen by the next view at once. Nothing is lost where it is not.
        let _ = session.query("SELECT pg_catalog.pg_stat_force_next_flush()", &[]).await;
    }
    Ok(Applied::Done)
}

/// By the counters of this session, which go on from transactions before.
const COUNTERS: &str =
    "SELECT pg_catalog.pg_stat_get_xact_tuples_inserted($1), pg_catalog.pg_stat_get_xact_tuples_deleted($1),
    pg_catalog.pg_relation_filenode($1), pg_catalog.now()";

async fn steps(ddl: &Ddl<'_>, going: &Going) -> Result<Done> {
    if going.how != How::Concurrently
        && let Some(by) = exclusion::alone(ddl.own().await?, For::Transaction).await?
    {
        return Err(Busy(by).into());
    }
    let counters = async || -> Result<Done> {
        let rows = ddl.rows(COUNTERS, &[&going.oid]).await?;
        let row = rows.first().context("the server gives no counters")?;
        Ok(Done { written: row.get(0), removed: row.get(1), file: row.get(2), at: row.get(3) })
    };
    let before = counters().await?;
    testpoint::reach("refresh.begin").await;
    // The view's own query may well be worth compiling.
    ddl.run("SET LOCAL jit TO DEFAULT").await?;
    ddl.rows(&going.sql(), &[]).await.map_err(|error| put(error, going))?;
    let after = counters().await?;
    Ok(Done { written: after.written - before.written, removed: after.removed - before.removed, ..after })
}

/// What to do about an error of the view's own.
fn put(error: anyhow::Error, going: &Going) -> anyhow::Error {
    let advice = match ddl::sqlstate(&error).map(SqlState::code) {
        Some("42501") => format!(
            "read all that it is made from as its owner {}: a GRANT is missing, or row security hides rows from that role \
             (BYPASSRLS)",
            going.role
        ),
        Some("42P01" | "42883" | "42704") => "refresh it; functions that name things without a schema find them in \
             pg_catalog alone, as for PostgreSQL 17 and newer whoever refreshes (ALTER FUNCTION … SET search_path)"
            .into(),
        _ => "refresh it".into(),
    };
    error.context(advice)
}

async fn failed(
    cx: &Context,
    config: &Refresh,
    session: &Session,
    going: &Going,
    by: Option<String>,
    error: anyhow::Error,
) -> Result<Applied> {
    if error.is::<Busy>() {
        return Ok(Applied::Locked(format!("{error:#}")));
    }
    let over = ddl::is_over(&error);
    if let Some(reason) = cx.stop.requested().filter(|_| over || session.is_closed()) {
        return Ok(Applied::Stopped(reason));
    }
    if ddl::is_locked(&error) {
        let wanted = if going.how == How::Concurrently { Wanted::Exclusive } else { Wanted::AccessExclusive };
        let by = match by {
            Some(by) => by,
            None => blockers::of_tables(session, &[(going.oid, wanted)]).await?,
        };
        return Ok(Applied::Locked(format!("{}; {by}", explain(&error))));
    }
    if over && going.how == How::Plainly {
        let help = going
            .help
            .as_ref()
            .map_or_else(String::new, |help| format!("readers need not wait with an index: {help} or "));
        return Err(error.context(format!(
            "it took longer than readers may be kept waiting (refresh_timeout, {}), and holds what it held; {help}raise \
             refresh_timeout",
            human(config.refresh_timeout.0)
        )));
    }
    Err(error)
}

/// Writes down what was done, for the run's details, the gauges, and the next run.
fn note(cx: &Context, going: &Going, done: &Done, took: Duration, made_from: Option<String>) {
    let mut view = json!({
        "how": if going.how == How::Concurrently { "concurrently" } else { "plainly" },
        "seconds": took.as_secs_f64(),
        "refreshed_at": done.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "rows_written": done.written,
        "rows_removed": done.removed,
        "file": done.file,
    });
    if let Some(made_from) = made_from {
        view["made_from"] = made_from.into();
    }
    let mut report = cx.report.lock();
    let count = report.fields.get("views_refreshed").and_then(Value::as_u64).unwrap_or_default() + 1;
    report.fields.insert("views_refreshed".into(), count.into());
    let views = report.fields.entry("views").or_insert_with(|| Map::new().into());
    views[going.name.plain()] = view;
}

/// # Errors
/// What the server says.
pub async fn vacuum(cx: &Context, sweep: &Sweep) -> Result<Applied> {
    let session = cx.kept_session().await?;
    let work = async {
        session.batch_execute(&format!("SET ROLE {}", sweep.role)).await?;
        // A message of its own: it cannot be part of a transaction.
        let done = session.batch_execute(&sweep.sql()).await;
        session.batch_execute("RESET ROLE").await?;
        done
    };
    let (done, by) = waits::watched(&cx.pg, &session, work).await;
    let done = done.map_err(anyhow::Error::from);
    let applied = match done {
        Ok(()) => Ok(Applied::Done),
        Err(error) if ddl::is_locked(&error) => {
            let by = by.unwrap_or_else(|| "whoever held it has let go since".into());
            Ok(Applied::Locked(format!("{}; {by}", explain(&error))))
        }
        Err(error) => match cx.stop.requested() {
            Some(reason) if ddl::is_over(&error) || session.is_closed() => Ok(Applied::Stopped(reason)),
            _ => Err(error),
        },
    };
    if !session.is_closed() {
        cx.leave(session).await;
    }
    applied
}
