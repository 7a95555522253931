//! Takes a partition out of its table, and hands it to `finish`. A kill -9 at any instant leaves a partition that is
//! attached, one whose detaching is pending, or a table with our mark: each of them the next run goes on from, as far as
//! it is certain that the detaching is ours. What is not may be a table that somebody wants to keep: it is left, and told.
//!
//! Locks of the plain way: ACCESS EXCLUSIVE on the parent, asked for first, or a reader that has the partition and wants
//! the parent would be the victim of a deadlock; then the partition; then, by DETACH, tables that refer to it and tables it
//! refers to. Its own foreign keys are dropped in the next transaction: that asks for more on the tables they point at, and
//! a lock that is raised later is a deadlock in waiting.

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::error::SqlState;

use super::at_work::{self, Failed, Found};
use super::facts::{Became, Fate, Going, Newest, Stand, Unmark, Way};
use super::{begun, concurrently, finish, look, mark, survey};
use crate::kinds::{Applied, Context};
use crate::pg::ddl::{self, Ddl};
use crate::pg::exclusion::For;
use crate::pg::{Session, waits};
use crate::testpoint;

/// # Errors
/// It did not go, and another try would not help.
pub async fn go(cx: &Context, going: &Going) -> Result<Applied> {
    let session = cx.session().await?;
    let mut applied = Box::pin(on(cx, &session, going)).await;
    if applied.is_err()
        && !session.is_closed()
        && !session.is_spoiled()
        && at_work::found(&session, going.oid).await?.is_none()
    {
        // Somebody was quicker.
        applied = Ok(Applied::Done);
    }
    match &applied {
        // It may be in the middle of what was to be read.
        Ok(Applied::Stopped(_)) => drop(session),
        _ => session.close().await,
    }
    match &applied {
        Ok(Applied::Done) => going.ledger.note(going.oid, Became::Gone),
        Ok(Applied::Locked(_) | Applied::NotYet(_) | Applied::Stopped(_)) => {}
        Ok(Applied::Partly(_)) | Err(_) => going.ledger.note(going.oid, Became::Failed),
    }
    applied
}

async fn on(cx: &Context, session: &Session, going: &Going) -> Result<Applied> {
    let Some(found) = at_work::found(session, going.oid).await? else {
        // Somebody was quicker.
        return Ok(Applied::Done);
    };
    let doubtful = found.stand() == Stand::Pending && going.ours && found.ours(going).is_none();
    let kept;
    let going = if doubtful {
        cx.report.warn(format!("{}: {}", going.leaf.plain(), begun::pending_in_doubt(&going.leaf)));
        kept = going.kept();
        &kept
    } else {
        going
    };
    let detached = match (found.stand(), going.stand) {
        (Stand::Attached, Stand::Attached) => match before(cx, session, going).await? {
            Some(applied) => return Ok(applied),
            None => match going.way {
                Way::Concurrently => concurrently::concurrently(cx, session, going).await,
                Way::Plainly(_) => plainly(cx, session, going).await,
            },
        },
        (Stand::Attached, _) => bail!("it is attached again since the plan was made: it stays"),
        (Stand::Pending, _) => concurrently::finalize(cx, session, going).await,
        (Stand::Detached, _) if found.ours(going).is_some() => Ok(()),
        (Stand::Detached, _) => {
            let name = going.leaf.plain();
            cx.report.warn(match found.mark(going) {
                Some(mark) => {
                    format!("{name} {}", begun::detached_in_doubt(&mark, &going.leaf, &at_work::attach(going)))
                }
                None => {
                    format!("{name} was detached by somebody else since the plan was made: it is left as it is")
                }
            });
            return Ok(Applied::Done);
        }
    };
    match detached {
        Ok(()) => finish::finish(cx, session, going).await,
        Err(failed) => applied(cx, going, failed),
    }
}

