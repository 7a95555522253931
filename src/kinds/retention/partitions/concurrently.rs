//! Detaching concurrently, which PostgreSQL does in two transactions: the first takes the partition out of sight of all that
//! begins from then on, the second waits for whoever has the table open since before, and finishes.
//!
//! | step | waits for | holds meanwhile |
//! |---|---|---|
//! | CONCURRENTLY, at first | schema changes, ANALYZE, VACUUM of the two | SHARE UPDATE EXCLUSIVE on the table |
//! | then | transactions that have the table open | nothing, not even a snapshot |
//! | at last | users of the partition by its name, and those with an old snapshot | SHARE UPDATE EXCLUSIVE on the table; who wants the partition queues behind |
//! | FINALIZE, for one that is pending | users of the partition | the same |
//! | then | every snapshot in the database that is as old | the same, and ACCESS EXCLUSIVE on the partition |
//!
//! So it may wait for minutes, and readers and writers of the table never notice, as long as it gives way to the few that do:
//! schema changes, and who uses the partition itself. `lock_timeout` cannot tell them apart, and would have it finished by
//! FINALIZE each time, which beside steady readers never finds a moment without an old snapshot. So there is none to speak
//! of, and `waits::patiently` looks whether anybody waits for it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::at_work::{self, Failed};
use super::detach::{still_referred, take_mark, unmark_of};
use super::facts::{Going, Stand};
use super::mark::Mark;
use super::witness::Witness;
use crate::kinds::Context;
use crate::period::human;
use crate::pg::ddl::{self, Ddl};
use crate::pg::exclusion::For;
use crate::pg::settings::OWN_PATH;
use crate::pg::waits::{self, BrokenOff, Patience, Waited};
use crate::pg::{Session, explain, others};
use crate::testpoint;

/// So long one partition is waited for at a time, and no longer than a quarter of what is left of the run, so that others
/// get their turn beside a transaction that never ends. While it waits no dump of ours can begin.
const PATIENCE: Duration = Duration::from_mins(1);

fn patience(cx: &Context) -> Duration {
    (cx.deadline.saturating_duration_since(Instant::now()) / 4).clamp(cx.lock_timeout, PATIENCE.max(cx.lock_timeout))
}

/// Takes a partition out from the beginning.
///
/// # Errors
/// It is still attached, or its detaching is pending.
pub async fn concurrently(cx: &Context, session: &Session, going: &Going) -> Result<(), Failed> {
    let failed = |error: anyhow::Error| at_work::judge(cx, session, error, None, true);
    at_work::alone(session, For::Session).await.map_err(failed)?;
    if let Some(other) = other_pending(session, going).await.map_err(failed)? {
        return Err(Failed::Locked(format!("the detaching of {other} is to be finished first")));
    }
    // Whoever has had the table open for that long, a report or a dump, may well have it for as long again: until they end
    // it would be pending, its rows out of sight and all further ones waiting.
    let patience = patience(cx);
    let long = patience.max(10 * session.lock_timeout);
    if let Some(by) = long_held(session, going.parent_oid, long).await.map_err(failed)? {
        return Err(Failed::Locked(format!("it is not begun while {by}")));
    }
    let work = async {
        let ddl = Ddl::begin(session, &going.leaf_owner).await?;
        let done = set_mark(&ddl, going).await;
        at_work::ended(ddl, done).await
    };
    let (marked, by) = waits::watched(&cx.pg, session, work).await;
    let say = match marked {
        Ok(say) => say,
        Err(error) => {
            let by = at_work::waited_for(session, going, by, &error).await;
            return Err(at_work::judge(cx, session, error, by, true));
        }
    };
    testpoint::reach("retention.marked").await;

    let Waited { done, by, broken_off } = Box::pin(detach(cx, session, going, patience, &say)).await.map_err(failed)?;
    let Err(error) = done else {
        testpoint::reach("retention.unsaid").await;
        going.ledger.begin(going.oid);
        // Where it fails, a run that dies from here on leaves a table of which the next cannot tell whose it is.
        if session.batch_execute(&say).await.is_err() {
            session.batch_execute("ROLLBACK").await.ok();
        }
        testpoint::reach("retention.detached").await;
        return Ok(());
    };
    if session.is_closed() {
        return Err(at_work::judge(cx, session, error, by, false));
    }
    let by = at_work::waited_for(session, going, by, &error).await;
    // What came of it only the catalog can tell.
    match at_work::found(session, going.oid).await.map_err(Failed::Error)?.map(|found| (found.stand(), found)) {
        None => Ok(()),
        // Somebody has finished what we had begun.
        Some((Stand::Detached, _)) if going.ledger.has_begun(going.oid) => Ok(()),
        Some((Stand::Detached, found)) => {
            if ddl::sqlstate(&error) == Some(&SqlState::UNDEFINED_TABLE) {
                // It was no partition any more: a mark of ours would be on a table of theirs.
                take_mark(session, &unmark_of(going, &found)).await.ok();
            }
            let name = found.name.plain();
            Err(Failed::Held(format!("somebody else has detached it, and {name} is left as a table of its own")))
        }
        Some((Stand::Pending, _)) => {
            testpoint::reach("retention.pending").await;
            Err(match cx.stop.requested() {
                Some(reason) => Failed::Stopped(reason),
                None => Failed::Locked(format!(
                    "its detaching is pending, out of sight of all but those that saw it before, and is to be finished: {}",
                    why(broken_off, patience, &error, by)
                )),
            })
        }
        Some((Stand::Attached, found)) => {
            // It stays, for now at least: a mark on it would mislead.
            take_mark(session, &unmark_of(going, &found)).await.ok();
            if broken_off.is_some() && ddl::is_over(&error) {
                return Err(match cx.stop.requested() {
                    Some(reason) => Failed::Stopped(reason),
                    None => Failed::Locked(why(broken_off, patience, &error, by)),
                });
            }
            let error = match ddl::sqlstate(&error) {
                Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => still_referred(error),
                _ => error,
            };
            Err(at_work::judge(cx, session, error, by, false))
        }
    }
}

