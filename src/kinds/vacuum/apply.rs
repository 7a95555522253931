//! One statement, and whether it was done: PostgreSQL says that it passed over a table in a warning, with success.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio_postgres::error::SqlState;

use super::plan::{Action, Tend};
use super::survey::{Counts, counting, counts, holders};
use crate::kinds::{Applied, Context, StopReason};
use crate::pg::blockers::{self, Wanted};
use crate::pg::settings::OWN_PATH;
use crate::pg::{Ident, Session, ddl, waits};
use crate::run::Counted;
use crate::testpoint;

/// The first whose statistics are there as soon as a statement has ended; older ones write them down later.
const COUNTED_AT_ONCE: i32 = 150_000;
/// So many tables that keep their dead rows are named; the others are counted.
const NAMED: u64 = 3;

/// # Errors
/// It cannot be done, or was not.
pub async fn apply(cx: &Context, action: &Action) -> Result<Applied> {
    let tend = match action {
        Action::Refuse { why, .. } => bail!("{why}"),
        Action::Tend(tend) => tend,
    };
    if tend.until.is_some_and(|until| Instant::now() >= until) {
        return Ok(Applied::Stopped(StopReason::BudgetSpent));
    }
    let session = cx.kept_session().await?;
    let before = counts(&session, &tend.reaches).await?;
    let Some(own) = before.get(&tend.oid) else {
        tracing::info!(object = %tend.name.plain(), "dropped since the plan was made");
        cx.leave(session).await;
        return Ok(Applied::Done);
    };
    cx.report.lock().progress = Some(own.name.plain());
    testpoint::reach_in("vacuum.table", cx.job.as_str()).await;
    let sql = tend.sql(&own.name);
    let (ran, gave_way) = waits::giving_way(&cx.pg, &session, run(&session, &sql, tend.as_owner.as_ref())).await;
    if let Err(error) = ran {
        if let Some(reason) = cx.stop.requested() {
            return Ok(Applied::Stopped(reason));
        }
        if gave_way && error.code() == Some(&SqlState::QUERY_CANCELED) {
            // The session is left: what was to set it right again may be what was cancelled.
            return Ok(Applied::Locked("somebody else waited for the table, and had it".into()));
        }
        let error = anyhow::Error::from(error);
        let gone = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
        if ddl::sqlstate(&error).is_some_and(|code| gone.contains(code)) {
            tracing::info!(object = %tend.name.plain(), "dropped since the plan was made");
            cx.leave(session).await;
            return Ok(Applied::Done);
        }
        if ddl::is_locked(&error) {
            let wanted: Vec<_> = tend.reaches.iter().map(|oid| (*oid, Wanted::ShareUpdateExclusive)).collect();
            let by = blockers::of_tables(&session, &wanted).await?;
            cx.leave(session).await;
            return Ok(Applied::Locked(by));
        }
        return Err(error).with_context(|| sql.clone());
    }
    let done = look_back(cx, &session, tend, &before).await;
    cx.leave(session).await;
    done
}

/// Alone in its message, and in no transaction. Functions of indexes find what they find for everybody else.
async fn run(session: &Session, sql: &str, as_owner: Option<&Ident>) -> Result<(), tokio_postgres::Error> {
    let role = as_owner.map(|owner| format!("SET ROLE {owner}; ")).unwrap_or_default();
    let (set, set_back) =
        (format!("{role}SET search_path TO DEFAULT"), format!("RESET ROLE; SET search_path TO {OWN_PATH}"));
    // Sent one after the other without waiting for an answer between them.
    let (set, ran, back) = tokio::join!(
        biased;
        session.batch_execute(&set),
        session.batch_execute(sql),
        session.batch_execute(&set_back)
    );
    set.and(ran).and(back)
}

/// What was done is what the server has counted, as far as it counts.
async fn look_back(cx: &Context, session: &Session, tend: &Tend, before: &HashMap<u32, Counts>) -> Result<Applied> {
    let counted = session.version >= COUNTED_AT_ONCE && counting(session).await?;
    let after = if counted { counts(session, &tend.reaches).await? } else { before.clone() };
    let (mut vacuumed, mut analyzed, mut passed_over) = (0, 0, Vec::new());
    for (oid, before) in before {
        // One that is gone by now was in nobody's way.
        let Some(after) = after.get(oid) else { continue };
        let was_vacuumed = !counted || after.vacuums != before.vacuums;
        let was_analyzed = !counted || after.analyzes != before.analyzes;
        let wants_vacuum = tend.statement.vacuums() && *oid == tend.oid;
        vacuumed += u64::from(wants_vacuum && was_vacuumed);
        analyzed += u64::from(tend.statement.analyzes() && was_analyzed);
        if wants_vacuum && !was_vacuumed || tend.statement.analyzes() && !was_analyzed {
            passed_over.push(before.name.plain());
        }
    }
    for (what, n) in [(Counted::TablesVacuumed, vacuumed), (Counted::TablesAnalyzed, analyzed)] {
        if n > 0 {
            cx.report.count(what, &tend.chosen_by, n);
        }
    }
    if let (true, Some(before), Some(after)) = (counted && vacuumed > 0, before.get(&tend.oid), after.get(&tend.oid)) {
        add(cx, "dead_tuples_before", before.dead);
        add(cx, "dead_tuples_after", after.dead);
        if after.dead > 0 && after.dead >= before.dead / 2 {
            held_back(cx, session, after).await?;
        }
    }
    passed_over.sort();
    let list = passed_over.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    match passed_over.len() {
        0 => Ok(Applied::Done),
        n if n == before.len() => bail!("PostgreSQL passed over it: may the role still vacuum it?"),
        n => Ok(Applied::Partly(format!("PostgreSQL passed over {n} of its partitions, {list} among them"))),
    }
}

/// Most of its dead rows are still there. Who holds on to them is looked for now, for whoever it was may be gone soon.
async fn held_back(cx: &Context, session: &Session, after: &Counts) -> Result<()> {
    if add(cx, "tables_held_back", 1) <= NAMED {
        let holders = holders(session, Duration::ZERO).await?;
        let by = match holders.as_slice() {
            [] => "whoever held on to them has let go, or is not to be seen without pg_read_all_stats".into(),
            holders => format!("who may still see them: {}", holders.join("; ")),
        };
        cx.report.warn(format!("{}: {} dead rows stay; {by}", after.name.plain(), after.dead));
    }
    Ok(())
}

/// Adds to a number of the run's details, and gives what it is then.
fn add(cx: &Context, field: &str, n: i64) -> u64 {
    let mut report = cx.report.lock();
    let before = report.fields.get(field).and_then(serde_json::Value::as_u64).unwrap_or_default();
    let sum = before + u64::try_from(n).unwrap_or_default();
    report.fields.insert(field.into(), json!(sum));
    sum
}