/// How a step that was not taken is told.
///
/// # Errors
/// It failed for good.
pub fn applied(cx: &Context, going: &Going, failed: Failed) -> Result<Applied> {
    match failed {
        Failed::Locked(by) => Ok(Applied::Locked(by)),
        Failed::Stopped(reason) => Ok(Applied::Stopped(reason)),
        Failed::Held(why) => {
            cx.report.warn(format!("{}: it stays, since {why}", going.leaf.plain()));
            going.ledger.note(going.oid, Became::Failed);
            Ok(Applied::Done)
        }
        Failed::Error(error) => Err(error),
    }
}

/// What was true when the plan was made must still be: looked at without any lock on the tables.
async fn before(cx: &Context, session: &Session, going: &Going) -> Result<Option<Applied>> {
    at_work::the_same(session, going).await?;
    if going.export.is_some() && going.ledger.of(going.oid) != Some(Became::Exported) {
        bail!("it was not exported, and so it stays");
    }
    let waits =
        |(oid, _): &&(u32, crate::pg::TableName)| !matches!(going.ledger.of(*oid), Some(Became::Gone | Became::Failed));
    if let Some((_, other)) = going.after.iter().find(waits) {
        return Ok(Some(Applied::Locked(format!("{}, whose rows refer to it, has to go first", other.plain()))));
    }
    still_free(session, going).await?;
    let keys = crate::pg::catalog::references(session, going.oid).await?;
    let referring = look::referring(session, &going.leaf_owner, &going.leaf, &keys, &[], look::LOOK).await?;
    if !referring.is_empty() {
        let all: Vec<String> = referring.iter().map(ToString::to_string).collect();
        bail!("{}: they have to go first, and this window waits for them", all.join("; "));
    }
    if let Some((column, cutoff)) = &going.newest {
        let when = (*cutoff, going.zone);
        match look::newest(session, &going.leaf_owner, &going.leaf, column, when, look::LOOK).await? {
            Newest::NotAsked | Newest::Old => {}
            Newest::Newer(time) => {
                cx.report.warn(format!("{}: it stays, since its newest {column} is {time}", going.leaf.plain()));
                going.ledger.note(going.oid, Became::Failed);
                return Ok(Some(Applied::Done));
            }
            Newest::Unknown(why) => bail!("its newest {column} cannot be read, and so it stays: {why}"),
        }
    }
    at_work::not_held(session, going, cx.now)
        .await
        .map(|()| None)
        .or_else(|error| applied(cx, going, at_work::judge(cx, session, error, None, true)).map(Some))
}

/// Triggers and dependents that were made since the plan.
async fn still_free(session: &Session, going: &Going) -> Result<()> {
    let Some(leaf) = survey::leaf(session, going.oid, None).await? else { return Ok(()) };
    if going.fate == Fate::Drop && !leaf.dependents.is_empty() {
        bail!("{} depends on it, which cannot be dropped then", leaf.dependents.join(", "));
    }
    if going.immutable {
        return Ok(());
    }
    let parents = session
        .query(include_str!("../../partitions/survey_triggers.sql"), &[&vec![going.parent_oid]])
        .await
        .context("look for triggers that stand on deleting")?;
    let parents = parents.iter().map(|row| row.get::<_, String>(1));
    match parents.chain(leaf.delete_triggers).next() {
        Some(trigger) => bail!("trigger {trigger} stands on deleting from it, and so it stays"),
        None => Ok(()),
    }
}

/// In one transaction: the parent locked, the partition taken out and marked.
async fn plainly(cx: &Context, session: &Session, going: &Going) -> Result<(), Failed> {
    let work = async {
        let ddl = Ddl::within(session, &going.owner, going.detach_timeout).await?;
        let done = plain_steps(&ddl, going).await;
        at_work::ended(ddl, done).await
    };
    let (done, by) = waits::watched(&cx.pg, session, work).await;
    let Err(error) = done else {
        testpoint::reach("retention.detached").await;
        return Ok(());
    };
    let by = at_work::waited_for(session, going, by, &error).await;
    if cx.stop.requested().is_none() && ddl::is_over(&error) {
        return Err(Failed::Error(too_slow(going, error)));
    }
    match ddl::sqlstate(&error) {
        Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => Err(Failed::Error(still_referred(error))),
        _ => Err(at_work::judge(cx, session, error, by, false)),
    }
}