/// Why it did not come to its end, and for whose sake.
fn why(broken_off: Option<BrokenOff>, patience: Duration, error: &anyhow::Error, by: Option<String>) -> String {
    let why = match broken_off {
        Some(BrokenOff::Over) => format!("it has waited for {}", human(patience)),
        Some(BrokenOff::ToGiveWay) => "it gave way to others, who had begun to wait for it".into(),
        Some(BrokenOff::Blind) => "it could not be seen whether others wait for it".into(),
        Some(BrokenOff::ToStop) | None => explain(error),
    };
    format!("{why}; {}", by.unwrap_or_else(|| "whoever held it up has let go since".into()))
}

/// Who has had a table open for longer than that.
async fn long_held(session: &Session, oid: u32, longer_than: Duration) -> Result<Option<String>> {
    let rows = session
        .query(include_str!("long_held.sql"), &[&oid, &longer_than.as_secs_f64()])
        .await
        .context("see who has it open")?;
    let said: Vec<String> = rows.iter().map(others::said).collect();
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// Marks it, and gives the statements that have the mark say that the detaching is ours, for when that is known.
async fn set_mark(ddl: &Ddl<'_>, going: &Going) -> Result<String> {
    let found = at_work::still(ddl.own().await?, going, Stand::Attached).await?;
    let mark = at_work::mark_of(going, found.comment.as_deref(), false);
    at_work::comment(ddl, &going.leaf, Some(&mark.text())).await?;
    let begun = at_work::literal(ddl, Some(&Mark { begun: true, ..mark }.text())).await?;
    let (leaf, owner) = (&going.leaf, &going.leaf_owner);
    Ok(format!(
        "BEGIN; SET LOCAL search_path TO DEFAULT; SET LOCAL ROLE {owner}; COMMENT ON TABLE {leaf} IS {begun}; COMMIT"
    ))
}

/// In autocommit, and without a time-out of the server's to speak of, which would leave it pending by design.
async fn detach(
    cx: &Context,
    session: &Session,
    going: &Going,
    patience: Duration,
    say: &str,
) -> Result<Waited<Result<()>>> {
    let (table, leaf, owner) = (&going.table, &going.leaf, &going.owner);
    let usual: String = session.query_one("SHOW statement_timeout", &[]).await?.get(0);
    // What it sets off, an event trigger say, finds what it finds for everybody else. The lock time-out is for the case that
    // this process stands still.
    let most = (patience + cx.lock_timeout).as_millis();
    let settings = format!("SET statement_timeout = 0; SET lock_timeout = {most}; SET search_path TO DEFAULT");
    session.batch_execute(&settings).await?;
    session.batch_execute(&format!("SET ROLE {owner}")).await.context("act as its owner")?;
    let statement = format!("ALTER TABLE {table} DETACH PARTITION {leaf} CONCURRENTLY");
    let patience = Patience { until: Instant::now() + patience, free_while_others_end: true };
    let witness = Witness::new(cx, session, going, say);
    let over = CancellationToken::new();
    let stop = async {
        cx.stop.requested_at_last().await;
        witness.once_more().await;
    };
    let work = async {
        let waited = waits::patiently(&cx.pg, session, patience, stop, session.batch_execute(&statement)).await;
        over.cancel();
        waited
    };
    let (waited, ()) = tokio::join!(work, Box::pin(witness.watch(&over)));
    // Where the connection is gone these fail, and the error above is the one to tell.
    let usually = session.lock_timeout.as_millis();
    let back = format!("RESET ROLE; SET lock_timeout = {usually}; SET search_path TO {OWN_PATH}");
    let back = async {
        session.batch_execute(&back).await?;
        session.query("SELECT pg_catalog.set_config('statement_timeout', $1, false)", &[&usual]).await
    };
    let back = back.await;
    let Waited { done, by, broken_off } = waited;
    if let Err(error) = back
        && !session.is_closed()
    {
        // As whom it would go on, and by which settings, nobody knows.
        session.spoil();
        let error = anyhow::Error::from(error).context("go on as ourselves");
        return Err(done.err().map_or(error, |first| anyhow::Error::from(first).context("detach it concurrently")));
    }
    Ok(Waited { done: done.map_err(anyhow::Error::from).context("detach it concurrently"), by, broken_off })
}

/// Another partition of the same table whose detaching is pending: PostgreSQL allows one at a time.
async fn other_pending(session: &Session, going: &Going) -> Result<Option<String>> {
    let row = session
        .query_opt(
            "SELECT n.nspname::text, c.relname::text
             FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE i.inhparent = $1 AND i.inhrelid <> $2 AND (to_jsonb(i) ->> 'inhdetachpending')::boolean
             LIMIT 1",
            &[&going.parent_oid, &going.oid],
        )
        .await
        .context("look for a detaching that is pending")?;
    row.map(|row| Ok(crate::pg::TableName::found(row.get::<_, &str>(0), row.get::<_, &str>(1))?.plain())).transpose()
}

/// Finishes a detaching that is pending.
///
/// # Errors
/// It still is.
pub async fn finalize(cx: &Context, session: &Session, going: &Going) -> Result<(), Failed> {
    let pending = |by: String| Failed::Locked(format!("its detaching is pending and is to be finished: {by}"));
    let failed = |error: anyhow::Error| at_work::judge(cx, session, error, None, true);
    let patience = patience(cx);
    let (began, until) = (Instant::now(), Instant::now() + patience);
    // Those who have it since before. FINALIZE would wait for them with schema changes of the table queued behind it; this
    // keeps nobody waiting.
    while let Some(by) = long_held(session, going.oid, began.elapsed()).await.map_err(failed)? {
        if Instant::now() >= until {
            return Err(pending(by));
        }
        if let Some(reason) = cx.pause(session.lock_timeout / 2).await {
            return Err(Failed::Stopped(reason));
        }
    }
    if let Some(by) = old_snapshots(session, patience).await.map_err(failed)? {
        return Err(pending(by));
    }
    let mut waited = Waited { done: (), by: None, broken_off: None };
    let work = async {
        let ddl = Ddl::begin(session, &going.owner).await?;
        let done = finalize_steps(cx, &ddl, going, patience, &mut waited).await;
        at_work::ended(ddl, done).await
    };
    let Err(error) = work.await else {
        testpoint::reach("retention.detached").await;
        return Ok(());
    };
    let by = at_work::waited_for(session, going, waited.by, &error).await;
    if waited.broken_off.is_some() && cx.stop.requested().is_none() && ddl::is_over(&error) {
        return Err(pending(why(waited.broken_off, patience, &error, by)));
    }
    match at_work::judge(cx, session, error, by, true) {
        Failed::Locked(by) => Err(pending(by)),
        failed => Err(failed),
    }
}

async fn finalize_steps(
    cx: &Context,
    ddl: &Ddl<'_>,
    going: &Going,
    patience: Duration,
    waited: &mut Waited<()>,
) -> Result<()> {
    let (table, leaf) = (&going.table, &going.leaf);
    let session = ddl.own().await?;
    at_work::alone(session, For::Transaction).await?;
    at_work::not_held_in(ddl, going, cx.now, &going.owner).await?;
    let found = at_work::still(ddl.own().await?, going, Stand::Pending).await?;
    let statement = format!("ALTER TABLE {table} DETACH PARTITION {leaf} FINALIZE");
    let most = patience + cx.lock_timeout;
    let patience = Patience { until: Instant::now() + patience, free_while_others_end: false };
    let stop = cx.stop.requested_at_last();
    let Waited { done, by, broken_off } =
        waits::patiently(&cx.pg, session, patience, stop, ddl.run_patiently(&statement, most)).await;
    *waited = Waited { done: (), by, broken_off };
    done.context("finish its detaching")?;
    // What this transaction finishes is marked by it: whatever was known of it before, from here on it is certain.
    if !found.mark(going).is_some_and(|mark| mark.begun) {
        ddl.act_as(&going.leaf_owner).await?;
        at_work::comment(ddl, leaf, Some(&at_work::mark_of(going, found.comment.as_deref(), true).text())).await?;
    }
    Ok(())
}

/// Who has had a snapshot for longer than that, whatever they read: FINALIZE waits for all of them.
async fn old_snapshots(session: &Session, longer_than: Duration) -> Result<Option<String>> {
    let rows = session
        .query(include_str!("old_snapshots.sql"), &[&longer_than.as_secs_f64()])
        .await
        .context("see who has an old snapshot")?;
    let said: Vec<String> = rows.iter().map(others::said).collect();
    Ok((!said.is_empty()).then(|| said.join("; ")))
}