async fn plain_steps(ddl: &Ddl<'_>, going: &Going) -> Result<()> {
    let (table, leaf) = (&going.table, &going.leaf);
    at_work::alone(ddl.own().await?, For::Transaction).await?;
    ddl.run(&format!("LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE")).await.context("lock the parent")?;
    testpoint::reach("retention.locked").await;
    let found = at_work::still(ddl.own().await?, going, Stand::Attached).await?;
    ddl.run(&format!("ALTER TABLE {table} DETACH PARTITION {leaf}")).await.context("detach it")?;
    ddl.act_as(&going.leaf_owner).await?;
    at_work::comment(ddl, leaf, Some(&at_work::mark_of(going, found.comment.as_deref(), true).text())).await?;
    testpoint::reach("retention.detach").await;
    Ok(())
}

/// Each further try would make others wait as long again.
fn too_slow(going: &Going, error: anyhow::Error) -> anyhow::Error {
    let missing: Vec<String> = going
        .references
        .iter()
        .filter(|key| !key.indexed)
        .map(|key| {
            let columns: Vec<_> = key.columns.iter().map(ToString::to_string).collect();
            format!("CREATE INDEX ON {} ({})", key.table, columns.join(", "))
        })
        .collect();
    let advice = if missing.is_empty() {
        "raise detach_timeout if others can wait longer".to_string()
    } else {
        format!("an index would help: {}", missing.join("; "))
    };
    error.context(format!(
        "looking for rows that refer to it took longer than others may be kept waiting (detach_timeout, {}), and nothing was \
         changed; {advice}",
        crate::period::human(going.detach_timeout)
    ))
}

pub fn still_referred(error: anyhow::Error) -> anyhow::Error {
    error.context("rows that have come since refer to it: this window waits for them")
}

/// What takes its mark away.
pub fn unmark_of(going: &Going, found: &Found) -> Unmark {
    Unmark {
        table: going.table.clone(),
        leaf: found.name.clone(),
        oid: going.oid,
        owner: found.owner.clone(),
        comment: mark::original(found.comment.as_deref()),
    }
}

/// Puts the comment back that a partition had before it was marked.
///
/// # Errors
/// What the server says.
pub async fn unmark(cx: &Context, unmark: &Unmark) -> Result<Applied> {
    let session = cx.session().await?;
    let (done, by) = waits::watched(&cx.pg, &session, take_mark(&session, unmark)).await;
    let applied = match done {
        Ok(()) => Ok(Applied::Done),
        Err(error) => match at_work::judge(cx, &session, error, by, true) {
            Failed::Locked(by) => Ok(Applied::Locked(by)),
            Failed::Stopped(reason) => Ok(Applied::Stopped(reason)),
            Failed::Held(why) => Err(anyhow!("{why}")),
            Failed::Error(error) => Err(error),
        },
    };
    session.close().await;
    applied
}

/// # Errors
/// What the server says.
pub async fn take_mark(session: &Session, unmark: &Unmark) -> Result<()> {
    let ddl = Ddl::begin(session, &unmark.owner).await?;
    let done = async {
        let found = at_work::found(ddl.own().await?, unmark.oid).await?;
        let ours = found
            .is_some_and(|found| found.name == unmark.leaf && found.comment.as_deref().and_then(mark::parse).is_some());
        if ours { at_work::comment(&ddl, &unmark.leaf, unmark.comment.as_deref()).await } else { Ok(()) }
    }
    .await;
    at_work::ended(ddl, done).await
}
